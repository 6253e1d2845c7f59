"""The taskstats socket: open, register for all CPUs, receive exit records by the batch, deregister, close.

pyroute2 opens and binds the socket and looks the family's id up; its descriptor is received from here, and
decoded by `exit_record`. The registration is sent from here too: pyroute2's asks for no answer, so that a refusal
would go unnoticed, and pyroute2 would read, and so lose, the first records.
"""

from __future__ import annotations

import os
import select
import socket
from errno import EACCES, EAGAIN, ECONNREFUSED, EINVAL, ENOBUFS, ENOENT, EPERM, EPROTONOSUPPORT
from random import SystemRandom
from struct import Struct
from typing import TYPE_CHECKING

from ..closing import Closing
from ..errors import ExitRecordsUnavailableError
from . import socket_filter, wire
from .clocks import deadline_s, left_s
from .exit_record import decode_acknowledgement, encode_deregister, encode_register
from .netlink import ask_for_buffer, foreign_namespaces

if TYPE_CHECKING:
    from typing import Self

RECEIVE_BUFFER_BYTES = 32 << 20  # the kernel doubles it; a record takes 1.3 KiB of that: 50,000 fit in
ACK_TIMEOUT_S = 1.0
POSSIBLE_CPUS = "/sys/devices/system/cpu/possible"  # what may be plugged in later is registered for as well

RECORDS_AT_ONCE = 64  # datagrams in one call; with 16 each costs 5 % more, with 128 20 %, as they leave the cache
_DATAGRAM_MAX = 4096  # 596 bytes of one task on 6.18, 1172 with the figures of its process
_EMPTY_MESSAGE = Struct("=IHHII").pack(16, wire.NLMSG_NOOP, 0, 0, 0)  # struct nlmsghdr alone


class ExitRecordSocket(Closing):
    """A registered taskstats socket; made by `open()`, closed by `close()` or a `with` block.

    `family` is the id to decode with, `overruns` how often the buffer ran over. The kernel sends nothing more
    after an overrun until all that is waiting has been received.
    """

    def __init__(self, sock: socket.socket, family: int) -> None:
        self.family = family
        self.overruns = 0
        self.receive_buffer_bytes = ask_for_buffer(sock, RECEIVE_BUFFER_BYTES)
        self._socket = sock
        self._cpus = ""
        self._early: list[bytes] = []  # came before the answer to the registration
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._batch = _Batch()

    @classmethod
    def open(cls) -> Self:
        """Open one and register; returns when the kernel has said that it will send, in a second at most.

        Raises ExitRecordsUnavailableError, whose text is the reason.
        """
        _refuse_foreign_namespaces()
        cpus = _read_possible_cpus()
        records = cls(*_open_socket())
        try:
            records._register(cpus)
        except BaseException:
            records.close()
            raise
        return records

    def fileno(self) -> int:
        """Give the descriptor, for select and its like; call `receive_batch` once before waiting for it."""
        return self._socket.fileno()

    def receive_batch(self) -> list[bytes]:
        """Give the next datagrams, 64 at most, without waiting; none where none is there, overrun or not."""
        if self._early:
            early, self._early = self._early, []
            return early
        return self._receive()

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to receive; false when the time has passed."""
        return bool(self._early) or bool(self._poll.poll(timeout_s * 1000))

    @property
    def lost(self) -> int | None:
        """How many records found no room, exactly; None where the kernel does not tell (before 4.12)."""
        return socket_filter.drops(self._socket)

    def close(self) -> None:
        """Deregister, without which each CPU keeps the entry until its next exit, and close. Can be repeated."""
        if self._socket.fileno() < 0:
            return
        try:
            if self._cpus:
                self._socket.send(encode_deregister(self.family, self._cpus))
        except OSError:
            pass  # closing alone does it too, only later
        finally:
            self._socket.close()

    def _receive(self) -> list[bytes]:
        while True:
            try:
                return self._batch.receive(self._socket.fileno())
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
            self.overruns += 1  # told once; what had found room comes after it

    def _register(self, cpus: str) -> None:
        number = SystemRandom().randrange(1, 1 << 31)
        try:
            self._socket.send(encode_register(self.family, cpus, number))
        except OSError as error:
            raise _explain(error) from error
        self._cpus = cpus
        deadline = deadline_s(ACK_TIMEOUT_S)
        while left_s(deadline):
            self._poll.poll(left_s(deadline) * 1000)
            answers = [self._take_answer(datagram, number) for datagram in self._receive()]
            if True in answers:
                return
        raise ExitRecordsUnavailableError(
            f"the kernel did not answer the registration for exit records within {ACK_TIMEOUT_S:g} s"
        )

    def _take_answer(self, datagram: bytes, number: int) -> bool:
        """Whether this is the answer that it is registered; keeps what is none."""
        error = decode_acknowledgement(datagram, number)
        if error is None:
            self._early.append(datagram)
        elif error:
            raise _explain(OSError(error, os.strerror(error)))
        return error == 0


class _Batch:
    """recvmmsg(2) into buffers that stay: a fifth less CPU a datagram than recv(2) (0.79 us, 0.98)."""

    def __init__(self) -> None:
        # Imported late, as pyroute2 is: nobody needs them who opens no socket.
        import ctypes
        from mmap import mmap

        class IoVec(ctypes.Structure):  # recvmsg(2)
            _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))

        class MsgHdr(ctypes.Structure):
            _fields_ = (
                ("name", ctypes.c_void_p),
                ("namelen", ctypes.c_uint32),
                ("iov", ctypes.c_void_p),
                ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p),
                ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int),
            )

        class MMsgHdr(ctypes.Structure):
            _fields_ = (("hdr", MsgHdr), ("len", ctypes.c_uint))

        self._buffer = mmap(-1, RECORDS_AT_ONCE * _DATAGRAM_MAX)  # its slices are bytes: one copy, and no more
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self._vectors = (IoVec * RECORDS_AT_ONCE)()
        headers = (MMsgHdr * RECORDS_AT_ONCE)()
        for at, (vector, header) in enumerate(zip(self._vectors, headers, strict=True)):
            vector.base = base + at * _DATAGRAM_MAX
            vector.len = _DATAGRAM_MAX
            header.hdr.iov = ctypes.addressof(vector)
            header.hdr.iovlen = 1
        self._headers = memoryview(headers).cast("B")
        self._address = ctypes.addressof(headers)
        self._header_size = ctypes.sizeof(MMsgHdr)
        after = self._header_size - MMsgHdr.len.offset - MMsgHdr.len.size
        self._length = Struct(f"={MMsgHdr.len.offset}xI{after}x")
        self._recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
        self._get_errno = ctypes.get_errno

    def receive(self, descriptor: int) -> list[bytes]:
        """Give what is waiting, RECORDS_AT_ONCE datagrams at most; raises what recvmmsg(2) does, but EAGAIN."""
        count = self._recvmmsg(descriptor, self._address, RECORDS_AT_ONCE, socket.MSG_DONTWAIT, None)
        if count < 0:
            number = self._get_errno()
            if number == EAGAIN:
                return []
            raise OSError(number, os.strerror(number))
        buffer = self._buffer
        datagrams = []
        at = 0
        for (length,) in self._length.iter_unpack(self._headers[: count * self._header_size]):
            datagrams.append(buffer[at : at + length])
            at += _DATAGRAM_MAX
        return datagrams


def _open_socket() -> tuple[socket.socket, int]:
    """Have pyroute2 open and bind the socket and look up the family, and take the descriptor over."""
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.taskstats import TaskStats

    try:
        opened = TaskStats()
        opened.asyncore.module_err_level = "debug"  # it would log what is raised here
        try:
            opened.bind()
            family: int = opened.asyncore.prid
            sock = socket.socket(fileno=os.dup(opened.fileno()))
        finally:
            opened.close()
    except NetlinkError as error:  # no OSError
        raise _explain(OSError(error.code, os.strerror(error.code))) from error
    except OSError as error:
        raise _explain(error) from error
    except KeyError as error:  # pyroute2 has tried every port
        raise ExitRecordsUnavailableError("no netlink port is free for exit records") from error
    sock.setblocking(False)
    os.set_inheritable(sock.fileno(), False)
    return sock, family


def _read_possible_cpus() -> str:
    try:
        with open(POSSIBLE_CPUS, encoding="ascii") as possible:
            return possible.read().strip()
    except OSError as error:
        raise ExitRecordsUnavailableError(
            f"exit records are asked for by CPU, and {POSSIBLE_CPUS} cannot be read: {error.strerror}"
        ) from error


def _refuse_foreign_namespaces() -> None:
    foreign = foreign_namespaces()
    if not foreign and _is_in_foreign_network():
        foreign = ["network"]
    if foreign:
        raise ExitRecordsUnavailableError(_not_initial(" and ".join(foreign)))


def _is_in_foreign_network() -> bool:
    """Whether this is not the initial network: there the kernel takes a registration, and sends it nothing.

    (send_cpu_listeners in kernel/taskstats.c sends in init_net alone; tried on 6.18.) The connector's kernel side
    tells, as it exists in the initial one only; a message too short for it is thrown away (cn_rx_skb).
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, wire.NETLINK_CONNECTOR) as probe:
            probe.sendto(_EMPTY_MESSAGE, (0, 0))
    except OSError as error:
        return error.errno == ECONNREFUSED  # anything else tells nothing
    return False


def _not_initial(kinds: str) -> str:
    return f"not in the initial {kinds} namespace, where alone the kernel gives exit records; run it on the host"


def _explain(error: OSError) -> ExitRecordsUnavailableError:
    if error.errno in (EPERM, EACCES):
        return ExitRecordsUnavailableError("exit records need CAP_NET_ADMIN; run it as root")
    if error.errno in (ENOENT, EPROTONOSUPPORT):
        return ExitRecordsUnavailableError("this kernel has no exit records; it needs CONFIG_TASKSTATS")
    if error.errno == EINVAL:  # add_del_listener, kernel/taskstats.c
        return ExitRecordsUnavailableError(_not_initial("PID or user"))
    return ExitRecordsUnavailableError(f"exit records cannot be had: {error.strerror}")
