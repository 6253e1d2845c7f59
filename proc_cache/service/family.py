"""All that a command started, gathered from what a stream tells: each process once, below who bore it.

A build starts processes by the hundred thousand, so this is bounded: beyond a capacity the oldest ended ones are
counted under their names (`Fold`) and let go, first those that succeeded. No process is left out of the counts.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from sys import intern
from typing import TYPE_CHECKING

from ..events import Exec, Exit, Fork
from ..process import CMDLINE_KEPT_BYTES, Node, cut_cmdline, known_name, unpack_cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..query import Walk
    from .facts import Told

    Folds = dict[str | None, "Fold"]  # by name; None: of names that are too many to be told apart

KINDS = frozenset((Fork, Exec, Exit))  # what has to be told to know all of a process
MEMBERS_MAX = 100_000
ARGUMENT_BYTES_MAX = 32 << 20
_ARGUMENTS_CUT_BYTES = 256  # of one process, once all of them take so much
_NAMES_MAX = 50  # that are told apart among the children of one
_NEST_MAX = 8  # levels that a fold keeps apart; what is deeper is counted on the last one


class Fold:
    """Processes of one name, seen as one; `below` has those that they started, in the same way."""

    __slots__ = ("below", "count", "cpu_us", "failed", "longest", "max_rss_bytes", "total_ns", "unended")

    def __init__(self) -> None:
        self.count = self.failed = self.unended = 0
        self.total_ns = self.cpu_us = self.max_rss_bytes = 0
        self.longest: Node | None = None  # the one that ran longest
        self.below: Folds = {}

    def add(self, node: Node) -> None:
        """Count one more."""
        self.count += 1
        self.failed += bool(node.exit_status)
        self.unended += not node.exit_ns
        self.total_ns += run_time(node)
        self._compare(node)
        cost = unpack_cost(node.cost)
        if cost is not None:
            self.cpu_us += cost.cpu_us
            self.max_rss_bytes = max(self.max_rss_bytes, cost.max_rss_bytes)

    def absorb(self, other: Fold) -> None:
        """Count all of another one too; not what is below it."""
        self.count += other.count
        self.failed += other.failed
        self.unended += other.unended
        self.total_ns += other.total_ns
        if other.longest is not None:
            self._compare(other.longest)
        self.cpu_us += other.cpu_us
        self.max_rss_bytes = max(self.max_rss_bytes, other.max_rss_bytes)

    def _compare(self, node: Node) -> None:
        if run_time(node) > self.longest_ns:
            self.longest = node

    @property
    def longest_ns(self) -> int:
        """How long the one ran that ran longest."""
        return 0 if self.longest is None else run_time(self.longest)


class Member:
    """One process, below who bore it; `node` is as it was told last."""

    __slots__ = ("adopter", "children", "folds", "is_context", "is_end_unseen", "left_out", "node", "parent")

    def __init__(self, node: Node, parent: Member | None, *, is_context: bool = False) -> None:
        self.node = node
        self.parent = parent
        self.is_context = is_context  # nothing was told of it but that it stands above one that was asked for
        self.is_end_unseen = False  # it has ended, and that was not told
        self.left_out = 0  # generations that were counted away between it and `parent`
        self.adopter: str | None = None  # the name of who has it since its parent ended
        self.children: dict[Member, None] | None = None  # in the order of their birth
        self.folds: Folds | None = None  # children that were counted away

    def is_running(self) -> bool:
        """Tell whether it has not ended, as far as it was told."""
        return not (self.node.exit_ns or self.is_end_unseen or self.is_context)


class Family:
    """What is told of the processes below `pid`, that one left out."""

    def __init__(self, pid: int, capacity: int = MEMBERS_MAX) -> None:
        self._pid = pid
        self._capacity = capacity
        self.top = Member(Node(pid, 0, None, "", None, "", "", None), None, is_context=True)
        self._newest: dict[int, Member] = {}  # who had a pid last
        self._size = 0
        self._succeeded: deque[Member] = deque()  # the ended, in the order of their ends
        self._failed: deque[Member] = deque()
        self._argument_bytes = 0
        self.count = 0
        self.failed = 0
        self.put_away = 0  # how many were counted away for room
        self.failures_put_away = 0
        self.cpu_us = 0
        self.with_cost = 0  # how many are in `cpu_us`
        self.largest: Node | None = None
        self.max_rss_bytes = 0  # of that one

    def take(self, told: Told) -> None:
        """Put an event to its process."""
        node = told.node
        member = self._newest.get(node.pid)
        if member is None or not _is_same(member, node):
            member = self._add(node, self._parent_in(told.walked))
            self._newest[node.pid] = member
        elif member.is_context:
            member.is_context = False
            self.count += 1
        if member.node.exit_ns:
            return  # a late word about one that has ended
        self._replace(member, node)
        if node.exit_ns:
            member.adopter = told.adopter
            self._end(member)

    def members(self) -> Iterator[Member]:
        """Give those that are here by themselves, each after its parent, in the order of their birth."""
        pending = children_of(self.top)[::-1]
        while pending:
            member = pending.pop()
            yield member
            pending += children_of(member)[::-1]

    def end(self, pid: int, status: int, time_ns: int) -> None:
        """Note an end that is known otherwise, where it was not told: it may have been dropped."""
        member = self._newest.get(pid)
        if member is not None and not member.node.exit_ns and not member.is_context:
            member.node.exit_ns, member.node.exit_status = time_ns, status
            member.is_end_unseen = False
            self._end(member)

    def _parent_in(self, walked: Walk) -> Member:
        """Find the nearest ancestor that is known; who stands between, and was not told of, is added."""
        untold: list[Node] = []
        found = self.top
        for ancestor in walked.nodes[1:]:
            if ancestor.pid == self._pid:
                break
            member = self._newest.get(ancestor.pid)
            if member is not None and _was_there(member, walked.nodes[0].start_ns):
                found = member
                break
            untold.append(ancestor)
        else:
            untold.clear()  # the way does not lead to the command any more
        for ancestor in reversed(untold):
            mine = copy(ancestor)  # others have the same one above them (facts.WalksRead)
            mine.parent = None
            found = self._add(mine, found, is_context=True)
            self._newest[mine.pid] = found
        return found

    def _add(self, node: Node, parent: Member, *, is_context: bool = False) -> Member:
        member = Member(node, parent, is_context=is_context)
        if parent.children is None:
            parent.children = {}
        parent.children[member] = None
        self._size += 1
        self.count += not is_context
        self._make_room()
        return member

    def _replace(self, member: Member, node: Node) -> None:
        """Take over the newest facts, as small as they can be kept."""
        node.parent = None  # its ancestors are here already
        for name in ("cmd", "source", "ppid_source"):
            setattr(node, name, intern(getattr(node, name)))
        node.former = tuple(map(intern, node.former))
        former = member.node.cmdline
        if former is not None and member.node is not node:
            self._argument_bytes -= len(former)
        if node.cmdline is not None:
            is_full = self._argument_bytes > ARGUMENT_BYTES_MAX
            node.cmdline = cut_cmdline(node.cmdline, _ARGUMENTS_CUT_BYTES if is_full else CMDLINE_KEPT_BYTES)
            self._argument_bytes += len(node.cmdline)
        member.node = node

    def _end(self, member: Member) -> None:
        node = member.node
        self.failed += bool(node.exit_status)
        cost = unpack_cost(node.cost)
        if cost is not None:
            self.with_cost += 1
            self.cpu_us += cost.cpu_us
            if self.largest is None or cost.max_rss_bytes > self.max_rss_bytes:
                self.largest, self.max_rss_bytes = node, cost.max_rss_bytes
        self._queue(member)

    def _queue(self, member: Member) -> None:
        (self._failed if member.node.exit_status else self._succeeded).append(member)

    def _make_room(self) -> None:
        for queue in (self._succeeded, self._failed):
            while queue and self._size > self._capacity:
                self._put_away(queue.popleft())

    def _put_away(self, member: Member) -> None:
        """Count one of the ended under its name; a child that it has moves up, and says so.

        One with more children stays: it is looked at again when they have gone.
        """
        parent = member.parent
        children = children_of(member)
        if parent is None or parent is self.top or len(children) > 1:
            return
        if parent.folds is None:
            parent.folds = {}
        fold_in(parent.folds, member, with_children=False)
        self._take_out(member, parent)
        for child in children:
            child.parent = parent
            child.left_out += member.left_out + 1
            assert parent.children is not None
            parent.children[child] = None
        if parent.node.exit_ns and not parent.is_context and len(parent.children or ()) <= 1:
            self._queue(parent)

    def _take_out(self, member: Member, parent: Member) -> None:
        assert parent.children is not None
        del parent.children[member]
        member.parent = None
        node = member.node
        if self._newest.get(node.pid) is member:
            del self._newest[node.pid]
        self._size -= 1
        self._argument_bytes -= len(node.cmdline or b"")
        self.put_away += 1
        self.failures_put_away += bool(node.exit_status)


def children_of(member: Member) -> list[Member]:
    """Give its children that are here by themselves, in the order of their birth."""
    if not member.children:
        return []
    return sorted(member.children, key=lambda child: child.node.start_ns)


def fold_in(folds: Folds, member: Member, *, with_children: bool = True) -> None:
    """Count a process among those of its name, and what is below it among what is below those."""
    # A stack, not recursion: a ladder of processes may be deeper than Python's stack.
    pending = [(folds, member, 0)]
    while pending:
        into, each, depth = pending.pop()
        below = into
        if not each.is_context:
            fold = _of_name(into, known_name(each.node))
            fold.add(each.node)
            below = fold.below if depth < _NEST_MAX else into
        if each.folds:
            merge_folds(below, each.folds, depth + 1)
        if with_children:
            pending += [(below, child, depth + 1) for child in children_of(each)]


def merge_folds(folds: Folds, others: Folds, depth: int = 0) -> None:
    """Count what was counted elsewhere."""
    pending = [(folds, others, depth)]
    while pending:
        into, source, depth = pending.pop()
        for name, other in list(source.items()):
            fold = _of_name(into, name)
            fold.absorb(other)
            if other.below:
                pending.append((fold.below if depth < _NEST_MAX else into, other.below, depth + 1))


def _of_name(folds: Folds, name: str | None) -> Fold:
    if name not in folds and len(folds) >= _NAMES_MAX:
        name = None
    fold = folds.get(name)
    if fold is None:
        fold = folds[name] = Fold()
    return fold


def counted_in(folds: Iterable[Fold]) -> int:
    """Give how many processes are in folds, all that is below them included."""
    total = 0
    pending = list(folds)
    while pending:
        fold = pending.pop()
        total += fold.count
        pending += fold.below.values()
    return total


def _is_same(member: Member, node: Node) -> bool:
    return member.node.start_ns == node.start_ns or (member.is_context and not member.node.start_ns)


def _was_there(member: Member, time_ns: int) -> bool:
    """Tell whether a process can have borne one that started then: its pid may have had other owners."""
    return member.node.start_ns <= time_ns and (not member.node.exit_ns or member.node.exit_ns >= time_ns)


def run_time(node: Node) -> int:
    """How long it ran, in nanoseconds; 0 where one end of its life was not seen."""
    return max(0, node.exit_ns - node.start_ns) if node.exit_ns and node.start_ns else 0
