"""engine/core.py: the engine over a connector and a /proc that are made up."""

from __future__ import annotations

from collections import deque
from typing import cast

import pytest

from proc_cache.engine.core import BATCH, Engine
from proc_cache.events import Event, Exit, Fork
from proc_cache.kernel import clocks
from proc_cache.kernel.netlink import ProcConnector
from proc_cache.process import CacheParams, Node
from tests.helpers import messages
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import SECOND_NS, lineage

INIT = sighting(1, ppid=0, start_ns=0, comm=b"systemd")


class FakeConnector:
    """Gives what was queued; None is an overrun."""

    receive_buffer_bytes = 4096

    def __init__(self) -> None:
        self.queue: deque[bytes | None] = deque()
        self.waited_s: list[float] = []
        self.is_closed = False

    def receive(self) -> bytes | None:
        return self.queue.popleft() if self.queue else b""

    def wait(self, timeout_s: float) -> bool:
        self.waited_s.append(timeout_s)
        return bool(self.queue)

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

        started.engine.before_pump = count
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
