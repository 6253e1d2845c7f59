"""Any bytes from the socket: a value, a request, an answer, or the one error; what was written comes back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache.errors import MalformedFrameError, NobodyFoundError
from proc_cache.process import Cost, Process
from proc_cache.query import Chain, Verdict
from proc_cache.selection import Selection, Target
from proc_cache.service import protocol
from proc_cache.service.answers import Answers
from proc_cache.service.encoding import DEPTH_MAX, decode, encode
from proc_cache.service.protocol import CHAIN, DESCENT, SNAPSHOT, STATS, VERSION, Request, frame, pack
from proc_cache.times import Moment
from tests.helpers.calling import frames
from tests.helpers.story import Story

ALL_TEXT = st.text(alphabet=st.characters(exclude_categories=()))  # lone surrogates included
WHOLE = st.integers(-(10**36), 10**37)
LEAVES = st.none() | st.booleans() | WHOLE | ALL_TEXT | st.binary()


def tuples_of(depth: int) -> st.SearchStrategy[Any]:
    """Values with at most so many tuples in each other."""
    values: st.SearchStrategy[Any] = LEAVES
    for _ in range(depth):
        values = LEAVES | st.lists(values, max_size=4).map(tuple)
    return values


VALUES = tuples_of(DEPTH_MAX)
# Bytes that come near to a value: made of the pieces that values are made of.
ALMOST = st.lists(
    st.sampled_from([b"n", b"t", b"f", b"i", b"s", b"b", b"l", b":", b";", b"-", b"_", b" ", b"+"])
    | st.integers(0, 12).map(lambda number: b"%d" % number)
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)
ANY_BYTES = st.binary() | ALMOST

NAMES = st.binary(max_size=15).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
NATURAL = st.integers(0, 1 << 64)
OPTIONAL_NUMBER = st.none() | NATURAL
PROCESSES = st.builds(
    Process,
    pid=NATURAL,
    ppid=OPTIONAL_NUMBER,
    ppid_source=st.sampled_from(["fork", "snapshot", "procfs"]),
    current_ppid=OPTIONAL_NUMBER,
    current_parent=st.none() | NAMES,
    cmd=st.none() | NAMES,
    source=st.sampled_from(["exec", "comm", "inherited"]),
    former_cmds=st.lists(NAMES, max_size=3).map(tuple),
    cmdline=st.none() | st.lists(st.binary(max_size=20), max_size=4).map(tuple),
    uid=OPTIONAL_NUMBER,
    user=st.none() | ALL_TEXT,
    birth_user=st.none() | ALL_TEXT,
    session=OPTIONAL_NUMBER,
    booted_ns=NATURAL,
    start_time_ns=OPTIONAL_NUMBER,
    is_alive=st.none() | st.booleans(),
    exit_time_ns=OPTIONAL_NUMBER,
    exit_status=OPTIONAL_NUMBER,
    cost=st.none() | st.builds(Cost, NATURAL, NATURAL, NATURAL, NATURAL),
    full_name=st.none() | NAMES,
    generations_left_out=NATURAL,
)
CHAINS = st.builds(
    Chain,
    NATURAL,
    st.booleans(),
    st.none() | ALL_TEXT,
    NATURAL,
    st.lists(PROCESSES, max_size=3).map(tuple),
    OPTIONAL_NUMBER,
    st.booleans(),
    st.lists(ALL_TEXT, max_size=3).map(tuple),
)
MOMENTS = st.builds(Moment, WHOLE, WHOLE)
TARGETS = st.builds(Target, NATURAL, st.none() | MOMENTS)
SELECTIONS = st.builds(
    Selection,
    st.none() | NAMES,
    st.none() | ALL_TEXT,
    st.none() | TARGETS | NAMES,
    st.booleans(),
    st.none() | MOMENTS,
    st.none() | TARGETS,
    WHOLE,
    st.booleans(),
    st.none() | WHOLE,
    st.none() | WHOLE,
)


def is_same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down: True is no 1."""
    if type(left) is not type(right):
        return False
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(is_same, left, right))
    return bool(left == right)


@given(ANY_BYTES)
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    try:
        value = decode(data)
    except MalformedFrameError:
        return
    assert is_same(decode(encode(value)), value)


@given(VALUES)
def test_values_come_back(value: Any) -> None:
    assert is_same(decode(encode(value)), value)


@given(st.integers(-(10**255), 10**255))
def test_whole_numbers_of_any_size_come_back(value: int) -> None:
    """A PID of up to 255 digits can be typed (cli/targets.py)."""
    assert decode(encode(value)) == value


@given(VALUES, st.data())
def test_what_is_cut_off_is_malformed(value: Any, draw: st.DataObject) -> None:
    data = encode(value)
    with pytest.raises(MalformedFrameError):
        decode(data[: draw.draw(st.integers(0, len(data) - 1))])


@given(VALUES, st.binary(min_size=1))
def test_what_is_too_much_is_malformed(value: Any, more: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        decode(encode(value) + more)


@given(VALUES, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_a_value_or_malformed(value: Any, changes: list[tuple[int, int]]) -> None:
    data = bytearray(encode(value))
    for place, byte in changes:
        data[place % len(data)] = byte
    with suppress(MalformedFrameError):
        decode(bytes(data))


# --- requests -----------------------------------------------------------------------------------------------

KINDS = st.sampled_from([CHAIN, DESCENT, SNAPSHOT, STATS, "", "x"])
ALMOST_REQUESTS = st.tuples(
    st.sampled_from([VERSION, VERSION + 1, 0, True]) | LEAVES,
    st.just(7) | LEAVES,
    KINDS | LEAVES,
    st.lists(tuples_of(2), max_size=4).map(tuple) | LEAVES,
).map(encode)


@given(ANY_BYTES | ALMOST_REQUESTS | VALUES.map(encode))
def test_any_bytes_are_a_request_or_malformed(data: bytes) -> None:
    with suppress(MalformedFrameError):
        asked = protocol.read_request(data)
        assert type(asked.version) is int
        assert type(asked.client_pid) is int
        assert isinstance(asked.kind, str)
        assert isinstance(asked.arguments, tuple)


@given(SELECTIONS)
def test_selections_come_back(selection: Selection) -> None:
    data = protocol.write_request(7, SNAPSHOT, selection)
    (argument,) = protocol.read_request(data[protocol.LENGTH.size :]).arguments
    assert protocol.read_selection(argument) == selection


def a_view() -> Answers:
    story = Story()
    story.fork(0, 1)
    story.comm(1, b"systemd")
    story.fork(1, 10)
    story.comm(10, b"a name of 15 by")
    story.exit(10)
    return Answers(story.view, lambda: (), [])


PIDS = st.sampled_from([0, 1, 10, 99, 10**37])
# Text that stands for bytes, as every name and argument does that a command line can give.
ARGUMENTS = st.one_of(
    st.tuples(st.just(CHAIN), st.tuples(PIDS, st.none() | st.tuples(WHOLE, WHOLE))),
    st.tuples(st.just(DESCENT), st.tuples(PIDS, NAMES, LEAVES, st.none() | st.tuples(WHOLE, WHOLE))),
    st.tuples(st.just(SNAPSHOT), st.tuples(SELECTIONS.map(pack))),
    st.tuples(KINDS, st.lists(tuples_of(2) | PIDS, max_size=4).map(tuple)),
)


@given(ARGUMENTS)
def test_any_request_is_answered_or_malformed(asked: tuple[str, tuple[Any, ...]]) -> None:
    """What a caller sends cannot end the engine: whatever else is raised here would."""
    kind, arguments = asked
    if kind == DESCENT and len(arguments) == 4 and not _stands_for_bytes(arguments[1]):
        return  # test_a_name_that_no_process_can_have
    try:
        answer = list(a_view().to(Request(VERSION, 7, kind, arguments)))
    except MalformedFrameError:
        return
    with suppress(NobodyFoundError):
        head, told = protocol.read_answer(frames(iter(answer)))
        assert isinstance(head, tuple)
        assert all(isinstance(value, tuple) for value in told)


def _stands_for_bytes(value: Any) -> bool:
    try:
        return not isinstance(value, str) or bool(value.encode("utf-8", "surrogateescape") or True)
    except UnicodeEncodeError:
        return False


# --- answers ------------------------------------------------------------------------------------------------


@given(CHAINS)
def test_chains_come_back(chain: Chain) -> None:
    (head, *_) = frames_read([frame(("ok", *protocol.chain_head(chain)))])
    assert protocol.read_chain(head[1:], chain.links) == chain


def frames_read(told: list[bytes]) -> list[tuple[Any, ...]]:
    return [protocol.read_frame(data[protocol.LENGTH.size :]) for data in told]


@given(st.none() | st.booleans(), st.none() | ALL_TEXT, OPTIONAL_NUMBER, st.none() | ALL_TEXT)
def test_verdicts_come_back(
    descendant: bool | None, reason: str | None, match: int | None, matched_by: str | None
) -> None:
    verdict = Verdict(descendant, reason, match, matched_by)
    assert Verdict(*frames_read([frame(pack(verdict))])[0]) == verdict
