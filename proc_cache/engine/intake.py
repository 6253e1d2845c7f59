"""What comes in while an engine listens, in the order of its haste.

| what                          | when                                                                      |
|-------------------------------|---------------------------------------------------------------------------|
| execs, by a lane of their own | at once, and between any two pieces of other work: the program may be gone |
|                               | in half a millisecond, and its name and arguments with it                 |
| all messages                  | every few milliseconds while they flow, by the batch: a third of the cost; |
|                               | as they come where this does not run at once when it is woken              |
| exit records                  | behind the messages, by the batch: whose Exit was applied has one waiting |
| a scan that repairs a loss    | in slices, while nothing else waits                                       |
| cgroups                       | likewise, of those that have run a program for a moment (placing.py)      |
| chores                        | a thousand times a second: priority, floods, eviction, recording          |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..closing import Closing
from ..errors import ExitRecordsUnavailableError, MalformedMessageError
from ..kernel import clocks, exit_record
from ..kernel.taskstats import RECORDS_AT_ONCE, ExitRecordSocket
from .floods import THREADS, FloodGuard
from .records import ExitRecords
from .scan import Scan
from .stats import IntakeStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from ..kernel.netlink import ProcConnector
    from ..kernel.procfs import ProcReader
    from ..process import Node
    from .losses import LossLedger
    from .messages import Messages
    from .tree import ProcessTree

    class Scheduling(Protocol):
        """The place that this thread has before others (kernel/priority.py)."""

        rung: str
        steps_back: int
        is_flooded: bool

        @property
        def runs_at_once(self) -> bool:
            """Whether it runs as soon as it is woken."""

        def adjust(self, messages: int, execs: int) -> None:
            """Adapt it to how many messages, and execs among them, have come so far."""


BATCH = 512  # datagrams received before timers and callers get their turn
BATCH_S = 0.005  # between two batches; execs do not wait for them
SMALL_BUFFER_BATCH_S = 0.001  # likewise, where the kernel gave a buffer for a few hundred messages only
LARGE_BUFFER_BYTES = 8 << 20
AT_ONCE = 16  # messages, or exit records, between two looks for execs
RECORD_BATCHES = 16  # of 64 exit records, at most, taken together
RECORDS_WAIT_S = 0.005  # of an exit record until it is taken, at most
CHORES_S = 0.001
EXPIRED_AT_ONCE = 64
LOOKS_KEPT_NS = 2_000_000_000  # what was read of a program, until its Exec has its turn, which may be lost
SCAN_SLICE_S = 0.0002
_FOREVER_S = 3600.0
_OVER = object()


class Intake(Closing):
    """Takes in what a connector brings: call `look()` again and again, and wait as long as `rest()` says.

    `before_chores` is called a thousand times a second at most, `when_idle` where nothing is to be done.
    """

    def __init__(
        self,
        connector: ProcConnector,
        messages: Messages,
        tree: ProcessTree,
        ledger: LossLedger,
        reader: ProcReader,
    ) -> None:
        self.connector = connector
        self._messages = messages
        self._tree = tree
        self._table = tree.table
        self._ledger = ledger
        self._reader = reader
        self.floods = FloodGuard(connector, ledger, tree.table)
        self.records = ExitRecords(tree, self._may_miss_renames)
        self.record_socket: ExitRecordSocket | None = None
        self.no_records: str | None = "not asked for"
        self.priority: Scheduling | None = None
        self.before_chores: Callable[[], None] | None = None
        self.when_idle: Callable[[], None] | None = None
        self.scans = 0
        self.longest_pause_s = 0.0  # between two looks, waiting aside
        self._repair: Iterator[None] | None = None  # a scan that is under way
        self._is_small = connector.receive_buffer_bytes < LARGE_BUFFER_BYTES
        self._has_flowed = False
        self._is_drained = True
        self._drained_ns = 0  # all that was sent before that is applied
        self._ends_recorded = 0
        self._recorded_s = self._looked_s = self._next_chores_s = self._next_batch_s = 0.0

    def close(self) -> None:
        """Stop listening."""
        self._messages.sample = None
        self.connector.close()
        if self.record_socket is not None:
            self.record_socket.close()

    # --- the loop ---------------------------------------------------------------------------------------

    def pump(self, timeout_s: float) -> bool:
        """Do all that is to be done, waiting at most so long for a message; false where none came."""
        received = newly = self.drain()
        while self.is_busy and newly < BATCH:
            newly = self.drain()
            received += newly
        if not received and timeout_s:
            received = self._wait_for_some(timeout_s)
        self.take_records()
        return bool(received)

    def _wait_for_some(self, timeout_s: float) -> int:
        """Wait for messages, with a rest now and then to do what is due, and apply them; returns how many came."""
        until_s, left_s = clocks.monotonic_s() + timeout_s, timeout_s
        while True:
            rest_s = self.rest()
            self.connector.wait(min(left_s, rest_s))
            self.has_waited()
            received = self.drain()  # also where none is there: something else is due
            if received or rest_s >= left_s:
                return received
            left_s = max(0.0, until_s - clocks.monotonic_s())

    def look(self) -> int:
        """Read the programs that have just been run; apply messages only where a batch of them is due.

        Returns how many came; fewer than BATCH: nothing was left waiting that is due.
        """
        now_s = self._note_pause()
        if now_s >= self._next_batch_s or not self._takes_batches():
            return self._drain(now_s)
        self.glance()
        if self.is_busy:
            self._repair_some()
        return 0

    def glance(self) -> None:
        """Read the programs that have just been run, in the middle of other work."""
        lane = self.connector.exec_lane
        if lane is not None:
            for pid, timestamp_ns in reversed(lane.take()):  # the newest is the likeliest to be there still
                self._tree.look_at(pid, timestamp_ns)
            self._looked_s = clocks.monotonic_s()

    def drain(self) -> int:
        """Apply the messages that are there, BATCH at most, and do what is due; returns how many came.

        Fewer than BATCH: nothing was left waiting.
        """
        return self._drain(self._note_pause())

    def rest(self) -> float:
        """Do what can be done while all is quiet; returns how many seconds it may be waited for messages."""
        # While messages flow, only an exec wakes us up, and the rest is taken by the batch.
        is_flowing = self._has_flowed and self._takes_batches()
        self.connector.hold_back(is_flowing)
        if is_flowing:
            return max(0.0, self._next_batch_s - clocks.monotonic_s())
        if self._may_have_records:
            return RECORDS_WAIT_S
        placing_s = self._tree.places.rest_s()
        if placing_s == 0:
            self._place_some()
            return 0.0
        if self.when_idle is not None:
            self.when_idle()
        return _FOREVER_S if placing_s is None else placing_s

    def _takes_batches(self) -> bool:
        """Tell whether it is enough to wake up for execs.

        Who does not run at once when woken does better to wake up for the fork before: the CPU is awake then.
        """
        if self.connector.exec_lane is None:
            return False
        priority = self.priority
        return priority is None or priority.runs_at_once or priority.is_flooded

    @property
    def is_busy(self) -> bool:
        """Whether something is to be done though the kernel sends nothing: look again, do not wait."""
        return self._repair is not None

    def has_waited(self) -> None:
        """Say that this thread had nothing to do until now: the time since its last look is no pause."""
        self._looked_s = clocks.monotonic_s()

    def _drain(self, now_s: float) -> int:
        if now_s >= self._next_chores_s:
            self._next_chores_s = now_s + CHORES_S
            self._do_chores()
        received = self._take_batch()
        self._has_flowed = received > 0
        if received < BATCH:
            self._next_batch_s = now_s + (SMALL_BUFFER_BATCH_S if self._is_small else BATCH_S)
            self._repair_some()
            self._place_some()
        self._take_records_if_many(received)
        return received

    def _note_pause(self) -> float:
        now_s = clocks.monotonic_s()
        if self._looked_s and now_s - self._looked_s > self.longest_pause_s:
            self.longest_pause_s = now_s - self._looked_s
        return now_s

    def _do_chores(self) -> None:
        self._tree.to_boottime_ns = clocks.monotonic_to_boottime_ns()
        if self.before_chores is not None:
            self.before_chores()
        if self.priority is not None:
            self.priority.adjust(self._messages.count, self._tree.execs)
        if self.floods.look(self._messages.count):
            self._messages.has_lost = True  # names, and threads, that were not told
        self._messages.sample = self.floods.sample if self.floods.is_sampling else None
        with self._table.lock:
            self._table.expire(EXPIRED_AT_ONCE)
            self._tree.forget_looks(self._table.timer() - LOOKS_KEPT_NS)

    # --- messages ---------------------------------------------------------------------------------------

    def _take_batch(self) -> int:
        """Receive and apply until nothing is waiting, BATCH at most; returns how many times."""
        is_filtered = self._ledger.is_filtered
        if is_filtered:
            is_of_threads = THREADS in self.floods.dropped
            self._tree.threads_untold = self._are_threads_untold if is_of_threads else None
        began_ns = self._table.timer()
        received, newly = 0, AT_ONCE
        while newly == AT_ONCE and received < BATCH:
            self.glance()
            with self._table.lock:
                newly = self._messages.take(self.connector.receive, AT_ONCE)
            received += newly
        self._is_drained = newly < AT_ONCE
        if self._is_drained:
            self._drained_ns = began_ns
        if is_filtered:
            self._count_drops()
        self._looked_s = clocks.monotonic_s()
        return received

    def _count_drops(self) -> None:
        drops = self.connector.drops()
        if drops is not None and self._ledger.count_drops(drops, self._table.timer()):
            self._messages.has_lost = True

    def _are_threads_untold(self, pid: int) -> bool:
        return self.floods.is_dropping(THREADS, pid)

    def _may_miss_renames(self, node: Node) -> bool:
        until_ns = node.exit_ns or self._table.timer()
        return self.floods.may_have_renamed(node.pid) or self._ledger.lost_between(node.start_ns, until_ns) > 0

    # --- exit records -----------------------------------------------------------------------------------

    def ask_for_records(self) -> None:
        """Take exit records too, where they can be had."""
        try:
            self.take_records_from(ExitRecordSocket.open())
        except ExitRecordsUnavailableError as error:
            self.no_records = str(error)

    def take_records_from(self, socket: ExitRecordSocket) -> None:
        """Take exit records from this socket from now on; it is closed with this."""
        self.record_socket = socket
        self.no_records = None

    def take_records(self) -> None:
        """Apply the exit records of all whose Exit was applied: call it before an answer that has to know them."""
        socket = self.record_socket
        if socket is None:
            return
        ends = self._tree.ends_seen
        # While messages wait, so many as have ended: the others would be of processes that are not known yet.
        due = RECORD_BATCHES if self._is_drained else -((self._ends_recorded - ends) // RECORDS_AT_ONCE)
        self._recorded_s = clocks.monotonic_s()
        self.records.catch_up(self._drained_ns)
        for _ in range(min(due, RECORD_BATCHES)):
            datagrams = socket.receive_batch()
            self._apply_records(datagrams, socket.family)
            self._ends_recorded += len(datagrams)
            if len(datagrams) < RECORDS_AT_ONCE:
                self._ends_recorded = ends
                break

    @property
    def _may_have_records(self) -> bool:
        """Whether some are waiting, or were read too early; of threads that are dropped nothing else tells."""
        has_ends = self._tree.ends_seen != self._ends_recorded
        return has_ends or self.records.has_early or THREADS in self.floods.dropped

    def _take_records_if_many(self, received: int) -> None:
        """Take records by the batch, for one at a time they cost five times as much; and behind the messages."""
        if not self._may_have_records:
            return
        waiting = self._tree.ends_seen - self._ends_recorded
        is_many = waiting >= RECORDS_AT_ONCE // 2 and received < BATCH
        if is_many or clocks.monotonic_s() - self._recorded_s > (RECORDS_WAIT_S if received < BATCH else 1.0):
            self.take_records()

    def _apply_records(self, datagrams: list[bytes], family: int) -> None:
        for begin in range(0, len(datagrams), AT_ONCE):
            self.glance()
            with self._table.lock:
                for datagram in datagrams[begin : begin + AT_ONCE]:
                    self._apply_record(datagram, family)

    def _apply_record(self, datagram: bytes, family: int) -> None:
        try:
            records = exit_record.decode(datagram, family)
        except MalformedMessageError:
            self._messages.malformed += 1
            return
        for record in records:
            self.records.apply(record)

    def stats(self) -> IntakeStats:
        """Freeze the counters."""
        priority = self.priority
        return IntakeStats(
            receive_buffer_bytes=self.connector.receive_buffer_bytes,
            longest_pause_ns=int(self.longest_pause_s * 1e9),
            scans=self.scans,
            records=self.records.applied,
            records_unmatched=self.records.unmatched,
            records_lost=(self.record_socket.lost or 0) if self.record_socket is not None else 0,
            no_records=self.no_records,
            floods=tuple(self.floods.floods),
            priority=None if priority is None else priority.rung,
            steps_back=0 if priority is None else priority.steps_back,
        )

    def _place_some(self) -> None:
        with self._table.lock:
            self._tree.places.read_some()

    # --- scans ------------------------------------------------------------------------------------------

    def scan_whole(self) -> list[Node]:
        """Take in all that /proc shows, at once; returns the processes seen."""
        with self._table.lock:
            scan = Scan(self._tree, self._table.timer())
            for _ in self._scan_in_steps(scan):
                pass
            return scan.seen

    def _scan_in_steps(self, scan: Scan) -> Iterator[None]:
        until_s = clocks.deadline_s(SCAN_SLICE_S)
        for sighting in self._reader.see_all():
            scan.take((sighting,))
            if not clocks.left_s(until_s):
                yield
                until_s = clocks.deadline_s(SCAN_SLICE_S)
        yield from scan.finish()
        self.records.settle()
        self.scans += 1

    def _repair_some(self) -> None:
        """Go on with the scan that a loss made necessary; the scan itself takes time that is given in slices."""
        if self._repair is None and self._messages.has_lost:
            self._messages.has_lost = False
            self._repair = self._scan_in_steps(Scan(self._tree, self._table.timer()))
        if self._repair is not None:
            with self._table.lock:
                if next(self._repair, _OVER) is _OVER:
                    self._repair = None
