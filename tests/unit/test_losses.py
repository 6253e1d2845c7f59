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
