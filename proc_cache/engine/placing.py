"""Which place each process has: unit, container and terminal, in one tuple that all of one place share.

A place is inherited at the fork, as in the kernel. The terminal is told by what is read at an exec anyway. The
cgroup costs three system calls more, so it is read later, while nothing else waits, and of those alone that live
for longer than a moment: of who ran a program, or got another user or session (systemd, PAM and container runtimes
move processes shortly before), or was found by a scan. Where one has moved, its parent may have done so before it:
that one is read again too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..errors import ProcessHiddenError
from ..kernel.places import place_of, tty_name
from ..process import UNPLACED
from .identity import is_same_start

if TYPE_CHECKING:
    from typing import Any

    from ..kernel.procfs import ProcReader
    from ..process import Node, Place
    from .table import ProcessTable

SETTLE_NS = 20_000_000  # from an exec to the reading: most have ended by then
QUEUE_MAX = 1024
AT_ONCE = 4  # cgroups read between two looks at what the kernel sends: 100 us
SHARED_MAX = 4096


class Places:
    """Gives processes their places; call `read_some` while nothing else waits.

    Unless `is_reading` says that somebody does, nothing is kept to be read.
    """

    def __init__(self, table: ProcessTable, reader: ProcReader | None) -> None:
        self._table = table
        self._reader = reader
        self._queue: deque[tuple[int, Node]] = deque(maxlen=QUEUE_MAX)  # and since when
        self._unknown: dict[Node, None] = {}  # those of a scan
        self.is_reading = False
        self._shared: dict[Place, Place] = {}
        self._ttys: dict[int, str] = {0: ""}

    # --- what is told -----------------------------------------------------------------------------------

    def take_tty(self, node: Node, tty_nr: int) -> None:
        """Note the terminal that /proc/PID/stat told of."""
        tty = self._ttys.get(tty_nr)
        if tty is None:
            _bound(self._ttys)
            tty = self._ttys[tty_nr] = tty_name(tty_nr)
        place = node.place
        if place is None or place[2] != tty:
            self._set_tty(node, tty)

    def leave_tty(self, node: Node) -> None:
        """Note that it has none any more: it leads a new session (setsid(2))."""
        self._set_tty(node, "")

    def ask_later(self, node: Node, time_ns: int) -> None:
        """Have the cgroup of a process read that may have been moved at this time (CLOCK_BOOTTIME)."""
        if self.is_reading:
            self._queue.append((time_ns, node))

    def ask_if_unknown(self, node: Node) -> None:
        """Have the cgroup of a process read where nothing is known of it."""
        if self.is_reading and (node.place is None or node.place[0] is None):
            self._unknown[node] = None

    def _set_tty(self, node: Node, tty: str) -> None:
        unit, container, _ = node.place or UNPLACED
        node.place = self._share((unit, container, tty))

    # --- what is read -----------------------------------------------------------------------------------

    def rest_s(self) -> float | None:
        """Tell in how many seconds something is to be read, None where nothing is."""
        if self._unknown:
            return 0.0
        if not self._queue:
            return None
        return max(0.0, (self._queue[0][0] + SETTLE_NS - self._table.timer()) / 1e9)

    def read_some(self) -> None:
        """Read a few of those that are due."""
        if not self._queue and not self._unknown:
            return
        due_ns = self._table.timer() - SETTLE_NS
        left = AT_ONCE
        while left and self._queue and self._queue[0][0] <= due_ns:
            left -= self._read(self._queue.popleft()[1])
        while left and self._unknown:
            left -= self._read(self._unknown.popitem()[0])

    def _read(self, node: Node) -> bool:
        """Read where a process is, unless it has ended; tells whether there was anything to read."""
        if node.exit_ns or self._reader is None:
            return False
        place = read_place(self._reader, node)
        if place is None:
            return True
        has_moved = node.place is None or node.place[:2] != place[:2]
        node.place = self._share(place)
        if has_moved:
            self._has_moved(node, place[0])
        return True

    def _has_moved(self, node: Node, unit: str | None) -> None:
        if self._table.recorder is not None:
            self._table.recorder.mark(node)
        parent = node.parent
        if parent is not None and not parent.exit_ns and parent.place is not None and parent.place[0] != unit:
            self._unknown[parent] = None

    def _share(self, place: Place) -> Place:
        _bound(self._shared)
        return self._shared.setdefault(place, place)


def read_place(reader: ProcReader, node: Node) -> Place | None:
    """Read the whole place of a process, cgroup and terminal; None where it is gone or hidden."""
    try:
        data = reader.cgroup(node.pid)
        # What has the pid and that start now had it when the cgroup was read.
        stat = None if data is None else reader.stat(node.pid)
    except (ProcessHiddenError, OSError):  # or no descriptor is left: an answer may do better
        return None
    if data is None or stat is None or not is_same_start(node.start_ns, stat.start_ns):
        return None
    return place_of(data, stat.tty_nr)


def _bound(cache: dict[Any, Any]) -> None:
    if len(cache) >= SHARED_MAX:
        cache.clear()
