"""Who starts most, by subtree: each process that is born is counted once, for a process that lasts.

Who started most of late stands first; a storm of an hour ago is not what is looked for.

Theory. Who forks has a tally, and so have its ancestors; a tally holds its parent's, so that it needs no node that
the engine may have let go. A birth adds one to one tally. Now and then, in pieces, the tallies are added up:

  - one whose process has ended after a short life is folded into the tally above it, which remembers how many of
    that name there were, and how many they started. So 94 shells that lived a second are "94 sh", and there
    are as many tallies as processes that fork and last;
  - then, from the roots down: where a child that lasts has a good share of what is below a process, that child
    answers for it; what is left answers for itself.

No birth is counted on two lines. Where there is no room for another tally, the nearest above is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..process import Source, known_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..process import Node

    # pid, name, whether it lives; how many are below it; the most frequent program and how often it ran; the most
    # frequent name of who was between, how many of those there were, and how many they started.
    Told = tuple[int | None, str | None, bool, int, str | None, int, str | None, int, int]

TALLIES_MAX = 4096
RUNS_MAX = 1 << 14  # programs that wait for their names
NAMES_MAX = 64  # of one tally; what is rarer than these is counted without its name
TOLD_MAX = 20
_PIECE = 64  # tallies, or programs, between two looks elsewhere
_LASTS_NS = 5_000_000_000  # who lived as long as this is no passer-by
_HALF_NS = 20_000_000_000  # after which a birth is worth half, when it is asked who starts most now
_GOOD_SHARE = 10  # a tenth
_MOST_SHARE = 0.8


class Tally:
    """What one process has started, and what those have started who are folded into it."""

    __slots__ = ("between", "births", "into", "node", "parent", "programs", "recent", "total", "weighed")

    def __init__(self, node: Node | None, parent: Tally | None) -> None:
        self.node = node
        self.parent = parent
        self.births = 0
        self.total = 0  # with all below it; of the last adding up
        self.recent = 0.0  # births, those of long ago counted less
        self.weighed = 0  # births that are in `recent`
        self.programs: dict[str | None, int] = {}
        self.between: dict[str | None, tuple[int, int]] = {}  # by name: how many, and what they started
        self.into: Tally | None = None  # where it was folded

    def find_parent(self) -> None:
        """Take for parent where the former one was folded."""
        while self.parent is not None and self.parent.into is not None:
            self.parent = self.parent.into

    def weigh(self, share: float) -> None:
        """Let this share of what was recent be so still, and the births since."""
        self.recent = self.recent * share + self.births - self.weighed
        self.weighed = self.births

    def absorb(self, other: Tally) -> None:
        """Take in what another one counted, whose process is gone."""
        add_between(self.between, other)
        for name, (count, births) in other.between.items():
            _add_pair(self.between, name, count, births)
        self.births += other.births
        self.weighed += other.weighed
        self.recent += other.recent
        for name, count in other.programs.items():
            _add(self.programs, name, count)

    def own_births(self) -> int:
        """Count what it started itself."""
        return self.births - sum(births for _, births in self.between.values())


def add_between(between: dict[str | None, tuple[int, int]], tally: Tally) -> None:
    """Count the process of a tally among those that stand between, with what it started itself."""
    births = tally.own_births()
    if births and tally.node is not None:
        _add_pair(between, known_name(tally.node), 1, births)


def _add(counts: dict[str | None, int], name: str | None, count: int) -> None:
    name = name if name in counts or len(counts) < NAMES_MAX else None
    counts[name] = counts.get(name, 0) + count


def _add_pair(pairs: dict[str | None, tuple[int, int]], name: str | None, count: int, births: int) -> None:
    name = name if name in pairs or len(pairs) < NAMES_MAX else None
    before = pairs.get(name, (0, 0))
    pairs[name] = before[0] + count, before[1] + births


class Spawners:
    """Counts births and programs as they happen; `digest` adds them up."""

    def __init__(self) -> None:
        self._nobody = Tally(None, None)  # for whose parent is not known
        self._tallies: dict[Node | None, Tally] = {None: self._nobody}  # a parent's before its children's
        self._weighed_ns = 0
        self._runs: list[tuple[Node, str | None]] = []  # programs, named where the name was read at once

    # --- while it happens -------------------------------------------------------------------------------

    def born(self, node: Node) -> None:
        """Count a birth."""
        parent = node.parent
        tally = self._tallies.get(parent)
        (self._tally(parent) if tally is None else tally).births += 1

    def ran(self, node: Node) -> None:
        """Count a program; where its name is not known yet, its exit record may bring it."""
        if len(self._runs) < RUNS_MAX:
            self._runs.append((node, None if node.source == Source.UNREAD else node.cmd))

    def _tally(self, node: Node | None) -> Tally:
        """Give the tally of a process; a new one where there is room, with those of its ancestors."""
        missing: list[Node] = []
        seen: set[Node] = set()
        tally = self._tallies.get(node)
        while tally is None and node is not None and node not in seen:
            seen.add(node)
            missing.append(node)
            node = node.parent
            tally = self._tallies.get(node)
        above = None if tally is self._nobody else tally
        for member in reversed(missing):
            if len(self._tallies) >= TALLIES_MAX:
                break
            above = self._tallies[member] = Tally(member, above)
        return above or self._nobody

    # --- now and then -----------------------------------------------------------------------------------

    def digest(self, now_ns: int) -> Iterator[tuple[Told, ...] | None]:
        """Add up, in pieces: None after each, and at last who started most, who did so of late first."""
        yield from self._name_programs()
        share = 0.5 ** ((now_ns - self._weighed_ns) / _HALF_NS)
        self._weighed_ns = now_ns
        yield from self._fold(now_ns, share, is_pressed=len(self._tallies) > TALLIES_MAX // 2)
        tallies = list(self._tallies.values())
        for number, tally in enumerate(tallies):
            tally.find_parent()  # one may have come while others were folded
            tally.total = tally.births
            if not number % _PIECE:
                yield None
        children: dict[int, list[Tally]] = {}
        for number, tally in enumerate(reversed(tallies)):
            if tally.parent is not None:
                tally.parent.total += tally.total
                children.setdefault(id(tally.parent), []).append(tally)
            if not number % _PIECE:
                yield None
        answerable = _find_answerable(tallies, children, now_ns)
        yield None
        yield from _sum_up(tallies, answerable)

    def _name_programs(self) -> Iterator[None]:
        """Count the programs that ran since; their exit records are there by now, or will not help any more."""
        runs, self._runs = self._runs, []
        for number, (node, read_name) in enumerate(runs):
            name = known_name(node) if read_name is None and node.source != Source.UNREAD else read_name
            tally = self._tallies.get(node.parent)
            _add((self._tally(node.parent) if tally is None else tally).programs, name, 1)
            if not number % _PIECE:
                yield None

    def _fold(self, now_ns: int, share: float, *, is_pressed: bool) -> Iterator[None]:
        """Fold those who have ended into who stands above them; under pressure also those who lasted."""
        for number, (node, tally) in enumerate(list(self._tallies.items())):
            tally.find_parent()
            tally.weigh(share)
            if node is not None and node.exit_ns and (is_pressed or not _lasts(node, now_ns)):
                above = tally.parent or self._nobody
                above.absorb(tally)
                tally.into = above
                del self._tallies[node]
            if not number % _PIECE:
                yield None


def _lasts(node: Node, now_ns: int) -> bool:
    return (node.exit_ns or now_ns) - node.start_ns >= _LASTS_NS


def _find_answerable(tallies: list[Tally], children: dict[int, list[Tally]], now_ns: int) -> list[Tally]:
    """Go down from the roots to those who answer for what is below them."""
    answerable = []
    pending = [tally for tally in tallies if tally.parent is None]
    while pending:
        tally = pending.pop()
        answerable.append(tally)
        pending += [child for child in children.get(id(tally), ()) if _answers_itself(child, tally, now_ns)]
    return answerable


def _answers_itself(child: Tally, parent: Tally, now_ns: int) -> bool:
    assert child.node is not None
    if child.total >= _MOST_SHARE * parent.total > 0 and not child.node.exit_ns:
        return True
    return child.total * _GOOD_SHARE >= parent.total > 0 and _lasts(child.node, now_ns)


def _sum_up(tallies: list[Tally], answerable: list[Tally]) -> Iterator[tuple[Told, ...] | None]:
    """Give for each who answers all that is below it, the parts of others aside."""
    sums = {id(tally): _Sum(tally) for tally in answerable}
    for number, tally in enumerate(tallies):
        own = sums.get(id(tally))
        if own is None:
            # Parents come first: it has one then, for who has none answers for itself.
            own = sums[id(tally)] = sums[id(tally.parent)]
            add_between(own.between, tally)
        own.take(tally)
        if not number % _PIECE:
            yield None
    ranked = sorted((sums[id(tally)] for tally in answerable), key=lambda each: -each.recent)
    yield tuple(each.told() for each in ranked[:TOLD_MAX] if each.births)


class _Sum:
    """What one process answers for."""

    def __init__(self, tally: Tally) -> None:
        self._top = tally.node
        self.births = 0
        self.recent = 0.0
        self._programs: dict[str | None, int] = {}
        self.between: dict[str | None, tuple[int, int]] = {}

    def take(self, tally: Tally) -> None:
        self.births += tally.births
        self.recent += tally.recent
        for name, count in tally.programs.items():
            _add(self._programs, name, count)
        for name, (count, births) in tally.between.items():
            _add_pair(self.between, name, count, births)

    def told(self) -> Told:
        top = self._top
        program = max(self._programs, key=self._programs.__getitem__, default=None)
        between = max(self.between, key=lambda name: self.between[name][1], default=None)
        count, births = self.between.get(between, (0, 0))
        return (
            None if top is None else top.pid,
            None if top is None else known_name(top),
            top is not None and not top.exit_ns,
            self.births,
            program,
            self._programs.get(program, 0),
            between,
            count,
            births,
        )
