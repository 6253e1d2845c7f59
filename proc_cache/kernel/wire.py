"""Connector messages: bytes to events and back. Pure: no socket, no clock, no pyroute2.

A datagram holds one or more netlink messages (struct nlmsghdr, linux/netlink.h), each with a connector
message (struct cn_msg, linux/connector.h) around one struct proc_event (linux/cn_proc.h), in the byte order
of the machine. Any bytes give events or `MalformedMessageError`, never anything else.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from ..errors import MalformedMessageError
from ..events import Ack, Comm, Coredump, Exec, Exit, Fork, Gid, Ptrace, Sid, Uid, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..events import Event

    Buffer = bytes | bytearray | memoryview

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3

NETLINK_CONNECTOR = 11  # linux/netlink.h

CN_IDX_PROC = 1
CN_VAL_PROC = 1

PROC_CN_MCAST_LISTEN = 1
PROC_CN_MCAST_IGNORE = 2

PROC_EVENT_NONE = 0x00000000
PROC_EVENT_FORK = 0x00000001
PROC_EVENT_EXEC = 0x00000002
PROC_EVENT_UID = 0x00000004
PROC_EVENT_GID = 0x00000040
PROC_EVENT_SID = 0x00000080
PROC_EVENT_PTRACE = 0x00000100
PROC_EVENT_COMM = 0x00000200
PROC_EVENT_COREDUMP = 0x40000000
PROC_EVENT_EXIT = 0x80000000

_NLMSGHDR = Struct("=IHHII")  # length, type, flags, sequence, port id
_CN_MSG = Struct("=IIIIHH")  # idx, val, seq, ack, payload length, flags
_OP = Struct("=I")  # enum proc_cn_mcast_op

# What tells whether a message is an event, read in one go: nlmsghdr's length and type, cn_msg's idx and val
# (as one number) and payload length, proc_event's `what`.
_HEAD = Struct("=IH10xQ8xH2xI")
_unpack_head = _HEAD.unpack_from
_CN_ID = Struct("=Q")
_CN_ID_AT = _NLMSGHDR.size
_CN_ID_PROC = CN_VAL_PROC << 32 | CN_IDX_PROC  # both are 1: the same in either byte order
_EVENT_AT = _NLMSGHDR.size + _CN_MSG.size
_EVENT_HEAD_SIZE = 16

# Every kernel so far sends the whole union with each event: one message of this length in a datagram.
_USUAL_LENGTH = 76


class _Layout:
    """How a message becomes one kind of event: `unpack_from` gives its fields from the message's start."""

    __slots__ = ("event", "least", "unpack_from")

    def __init__(self, event: type[Event], body: str) -> None:
        layout = Struct("=24xI12xIQ" + body)  # cn_msg.seq, proc_event.cpu, proc_event.timestamp_ns, the union
        self.event = event
        self.least = layout.size - _EVENT_AT
        self.unpack_from = layout.unpack_from

    def make(self, data: Buffer, offset: int) -> Event:
        """Make the event of the message at `offset`."""
        fields = self.unpack_from(data, offset)
        if self.event is Comm:
            *head, raw = fields
            return Comm._make((*head, raw.partition(b"\0")[0]))
        return self.event(*fields)


_LAYOUTS = {
    PROC_EVENT_FORK: _Layout(Fork, "iiii"),
    PROC_EVENT_EXEC: _Layout(Exec, "ii"),
    PROC_EVENT_UID: _Layout(Uid, "iiII"),
    PROC_EVENT_GID: _Layout(Gid, "iiII"),
    PROC_EVENT_SID: _Layout(Sid, "ii"),
    PROC_EVENT_PTRACE: _Layout(Ptrace, "iiii"),
    PROC_EVENT_COMM: _Layout(Comm, "ii16s"),
    PROC_EVENT_COREDUMP: _Layout(Coredump, "iiii"),
    PROC_EVENT_EXIT: _Layout(Exit, "iiIIii"),
}
_UNKNOWN = Struct("=24xI12xIQ")
_ACK = Struct("=24xII8xIQI")


# The head of the three messages that storms are made of, whole: what matches it needs no other check.
_USUAL: dict[tuple[int, ...], tuple[type[Event], Callable[[Buffer], tuple[Any, ...]]]] = {
    (_USUAL_LENGTH, NLMSG_DONE, _CN_ID_PROC, _USUAL_LENGTH - _EVENT_AT, what): (layout.event, layout.unpack_from)
    for what, layout in _LAYOUTS.items()
    if layout.event in (Fork, Exec, Exit)
}


def unpack(data: Buffer) -> Sequence[tuple[type[Event], tuple[Any, ...]]]:
    """Give kind and fields of each message in a datagram, as `decode` gives events; the same errors.

    The fields are those of the event's class, in its order. Of a Fork, Exec or Exit they are a plain tuple: to
    make an event of it would be a fifth of what a message of a storm costs.
    """
    if len(data) == _USUAL_LENGTH:
        usual = _USUAL.get(_unpack_head(data))
        if usual is not None:
            return ((usual[0], usual[1](data)),)
    return [(type(event), event) for event in decode(data)]


def decode(data: Buffer) -> list[Event]:
    """Give the events of one datagram, in order.

    Messages that are not about processes are passed over. Raises MalformedMessageError where the bytes
    end too early or contradict themselves; the error holds the events that came before.
    """
    events: list[Event] = []
    offset = 0
    end = len(data)
    while offset < end:
        left = end - offset
        if left < _NLMSGHDR.size:
            raise MalformedMessageError(f"{left} bytes are no message", events)
        length, kind, *_ = _NLMSGHDR.unpack_from(data, offset)
        if not _NLMSGHDR.size <= length <= left:
            raise MalformedMessageError(f"a message of {length} bytes in {left} bytes", events)
        if kind == NLMSG_DONE:
            _decode_connector(data, offset, length, events)
        offset += (length + 3) & ~3  # NLMSG_ALIGN
    return events


def _decode_connector(data: Buffer, offset: int, length: int, events: list[Event]) -> None:
    if length >= _CN_ID_AT + _CN_ID.size and _CN_ID.unpack_from(data, offset + _CN_ID_AT) != (_CN_ID_PROC,):
        return
    if length < _HEAD.size:
        raise MalformedMessageError(f"a connector message of {length} bytes", events)
    _, _, _, size, what = _HEAD.unpack_from(data, offset)
    if not _EVENT_HEAD_SIZE <= size <= length - _EVENT_AT:
        raise MalformedMessageError(f"a payload of {size} bytes in a message of {length}", events)
    layout = _LAYOUTS.get(what)
    if layout is not None:
        if size < layout.least:
            raise MalformedMessageError(f"{layout.event.__name__} of {size} bytes, not {layout.least}", events)
        events.append(layout.make(data, offset))
    elif what == PROC_EVENT_NONE and size >= _ACK.size - _EVENT_AT:
        seq, ack, cpu, timestamp_ns, error = _ACK.unpack_from(data, offset)
        events.append(Ack(seq, cpu, timestamp_ns, error, ack))
    else:
        seq, cpu, timestamp_ns = _UNKNOWN.unpack_from(data, offset)
        events.append(Unknown(seq, cpu, timestamp_ns, what))


def encode_listen(port_id: int, ack: int) -> bytes:
    """Ask for all events; the kernel answers with an Ack that carries `ack` + 1."""
    return _encode_op(PROC_CN_MCAST_LISTEN, port_id, ack)


def encode_ignore(port_id: int) -> bytes:
    """Say that this listener goes; older kernels count the listeners by it."""
    return _encode_op(PROC_CN_MCAST_IGNORE, port_id, 0)


def _encode_op(op: int, port_id: int, ack: int) -> bytes:
    message = _CN_MSG.pack(CN_IDX_PROC, CN_VAL_PROC, 0, ack, _OP.size, 0) + _OP.pack(op)
    return _NLMSGHDR.pack(_NLMSGHDR.size + len(message), NLMSG_DONE, 0, 0, port_id) + message
