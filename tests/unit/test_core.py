"""engine/core.py: the engine over a connector and a /proc that are made up."""

from __future__ import annotations

from collections import deque
from typing import cast

import pytest

from proc_cache.engine import floods, intake
from proc_cache.engine.core import Engine
from proc_cache.engine.intake import BATCH, RECORDS_WAIT_S
from proc_cache.errors import ExitRecordsUnavailableError
from proc_cache.events import Event, Exit, Fork
from proc_cache.kernel import clocks
from proc_cache.kernel.netlink import ProcConnector
from proc_cache.kernel.taskstats import ExitRecordSocket
from proc_cache.process import CacheParams, Node, Source
from tests.helpers import exit_records, messages
from tests.helpers.ends import FakeRecordSocket
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import SECOND_NS, lineage

INIT = sighting(1, ppid=0, start_ns=0, comm=b"systemd")


class FakeConnector:
    """Gives what was queued; None is an overrun."""

    receive_buffer_bytes = 4096
    exec_lane = None

    def __init__(self) -> None:
        self.queue: deque[bytes | None] = deque()
        self.waited_s: list[float] = []
        self.is_closed = False
        self.looks = 0  # at an empty queue
        self.filters: list[bytes | None] = []

    def receive(self) -> bytes | None:
        if self.queue:
            return self.queue.popleft()
        self.looks += 1
        return b""

    def filter(self, instructions: bytes | None) -> bool:
        self.filters.append(instructions)
        return True

    def drops(self) -> int | None:
        return 0

    def wait(self, timeout_s: float) -> bool:
        self.waited_s.append(timeout_s)
        return bool(self.queue)

    def hold_back(self, is_held_back: bool) -> None:
        """There is no lane for execs here: nothing is held back."""

    def fileno(self) -> int:
        return 77

    def close(self) -> None:
        self.is_closed = True


class Bench:
    """An engine, and what it is connected to. Its clock stands at 1000 s."""

    def __init__(self, params: CacheParams | None = None) -> None:
        self.now_ns = 1000 * SECOND_NS
        self.reader = FakeReader([INIT])
        self.connector = FakeConnector()
        self.engine = Engine(params, reader=self.reader, timer=lambda: self.now_ns)

    def start(self) -> None:
        self.engine.start(cast("ProcConnector", self.connector))

    def feed(self, *datagrams: bytes | None) -> None:
        self.connector.queue.extend(datagrams)
        self.engine.pump(0)

    def at(self, milliseconds: int) -> int:
        """CLOCK_MONOTONIC of so long after the bench's clock."""
        return self.now_ns + milliseconds * 1_000_000 - clocks.monotonic_to_boottime_ns()


@pytest.fixture(autouse=True)
def _chores_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due a thousand times a second is done in each look: here no time passes."""
    monkeypatch.setattr(intake, "CHORES_S", 0.0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def started(bench: Bench) -> Bench:
    bench.start()
    return bench


class TestStart:
    def test_scans_and_then_applies_what_queued_up(self, bench: Bench) -> None:
        bench.reader.show(sighting(10, start_ns=999 * SECOND_NS, comm=b"sh"))
        bench.connector.queue.append(messages.fork(10, 11, timestamp_ns=bench.at(1)))
        bench.start()
        assert lineage(bench.engine.table.newest[11]) == [11, 10, 1]
        assert bench.engine.table.newest[11].cmd == "sh"
        assert bench.engine.stats().scans == 1
        assert bench.engine.stats().receive_buffer_bytes == 4096
        assert bench.engine.fileno() == 77

    def test_closes(self, bench: Bench) -> None:
        with bench.engine as engine:
            bench.start()
            bench.feed(messages.fork(1, 10, timestamp_ns=bench.at(1)))
        assert bench.connector.is_closed
        engine.close()
        assert engine.chain(10).complete  # what is known can still be asked
        assert engine.stats().receive_buffer_bytes == 0


class TestPump:
    def test_waits_only_where_nothing_is_there(self, started: Bench) -> None:
        assert started.engine.pump(0.5) is False
        assert started.connector.waited_s == [0.5]
        started.connector.queue.append(messages.fork(1, 10, timestamp_ns=started.at(1)))
        assert started.engine.pump(0.5) is True
        assert started.connector.waited_s == [0.5]
        started.engine.pump(0)
        assert started.connector.waited_s == [0.5]

    def test_gives_others_a_turn(self, started: Bench) -> None:
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1

        started.engine.intake.before_chores = count
        started.connector.queue.extend(
            messages.fork(1, 10 + number, seq=number, timestamp_ns=started.at(1)) for number in range(BATCH + 5)
        )
        assert started.engine.pump(0)
        assert len(started.connector.queue) == 5
        assert started.engine.pump(0)
        assert not started.engine.pump(0)
        assert turns == 3
        assert started.engine.stats().forks == BATCH + 5

    def test_expires(self) -> None:
        bench = Bench(CacheParams(10, 60))
        bench.start()
        bench.feed(
            messages.fork(1, 10, timestamp_ns=bench.at(1)),
            messages.exit_(10, seq=1, timestamp_ns=bench.at(2)),
        )
        assert 10 in bench.engine.tree
        bench.now_ns += 61 * SECOND_NS
        bench.engine.pump(0)
        assert 10 not in bench.engine.table.newest

    def test_tells_its_observer_what_was_about_processes(self, started: Bench) -> None:
        told: list[tuple[type, int]] = []

        def observe(event: Event, node: Node) -> None:
            told.append((type(event), node.pid))

        started.engine.observer = observe
        started.feed(
            messages.fork(1, 10, seq=0, timestamp_ns=started.at(1)),
            messages.fork(1, 10, tid=11, seq=1, timestamp_ns=started.at(2)),
            messages.exit_(10, tid=11, seq=2, timestamp_ns=started.at(3)),
            messages.gid(10, 0, 0, seq=3, timestamp_ns=started.at(4)),
            messages.exit_(10, seq=4, timestamp_ns=started.at(5)),
        )
        assert told == [(Fork, 10), (Exit, 10)]


class TestLoss:
    def test_a_gap_is_counted_repaired_and_told(self, started: Bench) -> None:
        started.feed(messages.fork(1, 10, seq=7, timestamp_ns=started.at(1)))
        started.reader.show(sighting(10, start_ns=started.now_ns, comm=b"sh"))
        started.reader.show(sighting(20, ppid=10, start_ns=started.now_ns + SECOND_NS, comm=b"missed"))
        started.now_ns += 2 * SECOND_NS
        started.feed(messages.sid(99, seq=12, timestamp_ns=started.at(0)))
        stats = started.engine.stats()
        assert (stats.lost, stats.lost_is_exact, stats.overruns, stats.scans) == (4, True, 0, 2)
        assert lineage(started.engine.table.newest[20]) == [20, 10, 1]
        assert started.engine.chain(20).lost_events == 4

    def test_an_overrun_is_counted_and_repaired_once_the_queue_is_empty(self, started: Bench) -> None:
        busy = [messages.sid(99, seq=number, timestamp_ns=started.at(1)) for number in range(BATCH)]
        started.feed(None, *busy)
        assert started.engine.stats().scans == 1
        started.engine.pump(0)
        stats = started.engine.stats()
        assert (stats.overruns, stats.scans, stats.lost) == (1, 2, 0)
        assert not stats.lost_is_exact  # the CPU was first heard of after it
        started.engine.pump(0)
        assert started.engine.stats().scans == 2

    def test_each_cpu_has_its_own_sequence(self, started: Bench) -> None:
        started.feed(
            messages.sid(99, cpu=0, seq=5, timestamp_ns=started.at(1)),
            messages.sid(99, cpu=1, seq=0xFFFFFFFF, timestamp_ns=started.at(1)),
            messages.sid(99, cpu=0, seq=6, timestamp_ns=started.at(2)),
            messages.sid(99, cpu=1, seq=0, timestamp_ns=started.at(2)),
        )
        assert (started.engine.stats().lost, started.engine.stats().scans) == (0, 1)

    def test_every_kind_counts_in_the_sequence(self, started: Bench) -> None:
        kinds = (
            messages.ack(5, seq=0),
            messages.message(0x400, b"", seq=1),
            messages.ptrace(9, 9, seq=2),
            messages.coredump(9, 9, seq=3),
            messages.gid(9, 9, 9, seq=4),
        )
        started.feed(*kinds)
        assert (started.engine.stats().lost, started.engine.stats().messages) == (0, 5)

    def test_a_scan_that_does_not_show_pid_1_ends_nobody(self, started: Bench) -> None:
        started.feed(messages.fork(1, 10, timestamp_ns=started.at(-900_000)))
        del started.reader.shown[1]
        started.engine.scan()
        assert not started.engine.table.newest[10].exit_ns
        started.reader.show(INIT)
        started.engine.scan()
        assert started.engine.table.newest[10].exit_ns


def test_malformed_bytes_are_counted(started: Bench) -> None:
    started.feed(messages.fork(1, 10, timestamp_ns=started.at(1)) + b"junk", b"junk")
    stats = started.engine.stats()
    assert (stats.malformed, stats.messages, stats.forks) == (2, 1, 1)
    assert 10 in started.engine.tree


def test_apply_tells_whether_it_was_about_a_process(started: Bench) -> None:
    assert started.engine.apply(messages.fork(1, 10, timestamp_ns=started.at(1)))
    assert not started.engine.apply(messages.gid(10, 0, 0, seq=1))
    assert not started.engine.apply(b"")


def test_tree_cache_and_questions_see_one_table(started: Bench) -> None:
    born = started.at(1)
    started.feed(messages.fork(1, 10, timestamp_ns=born))
    node = started.engine.table.newest[10]
    started.reader.show(sighting(10, start_ns=node.start_ns, comm=b"sh", uid=0))
    started.feed(messages.exec_(10, seq=1, timestamp_ns=started.at(2)))
    assert started.engine.tree[10].cmd == started.engine.cache[10].cmd == "sh"
    assert started.engine.descent(10, "systemd").descendant is True
    assert started.engine.descent(10, "sh", is_strict=True).descendant is False


def test_stats(started: Bench) -> None:
    started.feed(
        messages.fork(1, 10, seq=0, timestamp_ns=started.at(1)),
        messages.fork(1, 11, seq=1, timestamp_ns=started.at(2)),
        messages.exec_(11, seq=2, timestamp_ns=started.at(3)),
        messages.exit_(11, seq=3, timestamp_ns=started.at(4)),
    )
    started.engine.chain(10)
    started.engine.chain(NOBODY)
    stats = started.engine.stats()
    assert (stats.forks, stats.execs, stats.exits, stats.unread) == (2, 1, 1, 1)
    assert (stats.alive, stats.dead) == (2, 1)
    assert stats.oldest_exit_ns == started.engine.table.newest[11].exit_ns
    processes, users = stats.caches
    assert (processes.name, processes.size, processes.capacity) == ("processes", 3, 65536)
    assert (processes.hits, processes.misses) == (1, 1)
    assert (users.name, users.size) == ("users", 1)


NOBODY = 9_999_999


class Recorded(Bench):
    """A bench whose processes leave exit records; each lives for a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = FakeRecordSocket()
        self.seq = 0

    def start(self) -> None:
        super().start()
        self.engine.intake.take_records_from(cast("ExitRecordSocket", self.socket))

    def live(self, pid: int, name: bytes, *, is_recorded: bool = True) -> None:
        """Let a process be born, run a program that is gone before its name is read, and end."""
        born, ended = self.at(self.seq), self.at(self.seq + 1)
        self.connector.queue.extend(
            (
                messages.fork(1, pid, seq=self.seq, timestamp_ns=born),
                messages.exec_(pid, seq=self.seq + 1, timestamp_ns=born + 1),
                messages.exit_(pid, seq=self.seq + 2, timestamp_ns=ended),
            )
        )
        self.seq += 3
        if is_recorded:
            self.leave(pid, name)

    def leave(self, pid: int, name: bytes) -> None:
        self.socket.queue.append(exit_records.record(pid, ac_comm=name, ac_etime=1000))

    def is_named(self, pid: int, name: str) -> bool:
        node = self.engine.table.newest[pid]
        return (node.cmd, node.source, node.cost is not None) == (name, Source.EXIT_RECORD, True)


@pytest.fixture
def recorded() -> Recorded:
    made = Recorded()
    made.start()
    return made


class TestRecords:
    def test_are_applied_after_the_messages(self, recorded: Recorded) -> None:
        recorded.live(10, b"ls")
        recorded.engine.pump(0)
        assert recorded.is_named(10, "ls")
        stats = recorded.engine.stats()
        assert (stats.records, stats.records_unmatched, stats.records_lost, stats.no_records) == (1, 0, 0, None)

    def test_of_processes_whose_messages_are_waiting_still_are_not_lost(self, recorded: Recorded) -> None:
        """The records of a whole storm are there before its first message is read."""
        count = 3 * BATCH
        for number in range(count):
            recorded.live(100 + number, b"p%d" % number)
        while recorded.engine.pump(0):
            recorded.now_ns += 1
            early = len(recorded.engine.intake.records._early)
            assert early <= BATCH, "records are read far ahead of the messages"
        recorded.engine.pump(0)
        assert all(recorded.is_named(100 + number, f"p{number}") for number in range(count))
        assert (recorded.engine.stats().records, recorded.engine.stats().records_unmatched) == (count, 0)

    def test_of_a_loop_of_ones_own_around_drain(self, recorded: Recorded) -> None:
        for number in range(BATCH):
            recorded.live(100 + number, b"p%d" % number)
        while recorded.engine.intake.drain():
            pass
        recorded.engine.intake.take_records()
        assert all(recorded.is_named(100 + number, f"p{number}") for number in range(BATCH))

    def test_that_came_before_the_exec_was_read(self, recorded: Recorded) -> None:
        recorded.connector.queue.append(messages.fork(1, 10, timestamp_ns=recorded.at(-2)))
        recorded.leave(10, b"ls")
        recorded.engine.pump(0)
        assert recorded.engine.table.newest[10].cost is None
        assert recorded.engine.intake.rest() == RECORDS_WAIT_S  # it waits for its Exit: look again soon
        recorded.feed(
            messages.exec_(10, seq=1, timestamp_ns=recorded.at(-1)),
            messages.exit_(10, seq=2, timestamp_ns=recorded.at(-1)),
        )
        recorded.now_ns += 1
        recorded.engine.pump(0)
        assert recorded.is_named(10, "ls")

    def test_are_taken_by_the_batch_and_waited_for_no_longer_than_shortly(
        self, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s = 1000.0
        monkeypatch.setattr(clocks, "monotonic_s", lambda: now_s)
        for pid in (10, 11):
            recorded.live(pid, b"ls")
            recorded.engine.intake.drain()
        assert recorded.is_named(10, "ls")
        assert not recorded.is_named(11, "ls")  # it would be a batch of one
        assert recorded.engine.intake.rest() <= RECORDS_WAIT_S
        now_s += RECORDS_WAIT_S * 1.01
        recorded.engine.intake.drain()
        assert recorded.is_named(11, "ls")
        assert recorded.engine.intake.rest() > 1

    def test_of_one_whose_messages_were_lost_correct_its_name(self, recorded: Recorded) -> None:
        born = recorded.at(0)
        node_ns = recorded.now_ns
        recorded.feed(messages.fork(1, 10, timestamp_ns=born))
        recorded.reader.show(sighting(10, start_ns=node_ns, comm=b"old"))
        recorded.now_ns += SECOND_NS
        recorded.feed(messages.exec_(10, seq=1, timestamp_ns=recorded.at(-900)))
        assert recorded.engine.table.newest[10].cmd == "old"
        del recorded.reader.shown[10]
        recorded.connector.queue.append(
            messages.exit_(10, seq=5, timestamp_ns=recorded.at(0))
        )  # three are missing
        recorded.socket.queue.append(exit_records.record(10, ac_comm=b"new", ac_etime=1_000_000))
        recorded.engine.pump(0)
        assert recorded.is_named(10, "new")

    def test_malformed_ones_are_counted(self, recorded: Recorded) -> None:
        recorded.live(10, b"ls", is_recorded=False)
        recorded.socket.queue.append(b"junk")
        recorded.engine.pump(0)
        assert (recorded.engine.stats().malformed, recorded.engine.stats().records) == (1, 0)

    def test_end_with_the_engine(self, recorded: Recorded) -> None:
        recorded.engine.close()
        assert recorded.socket.is_closed

    def test_where_there_are_none_it_says_why(self, monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
        def refuse() -> ExitRecordSocket:
            raise ExitRecordsUnavailableError("no moon today")

        monkeypatch.setattr(ExitRecordSocket, "open", refuse)
        monkeypatch.setattr(ProcConnector, "open", lambda has_exec_lane: bench.connector)
        assert bench.engine.stats().no_records is not None
        bench.engine.start()
        assert bench.engine.stats().no_records == "no moon today"
        bench.feed(messages.fork(1, 10, timestamp_ns=bench.at(1)))
        assert bench.engine.chain(10).complete


class TestRepairInSlices:
    PROCESSES = 3000

    @pytest.fixture
    def crowded(self, started: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
        """One with thousands of processes, that are to be scanned after a loss; a slice is one of them."""
        monkeypatch.setattr(clocks, "left_s", lambda _: 0.0)
        for pid in range(100, 100 + self.PROCESSES):
            started.reader.show(sighting(pid, start_ns=SECOND_NS, comm=b"p%d" % pid))
        started.connector.queue.append(None)
        started.engine.intake.drain()
        assert started.engine.intake.is_busy
        return started

    def test_the_queue_is_looked_at_between_them(self, crowded: Bench) -> None:
        looks = crowded.connector.looks
        crowded.engine.pump(60)
        assert crowded.connector.looks - looks >= self.PROCESSES - 1
        assert not crowded.engine.intake.is_busy
        assert crowded.engine.stats().scans == 2
        assert crowded.engine.stats().alive == self.PROCESSES + 1

    def test_nothing_is_waited_for_meanwhile(self, crowded: Bench) -> None:
        crowded.connector.waited_s.clear()
        while crowded.engine.intake.is_busy:
            crowded.engine.pump(60)
            if crowded.engine.intake.is_busy:
                assert crowded.connector.waited_s == []

    def test_messages_come_before_it(self, crowded: Bench) -> None:
        """A storm puts it off, and goes on with it then."""
        crowded.connector.queue.extend(
            messages.sid(99, seq=number, timestamp_ns=crowded.at(1)) for number in range(3 * BATCH)
        )
        known = crowded.engine.stats().alive
        for _ in range(3):
            assert crowded.engine.intake.drain() == BATCH
            assert crowded.engine.stats().alive == known
        crowded.engine.pump(0)
        assert crowded.engine.stats().alive == self.PROCESSES + 1

    def test_what_happens_meanwhile_is_applied(self, crowded: Bench) -> None:
        table = crowded.engine.table
        while 1000 not in table.newest:  # those below have been seen, those above have not
            crowded.engine.intake.drain()
        for pid in (500, 2000):
            del crowded.reader.shown[pid]
        crowded.now_ns += SECOND_NS
        crowded.reader.show(sighting(700, start_ns=SECOND_NS, comm=b"new"))
        crowded.connector.queue.extend(
            (
                messages.exit_(500, status=256, seq=0, timestamp_ns=crowded.at(0)),
                messages.exit_(2000, status=256, seq=1, timestamp_ns=crowded.at(0)),
                messages.fork(600, 9000, seq=2, timestamp_ns=crowded.at(1)),
                messages.exec_(700, seq=3, timestamp_ns=crowded.at(1)),
                messages.fork(600, 500, seq=4, timestamp_ns=crowded.at(2)),
            )
        )
        crowded.engine.pump(0)
        assert not crowded.engine.intake.is_busy
        newest, former = table.owners(500)
        assert (newest.exit_ns, lineage(newest)) == (0, [500, 600, 1])
        assert (former.exit_status, former.cmd) == (256, "p500")
        assert table.newest[2000].exit_status == 256
        assert lineage(table.newest[9000]) == [9000, 600, 1]
        assert (table.newest[700].cmd, table.newest[700].source) == ("new", Source.EXEC)

    def test_a_loss_meanwhile_makes_another_one(self, crowded: Bench) -> None:
        crowded.connector.queue.append(None)
        crowded.engine.intake.drain()
        crowded.engine.pump(0)
        crowded.engine.pump(0)
        assert crowded.engine.stats().scans == 3


class TestPause:
    def test_is_between_two_looks_and_waiting_is_none(
        self, started: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s = 1000.0
        monkeypatch.setattr(clocks, "monotonic_s", lambda: now_s)
        started.engine.intake.has_waited()
        before_ns = started.engine.stats().longest_pause_ns
        now_s += 0.5
        started.engine.intake.drain()
        assert started.engine.stats().longest_pause_ns == max(before_ns, 500_000_000)
        now_s += 60
        started.engine.intake.has_waited()
        now_s += 0.25
        started.engine.intake.drain()
        assert started.engine.stats().longest_pause_ns == max(before_ns, 500_000_000)
        now_s += 2
        started.engine.intake.drain()
        assert started.engine.stats().longest_pause_ns == max(before_ns, 2_000_000_000)


class TestFlood:
    @pytest.fixture
    def flooded(self, monkeypatch: pytest.MonkeyPatch) -> Bench:
        bench = Bench()
        monkeypatch.setattr(floods, "boottime_ns", lambda: bench.now_ns)
        bench.start()
        bench.reader.show(sighting(10, start_ns=bench.now_ns, comm=b"flooder"))
        bench.seq = 0  # type: ignore[attr-defined]
        self.tell(bench, messages.fork(1, 10, timestamp_ns=bench.at(0)))
        return bench

    @staticmethod
    def tell(bench: Bench, *datagrams: bytes) -> None:
        bench.connector.queue.extend(datagrams)
        while bench.engine.pump(0):
            pass

    def flood(self, bench: Bench, kind: str) -> None:
        """Enough of it to notice the rate and to see whose it is."""
        for _ in range(2):
            for number in range(9000):
                of_thread = messages.fork(1, 10, tid=12_000 + number, timestamp_ns=bench.at(0), seq=number + 1)
                of_name = messages.comm(10, b"%d" % number, timestamp_ns=bench.at(0), seq=number + 1)
                bench.connector.queue.append(of_thread if kind == "thread" else of_name)
            bench.engine.ledger.last.clear()
            while bench.connector.queue:
                bench.engine.intake.drain()
            bench.now_ns += floods.WINDOW_NS
        bench.engine.intake.drain()

    def test_is_filtered_and_told(self, flooded: Bench) -> None:
        self.flood(flooded, "comm")
        assert len(flooded.connector.filters) == 1
        (flood,) = flooded.engine.stats().floods
        assert (flood.kind, flood.pid) == ("comm", 10)
        assert flood.cmd is not None
        named = floods.BURST + floods.SAMPLE
        assert named < int(flood.cmd) < named + 2 * BATCH, "no more were taken than it takes to see it"
        assert flooded.engine.stats().filtered == 0
        self.tell(flooded, messages.sid(99, seq=10_001, timestamp_ns=flooded.at(0)))
        stats = flooded.engine.stats()
        assert (stats.filtered, stats.lost, stats.lost_is_exact) == (1000, 0, True)

    def test_is_looked_at_again_and_what_was_not_told_is_scanned(self, flooded: Bench) -> None:
        self.flood(flooded, "comm")
        scans = flooded.engine.stats().scans
        flooded.reader.show(sighting(10, start_ns=flooded.engine.table.newest[10].start_ns, comm=b"last"))
        flooded.now_ns += floods.LIFTED_AFTER_NS
        flooded.engine.pump(0)
        assert flooded.connector.filters[-1] is None
        assert (flooded.engine.table.newest[10].cmd, flooded.engine.stats().scans) == ("last", scans + 1)

    def test_of_threads_leaves_the_end_of_the_process_right(self, flooded: Bench) -> None:
        """Its leader exits while others run on that nobody tells of; its end is seen when the filter is gone."""
        node = flooded.engine.table.newest[10]
        self.flood(flooded, "thread")
        assert len(flooded.connector.filters) == 1
        flooded.reader.show(sighting(10, start_ns=node.start_ns, comm=b"flooder", state="Z", tids=(32_000,)))
        self.tell(flooded, messages.exit_(10, status=256, seq=9001, timestamp_ns=flooded.at(0)))
        assert not node.exit_ns
        del flooded.reader.shown[10]
        flooded.now_ns += floods.LIFTED_AFTER_NS
        flooded.engine.pump(0)
        flooded.engine.pump(0)
        assert node.exit_ns

    def test_of_threads_where_the_leader_is_the_last(self, flooded: Bench) -> None:
        node = flooded.engine.table.newest[10]
        self.flood(flooded, "thread")
        flooded.reader.show(sighting(10, start_ns=node.start_ns, comm=b"flooder", state="Z"))
        self.tell(flooded, messages.exit_(10, status=256, seq=9001, timestamp_ns=flooded.at(0)))
        assert node.exit_status == 256
