"""Processes as an engine tells them: its bare facts; who reads them looks users up and writes text.

Tuples of plain values. Nothing is looked up on the engine's side: to ask for a user's name can take seconds.
"""

from __future__ import annotations

from ..kernel.clocks import boot_wall_ns
from ..kernel.users import UserNames
from ..process import CMDLINE_LIMIT, Node, cut_cmdline, freeze
from ..query import Outline, Walk
from ..record import Record
from .protocol import chain_head, parts, read_chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ..engine.view import View
    from ..lineage import Placed
    from ..process import Place, Process

    Facts = tuple[Any, ...]

_OWN = 18
_OF_ANCESTOR = 8
_OF_LINK = 6
_ADOPTER_PID, _EXIT_NS, _EXIT_STATUS, _COST, _PLACE = 4, 12, 13, 15, 17  # where they stand in `own`
_NOBODY = -1
_UNTOLD = ""


class ToldUsers:
    """The names of users, for the processes that an engine tells."""

    def __init__(self, names: UserNames | None = None) -> None:
        self._names = names or UserNames()

    def user(self, node: Node) -> str | None:
        """Give the name of the process's user."""
        return self._name(node.uid)

    def freeze(
        self, node: Node, current_ppid: int | None, current_parent: str | None, booted_ns: int | None = None
    ) -> Process:
        """Freeze a process, with the present parent that the engine told, and when it says that was booted.

        Two who read the clocks differ by a microsecond or so: what one engine answers has to stay the same.
        """
        return freeze(
            node,
            current_ppid=current_ppid,
            current_parent=current_parent,
            user=self.user(node),
            birth_user=self._name(node.birth_uid),
            booted_ns=boot_wall_ns() if booted_ns is None else booted_ns,
            is_alive=not node.exit_ns,
        )

    def freeze_as_told(self, node: Node, adopter: str | None = None) -> Process:
        """Freeze a process of a stream, with the parent that it had when it was told; `adopter` is its name."""
        return self.freeze(node, node.last_ppid, adopter)

    def _name(self, uid: int | str | None) -> str | None:
        return self._names.name(uid) if isinstance(uid, int) else uid


# --- one process --------------------------------------------------------------------------------------------


def own(node: Node, argument_bytes: int = CMDLINE_LIMIT) -> tuple[Any, ...]:
    """Give all that is known of a process at this moment; of its arguments so much."""
    return (
        node.pid,
        node.start_ns,
        node.ppid,
        node.ppid_source,
        node.adopter_pid,
        node.cmd,
        node.source,
        node.former,
        node.cmdline if node.cmdline is None else cut_cmdline(node.cmdline, argument_bytes),
        node.uid,
        node.birth_uid,
        node.session,
        node.exit_ns,
        node.exit_status,
        node.left_out,
        node.cost,
        node.full_name,
        node.place,
    )


def own_before_its_end(node: Node) -> tuple[Any, ...]:
    """The same of a process that has ended meanwhile, as it was before."""
    told = list(own(node))
    told[_ADOPTER_PID] = None
    told[_EXIT_NS], told[_EXIT_STATUS], told[_COST] = 0, None, None
    return tuple(told)


def read_own(facts: tuple[Any, ...], parent: Node | None = None) -> Node:
    """Make a process again. Raises ValueError for another shape."""
    pid, start_ns, ppid, ppid_source, adopter_pid, cmd, source, former, cmdline, *rest = facts
    uid, birth_uid, session, exit_ns, exit_status, left_out, cost, full_name, place = rest
    node = Node(pid, start_ns, ppid, ppid_source, parent, cmd, source, uid, session, cmdline)
    node.adopter_pid, node.former, node.birth_uid = adopter_pid, former, birth_uid
    node.exit_ns, node.exit_status, node.left_out = exit_ns, exit_status, left_out
    node.cost, node.full_name, node.place = cost, full_name, _read_place(place)
    return node


def _read_place(told: tuple[Any, ...] | None) -> Place | None:
    if told is None:
        return None
    unit, container, tty = told
    return unit, container, tty


def described(view: View, node: Node, *, is_fresh: bool) -> Facts:
    """Give all that is known of a process, its present parent, read once more where `is_fresh`, and the boot."""
    told, place = own(node), view.place(node)
    if place is not node.place:
        told = (*told[:_PLACE], place)
    return (told, *view.present_parent(node, is_fresh=is_fresh), boot_wall_ns())


def read_described(value: Facts, users: ToldUsers) -> Process:
    """Freeze what `described` gave. Raises EngineUnavailableError for another shape."""
    told, current_ppid, current_parent, booted_ns = parts(value, 4)
    return users.freeze(read_own(parts(told, _OWN), None), current_ppid, current_parent, booted_ns)


def placed(view: View, node: Node, place: int, above: int | None, is_asked: bool) -> Facts:
    """Give the same, behind what `lineage.Placed` has besides."""
    return place, above, is_asked, described(view, node, is_fresh=False)


def read_placed(value: Facts, users: ToldUsers) -> Placed:
    """Freeze what `placed` gave. Raises EngineUnavailableError for another shape."""
    from ..lineage import Placed

    place, above, is_asked, told = parts(value, 4)
    return Placed(place, above, is_asked, read_described(told, users))


# --- the way up ---------------------------------------------------------------------------------------------


def link(node: Node) -> tuple[Any, ...]:
    """Give what the one-line form of a chain shows of a process."""
    return node.pid, node.ppid, node.cmd, node.source, node.uid, node.left_out


def ancestor(node: Node) -> tuple[Any, ...]:
    """Give that, and what tells how a chain was entered; who wants to know all of it is told `own`."""
    return (*link(node), node.ppid_source, node.place)


class Told(Record):
    """An event that a stream told: its kind, when (CLOCK_BOOTTIME), and the way up from its process."""

    kind: type
    time_ns: int
    walked: Walk
    adopter: str | None  # the name of who had adopted it at its end

    @property
    def node(self) -> Node:
        """The process that it was about, as it was then."""
        return self.walked.nodes[0]

    def freeze(self, users: ToldUsers) -> Process:
        """Freeze that process."""
        return users.freeze_as_told(self.node, self.adopter)


class LinksFrozen:
    """Freezes the processes of many walks that share ancestors, each ancestor once; for what came together."""

    def __init__(self, users: ToldUsers) -> None:
        self._users = users
        self._known: dict[Node, Process] = {}

    def links(self, told: Told) -> list[Process]:
        """Give the process of an event, and what was told of its ancestors."""
        known, above = self._known, told.walked.nodes[1:]
        for node in above:
            if node not in known:
                known[node] = self._users.freeze_as_told(node)
        return [told.freeze(self._users), *(known[node] for node in above)]


class WalksRead:
    """Makes the walks of a stream again, each process with its parent.

    Whose ancestors were told alike has the same nodes above it: these are not to be changed. It remembers all of
    them: one is to be used for what came together, and not longer.
    """

    def __init__(self) -> None:
        self._ways: dict[tuple[object, ...], tuple[Node, ...]] = {}

    def read(self, facts: Facts, ancestors: tuple[Facts, ...], missing_pid: int | None) -> Walk:
        """Read what was told of a process, and of its ancestors.

        Raises EngineUnavailableError or TypeError for another shape.
        """
        key = ancestors, missing_pid
        above = self._ways.get(key)
        if above is None:
            above = self._ways[key] = _read_way_up(ancestors)
        return Walk((read_own(parts(facts, _OWN), above[0] if above else None), *above), None, missing_pid)


def _read_way_up(ancestors: tuple[Facts, ...]) -> tuple[Node, ...]:
    parent: Node | None = None
    nodes = []
    for each in reversed(ancestors):
        if len(each) == _OWN:
            parent = read_own(each, parent)
        else:
            *shown, ppid_source, place = parts(each, _OF_ANCESTOR)
            parent = _read_link(parent, *shown)
            parent.ppid_source, parent.place = ppid_source, _read_place(place)
        nodes.append(parent)
    return tuple(reversed(nodes))


class OutlinesTold:
    """Tells outlines of one answer: each process on their ways once, by its place among all that were told."""

    def __init__(self) -> None:
        self._places: dict[Node, int] = {}

    def tell(self, outlines: Iterable[Outline]) -> Facts:
        """Give the processes that were not told yet, each with the place of its parent, and the outlines."""
        told: list[Facts] = []
        heads: list[Facts] = []
        for outline in outlines:
            place = _NOBODY
            for node in reversed(outline.walked.nodes):
                parent, known = place, self._places.get(node)
                if known is None:
                    known = self._places[node] = len(self._places)
                    told.append((*link(node), parent))
                place = known
            heads.append((place, *chain_head(outline.chain)))
        return tuple(told), tuple(heads)


class OutlinesRead:
    """Puts together what `OutlinesTold` told of one answer."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []

    def read(self, value: Facts) -> Iterator[Outline]:
        """Give the outlines. Raises EngineUnavailableError for another shape."""
        told, heads = parts(value, 2)
        nodes = self._nodes
        for each in told:
            *facts, place = parts(each, _OF_LINK + 1)
            nodes.append(_read_link(None if place == _NOBODY else nodes[place], *facts))
        for place, *head in heads:
            chain = read_chain(tuple(head), ())
            yield Outline(
                Walk(tuple(self._way_up(place)), chain.reason, chain.missing_pid, chain.may_exist), chain
            )

    def _way_up(self, place: int) -> Iterator[Node]:
        node = None if place == _NOBODY else self._nodes[place]
        while node is not None:
            yield node
            node = node.parent


def _read_link(  # noqa: PLR0913
    parent: Node | None, pid: int, ppid: int | None, cmd: str, source: str, uid: int | str | None, left_out: int
) -> Node:
    node = Node(pid, 0, ppid, _UNTOLD, parent, cmd, source, uid)
    node.left_out = left_out
    return node
