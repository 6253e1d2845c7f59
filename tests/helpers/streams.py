"""What happens before a desk's engine, message by message, and who is told of it by a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proc_cache.closing import Closing
from proc_cache.events import KINDS
from proc_cache.kernel import clocks
from proc_cache.selection import Selection
from proc_cache.service import following, protocol
from proc_cache.service.facts import Told, WalksRead
from proc_cache.service.picture import Picture, PictureReader
from proc_cache.service.protocol import PICTURES, WATCH

from . import messages
from .calling import Desk
from .fake_proc import sighting

if TYPE_CHECKING:
    from collections.abc import Callable

    from proc_cache.process import Node
    from proc_cache.service.following import Piece

STEP_NS = 1_000_000
NAMES = {kind: name for name, kind in KINDS.items()}


class Happening:
    """Sends a desk's engine the kernel's messages, one a millisecond, all by one CPU; `apply` has them applied.

    No turn of the server is made: until there is one, what was applied is not written for any viewer.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._seq = 0
        self._started: dict[int, int] = {}

    def fork(self, parent: int, *children: int) -> None:
        for child in children:
            self._push(messages.fork, parent, child)
            self._started[child] = self.desk.now_ns

    def exec(
        self, pid: int, name: bytes | None = None, *, uid: int = 0, session: int = 1, cmdline: bytes | None = None
    ) -> None:
        """It runs this program; without a name, it is gone before /proc could be read."""
        if name is None:
            self.desk.reader.shown.pop(pid, None)
        else:
            start_ns = self._started[pid]
            seen = sighting(pid, start_ns=start_ns, comm=name, uid=uid, session=session, cmdline=cmdline)
            self.desk.reader.show(seen)
        self._push(messages.exec_, pid)
        self.apply()

    def exit(self, pid: int, *, status: int = 0) -> None:
        self.desk.reader.shown.pop(pid, None)
        self._push(messages.exit_, pid, status=status)

    def comm(self, pid: int, name: bytes) -> None:
        self._push(messages.comm, pid, name)

    def uid(self, pid: int, uid: int) -> None:
        self._push(messages.uid, pid, uid, uid)

    def sid(self, pid: int) -> None:
        self._push(messages.sid, pid)

    def lose(self, count: int) -> None:
        """So many messages never arrive."""
        self._seq += count

    def apply(self) -> None:
        while self.desk.engine.intake.drain():
            pass

    def node(self, pid: int) -> Node:
        self.apply()
        return self.desk.engine.table.newest[pid]

    def _push(self, make: Callable[..., bytes], *what: object, **more: object) -> None:
        self.desk.now_ns += STEP_NS
        at_ns = self.desk.now_ns - clocks.monotonic_to_boottime_ns()
        self.desk.connector.push(make(*what, seq=self._seq, timestamp_ns=at_ns, **more))
        self._seq += 1


class Viewer(Closing):
    """A caller that is told a stream; its head has been received, so that all that follows is told to it."""

    def __init__(
        self,
        desk: Desk,
        *kinds: str,
        selection: Selection | None = None,
        children_of: int | None = None,
        is_whole: bool = False,
    ) -> None:
        """With no kinds of event it is told pictures."""
        self.desk = desk
        self.call = desk.call()
        self._pictures = PictureReader()
        wanted = selection or Selection()
        if kinds:
            self.call.ask(WATCH, kinds, wanted, children_of, is_whole)
        else:
            self.call.ask(PICTURES, wanted)
        protocol.read_head(self.call.receive)

    def take(self) -> Piece:
        """Give the next piece that is told."""
        return following.read_piece(protocol.read_frame(self.call.receive()), WalksRead(), self._pictures)

    def pieces(self, count: int) -> list[Piece]:
        return [self.take() for _ in range(count)]

    def told(self, count: int) -> list[Told]:
        """Give the next events; there is nothing else between."""
        pieces = self.pieces(count)
        assert all(isinstance(piece, Told) for piece in pieces), pieces
        return [piece for piece in pieces if isinstance(piece, Told)]

    def picture(self) -> Picture:
        piece = self.take()
        assert isinstance(piece, Picture), piece
        return piece

    def is_told_nothing(self) -> bool:
        """Whether nothing comes though the server looks at what there is to tell more than once."""
        for _ in range(3):
            self.desk.server._next_stream_s = 0.0
            self.desk.turn(3)
        self.call._read()
        return not self.call._received

    def close(self) -> None:
        self.call.close()


def outline(pieces: list[Piece]) -> list[tuple[str, int]]:
    """Each piece in short: an event and its pid, what is missing and how many, whose child ended."""
    short = []
    for piece in pieces:
        if isinstance(piece, Told):
            short.append((NAMES[piece.kind], piece.node.pid))
        elif isinstance(piece, following.Missed):
            short.append(("lost" if piece.is_lost else "dropped", piece.count))
        elif isinstance(piece, following.ChildEnded):
            short.append(("ended", piece.pid))
    return short
