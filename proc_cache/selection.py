"""Which processes a user asked for: the same narrowing in every command."""

from __future__ import annotations

from .errors import NobodyFoundError, ProcessHiddenError
from .process import known_name
from .query import match_name
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from .process import Node
    from .query import View
    from .times import Moment

    class Listing(View, Protocol):
        """A view that can list what it knows."""

        def nodes(self, moment: Moment | None, *, with_dead: bool) -> Iterator[Node]:
            """Give the living, the dead too, or who lived at a moment."""


class Target(Record):
    """A process as it is asked for: who has this pid, or who had it at a moment."""

    pid: int
    moment: Moment | None = None


class Selection(Record):
    """Narrows to a name, a user (name or uid), what is under a process (that one included), and in time."""

    cmd: str | None = None
    user: str | None = None
    under: Target | None = None
    with_dead: bool = False
    moment: Moment | None = None  # who lived then
    around: Target | None = None  # who started at most `within_ns` before or after that one
    within_ns: int = 0


class Chooser:
    """A selection applied to one view. Raises NobodyFoundError where it names a process that is not known."""

    def __init__(self, view: View, selection: Selection) -> None:
        self._view = view
        self._selection = selection
        self._top = None if selection.under is None else find(view, selection.under)
        self._span = _starts_around(view, selection)

    def has(self, node: Node) -> bool:
        """Tell whether this process was asked for."""
        selection = self._selection
        if selection.cmd is not None and not _is_named(node, selection.cmd):
            return False
        if selection.user is not None and selection.user not in (str(node.uid), self._view.user(node)):
            return False
        if self._span is not None and not self._span[0] <= node.start_ns <= self._span[1]:
            return False
        return self._top is None or is_under(self._view, node, self._top)


def select(view: Listing, selection: Selection) -> Iterator[Node]:
    """Give the processes that were asked for. Raises NobodyFoundError before the first."""
    chooser = Chooser(view, selection)
    return (node for node in candidates(view, selection) if chooser.has(node))


def candidates(view: Listing, selection: Selection) -> Iterator[Node]:
    """Give the processes among which to choose: the living, the dead too, or who lived at a moment."""
    return view.nodes(selection.moment, with_dead=selection.with_dead or selection.around is not None)


def find(view: View, target: Target) -> Node:
    """Give the process that a target names. Raises NobodyFoundError with the reason."""
    try:
        node = view.find(target.pid, target.moment)
    except ProcessHiddenError as error:
        raise NobodyFoundError(str(error), may_exist=True) from error
    if node is None:
        miss = view.explain_miss(target.pid, target.moment)
        raise NobodyFoundError(miss.reason, may_exist=miss.may_exist)
    return node


def is_under(view: View, node: Node, top: Node) -> bool:
    """Tell whether a process is this one, or has it for an ancestor."""
    seen: set[int] = set()
    current: Node | None = node
    while current is not None and id(current) not in seen:
        if current is top or (current.pid == top.pid and current.start_ns == top.start_ns):
            return True  # two nodes of one process, where it is read from /proc
        seen.add(id(current))
        current = view.parent(current)
    return False


def _starts_around(view: View, selection: Selection) -> tuple[int, int] | None:
    if selection.around is None:
        return None
    centre_ns = find(view, selection.around).start_ns
    return centre_ns - selection.within_ns, centre_ns + selection.within_ns


def _is_named(node: Node, cmd: str) -> bool:
    is_match, _ = match_name(node, cmd)
    return bool(is_match) or (is_match is None and known_name(node) == cmd)
