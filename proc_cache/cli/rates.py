"""How often things happen: from counters that only rise, looked at now and then, to rates of the last minute."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..render.live import Rates

if TYPE_CHECKING:
    from ..engine.stats import Stats
    from ..service.picture import Spawner

SPAN = 60  # seconds
_NOW_S = 1.0  # over which the present rate is taken
_KINDS = ("fork", "exec", "exit")


class RateHistory:
    """The rates of forks, execs and exits in each whole second, the last minute of them."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[float, ...]] = deque(maxlen=SPAN)
        self._samples: deque[tuple[float, tuple[int, ...]]] = deque()
        self._boundary: tuple[float, ...] | None = None  # the counters when the last whole second began

    def take(self, stats: Stats, now_s: float) -> None:
        """Look at the counters."""
        counts = (stats.forks, stats.execs, stats.exits)
        if self._samples and now_s > self._samples[-1][0]:
            self._fill_up(*self._samples[-1], now_s, counts)
        self._samples.append((now_s, counts))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - _NOW_S:
            self._samples.popleft()

    def _fill_up(self, then_s: float, before: tuple[int, ...], now_s: float, counts: tuple[int, ...]) -> None:
        """Give each whole second between two looks its share."""
        for second in range(max(int(then_s) + 1, int(now_s) - SPAN), int(now_s) + 1):
            share = (second - then_s) / (now_s - then_s)
            reached = tuple(old + (new - old) * share for old, new in zip(before, counts, strict=True))
            if self._boundary is not None:
                self._seconds.append(tuple(new - old for new, old in zip(reached, self._boundary, strict=True)))
            self._boundary = reached

    def rates(self) -> tuple[Rates, ...]:
        """Give the rates now, and of the seconds before."""
        return tuple(self._rate(place, name) for place, name in enumerate(_KINDS))

    def _rate(self, place: int, name: str) -> Rates:
        seconds = [0.0] * (SPAN - len(self._seconds)) + [second[place] for second in self._seconds]
        now = 0.0
        if len(self._samples) > 1:
            (then_s, before), (now_s, counts) = self._samples[0], self._samples[-1]
            now = (counts[place] - before[place]) / max(now_s - then_s, 0.001)
        return Rates(name, now, max(seconds), tuple(seconds))


class BirthRates:
    """How many are born below each of the top spawners in a second, between two countings."""

    def __init__(self) -> None:
        self.per_s: dict[tuple[int | None, str | None], float] = {}
        self._spawners: tuple[Spawner, ...] = ()
        self._then_s = 0.0

    def take(self, spawners: tuple[Spawner, ...], now_s: float) -> None:
        """Look at a counting; the same one again is none."""
        if spawners is self._spawners:
            return
        before = {(spawner.pid, spawner.name): spawner.births for spawner in self._spawners}
        span_s = max(now_s - self._then_s, 0.1)
        self.per_s = {
            (spawner.pid, spawner.name): max(0, spawner.births - before[spawner.pid, spawner.name]) / span_s
            for spawner in spawners
            if (spawner.pid, spawner.name) in before
        }
        self._spawners, self._then_s = spawners, now_s
