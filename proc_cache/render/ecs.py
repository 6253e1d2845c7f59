"""Events as documents of the Elastic Common Schema, as Elastic's own agents write them.

What is unknown is left out, and no name is written that the schema does not have:
https://www.elastic.co/guide/en/ecs/8.17/ecs-field-reference.html. What it has no field for (exact bytes that are
no text) is among the `labels`.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from ..events import Comm, Exec, Exit, Fork, Sid, Uid
from ..record import Record
from ..times import rfc3339
from .entry_leader import entry_leader, terminal_of
from .jsonlines import base64_unless_utf8, line, whole_text
from .terminals import terminal_fields
from .tree import ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..process import Process
    from .jsonlines import Object

    FindExecutable = Callable[[Process], str | None]

ECS_VERSION = "8.17.0"
_ENTITY_NS = 100_000_000  # see entity_id()
_KILLED = 128  # what a shell adds to the number of the signal, and ECS has no field for

# The kind of event: its action, as Elastic Defend names it, and its type.
_ACTIONS: dict[type, tuple[str, str]] = {
    Fork: ("fork", "start"),
    Exec: ("exec", "start"),
    Exit: ("end", "end"),
    Comm: ("name_change", "change"),
    Uid: ("uid_change", "change"),
    Sid: ("session_id_change", "change"),
}


class Host(Record):
    """The machine and the boot of it that processes lived in; None is unknown."""

    hostname: str
    boot_id: str
    architecture: str | None = None
    kernel: str | None = None
    pid_ns_ino: str | None = None


def entity_id(process: Process, boot_id: str) -> str | None:
    """Give what names this process and no other, on any machine: of its boot, its pid and its start.

    The start counts in tenths of a second: a birth that was seen is stamped some microseconds after the start
    that /proc shows, which is rounded down to a clock tick, and whoever looks has to come to the same id. No
    machine goes through all pids in that time. None where the start is not known.
    """
    if not process.start_time_ns:
        return None
    name = f"{boot_id}__{process.pid}__{process.start_time_ns // _ENTITY_NS}"
    return b64encode(name.encode()).decode()


class EcsWriter:
    """Writes documents, a line each, and numbers them; `find_executable` gives the path of a process's program."""

    def __init__(self, find_executable: FindExecutable = lambda _: None) -> None:
        self._find_executable = find_executable
        self._sequence = 0

    def event(self, kind: type, time_ns: int, links: Sequence[Process], chain: str, host: Host) -> str:
        """Write an event of this kind; `links` are its process as it was then, and its ancestors."""
        action, event_type = _ACTIONS[kind]
        process = links[0]
        event: Object = {"kind": "event", "action": action, "type": [event_type], "outcome": "success"}
        if kind is Exit:
            event |= _end(process)
        written = _Family(links, host.boot_id, self._find_executable).written()
        if kind is Exec and process.former_cmds:
            written["previous"] = [{"executable": whole_text(name)} for name in process.former_cmds]
        return self._document(time_ns, event, links, written, f"{action} {chain}", host)

    def state(self, time_ns: int, links: Sequence[Process], chain: str, host: Host) -> str:
        """Write what a process is at a time, without an event of its own."""
        event: Object = {"kind": "state", "action": "existing_process", "type": ["info"]}
        written = _Family(links, host.boot_id, self._find_executable).written()
        return self._document(time_ns, event, links, written, chain, host)

    def _document(  # noqa: PLR0913
        self, time_ns: int, event: Object, links: Sequence[Process], written: Object, message: str, host: Host
    ) -> str:
        process = links[0]
        self._sequence += 1
        event |= {
            "category": ["process"],
            "dataset": "proc_cache.process",
            "module": "proc_cache",
            "provider": "proc-cache",
            "sequence": self._sequence,
        }
        return line(
            _known(
                {
                    "@timestamp": rfc3339(time_ns, process.booted_ns),
                    "ecs": {"version": ECS_VERSION},
                    "message": message,
                    "event": event,
                    "process": written,
                    "user": _user(process),
                    "container": _container(process),
                    "host": _host(host),
                    "labels": _labels(process),
                }
            )
        )


def _end(process: Process) -> Object:
    """Give what an end tells beside its process: the span of its life, and how it went."""
    outcome = "unknown" if process.exit_status is None else "failure" if process.exit_status else "success"
    return _known(
        {
            "outcome": outcome,
            "reason": None if process.exit_status is None else ending(process),
            "start": rfc3339(process.start_time_ns, process.booted_ns),
            "end": rfc3339(process.exit_time_ns, process.booted_ns),
            "duration": process.run_time_ns,
        }
    )


class _Family:
    """A process and its kin, as the schema has them."""

    def __init__(self, links: Sequence[Process], boot_id: str, find_executable: FindExecutable) -> None:
        self._links = links
        self._boot_id = boot_id
        self._find_executable = find_executable

    def written(self) -> Object:
        process = self._links[0]
        code = process.exit_code if process.signal is None else _KILLED + process.signal
        return self._process(0) | _known(
            {
                "end": rfc3339(process.exit_time_ns, process.booted_ns),
                "exit_code": code,
                "parent": self._parent(),
                "session_leader": self._session_leader(),
                "entry_leader": self._entry_leader(),
            }
        )

    def _parent(self) -> Object | None:
        if len(self._links) > 1 and not self._links[0].generations_left_out:
            return self._process(1)
        ppid = self._links[0].ppid
        return {"pid": ppid} if ppid else None

    def _session_leader(self) -> Object | None:
        session = self._links[0].session
        if not session:
            return None
        places = [place for place, link in enumerate(self._links) if link.pid == session]
        return self._leader(places[0]) if places else {"pid": session, "same_as_process": False}

    def _entry_leader(self) -> Object | None:
        entry = entry_leader(self._links)
        return None if entry is None else self._leader(entry.place) | {"entry_meta": {"type": entry.type}}

    def _leader(self, place: int) -> Object:
        links = self._links
        written = self._process(place) | {"same_as_process": place == 0}
        if place + 1 < len(links) and not links[place].generations_left_out:
            parent = self._process(place + 1)
            written["parent"] = {key: parent[key] for key in ("entity_id", "pid", "start") if key in parent}
        return written

    def _process(self, place: int) -> Object:
        """Give what the schema has for a process and for each of its kin."""
        process = self._links[place]
        cmdline = process.cmdline or None
        args = None if cmdline is None else [argument.decode("utf-8", "replace") for argument in cmdline]
        executable = self._find_executable(process)
        return _known(
            {
                "entity_id": entity_id(process, self._boot_id),
                "pid": process.pid,
                "name": _text(process.full_name or process.cmd),
                "executable": _text(executable),
                "args": args,
                "args_count": None if args is None or process.is_cmdline_cut else len(args),
                "command_line": None if args is None else " ".join(args),
                "start": rfc3339(process.start_time_ns, process.booted_ns),
                "user": _user(process),
                **terminal_fields(terminal_of(process)),
            }
        )


def _user(process: Process) -> Object | None:
    uid = None if process.uid is None else str(process.uid)
    return _known({"id": uid, "name": _text(process.user)}) or None


def _container(process: Process) -> Object | None:
    """Give the container that a process is in, told as RUNTIME:ID."""
    told = process.container
    if not told:
        return None
    runtime, _, identity = told.rpartition(":")
    return _known({"id": whole_text(identity), "runtime": whole_text(runtime) or None})


def _host(host: Host) -> Object:
    return _known(
        {
            "hostname": whole_text(host.hostname),
            "name": whole_text(host.hostname),
            "architecture": host.architecture,
            "boot": {"id": host.boot_id},
            "pid_ns_ino": host.pid_ns_ino,
            "os": _known({"type": "linux", "kernel": host.kernel}),
        }
    )


def _labels(process: Process) -> Object | None:
    """Give the exact bytes, in base64, of what is no text."""
    name = process.full_name or process.cmd
    args = None if process.cmdline is None else b"\0".join(process.cmdline)
    return (
        _known(
            {
                "process_name_raw": None if name is None else base64_unless_utf8(name),
                "process_args_raw": None if args is None else base64_unless_utf8(args),
            }
        )
        or None
    )


def _text(text: str | None) -> str | None:
    return None if text is None else whole_text(text)


def _known(fields: Object) -> Object:
    return {key: value for key, value in fields.items() if value is not None}
