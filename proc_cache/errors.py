"""Every exception raised here, divided by whose fault it is.

What is expected (a process that has gone, an overrun of the socket) is a value, not an exception.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .events import Event


class ProcCacheError(Exception):
    """Base of every error of this package; its text is one line that says what to do."""


class MalformedMessageError(ProcCacheError):
    """The bytes are not what linux/cn_proc.h or taskstats.h describe (the sender's fault, or the wire's).

    `events` holds what was decoded before the place where the bytes went wrong.
    """

    def __init__(self, message: str, events: Sequence[Event] = ()) -> None:
        super().__init__(message)
        self.events = tuple(events)


class MalformedFrameError(ProcCacheError):
    """What came over the socket is no value, or none that belongs there (the other side's fault)."""


class ProcessHiddenError(ProcCacheError):
    """/proc lists the process and refuses to show it (hidepid=1, or a security module)."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} is hidden from this user by /proc (hidepid); ask as root")
        self.pid = pid


class NobodyFoundError(ProcCacheError):
    """A process that a question begins with is not known; `may_exist` where that does not prove its absence."""

    def __init__(self, reason: str, *, may_exist: bool) -> None:
        super().__init__(reason)
        self.may_exist = may_exist


class NotRememberedError(ProcCacheError):
    """The question is about the dead, and only the living can be asked."""


class EngineUnavailableError(ProcCacheError):
    """No engine answers at the socket; each subclass is one reason."""


class EngineHungUpError(EngineUnavailableError):
    """The connection to the engine has ended before the answer."""


class EngineRefusedError(EngineUnavailableError):
    """The engine at the socket does not serve this user, this namespace or this version."""


class EngineRunningError(ProcCacheError):
    """Another engine answers at the socket already."""


class HistoryError(ProcCacheError):
    """A history cannot be asked, or not be written."""


class NotAHistoryError(HistoryError):
    """The file is no history, or one of another version."""


class UnreadableHistoryError(HistoryError):
    """The file is not there, or not for this user, or damaged."""


class ConnectorUnavailableError(ProcCacheError):
    """No events can be had from the kernel here; each subclass is one reason."""


class NotInInitialNamespacesError(ConnectorUnavailableError):
    """This process is not in the initial PID, user or network namespace."""


class ConnectorNotPermittedError(ConnectorUnavailableError):
    """The kernel wants CAP_NET_ADMIN of a listener (before 6.6, or by a security module)."""


class ConnectorNotBuiltError(ConnectorUnavailableError):
    """The kernel has no connector, or none for processes (CONFIG_PROC_EVENTS)."""


class ConnectorSilentError(ConnectorUnavailableError):
    """The kernel took the subscription and never acknowledged it."""


class ExitRecordsUnavailableError(ProcCacheError):
    """The kernel gives no exit records (taskstats) here; everything else goes on without them."""
