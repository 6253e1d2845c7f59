"""What is told to who watches, as it happens, event by event; `picture_feed.py` gives the whole picture instead.

A feed is filled by the engine, event by event, and emptied by the server while the kernel's queue is empty. It
never holds up the engine: where its viewer is slow, events are dropped, counted, and the count is told in their
place. What the engine itself remembers is not touched by that.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import query
from ..events import KIND_NAMES, Exec, Exit
from ..kernel.clocks import boottime_ns, monotonic_to_boottime_ns
from ..process import Source
from . import facts
from .protocol import OK, frame
from .stream import DROPPED, ENDED, LOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..engine.messages import Tap
    from ..engine.view import View
    from ..process import Node
    from ..selection import Chooser

    Way = tuple[tuple[tuple[Any, ...], ...], int | None]  # facts of the ancestors, and the pid that is missing
    Frames = Iterator[bytes | None]  # None: nothing now, ask again at the next turn

EVENTS_MAX = 1 << 15  # waiting for one viewer
ARGUMENT_BYTES_MAX = 16 << 20  # held by them: one argv can have 128 KiB
ARGUMENTS_SHOWN_BYTES = 1024  # of who is not the one that is told
NAME_WAIT_NS = 20_000_000  # for the exit record of a program whose name could not be read


@contextmanager
def tapping(taps: list[Tap], tap: Tap) -> Iterator[None]:
    """Have an engine tell its events here, for as long as the block lasts."""
    taps.append(tap)
    try:
        yield
    finally:
        taps.remove(tap)


class EventFeed:
    """The events of some kinds, about the processes that a chooser has.

    With `children_of`, the pid of a process, only about those under it, itself left out; then the end of each of
    its children is told besides, whatever else was asked for. `is_whole` tells as much of the ancestors as of the
    process: it makes the frames several times as large.
    """

    def __init__(
        self,
        view: View,
        kinds: frozenset[type],
        chooser: Chooser,
        children_of: int | None,
        *,
        is_whole: bool = False,
    ) -> None:
        self._view = view
        self._tell_ancestor = _whole_ancestor if is_whole else facts.ancestor
        self._ledger = view.ledger
        self._kinds = kinds
        self._chooser = chooser
        self._children_of = children_of
        # Kind, time, process, its facts at that time, and how much of them are arguments.
        self._waiting: deque[tuple[type, int, Node, tuple[Any, ...], int]] = deque()
        self._marks: deque[tuple[int, bytes]] = deque()  # frames to be told when so many events have gone
        self._gone = 0
        self._ways: dict[Node, Way] = {}  # what is told of who is above these, in one go
        self._unread: dict[Node, int] = {}  # whose name may still be brought, and the place of that exec
        self._argument_bytes = 0
        self._dropped = 0
        self._lost = self._ledger.lost if self._ledger is not None else 0

    def frames(self, taps: list[Tap]) -> Frames:
        """Give what there is to tell, from now on, until nobody asks any more."""
        with tapping(taps, self._take):
            yield frame((OK,))
            while True:
                self._note_losses()
                if self._dropped and not self._waiting:
                    self._tell_dropped()
                self._ways.clear()  # ancestors change, too
                # No more than is waiting now: of what comes while this is told, the exit records are not read yet.
                for _ in range(len(self._waiting) + len(self._marks)):
                    data = self._next()
                    if data is None:
                        break
                    yield data
                yield None

    def _take(self, kind: type, fields: tuple[Any, ...], node: Node) -> None:
        if self._children_of is not None and not self._is_below(node):
            return
        if kind is Exec:
            self._unread.pop(node, None)  # an exit record would name this program, not the one before
        if kind in self._kinds and self._chooser.has(node):
            self._keep(kind, fields, node)
        if self._children_of is not None and kind is Exit and node.ppid == self._children_of:
            self._mark_end(node)

    def _keep(self, kind: type, fields: tuple[Any, ...], node: Node) -> None:
        if self._is_full():
            self._dropped += 1
            return
        if self._dropped:
            self._tell_dropped()
        if kind is Exec and node.source == Source.UNREAD:
            self._unread[node] = self._gone + len(self._waiting)
        time_ns = fields[2] + monotonic_to_boottime_ns()
        size = 0 if node.cmdline is None else len(node.cmdline)
        self._waiting.append((kind, time_ns, node, facts.own(node), size))
        self._argument_bytes += size

    def _mark_end(self, node: Node) -> None:
        if len(self._marks) < EVENTS_MAX:
            self._mark(frame((ENDED, node.pid)))
        else:
            self._dropped += 1

    def _is_below(self, node: Node) -> bool:
        current: Node | None = node
        while current is not None:
            if current.ppid == self._children_of:
                return True
            current = current.parent
        return False

    def _is_full(self) -> bool:
        # Where some were dropped already, there has to be room for many more: one gap, not a thousand.
        share = 2 if self._dropped else 1
        return len(self._waiting) >= EVENTS_MAX // share or self._argument_bytes > ARGUMENT_BYTES_MAX // share

    def _mark(self, data: bytes) -> None:
        """Have a frame told behind the events that are waiting now."""
        self._marks.append((self._gone + len(self._waiting), data))

    def _tell_dropped(self) -> None:
        self._mark(frame((DROPPED, self._dropped)))
        self._dropped = 0

    def _note_losses(self) -> None:
        if self._ledger is not None and self._ledger.lost != self._lost:
            self._mark(frame((LOST, self._ledger.lost - self._lost)))
            self._lost = self._ledger.lost

    def _next(self) -> bytes | None:
        if self._marks and self._marks[0][0] <= self._gone:
            return self._marks.popleft()[1]
        if not self._waiting:
            return None
        kind, time_ns, node, told, size = self._waiting[0]
        if kind is Exec and _may_be_named_yet(node, time_ns):
            return None
        is_last_program = self._unread.get(node) == self._gone
        if is_last_program:
            del self._unread[node]
        self._waiting.popleft()
        self._gone += 1
        self._argument_bytes -= size
        told = _completed(kind, node, told, is_last_program=is_last_program)
        is_adopted = kind is Exit and node.adopter_pid
        adopter = self._view.adopter_name(node, node.adopter_pid) if is_adopted else None
        return frame((KIND_NAMES[kind], time_ns, told, *self._way_up(node), adopter))

    def _way_up(self, node: Node) -> Way:
        """Give the facts of its ancestors, and the pid of who should have come after them."""
        parent = node.parent
        way = None if parent is None else self._ways.get(parent)
        if way is None:
            walked = query.walk_from(self._view, node)
            way = tuple(map(self._tell_ancestor, walked.nodes[1:])), walked.missing_pid
            if parent is not None:
                self._ways[parent] = way
        return way


def _may_be_named_yet(node: Node, time_ns: int) -> bool:
    """Tell whether the exit record of a program that was gone too soon may still bring its name."""
    return node.source == Source.UNREAD and not node.exit_ns and boottime_ns() - time_ns < NAME_WAIT_NS


def _completed(kind: type, node: Node, told: tuple[Any, ...], *, is_last_program: bool) -> tuple[Any, ...]:
    """Add to the facts of an event what its exit record has brought since: cost, and a name that was missed."""
    if kind is Exit:
        return facts.own(node)
    is_named_since = is_last_program and node.source == Source.EXIT_RECORD
    return facts.own_before_its_end(node) if is_named_since else told


def _whole_ancestor(node: Node) -> tuple[Any, ...]:
    return facts.own(node, ARGUMENTS_SHOWN_BYTES)
