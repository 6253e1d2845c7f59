"""`serve`: the engine alone, answering the other commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConnectorUnavailableError, EngineRunningError, EngineUnavailableError
from ..kernel.clocks import monotonic_s
from ..service.notify import notify
from . import exit_status
from .capture import Capture, CaptureOptions
from .signals import TerminatedError
from .terminal import tell

if TYPE_CHECKING:
    from ..service.listening import Listener

_TURN_S = 0.2  # between two looks at what is to be recorded, while nothing happens
_STATUS_S = 10.0


def run(options: CaptureOptions) -> int:
    """Serve until a signal ends it."""
    capture = Capture(options)
    try:
        with capture:
            return _serve(capture)
    except (ConnectorUnavailableError, EngineRunningError, EngineUnavailableError) as error:
        tell(f"cannot serve: {error}")
        return exit_status.UNAVAILABLE
    finally:
        capture.tell_missed()


def _serve(capture: Capture) -> int:
    listener = capture.server.listener
    assert listener is not None
    _tell_ready(listener)
    next_status_s = 0.0
    try:
        while True:
            capture.turn(_TURN_S)
            if monotonic_s() >= next_status_s:
                next_status_s = monotonic_s() + _STATUS_S
                notify(f"STATUS={_status(capture)}")
    except (KeyboardInterrupt, TerminatedError):
        notify("STOPPING=1")
        return exit_status.ANSWERED  # the usual end of a service
    finally:
        capture.tell_losses()
        tell(_status(capture))


def _tell_ready(listener: Listener) -> None:
    if not notify("READY=1"):
        tell(f"answering at {listener.path}")


def _status(capture: Capture) -> str:
    stats, service = capture.engine.stats(), capture.server.stats()
    parts = [
        f"{stats.alive} processes and {stats.dead} that have ended",
        f"{service.answered} requests answered",
    ]
    unserved = {
        "malformed": service.malformed,
        "late": service.late,
        "of other namespaces": service.foreign,
        "of other users": service.refused,
        "failed": service.failed,
    }
    parts += [f"{count} {word}" for word, count in unserved.items() if count]
    if stats.lost:
        parts.append(f"{stats.lost} messages lost")
    if capture.journal is not None:
        recording = capture.journal.stats()
        parts.append(f"{recording.written} records written, {recording.missed} missed, {recording.errors} errors")
    return "; ".join(parts)
