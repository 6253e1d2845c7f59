"""How much a history keeps: what is old, or too much, is removed; what is removed last are ancestors of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..kernel.clocks import deadline_s, left_s, wall_ns
from ..record import Record
from .schema import PAGE_BYTES

if TYPE_CHECKING:
    import sqlite3

STEP = 4096  # processes removed in one transaction
SHRINK_S = 0.25  # of removing at a time: the next commit waits for it
_FULL = 0.95  # of the size allowed: from here on the oldest are removed, down to _EMPTIED of it
_EMPTIED = 0.9

_OLD_LEAVES = """
SELECT id FROM process AS old WHERE exit_ns < ?
AND NOT EXISTS (SELECT 1 FROM process WHERE parent = old.id) ORDER BY exit_ns LIMIT ?
"""
_OLDEST = "SELECT id FROM process WHERE exit_ns IS NOT NULL ORDER BY exit_ns LIMIT ?"
_REMOVE = "DELETE FROM process WHERE id = ? RETURNING parent, exit_ns"
_IS_OLD_LEAF = """
SELECT 1 FROM process AS old WHERE id = ? AND exit_ns < ?
AND NOT EXISTS (SELECT 1 FROM process WHERE parent = old.id)
"""


class Bounds(Record):
    """How much a history keeps; None is no bound."""

    keep_ns: int | None = None  # what ended longer ago than this is removed, unless a descendant is kept
    max_bytes: int | None = None


class Pruner:
    """Keeps a history within its bounds, a piece at a time."""

    def __init__(self, database: sqlite3.Connection, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds

    def prune(self) -> bool:
        """Remove a piece of what is beyond the bounds; true where there is more."""
        keep_ns, max_bytes = self._bounds.keep_ns, self._bounds.max_bytes
        has_more = False
        if keep_ns is not None:
            has_more = self._remove_before(wall_ns() - keep_ns, STEP) >= STEP
        if max_bytes is not None and self._used_bytes() > max_bytes * _FULL:
            has_more = not self._shrink(int(max_bytes * _EMPTIED))
        return has_more

    def _shrink(self, down_to: int) -> bool:
        """Remove the oldest until so many bytes are in use; false where the time for it is over before."""
        deadline = deadline_s(SHRINK_S)
        while (used := self._used_bytes()) > down_to:
            if not left_s(deadline):
                return False
            # Leaves first, so that chains stay whole; ancestors of the living alone leave no other way.
            step = min(STEP, used // PAGE_BYTES)  # a row in twenty or so
            if not self._remove_before(wall_ns(), step) and not self._remove(_OLDEST, (step,), 0, step):
                break  # the living alone take more
        return True

    def _remove_before(self, end_ns: int, step: int) -> int:
        """Remove what ended before and has no child in the file; and so on up, as far as a step goes."""
        return self._remove(_OLD_LEAVES, (end_ns, step), end_ns, step)

    def _remove(self, chosen: str, arguments: tuple[int, ...], end_ns: int, step: int) -> int:
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        pending = [number for (number,) in database.execute(chosen, arguments)]
        removed: list[tuple[int, int]] = []
        while pending and len(removed) < step:
            number = pending.pop(0)
            parent, exit_ns = database.execute(_REMOVE, (number,)).fetchone()
            removed.append((number, exit_ns))
            if parent is not None and database.execute(_IS_OLD_LEAF, (parent, end_ns)).fetchone():
                pending.insert(0, parent)
        database.executemany("DELETE FROM exec WHERE process = ?", [(number,) for number, _ in removed])
        if removed:
            newest = max(exit_ns for _, exit_ns in removed)
            (horizon,) = database.execute("SELECT max(removed_ns) FROM horizon").fetchone()
            database.execute("DELETE FROM horizon")
            database.execute("INSERT INTO horizon VALUES (?)", (max(newest, horizon or 0),))
        database.execute("COMMIT")
        return len(removed)

    def _used_bytes(self) -> int:
        """How much of the file is in use: freed pages are used again before it grows."""
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        (free,) = self._database.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * PAGE_BYTES
