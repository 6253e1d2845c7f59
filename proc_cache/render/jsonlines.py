"""Answers as JSON objects: the fields of a process are the same in every command.

JSON text is Unicode, a name is any bytes: what is not UTF-8 in one is replaced by U+FFFD, and the exact bytes
stand beside it in base64 (`cmd_raw`, `cmdline_raw`, `user_raw` ...). What is unknown is null.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from ..times import rfc3339
from .chain import chain_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..entry import Entry
    from ..process import Process
    from ..query import Chain, Descent

Object = dict[str, Any]


_write = json.JSONEncoder(separators=(",", ":")).encode


def line(value: Object) -> str:
    """Write one object on one line; every other character than printable ASCII is escaped."""
    return _write(value)


def document(value: Object | list[Object]) -> str:
    """Write a document for people and programs, indented."""
    return json.dumps(value, indent=2)


def process_object(process: Process) -> Object:
    """Give the fields of a process."""
    cost = process.cost
    result: Object = {
        "pid": process.pid,
        "ppid": process.ppid,
        "ppid_source": process.ppid_source,
        "current_ppid": process.current_ppid,
        "current_parent": None,
        "tgid": process.pid,
        "cmd": None,
        "cmdline": None,
        "former_cmds": [],
        "user": None,
        "birth_user": None,
        "uid": process.uid,
        "session": process.session,
        "unit": None,
        "container": None,
        "tty": None,
        "start_time_ns": process.start_time_ns,
        "started_at": rfc3339(process.start_time_ns, process.booted_ns),
        "alive": process.is_alive,
        "exited_at": rfc3339(process.exit_time_ns, process.booted_ns),
        "run_time_s": None if process.run_time_ns is None else process.run_time_ns / 1e9,
        "exit_code": process.exit_code,
        "signal": process.signal,
        "core_dumped": process.is_core_dumped,
        "cpu_s": None if cost is None else cost.cpu_us / 1e6,
        "max_rss_bytes": None if cost is None else cost.max_rss_bytes,
        "read_bytes": None if cost is None else cost.read_bytes,
        "write_bytes": None if cost is None else cost.write_bytes,
        "source": process.source,
    }
    for key in ("current_parent", "cmd", "user", "birth_user"):
        _set_text(result, key, getattr(process, key))
    for key in ("unit", "container", "tty"):  # that there is none is told as one that is not known is: null
        _set_text(result, key, getattr(process, key) or None)
    _set_texts(result, "former_cmds", [encoded(name) for name in process.former_cmds])
    if process.cmdline is not None:
        _set_texts(result, "cmdline", process.cmdline)
    if process.full_name is not None:
        _set_text(result, "full_name", process.full_name)
    if process.ns_pids is not None:
        result["ns_pids"] = list(process.ns_pids) or None
    if process.is_cmdline_cut:
        result["cmdline_cut"] = True
    if process.generations_left_out:
        result["generations_left_out"] = process.generations_left_out
    return result


def chain_object(chain: Chain, entry: Entry | None) -> Object:
    """Give a chain, and how it was entered: the asked process first among its links."""
    return {
        "pid": chain.pid,
        "complete": chain.complete,
        "reason": None if chain.reason is None else whole_text(chain.reason),
        "lost_events": chain.lost_events,
        "notes": [whole_text(note) for note in chain.notes],
        "chain": chain_text(chain),
        "entry": None if entry is None else entry.kind,
        "entry_pid": None if entry is None else entry.pid,
        "links": [process_object(link) for link in chain.links],
    }


def descent_object(descent: Descent, entry: Entry | None) -> Object:
    """Give the answer of `descendant`; `descendant` is null where it cannot be told."""
    result: Object = {
        "pid": descent.pid,
        "cmd": None,
        "descendant": descent.descendant,
        "reason": None if descent.reason is None else whole_text(descent.reason),
        "match": None if descent.match is None else process_object(descent.match),
        "matched_by": descent.matched_by,
        "chain": chain_object(descent.chain, entry),
    }
    _set_text(result, "cmd", descent.cmd)
    return result


def whole_text(text: str) -> str:
    """Give text without lone surrogates, which many readers of JSON refuse."""
    return text if text.isascii() else encoded(text).decode("utf-8", "replace")


def base64_unless_utf8(raw: str | bytes) -> str | None:
    """Give bytes that are no text, exactly; None for those that are."""
    data = encoded(raw) if isinstance(raw, str) else raw
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return b64encode(data).decode()
    return None


def _set_text(result: Object, key: str, text: str | None) -> None:
    if text is None or text.isascii():
        result[key] = text
        return
    raw = encoded(text)
    try:
        result[key] = raw.decode()
    except UnicodeDecodeError:
        result[key] = raw.decode("utf-8", "replace")
        result[f"{key}_raw"] = b64encode(raw).decode()


def _set_texts(result: Object, key: str, raws: Iterable[bytes]) -> None:
    raws = tuple(raws)
    try:
        result[key] = [raw.decode() for raw in raws]
    except UnicodeDecodeError:
        result[key] = [raw.decode("utf-8", "replace") for raw in raws]
        result[f"{key}_raw"] = [b64encode(raw).decode() for raw in raws]


def encoded(text: str) -> bytes:
    """Give the bytes that a text stands for; of a lone surrogate that stands for none, its own three."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
