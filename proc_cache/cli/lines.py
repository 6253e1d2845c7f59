"""Events of a stream, a line or an object for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..render.chain import ChainTexts
from ..render.events import event_line, event_object
from ..render.jsonlines import line
from ..service.facts import LinksFrozen, Told, ToldUsers
from ..service.following import Missed
from .array import Array
from .entries import EntryKinds
from .terminal import flush, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from ..service.following import Piece


class Lines(Array):
    """Writes what it is shown of some kinds of event, or of all, in a form; `count` is how many, and no more."""

    def __init__(self, form: str, count: int | None, kinds: Collection[type] | None = None) -> None:
        super().__init__(is_array=form == "json")
        self._kinds = kinds
        self._users = ToldUsers()
        self._forget()
        self._text = self._text_of(form)
        self._left = count
        self.is_done = False

    def show(self, pieces: Iterable[Piece]) -> None:
        """Write the events among them."""
        self._forget()
        for piece in pieces:
            if isinstance(piece, Missed):
                flush()  # what stands before it, where both go to one place
                tell(_missed(piece))
            elif isinstance(piece, Told) and not self.is_done and self._is_asked_for(piece):
                self._write(piece)
        flush()

    def _forget(self) -> None:
        """Begin anew for what has come together: ancestors, and the names of users, change."""
        self._chains, self._entries = ChainTexts(self._users), EntryKinds()
        self._links = LinksFrozen(self._users)

    def _is_asked_for(self, told: Told) -> bool:
        return self._kinds is None or told.kind in self._kinds

    def _write(self, told: Told) -> None:
        self.item(self._text(told))
        if self._left is not None:
            self._left -= 1
            self.is_done = self._left <= 0

    def _text_of(self, form: str) -> Callable[[Told], str]:
        if form == "ecs":
            return self._ecs()
        return self._line if form == "lines" else self._object

    def _line(self, told: Told) -> str:
        return event_line(told.kind, told.time_ns, told.freeze(self._users), self._chain(told))

    def _object(self, told: Told) -> str:
        process, entry = told.freeze(self._users), self._entries.kind(told.walked.nodes)
        return line(event_object(told.kind, told.time_ns, process, self._chain(told), entry))

    def _ecs(self) -> Callable[[Told], str]:
        from ..render.ecs import EcsWriter
        from .executables import Executables
        from .host import this_host

        writer, host = EcsWriter(Executables()), this_host()

        def text(told: Told) -> str:
            return writer.event(told.kind, told.time_ns, self._links.links(told), self._chain(told), host)

        return text

    def _chain(self, told: Told) -> str:
        return self._chains.text_of_event(told.walked)


def _missed(missed: Missed) -> str:
    if missed.is_lost:
        return f"{missed.count} messages of the kernel were lost here"
    return f"{missed.count} events are missing here: they came faster than they were read; the engine has them"
