"""SIGTERM ends a command as Ctrl-C does: by unwinding, so that the connector says IGNORE on this way out too."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


class TerminatedError(BaseException):
    """SIGTERM came; like KeyboardInterrupt it is no Exception, so that nothing takes it for a fault."""


def unwind_on_sigterm() -> None:
    """From now on SIGTERM raises TerminatedError in the main thread."""
    signal.signal(signal.SIGTERM, _raise_terminated)


def _raise_terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TerminatedError
