"""A process as a stream carries it: the engine's bare facts; who reads them looks users up and writes text.

Tuples of plain values. Nothing is looked up on the engine's side: to ask for a user's name can take seconds.
"""

from __future__ import annotations

from ..errors import EngineUnavailableError
from ..kernel.procfs import CMDLINE_LIMIT
from ..process import Node, cut_cmdline
from ..query import Walk
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_OWN = 17
_OF_ANCESTOR = 6
_ADOPTER_PID, _EXIT_NS, _EXIT_STATUS, _COST = 4, 12, 13, 15  # places in `own`


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
    )


def own_before_its_end(node: Node) -> tuple[Any, ...]:
    """The same of a process that has ended meanwhile, as it was before."""
    told = list(own(node))
    told[_ADOPTER_PID] = None
    told[_EXIT_NS], told[_EXIT_STATUS], told[_COST] = 0, None, None
    return tuple(told)


def ancestor(node: Node) -> tuple[Any, ...]:
    """Give what a chain shows of an ancestor."""
    return node.pid, node.ppid, node.cmd, node.source, node.uid, node.left_out


def read_walk(facts: tuple[Any, ...], ancestors: Sequence[tuple[Any, ...]], missing_pid: int | None) -> Walk:
    """Make the processes again, each with its parent. Raises EngineUnavailableError for another shape."""
    if len(facts) != _OWN or any(len(each) != _OF_ANCESTOR for each in ancestors):
        raise EngineUnavailableError("the engine's stream has another shape; restart it with this version")
    parent: Node | None = None
    nodes = []
    for pid, ppid, cmd, source, uid, left_out in reversed(ancestors):
        node = Node(pid, 0, ppid, source, parent, cmd, source, uid)
        node.left_out = left_out
        nodes.append(node)
        parent = node
    nodes.append(_read_own(facts, parent))
    return Walk(tuple(reversed(nodes)), None, missing_pid)


def _read_own(facts: tuple[Any, ...], parent: Node | None) -> Node:
    pid, start_ns, ppid, ppid_source, adopter_pid, cmd, source, former, cmdline, uid, birth_uid, session = facts[
        :12
    ]
    node = Node(pid, start_ns, ppid, ppid_source, parent, cmd, source, uid, session, cmdline)
    node.adopter_pid, node.former, node.birth_uid = adopter_pid, former, birth_uid
    node.exit_ns, node.exit_status, node.left_out, node.cost, node.full_name = facts[12:]
    return node
