"""Floods: who sends so many messages of a kind that the rest would drown, and the filter that ends it.

Any user can rename a process a million times a second, or start and end threads by the ten thousand. Where more
messages come than a busy machine makes, they are counted by kind and process for a moment; what comes in
thousands a second from a few is then dropped in the kernel (kernel/socket_filter.py), for these processes
alone where they are few. The filter is lifted now and then, for longer and longer while the flood goes on, and
the engine scans /proc for what it was not told. Births and ends of processes are never dropped.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..events import Comm, Exit, Fork, Gid, Ptrace, Sid, Uid
from ..kernel import wire
from ..kernel.clocks import boottime_ns, monotonic_s
from ..kernel.socket_filter import PIDS_MAX, program
from ..process import known_name
from .stats import Flood

if TYPE_CHECKING:
    from typing import Any, Protocol

    from ..events import Event
    from ..process import Node
    from .losses import LossLedger
    from .table import ProcessTable

    class Filterable(Protocol):
        """A connector as far as it matters here."""

        def filter(self, instructions: bytes | None) -> bool:
            """Drop what these instructions drop, or nothing; false where that is refused."""

        def drops(self) -> int | None:
            """How many messages found no room, since it was opened."""


WINDOW_NS = 250_000_000
LEAST_SPAN_NS = 1_000_000
BUSY_PER_S = 20_000  # messages of all kinds a second, from which on they are counted for a window
BURST = 500  # messages at such a rate that are enough for it: of a flood, thousands are queued meanwhile
SAMPLE = 2_000  # messages that tell who it is
SAMPLE_AGAIN = 250  # that tell it of a flood that was let through again
FLOOD_LEAST = 1_000  # of one kind in a window, however short: a program may name its threads
FLOOD_PER_S = 5_000  # of one kind: beyond what programs do that mean no harm
OF_ONE_PER_S = 500  # from which on a process has a part in it
LIFTED_AFTER_NS = 2_000_000_000  # at first; twice as long each time the flood goes on
LIFTED_AFTER_MAX_NS = 60_000_000_000
RENAMED_FOR_NS = 1_000_000_000  # the exit record, which has the last name, waits for no longer (intake.py)
FLOODS_TOLD = 16

THREADS = "thread"
# What can be dropped, by the word for it: the kind of event, and what the kernel calls it.
_DROPPABLE: dict[str, tuple[type[Event], int]] = {
    "comm": (Comm, wire.PROC_EVENT_COMM),
    "uid": (Uid, wire.PROC_EVENT_UID),
    "gid": (Gid, wire.PROC_EVENT_GID),
    "sid": (Sid, wire.PROC_EVENT_SID),
    "ptrace": (Ptrace, wire.PROC_EVENT_PTRACE),
}
_WORDS: dict[type, str] = {kind: word for word, (kind, _) in _DROPPABLE.items()}


class FloodGuard:
    """Watches the rate of messages, and filters floods out. Call `look` before each look at the kernel's queue."""

    def __init__(self, connector: Filterable, ledger: LossLedger, table: ProcessTable) -> None:
        self._connector = connector
        self._ledger = ledger
        self._table = table
        self.is_sampling = False  # `sample` wants to be called with every message
        self.floods: list[Flood] = []  # the newest last
        self.count = 0  # of floods that were filtered
        # Whose messages of a kind are dropped now; None is everybody's.
        self.dropped: dict[str, set[int] | None] = {}
        self._renamed: set[int] | None = set()  # whose renames were dropped until just now
        self._renamed_until_ns = 0
        self._samples: Counter[tuple[str, int]] = Counter()
        self._began_ns = boottime_ns()
        self._messages = 0
        self._lift_at_ns = self._sample_again_ns = 0
        self._lifted_after_ns = LIFTED_AFTER_NS
        self._lifted: frozenset[str] = frozenset()  # the kinds that are let through again since the last window

    def look(self, messages: int) -> bool:
        """Look at the rate; `messages` is how many came so far. True where a scan is due.

        A window is as long as WINDOW_NS, or until as many have come as tell enough.
        """
        now_ns = boottime_ns()
        span_ns = max(LEAST_SPAN_NS, now_ns - self._began_ns)
        came = messages - self._messages
        per_second = came * 1_000_000_000 // span_ns
        if span_ns < WINDOW_NS and not self._tells_enough(came, per_second):
            return False
        self._began_ns, self._messages = now_ns, messages
        if now_ns >= self._renamed_until_ns:
            self._renamed = set()
        if self._lift_if_due(now_ns):
            self._samples.clear()  # of a time in which what may go on was dropped
            self.is_sampling = True
            return True
        if self.is_sampling:
            self._judge(span_ns, now_ns)
            self._sample_again_ns = now_ns + WINDOW_NS  # a flood of forks goes on, and nothing is to be done
        self.is_sampling = per_second > BUSY_PER_S and now_ns >= self._sample_again_ns
        return False

    def _tells_enough(self, came: int, per_second: int) -> bool:
        """Tell whether a window need not be whole: a flood fills the buffer within a fifth of a second."""
        if per_second <= BUSY_PER_S:
            return False
        if not self.is_sampling:
            return came >= BURST
        return came >= SAMPLE or (came >= SAMPLE_AGAIN and self._goes_on(came))

    def _goes_on(self, came: int) -> bool:
        """Tell whether much of what came is of a flood that was let through again."""
        again = sum(count for (word, _), count in self._samples.items() if word in self._lifted)
        return again * 4 > came

    def sample(self, kind: type[Event], fields: tuple[Any, ...]) -> None:
        """Count a message for whom it is about."""
        word = _WORDS.get(kind)
        if word is not None:
            self._samples[word, fields[4]] += 1
        elif kind is Fork:
            if fields[5] != fields[6]:
                self._samples[THREADS, fields[6]] += 1
        elif kind is Exit and fields[3] != fields[4]:
            self._samples[THREADS, fields[4]] += 1

    def is_dropping(self, kind: str, pid: int) -> bool:
        """Tell whether this kind of message of a process is not told now."""
        if kind not in self.dropped:
            return False
        pids = self.dropped[kind]
        return pids is None or pid in pids

    def may_have_renamed(self, pid: int) -> bool:
        """Tell whether a process may have another name than was told, and nothing has read it since."""
        return self.is_dropping("comm", pid) or self._renamed is None or pid in self._renamed

    def _judge(self, span_ns: int, now_ns: int) -> None:
        """Find floods in what was sampled, and drop them."""
        samples, self._samples = self._samples, Counter()
        lifted, self._lifted = self._lifted, frozenset()
        seconds = span_ns / 1e9
        is_new = False
        for word in {word for word, _ in samples}:
            counts = {pid: count for (of, pid), count in samples.items() if of == word}
            total = sum(counts.values())
            if total > max(FLOOD_PER_S * seconds, 0 if word in lifted else FLOOD_LEAST):
                is_new = self._drop(word, counts, total, seconds, now_ns) or is_new
        if is_new:
            self._filter(now_ns)
        elif not self.dropped:
            self._lifted_after_ns = LIFTED_AFTER_NS

    def _drop(self, word: str, counts: dict[int, int], total: int, seconds: float, now_ns: int) -> bool:
        """Add to what is dropped; false where all of it was already, and these are stragglers."""
        flooders = {pid for pid, count in counts.items() if count > OF_ONE_PER_S * seconds}
        is_of_few = sum(counts[pid] for pid in flooders) * 2 > total and len(flooders) <= PIDS_MAX
        before = self.dropped.get(word, set())
        if before is None or (is_of_few and flooders <= before):
            return False
        self.dropped[word] = before | flooders if is_of_few and len(before | flooders) <= PIDS_MAX else None
        worst = max(counts, key=lambda pid: counts[pid])
        self._tell(word, worst if is_of_few else None, int(total / seconds), now_ns)
        return True

    def _tell(self, word: str, pid: int | None, per_second: int, now_ns: int) -> None:
        node = self._table.newest.get(pid) if pid is not None else None
        cmd = known_name(node) if node is not None else None
        uid = node.uid if node is not None and isinstance(node.uid, int) else None
        self.floods = [flood for flood in self.floods if (flood.kind, flood.pid) != (word, pid)]
        self.floods.append(Flood(word, pid, cmd, uid, per_second, now_ns))
        del self.floods[:-FLOODS_TOLD]
        self.count += 1

    def _filter(self, now_ns: int) -> None:
        drops = self._connector.drops()
        kinds = {_DROPPABLE[word][1]: pids for word, pids in self.dropped.items() if word != THREADS}
        threads_of = self.dropped.get(THREADS, set())
        if drops is None or not self._connector.filter(program(kinds, threads_of)):
            self._lift()  # an old kernel: the flood has to be borne
            return
        self._ledger.begin_filter(drops, now_ns)
        self._lift_at_ns = now_ns + self._lifted_after_ns
        self._lifted_after_ns = min(2 * self._lifted_after_ns, LIFTED_AFTER_MAX_NS)

    def _lift_if_due(self, now_ns: int) -> bool:
        if not self.dropped:
            return False
        if now_ns < self._lift_at_ns and not self._are_all_gone():
            return False
        self._lifted = frozenset(self.dropped)
        self._lift()
        return True

    def _lift(self) -> None:
        self._renamed = self.dropped.get("comm", set())
        self._renamed_until_ns = boottime_ns() + RENAMED_FOR_NS
        self.dropped.clear()
        self._connector.filter(None)
        if self._ledger.is_filtered:
            self._ledger.end_filter(int(monotonic_s() * 1e9))

    def _are_all_gone(self) -> bool:
        """Tell whether no flooder lives: each is known by its pid, which a new process must not inherit."""
        newest = self._table.newest
        return all(
            pids is not None and all(_has_ended(newest.get(pid)) for pid in pids) for pids in self.dropped.values()
        )


def _has_ended(node: Node | None) -> bool:
    return node is None or bool(node.exit_ns)
