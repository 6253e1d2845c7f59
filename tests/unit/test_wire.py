"""kernel/wire.py: bytes to events and back."""

from __future__ import annotations

from struct import pack, unpack

import pytest

from proc_cache import events
from proc_cache.errors import MalformedMessageError
from proc_cache.kernel import wire
from tests.helpers import messages

HEAD = {"seq": 0xFFFFFFFE, "cpu": 3, "timestamp_ns": 1 << 63}
ROUND_TRIPS = [
    (messages.fork(10, 20, **HEAD), events.Fork(0xFFFFFFFE, 3, 1 << 63, 10, 10, 20, 20)),
    (messages.fork(10, 20, parent_tid=11, **HEAD), events.Fork(0xFFFFFFFE, 3, 1 << 63, 11, 10, 20, 20)),
    (messages.fork(10, 20, tid=21, **HEAD), events.Fork(0xFFFFFFFE, 3, 1 << 63, 10, 10, 21, 20)),
    (messages.exec_(20, tid=21, **HEAD), events.Exec(0xFFFFFFFE, 3, 1 << 63, 21, 20)),
    (messages.uid(20, 1000, 0xFFFFFFFF, **HEAD), events.Uid(0xFFFFFFFE, 3, 1 << 63, 20, 20, 1000, 0xFFFFFFFF)),
    (messages.gid(20, 4, 5, **HEAD), events.Gid(0xFFFFFFFE, 3, 1 << 63, 20, 20, 4, 5)),
    (messages.sid(20, **HEAD), events.Sid(0xFFFFFFFE, 3, 1 << 63, 20, 20)),
    (messages.ptrace(20, 9, **HEAD), events.Ptrace(0xFFFFFFFE, 3, 1 << 63, 20, 20, 9, 9)),
    (messages.comm(20, b"sh", **HEAD), events.Comm(0xFFFFFFFE, 3, 1 << 63, 20, 20, b"sh")),
    (messages.coredump(20, 10, **HEAD), events.Coredump(0xFFFFFFFE, 3, 1 << 63, 20, 20, 10, 10)),
    (
        messages.exit_(20, status=768, parent=1, exit_signal=17, **HEAD),
        events.Exit(0xFFFFFFFE, 3, 1 << 63, 20, 20, 768, 17, 1, 1),
    ),
    (
        messages.exit_(20, tid=21, exit_signal=0xFFFFFFFF, **HEAD),
        events.Exit(0xFFFFFFFE, 3, 1 << 63, 21, 20, 0, 0xFFFFFFFF, 1, 1),
    ),
    (messages.ack(78, error=1, **HEAD), events.Ack(0xFFFFFFFE, 3, 1 << 63, 1, 78)),
    (messages.message(0x00000400, b"", **HEAD), events.Unknown(0xFFFFFFFE, 3, 1 << 63, 0x400)),
]
IDS = [type(event).__name__ for _, event in ROUND_TRIPS]


@pytest.mark.parametrize(("data", "event"), ROUND_TRIPS, ids=IDS)
def test_each_kind_of_event(data: bytes, event: events.Event) -> None:
    (decoded,) = wire.decode(data)
    assert decoded == event
    assert type(decoded) is type(event)


@pytest.mark.parametrize(("data", "event"), ROUND_TRIPS, ids=IDS)
def test_alone_in_its_datagram_or_not(data: bytes, event: events.Event) -> None:
    """A usual message that is alone has a short way through the decoder, with the same end."""
    assert wire.decode(data + messages.sid(99))[0] == wire.decode(data)[0] == event


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer(kind: type[bytes | bytearray | memoryview]) -> None:
    assert wire.decode(kind(messages.comm(20, b"sh", seq=5))) == [events.Comm(5, 0, 0, 20, 20, b"sh")]


def test_several_messages_in_one_datagram() -> None:
    assert wire.decode(b"".join(data for data, _ in ROUND_TRIPS)) == [event for _, event in ROUND_TRIPS]


def test_no_bytes_are_no_events() -> None:
    assert wire.decode(b"") == []


@pytest.mark.parametrize(("data", "_event"), ROUND_TRIPS, ids=IDS)
def test_truncated_anywhere(data: bytes, _event: events.Event) -> None:
    for size in range(1, len(data)):
        with pytest.raises(MalformedMessageError) as caught:
            wire.decode(data[:size])
        assert caught.value.events == ()


def test_truncation_keeps_what_came_before() -> None:
    whole, (first, second) = messages.fork(1, 2) + messages.exit_(2), wire.decode(messages.fork(1, 2) * 2)
    assert first == second
    for size in range(77, len(whole)):
        with pytest.raises(MalformedMessageError) as caught:
            wire.decode(whole[:size])
        assert caught.value.events == (first,)


def test_a_payload_larger_than_its_message() -> None:
    data = bytearray(messages.fork(1, 2))
    data[32:34] = pack("=H", 41)  # cn_msg.len; 40 are there
    with pytest.raises(MalformedMessageError, match="payload of 41 bytes"):
        wire.decode(bytes(data))


@pytest.mark.parametrize("what", list(wire._LAYOUTS))
def test_a_union_too_short_for_its_event(what: int) -> None:
    """An older kernel may send a shorter union, never one without the fields of the event."""
    event = pack("=IIQ", what, 0, 0) + b"\0" * 4
    cn_msg = pack("=IIIIHH", 1, 1, 0, 0, len(event), 0) + event
    with pytest.raises(MalformedMessageError):
        wire.decode(pack("=IHHII", 16 + len(cn_msg), wire.NLMSG_DONE, 0, 0, 0) + cn_msg)


def test_a_shorter_union_that_suffices() -> None:
    event = pack("=IIQii", wire.PROC_EVENT_EXEC, 2, 99, 21, 20)
    cn_msg = pack("=IIIIHH", 1, 1, 7, 0, len(event), 0) + event
    data = pack("=IHHII", 16 + len(cn_msg), wire.NLMSG_DONE, 0, 0, 0) + cn_msg
    assert wire.decode(data) == [events.Exec(7, 2, 99, 21, 20)]


def test_a_longer_union_of_a_newer_kernel() -> None:
    data = messages.message(wire.PROC_EVENT_EXEC, pack("=ii", 20, 20).ljust(64, b"\xee"))
    assert wire.decode(data + messages.sid(20)) == [events.Exec(0, 0, 0, 20, 20), events.Sid(0, 0, 0, 20, 20)]


def test_messages_are_aligned() -> None:
    odd = bytearray(messages.message(wire.PROC_EVENT_EXEC, pack("=ii", 20, 20).ljust(25, b"\0")))
    assert unpack("=I", odd[:4]) == (77,)
    assert len(wire.decode(bytes(odd) + b"\0\0\0" + messages.sid(20))) == 2


@pytest.mark.parametrize("kind", [wire.NLMSG_NOOP, wire.NLMSG_ERROR, 4, 0x10])
def test_other_netlink_messages_are_passed_over(kind: int) -> None:
    other = messages.fork(1, 2, kind=kind)
    assert wire.decode(other) == []
    assert wire.decode(other + messages.sid(20)) == [events.Sid(0, 0, 0, 20, 20)]


def test_other_connectors_are_passed_over() -> None:
    assert wire.decode(messages.fork(1, 2, idx=9) + messages.sid(20)) == [events.Sid(0, 0, 0, 20, 20)]


def test_an_empty_message_of_another_connector_is_passed_over() -> None:
    other = pack("=IHHII", 36, wire.NLMSG_DONE, 0, 0, 0) + pack("=IIIIHH", 9, 1, 0, 0, 0, 0)
    assert wire.decode(other + messages.sid(20)) == [events.Sid(0, 0, 0, 20, 20)]


def test_a_message_of_no_length_ends() -> None:
    with pytest.raises(MalformedMessageError):
        wire.decode(pack("=IHHII", 0, wire.NLMSG_DONE, 0, 0, 0) * 4)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"sh\0leftover", b"sh"),
        (b"", b""),
        (b"123456789012345\0", b"123456789012345"),
        (b"1234567890123456", b"1234567890123456"),
        (b"\xff\x1b) R\n", b"\xff\x1b) R\n"),
    ],
)
def test_names_are_bytes_up_to_nul(raw: bytes, name: bytes) -> None:
    (event,) = wire.decode(messages.comm(20, raw))
    assert isinstance(event, events.Comm)
    assert event.comm == name


def test_listen_and_ignore() -> None:
    for data, op, ack in (
        (wire.encode_listen(77, 0x7FFFFFFF), wire.PROC_CN_MCAST_LISTEN, 0x7FFFFFFF),
        (wire.encode_ignore(77), wire.PROC_CN_MCAST_IGNORE, 0),
    ):
        assert unpack("=IHHII", data[:16]) == (len(data), wire.NLMSG_DONE, 0, 0, 77)
        assert unpack("=IIIIHH", data[16:36]) == (wire.CN_IDX_PROC, wire.CN_VAL_PROC, 0, ack, 4, 0)
        assert unpack("=I", data[36:]) == (op,)
