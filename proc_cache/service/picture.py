"""The pictures of a live view, put together from what an engine tells of them: the client's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.stats import CacheStats, Flood, Stats
from ..events import Exec
from ..query import Walk
from ..record import Record
from . import facts
from .facts import Told

if TYPE_CHECKING:
    from typing import Any

    from ..process import Node

    Known = dict[int, tuple[Node, int, int | None]]  # by number: the process, its parent's number, a missing pid


class Spawner(Record):
    """A process that answers for many births below it, the dead between counted; no birth has two of these."""

    pid: int | None  # None: of parents that are not known
    name: str | None
    is_alive: bool
    births: int
    program: str | None  # that ran most often
    runs: int
    between: str | None  # the most frequent name of those between it and what they started
    between_count: int
    between_births: int


class Picture(Record):
    """What a screen shows: the counters, programs in the order that was asked for, and who started most."""

    stats: Stats
    programs: tuple[Told, ...]
    spawners: tuple[Spawner, ...]
    text: str = ""  # of the filter that they passed


class PictureReader:
    """Remembers what was told in the last picture: the next one tells only what has changed."""

    def __init__(self) -> None:
        self._known: Known = {}
        self._spawners: tuple[Spawner, ...] = ()

    def read(
        self,
        counters: tuple[Any, ...],
        changed: tuple[tuple[Any, ...], ...],
        rows: tuple[tuple[int, int], ...],
        spawners: tuple[tuple[Any, ...], ...] | None,
        text: str,
    ) -> Picture:
        """Put a picture together. Raises TypeError, ValueError or LookupError for another shape."""
        known = self._known
        for number, above, missing_pid, own in changed:
            known[number] = facts.read_own(own), above, missing_pid
        programs = tuple(Told(Exec, time_ns, _walk(known, number), None) for number, time_ns in rows)
        self._known = _reachable(known, [number for number, _ in rows])
        if spawners is not None:
            self._spawners = tuple(Spawner(*each) for each in spawners)
        return Picture(read_stats(counters[0]), programs, self._spawners, text)


def _walk(known: Known, number: int) -> Walk:
    nodes = []
    seen: set[int] = set()
    missing_pid = None
    while number and number not in seen:
        seen.add(number)
        node, number, missing_pid = known[number]
        nodes.append(node)
    return Walk(tuple(nodes), None, missing_pid)


def _reachable(known: Known, numbers: list[int]) -> Known:
    kept: Known = {}
    for start in numbers:
        number = start
        while number and number not in kept:
            kept[number] = known[number]
            number = known[number][1]
    return kept


def read_stats(counters: tuple[Any, ...]) -> Stats:
    """Read the counters of an engine. Raises TypeError or ValueError for another shape."""
    fields = dict(zip(Stats._fields, counters, strict=True))
    fields["caches"] = tuple(CacheStats(*cache) for cache in fields["caches"])
    fields["floods"] = tuple(Flood(*flood) for flood in fields["floods"])
    return Stats(**fields)
