"""A stream of which only what has a certain name is shown: searched here, never in the engine that tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..service.facts import Told
from ..service.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..service.following import Following, Piece
    from .pattern import NamePattern


class Searched:
    """A stream without what has another name; of a picture, the newest programs without it."""

    def __init__(self, following: Following, pattern: NamePattern) -> None:
        self._following = following
        self._pattern = pattern

    def take(self, timeout_s: float) -> Iterator[Piece]:
        """Give what has come, as `Following` does."""
        for piece in self._following.take(timeout_s):
            if isinstance(piece, Picture):
                yield self._without_others(piece)
            elif not isinstance(piece, Told) or self._pattern.is_in_node(piece.node):
                yield piece

    def _without_others(self, picture: Picture) -> Picture:
        fields = {field: getattr(picture, field) for field in Picture._fields}
        fields["programs"] = tuple(told for told in picture.programs if self._pattern.is_in_node(told.node))
        return Picture(**fields)


def searched(following: Following, pattern: NamePattern | None) -> Following | Searched:
    """Give a stream, narrowed where there is a pattern."""
    return following if pattern is None else Searched(following, pattern)
