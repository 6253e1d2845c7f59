"""The fields of the Elastic Common Schema that an event of a process can have, and what is amiss in one.

Compiled from the list of fields that the schema publishes; a list where that says that a field is an array.
"""

from __future__ import annotations

import re
from typing import Any

_PROCESS = {
    "args": [str],
    "args_count": int,
    "command_line": str,
    "entity_id": str,
    "executable": str,
    "group.id": str,
    "group.name": str,
    "interactive": bool,
    "name": str,
    "pid": int,
    "start": "date",
    "tty.char_device.major": int,
    "tty.char_device.minor": int,
    "user.id": str,
    "user.name": str,
    "vpid": int,
    "working_directory": str,
}
_ENDED = {"end": "date", "exit_code": int, "title": str, "uptime": int}
_BRIEF = {"entity_id": str, "pid": int, "start": "date", "vpid": int}
_LEADER = {**_PROCESS, "same_as_process": bool}
_PREVIOUS = {"args": [str], "args_count": int, "executable": str}


def _below(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{field}": kind for field, kind in fields.items()}


FIELDS: dict[str, Any] = {
    "@timestamp": "date",
    "message": str,
    "tags": [str],
    "ecs.version": str,
    **_below(
        "event",
        {
            **dict.fromkeys(("action", "code", "dataset", "id", "kind", "module", "outcome", "provider"), str),
            **dict.fromkeys(("created", "start", "end"), "date"),
            "category": [str],
            "type": [str],
            **dict.fromkeys(("duration", "sequence", "severity"), int),
            "reason": str,
        },
    ),
    **_below("user", {"id": str, "name": str, "effective.id": str, "effective.name": str}),
    **_below("host", dict.fromkeys(("architecture", "boot.id", "hostname", "id", "name", "pid_ns_ino"), str)),
    **_below("host.os", dict.fromkeys(("family", "full", "kernel", "name", "platform", "type", "version"), str)),
    **_below("container", dict.fromkeys(("id", "name", "runtime"), str)),
    **_below("process", {**_PROCESS, **_ENDED}),
    **_below("process.parent", {**_PROCESS, **_ENDED}),
    **_below("process.group_leader", _LEADER),
    **_below("process.session_leader", _LEADER),
    **_below("process.session_leader.parent", _BRIEF),
    **_below("process.entry_leader", {**_LEADER, "entry_meta.type": str}),
    **_below("process.entry_leader.parent", _BRIEF),
    "process.previous": [_PREVIOUS],
}
ALLOWED = {
    "event.kind": {"event", "state"},
    "event.category": {"process"},
    "event.type": {"access", "change", "end", "info", "start"},  # those expected of that category
    "event.outcome": {"success", "failure", "unknown"},
}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_LONG = range(-(1 << 63), 1 << 63)


def flatten(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields of a document by their dotted names; `labels` are one field."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name != "labels":
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def complaints(document: dict[str, Any]) -> list[str]:
    """All that the schema does not have, or has of another type."""
    flat = flatten(document)
    found = [f"{field} is missing" for field in ("@timestamp", "ecs.version", "event.kind") if field not in flat]
    for name, value in flat.items():
        if name == "labels":
            found += [f"{name}.{key}" for key, one in value.items() if "." in key or not isinstance(one, str)]
        elif name not in FIELDS:
            found.append(f"{name} is no field")
        elif not _is(FIELDS[name], value):
            found.append(f"{name} is {value!r}")
        elif name in ALLOWED and not set(value if isinstance(value, list) else [value]) <= ALLOWED[name]:
            found.append(f"{name} cannot be {value!r}")
    return found


def _is(kind: Any, value: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and bool(value) and all(_is(kind[0], item) for item in value)
    if isinstance(kind, dict):
        flat = flatten(value)
        return flat.keys() <= kind.keys() and all(_is(kind[name], item) for name, item in flat.items())
    if kind == "date":
        return isinstance(value, str) and bool(_DATE.fullmatch(value))
    if kind is int:
        return type(value) is int and value in _LONG
    return type(value) is kind
