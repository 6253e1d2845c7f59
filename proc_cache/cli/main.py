"""The one place where errors become messages and exit statuses."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from . import exit_status
from .terminal import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import NoReturn


class _TerminatedError(BaseException):
    """SIGTERM: unwinds like Ctrl-C, so that the connector says IGNORE on this way out too."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status, and lets no exception out."""
    signal.signal(signal.SIGTERM, _raise_terminated)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # an ASCII locale draws no boxes
    try:
        status = _dispatch(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_stdout()
        return exit_status.ANSWERED
    except KeyboardInterrupt:
        return exit_status.INTERRUPTED
    except _TerminatedError:
        return exit_status.TERMINATED
    except OSError as error:
        return _end_for_os_error(error)
    except Exception as error:  # noqa: BLE001  # the last resort: nobody sees a traceback who did not ask
        return _end_for_bug(error)
    return status


def _dispatch(arguments: list[str]) -> int:
    from typer import Abort, BadParameter, Exit

    from .app import app

    if not arguments:
        with contextlib.redirect_stdout(sys.stderr):  # asked nothing: no result
            app(["--help"], prog_name="proc-cache", standalone_mode=False)
        return exit_status.USAGE

    # Typer exports its errors by this one name only: BadParameter is a UsageError is a ClickException.
    usage_error: type[Exception] = BadParameter.__mro__[1]
    try:
        return int(app(arguments, prog_name="proc-cache", standalone_mode=False) or 0)
    except Exit as ending:
        return ending.exit_code
    except Abort:
        raise KeyboardInterrupt from None
    except usage_error as error:
        return _end_for_usage(error)


def _end_for_usage(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "proc-cache"
    message = error.format_message()  # type: ignore[attr-defined]
    tell(f"{' '.join(message.split())} (see `{path} --help`)")
    return exit_status.USAGE


def _end_for_os_error(error: OSError) -> int:
    _abandon_stdout()
    place = f" {error.filename}" if error.filename else ""
    tell(f"{error.strerror or error}{place}: the answer could not be completed; make room or ask elsewhere")
    return exit_status.UNAVAILABLE


def _end_for_bug(error: Exception) -> int:
    if os.environ.get("PROC_CACHE_DEBUG"):
        raise error
    tell(
        f"this is a bug in proc-cache: {type(error).__name__}: {error}; "
        "run it again with PROC_CACHE_DEBUG=1 and report what it prints"
    )
    return exit_status.BUG


def _abandon_stdout() -> None:
    """Let the interpreter's own flush at exit go nowhere instead of failing again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _raise_terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _TerminatedError
