"""kernel/socket_filter.py: what a filter drops and what it passes, by an interpreter and by the kernel's own.

The interpreter follows net/core/filter.c and knows nothing of the builder. The kernel runs the same programs on
a pair of Unix sockets, whose datagrams go through the same sk_filter; that needs no privilege.
"""

from __future__ import annotations

import socket
import struct
from errno import ENOPROTOOPT
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache import events
from proc_cache.errors import MalformedMessageError
from proc_cache.kernel import socket_filter, wire
from tests.helpers import messages

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from proc_cache.events import Event

    Kinds = Mapping[int, Collection[int] | None]
    Pids = Collection[int] | None

BPF_MAXINSNS = 4096
JUMPS = (0x15, 0x1D, 0x35)
RETURN = 0x06


def instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    """Take a program apart, and check it as bpf_check_classic does: every jump lands, and it returns."""
    code = list(struct.iter_unpack("=HBBI", program))
    assert 0 < len(code) <= BPF_MAXINSNS
    assert code[-1][0] == RETURN
    for place, (op, jump_if, jump_else, _) in enumerate(code):
        if op in JUMPS:
            assert place + 1 + max(jump_if, jump_else) < len(code)
        else:
            assert jump_if == jump_else == 0
    return code


def load(op: int, at: int, data: bytes) -> int | None:
    """What a load gives, None beyond the end; words and half words are big-endian."""
    if op == 0x80:  # BPF_LD | BPF_W | BPF_LEN
        return len(data)
    layout = {0x20: ">I", 0x28: ">H", 0x30: ">B"}[op]
    return struct.unpack_from(layout, data, at)[0] if at + struct.calcsize(layout) <= len(data) else None


def runs_to(program: bytes, data: bytes) -> int:
    """How many bytes of a datagram a program lets through; 0 drops it."""
    code = instructions(program)
    a = x = place = 0
    while True:
        op, jump_if, jump_else, k = code[place]
        place += 1
        if op == RETURN:
            return k
        if op == 0x07:  # BPF_MISC | BPF_TAX
            x = a
        elif op in JUMPS:
            is_so = {0x15: a == k, 0x1D: a == x, 0x35: a >= k}[op]
            place += jump_if if is_so else jump_else
        else:
            loaded = load(op, k, data)
            if loaded is None:
                return 0
            a = loaded


def passes(program: bytes, data: bytes) -> bool:
    let_through = runs_to(program, data)
    assert let_through in (0, 0xFFFFFFFF), "a message is cut"
    return let_through > 0


WHATS = {
    events.Comm: wire.PROC_EVENT_COMM,
    events.Uid: wire.PROC_EVENT_UID,
    events.Gid: wire.PROC_EVENT_GID,
    events.Sid: wire.PROC_EVENT_SID,
    events.Ptrace: wire.PROC_EVENT_PTRACE,
}


def is_among(pid: int, pids: Pids) -> bool:
    return pids is None or len(pids) > socket_filter.PIDS_MAX or pid in pids


def is_meant(event: Event, kinds: Kinds, threads_of: Pids) -> bool:
    """Whether an event is one of those that were to be dropped."""
    match event:
        case events.Fork():
            return event.child_tid != event.child_pid and is_among(event.child_pid, threads_of)
        case events.Exit():
            return event.tid != event.pid and is_among(event.pid, threads_of)
        case events.Comm() | events.Uid() | events.Gid() | events.Sid() | events.Ptrace():
            return is_among(event.pid, kinds.get(WHATS[type(event)], ()))
        case _:
            return False


# Few of them, so that the pids of a filter and of a message often agree; some differ by their byte order alone.
PIDS = st.sampled_from([1, 2, 0x01000000, 0x02000000, 4321, 0x7FFFFFFF]) | st.integers(1, (1 << 31) - 1)
TIDS = st.none() | PIDS
SOME_PIDS = st.none() | st.sets(PIDS, max_size=8) | st.sets(PIDS, min_size=32, max_size=34)
KINDS = st.dictionaries(st.sampled_from(sorted(socket_filter.DROPPABLE)), SOME_PIDS)
NUMBERS = st.integers(0, (1 << 32) - 1)
ONE_EVENT = st.one_of(
    st.builds(
        lambda parent, child, parent_tid, tid: messages.fork(parent, child, parent_tid=parent_tid, tid=tid),
        PIDS,
        PIDS,
        TIDS,
        TIDS,
    ),
    st.builds(lambda pid, tid: messages.exec_(pid, tid=tid), PIDS, TIDS),
    st.builds(lambda pid, tid, parent: messages.exit_(pid, tid=tid, parent=parent), PIDS, TIDS, PIDS),
    st.builds(lambda pid, tid, name: messages.comm(pid, name, tid=tid), PIDS, TIDS, st.binary(max_size=16)),
    st.builds(lambda pid, tid, uid: messages.uid(pid, uid, uid, tid=tid), PIDS, TIDS, NUMBERS),
    st.builds(lambda pid, tid, gid: messages.gid(pid, gid, gid, tid=tid), PIDS, TIDS, NUMBERS),
    st.builds(messages.sid, PIDS),
    st.builds(messages.ptrace, PIDS, PIDS),
    st.builds(messages.coredump, PIDS, PIDS),
    st.builds(messages.ack, NUMBERS),
    st.builds(messages.message, NUMBERS, st.binary(max_size=24)),
)
STRANGE = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda data, size: data[:size], ONE_EVENT, st.integers(0, 76)),
    st.builds(lambda data, more: data + more, ONE_EVENT, st.binary(max_size=100)),
    st.builds(
        lambda data, at, value: data[:at] + bytes([value]) + data[at + 1 :],
        ONE_EVENT,
        st.integers(0, 75),
        st.integers(0, 255),
    ),
    st.builds(lambda pid, idx: messages.comm(pid, b"sh", idx=idx), PIDS, NUMBERS),
    st.builds(lambda pid, kind: messages.comm(pid, b"sh", kind=kind), PIDS, st.integers(0, 65535)),
    st.lists(ONE_EVENT, min_size=2, max_size=3).map(b"".join),
)


@given(ONE_EVENT, KINDS, SOME_PIDS)
def test_exactly_what_is_meant_is_dropped(data: bytes, kinds: Kinds, threads_of: Pids) -> None:
    (event,) = wire.decode(data)
    assert passes(socket_filter.program(kinds, threads_of), data) != is_meant(event, kinds, threads_of)


@given(STRANGE, KINDS, SOME_PIDS)
def test_strange_bytes_pass_unless_they_are_one_such_event(data: bytes, kinds: Kinds, threads_of: Pids) -> None:
    """What is dropped holds an event that is meant, and nothing else that could be read."""
    if passes(socket_filter.program(kinds, threads_of), data):
        return
    # The lengths in the headers are not read: with these set right, it is that one event.
    right = bytearray(data)
    right[0:4], right[32:34] = struct.pack("=I", len(data)), struct.pack("=H", len(data) - 36)
    (event,) = wire.decode(bytes(right))
    assert is_meant(event, kinds, threads_of)
    try:
        assert all(is_meant(event, kinds, threads_of) for event in wire.decode(data))
    except MalformedMessageError as error:
        assert all(is_meant(event, kinds, threads_of) for event in error.events)


@given(STRANGE)
def test_a_filter_of_nothing_passes_everything(data: bytes) -> None:
    assert passes(socket_filter.program({}), data)
    assert passes(socket_filter.program(dict.fromkeys(socket_filter.DROPPABLE, ()), ()), data)


@pytest.mark.parametrize("size", range(68))
def test_a_message_that_ends_too_early_passes(size: int) -> None:
    """The kernel drops what a program loads beyond the end of; here nothing does."""
    everything = socket_filter.program(dict.fromkeys(socket_filter.DROPPABLE), None)
    assert passes(everything, messages.comm(20, b"sh")[:size])
    assert passes(everything, messages.fork(10, 20, tid=21)[:size])


PID = 0x00010203  # no two bytes agree
OTHER = 0x03020100
DROPPED = [
    (messages.comm(PID, b"x"), messages.comm(OTHER, b"x")),
    (messages.comm(PID, b"x", tid=OTHER), messages.comm(OTHER, b"x", tid=PID)),
    (messages.uid(PID, 1, 2), messages.uid(OTHER, PID, PID)),
    (messages.gid(PID, 1, 2), messages.gid(OTHER, PID, PID)),
    (messages.sid(PID), messages.sid(OTHER)),
    (messages.ptrace(PID, OTHER), messages.ptrace(OTHER, PID)),
    (messages.fork(OTHER, PID, tid=77), messages.fork(PID, OTHER, tid=77)),
    (messages.exit_(PID, tid=77), messages.exit_(OTHER, tid=77, parent=PID)),
]
PASSED = [
    messages.fork(OTHER, PID),
    messages.fork(PID, OTHER, parent_tid=77),
    messages.exit_(PID),
    messages.exec_(PID),
    messages.exec_(PID, tid=77),
    messages.coredump(PID, OTHER),
    messages.ack(PID),
    messages.message(0x400, struct.pack("=ii", PID, PID)),
]


@pytest.mark.parametrize("pids", [[PID], [OTHER + 1, PID], [PID, *range(1000, 1031)], [*range(1000, 1031), PID]])
def test_each_kind_by_pid(pids: list[int]) -> None:
    program = socket_filter.program(dict.fromkeys(socket_filter.DROPPABLE, pids), pids)
    for meant, other in DROPPED:
        assert not passes(program, meant)
        assert passes(program, other)
    assert all(passes(program, data) for data in PASSED)


@pytest.mark.parametrize("pids", [None, range(1000, 1033)], ids=["every", "more-than-fit"])
def test_each_kind_of_every_process(pids: Pids) -> None:
    program = socket_filter.program(dict.fromkeys(socket_filter.DROPPABLE, pids), pids)
    for pair in DROPPED:
        assert not any(passes(program, data) for data in pair)
    assert all(passes(program, data) for data in PASSED)


def test_as_many_pids_as_fit_are_told_apart() -> None:
    pids = range(1000, 1000 + socket_filter.PIDS_MAX)
    program = socket_filter.program({wire.PROC_EVENT_COMM: pids}, pids)
    assert not any(passes(program, messages.comm(pid, b"x")) for pid in pids)
    assert not any(passes(program, messages.exit_(pid, tid=7)) for pid in pids)
    for pid in (999, 1000 + socket_filter.PIDS_MAX):
        assert passes(program, messages.comm(pid, b"x"))
        assert passes(program, messages.exit_(pid, tid=7))


def test_one_kind_alone() -> None:
    program = socket_filter.program({wire.PROC_EVENT_COMM: [PID]})
    assert [passes(program, meant) for meant, _ in DROPPED] == [False, False] + [True] * 6


def test_threads_alone() -> None:
    program = socket_filter.program({}, [PID])
    assert [passes(program, meant) for meant, _ in DROPPED] == [True] * 6 + [False, False]


@pytest.mark.parametrize(
    "what",
    [wire.PROC_EVENT_FORK, wire.PROC_EVENT_EXEC, wire.PROC_EVENT_EXIT, wire.PROC_EVENT_NONE, 0x40000000, 0x400],
)
def test_what_ancestry_hangs_on_cannot_be_dropped(what: int) -> None:
    with pytest.raises(ValueError, match="never dropped"):
        socket_filter.program({what: [1]})


@pytest.mark.parametrize("size", [76, 68, 103, 104, 76 + 52])
def test_what_could_hold_two_events_passes(size: int) -> None:
    """An event may be shorter or longer than today's; at 104 bytes there is room for another behind it."""
    data = messages.comm(PID, b"x").ljust(size, b"\0")[:size]
    program = socket_filter.program({wire.PROC_EVENT_COMM: [PID]})
    assert passes(program, data) == (size >= 104)


@pytest.mark.parametrize("size", range(77))
def test_an_exit_that_cannot_be_read_passes(size: int) -> None:
    everything = socket_filter.program({}, None)
    assert passes(everything, messages.exit_(20, tid=21)[:size]) == (size < 76)


@pytest.mark.parametrize("at", [4, 5, *range(16, 24)])
def test_a_message_that_is_not_from_the_process_connector_passes(at: int) -> None:
    """Another nlmsg_type, cn_msg.idx or cn_msg.val, by one bit."""
    data = bytearray(messages.comm(PID, b"x"))
    program = socket_filter.program({wire.PROC_EVENT_COMM: [PID]})
    assert not passes(program, bytes(data))
    data[at] ^= 2
    assert passes(program, bytes(data))


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender and a receiver of datagrams; the receiver's filter is set by the test."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ends[0], ends[1]:
        for end in ends:
            end.setblocking(False)
        if not socket_filter.attach(ends[1], socket_filter.program({})):
            pytest.skip("socket filters are refused here")
        socket_filter.detach(ends[1])
        yield ends


def is_received(pair: tuple[socket.socket, socket.socket], data: bytes) -> bool:
    sender, receiver = pair
    sender.send(data)
    try:
        assert receiver.recv(1 << 16) == data
    except BlockingIOError:
        return False
    return True


@given(ONE_EVENT | STRANGE.filter(len), KINDS, SOME_PIDS)
def test_the_kernel_agrees(
    pair: tuple[socket.socket, socket.socket], data: bytes, kinds: Kinds, threads_of: Pids
) -> None:
    program = socket_filter.program(kinds, threads_of)
    assert socket_filter.attach(pair[1], program)
    assert is_received(pair, data) == passes(program, data)


def test_attach_replaces_and_detach_ends(pair: tuple[socket.socket, socket.socket]) -> None:
    first, second = messages.comm(1, b"a"), messages.comm(2, b"b")
    assert socket_filter.attach(pair[1], socket_filter.program({wire.PROC_EVENT_COMM: [1]}))
    assert (is_received(pair, first), is_received(pair, second)) == (False, True)
    assert socket_filter.attach(pair[1], socket_filter.program({wire.PROC_EVENT_COMM: [2]}))
    assert (is_received(pair, first), is_received(pair, second)) == (True, False)
    socket_filter.detach(pair[1])
    socket_filter.detach(pair[1])  # none there: nothing happens
    assert (is_received(pair, first), is_received(pair, second)) == (True, True)
    assert socket_filter.drops(pair[1]) == 0


def test_what_the_kernel_refuses_changes_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    program = socket_filter.program({wire.PROC_EVENT_COMM: [1]})
    assert socket_filter.attach(pair[1], program)
    assert not socket_filter.attach(pair[1], program[:-8])  # it does not end with a return
    assert not socket_filter.attach(pair[1], b"")
    assert not is_received(pair, messages.comm(1, b"a"))


class OldKernel(socket.socket):
    """A socket of a kernel without SO_MEMINFO, or with fewer figures in it."""

    answer: bytes | None = None

    def getsockopt(self, *_: object) -> bytes:  # type: ignore[override]
        if self.answer is None:
            raise OSError(ENOPROTOOPT, "no such option")
        return self.answer


@pytest.mark.parametrize("answer", [None, b"", bytes(32)])
def test_drops_that_are_not_told_are_unknown(answer: bytes | None) -> None:
    with OldKernel(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.answer = answer
        assert socket_filter.drops(sock) is None
