"""What happens to processes, told event by event, with a clock moved by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proc_cache.engine.losses import LossLedger
from proc_cache.engine.scan import scan_at_once
from proc_cache.engine.table import ProcessTable
from proc_cache.engine.tree import ProcessTree
from proc_cache.engine.view import View
from proc_cache.events import Comm, Exec, Exit, Fork, Sid, Uid
from proc_cache.kernel.users import UserNames
from proc_cache.process import CacheParams

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proc_cache.kernel.procfs import ProcReader, Sighting
    from proc_cache.process import Node

SECOND_NS = 1_000_000_000
STEP_NS = SECOND_NS  # between two events: far beyond a clock tick
BEGINNING_NS = 1000 * SECOND_NS

USER_NAMES = {0: "root", 1000: "alice", 1001: "bob"}


class Story:
    """A table and a tree; each method is one event, a second after the one before unless `at_ns` says when."""

    def __init__(self, *, capacity: int = 1000, ttl_s: float = 600, reader: ProcReader | None = None) -> None:
        self.now_ns = BEGINNING_NS
        self.table = ProcessTable(CacheParams(capacity, ttl_s), lambda: self.now_ns)
        self.reader = reader
        self.tree = ProcessTree(self.table, reader)
        self.ledger = LossLedger()
        self.view = View(self.table, reader, UserNames(dict(USER_NAMES)), self.ledger)

    def fork(self, parent: int, child: int, *, parent_tid: int | None = None, at_ns: int | None = None) -> Node:
        node = self.late_fork(parent, child, parent_tid=parent_tid, at_ns=self._tick(at_ns))
        assert node is not None
        return node

    def late_fork(self, parent: int, child: int, *, parent_tid: int | None = None, at_ns: int) -> Node | None:
        return self.tree.fork(Fork(0, 0, at_ns, parent_tid or parent, parent, child, child))

    def thread(self, pid: int, tid: int) -> None:
        told = self.tree.fork(Fork(0, 0, self._tick(None), 1, 1, tid, pid))
        assert told is None, "a thread is no process"

    def exec(self, pid: int, *, tid: int | None = None, at_ns: int | None = None) -> Node | None:
        return self.tree.exec(Exec(0, 0, self._tick(at_ns), tid or pid, pid))

    def exit(
        self, pid: int, *, status: int = 0, parent: int = 1, tid: int | None = None, at_ns: int | None = None
    ) -> Node | None:
        signal = 17 if tid in (None, pid) else -1 & 0xFFFFFFFF
        return self.tree.exit(Exit(0, 0, self._tick(at_ns), tid or pid, pid, status, signal, parent, parent))

    def comm(self, pid: int, name: bytes, *, tid: int | None = None, at_ns: int | None = None) -> Node | None:
        return self.tree.comm(Comm(0, 0, self._tick(at_ns), tid or pid, pid, name))

    def uid(self, pid: int, euid: int, *, ruid: int = 0, tid: int | None = None) -> Node | None:
        return self.tree.uid(Uid(0, 0, self._tick(None), tid or pid, pid, ruid, euid))

    def sid(self, pid: int) -> Node | None:
        return self.tree.sid(Sid(0, 0, self._tick(None), pid, pid))

    def scan(self, sightings: Iterable[Sighting], *, began_ns: int | None = None, is_whole: bool = True) -> None:
        """A scan that took a second, unless `began_ns` says when it began; it ends now."""
        self._tick(None)
        began_ns = self.now_ns - STEP_NS if began_ns is None else began_ns
        scan_at_once(self.tree, sightings, began_ns, is_whole=is_whole)

    def node(self, pid: int) -> Node:
        return self.table.newest[pid]

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)

    def _tick(self, at_ns: int | None) -> int:
        if at_ns is not None:
            return at_ns
        self.now_ns += STEP_NS
        return self.now_ns


def lineage(node: Node | None) -> list[int]:
    """The pids from a process up to the last that is retained."""
    pids = []
    while node is not None:
        pids.append(node.pid)
        node = node.parent
    return pids


def is_sound(table: ProcessTable) -> bool:
    """Whether the books of a table agree: children counted, ancestors retained, the dead counted."""
    retained = list(table.nodes())
    ids = {id(node) for node in retained}
    assert len(ids) == len(retained), "a node is retained twice"
    children: dict[int, int] = {}
    for node in retained:
        if node.parent is not None:
            assert id(node.parent) in ids, f"{node} is retained, its parent is not"
            children[id(node.parent)] = children.get(id(node.parent), 0) + 1
    for node in retained:
        assert node.children == children.get(id(node), 0), f"{node} counts {node.children} children"
    assert table.held <= set(retained), "one is held that is not retained"
    assert all(node.exit_ns and node.children for node in table.held), "one is held for nothing"
    assert table.dead == sum(1 for node in retained if node.exit_ns), "the dead are miscounted"
    return True
