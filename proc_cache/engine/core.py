"""The engine: listener, tree, caches and statistics in one place; every command asks it.

One thread, one loop: subscribe, scan /proc, then apply what queued up in between, so that nothing falls through.
It draws nothing. How what comes in is taken in while it listens stands in `intake`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import query
from ..closing import Closing
from ..kernel import clocks
from ..kernel.netlink import ProcConnector
from ..kernel.procfs import ProcReader
from ..process import PID_TREE_CAP, PID_TREE_TTL_SECS, CacheParams
from .cache import PidTree, ProcCache, new_user_names
from .losses import LossLedger
from .messages import Messages
from .scan import scan_at_once
from .stats import NOT_LISTENING, CacheStats, Stats
from .table import ProcessTable
from .view import View

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..events import Event
    from ..process import Node
    from ..times import Moment
    from .intake import Intake

    Observer = Callable[[Event, Node], None]


class Engine(Closing):
    """Knows which processes there are and were. Use it as a context manager, or call `close()`.

    `observer` is called with every event that was about a process, right after it was applied; it must be quick,
    for the kernel's queue is waiting.
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
        self.messages = Messages(self.tree.process_tree, self.ledger)
        self._observer: Observer | None = None
        self._intake: Intake | None = None

    # --- life -------------------------------------------------------------------------------------------

    def start(self, connector: ProcConnector | None = None) -> None:
        """Listen, scan, and apply what came in between. Raises ConnectorUnavailableError."""
        self.listen(connector or ProcConnector.open(has_exec_lane=True))
        if connector is None:
            self.intake.ask_for_records()
        self.view.since_ns = self.table.timer()
        self.scan()
        self.pump(0)

    def listen(self, connector: ProcConnector) -> None:
        """Take messages from this connector from now on; it is closed with the engine."""
        from .intake import Intake

        self.close()
        self.tree.process_tree.places.is_reading = True
        self.view.reads_places = True  # it may be asked before it has read all
        self._intake = Intake(connector, self.messages, self.tree.process_tree, self.ledger, self.reader)

    def close(self) -> None:
        """Stop listening. What is known stays and can be asked."""
        if self._intake is not None:
            self._intake.close()
            self._intake = None
            self.tree.process_tree.places.is_reading = False

    @property
    def intake(self) -> Intake:
        """What takes in what the kernel sends; there is one while the engine listens."""
        assert self._intake is not None, "the engine does not listen: call start()"
        return self._intake

    def fileno(self) -> int:
        """Give a descriptor that can be read when messages are there, for a loop of one's own around `pump(0)`."""
        return self.intake.connector.fileno()

    @property
    def observer(self) -> Observer | None:
        """Who is told of every event that was about a process, as an event, with the process as it is then."""
        return self._observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        if self._observer is not None:
            self.messages.taps.remove(self._observe)
        self._observer = observer
        if observer is not None:
            self.messages.taps.append(self._observe)

    def _observe(self, kind: type[Event], fields: tuple[Any, ...], node: Node) -> None:
        assert self._observer is not None
        self._observer(kind(*fields), node)

    # --- input ------------------------------------------------------------------------------------------

    def pump(self, timeout_s: float) -> bool:
        """Apply the messages that are there, waiting at most so long for one; false where none came."""
        return self.intake.pump(timeout_s)

    def apply(self, data: bytes) -> bool:
        """Apply the messages of one datagram; true where one of them was about a process."""
        with self.table.lock:
            before = self.messages.applied
            self.messages.take(iter((data, b"")).__next__, 2)
            return self.messages.applied > before

    def scan(self) -> list[Node]:
        """Read every process that /proc shows into the tree; returns them."""
        if self._intake is not None:
            return self._intake.scan_whole()
        began_ns = self.table.timer()
        with self.table.lock:
            return scan_at_once(self.tree.process_tree, self.reader.see_all(), began_ns)

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
        tree = self.tree.process_tree
        oldest = table.oldest_dead()
        taken = NOT_LISTENING if self._intake is None else self._intake.stats()
        of_intake: dict[str, Any] = {field: getattr(taken, field) for field in taken._fields}
        return Stats(
            **of_intake,
            messages=self.messages.count,
            malformed=self.messages.malformed,
            forks=tree.forks,
            execs=tree.execs,
            exits=tree.exits,
            unread=tree.unread,
            fallbacks=view.fallbacks,
            lost=self.ledger.lost,
            lost_is_exact=self.ledger.is_exact,
            overruns=self.ledger.overruns,
            filtered=self.ledger.filtered,
            alive=table.alive,
            dead=table.dead,
            oldest_exit_ns=oldest.exit_ns if oldest is not None else 0,
            caches=caches,
        )
