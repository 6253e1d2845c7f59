"""A command's processes as a stream tells of them, one step after the other."""

from __future__ import annotations

from typing import Any

from proc_cache.events import KINDS
from proc_cache.process import Node, Process, Source, freeze
from proc_cache.query import Walk
from proc_cache.service.facts import Told
from proc_cache.service.family import MEMBERS_MAX, Family, Member

from .frozen import BOOT_WALL_NS

ME = 50  # who runs the command
MS = 1_000_000
_WAY_MAX = 20


class Story:
    """Starts processes and ends them: `start()` gives a node, which is only the teller's own."""

    def __init__(self, capacity: int = MEMBERS_MAX) -> None:
        self.family = Family(ME, capacity)
        self.born: list[Node] = []
        self._me = Node(
            ME, 1, 1, Source.FORK, Node(1, 0, 0, Source.FORK, None, "init", Source.EXEC, 0), "me", "exec", 0
        )
        self._pid = 99
        self._now_ns = 1_000 * MS

    def advance(self, ns: int = MS) -> None:
        self._now_ns += ns

    def node(self, cmd: str, parent: Node | None = None, *, pid: int | None = None, **facts: Any) -> Node:
        """A process that nothing is told of yet."""
        self.advance()
        if pid is None:
            self._pid += 1
        parent = parent or self._me
        node = Node(pid or self._pid, self._now_ns, parent.pid, Source.FORK, parent, cmd, Source.EXEC, 0)
        for name, value in facts.items():
            setattr(node, name, value)
        self.born.append(node)
        return node

    def start(self, cmd: str, parent: Node | None = None, *, pid: int | None = None, **facts: Any) -> Node:
        """A process that runs its program already."""
        node = self.node(cmd, parent, pid=pid, **facts)
        self._tell("fork", node)
        self._tell("exec", node)
        return node

    def fork(self, cmd: str, parent: Node | None = None) -> Node:
        node = self.node(cmd, parent, source=Source.INHERITED)
        self._tell("fork", node)
        return node

    def exec(self, node: Node, cmd: str, cmdline: bytes) -> None:
        node.cmd, node.cmdline, node.source = cmd, cmdline, Source.EXEC
        self._tell("exec", node)

    def exit(
        self, node: Node, status: int = 0, *, run_time_ns: int | None = None, cost: int | None = None
    ) -> None:
        self.advance()
        if not node.exit_ns:
            node.exit_ns = self._now_ns if run_time_ns is None else node.start_ns + run_time_ns
            node.exit_status, node.cost = status, cost
        self._tell("exit", node)

    def _tell(self, kind: str, node: Node) -> None:
        """As a client has it: a copy of all, and of the ancestors no more than a chain shows."""
        way: list[Node] = []
        current = node.parent
        while current is not None:
            if len(way) == _WAY_MAX:
                current = self._me  # nobody looks at more: the nearest known one ends the search
            way.append(Node(current.pid, 0, current.ppid, current.source, None, current.cmd, current.source, 0))
            current = current.parent
        copy = Node(node.pid, node.start_ns, node.ppid, Source.FORK, None, node.cmd, node.source, node.uid)
        for name in ("cmdline", "exit_ns", "exit_status", "cost", "former", "adopter_pid"):
            setattr(copy, name, getattr(node, name))
        self.family.take(Told(KINDS[kind], self._now_ns, Walk((copy, *way), None, None), None))


def frozen(member: Member) -> Process:
    """The facts of a member, all of root."""
    node = member.node
    return freeze(
        node,
        current_ppid=node.last_ppid,
        current_parent=member.adopter,
        user="root" if not node.uid else str(node.uid),
        birth_user="root",
        booted_ns=BOOT_WALL_NS,
        is_alive=not node.exit_ns,
    )
