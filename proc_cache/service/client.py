"""Asks a running engine. Thin, for it is on the way of every one-shot query."""

from __future__ import annotations

# The C module behind `socket`: that one takes 7 ms to import (selectors, enum), this one none.
import _socket
import os
from errno import EAGAIN, EINPROGRESS
from struct import Struct

from ..errors import EngineHungUpError, EngineRefusedError, EngineUnavailableError
from ..kernel.clocks import monotonic_s
from ..query import Verdict
from . import protocol
from .address import asked_paths, is_too_long
from .facts import OutlinesRead, ToldUsers, read_described, read_placed
from .peer import credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Self

    from ..lineage import Placed
    from ..process import Node, Process
    from ..query import Chain, Descent, Outline
    from ..selection import Selection, Target
    from ..times import Moment
    from .following import Following

_QUIET_S = 1.0
TIMEOUT_S = 5.0  # an engine that is silent for so long is stopped, or stuck
_CHUNK = 1 << 16
_TIMEVAL = Struct("@ll")  # struct timeval: seconds, microseconds


class EngineClient:
    """A connection to an engine, for any number of questions, one after the other."""

    def __init__(self, sock: _socket.socket, path: str | None) -> None:
        """Without a path it is an engine that was started for this one, and cannot be called again."""
        self._socket = sock
        self._received = bytearray()
        self._last_s = monotonic_s()  # when it connected, or asked
        self._path = path
        self.users = ToldUsers()
        self._name = "the engine of this watch" if path is None else f"the engine at {path}"

    @classmethod
    def connect(cls) -> Self | None:
        """Connect to the first engine that listens; None where there is none, or it is not open to this user."""
        for path in asked_paths():
            sock = _connect(path)
            if sock is not None:
                return cls(sock, path)
        return None

    def chain(self, pid: int, moment: Moment | None = None) -> Chain:
        """Ask for the ancestry of a process. Raises EngineUnavailableError."""
        head, links = self._ask(protocol.CHAIN, pid, moment)
        return protocol.read_chain(head, self._read(links))

    def outlines(self, targets: Sequence[Target]) -> Iterator[Outline]:
        """Ask for the ancestries of some processes, without the facts of their links; the same errors."""
        for at in range(0, len(targets), protocol.TARGETS_MAX):
            some = targets[at : at + protocol.TARGETS_MAX]
            _, told = self._ask(
                protocol.OUTLINES, tuple(each.pid if each.moment is None else each for each in some)
            )
            reading = OutlinesRead()
            for value in told:
                yield from reading.read(value)

    def descent(self, pid: int, cmd: str, *, is_strict: bool = False, moment: Moment | None = None) -> Descent:
        """Ask whether a process, or an ancestor of it, has a name. Raises EngineUnavailableError."""
        head, links = self._ask(protocol.DESCENT, pid, cmd, is_strict, moment)
        verdict, chain_head = protocol.parts(head, 2)
        return Verdict(*protocol.parts(verdict, 4)).of(protocol.read_chain(chain_head, self._read(links)), cmd)

    def processes(self, selection: Selection) -> Iterator[Process]:
        """Ask for the processes of a selection. Raises EngineUnavailableError and NobodyFoundError."""
        _, processes = self._ask(protocol.SNAPSHOT, selection)
        return self._read(processes)

    def lineages(self, selection: Selection) -> Iterator[Placed]:
        """Ask for the same, and all that is above them. Raises as `processes` does."""
        _, placed = self._ask(protocol.LINEAGES, selection)
        return (read_placed(value, self.users) for value in placed)

    def stats(self) -> dict[str, int]:
        """Ask for the engine's counters, by name."""
        head, rest = self._ask(protocol.STATS)
        names, figures = protocol.parts(head, 2)
        assert not list(rest)
        return dict(zip(names, figures, strict=True))

    def events(
        self,
        kinds: Iterable[str],
        selection: Selection,
        *,
        children_of: int | None = None,
        is_whole: bool = False,
    ) -> Following:
        """Ask for the events of these kinds, as they happen; `is_whole`: with all that is known of the ancestors.

        Raises as `processes` does.
        """
        whole = (True,) if is_whole else ()
        return self._follow(protocol.WATCH, tuple(kinds), selection, children_of, *whole)

    def pictures(self, selection: Selection) -> Following:
        """Ask for what a live view shows, again and again. Raises as `processes` does."""
        return self._follow(protocol.PICTURES, selection)

    def _follow(self, kind: str, *arguments: object) -> Following:
        from .following import Following

        self._send(protocol.write_request(os.getpid(), kind, *arguments))
        protocol.read_head(self._receive_frame)
        return Following(self)

    def say(self, kind: str, *arguments: object) -> None:
        """Tell the engine something that it does not answer. Raises EngineUnavailableError."""
        self._send(protocol.write_request(os.getpid(), kind, *arguments))

    def fileno(self) -> int:
        """Give the descriptor, to wait for it."""
        return self._socket.fileno()

    def take_frames(self) -> list[bytes]:
        """Receive once, and give the frames of a stream that are whole by then, without their lengths."""
        received, head = self._received, protocol.LENGTH.size
        received += self._receive()
        frames = []
        at = 0
        while len(received) - at >= head:
            (length,) = protocol.LENGTH.unpack_from(received, at)
            self._check_length(length)
            if len(received) - at < head + length:
                break
            frames.append(bytes(received[at + head : at + head + length]))
            at += head + length
        del received[:at]
        return frames

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait for the first word of an engine that has just been started. Raises EngineUnavailableError."""
        self._socket.settimeout(timeout_s)
        protocol.read_head(self._receive_frame)
        self._socket.settimeout(TIMEOUT_S)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def user(self, node: Node) -> str | None:
        """Give the name of the user of a process that the engine told."""
        return self.users.user(node)

    def _read(self, processes: Iterator[protocol.Frame]) -> Iterator[Process]:
        return (read_described(value, self.users) for value in processes)

    def _ask(self, kind: str, *arguments: object) -> tuple[protocol.Frame, Iterator[protocol.Frame]]:
        request = protocol.write_request(os.getpid(), kind, *arguments)
        if len(request) > protocol.REQUEST_MAX:
            raise EngineRefusedError("the question is longer than an engine takes")
        was_quiet_s = monotonic_s() - self._last_s
        self._last_s = monotonic_s()
        try:
            return self._exchange(request)
        except EngineHungUpError:
            if was_quiet_s < _QUIET_S:
                raise
        self._call_again()  # it hangs up on who asks nothing for a while
        return self._exchange(request)

    def _exchange(self, request: bytes) -> tuple[protocol.Frame, Iterator[protocol.Frame]]:
        self._send(request)
        return protocol.read_answer(self._receive_frame)

    def _send(self, request: bytes) -> None:
        try:
            self._socket.sendall(request)
        except OSError as error:
            raise EngineHungUpError(f"{self._name} hung up") from error

    def _call_again(self) -> None:
        self._socket.close()
        self._received.clear()
        sock = None if self._path is None else _connect(self._path)
        if sock is None:
            raise EngineUnavailableError(f"{self._name} has ended")
        self._socket = sock

    def _receive_frame(self) -> bytes:
        (length,) = protocol.LENGTH.unpack(self._take(protocol.LENGTH.size))
        self._check_length(length)
        return self._take(length)

    def _check_length(self, length: int) -> None:
        if length > protocol.FRAME_MAX:
            raise EngineUnavailableError(f"{self._name} is none of proc-cache")

    def _take(self, size: int) -> bytes:
        received = self._received
        while len(received) < size:
            received += self._receive()
        taken = bytes(received[:size])
        del received[:size]
        return taken

    def _receive(self) -> bytes:
        """Receive what there is, at least a byte."""
        try:
            chunk = self._socket.recv(_CHUNK)
        except TimeoutError as error:
            raise EngineUnavailableError(f"{self._name} did not answer in time") from error
        except OSError as error:
            raise EngineHungUpError(f"{self._name} hung up") from error
        if not chunk:
            raise EngineHungUpError(f"{self._name} hung up")
        return chunk


def _connect(path: str) -> _socket.socket | None:
    """Connect to a socket; None where nobody listens there whom this user may ask and believe."""
    if is_too_long(path):
        return None
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    # Not settimeout() yet: with it connect(2) does not wait for a place in a full backlog.
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _TIMEVAL.pack(*_seconds_and_us(TIMEOUT_S)))
    try:
        sock.connect(path)
        sock.settimeout(TIMEOUT_S)
        _, uid, _ = credentials(sock)
        if uid in (0, os.geteuid()):
            return sock
    except OSError as error:
        if error.errno in (EAGAIN, EINPROGRESS):
            sock.close()
            raise EngineUnavailableError(f"the engine at {path} does not take calls") from error
    sock.close()
    return None


def _seconds_and_us(seconds: float) -> tuple[int, int]:
    whole = int(seconds)
    return whole, int((seconds - whole) * 1e6)
