"""Any bytes: a datagram gives events or MalformedMessageError, a stat a Stat or ValueError, and nothing else."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from proc_cache.errors import MalformedMessageError
from proc_cache.events import Event
from proc_cache.kernel import wire
from proc_cache.kernel.procfs import Stat, parse_stat
from proc_cache.process import decode_name
from tests.helpers import messages
from tests.helpers.fake_proc import stat_line

PIDS = st.integers(1, (1 << 31) - 1)
HEADS = st.fixed_dictionaries(
    {
        "seq": st.integers(0, (1 << 32) - 1),
        "cpu": st.integers(0, (1 << 32) - 1),
        "timestamp_ns": st.integers(0, (1 << 64) - 1),
    }
)
NAMES = st.binary(max_size=16)
ONE_MESSAGE = st.one_of(
    st.builds(lambda a, b, head: messages.fork(a, b, **head), PIDS, PIDS, HEADS),
    st.builds(lambda a, head: messages.exec_(a, **head), PIDS, HEADS),
    st.builds(lambda a, name, head: messages.comm(a, name, **head), PIDS, NAMES, HEADS),
    st.builds(
        lambda a, status, head: messages.exit_(a, status=status, **head), PIDS, st.integers(0, 65535), HEADS
    ),
    st.builds(lambda a, number, head: messages.ack(number, **head), PIDS, st.integers(0, (1 << 32) - 1), HEADS),
    st.builds(
        lambda what, body, head: messages.message(what, body + b"\0" * (-len(body) % 4), **head),
        st.integers(0, (1 << 32) - 1),
        st.binary(max_size=40),
        HEADS,
    ),
    st.builds(lambda a, kind: messages.sid(a, kind=kind), PIDS, st.integers(0, 65535)),
    st.builds(lambda a, idx: messages.sid(a, idx=idx), PIDS, st.integers(0, (1 << 32) - 1)),
)
DATAGRAMS = st.lists(ONE_MESSAGE, min_size=1, max_size=4).map(b"".join)


def decode_or_refuse(data: bytes) -> tuple[list[Event], bool]:
    """What came of it, and whether it was refused; any other exception fails the test."""
    try:
        events, is_refused = wire.decode(data), False
    except MalformedMessageError as error:
        events, is_refused = list(error.events), True
    for event in events:
        assert isinstance(event, Event)
    return events, is_refused


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    decode_or_refuse(data)


@given(DATAGRAMS)
def test_valid_datagrams_are_not_refused(data: bytes) -> None:
    assert not decode_or_refuse(data)[1]


@given(ONE_MESSAGE, ONE_MESSAGE)
def test_alone_or_not_a_message_means_the_same(first: bytes, second: bytes) -> None:
    assert wire.decode(first + second) == wire.decode(first) + wire.decode(second)


@given(DATAGRAMS, st.data())
def test_truncated_datagrams_give_the_events_before(data: bytes, draw: st.DataObject) -> None:
    whole, _ = decode_or_refuse(data)
    cut, _ = decode_or_refuse(data[: draw.draw(st.integers(0, len(data)))])
    assert cut == whole[: len(cut)]


@given(DATAGRAMS, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutated_datagrams(data: bytes, changes: list[tuple[int, int]]) -> None:
    mutated = bytearray(data)
    for place, value in changes:
        mutated[place % len(mutated)] = value
    decode_or_refuse(bytes(mutated))


@given(PIDS, PIDS, HEADS)
def test_forks_come_back(parent: int, child: int, head: dict[str, int]) -> None:
    (event,) = wire.decode(messages.fork(parent, child, **head))
    assert event == (head["seq"], head["cpu"], head["timestamp_ns"], parent, parent, child, child)


@given(PIDS, NAMES)
def test_names_come_back_up_to_nul(pid: int, name: bytes) -> None:
    (event,) = wire.decode(messages.comm(pid, name))
    assert event[-1] == name.partition(b"\0")[0]


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda name: stat_line(5, name)[:-30]))
def test_any_bytes_as_stat(data: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(parse_stat(data), Stat)


@given(st.binary(max_size=64), PIDS, st.sampled_from("RSDZTtXI"), st.integers(0, 1 << 62))
def test_any_name_in_stat(name: bytes, ppid: int, state: str, start_ticks: int) -> None:
    stat = parse_stat(stat_line(42, name, ppid=ppid, state=state, start_ticks=start_ticks))
    assert (stat.pid, stat.comm, stat.ppid, stat.state, stat.start_ticks) == (42, name, ppid, state, start_ticks)


@given(st.binary())
def test_any_name_decodes_losslessly(name: bytes) -> None:
    assert decode_name(name).encode("utf-8", "surrogateescape") == name
