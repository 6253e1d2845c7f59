"""The mappings of the public API over a table: PID -> `PidNode`, PID -> `ProcInfo`.

Both can stand on one table (as in an `Engine`) or each on its own. They are thread-safe, and count hits and
misses; looking changes nothing in what is evicted next. What is put in by hand lives until it is removed or
an Exit event of it is applied.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import TYPE_CHECKING, TypeVar

from cachetools import TTLCache

from ..kernel.users import UserNames
from ..process import Node, PidNode, ProcInfo, Source, is_name_read, known_name
from .tree import ProcessTree

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..kernel.procfs import ProcReader
    from .table import ProcessTable

V = TypeVar("V")
USER_NAMES_CAP = 4096
USER_NAMES_TTL_SECS = 600


class CountedTTLCache(TTLCache[int, str]):
    """A TTLCache that counts: hits, misses, and what left it for age or for room."""

    def __init__(self, maxsize: int, ttl: float, timer: Callable[[], float]) -> None:
        super().__init__(maxsize, ttl, timer=timer)
        self.hits = self.misses = self.expired = self.evicted = 0

    def get(self, key: int, default: str | None = None) -> str | None:  # type: ignore[override]
        """Look a key up, and count it."""
        try:
            value = self[key]
        except KeyError:
            self.misses += 1
            return default
        self.hits += 1
        return value

    def expire(self, time: float | None = None) -> list[tuple[int, str]]:
        """Remove what is too old; cachetools calls it before it looks and before it adds."""
        gone = super().expire(time)
        self.expired += len(gone)
        return gone

    def popitem(self) -> tuple[int, str]:
        """Remove the one used longest ago; cachetools calls it to make room."""
        self.evicted += 1
        return super().popitem()


def new_user_names(timer: Callable[[], int]) -> tuple[UserNames, CountedTTLCache]:
    """Make the names of users with a bounded cache; `timer` in nanoseconds."""
    cache = CountedTTLCache(USER_NAMES_CAP, USER_NAMES_TTL_SECS, lambda: timer() / 1e9)
    return UserNames(cache), cache


class _TableMapping(MutableMapping[int, V]):
    """What both mappings share: a table, its lock, and how they are counted."""

    def __init__(self, table: ProcessTable) -> None:
        self.table = table
        self.hits = 0
        self.misses = 0

    def _show(self, node: Node) -> V | None:
        """Give the value for a node; None where this mapping has none for it."""
        raise NotImplementedError

    def _put(self, pid: int, value: V) -> None:
        raise NotImplementedError

    def __getitem__(self, pid: int) -> V:
        with self.table.lock:
            self.table.expire()
            node = self.table.newest.get(pid)
            value = self._show(node) if node is not None else None
            if value is None:
                self.misses += 1
                raise KeyError(pid)
            self.hits += 1
            return value

    def __setitem__(self, pid: int, value: V) -> None:
        with self.table.lock:
            self._put(pid, value)

    def __delitem__(self, pid: int) -> None:
        with self.table.lock:
            if pid not in self:
                raise KeyError(pid)
            self.table.forget(self.table.newest[pid])

    def __contains__(self, pid: object) -> bool:
        with self.table.lock:
            self.table.expire()
            node = self.table.newest.get(pid) if isinstance(pid, int) else None
            return node is not None and self._show(node) is not None

    def __iter__(self) -> Iterator[int]:
        with self.table.lock:
            self.table.expire()
            pids = [pid for pid, node in self.table.newest.items() if self._show(node) is not None]
        return iter(pids)

    def __len__(self) -> int:
        return sum(1 for _ in iter(self))

    def items(self) -> ItemsView[int, V]:
        """Give what is there now; what goes while it is iterated stays in it."""
        return self._now().items()

    def values(self) -> ValuesView[V]:
        """Give what is there now; what goes while it is iterated stays in it."""
        return self._now().values()

    def _now(self) -> dict[int, V]:
        with self.table.lock:
            self.table.expire()
            shown = ((pid, self._show(node)) for pid, node in self.table.newest.items())
            return {pid: value for pid, value in shown if value is not None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} processes)"

    def _own(self, pid: int, start_ns: int) -> Node | None:
        """Give the process to change by hand; None where that would be another one (by its start)."""
        node = self.table.newest.get(pid)
        if node is None or node.start_ns == start_ns != 0:
            return node
        is_another = node.start_ns and start_ns
        if is_another and not node.exit_ns:
            self.table.retire(node, self.table.timer(), None)
        return None if is_another or node.exit_ns else node


class PidTree(_TableMapping[PidNode]):
    """PID -> `PidNode`: thread-safe, bounded; the living and their ancestors are never evicted."""

    def __init__(self, table: ProcessTable, reader: ProcReader | None = None) -> None:
        super().__init__(table)
        self.process_tree = ProcessTree(table, reader)
        self._waiting: dict[int, list[Node]] = {}  # put by hand before their parents, by ppid

    def _show(self, node: Node) -> PidNode:
        return PidNode(node.ppid or 0, node.cmd if is_name_read(node) else "", node.start_ns)

    def _put(self, pid: int, value: PidNode) -> None:
        node = self._own(pid, value.start_time_ns)
        if node is None:
            node = Node(pid, value.start_time_ns, value.ppid, Source.MANUAL, None, "", Source.MANUAL, None)
            self.table.add(node)
        self.table.relink(node, None)
        node.ppid, node.ppid_source = value.ppid, Source.MANUAL
        node.cmd, node.source = value.cmd, Source.MANUAL
        node.start_ns = value.start_time_ns
        self.process_tree.link_by_ppid(node)
        if node.parent is None and node.ppid:
            self._waiting.setdefault(node.ppid, []).append(node)
        for child in self._waiting.pop(pid, ()):
            self.process_tree.link_by_ppid(child)


class ProcCache(_TableMapping[ProcInfo]):
    """PID -> `ProcInfo`: thread-safe, bounded; has a process once its name and user were read."""

    def __init__(self, table: ProcessTable, users: UserNames) -> None:
        super().__init__(table)
        self.users = users

    def _show(self, node: Node) -> ProcInfo | None:
        if node.uid is None or not is_name_read(node):
            return None
        user = self.users.name(node.uid) if isinstance(node.uid, int) else node.uid
        return ProcInfo(known_name(node) or "", user, node.ppid or 0, node.pid, node.start_ns)

    def _put(self, pid: int, value: ProcInfo) -> None:
        node = self._own(pid, value.start_time_ns)
        if node is None:
            node = Node(pid, value.start_time_ns, value.ppid, Source.MANUAL, None, "", Source.MANUAL, None)
            self.table.add(node)
        node.cmd, node.source = value.cmd, Source.MANUAL
        node.uid = value.user
        node.start_ns = value.start_time_ns
