"""Bringing the table in line with what /proc shows, whole or in pieces between two looks at the kernel's queue."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..kernel.procfs import Sighting
    from ..process import Node
    from .tree import ProcessTree

_NODES_AT_ONCE = 4096  # looked at for who is gone: a millisecond


class Scan:
    """One scan: `take` what /proc shows, then `finish` in steps. What happens meanwhile is applied between them.

    `began_ns` is when it began: what started later may be missing from it. What is known of a pid is the same
    process only where its start is the same; a name that is known from an event stays.
    """

    def __init__(self, tree: ProcessTree, began_ns: int) -> None:
        self._tree = tree
        self._began_ns = began_ns
        tree.scan_began_ns = tree.scan_ended_ns = began_ns
        self.seen: list[Node] = []
        self._ended: list[Node] = []
        self._has_root = False

    def take(self, sightings: Iterable[Sighting]) -> None:
        """Take in what /proc shows at this moment."""
        tree = self._tree
        tree.scan_ended_ns = tree.table.timer()
        for sighting in sightings:
            node, is_zombie = tree.adopt(sighting)
            self.seen.append(node)
            if is_zombie:
                self._ended.append(node)
            self._has_root = self._has_root or sighting.stat.pid == 1

    def finish(self, *, is_whole: bool | None = None) -> Iterator[None]:
        """Link what was found, and end what is gone, a step at a time.

        Where PID 1 was not shown, /proc hides processes from this user, and the scan is not whole: what it does
        not show need not have ended. `is_whole` says so where it is known otherwise.
        """
        for node in self.seen:
            self._tree.link_by_ppid(node)
        self._end(self._ended)
        if self._has_root if is_whole is None else is_whole:
            present = set(self.seen)
            newest = iter(list(self._tree.table.newest.values()))  # only the newest owner of a pid can live
            while some := list(islice(newest, _NODES_AT_ONCE)):
                self._end([node for node in some if node.start_ns < self._began_ns and node not in present])
                yield

    def _end(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if not node.exit_ns:
                self._tree.note_end(node)


def scan_at_once(
    tree: ProcessTree, sightings: Iterable[Sighting], began_ns: int, *, is_whole: bool | None = None
) -> list[Node]:
    """Take in a whole scan; returns the processes seen."""
    scan = Scan(tree, began_ns)
    scan.take(sightings)
    for _ in scan.finish(is_whole=is_whole):
        pass
    return scan.seen
