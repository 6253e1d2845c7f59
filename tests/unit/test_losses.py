"""engine/losses.py: messages proven missing by the sequence of each CPU."""

from __future__ import annotations

from proc_cache.engine.losses import WINDOWS_MAX, LossLedger
from proc_cache.events import Exec

OFFSET_NS = 1_000_000


def hear(ledger: LossLedger, cpu: int, seq: int, at_ns: int = 0) -> int:
    """As the engine does: an event that follows its CPU's last is no gap."""
    event = Exec(seq, cpu, at_ns, 20, 20)
    before = ledger.last.get(cpu)
    lost = 0
    if before is None or seq != (before[0] + 1) % (1 << 32):
        lost = ledger.gap(event, OFFSET_NS)
    ledger.last[cpu] = event
    return lost


def spans(ledger: LossLedger) -> list[tuple[int, int, int]]:
    return [(w.start_ns - OFFSET_NS, w.end_ns - OFFSET_NS, w.lost) for w in ledger.windows]


def test_gaps_are_exact_and_per_cpu() -> None:
    ledger = LossLedger()
    assert hear(ledger, 0, 10) == 0  # the first says nothing
    assert hear(ledger, 1, 500) == 0
    assert hear(ledger, 0, 11) == 0
    assert hear(ledger, 0, 15) == 3
    assert hear(ledger, 1, 502) == 1
    assert ledger.lost == 4
    assert ledger.is_exact


def test_the_counter_wraps() -> None:
    ledger = LossLedger()
    hear(ledger, 0, 0xFFFFFFFE)
    assert hear(ledger, 0, 0xFFFFFFFF) == 0
    assert hear(ledger, 0, 0) == 0
    hear(ledger, 1, 0xFFFFFFFE)
    assert hear(ledger, 1, 2) == 3
    assert ledger.lost == 3


def test_a_counter_set_back_is_no_loss() -> None:
    ledger = LossLedger()
    hear(ledger, 0, 1000)
    assert hear(ledger, 0, 3) == 0
    assert hear(ledger, 0, 3) == 0  # the same again
    assert ledger.lost == 0
    assert ledger.windows == []
    assert hear(ledger, 0, 5) == 1


def test_a_cpu_first_heard_of_after_an_overrun_makes_the_figure_a_least() -> None:
    ledger = LossLedger()
    hear(ledger, 0, 1)
    ledger.overrun()
    assert hear(ledger, 0, 5) == 3
    assert ledger.is_exact  # this CPU's gap told it all
    hear(ledger, 1, 77)
    assert not ledger.is_exact
    assert (ledger.lost, ledger.overruns) == (3, 1)


def test_windows_lie_between_the_messages_around_the_gap() -> None:
    ledger = LossLedger()
    hear(ledger, 0, 1, 100)
    hear(ledger, 0, 4, 200)
    hear(ledger, 0, 5, 300)
    hear(ledger, 0, 7, 400)
    assert spans(ledger) == [(100, 200, 2), (300, 400, 1)]


def test_overlapping_windows_become_one() -> None:
    ledger = LossLedger()
    hear(ledger, 0, 1, 100)
    hear(ledger, 1, 1, 150)
    hear(ledger, 0, 4, 200)
    hear(ledger, 1, 3, 250)
    assert spans(ledger) == [(100, 250, 3)]


def test_lost_between() -> None:
    ledger = LossLedger()
    for cpu, start_ns in ((0, 100), (1, 300)):
        hear(ledger, cpu, 1, start_ns)
        hear(ledger, cpu, 3 + cpu, start_ns + 100)
    assert spans(ledger) == [(100, 200, 1), (300, 400, 2)]

    def between(start_ns: int, end_ns: int) -> int:
        return ledger.lost_between(start_ns + OFFSET_NS, end_ns + OFFSET_NS)

    assert between(0, 99) == 0
    assert between(0, 100) == 1
    assert between(120, 130) == 1
    assert between(200, 300) == 3
    assert between(201, 299) == 0
    assert between(401, 999) == 0
    assert ledger.lost_between(0, 1 << 62) == 3  # a start of 0 is unknown: every loss may matter


def test_windows_are_bounded_and_forget_no_loss() -> None:
    ledger = LossLedger()
    count = WINDOWS_MAX + 100
    for number in range(count):
        hear(ledger, 0, 10 * number, 1000 * number)
        hear(ledger, 0, 10 * number + 2, 1000 * number + 10)
    assert len(ledger.windows) <= WINDOWS_MAX
    assert sum(window.lost for window in ledger.windows) == ledger.lost
    assert ledger.lost_between(OFFSET_NS, OFFSET_NS + 10) > 0  # the oldest is still told


class TestFilter:
    """While a filter drops a flood, gaps are its doing: the socket's counter of losses is the measure."""

    @staticmethod
    def begun(drops: int = 0) -> LossLedger:
        ledger = LossLedger()
        hear(ledger, 0, 10, 100)
        hear(ledger, 1, 500, 100)
        ledger.begin_filter(drops, 1000 + OFFSET_NS)
        return ledger

    def test_gaps_are_no_losses(self) -> None:
        ledger = self.begun()
        assert hear(ledger, 0, 1011, 2000) == 0
        assert hear(ledger, 1, 504, 2000) == 0
        assert (ledger.lost, ledger.filtered, ledger.windows) == (0, 1003, [])
        assert ledger.is_exact

    def test_what_found_no_room_is_told_apart(self) -> None:
        """filtered = gaps - drops, once every CPU has been heard."""
        ledger = self.begun()
        assert ledger.count_drops(7, 3000 + OFFSET_NS) == 7
        assert ledger.count_drops(7, 3500 + OFFSET_NS) == 0
        hear(ledger, 0, 1018, 4000)
        assert ledger.count_drops(9, 5000 + OFFSET_NS) == 2
        hear(ledger, 1, 503, 6000)
        assert (ledger.lost, ledger.filtered) == (9, 1007 + 2 - 9)
        assert spans(ledger) == [(1000, 3000, 7), (3500, 5000, 2)]
        assert ledger.is_exact

    def test_what_was_filtered_is_never_less_than_nothing(self) -> None:
        ledger = self.begun()
        ledger.count_drops(7, 3000)  # the counter is ahead: the gaps show at the next message of each CPU
        assert (ledger.lost, ledger.filtered) == (7, 0)

    def test_what_was_lost_just_before_is_counted(self) -> None:
        """Its gap comes when gaps prove nothing any more."""
        ledger = LossLedger()
        hear(ledger, 0, 10, 100)
        hear(ledger, 0, 14, 200)
        assert ledger.lost == 3
        ledger.begin_filter(8, 1000 + OFFSET_NS)  # five more that no gap has shown yet
        assert ledger.count_drops(8, 1100 + OFFSET_NS) == 5
        assert hear(ledger, 0, 20, 2000) == 0
        assert (ledger.lost, ledger.filtered) == (8, 0)
        assert ledger.is_exact

    def test_more_gaps_than_drops_before_it_are_no_negative_loss(self) -> None:
        """The kernel had no memory for a message: a gap without a drop."""
        ledger = LossLedger()
        hear(ledger, 0, 10, 100)
        hear(ledger, 0, 14, 200)
        ledger.begin_filter(1, 1000)
        assert ledger.count_drops(1, 1100) == 0
        assert ledger.count_drops(3, 1200) == 2
        assert ledger.lost == 5

    def test_gaps_prove_something_again_when_each_cpu_was_heard(self) -> None:
        ledger = self.begun()
        hear(ledger, 0, 1011, 2000)
        ledger.end_filter(2500)
        assert ledger.is_filtered
        hear(ledger, 0, 1015, 3000)  # dropped by the filter, as far as anybody knows
        ledger.count_drops(0, 3100)
        assert ledger.is_filtered
        hear(ledger, 1, 510, 4000)
        ledger.count_drops(0, 4100)
        assert not ledger.is_filtered
        assert ledger.filtered == 1000 + 3 + 9
        assert hear(ledger, 0, 1018, 5000) == 2
        assert (ledger.lost, ledger.filtered, ledger.is_exact) == (2, 1012, True)

    def test_what_was_sent_before_its_end_proves_nothing(self) -> None:
        """It waited in the queue; behind it come more gaps that the filter has made."""
        ledger = self.begun()
        ledger.end_filter(5000)
        for cpu, seq in ((0, 11), (1, 501)):
            hear(ledger, cpu, seq, 4000)
        ledger.count_drops(0, 6000)
        assert ledger.is_filtered
        for cpu, seq in ((0, 2000), (1, 2000)):
            assert hear(ledger, cpu, seq, 5001) == 0
        ledger.count_drops(0, 7000)
        assert (ledger.is_filtered, ledger.lost, ledger.is_exact) == (False, 0, True)
        assert ledger.filtered == 1988 + 1498

    def test_a_cpu_that_is_never_heard_again_leaves_the_counter_as_the_measure(self) -> None:
        ledger = self.begun()
        ledger.end_filter(1500)
        for number in range(1, 50):
            hear(ledger, 0, 10 + 2 * number, 2000 + number)
            ledger.count_drops(0, 2000 + number)
        assert ledger.is_filtered
        assert ledger.lost == 0
        assert ledger.count_drops(3, 9000) == 3
        assert ledger.lost == 3

    def test_a_loss_while_not_every_cpu_was_heard_may_be_counted_twice(self) -> None:
        """By the counter, and by a gap once these prove something again: the figure is said not to be exact."""
        ledger = self.begun()
        ledger.end_filter(1500)
        assert ledger.count_drops(3, 2000) == 3
        assert not ledger.is_exact

    def test_a_second_one_before_each_cpu_was_heard_goes_on(self) -> None:
        ledger = self.begun()
        ledger.end_filter(1500)
        ledger.begin_filter(0, 2000)
        hear(ledger, 0, 20, 3000)
        hear(ledger, 1, 600, 3000)
        ledger.count_drops(0, 3100)
        assert ledger.is_filtered
        ledger.end_filter(3500)
        hear(ledger, 0, 21, 4000)
        hear(ledger, 1, 601, 4000)
        ledger.count_drops(0, 4100)
        assert not ledger.is_filtered

    def test_a_second_one_later_counts_what_is_new(self) -> None:
        ledger = self.begun()
        ledger.count_drops(5, 1100)
        hear(ledger, 0, 16, 1200)
        ledger.end_filter(1500)
        hear(ledger, 0, 17, 2000)
        hear(ledger, 1, 501, 2000)
        ledger.count_drops(5, 2100)
        assert not ledger.is_filtered
        hear(ledger, 0, 20, 3000)  # two lost: 7 in all, by the socket's counter too
        ledger.begin_filter(7, 4000)
        assert ledger.count_drops(7, 4100) == 0
        assert (ledger.lost, ledger.filtered, ledger.is_exact) == (7, 0, True)

    def test_one_that_ends_before_anybody_was_heard(self) -> None:
        ledger = LossLedger()
        ledger.begin_filter(0, 1000)
        ledger.end_filter(1500)
        assert not ledger.is_filtered

    def test_the_counters_wrap(self) -> None:
        ledger = LossLedger()
        hear(ledger, 0, 0xFFFFFFFE, 100)
        ledger.lost = 0xFFFFFFFF  # long ago
        ledger.begin_filter(0xFFFFFFFF, 1000)
        assert hear(ledger, 0, 3, 2000) == 0
        assert ledger.count_drops(2, 3000) == 3
        assert ledger.filtered == 1
        assert ledger.count_drops(1, 4000) == 0  # set back: no loss of four thousand million

    def test_a_counter_of_messages_set_back_is_nothing_filtered(self) -> None:
        ledger = self.begun()
        assert hear(ledger, 1, 3, 2000) == 0
        assert ledger.filtered == 0

    def test_windows_tell_when(self) -> None:
        ledger = self.begun()
        ledger.count_drops(0, 2000)
        ledger.count_drops(4, 3000)
        assert ledger.lost_between(2000, 3000) == 4
        assert ledger.lost_between(1100, 1999) == 0
