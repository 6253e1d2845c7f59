"""Events of a live stream, as a line and as an object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import KIND_NAMES, KINDS, Exec, Exit
from ..times import clock, rfc3339
from .jsonlines import process_object
from .tree import command_line, ending_and_run_time

if TYPE_CHECKING:
    from ..process import Process
    from .jsonlines import Object

_NAME_WIDTH = max(map(len, KINDS))


def event_line(kind: type, time_ns: int, process: Process, chain: str) -> str:
    """Write an event of this kind on one line; `time_ns` is CLOCK_BOOTTIME."""
    name = KIND_NAMES[kind].ljust(_NAME_WIDTH)
    return f"{clock(time_ns, process.booted_ns)} {name} {chain}{_detail(kind, process)}"


def _detail(kind: type, process: Process) -> str:
    """What an event tells beyond who it was: the arguments of an exec, the end of an exit."""
    if kind is Exec and process.cmdline is not None:
        return f"  {command_line(process)}"
    return f"  [{ending_and_run_time(process)}]" if kind is Exit else ""


def event_object(kind: type, time_ns: int, process: Process, chain: str, entry: str | None = None) -> Object:
    """Give an event with the fields of its process and its chain; `timestamp_ns` is since boot, as all times."""
    return {
        "event": KIND_NAMES[kind],
        "time": rfc3339(time_ns, process.booted_ns),
        "timestamp_ns": time_ns,
        **process_object(process),
        "chain": chain,
        "entry": entry,
    }
