"""cli/rates.py: rates of counters that only rise."""

from __future__ import annotations

import pytest

from proc_cache.cli.rates import SPAN, BirthRates, RateHistory
from proc_cache.service.picture import Spawner
from tests.helpers.told import some_stats


def looked_at(*samples: tuple[float, int]) -> RateHistory:
    history = RateHistory()
    for now_s, count in samples:
        history.take(some_stats(forks=count, execs=2 * count, exits=0), now_s)
    return history


def test_before_there_are_two_looks_nothing_is_claimed() -> None:
    for history in (RateHistory(), looked_at((1000.0, 10**6))):
        assert [rates.name for rates in history.rates()] == ["fork", "exec", "exit"]
        assert {(rates.now, rates.most, rates.seconds) for rates in history.rates()} == {(0, 0, (0.0,) * SPAN)}


def test_a_steady_rate() -> None:
    fork, exec_, exit_ = looked_at(*((1000 + step / 4, 25 * step) for step in range(100))).rates()
    assert (fork.now, exec_.now, exit_.now) == (100, 200, 0)
    assert fork.seconds[-20:] == pytest.approx([100.0] * 20)
    assert (len(fork.seconds), fork.seconds[0]) == (SPAN, 0.0)
    assert exec_.most == pytest.approx(200)


def test_each_whole_second_has_its_own_bar() -> None:
    samples = [(1000 + step / 10, 0 if step < 25 else 50 if step < 35 else 60) for step in range(60)]
    fork, _, _ = looked_at(*samples).rates()
    assert fork.seconds[-3:] == pytest.approx((50, 10, 0))
    assert fork.most == pytest.approx(50)


def test_a_bar_does_not_change_while_the_next_second_goes_on() -> None:
    samples = [(1000 + step / 10, step) for step in range(35)]
    bars = {looked_at(*samples, (1003.5 + step / 10, 1000)).rates()[0].seconds for step in range(4)}
    assert len(bars) == 1


def test_after_a_long_pause_each_second_has_its_share() -> None:
    fork, _, _ = looked_at((1000.0, 0), (1000.5, 0), (1000.5 + 200, 2000)).rates()
    assert fork.seconds == pytest.approx((10.0,) * SPAN)


def test_the_rate_now_forgets_soon() -> None:
    history = looked_at((1000.0, 0), (1000.5, 1000), (1001.0, 1000), (1001.5, 1000), (1002.0, 1000))
    assert history.rates()[0].now == 0


def spawner(pid: int, births: int) -> Spawner:
    return Spawner(pid, "make", True, births, "cc1", births, None, 0, 0)


def test_births_of_spawners() -> None:
    rates = BirthRates()
    first = (spawner(1, 100), spawner(2, 5))
    rates.take(first, 1000.0)
    rates.take(first, 1000.25)
    assert rates.per_s == {}
    second = (spawner(1, 300), spawner(2, 3), spawner(3, 9))
    rates.take(second, 1002.0)
    assert rates.per_s == {(1, "make"): 100.0, (2, "make"): 0}
    rates.take(second, 1003.0)
    assert rates.per_s[1, "make"] == 100.0
