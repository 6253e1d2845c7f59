"""A server over a connector that is made up, driven turn by turn, and calls to it, byte by byte."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from proc_cache.closing import Closing
from proc_cache.engine.core import Engine
from proc_cache.service import protocol
from proc_cache.service.facts import ToldUsers, read_described
from proc_cache.service.listening import Listener
from proc_cache.service.server import Server

from .fake_proc import FakeReader, sighting
from .story import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from proc_cache.kernel.netlink import ProcConnector
    from proc_cache.process import Process

INIT = sighting(1, ppid=0, start_ns=0, comm=b"systemd")
DEADLINE_S = 10.0


class EventfdConnector:
    """Gives what was queued, and has a descriptor that can be polled as the kernel's can."""

    receive_buffer_bytes = 4096
    exec_lane = None

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def push(self, *datagrams: bytes) -> None:
        self.queue.extend(datagrams)
        os.eventfd_write(self._descriptor, 1)

    def receive(self) -> bytes:
        if self.queue:
            return self.queue.popleft()
        with suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)
        return b""

    def wait(self, timeout_s: float) -> bool:
        raise AssertionError(
            f"the server waits {timeout_s} s for the kernel alone, and leaves its callers waiting"
        )

    def hold_back(self, is_held_back: bool) -> None:
        """There is no lane for execs here: nothing is held back."""

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)


class Clock:
    """The monotonic clock, and what is added to it by hand."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


class Ticking:
    """A clock that only goes on when it is read."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._now_s = 1000.0

    def __call__(self) -> float:
        self._now_s += self._tick_s
        return self._now_s


class Call(Closing):
    """One connection to the server: `send` bytes, `receive` frames; the server's turns are made meanwhile."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._received = bytearray()
        self.is_hung_up = False
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.connect(desk.path)

    def send(self, data: bytes) -> None:
        """Send it all, or as much as is taken until the server hangs up."""

        def has_gone() -> bool:
            nonlocal data
            with suppress(BlockingIOError):
                data = data[self.socket.send(data) :]
            return not data

        try:
            self._desk.turn_until(has_gone, "the server takes what is sent")
        except (BrokenPipeError, ConnectionResetError):
            self.is_hung_up = True

    def ask(self, kind: str, *arguments: object, pid: int | None = None) -> None:
        """Send a request, and do not look for its answer."""
        self.send(protocol.write_request(os.getpid() if pid is None else pid, kind, *arguments))

    def receive(self) -> bytes:
        """Take the content of the next frame, turning until it is here."""
        head = self._take(protocol.LENGTH.size)
        (length,) = protocol.LENGTH.unpack(head)
        return self._take(length)

    def answer(self) -> tuple[tuple[Any, ...], list[Process]]:
        """Receive a whole answer. Raises what it says."""
        head, told = protocol.read_answer(self.receive)
        users = ToldUsers()
        return head, [read_described(value, users) for value in told]

    def pids(self, pid: int) -> list[int]:
        """Ask for a chain, and give the pids of its links."""
        self.ask(protocol.CHAIN, pid, None)
        return [link.pid for link in self.answer()[1]]

    def wait_until_hung_up(self) -> None:
        """Turn until the server has hung up; what it sent before can still be received."""
        self._desk.turn_until(lambda: self._read() or self.is_hung_up, "the server hangs up")

    def close(self) -> None:
        self.socket.close()

    def _take(self, size: int) -> bytes:
        self._desk.turn_until(
            lambda: len(self._received) >= size or self._read() or self.is_hung_up, "an answer comes", until=size
        )
        assert len(self._received) >= size, "the server hung up instead of answering"
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _read(self) -> bool:
        """Read what is there; always false, for more may come."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        self._received += data
        self.is_hung_up = not data
        return False


class Desk:
    """A server at the socket of the test: an engine that knows PID 1, with its clock at 1000 s."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.now_ns = 1000 * SECOND_NS
        self.reader = FakeReader([INIT])
        self.connector = EventfdConnector()
        self.engine = Engine(reader=self.reader, timer=lambda: self.now_ns)
        self.server: Server

    def open(self, *, processes: int = 0) -> Self:
        """Begin, with so many children of PID 1 besides."""
        for pid in range(100, 100 + processes):
            self.reader.show(sighting(pid, start_ns=900 * SECOND_NS, comm=b"child", cmdline=b"child\0of\0init\0"))
        self.engine.start(cast("ProcConnector", self.connector))
        self.server = Server(self.engine, Listener.open())
        return self

    def call(self) -> Call:
        """Connect; it is taken with the next turns."""
        return Call(self)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.server.turn(0)

    def turn_until(self, is_so: Callable[[], object], what: str, *, until: object = None) -> None:
        """Make turns until something holds; fails the test when the time is over."""
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what} {until or ''}"
            self.server.turn(0)

    @property
    def callers(self) -> int:
        return self.server.stats().callers

    def close(self) -> None:
        if hasattr(self, "server"):
            self.server.close()
        self.engine.close()


def frames(data: Iterator[bytes | None]) -> Callable[[], bytes]:
    """Give frames one by one without their length, as a client receives them."""

    def receive() -> bytes:
        framed = next(piece for piece in data if piece)  # an answer may have nothing to send yet
        (length,) = protocol.LENGTH.unpack_from(framed)
        assert length == len(framed) - protocol.LENGTH.size, "the length of a frame is wrong"
        return framed[protocol.LENGTH.size :]

    return receive
