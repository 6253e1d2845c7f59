"""The proc connector's socket: open, listen, wait for the acknowledgement, receive, close.

pyroute2 opens, binds and configures the socket; its descriptor is received from here, and decoded by
`wire`. pyroute2 is imported when a connector is opened, not before: it takes 100 ms.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections import deque
from errno import EACCES, ECONNREFUSED, ENOBUFS, EPERM, EPROTONOSUPPORT
from random import SystemRandom
from typing import TYPE_CHECKING

from ..closing import Closing
from ..errors import (
    ConnectorNotBuiltError,
    ConnectorNotPermittedError,
    ConnectorSilentError,
    ConnectorUnavailableError,
    MalformedMessageError,
    NotInInitialNamespacesError,
)
from ..events import Ack, Exec
from . import socket_filter, wire
from .clocks import deadline_s, left_s

if TYPE_CHECKING:
    from typing import Self

RECEIVE_BUFFER_BYTES = 64 << 20  # asked for; the kernel gives what the privilege allows
EXEC_BUFFER_BYTES = 4 << 20  # of the lane for execs: thousands
ACK_TIMEOUT_S = 1.0
_DATAGRAM_MAX = 1 << 16
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; not in the socket module of Python 3.11

# The inode numbers of the initial namespaces, include/linux/proc_ns.h (PROC_PID_INIT_INO and its like).
_INITIAL_NAMESPACES = {"pid": 4026531836, "user": 4026531837}

_NO_CONNECTOR = (
    "this kernel has no process connector; it needs CONFIG_CONNECTOR and CONFIG_PROC_EVENTS. "
    "`chain`, `descendant` and `snapshot` still answer from /proc"
)
_NOT_PERMITTED = (
    "this kernel lets only CAP_NET_ADMIN listen to process events (it is free to all since Linux 6.6); "
    "run it as root"
)


def foreign_namespaces() -> list[str]:
    """Name the kinds of namespace (pid, user) in which this process is not in the initial one."""
    foreign = []
    for kind, inode in _INITIAL_NAMESPACES.items():
        try:
            if os.stat(f"/proc/self/ns/{kind}").st_ino != inode:
                foreign.append(kind)
        except OSError:
            continue  # no such kind of namespace in this kernel, or no /proc: nothing is known of it
    return foreign


class ExecLane:
    """A second socket, of which a filter in the kernel leaves nothing but execs.

    What a program is called has to be read in the half millisecond that it may live; all else can wait for a few
    milliseconds, and costs a third by the batch. So this socket is what the engine wakes up for.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        ask_for_buffer(sock, EXEC_BUFFER_BYTES)

    def take(self) -> list[tuple[int, int]]:
        """Give pid and time (CLOCK_MONOTONIC, ns) of the execs that have not been given yet."""
        execs: list[tuple[int, int]] = []
        while True:
            try:
                datagram = self.socket.recv(_DATAGRAM_MAX)
            except BlockingIOError:
                return execs
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                continue  # the other socket has them all the same, and knows whether it has not
            with contextlib.suppress(MalformedMessageError):
                execs += [(fields[4], fields[2]) for kind, fields in wire.unpack(datagram) if kind is Exec]


class ProcConnector(Closing):
    """A listening socket of the proc connector; made by `open()`, closed by `close()` or a `with` block.

    `exec_lane` brings execs early, where the kernel lets it be set up.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.exec_lane: ExecLane | None = None
        self._early: deque[bytes] = deque()  # came before the acknowledgement; trusted once that has come
        self._poll = select.epoll()
        self._poll.register(sock, select.EPOLLIN)
        self._is_held_back = False
        self._port_id: int = sock.getsockname()[0]
        self.receive_buffer_bytes = ask_for_buffer(sock, RECEIVE_BUFFER_BYTES)

    @classmethod
    def open(cls, *, has_exec_lane: bool = False) -> Self:
        """Open a connector and listen; returns when the kernel has acknowledged it, in a second at most.

        With a lane for execs whoever waits has to take them from there too, or is never left waiting.

        Raises the subclass of ConnectorUnavailableError that says why there is none.
        """
        connector = cls(_open_socket())
        try:
            connector._listen()
            if has_exec_lane:
                connector._open_exec_lane()
        except BaseException:
            connector.close()
            raise
        return connector

    def fileno(self) -> int:
        """Give a descriptor that can be read when there is something to receive, for select and its like."""
        return -1 if self._poll.closed else self._poll.fileno()

    def inode(self) -> int:
        """Give the number by which /proc/net/netlink knows the socket that all messages come by."""
        return os.fstat(self._socket.fileno()).st_ino

    def hold_back(self, is_held_back: bool) -> None:
        """Wait for execs alone from now on, or for everything again; without a lane for them nothing changes."""
        if self.exec_lane is not None and is_held_back != self._is_held_back:
            self._is_held_back = is_held_back
            self._poll.modify(self._socket, 0 if is_held_back else select.EPOLLIN)

    def receive(self) -> bytes | None:
        """Give the next datagram, b"" where none is waiting, None where the buffer ran over (ENOBUFS)."""
        if self._early:
            return self._early.popleft()
        try:
            return self._socket.recv(_DATAGRAM_MAX)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno == ENOBUFS:
                return None
            raise

    def filter(self, instructions: bytes | None) -> bool:
        """Have the kernel drop what these instructions drop (see `socket_filter`), or, for None, nothing again."""
        if instructions is None:
            socket_filter.detach(self._socket)
            return True
        return socket_filter.attach(self._socket, instructions)

    def drops(self) -> int | None:
        """Tell how many messages found no room in the buffer so far; None where the kernel does not tell."""
        return socket_filter.drops(self._socket)

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to receive; false when the time has passed."""
        return bool(self._early) or bool(self._poll.poll(timeout_s))

    def close(self) -> None:
        """Say IGNORE, without which older kernels go on sending to nobody, and close. Can be repeated."""
        if self._socket.fileno() < 0:
            return
        try:
            self._socket.send(wire.encode_ignore(self._port_id))
        except OSError:
            pass  # the kernel had refused LISTEN already, or has no room: closing is all that is left
        finally:
            self._socket.close()
            self._poll.close()
            if self.exec_lane is not None:
                self.exec_lane.socket.close()

    def _open_exec_lane(self) -> None:
        sock = _open_socket()
        if socket_filter.attach(sock, socket_filter.only(wire.PROC_EVENT_EXEC)):
            self.exec_lane = ExecLane(sock)
            self._poll.register(sock, select.EPOLLIN)
        else:
            sock.close()

    def _listen(self) -> None:
        # Acknowledgements for other listeners reach this socket too: only the number tells them apart.
        number = SystemRandom().randrange(1, 1 << 31)
        try:
            self._socket.send(wire.encode_listen(self._port_id, number))
        except OSError as error:
            raise _explain(error) from error
        deadline = deadline_s(ACK_TIMEOUT_S)
        while left_s(deadline):
            self._poll.poll(left_s(deadline))
            datagram = self._receive_early()
            if datagram and self._acknowledges(datagram, number + 1):
                return
        raise _explain_silence()

    def _receive_early(self) -> bytes:
        try:
            datagram = self._socket.recv(_DATAGRAM_MAX)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != ENOBUFS:
                raise
            return b""  # nothing was promised yet: the scan that follows sees what this would have told
        self._early.append(datagram)
        return datagram

    @staticmethod
    def _acknowledges(datagram: bytes, number: int) -> bool:
        try:
            events = wire.decode(datagram)
        except MalformedMessageError:
            return False
        for event in events:
            if isinstance(event, Ack) and event.ack == number:
                if event.error:
                    raise _explain(OSError(event.error, os.strerror(event.error)))
                return True
        return False


def _open_socket() -> socket.socket:
    """Have pyroute2 open and bind the socket, and take its descriptor over."""
    try:
        from pyroute2.netlink.connector.cn_proc import ProcEventSocket

        opened = ProcEventSocket()
        try:
            opened.bind()
            sock = socket.socket(fileno=os.dup(opened.fileno()))
        finally:
            opened.close()
    except OSError as error:
        raise _explain(error) from error
    except KeyError as error:  # pyroute2 tries every port and does not say why each of them was refused
        raise _explain_bind() from error
    sock.setblocking(False)
    os.set_inheritable(sock.fileno(), False)
    return sock


def ask_for_buffer(sock: socket.socket, wanted: int) -> int:
    """Get the largest receive buffer that is allowed; returns the bytes that can be filled."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)  # cut to net.core.rmem_max
    # The kernel doubles what is asked, for its own bookkeeping, and tells the doubled figure (socket(7)).
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _explain_bind() -> ConnectorUnavailableError:
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, wire.NETLINK_CONNECTOR) as probe:
            probe.bind((0, wire.CN_IDX_PROC))
    except OSError as error:
        return _explain(error)
    return ConnectorUnavailableError("no netlink port is free; close other listeners and try again")


def _explain(error: OSError) -> ConnectorUnavailableError:
    if error.errno == ECONNREFUSED:  # the connector's kernel side exists in the initial network namespace only
        return NotInInitialNamespacesError(
            "not in the initial network namespace, where alone the kernel tells of processes; "
            "run it on the host (`nsenter -t 1 -n`)"
        )
    if error.errno in (EPERM, EACCES):
        return _explain_silence() if foreign_namespaces() else ConnectorNotPermittedError(_NOT_PERMITTED)
    if error.errno == EPROTONOSUPPORT:
        return ConnectorNotBuiltError(_NO_CONNECTOR)
    return ConnectorUnavailableError(f"the process connector cannot be opened: {error.strerror}")


def _explain_silence() -> ConnectorUnavailableError:
    foreign = foreign_namespaces()
    if foreign:
        return NotInInitialNamespacesError(
            f"not in the initial {' and '.join(foreign)} namespace, where alone the kernel tells of processes; "
            "run it on the host"
        )
    return ConnectorSilentError(
        f"the kernel did not acknowledge the subscription within {ACK_TIMEOUT_S:g} s; "
        "is it built with CONFIG_PROC_EVENTS?"
    )
