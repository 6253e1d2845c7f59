"""What signals do: SIGTERM unwinds as Ctrl-C does, so that the connector says IGNORE."""

from __future__ import annotations

# The C module behind `signal`: that one makes enums of all numbers, 1.5 ms of a one-shot query.
import _signal  # type: ignore[import-not-found]  # typeshed has none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


class TerminatedError(BaseException):
    """SIGTERM or SIGHUP came; like KeyboardInterrupt it is no Exception, so that nothing takes it for a fault."""


def unwind_on_sigterm() -> None:
    """From now on SIGTERM raises TerminatedError in the main thread."""
    _signal.signal(_signal.SIGTERM, _raise_terminated)


def unwind_on_sighup() -> None:
    """The same for the end of the terminal, unless it is to be outlived (nohup(1))."""
    if _signal.getsignal(_signal.SIGHUP) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGHUP, _raise_terminated)


def _raise_terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TerminatedError
