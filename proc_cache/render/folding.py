"""Which rows the tree of a command has: all its processes where they are few, else those alike as one row.

What is to be seen by itself stays so, with all above it: what failed, and what still runs. There are four levels,
each of which folds more; the first one that fits is taken.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from ..process import known_name
from ..record import Record
from ..service.family import Fold, Member, children_of, fold_in, merge_folds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..service.family import Family, Folds

ROWS_MAX = 60  # that a person reads
ROWS_LIMIT = 200  # that are drawn, whatever there is
SHOWN_MAX = 20  # of what failed, and of what still runs: by themselves on every level
_WHOLE, _WITHOUT_FAILURES, _WITH_FAILURES, _BY_NAME = range(4)
_NAMES_SHOWN = 12  # on the last level, of the children of one
_INDENTED_MAX = 40  # generations: a ladder that is deeper goes straight down from there
_LADDER_MAX = 30  # generations drawn one below the other on the last level, of what is not to be seen by itself


class FoldRow(Record):
    """Some processes alike; no name: of several."""

    name: str | None
    fold: Fold
    others: tuple[str | None, ...] = ()  # the names of those several


class Row(Record):
    """One row: the branch in front of it, and what it is about."""

    branch: str
    of: Member | FoldRow


def fold_rows(family: Family, shown: Collection[Member], rows_max: int = ROWS_MAX) -> tuple[list[Row], int]:
    """Give the rows, `shown` by themselves whatever comes; and how many processes are on none of them."""
    for level in (_WHOLE, _WITHOUT_FAILURES, _WITH_FAILURES):
        rows = list(islice(_Folding(family, level, shown).rows(), rows_max + 1))
        if len(rows) <= rows_max:
            return rows, 0
    rows = list(_Folding(family, _BY_NAME, shown).rows())
    return rows[:ROWS_LIMIT], sum(_processes_of(row) for row in rows[ROWS_LIMIT:])


def _processes_of(row: Row) -> int:
    return row.of.fold.count if isinstance(row.of, FoldRow) else 1


class _Folding:
    """One level of it."""

    def __init__(self, family: Family, level: int, shown: Collection[Member]) -> None:
        self._family = family
        self._level = level
        self._kept = self._with_ancestors(shown)

    def _with_ancestors(self, shown: Collection[Member]) -> set[Member]:
        """Give what is drawn by itself, and all above it."""
        noted = list(shown)
        if self._level == _WITHOUT_FAILURES:
            noted += [each for each in self._family.members() if each.node.exit_status or not each.node.exit_ns]
        kept = set()
        for member in noted:
            current: Member | None = member
            while current is not None and current not in kept:
                kept.add(current)
                current = current.parent
        return kept

    def rows(self) -> Iterator[Row]:
        """Give the rows from the top, in the order of birth."""
        stack = [(of, "", "", 1) for of in reversed(self._below(self._family.top, 0))]
        while stack:
            of, branch, below, depth = stack.pop()
            yield Row(branch, of)
            children = self._below(of, depth)
            for index in range(len(children) - 1, -1, -1):
                is_last = index == len(children) - 1
                further = below if depth > _INDENTED_MAX else below + ("   " if is_last else "│  ")
                stack.append((children[index], below + ("└─ " if is_last else "├─ "), further, depth + 1))

    def _below(self, of: Member | FoldRow, depth: int) -> list[Member | FoldRow]:
        if isinstance(of, FoldRow):
            return self._few([*_rows_since(of.fold.below, 0)])
        children: list[Member] = children_of(of)
        folds: Folds = {}
        if self._level == _WHOLE:
            drawn: list[Member | FoldRow] = [*children]
        else:
            drawn = self._fold(children, folds, may_be_alone=self._level < _BY_NAME or depth < _LADDER_MAX)
        if of.folds:
            before = len(folds)
            merge_folds(folds, of.folds)
            drawn += _rows_since(folds, before)
        return self._few(drawn)

    def _fold(self, children: list[Member], folds: Folds, *, may_be_alone: bool) -> list[Member | FoldRow]:
        """Give those that are drawn by themselves, and put the others into folds, which stand where they began."""
        alike = Counter(known_name(child.node) for child in children if child not in self._kept)
        alone = _NAMES_SHOWN if self._level == _BY_NAME else len(children)
        drawn: list[Member | FoldRow] = []
        for child in children:
            is_kept = child in self._kept
            is_alone = not is_kept and may_be_alone and alone > 0 and alike[known_name(child.node)] == 1
            if is_alone or is_kept:
                alone -= is_alone
                drawn.append(child)
            else:
                before = len(folds)
                fold_in(folds, child)
                drawn += _rows_since(folds, before)
        return drawn

    def _few(self, drawn: list[Member | FoldRow]) -> list[Member | FoldRow]:
        """Make one of many folds, on the last level."""
        rows = [row for row in drawn if isinstance(row, FoldRow)]
        if self._level < _BY_NAME or len(rows) <= _NAMES_SHOWN:
            return drawn
        rows.sort(key=lambda row: -row.fold.count)
        several = set(map(id, rows[_NAMES_SHOWN - 1 :]))
        return [row for row in drawn if id(row) not in several] + [_of_several(rows[_NAMES_SHOWN - 1 :])]


def _rows_since(folds: Folds, before: int) -> list[FoldRow]:
    """Give a row to each fold that was added to the first so many."""
    return [FoldRow(name, folds[name]) for name in list(folds)[before:]]


def _of_several(rows: list[FoldRow]) -> FoldRow:
    together = Fold()
    names = []
    for row in rows:
        together.absorb(row.fold)
        merge_folds(together.below, row.fold.below)
        names.append(row.name)
    return FoldRow(None, together, tuple(names))
