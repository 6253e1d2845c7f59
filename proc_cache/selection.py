"""Which processes a user asked for: the same narrowing in every command."""

from __future__ import annotations

from .errors import NobodyFoundError, ProcessHiddenError
from .process import COMM_MAX_BYTES, known_name
from .query import match_name
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from .process import Node
    from .query import Miss, View
    from .times import Moment

    class Listing(View, Protocol):
        """A view that can list what it knows."""

        def nodes(self, moment: Moment | None, *, with_dead: bool) -> Iterator[Node]:
            """Give the living, the dead too, or who lived at a moment."""

        def explain_no_name(self, cmd: str) -> Miss:
            """Say why nobody of this name was found."""


class Target(Record):
    """A process as it is asked for: who has this pid, or who had it at a moment."""

    pid: int
    moment: Moment | None = None


class Selection(Record):
    """Narrows to a name, a user (name or uid), what is under a process (that one included), how it went, and when.

    A pattern for names is not here: to search one can take forever. Who asks does that, never an engine.
    """

    cmd: str | None = None
    user: str | None = None
    under: Target | str | None = None  # a process, or all of a name
    with_dead: bool = False
    moment: Moment | None = None  # who lived then
    around: Target | None = None  # who started at most `within_ns` before or after that one
    within_ns: int = 0
    failed: bool = False  # ended with another code than 0, or by a signal
    longer_than_ns: int | None = None  # how long it ran, or has run so far
    shorter_than_ns: int | None = None  # how long it ran: one that lives is never shorter

    @property
    def is_about_ends(self) -> bool:
        """Whether it asks for how processes ended or how long they ran, which in a stream their end tells."""
        return self.failed or self.longer_than_ns is not None or self.shorter_than_ns is not None

    @property
    def is_about_the_dead(self) -> bool:
        """Whether only what has ended can be meant."""
        return self.failed or self.shorter_than_ns is not None

    @property
    def wants_dead(self) -> bool:
        """Whether the dead are asked for, in so many words or by what only they can match."""
        return self.with_dead or self.is_about_the_dead

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves anything out but by time."""
        asked = (self.cmd, self.user, self.under, self.around)
        return self.is_about_ends or any(each is not None for each in asked)


class Chooser:
    """A selection applied to one view. Raises NobodyFoundError where it names a process that is not known.

    To be under a name that nobody has is no error here: in a stream somebody may come and have it.
    """

    def __init__(self, view: View, selection: Selection) -> None:
        self._view = view
        self._selection = selection
        self._is_named = None if selection.cmd is None else _name_test(selection.cmd)
        self._is_top = _top_test(view, selection.under)
        self._centre = None if selection.around is None else _find_start(view, selection.around)
        self.is_about_ends = selection.is_about_ends

    def has(self, node: Node) -> bool:
        """Tell whether this process was asked for."""
        selection = self._selection
        if self._is_named is not None and not self._is_named(node):
            return False
        if self.is_about_ends and not _went_so(self._view, node, selection):
            return False
        if selection.user is not None and selection.user not in (str(node.uid), self._view.user(node)):
            return False
        if self._centre is not None and not _is_near(node, self._centre, selection.within_ns):
            return False
        return self._is_top is None or _is_below(self._view, node, self._is_top)


def select(view: Listing, selection: Selection) -> Iterator[Node]:
    """Give the processes that were asked for. Raises NobodyFoundError before the first."""
    chooser = Chooser(view, selection)
    check_top(view, selection)
    return (node for node in candidates(view, selection) if chooser.has(node))


def check_top(view: Listing, selection: Selection) -> None:
    """Raise NobodyFoundError where all are to be under a name that nobody has."""
    if not any(seek_top(view, selection)):
        raise nobody_named(view, selection)


def seek_top(view: Listing, selection: Selection) -> Iterator[bool]:
    """Look for the name that all are to be under, a process a step: true where it is found, or none is wanted."""
    if not isinstance(selection.under, str):
        yield True
        return
    is_named = _name_test(selection.under)
    for node in view.nodes(None, with_dead=True):
        yield is_named(node)


def nobody_named(view: Listing, selection: Selection) -> NobodyFoundError:
    """Say that nobody has the name that all are to be under."""
    assert isinstance(selection.under, str)
    miss = view.explain_no_name(selection.under)
    return NobodyFoundError(miss.reason, may_exist=miss.may_exist)


def candidates(view: Listing, selection: Selection) -> Iterator[Node]:
    """Give the processes among which to choose: the living, the dead too, or who lived at a moment."""
    return view.nodes(selection.moment, with_dead=selection.wants_dead or selection.around is not None)


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
    return _is_below(view, node, _same_test(top))


def _is_below(view: View, node: Node, is_top: Callable[[Node], bool]) -> bool:
    seen: set[int] = set()
    current: Node | None = node
    while current is not None and id(current) not in seen:
        if is_top(current):
            return True
        seen.add(id(current))
        current = view.parent(current)
    return False


def _top_test(view: View, under: Target | str | None) -> Callable[[Node], bool] | None:
    if under is None:
        return None
    return _name_test(under) if isinstance(under, str) else _same_test(find(view, under))


def _same_test(top: Node) -> Callable[[Node], bool]:
    """Make a test for one process; there can be two nodes of one, where it is read from /proc."""
    identity = top.identity()
    return lambda node: node.identity() == identity


def _name_test(cmd: str) -> Callable[[Node], bool]:
    """Make a test for a name, which may be longer than the kernel keeps it."""
    kept = cmd.encode("utf-8", "surrogateescape")[:COMM_MAX_BYTES].decode("utf-8", "surrogateescape")

    def is_named(node: Node) -> bool:
        if node.cmd not in (kept, cmd):  # most of them, and at little cost
            return False
        is_match, _ = match_name(node, cmd)
        return bool(is_match) or (is_match is None and known_name(node) == cmd)

    return is_named


def _find_start(view: View, target: Target) -> Node:
    node = find(view, target)
    if not node.start_ns:
        raise NobodyFoundError(f"when {node.pid} started is not known: its birth was not seen", may_exist=True)
    return node


def _is_near(node: Node, centre: Node, within_ns: int) -> bool:
    return node.boot == centre.boot and abs(node.start_ns - centre.start_ns) <= within_ns


def _went_so(view: View, node: Node, selection: Selection) -> bool:
    """Tell whether a process ended as it was asked for, and ran for so long; what is not known is no match."""
    if selection.failed and not node.exit_status:
        return False
    longer_ns, shorter_ns = selection.longer_than_ns, selection.shorter_than_ns
    if longer_ns is None and shorter_ns is None:
        return True
    is_seen_whole = node.start_ns and (node.exit_status is not None or not node.exit_ns)
    if not is_seen_whole or (shorter_ns is not None and not node.exit_ns):
        return False
    run_time_ns = view.until_ns(node) - node.start_ns
    return (longer_ns is None or run_time_ns > longer_ns) and (shorter_ns is None or run_time_ns < shorter_ns)
