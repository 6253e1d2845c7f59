"""Answers as JSON objects: the fields of a process are the same in every command.

JSON text is Unicode, a name is any bytes: what is not UTF-8 in one is replaced by U+FFFD, and the exact bytes
stand beside it in base64 (`cmd_raw`, `cmdline_raw`). What is unknown is null.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from .chain import chain_text
from .times import rfc3339

if TYPE_CHECKING:
    from ..process import Process
    from ..query import Chain, Descent

Object = dict[str, Any]


def line(value: Object) -> str:
    """Write one object on one line; every other character than printable ASCII is escaped."""
    return json.dumps(value, separators=(",", ":"))


def document(value: Object | list[Object]) -> str:
    """Write a document for people and programs, indented."""
    return json.dumps(value, indent=2)


def process_object(process: Process, boot_wall_ns: int) -> Object:
    """Give the fields of a process."""
    result: Object = {
        "pid": process.pid,
        "ppid": process.ppid,
        "ppid_source": process.ppid_source,
        "current_ppid": process.current_ppid,
        "tgid": process.pid,
        "cmd": None,
        "cmdline": None,
        "user": process.user,
        "uid": process.uid,
        "session": process.session,
        "start_time_ns": process.start_time_ns,
        "started_at": rfc3339(process.start_time_ns, boot_wall_ns),
        "alive": process.is_alive,
        "exited_at": rfc3339(process.exit_time_ns, boot_wall_ns),
        "exit_code": process.exit_code,
        "signal": process.signal,
        "core_dumped": process.is_core_dumped,
        "source": process.source,
    }
    if process.cmd is not None:
        _set_text(result, "cmd", process.cmd.encode("utf-8", "surrogateescape"))
    if process.cmdline is not None:
        result["cmdline"] = [argument.decode("utf-8", "replace") for argument in process.cmdline]
        if not all(_is_utf8(argument) for argument in process.cmdline):
            result["cmdline_raw"] = [b64encode(argument).decode() for argument in process.cmdline]
    if process.generations_left_out:
        result["generations_left_out"] = process.generations_left_out
    return result


def chain_object(chain: Chain, boot_wall_ns: int) -> Object:
    """Give a chain: the asked process first among its links."""
    return {
        "pid": chain.pid,
        "complete": chain.complete,
        "reason": chain.reason,
        "lost_events": chain.lost_events,
        "chain": chain_text(chain),
        "links": [process_object(link, boot_wall_ns) for link in chain.links],
    }


def descent_object(descent: Descent, boot_wall_ns: int) -> Object:
    """Give the answer of `descendant`; `descendant` is null where it cannot be told."""
    return {
        "pid": descent.pid,
        "cmd": descent.cmd,
        "descendant": descent.descendant,
        "reason": descent.reason,
        "match": None if descent.match is None else process_object(descent.match, boot_wall_ns),
        "matched_by": descent.matched_by,
        "chain": chain_object(descent.chain, boot_wall_ns),
    }


def _set_text(result: Object, key: str, raw: bytes) -> None:
    result[key] = raw.decode("utf-8", "replace")
    if not _is_utf8(raw):
        result[f"{key}_raw"] = b64encode(raw).decode()


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
