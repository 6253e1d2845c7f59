"""Events of a stream, a line or an object for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..render.chain import walk_text
from ..render.events import event_text
from ..service.facts import Told, ToldUsers
from ..service.following import Missed
from .entries import entry_kind
from .terminal import flush, tell, write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..service.following import Piece


class Lines:
    """Writes what it is shown of some kinds of event, or of all; `count` is how many, and no more."""

    def __init__(self, *, is_json: bool, count: int | None, kinds: Collection[type] | None = None) -> None:
        self._is_json = is_json
        self._left = count
        self._kinds = kinds
        self._users = ToldUsers()
        self.is_done = False

    def show(self, pieces: Iterable[Piece]) -> None:
        """Write the events among them."""
        for piece in pieces:
            if isinstance(piece, Missed):
                flush()  # what stands before it, where both go to one place
                tell(_missed(piece))
            elif isinstance(piece, Told) and not self.is_done and self._is_asked_for(piece):
                self._write(piece)
        flush()

    def _is_asked_for(self, told: Told) -> bool:
        return self._kinds is None or told.kind in self._kinds

    def _write(self, told: Told) -> None:
        process = told.freeze(self._users)
        chain = walk_text(self._users, told.walked)
        entry = entry_kind(told.walked.nodes) if self._is_json else None
        write(event_text(told.kind, told.time_ns, process, chain, is_json=self._is_json, entry=entry))
        if self._left is not None:
            self._left -= 1
            self.is_done = self._left <= 0


def _missed(missed: Missed) -> str:
    if missed.is_lost:
        return f"{missed.count} messages of the kernel were lost here"
    return f"{missed.count} events are missing here: they came faster than they were read; the engine has them"
