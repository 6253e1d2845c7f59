"""An engine as a child of `watch`: it captures, never draws, and ends when `watch` does, however that ended."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

from ..errors import ProcCacheError
from ..service.client import EngineClient
from .signals import TerminatedError
from .terminal import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .capture import Capture, CaptureOptions

_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
_TURN_S = 0.2
_READY_S = 30.0  # to open the connector and read all of /proc, on a machine that has much to do


class EngineChild:
    """The engine, and the connection to it. `close()` hangs up and waits until it has ended."""

    def __init__(self, options: CaptureOptions, *, is_quiet: bool) -> None:
        """Start it. Where `is_quiet`, it speaks on stderr at its end only: the screen is drawn on."""
        ours, theirs = socket.socketpair()
        # A signal between the two would unwind a second viewer.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._pid = os.fork()
        if not self._pid:
            ours.close()
            _run(theirs, options, former, is_quiet=is_quiet)
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
        theirs.close()
        self.client = EngineClient(ours, None)

    def wait_until_ready(self) -> None:
        """Wait until it listens. Raises EngineUnavailableError with the reason why it does not."""
        self.client.wait_until_ready(_READY_S)

    def close(self) -> None:
        """Hang up, and wait for what it still has to write. Can be repeated."""
        self.client.close()
        if self._pid:
            pid, self._pid = self._pid, 0
            os.waitpid(pid, 0)


def _run(sock: socket.socket, options: CaptureOptions, mask: Iterable[int], *, is_quiet: bool) -> NoReturn:
    """Be the engine, in a session of its own: Ctrl-C is for the viewer, and its hanging up ends this."""
    said: list[str] = []
    try:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.setsid()
        _let_go_of_streams()
        _capture(sock, options, said.append if is_quiet else tell)
        for message in said:
            tell(message)
    except BrokenPipeError:
        pass  # the viewer has gone before this was ready
    except TerminatedError:
        pass
    except Exception as error:  # noqa: BLE001  # nobody sees a traceback
        tell(f"this is a bug in proc-cache: {type(error).__name__}: {error}")
    finally:
        os._exit(0)


def _let_go_of_streams() -> None:
    """Read and write nothing but stderr: a pipe that is held here would never end for who reads it."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    os.close(null)


def _capture(sock: socket.socket, options: CaptureOptions, say: Callable[[str], None]) -> None:
    from ..service.answers import ready, refusal
    from .capture import Capture

    capture = Capture(options, sock, say)
    try:
        with capture:
            sock.sendall(ready())
            _serve(capture)
    except ProcCacheError as error:
        sock.sendall(refusal(str(error)))
    except TerminatedError:
        pass  # it was ended by itself; what it has to say is said
    capture.tell_missed()


def _serve(capture: Capture) -> None:
    while not capture.server.is_abandoned:
        capture.turn(_TURN_S)
    capture.tell_losses()
