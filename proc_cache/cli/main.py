"""The one place where errors become messages and exit statuses."""

from __future__ import annotations

import os
import sys

from ..errors import HistoryError, NobodyFoundError, NotRememberedError, ProcCacheError
from . import exit_status, plain
from .signals import TerminatedError, unwind_on_sigterm
from .terminal import abandon_stdout, set_color, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:  # noqa: PLR0911
    """Run a command line; returns the exit status, and lets no exception out."""
    unwind_on_sigterm()
    _open_closed_streams()
    set_color("auto")  # what an earlier call in this process was told is over
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # an ASCII locale draws no boxes
    try:
        status = _dispatch(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
        return exit_status.ANSWERED
    except KeyboardInterrupt:
        return exit_status.INTERRUPTED
    except TerminatedError:
        return exit_status.TERMINATED
    except (HistoryError, NotRememberedError, NobodyFoundError) as error:
        return _end_without_answer(error)
    except OSError as error:
        return _end_for_os_error(error)
    except Exception as error:  # noqa: BLE001  # the last resort: nobody sees a traceback who did not ask
        return _end_for_bug(error)
    return status


def _open_closed_streams() -> None:
    """Give a standard stream that was closed (`>&-`) a place to go; Python has None for it."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _dispatch(arguments: list[str]) -> int:
    action = plain.read(arguments)
    return action() if action is not None else _dispatch_by_typer(arguments)


def _dispatch_by_typer(arguments: list[str]) -> int:
    import contextlib

    from typer import Abort, BadParameter, Exit

    from .app import app

    if not arguments:
        with contextlib.redirect_stdout(sys.stderr):  # asked nothing: no result
            app(["--help"], prog_name="proc-cache", standalone_mode=False)
        return exit_status.USAGE

    # Typer exports its errors by this one name only: BadParameter is a UsageError is a ClickException.
    usage_error: type[Exception] = BadParameter.__mro__[1]
    try:
        action = app(arguments, prog_name="proc-cache", standalone_mode=False)
    except Exit as ending:
        return ending.exit_code
    except Abort:
        raise KeyboardInterrupt from None
    except SystemExit:  # what Typer makes of a pipe that nobody reads
        raise BrokenPipeError from None
    except usage_error as error:
        return _end_for_usage(error)
    return int(action()) if callable(action) else exit_status.ANSWERED


def _end_without_answer(error: ProcCacheError) -> int:
    tell(str(error))
    if isinstance(error, NobodyFoundError):
        return exit_status.CANNOT_TELL if error.may_exist else exit_status.NO
    return exit_status.UNAVAILABLE


def _end_for_usage(error: Exception) -> int:
    from .usage import usage_text

    tell(usage_text(error))
    return exit_status.USAGE


def _end_for_os_error(error: OSError) -> int:
    abandon_stdout()
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
