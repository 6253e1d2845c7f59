"""What an engine tells as it happens, taken piece by piece: the client's end of a stream."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from ..closing import Closing
from ..errors import EngineUnavailableError
from ..events import KINDS
from ..record import Record
from . import protocol, stream
from .facts import Told, WalksRead
from .picture import Picture, PictureReader
from .protocol import pack, read_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .client import EngineClient
    from .picture_feed import Search


class Missed(Record):
    """Events that are not told: dropped for this viewer's slowness, or messages of the kernel that were lost."""

    count: int
    is_lost: bool


class ChildEnded(Record):
    """A child of the process that was asked for has ended."""

    pid: int


Piece = Told | Missed | ChildEnded | Picture


class Following(Closing):
    """A stream of an engine. `take()` gives what has come; the stream ends with `close()`."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self._poll = select.poll()
        self._poll.register(client.fileno(), select.POLLIN)
        self._pictures = PictureReader()

    def fileno(self) -> int:
        """Give the descriptor, for a loop of one's own around `take(0)`."""
        return self._client.fileno()

    def take(self, timeout_s: float) -> Iterator[Piece]:
        """Give what has come, waiting at most so long for something. Raises EngineUnavailableError."""
        if not self._poll.poll(timeout_s * 1000):
            return iter(())
        walks = WalksRead()
        return (read_piece(read_frame(data), walks, self._pictures) for data in self._client.take_frames())

    def look_for(self, search: Search) -> None:
        """Say what a live view is after from now on. Raises EngineUnavailableError."""
        self._client.say(protocol.SEARCH, *pack(search))

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def read_piece(value: tuple[Any, ...], walks: WalksRead, pictures: PictureReader) -> Piece:
    """Read what a frame of a stream tells. Raises EngineUnavailableError."""
    try:
        word = value[0]
        if word in KINDS:
            return _read_told(walks, *value)
        if word == stream.PICTURE:
            return pictures.read(*value[1:])
        if word in (stream.DROPPED, stream.LOST):
            return Missed(value[1], word == stream.LOST)
        if word == stream.ENDED:
            return ChildEnded(value[1])
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise EngineUnavailableError(
            "the engine's stream has another shape; restart it with this version"
        ) from error
    raise EngineUnavailableError("the engine tells what is not known here; restart it with this version")


def _read_told(  # noqa: PLR0913
    walks: WalksRead,
    name: str,
    time_ns: int,
    own: tuple[Any, ...],
    ancestors: tuple[tuple[Any, ...], ...],
    missing_pid: int | None,
    adopter: str | None,
) -> Told:
    return Told(KINDS[name], time_ns, walks.read(own, ancestors, missing_pid), adopter)
