"""service/server.py: what callers do, and that it harms nobody."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
from contextlib import suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache import query, selection
from proc_cache.engine.intake import BATCH
from proc_cache.errors import EngineRefusedError, EngineUnavailableError
from proc_cache.kernel import clocks
from proc_cache.selection import Selection
from proc_cache.service import client as client_module
from proc_cache.service import protocol, server
from proc_cache.service.client import EngineClient
from proc_cache.service.encoding import encode
from proc_cache.service.facts import ToldUsers, read_described
from proc_cache.service.protocol import CHAIN, DESCENT, SNAPSHOT, STATS, VERSION, frame
from tests.helpers import messages
from tests.helpers.calling import Call, Clock, Desk, Ticking
from tests.helpers.processes import NOBODY, Forked
from tests.helpers.story import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proc_cache.process import Node

MANY = 30_000


@pytest.fixture
def closed_desk(socket_path: str) -> Iterator[Desk]:
    desk = Desk(socket_path)
    yield desk
    desk.close()


@pytest.fixture
def desk(closed_desk: Desk, clock: Clock) -> Desk:
    assert clock.ahead_s == 0
    return closed_desk.open()


@pytest.fixture
def large_desk(closed_desk: Desk, clock: Clock) -> Desk:
    """It knows so many that an answer about all does not fit into a socket."""
    assert clock.ahead_s == 0
    return closed_desk.open(processes=MANY)


def figures(desk: Desk, *names: str) -> tuple[int, ...]:
    stats = desk.server.stats()
    return tuple(getattr(stats, name) for name in names)


def is_served(desk: Desk) -> bool:
    """Whether a new caller gets a right answer."""
    with desk.call() as call:
        return call.pids(1) == [1]


def framed(data: bytes) -> bytes:
    return protocol.LENGTH.pack(len(data)) + data


def fork_message(desk: Desk, parent: int, child: int, seq: int) -> bytes:
    at_ns = desk.now_ns + (1 + seq) * 1000 - clocks.monotonic_to_boottime_ns()
    return messages.fork(parent, child, seq=seq, timestamp_ns=at_ns)


# --- answers ------------------------------------------------------------------------------------------------


class TestAnswers:
    def test_questions_one_after_the_other(self, desk: Desk) -> None:
        with desk.call() as call:
            call.ask(CHAIN, 1, None)
            head, links = call.answer()
            assert protocol.read_chain(head, links) == desk.engine.chain(1)
            call.ask(DESCENT, 1, "systemd", False, None)
            (verdict, chain_head), links = call.answer()
            descent = query.Verdict(*verdict).of(protocol.read_chain(chain_head, links), "systemd")
            assert descent == desk.engine.descent(1, "systemd")
            assert descent.descendant is True
            call.ask(SNAPSHOT, Selection())
            assert [process.pid for process in call.answer()[1]] == [1]
            call.ask(STATS)
            names, values = call.answer()[0]
            told = dict(zip(names, values, strict=True))
        assert (told["calls"], told["callers"], told["answered"]) == (1, 1, 3)
        assert (told["scans"], told["alive"], told["malformed"]) == (1, 1, 0)

    def test_the_client_understands_it(self, large_desk: Desk) -> None:
        """EngineClient blocks, so it asks from a process of its own."""
        with get_context("fork").Pool(1) as pool:
            asked = pool.apply_async(_ask_everything)
            large_desk.turn_until(asked.ready, "the client has its answers")
            chain, descendant, pids = asked.get()
        assert chain == large_desk.engine.chain(100)
        assert descendant is True
        assert pids == {1, *range(100, 100 + MANY)}

    def test_a_request_in_pieces(self, desk: Desk) -> None:
        request = protocol.write_request(os.getpid(), CHAIN, 1, None)
        with desk.call() as call:
            for place in range(len(request)):
                call.send(request[place : place + 1])
                desk.turn(2)
            assert [link.pid for link in call.answer()[1]] == [1]
        assert figures(desk, "answered", "malformed") == (1, 0)

    def test_what_the_kernel_had_told_by_then_is_in_it(self, desk: Desk) -> None:
        """More than the server takes from the kernel in a turn."""
        count = 4 * BATCH
        with desk.call() as call:
            call.ask(CHAIN, 100 + count, None)
            desk.turn()
            desk.connector.push(*(fork_message(desk, 1, 101 + seq, seq) for seq in range(count)))
            assert [link.pid for link in call.answer()[1]] == [100 + count, 1]

    def test_a_storm_without_end_does_not_keep_a_caller_waiting(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(desk.engine, "pump", lambda timeout_s: True)
        assert is_served(desk)

    def test_events_alone_are_applied(self, desk: Desk) -> None:
        desk.connector.push(fork_message(desk, 1, 100, 0))
        desk.server.turn(0)
        desk.turn()
        assert 100 in desk.engine.table.newest

    def test_it_waits_for_both_and_is_idle_then(self, desk: Desk) -> None:
        idle = 0

        def count() -> None:
            nonlocal idle
            idle += 1

        desk.engine.intake.when_idle = count
        desk.server.turn(0.01)
        assert idle == 1
        desk.connector.push(fork_message(desk, 1, 100, 0))
        desk.turn()
        assert idle == 1  # it was busy
        with desk.call():
            desk.server.turn(10)  # a call wakes it
        assert desk.callers == 1


_kept: list[EngineClient] = []


def _ask_once_more() -> list[int]:
    """Ask by the client that this process has kept."""
    if not _kept:
        client = EngineClient.connect()
        assert client is not None
        _kept.append(client)
    return [link.pid for link in _kept[0].chain(1).links]


def _ask_everything() -> tuple[query.Chain, bool | None, set[int]]:
    client = EngineClient.connect()
    assert client is not None
    try:
        pids = {process.pid for process in client.processes(Selection())}
        return client.chain(100), client.descent(100, "systemd").descendant, pids
    finally:
        client.close()


class TestPipelining:
    COUNT = 1500  # more than the stack has room for, and as many as one receive takes

    def test_each_is_answered_in_its_turn(self, desk: Desk) -> None:
        request = protocol.write_request(os.getpid(), CHAIN, 1, None)
        assert len(request) * self.COUNT < 1 << 16
        with desk.call() as call:
            call.send(request * self.COUNT)
            for _ in range(self.COUNT):
                assert [link.pid for link in call.answer()[1]] == [1]
        assert figures(desk, "answered", "malformed") == (self.COUNT, 0)

    def test_in_their_order_and_beyond_one_receive(self, desk: Desk) -> None:
        asked = list(range(2, 5002))
        with desk.call() as call:
            call.send(b"".join(protocol.write_request(os.getpid(), CHAIN, pid, None) for pid in asked))
            assert [call.answer()[0][0] for _ in asked] == asked

    def test_others_are_served_between(self, desk: Desk) -> None:
        with desk.call() as greedy:
            greedy.send(protocol.write_request(os.getpid(), CHAIN, 1, None) * self.COUNT)
            assert is_served(desk)
            assert desk.server.stats().answered < self.COUNT

    def test_half_a_request_behind_a_whole_one(self, desk: Desk) -> None:
        request = protocol.write_request(os.getpid(), CHAIN, 1, None)
        with desk.call() as call:
            call.send(request + request[:-3])
            call.answer()
            desk.turn(5)
            assert figures(desk, "answered") == (1,)
            call.send(request[-3:])
            call.answer()

    def test_what_follows_a_refused_one_is_not_answered(self, desk: Desk) -> None:
        with desk.call() as call:
            call.send(framed(encode("garbage")) + protocol.write_request(os.getpid(), CHAIN, 1, None))
            with pytest.raises(EngineRefusedError):
                call.answer()
            call.wait_until_hung_up()
        assert figures(desk, "answered", "malformed") == (0, 1)


# --- what is refused ----------------------------------------------------------------------------------------


class TestRefused:
    @pytest.mark.parametrize(
        "data",
        [
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff" * 10_000,
            framed(b""),
            framed(b"x"),
            framed(b"\0" * 5000),
            framed(b"l1:" * 4000),
            framed(encode(None)),
            framed(encode((VERSION, os.getpid(), "exec", ("rm",)))),
            framed(encode((VERSION, os.getpid(), CHAIN, ()))),
            framed(encode((VERSION, os.getpid(), CHAIN, ("1", None)))),
            framed(encode((VERSION, os.getpid(), SNAPSHOT, (5,)))),
            protocol.LENGTH.pack(protocol.REQUEST_MAX + 1),
        ],
        ids=lambda data: repr(data[:20]),
    )
    def test_garbage_is_told_counted_and_hung_up_on(self, desk: Desk, data: bytes) -> None:
        with desk.call() as call:
            call.send(data)
            with pytest.raises(EngineRefusedError, match="no request"):
                call.answer()
            call.wait_until_hung_up()
        assert figures(desk, "malformed", "answered", "callers") == (1, 0, 0)
        assert is_served(desk)

    def test_the_longest_request_is_taken(self, desk: Desk) -> None:
        empty = len(protocol.write_request(os.getpid(), DESCENT, 1, "", False, None)) - protocol.LENGTH.size
        name = "x" * (protocol.REQUEST_MAX - empty - 4)  # its length takes 5 digits instead of 1
        request = protocol.write_request(os.getpid(), DESCENT, 1, name, False, None)
        assert len(request) == protocol.REQUEST_MAX + protocol.LENGTH.size
        with desk.call() as call:
            call.send(request)
            (verdict, _), _ = call.answer()
            assert verdict[0] is False

    def test_a_gigabyte_is_not_taken(self, desk: Desk) -> None:
        sent = 0
        with desk.call() as call:
            call.send(protocol.LENGTH.pack(1 << 30))
            while not call.is_hung_up:
                call.send(b"x" * (1 << 16))
                sent += 1 << 16
                assert sent < 1 << 24, "it takes and takes"
        assert figures(desk, "malformed", "callers") == (1, 0)

    def test_another_pid_is_of_another_namespace(self, desk: Desk) -> None:
        for pid in (os.getpid() + 1, 0, -1, 1, 10**30):
            with desk.call() as call:
                call.ask(CHAIN, 1, None, pid=pid)
                with pytest.raises(EngineRefusedError, match="namespace"):
                    call.answer()
                call.wait_until_hung_up()
        assert figures(desk, "foreign", "malformed", "answered", "callers") == (5, 0, 0, 0)

    def test_another_version_is_told_both(self, desk: Desk) -> None:
        with desk.call() as call:
            call.send(framed(encode((VERSION + 1, os.getpid(), "new", "shape", 5))))
            with pytest.raises(EngineRefusedError, match=f"version {VERSION}, not {VERSION + 1}"):
                call.answer()
        assert figures(desk, "malformed") == (0,)

    @pytest.mark.parametrize("kind", [DESCENT, SNAPSHOT])
    def test_a_name_that_no_process_can_have_does_not_end_the_engine(self, desk: Desk, kind: str) -> None:
        with desk.call() as call:
            if kind == DESCENT:
                call.ask(DESCENT, 1, "\ud800", False, None)
            else:
                call.ask(SNAPSHOT, Selection(cmd="\ud800"))
            desk.turn(5)
        assert is_served(desk)


# --- who is late, or goes -----------------------------------------------------------------------------------


class TestLate:
    @pytest.mark.parametrize("sent", [0, 1, 4, 10], ids=["nothing", "a byte", "a length", "half"])
    def test_a_request_that_does_not_come(self, desk: Desk, clock: Clock, sent: int) -> None:
        request = protocol.write_request(os.getpid(), CHAIN, 1, None)
        with desk.call() as call:
            call.send(request[:sent])
            desk.turn(3)
            clock.ahead_s += server.REQUEST_TIMEOUT_S - 1
            desk.turn(3)
            assert figures(desk, "callers", "late") == (1, 0)
            clock.ahead_s += 2
            call.wait_until_hung_up()
        assert figures(desk, "callers", "late", "answered") == (0, 1, 0)
        assert is_served(desk)

    def test_a_byte_now_and_then_gives_no_more_time(self, desk: Desk, clock: Clock) -> None:
        request = protocol.write_request(os.getpid(), CHAIN, 1, None)
        with desk.call() as call:
            for place in range(len(request) - 1):
                call.send(request[place : place + 1])
                desk.turn(2)
                if call.is_hung_up:
                    break
                clock.ahead_s += 1
            call.wait_until_hung_up()
        assert figures(desk, "late") == (1,)

    def test_an_answer_gives_time_for_the_next_request(self, desk: Desk, clock: Clock) -> None:
        with desk.call() as call:
            for _ in range(5):
                assert call.pids(1) == [1]
                clock.ahead_s += server.REQUEST_TIMEOUT_S - 1
                desk.turn()
            assert figures(desk, "callers", "late") == (1, 0)
            clock.ahead_s += 2
            call.wait_until_hung_up()
        assert figures(desk, "callers", "late", "answered") == (0, 0, 5)  # who asks no more is not late

    def test_half_a_request_after_an_answer_is_late(self, desk: Desk, clock: Clock) -> None:
        with desk.call() as call:
            assert call.pids(1) == [1]
            call.send(protocol.write_request(os.getpid(), CHAIN, 1, None)[:-1])
            desk.turn(3)
            clock.ahead_s += server.REQUEST_TIMEOUT_S + 1
            call.wait_until_hung_up()
        assert figures(desk, "callers", "late", "answered") == (0, 1, 1)

    def test_the_client_calls_again_where_it_was_hung_up_on(
        self, desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_module, "_QUIET_S", 0.0)  # that it was quiet, the server's clock says alone
        with get_context("fork").Pool(1) as pool:
            for _ in range(2):
                asked = pool.apply_async(_ask_once_more)
                desk.turn_until(asked.ready, "the client has its answer")
                assert asked.get() == [1]
                clock.ahead_s += server.REQUEST_TIMEOUT_S + 1
                desk.turn_until(lambda: desk.callers == 0, "it is hung up on")
        assert figures(desk, "calls", "late", "answered") == (2, 0, 2)

    def test_a_large_answer_that_is_not_taken(self, large_desk: Desk, clock: Clock) -> None:
        desk = large_desk
        with desk.call() as call:
            call.ask(SNAPSHOT, Selection())
            desk.turn(50)
            assert figures(desk, "callers", "answered") == (1, 0)
            assert is_served(desk)  # others are
            assert not desk.server._busy  # and it is not computed ahead: no memory is filled
            clock.ahead_s += server.ANSWER_TIMEOUT_S - 1
            desk.turn(3)
            assert figures(desk, "late") == (0,)
            clock.ahead_s += 3
            desk.turn(3)
            assert figures(desk, "late", "callers") == (1, 0)
        assert is_served(desk)

    def test_a_large_answer_that_is_taken_slowly(self, large_desk: Desk, clock: Clock) -> None:
        desk = large_desk
        with desk.call() as call:
            call.ask(SNAPSHOT, Selection())
            head, processes = protocol.read_answer(call.receive)
            assert head == ()
            count = 0
            for _ in processes:
                count += 1
                if count % 3000 == 0:
                    clock.ahead_s += server.ANSWER_TIMEOUT_S - 2
                    desk.turn(20)
            assert count == MANY + 1
        assert figures(desk, "late", "answered") == (0, 1)


class TestHangUp:
    def test_at_once_and_in_the_middle_of_a_request(self, desk: Desk) -> None:
        request = protocol.write_request(os.getpid(), CHAIN, 1, None)
        for data in (b"", request[:2], request[:-1]):
            with desk.call() as call:
                call.send(data)
                desk.turn(2)
            desk.turn_until(lambda: desk.callers == 0, "it is noticed")
        assert figures(desk, "late", "malformed", "calls") == (0, 0, 3)

    def test_before_its_answer(self, desk: Desk) -> None:
        for turns in range(4):
            with desk.call() as call:
                desk.turn()
                call.ask(CHAIN, 1, None)
                desk.turn(turns)
            desk.turn_until(lambda: desk.callers == 0, "it is noticed")
        assert is_served(desk)

    def test_in_the_middle_of_an_answer(self, large_desk: Desk) -> None:
        desk = large_desk
        for turns in (3, 5, 30):
            with desk.call() as call:
                call.ask(SNAPSHOT, Selection())
                call.receive()
                desk.turn(turns)
            desk.turn_until(lambda: desk.callers == 0, "it is noticed")
            assert is_served(desk)
            desk.turn_until(lambda: desk.callers == 0, "it is noticed")

    def test_one_that_says_no_more_gets_its_answer(self, desk: Desk) -> None:
        with desk.call() as call:
            call.ask(CHAIN, 1, None)
            call.socket.shutdown(socket.SHUT_WR)
            assert [link.pid for link in call.answer()[1]] == [1]
            call.wait_until_hung_up()
        assert desk.callers == 0

    def test_no_descriptor_is_left_open(self, desk: Desk) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with desk.call() as call:
                call.send(b"\xff" * 8)
                call.wait_until_hung_up()
        assert len(os.listdir("/proc/self/fd")) == before

    def test_closing_hangs_up_on_all(self, desk: Desk) -> None:
        calls = [desk.call() for _ in range(3)]
        desk.turn_until(lambda: desk.callers == 3, "they are taken")
        desk.server.close()
        for call in calls:
            call.socket.setblocking(True)
            assert call.socket.recv(1) == b""
            call.close()
        assert not os.path.exists(desk.path)


# --- how many -----------------------------------------------------------------------------------------------


class TestMany:
    def test_more_wait_until_one_has_gone(self, desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "CALLERS_MAX", 3)
        calls = [desk.call() for _ in range(5)]
        desk.turn(20)
        assert figures(desk, "callers", "calls") == (3, 3)
        assert calls[0].pids(1) == [1]
        calls[4].send(protocol.write_request(os.getpid(), CHAIN, 1, None))
        calls[0].close()
        calls[1].close()
        clock.ahead_s += 1.5
        assert [link.pid for link in calls[4].answer()[1]] == [1]
        assert desk.callers == 3
        for call in calls:
            call.close()

    def test_those_that_say_nothing_make_room_in_time(
        self, desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "CALLERS_MAX", 3)
        idle = [desk.call() for _ in range(3)]
        desk.turn(10)
        with desk.call() as call:
            call.ask(CHAIN, 1, None)
            desk.turn(10)
            assert desk.server.stats().calls == 3
            clock.ahead_s += server.REQUEST_TIMEOUT_S + 1
            assert [link.pid for link in call.answer()[1]] == [1]
        assert figures(desk, "late") == (3,)
        for one in idle:
            one.close()

    def test_a_full_house_does_not_spin(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "CALLERS_MAX", 1)
        first, second = desk.call(), desk.call()
        desk.turn(5)
        polled = desk.server._poll.poll(0)
        assert polled == []  # who waits in the backlog does not wake it
        first.close()
        second.close()

    def test_no_descriptor_is_left(self, desk: Desk, clock: Clock) -> None:
        with desk.call() as first:
            desk.turn(1)
            with desk.call() as second:
                self.check_without_descriptors(desk, first)
                second.ask(CHAIN, 1, None)
                clock.ahead_s += 1.5
                assert [link.pid for link in second.answer()[1]] == [1]

    @staticmethod
    def check_without_descriptors(desk: Desk, first: Call) -> None:
        assert figures(desk, "callers") == (1,)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        padding = [os.dup(0) for _ in range(highest)]  # so that no number is free below
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(padding) + 1, hard))
            with pytest.raises(OSError, match="Too many open files") as caught:
                os.dup(0)
            assert caught.value.errno == errno.EMFILE
            desk.turn(5)
            assert figures(desk, "callers") == (1,)
            assert desk.server._poll.poll(0) == []  # it does not try again and again
            assert first.pids(1) == [1]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in padding:
                os.close(descriptor)

    def test_a_hundred_callers_at_once(self, large_desk: Desk) -> None:
        calls = [large_desk.call() for _ in range(100)]
        for number, call in enumerate(calls):
            call.ask(CHAIN, 100 + number, None)
        for number, call in enumerate(calls):
            assert [link.pid for link in call.answer()[1]] == [100 + number, 1]
            call.close()
        assert figures(large_desk, "answered", "late", "malformed") == (100, 0, 0)


# --- capture goes first -------------------------------------------------------------------------------------


class Between:
    """How much was done between one look at the kernel's queue and the next, at most."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = self.most = self.looks = 0
        self._look_really = desk.engine.intake.look
        monkeypatch.setattr(desk.engine.intake, "look", self._look)

    def _look(self) -> int:
        self.looks += 1
        self.most = max(self.most, self.done)
        self.done = 0
        return self._look_really()


class TestSlices:
    """With a clock of which a slice is a few readings: how fast the machine is does not matter."""

    @pytest.fixture(autouse=True)
    def ticking(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "monotonic_s", Ticking(server.SLICE_S / 4))
        monkeypatch.setattr(server, "ANSWER_TIMEOUT_S", 1e9)
        monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 1e9)

    def test_a_large_answer_does_not_keep_capture_waiting(
        self, closed_desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk = closed_desk.open(processes=5000)
        between = Between(desk, monkeypatch)
        present_parent = desk.engine.view.present_parent

        def counted(node: Node, *, is_fresh: bool) -> tuple[int | None, str | None]:
            between.done += 1
            return present_parent(node, is_fresh=is_fresh)

        monkeypatch.setattr(desk.engine.view, "present_parent", counted)
        with desk.call() as call:
            call.ask(SNAPSHOT, Selection())
            assert len(call.answer()[1]) == 5001
        assert between.looks > 5000 / 50
        assert 0 < between.most < 50

    def test_what_happens_meanwhile_is_applied_meanwhile(self, closed_desk: Desk) -> None:
        desk = closed_desk.open(processes=5000)
        with desk.call() as call:
            call.ask(SNAPSHOT, Selection())
            call.receive()
            desk.connector.push(fork_message(desk, 1, 99, 0))
            desk.turn(2)
            assert 99 in desk.engine.table.newest
            assert desk.server.stats().answered == 0

    def test_nodes_that_are_forgotten_meanwhile_do_no_harm(self, closed_desk: Desk) -> None:
        desk = closed_desk.open(processes=5000)
        with desk.call() as call:
            call.ask(SNAPSHOT, Selection(with_dead=True))
            head, processes = protocol.read_answer(call.receive)
            assert head == ()
            desk.engine.table.params = type(desk.engine.table.params)(0, 0)
            for seq, pid in enumerate(range(100, 5100)):
                at_ns = desk.now_ns
                desk.connector.push(messages.exit_(pid, seq=seq, timestamp_ns=at_ns))
            desk.now_ns += 10 * SECOND_NS
            users = ToldUsers()
            received = {read_described(told, users).pid for told in processes}
        assert {1, 100} <= received

    @pytest.mark.parametrize("narrow", [Selection(cmd="no-such"), Selection(user="no-such")], ids=repr)
    def test_a_search_that_finds_nobody_does_not_keep_capture_waiting(
        self, closed_desk: Desk, monkeypatch: pytest.MonkeyPatch, narrow: Selection
    ) -> None:
        desk = closed_desk.open(processes=MANY)
        between = Between(desk, monkeypatch)
        has = selection.Chooser.has

        def counted(chooser: selection.Chooser, node: Node) -> bool:
            between.done += 1
            return has(chooser, node)

        monkeypatch.setattr(selection.Chooser, "has", counted)
        with desk.call() as call:
            call.ask(SNAPSHOT, narrow)
            assert call.answer()[1] == []
        desk.turn()
        assert 0 < between.most < MANY / 3

    def test_many_small_answers_do_not_keep_capture_waiting(
        self, closed_desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk = closed_desk.open()
        between = Between(desk, monkeypatch)
        to = desk.server._answers.to

        def counted(request: protocol.Request, searches: Any = None) -> Iterator[bytes | None]:
            between.done += 1
            return to(request, searches)

        desk.server._answers.to = counted  # type: ignore[method-assign]
        calls = [desk.call() for _ in range(50)]
        for call in calls:
            call.ask(CHAIN, 1, None)
        for call in calls:
            call.answer()
            call.close()
        assert 0 < between.most < 20


# --- the client's side --------------------------------------------------------------------------------------


class TestClient:
    """What an engine of another build, or no engine at all, can answer."""

    @pytest.fixture
    def far_end(self, socket_path: str) -> Iterator[tuple[EngineClient, socket.socket]]:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(socket_path)
            listening.listen()
            client = EngineClient.connect()
            assert client is not None
            peer, _ = listening.accept()
            with peer:
                yield client, peer
            client.close()

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"\0\0",
            framed(b""),
            framed(b"x"),
            framed(encode("ok")),
            frame(("what",)),
            protocol.LENGTH.pack(protocol.FRAME_MAX + 1) + b"x" * 100,
            frame(("ok", 1, True, None, 0, None, False, ())) + frame((1, 2, 3)),
            frame(("ok", 1, True, None, 0, None, False, ())) + b"\0\0\0\5l1",
        ],
        ids=lambda answer: repr(answer[:20]),
    )
    def test_what_is_no_answer_is_no_engine(
        self, far_end: tuple[EngineClient, socket.socket], answer: bytes
    ) -> None:
        client, peer = far_end
        peer.sendall(answer)
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(EngineUnavailableError) as caught:
            client.chain(1)
        assert str(caught.value)

    @pytest.mark.parametrize("head", [("ok",), ("ok", 1, True, None), ("ok", *range(9))], ids=repr)
    def test_a_head_of_another_shape(
        self, far_end: tuple[EngineClient, socket.socket], head: tuple[Any, ...]
    ) -> None:
        client, peer = far_end
        peer.sendall((frame(head) + frame(protocol.END)) * 3)
        for ask in (
            lambda: client.chain(1),
            lambda: client.descent(1, "sh"),
            client.stats,
        ):
            with pytest.raises(EngineUnavailableError):
                ask()

    def test_silence_is_not_waited_for(self, socket_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client_module, "TIMEOUT_S", 0.05)
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(socket_path)
            silent.listen(0)
            client = EngineClient.connect()
            assert client is not None
            with pytest.raises(EngineUnavailableError, match="in time"):
                client.chain(1)
            with pytest.raises(EngineUnavailableError, match="does not take calls"):  # its backlog is full
                EngineClient.connect()
            client.close()

    def test_a_full_backlog_is_waited_for(self, socket_path: str) -> None:
        """As many callers as an engine is slow to take do not make it one that is stuck."""
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as before:
            busy.bind(socket_path)
            busy.listen(0)
            before.connect(socket_path)

            busy.settimeout(2)

            def take_both() -> None:
                with suppress(OSError):
                    for _ in range(2):
                        busy.accept()[0].close()

            taker = threading.Timer(0.1, take_both)
            taker.start()
            try:
                client = EngineClient.connect()
                assert client is not None
                client.close()
            finally:
                taker.cancel()
                taker.join()

    def test_a_question_that_is_too_long_is_not_sent(self, far_end: tuple[EngineClient, socket.socket]) -> None:
        client, peer = far_end
        with pytest.raises(EngineRefusedError, match="longer"):
            client.descent(1, "x" * protocol.REQUEST_MAX)
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to another user")
    def test_an_engine_of_another_user_is_not_believed(self, socket_path: str) -> None:
        os.chmod(os.path.dirname(socket_path), 0o777)

        def be_an_engine() -> None:
            os.setresuid(NOBODY, NOBODY, NOBODY)
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(socket_path)
            listening.listen()
            listening.detach()

        with Forked(be_an_engine):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(socket_path)  # it does listen
            assert EngineClient.connect() is None
