"""service/feeds.py behind a server: what is told to who watches, when, and what that costs the others."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache import query
from proc_cache.cli.entries import entry_kind
from proc_cache.errors import EngineRefusedError, NobodyFoundError
from proc_cache.events import Exec, Exit, Fork
from proc_cache.process import Source, pack_cost
from proc_cache.selection import Chooser, Selection, Target
from proc_cache.service import feeds, protocol, server, stream
from proc_cache.service.feeds import EventFeed
from proc_cache.service.following import ChildEnded, Missed
from proc_cache.service.protocol import CHAIN, PICTURES, WATCH, pack
from proc_cache.service.server import Server
from tests.helpers.calling import Clock, Desk
from tests.helpers.streams import Happening, Viewer, outline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proc_cache.service.facts import Told

ALL = ("fork", "exec", "exit", "comm", "uid", "sid")


@pytest.fixture
def desk(socket_path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """It has one clock of time since boot, for the engine and for what is told."""
    assert clock.ahead_s == 0
    desk = Desk(socket_path)
    monkeypatch.setattr(feeds, "boottime_ns", lambda: desk.now_ns)
    yield desk.open()
    desk.close()


@pytest.fixture
def happening(desk: Desk) -> Happening:
    return Happening(desk)


def short(told: Told) -> tuple[str, str, object, object, object]:
    node = told.node
    return node.cmd, node.source, node.uid, node.session, node.cmdline


def is_served(desk: Desk) -> bool:
    with desk.call() as call:
        return call.pids(1) == [1]


# --- which events -----------------------------------------------------------------------------------------


class TestChoice:
    @pytest.mark.parametrize(
        ("kinds", "told"),
        [
            (("fork",), ["fork"]),
            (("exec", "exit"), ["exec", "exit"]),
            (("comm",), ["comm"]),
            (("uid", "sid"), ["uid", "sid"]),
            (ALL, ["fork", "exec", "comm", "uid", "sid", "exit"]),
        ],
        ids=",".join,
    )
    def test_the_kinds_that_were_asked_for(
        self, desk: Desk, happening: Happening, kinds: tuple[str, ...], told: list[str]
    ) -> None:
        with Viewer(desk, *kinds) as viewer:
            happening.fork(1, 100)
            happening.exec(100, b"sh")
            happening.comm(100, b"renamed")
            happening.uid(100, 1000)
            happening.sid(100)
            happening.exit(100)
            assert outline(viewer.pieces(len(told))) == [(kind, 100) for kind in told]
            assert viewer.is_told_nothing()

    def test_what_happened_before_is_not_told(self, desk: Desk, happening: Happening) -> None:
        happening.fork(1, 100)
        with Viewer(desk, "fork") as viewer:
            happening.fork(1, 101)
            assert outline([viewer.take()]) == [("fork", 101)]

    def test_ancestors_are_told_whole_where_that_is_asked_for(self, desk: Desk, happening: Happening) -> None:
        happening.fork(1, 100)
        happening.exec(100, b"sh", session=100, cmdline=b"sh\0-c\0true\0")
        with Viewer(desk, "exec", is_whole=True) as viewer:
            happening.fork(100, 101)
            happening.exec(101, b"true", cmdline=b"true\0")
            (told,) = viewer.told(1)
        (itself, parent, root) = told.walked.nodes
        assert (itself.pid, parent.pid, root.pid) == (101, 100, 1)
        assert (parent.cmdline, parent.session, parent.start_ns) == (
            b"sh\0-c\0true\0",
            100,
            happening.node(100).start_ns,
        )

    def test_an_event_is_told_with_its_time_and_its_ancestors(self, desk: Desk, happening: Happening) -> None:
        happening.fork(1, 100)
        happening.exec(100, b"sh", uid=1000)
        with Viewer(desk, "fork") as viewer:
            happening.fork(100, 101)
            (told,) = viewer.told(1)
        assert told.time_ns == desk.now_ns == told.node.start_ns
        assert [(node.pid, node.cmd) for node in told.walked.nodes] == [(101, "sh"), (100, "sh"), (1, "systemd")]
        assert (told.walked.missing_pid, told.adopter) == (None, None)

    def test_a_parent_that_nobody_knows_is_named(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork") as viewer:
            happening.fork(77, 100)
            (told,) = viewer.told(1)
        assert (len(told.walked.nodes), told.walked.missing_pid) == (1, 77)

    def test_who_had_adopted_it_is_named_at_its_end(self, desk: Desk, happening: Happening) -> None:
        happening.fork(1, 100)
        happening.fork(100, 101)
        with Viewer(desk, "exit") as viewer:
            happening.exit(101)  # its parent is 1 by then
            (told,) = viewer.told(1)
        assert (told.node.ppid, told.node.adopter_pid, told.adopter) == (100, 1, "systemd")

    @pytest.mark.parametrize(
        "selection",
        [Selection(cmd="sh"), Selection(user="1000"), Selection(under=Target(100))],
        ids=["cmd", "user", "under"],
    )
    def test_the_processes_that_were_asked_for(
        self, desk: Desk, happening: Happening, selection: Selection
    ) -> None:
        happening.fork(1, 100, 200)
        happening.exec(100, b"bash", uid=1000)
        with Viewer(desk, "exec", selection=selection) as viewer:
            happening.fork(100, 101)
            happening.fork(200, 201)
            happening.exec(101, b"sh", uid=1000)
            happening.exec(201, b"other")
            assert outline([viewer.take()]) == [("exec", 101)]
            assert viewer.is_told_nothing()

    def test_under_a_name_that_comes_later(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork", "exec", selection=Selection(under="make")) as viewer:
            happening.fork(1, 100)
            happening.fork(100, 101)
            happening.exec(100, b"make")
            happening.fork(100, 102)
            happening.exec(102, b"cc1")
            happening.fork(1, 200)
            pieces = viewer.pieces(3)
            assert outline(pieces) == [("exec", 100), ("fork", 102), ("exec", 102)]
            assert viewer.is_told_nothing()

    @pytest.mark.parametrize(
        ("selection", "told"),
        [
            (Selection(failed=True), [101, 102]),
            (Selection(longer_than_ns=5_000_000), [100, 102]),
            (Selection(shorter_than_ns=6_000_000), [101]),
            (Selection(failed=True, longer_than_ns=5_000_000), [102]),
        ],
        ids=["failed", "longer", "shorter", "both"],
    )
    def test_how_it_went_is_told_by_its_end(
        self, desk: Desk, happening: Happening, selection: Selection, told: list[int]
    ) -> None:
        """Each event is a millisecond: they run for 6, 5 and 7 of them."""
        with Viewer(desk, "exit", selection=selection) as viewer:
            happening.fork(1, 100, 101, 102)
            happening.fork(1, 200, 201, 202)
            happening.exit(101, status=9)
            happening.exit(100)
            happening.exit(102, status=256)
            assert outline(viewer.pieces(len(told))) == [
                ("exit", pid) for pid in sorted(told, key=[101, 100, 102].index)
            ]
            assert viewer.is_told_nothing()

    def test_two_viewers_are_told_what_each_asked_for(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork") as one, Viewer(desk, "exit") as other:
            happening.fork(1, 100)
            happening.exit(100)
            assert outline([one.take()]) == [("fork", 100)]
            assert outline([other.take()]) == [("exit", 100)]
            assert desk.server.stats().streams == 2


# --- with which facts -------------------------------------------------------------------------------------


class TestFacts:
    def test_are_those_of_the_time_of_the_event(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, *ALL) as viewer:
            happening.fork(1, 100)
            happening.exec(100, b"sh", uid=5, session=7, cmdline=b"sh\0-c\0")
            happening.comm(100, b"renamed")
            happening.uid(100, 1000)
            happening.sid(100)
            happening.exec(100, b"ls", uid=1000, session=100, cmdline=b"ls\0")
            happening.exit(100)
            happening.apply()
            told = viewer.told(7)
        assert [short(each) for each in told[:6]] == [
            ("systemd", Source.INHERITED, 0, 1, None),
            ("sh", Source.EXEC, 5, 7, b"sh\0-c\0"),
            ("renamed", Source.COMM, 5, 7, b"sh\0-c\0"),
            ("renamed", Source.COMM, 1000, 7, b"sh\0-c\0"),
            ("renamed", Source.COMM, 1000, 100, b"sh\0-c\0"),
            ("ls", Source.EXEC, 1000, 100, b"ls\0"),
        ]
        assert [each.node.former for each in told[:6]] == [(), *[("systemd",)] * 4, ("systemd", "renamed")]
        assert [bool(each.node.exit_ns) for each in told] == [False] * 6 + [True]

    def test_of_an_exit_are_those_of_when_it_is_told(self, desk: Desk, happening: Happening) -> None:
        """Its exit record comes after it."""
        cost = pack_cost(1, 2, 3, 4)
        with Viewer(desk, "exit") as viewer:
            happening.fork(1, 100)
            happening.exec(100)
            happening.exit(100, status=256)
            node = happening.node(100)
            node.cmd, node.source, node.cost = "true", Source.EXIT_RECORD, cost
            (told,) = viewer.told(1)
        assert (told.node.cmd, told.node.cost, told.node.exit_status) == ("true", cost, 256)
        assert told.node.exit_ns == told.time_ns

    def test_tell_how_its_chain_was_entered(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork") as viewer:
            happening.comm(1, b"init")
            happening.fork(1, 100)
            happening.fork(100, 101)
            happening.fork(101, 102)
            happening.apply()
            told = viewer.told(3)
        for each in told:
            walked = query.walk(desk.engine.view, each.node.pid)
            assert entry_kind(each.walked.nodes) == entry_kind(walked.nodes) == "init"

    @pytest.mark.parametrize("has_ended", [False, True])
    def test_a_name_that_an_exit_record_brought_is_told(
        self, desk: Desk, happening: Happening, has_ended: bool
    ) -> None:
        with Viewer(desk, "exec") as viewer:
            happening.fork(1, 100)
            happening.exec(100)
            if has_ended:
                happening.exit(100, status=9)
            node = happening.node(100)
            node.cmd, node.source, node.cost = "true", Source.EXIT_RECORD, pack_cost(1, 2, 3, 4)
            node.adopter_pid = 1
            (told,) = viewer.told(1)
        assert (told.node.cmd, told.node.source, told.node.former) == ("true", Source.EXIT_RECORD, ("systemd",))
        assert (told.node.exit_ns, told.node.exit_status, told.node.cost) == (0, None, None)
        assert told.node.adopter_pid is None

    def test_it_is_of_the_last_program_only(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "exec") as viewer:
            happening.fork(1, 100)
            happening.exec(100, b"env")
            happening.exec(100)
            node = happening.node(100)
            node.cmd, node.source = "true", Source.EXIT_RECORD
            told = viewer.told(2)
        assert [short(each)[:2] for each in told] == [("env", Source.EXEC), ("true", Source.EXIT_RECORD)]

    @pytest.mark.parametrize("dropped", [0, 1])
    def test_of_two_that_were_unread_it_is_the_second(
        self, desk: Desk, happening: Happening, dropped: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feeds, "EVENTS_MAX", 3 - dropped)
        with Viewer(desk, "fork", "exec") as viewer:
            happening.fork(1, 100)
            happening.exec(100)
            happening.exec(100)
            happening.exit(100)
            node = happening.node(100)
            node.cmd, node.source = "true", Source.EXIT_RECORD
            told = viewer.told(3 - dropped)
        names = [(Exec, "systemd", Source.UNREAD), (Exec, "true", Source.EXIT_RECORD)]
        assert [(each.kind, *short(each)[:2]) for each in told[1:]] == names[: 2 - dropped]

    def test_a_name_that_was_missed_is_waited_for_a_moment(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "exec", "fork") as viewer:
            happening.fork(1, 100)
            happening.exec(100)
            happening.fork(1, 101)
            assert outline([viewer.take()]) == [("fork", 100)]
            desk.now_ns += feeds.NAME_WAIT_NS // 2
            assert viewer.is_told_nothing()
            desk.now_ns += feeds.NAME_WAIT_NS
            told = viewer.told(2)
        assert [each.kind for each in told] == [Exec, Fork]  # in their order
        assert short(told[0])[:2] == ("systemd", Source.UNREAD)

    def test_it_is_not_waited_for_when_the_end_was_told(self, desk: Desk, happening: Happening) -> None:
        """By then its exit record was taken, if there is one."""
        with Viewer(desk, "exec") as viewer:
            happening.fork(1, 100)
            happening.exec(100)
            happening.exit(100)
            happening.apply()
            desk.now_ns -= feeds.NAME_WAIT_NS
            (told,) = viewer.told(1)
        assert (told.node.source, told.node.exit_ns) == (Source.UNREAD, 0)


# --- what is not told -------------------------------------------------------------------------------------


class TestBounds:
    def test_what_comes_too_fast_is_dropped_counted_and_told_in_its_place(
        self, desk: Desk, happening: Happening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feeds, "EVENTS_MAX", 8)
        with Viewer(desk, "fork") as viewer:
            happening.fork(1, *range(100, 120))
            happening.apply()
            pieces = viewer.pieces(9)
            happening.fork(1, 120, 121)
            pieces += viewer.pieces(2)
            assert viewer.is_told_nothing()
        expected = [("fork", pid) for pid in range(100, 108)]
        assert outline(pieces) == [*expected, ("dropped", 12), ("fork", 120), ("fork", 121)]
        assert desk.engine.table.alive == 1 + 22  # the engine has them all

    def test_there_is_one_gap_not_a_thousand(
        self, desk: Desk, happening: Happening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A viewer that takes one event for each that comes gets half a queue between two gaps."""
        monkeypatch.setattr(feeds, "EVENTS_MAX", 20)
        assert self.gaps(desk, happening) <= 12

    def test_nor_for_long_arguments(
        self, desk: Desk, happening: Happening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        happening.fork(1, 99)
        happening.exec(99, b"long", cmdline=b"x" * 100)
        monkeypatch.setattr(feeds, "ARGUMENT_BYTES_MAX", 2000)
        assert self.gaps(desk, happening, parent=99) <= 12

    @staticmethod
    def gaps(desk: Desk, happening: Happening, *, parent: int = 1) -> int:
        feed = EventFeed(desk.engine.view, frozenset((Fork,)), _everybody(desk), None)
        frames = feed.frames(desk.engine.messages.taps)
        next(frames)
        told = []
        for number in range(100):
            happening.fork(parent, 1000 + 2 * number, 1001 + 2 * number)
            happening.apply()
            told.append(_value(next(data for data in frames if data)))
        told += _all(frames)
        missed = [value[1] for value in told if value[0] == stream.DROPPED]
        assert sum(missed) + sum(value[0] == "fork" for value in told) == 200  # each is told, or counted
        assert missed
        return len(missed)

    def test_no_more_arguments_are_held_than_there_is_room_for(
        self, desk: Desk, happening: Happening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feeds, "ARGUMENT_BYTES_MAX", 1000)
        happening.fork(1, *range(100, 110))
        happening.apply()
        with Viewer(desk, "exec") as viewer:
            for pid in range(100, 110):
                happening.exec(pid, b"long", cmdline=b"x" * 600)
            pieces = viewer.pieces(3)
            happening.exec(100, b"short", cmdline=b"y")
            pieces.append(viewer.take())
        assert outline(pieces) == [("exec", 100), ("exec", 101), ("dropped", 8), ("exec", 100)]

    def test_the_ends_of_children_are_bounded_too(
        self, desk: Desk, happening: Happening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Anybody whom the engine answers can ask for those of PID 1, and never take them."""
        monkeypatch.setattr(feeds, "EVENTS_MAX", 8)
        feed = EventFeed(desk.engine.view, frozenset(), _everybody(desk), 1)
        frames = feed.frames(desk.engine.messages.taps)
        next(frames)
        for pid in range(100, 200):
            happening.fork(1, pid)
            happening.exit(pid)
        happening.apply()
        assert len(feed._marks) < 20
        told = _all(frames)
        ended = [value for value in told if value[0] == stream.ENDED]
        assert len(ended) + sum(value[1] for value in told if value[0] == stream.DROPPED) == 100

    def test_what_the_kernel_lost_is_told_once(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork") as viewer:
            happening.fork(1, 100)
            happening.apply()
            assert outline([viewer.take()]) == [("fork", 100)]
            happening.lose(5)
            happening.fork(1, 101)
            happening.apply()
            assert sorted(outline(viewer.pieces(2))) == [("fork", 101), ("lost", 5)]
            happening.lose(2)
            happening.exit(101)  # nothing of this is told, but what is missing is
            assert viewer.take() == Missed(2, is_lost=True)
            assert viewer.is_told_nothing()

    def test_what_was_lost_before_is_not_told(self, desk: Desk, happening: Happening) -> None:
        happening.fork(1, 100)
        happening.lose(5)
        happening.fork(1, 101)
        happening.apply()
        assert desk.engine.ledger.lost == 5
        with Viewer(desk, "fork") as viewer:
            assert viewer.is_told_nothing()


def _everybody(desk: Desk) -> Chooser:
    return Chooser(desk.engine.view, Selection())


def _value(data: bytes) -> tuple[Any, ...]:
    return protocol.read_frame(data[protocol.LENGTH.size :])


def _all(frames: Iterator[bytes | None]) -> list[tuple[Any, ...]]:
    """What there is to tell, until there is nothing twice."""
    told, nothing = [], 0
    while nothing < 2:
        data = next(frames)
        if data is None:
            nothing += 1
        else:
            told.append(_value(data))
            nothing = 0
    return told


# --- below a process --------------------------------------------------------------------------------------


class TestChildrenOf:
    @pytest.fixture(autouse=True)
    def before(self, happening: Happening) -> None:
        happening.fork(1, 50)
        happening.apply()

    def test_only_what_is_below_is_told(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork", "exec", children_of=50) as viewer:
            happening.fork(1, 60)
            happening.fork(50, 51)
            happening.fork(60, 61)
            happening.fork(51, 52)
            happening.exec(60, b"sh")
            happening.exec(50, b"itself")
            happening.exec(52, b"sh")
            assert outline(viewer.pieces(3)) == [("fork", 51), ("fork", 52), ("exec", 52)]
            assert viewer.is_told_nothing()

    def test_also_when_the_one_between_has_ended(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork", children_of=50) as viewer:
            happening.fork(50, 51)
            happening.fork(51, 52)
            happening.exit(51)
            happening.fork(52, 53)
            pieces = viewer.pieces(4)
        assert outline(pieces) == [("fork", 51), ("fork", 52), ("ended", 51), ("fork", 53)]

    @pytest.mark.parametrize("selection", [Selection(), Selection(cmd="no-such-name")], ids=["all", "nobody"])
    def test_the_end_of_each_child_is_told_whatever_was_asked_for(
        self, desk: Desk, happening: Happening, selection: Selection
    ) -> None:
        with Viewer(desk, "sid", selection=selection, children_of=50) as viewer:
            happening.fork(1, 60)
            happening.fork(50, 51, 53)
            happening.fork(51, 52)
            for pid in (60, 52, 51, 53):
                happening.exit(pid)
            assert viewer.pieces(2) == [ChildEnded(51), ChildEnded(53)]
            assert viewer.is_told_nothing()

    def test_it_is_told_behind_the_exit_itself(self, desk: Desk, happening: Happening) -> None:
        """Who waits for it alone has been told everything then."""
        with Viewer(desk, "fork", "exit", children_of=50) as viewer:
            happening.fork(50, 51)
            happening.exit(51)
            assert outline(viewer.pieces(3)) == [("fork", 51), ("exit", 51), ("ended", 51)]

    def test_without_it_no_end_of_a_child_is_told(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "exit") as viewer:
            happening.exit(777)  # of whom nothing is known, not even the parent
            assert outline([viewer.take()]) == [("exit", 777)]
            assert viewer.is_told_nothing()


# --- the caller -------------------------------------------------------------------------------------------


def fill(desk: Desk, happening: Happening, first_pid: int = 1000) -> int:
    """Have as much told as a socket takes that nobody reads, and more; returns how many births."""
    count = 5000
    happening.fork(1, *range(first_pid, first_pid + count))
    happening.apply()
    for _ in range(50):
        desk.server._next_stream_s = 0.0
        desk.turn()
    (caller,) = [caller for caller in desk.server._callers.values() if caller.is_stream]
    assert caller.unsent, "the socket takes it all"
    return count


class TestCaller:
    def test_is_not_hung_up_on_for_its_slowness(self, desk: Desk, happening: Happening, clock: Clock) -> None:
        with Viewer(desk, "fork") as viewer:
            count = fill(desk, happening)
            for _ in range(3):
                clock.ahead_s += 1e6
                desk.turn(3)
            stats = desk.server.stats()
            assert (stats.callers, stats.streams, stats.late) == (1, 1, 0)
            told = viewer.told(count)
            assert [each.node.pid for each in told] == list(range(1000, 1000 + count))

    def test_nor_for_its_silence(self, desk: Desk, happening: Happening, clock: Clock) -> None:
        with Viewer(desk, "fork") as viewer:
            assert viewer.is_told_nothing()
            clock.ahead_s += 1e6
            desk.turn(3)
            happening.fork(1, 100)
            assert outline([viewer.take()]) == [("fork", 100)]

    def test_does_not_keep_others_waiting(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork"), Viewer(desk, "exit") as other:
            fill_and_forget = range(1000, 6000)
            happening.fork(1, *fill_and_forget)
            happening.apply()
            assert is_served(desk)
            happening.exit(1000)
            assert outline([other.take()]) == [("exit", 1000)]
            assert is_served(desk)

    def test_whom_nobody_reads_does_not_make_the_server_spin(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork"):
            fill(desk, happening)
            assert not desk.server._busy
            assert desk.server._poll.poll(0) == []

    @pytest.mark.parametrize("kinds", [("fork",), ()], ids=["events", "pictures"])
    def test_that_asks_again_is_hung_up_on(self, desk: Desk, kinds: tuple[str, ...]) -> None:
        with Viewer(desk, *kinds) as viewer:
            assert len(desk.engine.messages.taps) == 1
            viewer.call.ask(CHAIN, 1, None)
            viewer.call.wait_until_hung_up()
            assert (desk.callers, desk.engine.messages.taps) == (0, [])
        assert is_served(desk)

    @pytest.mark.parametrize("kinds", [("fork",), ()], ids=["events", "pictures"])
    def test_that_hangs_up_leaves_nothing_behind(
        self, desk: Desk, happening: Happening, kinds: tuple[str, ...]
    ) -> None:
        with Viewer(desk, *kinds), Viewer(desk, "exit") as other:
            assert len(desk.engine.messages.taps) == 2
        desk.turn_until(lambda: desk.callers == 0, "it is noticed")
        assert desk.engine.messages.taps == []
        assert desk.server.stats().streams == 0
        with Viewer(desk, *kinds) as viewer, Viewer(desk, "fork") as other:
            viewer.close()
            desk.turn_until(lambda: desk.callers == 1, "it is noticed")
            assert len(desk.engine.messages.taps) == 1
            happening.fork(1, 100)
            assert outline([other.take()]) == [("fork", 100)]

    def test_that_hangs_up_with_much_untaken(self, desk: Desk, happening: Happening) -> None:
        with Viewer(desk, "fork"):
            fill(desk, happening)
        desk.turn_until(lambda: desk.callers == 0, "it is noticed")
        assert desk.engine.messages.taps == []

    def test_the_end_of_the_server_leaves_nothing_behind(self, desk: Desk) -> None:
        with Viewer(desk, "fork") as viewer, Viewer(desk):
            desk.server.close()
            assert desk.engine.messages.taps == []
            viewer.call.socket.setblocking(True)
            assert viewer.call.socket.recv(1) == b""


SHAPE = pack(Selection())


class TestRefused:
    @pytest.mark.parametrize(
        ("kind", "arguments"),
        [
            (WATCH, (("ptrace",), SHAPE, None)),
            (WATCH, (("fork", "what"), SHAPE, None)),
            (WATCH, ((5,), SHAPE, None)),
            (WATCH, ((("fork",),), SHAPE, None)),
            (WATCH, ("fork", SHAPE, None)),
            (WATCH, (None, SHAPE, None)),
            (WATCH, (("fork",), None, None)),
            (WATCH, (("fork",), (1, 2), None)),
            (WATCH, (("fork",), SHAPE, -1)),
            (WATCH, (("fork",), SHAPE, True)),
            (WATCH, (("fork",), SHAPE, "1")),
            (WATCH, (("fork",), SHAPE)),
            (WATCH, (("fork",), SHAPE, None, None)),
            (WATCH, (("fork",), SHAPE, None, 1)),
            (WATCH, (("fork",), SHAPE, None, True, True)),
            (WATCH, ()),
            (PICTURES, ()),
            (PICTURES, (5,)),
            (PICTURES, (SHAPE, None)),
        ],
        ids=repr,
    )
    def test_what_is_no_request(self, desk: Desk, kind: str, arguments: tuple[Any, ...]) -> None:
        with desk.call() as call:
            call.ask(kind, *arguments)
            with pytest.raises(EngineRefusedError, match="no request"):
                protocol.read_head(call.receive)
            call.wait_until_hung_up()
        stats = desk.server.stats()
        assert (stats.malformed, stats.failed, stats.callers, stats.streams) == (1, 0, 0, 0)
        assert desk.engine.messages.taps == []

    def test_another_namespace_is_told_nothing(self, desk: Desk) -> None:
        with desk.call() as call:
            call.ask(WATCH, ("fork",), Selection(), None, pid=os.getpid() + 1)
            with pytest.raises(EngineRefusedError, match="namespace"):
                protocol.read_head(call.receive)
        assert desk.engine.messages.taps == []

    @pytest.mark.parametrize(
        ("kind", "arguments"),
        [(WATCH, (("fork",), Selection(under=Target(777)), None)), (PICTURES, (Selection(under=Target(777)),))],
        ids=["events", "pictures"],
    )
    def test_what_is_under_nobody(self, desk: Desk, clock: Clock, kind: str, arguments: tuple[Any, ...]) -> None:
        with desk.call() as call:
            call.ask(kind, *arguments)
            with pytest.raises(NobodyFoundError, match="777"):
                protocol.read_head(call.receive)
            assert call.pids(1) == [1]  # that answer had an end: the next question is answered
            call.ask(kind, *arguments)
            with pytest.raises(NobodyFoundError):
                protocol.read_head(call.receive)
            assert desk.server.stats().streams == 0
            clock.ahead_s += server.REQUEST_TIMEOUT_S + 1
            call.wait_until_hung_up()  # as on every caller that asks nothing more
        assert desk.engine.messages.taps == []


class TestOwner:
    @pytest.fixture
    def owned(self, desk: Desk) -> Iterator[socket.socket]:
        """The end of the one for whom the desk's engine runs."""
        ours, theirs = socket.socketpair()
        desk.server.close()
        desk.server = Server(desk.engine, None, theirs)
        ours.setblocking(False)
        with ours:
            yield ours

    def test_may_be_silent(self, desk: Desk, owned: socket.socket, clock: Clock) -> None:
        for _ in range(3):
            clock.ahead_s += 1e6
            desk.turn(3)
        assert (desk.callers, desk.server.stats().late, desk.server.is_abandoned) == (1, 0, False)
        owned.send(protocol.write_request(os.getpid(), CHAIN, 1, None))
        desk.turn(5)
        assert owned.recv(1 << 16)
        clock.ahead_s += 1e6  # an answer gives it no time that could end
        desk.turn(3)
        assert (desk.callers, desk.server.is_abandoned) == (1, False)

    @pytest.mark.parametrize("request_bytes", [b"", b"\0", protocol.write_request(os.getpid(), CHAIN, 1, None)])
    def test_ends_it_by_hanging_up(self, desk: Desk, owned: socket.socket, request_bytes: bytes) -> None:
        owned.send(request_bytes)
        desk.turn(5)
        assert not desk.server.is_abandoned
        owned.close()
        desk.turn_until(lambda: desk.server.is_abandoned, "it is noticed")
        assert desk.callers == 0

    def test_ends_it_by_hanging_up_on_a_stream(
        self, desk: Desk, owned: socket.socket, happening: Happening
    ) -> None:
        owned.send(protocol.write_request(os.getpid(), WATCH, ("fork",), Selection(), None))
        desk.turn(3)
        assert desk.server.stats().streams == 1
        fill(desk, happening)
        owned.close()
        desk.turn_until(lambda: desk.server.is_abandoned, "it is noticed")
        assert desk.engine.messages.taps == []

    def test_another_caller_that_hangs_up_does_not(self, desk: Desk) -> None:
        with desk.call() as call:
            assert call.pids(1) == [1]
        desk.turn_until(lambda: desk.callers == 0, "it is noticed")
        assert not desk.server.is_abandoned


def test_an_exit_that_nobody_else_knows_of(desk: Desk, happening: Happening) -> None:
    with Viewer(desk, "exit") as viewer:
        happening.exit(777, status=9)
        (told,) = viewer.told(1)
    assert (told.kind, told.node.pid, told.node.exit_status, told.node.cmd) == (Exit, 777, 9, "")
