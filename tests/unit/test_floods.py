"""engine/floods.py: when a flood is one, whose messages are dropped then, for how long, and what is told of it."""

from __future__ import annotations

import pytest

from proc_cache.engine import floods as floods_module
from proc_cache.engine.floods import (
    BURST,
    BUSY_PER_S,
    FLOOD_PER_S,
    FLOODS_TOLD,
    LIFTED_AFTER_MAX_NS,
    LIFTED_AFTER_NS,
    RENAMED_FOR_NS,
    SAMPLE,
    SAMPLE_AGAIN,
    THREADS,
    WINDOW_NS,
    FloodGuard,
)
from proc_cache.engine.stats import Flood
from proc_cache.events import Comm, Event, Exec, Exit, Fork, Gid, Ptrace, Sid, Uid
from proc_cache.kernel import wire
from proc_cache.kernel.socket_filter import PIDS_MAX, program
from tests.helpers.story import BEGINNING_NS, SECOND_NS, Story

WINDOWS_PER_S = SECOND_NS // WINDOW_NS
BUSY = 2 * BUSY_PER_S // WINDOWS_PER_S  # messages in a window
COMM = wire.PROC_EVENT_COMM


class FakeConnector:
    """Notes which filters it got; it may refuse them, as old kernels do, or not tell its drops."""

    def __init__(self) -> None:
        self.filters: list[bytes | None] = []
        self.is_willing = True
        self.dropped: int | None = 0

    def filter(self, instructions: bytes | None) -> bool:
        if instructions is None or self.is_willing:
            self.filters.append(instructions)
        return instructions is None or self.is_willing

    def drops(self) -> int | None:
        return self.dropped

    @property
    def attached(self) -> bytes | None:
        return self.filters[-1] if self.filters else None


def comm(pid: int, tid: int | None = None) -> Event:
    return Comm(0, 0, 0, tid or pid, pid, b"flood")


class Watch:
    """A guard whose windows pass one at a time: `window` sends messages in one, and looks at its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = BEGINNING_NS
        monkeypatch.setattr(floods_module, "boottime_ns", lambda: self.now_ns)
        self.story = Story()
        self.story.fork(1, 10)
        self.story.comm(10, b"flooder")
        self.story.uid(10, 1000)
        self.ledger = self.story.ledger
        self.ledger.last[0] = (1, 0, 0)
        self.connector = FakeConnector()
        self.guard = FloodGuard(self.connector, self.ledger, self.story.table)
        self.messages = 0

    def window(self, *sent: tuple[Event, int], others: int = 0) -> bool:
        """Send each of these so often, and so many of no kind that matters; true where a scan is asked for."""
        for event, times in sent:
            self.messages += times
            if self.guard.is_sampling:
                for _ in range(times):
                    self.guard.sample(type(event), event)
        self.messages += others
        self.now_ns += WINDOW_NS
        return self.guard.look(self.messages)

    def few(self, *sent: tuple[Event, int]) -> bool:
        """Send SAMPLE_AGAIN messages at once, so many of them these; true where a scan is asked for."""
        for event, times in sent:
            for _ in range(times):
                self.guard.sample(type(event), event)
        self.messages += SAMPLE_AGAIN
        self.now_ns += WINDOW_NS // 50
        return self.guard.look(self.messages)

    def flood(self, *sent: tuple[Event, int], others: int = 0) -> None:
        """Let it go on until it has been noticed: a window for the rate, and one for whose it is."""
        for _ in range(2):
            self.window(*sent, others=others)

    def pass_time(self, ns: int) -> bool:
        """Let time pass in silence; true where a scan was asked for."""
        self.now_ns += ns
        return self.guard.look(self.messages)

    @property
    def flood_told(self) -> Flood:
        (flood,) = self.guard.floods
        return flood


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


class TestNoFlood:
    def test_below_the_rate_nothing_is_counted(self, watch: Watch) -> None:
        for _ in range(20):
            assert not watch.window((comm(10), BUSY_PER_S // WINDOWS_PER_S - 1))
            assert not watch.guard.is_sampling
        assert (watch.guard.floods, watch.connector.filters, watch.ledger.is_filtered) == ([], [], False)

    def test_a_busy_machine_is_none(self, watch: Watch) -> None:
        """A hundred thousand messages a second of programs that are born, run and end."""
        sampled = []
        for _ in range(20):
            assert not watch.window(
                (Fork(0, 0, 0, 10, 10, 20, 20), BUSY),
                (Exec(0, 0, 0, 20, 20), BUSY),
                (Exit(0, 0, 0, 20, 20, 0, 17, 1, 1), BUSY),
                (comm(10), FLOOD_PER_S // WINDOWS_PER_S - 1),
            )
            sampled.append(watch.guard.is_sampling)
        assert sampled == [True, False] * 10, "looked through again and again, and not all of it"
        assert (watch.guard.floods, watch.connector.filters) == ([], [])

    def test_sampling_ends_with_the_rush(self, watch: Watch) -> None:
        watch.window(others=BUSY)
        assert watch.guard.is_sampling
        watch.window()
        assert not watch.guard.is_sampling

    def test_the_rate_is_looked_at_once_in_a_window(self, watch: Watch) -> None:
        watch.now_ns += WINDOW_NS - 1
        watch.messages += BUSY_PER_S // WINDOWS_PER_S - 1
        watch.guard.look(watch.messages)
        assert not watch.guard.is_sampling
        watch.now_ns += 1
        watch.messages += 2
        watch.guard.look(watch.messages)
        assert watch.guard.is_sampling

    def test_a_window_ends_early_where_many_have_come(self, watch: Watch) -> None:
        watch.now_ns += WINDOW_NS // 100
        watch.messages += BURST - 1
        watch.guard.look(watch.messages)
        assert not watch.guard.is_sampling
        watch.messages += 1
        watch.guard.look(watch.messages)
        assert watch.guard.is_sampling

    def test_a_slow_machine_is_looked_at_once_in_a_window(self, watch: Watch) -> None:
        watch.now_ns += WINDOW_NS // 2
        watch.messages += 2 * BURST
        watch.guard.look(watch.messages)
        assert not watch.guard.is_sampling

    def test_a_program_that_names_its_threads_is_none(self, watch: Watch) -> None:
        """A few hundred renames in a few milliseconds are a rate, and no flood."""
        watch.guard.is_sampling = True
        for _ in range(900):
            watch.guard.sample(Comm, comm(10))
        watch.now_ns += WINDOW_NS // 10
        watch.messages += 2 * SAMPLE
        watch.guard.look(watch.messages)
        assert watch.connector.filters == []


class TestFlood:
    def test_of_one_is_dropped_for_it_alone(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY), (comm(11), 3))
        assert watch.connector.filters == [program({COMM: {10}}, set())]
        assert watch.guard.is_dropping("comm", 10)
        assert not watch.guard.is_dropping("comm", 11)
        assert not watch.guard.is_dropping(THREADS, 10)
        assert watch.ledger.is_filtered

    def test_is_told_with_kind_process_user_and_rate(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY))
        assert watch.flood_told == Flood("comm", 10, "flooder", 1000, BUSY * WINDOWS_PER_S, watch.now_ns)
        assert watch.guard.count == 1

    def test_of_one_that_is_not_known_is_told_by_its_pid(self, watch: Watch) -> None:
        watch.flood((comm(99), BUSY))
        assert (watch.flood_told.pid, watch.flood_told.cmd, watch.flood_told.uid) == (99, None, None)

    def test_of_a_thread_is_its_processs(self, watch: Watch) -> None:
        watch.flood((comm(10, tid=12), BUSY))
        assert watch.guard.is_dropping("comm", 10)

    def test_of_a_few_is_dropped_for_these(self, watch: Watch) -> None:
        watch.flood(*[(comm(pid), BUSY) for pid in (10, 11, 12)], (comm(13), 1))
        assert watch.guard.dropped == {"comm": {10, 11, 12}}

    def test_of_many_is_dropped_for_all(self, watch: Watch) -> None:
        """More than the filter can name; or of very many of which none does much."""
        watch.flood(*[(comm(pid), BUSY // 4) for pid in range(100, 101 + PIDS_MAX)])
        assert watch.guard.dropped == {"comm": None}
        assert watch.connector.filters == [program({COMM: None}, set())]
        assert watch.flood_told.pid is None
        assert watch.guard.is_dropping("comm", 12345)

    def test_of_very_many_that_do_little_each(self, watch: Watch) -> None:
        watch.flood(*[(comm(pid), 4) for pid in range(100, 100 + BUSY)])
        assert watch.guard.dropped == {"comm": None}

    def test_of_threads(self, watch: Watch) -> None:
        born, ended = Fork(0, 0, 0, 1, 1, 77, 10), Exit(0, 0, 0, 77, 10, 0, 0, 0, 0)
        watch.flood((born, BUSY), (ended, BUSY))
        assert watch.connector.filters == [program({}, {10})]
        assert watch.guard.is_dropping(THREADS, 10)
        assert (watch.flood_told.kind, watch.flood_told.pid) == ("thread", 10)

    @pytest.mark.parametrize(
        ("event", "what"),
        [
            (Uid(0, 0, 0, 10, 10, 0, 0), wire.PROC_EVENT_UID),
            (Gid(0, 0, 0, 10, 10, 0, 0), wire.PROC_EVENT_GID),
            (Sid(0, 0, 0, 10, 10), wire.PROC_EVENT_SID),
            (Ptrace(0, 0, 0, 10, 10, 0, 0), wire.PROC_EVENT_PTRACE),
        ],
    )
    def test_of_every_kind_that_nothing_hangs_on(self, watch: Watch, event: Event, what: int) -> None:
        watch.flood((event, BUSY))
        assert watch.connector.filters == [program({what: {10}}, set())]

    def test_of_two_kinds_at_once(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY), (Uid(0, 0, 0, 11, 11, 0, 0), BUSY))
        assert watch.connector.filters == [program({COMM: {10}, wire.PROC_EVENT_UID: {11}}, set())]
        assert {(flood.kind, flood.pid) for flood in watch.guard.floods} == {("comm", 10), ("uid", 11)}

    def test_a_second_one_is_dropped_beside_the_first(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY))
        watch.flood((comm(11), BUSY))
        assert watch.guard.dropped == {"comm": {10, 11}}
        assert watch.connector.attached == program({COMM: {10, 11}}, set())
        assert [flood.pid for flood in watch.guard.floods] == [10, 11]

    def test_one_too_many_for_the_filter_makes_it_all(self, watch: Watch) -> None:
        for pid in range(100, 100 + PIDS_MAX):
            watch.story.fork(1, pid)
        watch.flood(*[(comm(pid), BUSY) for pid in range(100, 100 + PIDS_MAX)])
        watch.flood((comm(10), BUSY))
        assert watch.guard.dropped == {"comm": None}

    def test_what_was_queued_before_the_filter_is_no_second_one(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY))
        for _ in range(3):
            watch.window((comm(10), BUSY))
        assert len(watch.connector.filters) == 1
        assert watch.guard.count == 1

    def test_those_told_are_bounded_and_the_newest_last(self, watch: Watch) -> None:
        for pid in range(100, 100 + 2 * FLOODS_TOLD):
            watch.guard.dropped.clear()
            watch.flood((comm(pid), BUSY))
        assert [flood.pid for flood in watch.guard.floods] == list(range(100 + FLOODS_TOLD, 100 + 2 * FLOODS_TOLD))

    def test_again_of_the_same_is_told_once_with_its_newest_rate(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY))
        watch.pass_time(LIFTED_AFTER_NS)
        watch.flood((comm(10), 2 * BUSY))
        assert watch.flood_told.per_second == 2 * BUSY * WINDOWS_PER_S
        assert watch.guard.count == 2


class TestLift:
    def test_after_a_time_and_asks_for_a_scan(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY))
        assert not watch.pass_time(LIFTED_AFTER_NS - 1)
        assert watch.guard.is_dropping("comm", 10)
        assert watch.pass_time(WINDOW_NS)
        assert watch.connector.attached is None
        assert watch.guard.dropped == {}
        assert watch.ledger._unheard  # gaps prove something again once each CPU is heard
        assert not watch.pass_time(SECOND_NS)

    @pytest.mark.parametrize("others", [0, BUSY], ids=["alone", "beside a rush"])
    def test_comes_later_each_time_while_it_goes_on(self, watch: Watch, others: int) -> None:
        lasted = []
        for _ in range(8):
            for _ in range(2):  # to notice it takes no more
                if not watch.guard.is_dropping("comm", 10):
                    watch.window((comm(10), BUSY), others=others)
            assert watch.guard.is_dropping("comm", 10)
            began_ns = watch.now_ns
            while not watch.window(others=others):
                assert watch.now_ns - began_ns <= LIFTED_AFTER_MAX_NS
            lasted.append((watch.now_ns - began_ns) // SECOND_NS)
        assert lasted == [2, 4, 8, 16, 32, 60, 60, 60]

    def test_comes_soon_again_after_a_quiet_time(self, watch: Watch) -> None:
        for _ in range(3):
            watch.flood((comm(10), BUSY))
            watch.pass_time(LIFTED_AFTER_MAX_NS)
        for _ in range(4):
            watch.window()
        watch.flood((comm(10), BUSY))
        assert watch.pass_time(LIFTED_AFTER_NS)

    def test_comes_at_once_when_the_flooder_has_ended(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY))
        watch.story.exit(10)
        assert watch.pass_time(WINDOW_NS)
        assert (watch.connector.attached, watch.guard.dropped) == (None, {})

    def test_waits_for_the_last_of_several(self, watch: Watch) -> None:
        watch.story.fork(1, 11)
        watch.flood((comm(10), BUSY), (Uid(0, 0, 0, 11, 11, 0, 0), BUSY))
        watch.story.exit(10)
        assert not watch.pass_time(WINDOW_NS)
        watch.story.exit(11)
        assert watch.pass_time(WINDOW_NS)

    def test_waits_for_the_time_where_it_was_of_many(self, watch: Watch) -> None:
        watch.flood(*[(comm(pid), 4) for pid in range(100, 100 + BUSY)])
        assert not watch.pass_time(WINDOW_NS)
        assert watch.pass_time(LIFTED_AFTER_NS)

    def test_of_a_slower_flood_that_goes_on_is_noticed(self, watch: Watch) -> None:
        """One that alone is no rush, and was filtered in one: it is looked for after each lift."""
        slower = 2 * FLOOD_PER_S // WINDOWS_PER_S
        watch.flood((comm(10), slower), others=BUSY)
        assert watch.guard.is_dropping("comm", 10)
        assert watch.pass_time(LIFTED_AFTER_NS)
        for _ in range(3):
            watch.window((comm(10), slower))
        assert watch.guard.is_dropping("comm", 10)

    def test_of_one_that_goes_on_is_noticed_by_few(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY))
        assert watch.pass_time(LIFTED_AFTER_NS)
        assert not watch.few((comm(10), SAMPLE_AGAIN // 2))
        assert watch.guard.is_dropping("comm", 10)

    def test_few_of_another_kind_or_among_many_are_looked_at_for_longer(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY))
        assert watch.pass_time(LIFTED_AFTER_NS)
        watch.few((comm(10), SAMPLE_AGAIN // 5), (Uid(0, 0, 0, 10, 10, 0, 0), SAMPLE_AGAIN // 5))
        assert watch.guard.dropped == {}
        assert watch.guard.is_sampling, "it is not over yet"

    def test_a_rename_that_was_not_told_is_missing_until_the_record_of_the_end_is_read(self, watch: Watch) -> None:
        """The flooder ends, the filter is lifted, and only then comes the record with its last name."""
        watch.flood((comm(10), BUSY))
        watch.story.exit(10)
        assert watch.pass_time(WINDOW_NS)
        assert not watch.guard.is_dropping("comm", 10)
        for _ in range(RENAMED_FOR_NS // WINDOW_NS):
            assert watch.guard.may_have_renamed(10)
            watch.window(others=BUSY)
        assert not watch.guard.may_have_renamed(10)


class TestRefused:
    """Where the kernel takes no filter, or does not count what is lost: the flood is borne."""

    @pytest.mark.parametrize("is_willing", [True, False], ids=["drops not told", "filter refused"])
    def test_changes_nothing(self, watch: Watch, is_willing: bool) -> None:
        watch.connector.is_willing = is_willing
        watch.connector.dropped = None if is_willing else 0
        for _ in range(5):
            assert not watch.window((comm(10), BUSY))
        assert watch.connector.attached is None
        assert (watch.guard.dropped, watch.ledger.is_filtered) == ({}, False)
        assert not watch.guard.is_dropping("comm", 10)
        assert watch.flood_told.pid == 10  # it is told all the same

    def test_is_not_judged_by_few_messages(self, watch: Watch) -> None:
        """No filter was lifted: it costs what it cost before."""
        watch.connector.is_willing = False
        watch.flood((comm(10), BUSY))
        watch.window(others=BUSY)
        assert watch.guard.is_sampling
        watch.few((comm(10), SAMPLE_AGAIN // 2))
        assert watch.guard.count == 1

    def test_of_a_second_filter_the_first_one_does_not_stay_for_ever(self, watch: Watch) -> None:
        watch.flood((comm(10), BUSY))
        watch.connector.is_willing = False
        watch.flood((comm(11), BUSY))
        assert watch.connector.attached is None
        assert watch.ledger._unheard
