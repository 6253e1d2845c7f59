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
        self._centre = None if selection.around is None else _find_start(view, selection.around)

    def has(self, node: Node) -> bool:
        """Tell whether this process was asked for."""
        selection = self._selection
        if selection.cmd is not None and not _is_named(node, selection.cmd):
            return False
        if selection.user is not None and selection.user not in (str(node.uid), self._view.user(node)):
            return False
        if self._centre is not None and not _is_near(node, self._centre, selection.within_ns):
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
        if current.identity() == top.identity():  # there can be two nodes of one, where it is read from /proc
            return True
        seen.add(id(current))
        current = view.parent(current)
    return False


def _find_start(view: View, target: Target) -> Node:
    node = find(view, target)
    if not node.start_ns:
        raise NobodyFoundError(f"when {node.pid} started is not known: its birth was not seen", may_exist=True)
    return node


def _is_near(node: Node, centre: Node, within_ns: int) -> bool:
    return node.boot == centre.boot and abs(node.start_ns - centre.start_ns) <= within_ns


def _is_named(node: Node, cmd: str) -> bool:
    is_match, _ = match_name(node, cmd)
    return bool(is_match) or (is_match is None and known_name(node) == cmd)
