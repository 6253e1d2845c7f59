"""The whole picture for a live view, a few times a second: counters, programs with their ancestors, top spawners.

The viewer says what it is after (`Search`) while it is told, so that a filter chooses among all that happens, not
among the few programs that would be shown without it. Of what the picture before told, only what has changed
is told again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .. import query
from ..errors import MalformedFrameError
from ..events import Exec, Exit, Fork
from ..kernel.clocks import boottime_ns, monotonic_to_boottime_ns
from ..record import Record
from . import facts
from .feeds import ARGUMENTS_SHOWN_BYTES, tapping
from .protocol import OK, frame, pack, read_text
from .spawners import Spawners
from .stream import PICTURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ..engine.messages import Tap
    from ..engine.view import View
    from ..process import Node
    from ..selection import Chooser
    from .feeds import Frames
    from .spawners import Told

NEWEST, RUNNING, FAILED = "newest", "running", "failed"
ORDERS = (NEWEST, RUNNING, FAILED)
ROWS_MAX = 100  # of a picture: what the tallest screen shows
PICTURE_NS = 250_000_000  # between two
SPAWNERS_NS = 1_000_000_000  # between two countings
RECENT_MAX = 1024  # programs among which a new filter looks
FRESH_MAX = 4096  # programs since the last picture
RUNNING_MAX = 4096
ARGUMENTS_SEARCHED_BYTES = 4096
_TEXT_MAX = 200
UIDS_MAX = 1000
_PIECE = 16


class Search(Record):
    """What a viewer is after: `text` in a process or an ancestor, users of that name, an order, a height."""

    text: str = ""
    uids: tuple[int, ...] = ()
    order: str = NEWEST
    rows: int = ROWS_MAX  # new ones at once: the screen has no room for more


def read_search(arguments: tuple[Any, ...]) -> Search:
    """Read what a viewer is after from a request. Raises MalformedFrameError."""
    if len(arguments) != len(Search._fields):
        raise MalformedFrameError("no search")
    text, uids, order, rows = arguments
    if len(read_text(text)) > _TEXT_MAX or not isinstance(uids, tuple) or len(uids) > UIDS_MAX:
        raise MalformedFrameError("no search")
    if not all(type(number) is int for number in (*uids, rows)) or order not in ORDERS:
        raise MalformedFrameError("no search")
    return Search(text, uids, order, max(1, min(rows, ROWS_MAX)))


class PictureFeed:
    """Takes note of programs as they run, and of who starts them; gives a picture each time one is due."""

    def __init__(
        self,
        view: View,
        chooser: Chooser,
        figures: Callable[[], Iterable[Record]],
        searches: deque[Search] | None = None,
    ) -> None:
        self._view = view
        self._chooser = chooser
        # What is chosen by how it ends is shown, and counted, when it has ended.
        self._shown_at: type = Exit if chooser.is_about_ends else Exec
        self._counted_at: type = Exit if chooser.is_about_ends else Fork
        self._kinds = (self._shown_at, self._counted_at, Exit)
        self._figures = figures
        self._searches = deque[Search]() if searches is None else searches
        self._search = Search()
        self._wanted = Wanted(self._search)
        # Programs, and when each began to run; the newest last.
        self._fresh: dict[Node, int] = {}  # since the last picture
        self._recent: dict[Node, int] = {}  # before
        self._shown: dict[Node, int] = {}  # of them, the newest that are wanted
        self._running: dict[Node, int] = {}  # the first that began and live
        self._failed: dict[Node, int] = {}
        self._spawners = Spawners()
        self._told: dict[Node, tuple[Any, ...]] = {}  # in the last picture: number, parent's, missing pid, facts
        self._numbers = 0
        self._next_ns = self._next_spawners_ns = 0

    def frames(self, taps: list[Tap]) -> Frames:
        """Give a picture each time one is due, until nobody asks any more."""
        with tapping(taps, self._take):
            yield frame((OK,))
            while True:
                now_ns = boottime_ns()
                if self._searches:
                    yield from self._look_for(self._searches.pop())
                elif now_ns < self._next_ns:
                    yield None
                    continue
                self._next_ns = now_ns + PICTURE_NS
                yield from self._picture(now_ns)

    # --- while it happens -------------------------------------------------------------------------------

    def _take(self, kind: type, fields: tuple[Any, ...], node: Node) -> None:
        began_ns = self._running.pop(node, node.start_ns) if kind is Exit else 0
        if kind not in self._kinds or not self._chooser.has(node):
            return
        if kind is self._counted_at:
            self._spawners.born(node)
        if kind is self._shown_at:
            self._spawners.ran(node)
            self._note_program(node, began_ns if kind is Exit else fields[2] + monotonic_to_boottime_ns())
        if kind is Exit and node.exit_status:
            _put(self._failed, node, began_ns, ROWS_MAX)

    def _note_program(self, node: Node, time_ns: int) -> None:
        _put(self._fresh, node, time_ns, FRESH_MAX)
        if not node.exit_ns and len(self._running) < RUNNING_MAX:
            self._running.setdefault(node, time_ns)

    # --- what is looked for -----------------------------------------------------------------------------

    def _look_for(self, search: Search) -> Iterator[bytes]:
        self._searches.clear()
        is_other = (search.text, search.uids) != (self._search.text, self._search.uids)
        self._search = search
        if is_other:
            self._wanted = Wanted(search)
            self._shown = {}
            yield from self._sift(list(self._recent.items()))

    def _sift(self, programs: list[tuple[Node, int]]) -> Iterator[bytes]:
        """Add those that are wanted to those that are shown; the newest come last."""
        has, shown = self._wanted.has, self._shown
        for number, (node, time_ns) in enumerate(programs):
            if has(node):
                _put(shown, node, time_ns, ROWS_MAX)
            if not number % _PIECE:
                yield b""

    def _take_fresh(self) -> Iterator[bytes]:
        if len(self._running) >= RUNNING_MAX:  # the Exit of some may have been lost
            self._running = {node: time_ns for node, time_ns in self._running.items() if not node.exit_ns}
        fresh, self._fresh = self._fresh, {}
        for node, time_ns in fresh.items():
            _put(self._recent, node, time_ns, RECENT_MAX)
        programs = list(fresh.items())
        yield from self._sift(programs[-ROWS_MAX:] if self._wanted.is_everything else programs)

    def _choose(self) -> Iterator[bytes | list[tuple[Node, int]]]:
        """Give the rows of a picture, at last."""
        yield from self._take_fresh()
        order, room = self._search.order, self._search.rows
        chosen: dict[Node, int] = {}
        first = {RUNNING: self._running.items(), FAILED: reversed(self._failed.items())}.get(order, ())
        for number, (node, time_ns) in enumerate(list(first)):
            if len(chosen) == ROWS_MAX:
                break
            if self._wanted.has(node):
                chosen[node] = time_ns
            if not number % _PIECE:
                yield b""
        for node, time_ns in list(reversed(self._shown.items())):
            room -= 1
            if len(chosen) < ROWS_MAX and (room >= 0 or node in self._told):
                chosen.setdefault(node, time_ns)
        yield list(chosen.items())

    # --- what is told -----------------------------------------------------------------------------------

    def _picture(self, now_ns: int) -> Iterator[bytes]:
        text = self._search.text
        rows: list[tuple[Node, int]] = []
        for chosen in self._choose():
            if isinstance(chosen, bytes):
                yield chosen  # whoever sends it looks for execs between two pieces
            else:
                rows = chosen
        told: dict[Node, tuple[Any, ...]] = {}
        changed: list[tuple[Any, ...]] = []
        for node, _ in rows:
            self._tell_family(node, told, changed)
            yield b""
        self._told = told
        spawners: tuple[Told, ...] | None = None
        if now_ns >= self._next_spawners_ns:
            self._next_spawners_ns = now_ns + SPAWNERS_NS
            for piece in self._spawners.digest(now_ns):
                spawners = piece
                yield b""
        numbered = tuple((told[node][0], time_ns) for node, time_ns in rows)
        counters = tuple(pack(record) for record in self._figures())
        yield frame((PICTURE, counters, tuple(changed), numbered, spawners, text))

    def _tell_family(self, node: Node, told: dict[Node, tuple[Any, ...]], changed: list[tuple[Any, ...]]) -> None:
        """Tell a process and its ancestors, as far as the viewer does not know them as they are."""
        family: dict[Node, None] = {}  # in order
        current: Node | None = node
        while current is not None and current not in told and current not in family:
            family[current] = None
            current = self._view.parent(current)
        # In a circle, which can only be made by hand, the last one has no parent.
        above = told[current][0] if current in told else 0
        for member in reversed(family):
            missing_pid = query.missing_parent(member) if not above else None
            before = self._told.get(member)
            number = before[0] if before is not None else self._next_number()
            value = (number, above, missing_pid, facts.own(member, ARGUMENTS_SHOWN_BYTES))
            told[member] = value
            if value != before:
                changed.append(value)
            above = number

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers


class Wanted:
    """A search applied to processes: its text is somewhere in one of them, or in an ancestor."""

    def __init__(self, search: Search) -> None:
        self.is_everything = not search.text
        self._text = search.text.lower()
        self._bytes = self._text.encode("utf-8", "surrogateescape")
        self._uids = frozenset(search.uids)

    def has(self, node: Node) -> bool:
        """Tell whether this process is looked for; ancestors that only /proc knows are not read."""
        if self.is_everything:
            return True
        seen: set[Node] = set()
        current: Node | None = node
        while current is not None and current not in seen:
            if self.is_in(current):
                return True
            seen.add(current)
            current = current.parent
        return False

    def is_in(self, node: Node) -> bool:
        """Tell whether the text is in this process itself."""
        if self._text in node.cmd.lower() or self._text in str(node.pid) or node.uid in self._uids:
            return True
        if node.cmdline is None:
            return False
        return self._bytes in node.cmdline[:ARGUMENTS_SEARCHED_BYTES].replace(b"\0", b" ").lower()


def _put(programs: dict[Node, int], node: Node, time_ns: int, room: int) -> None:
    """Note the newest program; the one that is oldest leaves where there is no room."""
    programs.pop(node, None)
    programs[node] = time_ns
    if len(programs) > room:
        del programs[next(iter(programs))]
