"""The engine: listener, tree, caches and statistics in one place; every command asks it.

One thread, one loop: subscribe, scan /proc, then apply what queued up in between, so that nothing falls
through. It draws nothing. A loss is counted, and repaired by another scan once the queue is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import query
from ..closing import Closing
from ..errors import MalformedMessageError
from ..kernel import clocks
from ..kernel.netlink import ProcConnector
from ..kernel.procfs import ProcReader
from ..kernel.wire import unpack
from ..process import PID_TREE_CAP, PID_TREE_TTL_SECS, CacheParams
from .cache import PidTree, ProcCache, new_user_names
from .losses import SEQ_MASK, LossLedger
from .stats import CacheStats, Stats
from .table import ProcessTable
from .view import View

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..events import Event
    from ..process import Node
    from ..times import Moment

    Observer = Callable[[Event, Node], None]

BATCH = 512  # datagrams received before timers and callers get their turn


class Engine(Closing):
    """Knows which processes there are and were. Use it as a context manager, or call `close()`.

    `observer` is called with every event that was about a process, right after it was applied, with the
    process as it is then; it must be quick, for the kernel's queue is waiting. `before_pump` is called
    before each look at that queue, `when_idle` where it was found empty.
    """

    def __init__(
        self,
        params: CacheParams | None = None,
        *,
        reader: ProcReader | None = None,
        timer: Callable[[], int] = clocks.boottime_ns,
    ) -> None:
        self.reader = reader or ProcReader()
        self.table = ProcessTable(params or CacheParams(PID_TREE_CAP, PID_TREE_TTL_SECS), timer)
        users, self._user_cache = new_user_names(timer)
        self.tree = PidTree(self.table, self.reader)
        self.cache = ProcCache(self.table, users)
        self.ledger = LossLedger()
        self.view = View(self.table, self.reader, users, self.ledger)
        self.observer: Observer | None = None
        self.before_pump: Callable[[], None] | None = None
        self.when_idle: Callable[[], None] | None = None
        self._process_tree = self.tree.process_tree
        self._connector: ProcConnector | None = None
        self._last = self.ledger.last
        self._messages = self._applied = self._malformed = self._scans = 0
        self._needs_scan = False

    # --- life -------------------------------------------------------------------------------------------

    def start(self, connector: ProcConnector | None = None) -> None:
        """Listen, scan, and apply what came in between. Raises ConnectorUnavailableError."""
        self.listen(connector or ProcConnector.open())
        self.view.since_ns = self.table.timer()
        self.scan()
        self.pump(0)

    def listen(self, connector: ProcConnector) -> None:
        """Take messages from this connector from now on; it is closed with the engine."""
        self.close()
        self._connector = connector

    def close(self) -> None:
        """Stop listening. What is known stays and can be asked."""
        if self._connector is not None:
            self._connector.close()
            self._connector = None

    def fileno(self) -> int:
        """Give the connector's descriptor, for a loop of one's own around `pump(0)`."""
        assert self._connector is not None
        return self._connector.fileno()

    # --- input ------------------------------------------------------------------------------------------

    def pump(self, timeout_s: float) -> bool:
        """Apply the messages that are there, waiting at most so long for one; false where none came."""
        connector = self._connector
        assert connector is not None
        if self.before_pump is not None:
            self.before_pump()
        received = self._receive_batch(connector)
        if not received and timeout_s:
            if self.when_idle is not None:
                self.when_idle()
            if connector.wait(timeout_s):
                received = self._receive_batch(connector)
        with self.table.lock:
            self.table.expire(BATCH)
        # A loss is repaired once the queue has been emptied: the scan itself takes time to read.
        if self._needs_scan and received < BATCH:
            self._needs_scan = False
            self.scan()
        return bool(received)

    def _receive_batch(self, connector: ProcConnector) -> int:
        """Receive and apply until nothing is waiting, BATCH at most; returns how many times."""
        self._process_tree.to_boottime_ns = clocks.monotonic_to_boottime_ns()
        with self.table.lock:
            return self._take(connector.receive)

    def apply(self, data: bytes) -> bool:
        """Apply the messages of one datagram; true where one of them was about a process."""
        with self.table.lock:
            before = self._applied
            self._take(iter((data, b"")).__next__)
            return self._applied > before

    def _take(self, receive: Callable[[], bytes | None]) -> int:
        """The hot loop: apply datagrams until there is none (b""); None is an overrun. Returns how many came."""
        last, handlers = self._last, self._process_tree.handlers
        for count in range(BATCH):
            data = receive()
            if not data:
                if data is not None:
                    return count
                self.ledger.overrun()
                self._needs_scan = True
                continue
            try:
                messages = unpack(data)
            except MalformedMessageError as error:
                self._malformed += 1
                messages = [(type(event), event) for event in error.events]
            self._messages += len(messages)
            for kind, fields in messages:
                cpu = fields[1]
                before = last.get(cpu)
                if before is None or fields[0] != before[0] + 1 & SEQ_MASK:
                    self._note_gap(fields)
                last[cpu] = fields
                handler = handlers.get(kind)
                if handler is None:
                    continue
                node = handler(fields)
                if node is not None:
                    self._applied += 1
                    if self.observer is not None:
                        self.observer(kind(*fields), node)
        return BATCH

    def _note_gap(self, fields: tuple[Any, ...]) -> None:
        if self.ledger.gap(fields, self._process_tree.to_boottime_ns):
            self._needs_scan = True

    def scan(self) -> list[Node]:
        """Read every process that /proc shows into the tree; returns them."""
        began_ns = self.table.timer()
        sightings = list(self.reader.see_all())
        # Where PID 1 is not shown, /proc hides processes from this user: absence proves nothing.
        is_whole = any(sighting.stat.pid == 1 for sighting in sightings)
        with self.table.lock:
            self._scans += 1
            return self._process_tree.scan(sightings, began_ns, is_whole=is_whole)

    # --- questions --------------------------------------------------------------------------------------

    def chain(self, pid: int, moment: Moment | None = None) -> query.Chain:
        """Give the ancestry of a process; with a moment, of the one that had the pid then."""
        with self.table.lock:
            return query.chain(self.view, pid, moment)

    def descent(
        self, pid: int, cmd: str, *, is_strict: bool = False, moment: Moment | None = None
    ) -> query.Descent:
        """Tell whether `pid`, or an ancestor of it, is named `cmd`."""
        with self.table.lock:
            return query.descent(self.view, pid, cmd, is_strict=is_strict, moment=moment)

    def stats(self) -> Stats:
        """Freeze the counters."""
        with self.table.lock:
            return self._freeze_stats()

    def _freeze_stats(self) -> Stats:
        table, users, view = self.table, self._user_cache, self.view
        capacity = table.params.capacity
        caches = (
            CacheStats(
                "processes",
                table.alive + table.dead,
                capacity,
                view.hits,
                view.misses,
                table.expired,
                table.evicted,
            ),
            CacheStats(
                "users",
                len(users),
                int(users.maxsize),
                users.hits,
                users.misses,
                users.expired,
                users.evicted,
            ),
        )
        tree = self._process_tree
        oldest = table.oldest_dead()
        return Stats(
            messages=self._messages,
            malformed=self._malformed,
            forks=tree.forks,
            execs=tree.execs,
            exits=tree.exits,
            unread=tree.unread,
            fallbacks=view.fallbacks,
            lost=self.ledger.lost,
            lost_is_exact=self.ledger.is_exact,
            overruns=self.ledger.overruns,
            scans=self._scans,
            alive=table.alive,
            dead=table.dead,
            oldest_exit_ns=oldest.exit_ns if oldest is not None else 0,
            receive_buffer_bytes=self._connector.receive_buffer_bytes if self._connector else 0,
            caches=caches,
        )
