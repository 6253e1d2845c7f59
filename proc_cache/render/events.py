"""Events of a live stream, as a line and as an object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import Comm, Exec, Exit, Fork, Sid, Uid
from ..times import clock, rfc3339
from .jsonlines import process_object
from .tree import command_line, ending_and_run_time

if TYPE_CHECKING:
    from ..events import Event
    from ..process import Process
    from .jsonlines import Object

EVENT_NAMES: dict[type, str] = {
    Fork: "fork",
    Exec: "exec",
    Exit: "exit",
    Comm: "comm",
    Uid: "uid",
    Sid: "sid",
}
_NAME_WIDTH = max(map(len, EVENT_NAMES.values()))


def event_line(event: Event, time_ns: int, process: Process, chain: str) -> str:
    """Write an event on one line; `time_ns` is CLOCK_BOOTTIME."""
    name = EVENT_NAMES[type(event)].ljust(_NAME_WIDTH)
    return f"{clock(time_ns, process.booted_ns)} {name} {chain}{_detail(event, process)}"


def _detail(event: Event, process: Process) -> str:
    """What an event tells beyond who it was: the arguments of an exec, the end of an exit."""
    if isinstance(event, Exec) and process.cmdline is not None:
        return f"  {command_line(process)}"
    return f"  [{ending_and_run_time(process)}]" if isinstance(event, Exit) else ""


def event_object(event: Event, time_ns: int, process: Process, chain: str) -> Object:
    """Give an event with the fields of its process and its chain; `timestamp_ns` is since boot, as all times."""
    return {
        "event": EVENT_NAMES[type(event)],
        "time": rfc3339(time_ns, process.booted_ns),
        "timestamp_ns": time_ns,
        **process_object(process),
        "chain": chain,
    }
