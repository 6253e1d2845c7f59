"""What the kernel's exit records bring: the last name, the user, how it ended, and what it cost.

A record is written by the kernel when a thread ends, so nothing races; but it tells neither arguments nor the
names before, and its clock is coarse. It fills what is missing of a process and overwrites nothing that is known,
but where renames may have been missed. Of a process with several threads each has a record; the one that ends
last is the process's, and bytes are the sum of all (kernel/exit_record.py says what was seen of them).

Records carry a pid and how long the thread lived, to the microsecond. The kernel queues one before the Exit of the
same thread, and they come in the order of the ends: a record belongs to the oldest owner of its pid that has none
yet and lived for so long. It may be read before the messages of the connector that tell of the process at all,
or of its last exec or its end; then it is kept until these have been read.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING

from ..kernel.clocks import TICK_NS
from ..process import Source, decode_name, is_name_certain, pack_cost

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..kernel.exit_record import ExitRecord
    from ..process import Node
    from .tree import ProcessTree

_SHORTER_NS = 2_000_000  # a process was seen to live for that much less than its record says, at most
_LONGER_NS = 2_000_000_000  # and for that much longer: to give a large memory back takes time, and so does a queue
_NEVER = 1 << 62
_PARTS_MAX = 1 << 16
_EARLY_MAX = 1 << 16
_UNTOLD_MAX = 4096


class _Parts:
    """What the threads of one process have left, until the last of them ends."""

    __slots__ = ("began_ns", "cmd", "cpu_us", "elapsed_us", "read_bytes", "write_bytes")

    def __init__(self, began_ns: int) -> None:
        self.began_ns = began_ns  # when the first of them had ended
        self.cmd: bytes | None = None  # the leader's
        self.elapsed_us: int | None = None  # the leader's
        self.cpu_us = self.read_bytes = self.write_bytes = 0

    def add(self, record: ExitRecord) -> None:
        self.cpu_us += record.cpu_us
        self.read_bytes += record.read_bytes
        self.write_bytes += record.write_bytes
        if record.tid == record.pid:
            self.cmd, self.elapsed_us = record.cmd, record.elapsed_us


class ExitRecords:
    """Applies exit records to the processes of a tree; `may_miss_renames` says whose renames may be missing."""

    def __init__(self, tree: ProcessTree, may_miss_renames: Callable[[Node], bool]) -> None:
        self._tree = tree
        self._table = tree.table
        self._may_miss_renames = may_miss_renames
        self._parts: dict[int, _Parts] = {}  # by pid
        self._untold: dict[Node, ExitRecord] = {}  # whose Exit had not come when the record did
        # With when they came, of processes that are not known yet, or not known to have ended.
        self._early: list[tuple[ExitRecord, _Parts | None, int]] = []
        self._early_pids: set[int] = set()
        self._caught_up_ns = 0
        self.applied = 0  # to processes
        self.unmatched = 0  # of processes that are not known

    def apply(self, record: ExitRecord) -> None:
        """Take in one record."""
        pid = record.tid if record.pid is None else record.pid
        # Before 5.19 a record does not say whose thread it was: the leader's is taken for the process's.
        if record.is_last_of_group is False:
            self._add_part(pid, record)
            return
        parts = self._parts.pop(pid, None)
        if parts is not None:
            parts.add(record)
        came_ns = self._table.timer()
        # Behind one that came too early, for the owner of the pid before, another one has to wait too.
        if pid in self._early_pids or not self._apply_last(record, parts, came_ns):
            if len(self._early) >= _EARLY_MAX:
                self.unmatched += len(self._early)
                self._early.clear()
                self._early_pids.clear()
            self._early.append((record, parts, came_ns))
            self._early_pids.add(pid)

    @property
    def has_early(self) -> bool:
        """Whether some came too early: `catch_up` is to be called again."""
        return bool(self._early)

    def catch_up(self, applied_ns: int) -> None:
        """Apply what came too early; `applied_ns` is until when all that the connector sent has been applied.

        What came long before that has an Exit that was lost, or is of a process that is not known.
        """
        if not self._early or applied_ns <= self._caught_up_ns:
            return
        self._caught_up_ns = applied_ns
        early, self._early = self._early, []
        self._early_pids.clear()
        for record, parts, came_ns in early:
            is_late = came_ns + _LONGER_NS < applied_ns
            pid = record.tid if record.pid is None else record.pid
            if pid in self._early_pids or not self._apply_last(record, parts, came_ns, may_live=is_late):
                if is_late:
                    self.unmatched += 1
                else:
                    self._early.append((record, parts, came_ns))
                    self._early_pids.add(pid)

    def _apply_last(
        self, record: ExitRecord, parts: _Parts | None, came_ns: int, *, may_live: bool = False
    ) -> bool:
        """Apply the last record of a process; false where that is not known, or not known to have ended."""
        pid = record.tid if record.pid is None else record.pid
        # Where the leader ended before others it is known how long it lived, and the process for longer.
        elapsed_us = record.elapsed_us if record.tid == pid else None if parts is None else parts.elapsed_us
        node = self._owner(pid, elapsed_us, came_ns, is_least=record.tid != pid)
        if node is None or not (node.exit_ns or may_live):
            return False
        self.applied += 1
        if parts is not None and parts.began_ns < node.start_ns:
            parts = None  # of a former owner of the pid, whose last record was lost
        self._fill(node, record, parts.cmd if parts is not None else record.cmd if record.tid == pid else None)
        node.cost = _cost(record, parts)
        if not node.exit_ns:
            self._remember(node, record)
        elif node.exit_status is None:
            self._fill_end(node, record)
        if self._table.recorder is not None:
            self._table.recorder.mark(node)
        return True

    def settle(self) -> None:
        """Say how those ended whose Exit never came, as a scan has noticed meanwhile."""
        for node, record in self._untold.items():
            if node.exit_ns and node.exit_status is None:
                self._fill_end(node, record)
        self._forget_told()

    def _add_part(self, pid: int, record: ExitRecord) -> None:
        parts = self._parts.get(pid)
        if parts is None:
            if len(self._parts) >= _PARTS_MAX:  # of processes whose last record was lost
                self._parts.clear()
            parts = self._parts[pid] = _Parts(self._table.timer())
        parts.add(record)

    def _owner(self, pid: int, elapsed_us: int | None, came_ns: int, *, is_least: bool) -> Node | None:
        """Find whose record it is: `elapsed_us` is how long that process lived (at least), where that is told."""
        # While the machine sleeps, a record's clock stands still, and those of processes go on.
        found, found_surplus_ns = None, _LONGER_NS + TICK_NS + 1 + self._tree.to_boottime_ns
        for node in self._table.owners(pid):
            if node.cost is None:
                surplus_ns = _surplus_ns(node, elapsed_us, came_ns)
                if is_least and surplus_ns != _NEVER:
                    surplus_ns = 0
                # The oldest of those that fit well; else, where records were lost, the one that fits best.
                if surplus_ns <= max(_SHORTER_NS, found_surplus_ns - 1):
                    found, found_surplus_ns = node, surplus_ns
        return found

    def _fill(self, node: Node, record: ExitRecord, cmd: bytes | None) -> None:
        name = node.cmd if cmd is None else decode_name(cmd)
        if node.cmd != name or (cmd is not None and not is_name_certain(node)):
            is_birth_name = node.source == Source.INHERITED
            if is_birth_name or not is_name_certain(node) or self._may_miss_renames(node):
                node.cmd, node.source, node.full_name = intern(name), Source.EXIT_RECORD, None
        if node.uid is None:
            node.uid = node.birth_uid = record.uid
        if not node.start_ns and node.exit_ns and record.tid == node.pid:
            node.start_ns = max(1, node.exit_ns - record.elapsed_us * 1000)
        if node.ppid is None:
            node.ppid, node.ppid_source = record.ppid, Source.EXIT_RECORD
            self._tree.link_by_ppid(node)

    def _fill_end(self, node: Node, record: ExitRecord) -> None:
        node.exit_status = record.exit_status
        if record.tid == node.pid and node.start_ns:
            node.exit_ns = min(node.exit_ns, node.start_ns + record.elapsed_us * 1000)

    def _remember(self, node: Node, record: ExitRecord) -> None:
        if len(self._untold) >= _UNTOLD_MAX:
            self._forget_told()
        if len(self._untold) < _UNTOLD_MAX:
            self._untold[node] = record

    def _forget_told(self) -> None:
        self._untold = {node: record for node, record in self._untold.items() if node.exit_status is None}


def _surplus_ns(node: Node, elapsed_us: int | None, came_ns: int) -> int:
    """By how much a process lived for longer than its record says, that came then; _NEVER where for less."""
    if elapsed_us is None or not node.start_ns:
        return 0
    surplus_ns = (node.exit_ns or came_ns) - node.start_ns - elapsed_us * 1000  # a start from /proc: to a tick
    return surplus_ns if surplus_ns >= 0 else 0 if surplus_ns >= -_SHORTER_NS else _NEVER


def _cost(record: ExitRecord, parts: _Parts | None) -> int:
    cpu_us = record.cpu_us if record.group_cpu_us is None else record.group_cpu_us
    if parts is None:
        return pack_cost(cpu_us, record.max_rss_bytes, record.read_bytes, record.write_bytes)
    return pack_cost(max(cpu_us, parts.cpu_us), record.max_rss_bytes, parts.read_bytes, parts.write_bytes)
