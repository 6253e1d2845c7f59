"""Answers as JSON objects: the fields of a process are the same in every command.

JSON text is Unicode, a name is any bytes: what is not UTF-8 in one is replaced by U+FFFD, and the exact bytes
stand beside it in base64 (`cmd_raw`, `cmdline_raw`). What is unknown is null.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from ..times import rfc3339
from .chain import chain_text

if TYPE_CHECKING:
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
    result: Object = {
        "pid": process.pid,
        "ppid": process.ppid,
        "ppid_source": process.ppid_source,
        "current_ppid": process.current_ppid,
        "current_parent": None,
        "tgid": process.pid,
        "cmd": None,
        "cmdline": None,
        "former_cmds": [_text(name) for name in process.former_cmds],
        "user": process.user,
        "birth_user": process.birth_user,
        "uid": process.uid,
        "session": process.session,
        "unit": None,
        "container": None,
        "tty": _text(process.tty) if process.tty else None,
        "start_time_ns": process.start_time_ns,
        "started_at": rfc3339(process.start_time_ns, process.booted_ns),
        "alive": process.is_alive,
        "exited_at": rfc3339(process.exit_time_ns, process.booted_ns),
        "run_time_s": None if process.run_time_ns is None else process.run_time_ns / 1e9,
        "exit_code": process.exit_code,
        "signal": process.signal,
        "core_dumped": process.is_core_dumped,
        "cpu_s": None if process.cost is None else process.cost.cpu_us / 1e6,
        "max_rss_bytes": None if process.cost is None else process.cost.max_rss_bytes,
        "read_bytes": None if process.cost is None else process.cost.read_bytes,
        "write_bytes": None if process.cost is None else process.cost.write_bytes,
        "source": process.source,
    }
    _set_names(result, process)
    if process.cmdline is not None:
        try:
            result["cmdline"] = [argument.decode() for argument in process.cmdline]
        except UnicodeDecodeError:
            result["cmdline"] = [argument.decode("utf-8", "replace") for argument in process.cmdline]
            result["cmdline_raw"] = [b64encode(argument).decode() for argument in process.cmdline]
    if process.ns_pids is not None:
        result["ns_pids"] = list(process.ns_pids) or None
    if process.is_cmdline_cut:
        result["cmdline_cut"] = True
    if process.generations_left_out:
        result["generations_left_out"] = process.generations_left_out
    return result


def _set_names(result: Object, process: Process) -> None:
    """Set what can be any bytes; that there is no unit is told as one that is not known is: null."""
    if process.current_parent is not None:
        result["current_parent"] = _text(process.current_parent)
    names = (
        ("cmd", process.cmd),
        ("unit", process.unit or None),
        ("container", process.container or None),
        ("full_name", process.full_name),
    )
    for key, name in names:
        if name is not None:
            _set_text(result, key, name.encode("utf-8", "surrogateescape"))


def chain_object(chain: Chain, entry: Entry | None) -> Object:
    """Give a chain, and how it was entered: the asked process first among its links."""
    return {
        "pid": chain.pid,
        "complete": chain.complete,
        "reason": None if chain.reason is None else _text(chain.reason),
        "lost_events": chain.lost_events,
        "notes": [_text(note) for note in chain.notes],
        "chain": chain_text(chain),
        "entry": None if entry is None else entry.kind,
        "entry_pid": None if entry is None else entry.pid,
        "links": [process_object(link) for link in chain.links],
    }


def descent_object(descent: Descent, entry: Entry | None) -> Object:
    """Give the answer of `descendant`; `descendant` is null where it cannot be told."""
    return {
        "pid": descent.pid,
        "cmd": descent.cmd,
        "descendant": descent.descendant,
        "reason": None if descent.reason is None else _text(descent.reason),
        "match": None if descent.match is None else process_object(descent.match),
        "matched_by": descent.matched_by,
        "chain": chain_object(descent.chain, entry),
    }


def _text(text: str) -> str:
    """Give text without lone surrogates, which many readers of JSON refuse."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _set_text(result: Object, key: str, raw: bytes) -> None:
    try:
        result[key] = raw.decode()
    except UnicodeDecodeError:
        result[key] = raw.decode("utf-8", "replace")
        result[f"{key}_raw"] = b64encode(raw).decode()
