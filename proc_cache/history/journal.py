"""The engine's side of a recording: notes what changed, and hands it to the writer a little at a time.

A process is written a moment after it changed: most have ended by then, and are one row. Nothing here waits:
while the writer is slow the marks stay, and beyond a bound they are dropped and counted.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
from collections import OrderedDict
from contextlib import contextmanager
from struct import Struct
from typing import TYPE_CHECKING, Any

from ..kernel import clocks
from ..record import Record
from .schema import read_boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..engine.losses import LossLedger
    from ..engine.view import View
    from ..process import Node

SETTLE_NS = 200_000_000  # from a change to its writing
PACE_NS = 20_000_000  # between two messages, unless there is more than a slice
SLICE = 128  # processes in a message
AT_ONCE = 8  # processes written down between two calls of `pause`
MARKS_MAX = 1 << 18
NAMED_FOR_NS = 10_000_000_000  # a user's name is looked up again
LENGTH = Struct(">I")
_SEND_BUFFER_BYTES = 8 << 20
_UNSENT_MAX = 64 << 20
_LAST_SLICE = 512
_LAST_WAIT_S = 10.0
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h


class RecordingStats(Record):
    """How the recording goes."""

    written: int  # processes handed to the writer, each time they changed
    missed: int  # processes that were not written: the writer was too slow, or its disk full
    errors: int  # times that the file could not be written


class Journal:
    """Notes changes for one writer, reached through `sock`; is the table's recorder.

    `tell` is called with what the user has to know; `pause`, where it is set, between a few rows and the next:
    what the kernel sends cannot wait for many.
    """

    def __init__(self, sock: socket.socket, view: View, ledger: LossLedger, tell: Callable[[str], None]) -> None:
        self._socket = sock
        self._view = view
        self._ledger = ledger
        self._tell = tell
        # And since when, CLOCK_BOOTTIME. In the order of the marks: a dict would be slow to lose its first ones.
        self._marks: OrderedDict[Node, int] = OrderedDict()
        self.pause: Callable[[], None] | None = None
        self._execs: list[tuple[Any, ...]] = []
        self._numbers = 0
        self._names: dict[int | str | None, bytes] = {}  # of users, by uid
        self._named_until_ns = 0
        self._unsent = memoryview(b"")
        self._heard = b""
        self._now_ns = clocks.boottime_ns()
        self._next_ns = 0
        self._told_until_ns = 0
        self._told_lost = 0
        self._is_settled = False
        self._is_over = False
        self._written = self._missed = self._missed_by_writer = self._errors = 0
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    # --- what the engine tells --------------------------------------------------------------------------

    def mark(self, node: Node) -> None:
        """Note that a process has to be written (again)."""
        self._marks.setdefault(node, self._now_ns)

    def became(self, node: Node, time_ns: int) -> None:
        """Note that a process runs another program."""
        self._execs.append(
            (
                self._number(node),
                time_ns,
                _bytes(node.cmd),
                node.source,
                node.cmdline,
                self._user(node, node.uid),
            )
        )
        self._marks.setdefault(node, self._now_ns)

    def keep(self, nodes: list[Node]) -> None:
        """Write down at once what was marked, before links between these are cut."""
        marked = [node for node in nodes if node in self._marks]
        if not marked or self._is_over:
            return
        if len(self._unsent) > _UNSENT_MAX:
            self._missed += len(marked)
            for node in marked:
                del self._marks[node]
            return
        with _signals_later():
            self._queue([self._row(node) for node in marked])
            for node in marked:
                del self._marks[node]

    def stats(self) -> RecordingStats:
        """Freeze the counters."""
        return RecordingStats(self._written, self._missed + self._missed_by_writer, self._errors)

    # --- to the writer ----------------------------------------------------------------------------------

    def begin(self, nodes: list[Node]) -> None:
        """Tell the writer which boot this is, and mark all that is known."""
        self._send(("begin", read_boot_id(), clocks.boot_wall_ns(), clocks.boottime_ns(), os.getpid()))
        for node in nodes:
            self.mark(node)

    def flush(self) -> bool:
        """Hand over a slice of what has settled, and hear the writer; true where more could go at once."""
        self._now_ns = clocks.boottime_ns()
        if self._now_ns < self._next_ns:
            return False
        self._next_ns = self._now_ns + PACE_NS
        if self._is_over:
            self._missed += len(self._marks)
            self._marks.clear()
            self._execs.clear()
            return False
        if self._unsent and not self._push():
            self._drop_beyond_bounds()
            return False
        due = self._settled()
        if due or self._now_ns - self._told_until_ns > SETTLE_NS:
            with _signals_later():
                self._queue(self._rows(due))
                for node in due:
                    del self._marks[node]
            self._hear()
        has_more = len(due) == SLICE
        if has_more:
            self._next_ns = self._now_ns
        return has_more

    def _rows(self, nodes: list[Node]) -> list[tuple[Any, ...]]:
        rows = []
        for place, node in enumerate(nodes):
            if self.pause is not None and not place % AT_ONCE:
                self.pause()
            rows.append(self._row(node))
        return rows

    def _settled(self) -> list[Node]:
        """Give the next of those that have not changed for a moment: they were marked first."""
        due_ns = self._now_ns - SETTLE_NS
        due: list[Node] = []
        for node, marked_ns in self._marks.items():
            if marked_ns > due_ns or len(due) == SLICE:
                break
            due.append(node)
        return due

    def finish(self) -> None:
        """Hand over all that is left, and let the writer end; waits for it, some seconds at most."""
        self._socket.settimeout(_LAST_WAIT_S)
        try:
            with _signals_later():
                is_taken = self._push()
                while is_taken and self._marks and not self._is_over:
                    nodes = list(self._marks)[:_LAST_SLICE]
                    self._queue([self._row(node) for node in nodes])
                    for node in nodes:
                        del self._marks[node]
                    is_taken = not self._unsent
            self._missed += len(self._marks)
            if is_taken:
                self._socket.shutdown(socket.SHUT_WR)
                while data := self._socket.recv(1 << 16):
                    self._heard += data
                self._take_in()
        except OSError:
            pass  # the writer is gone, or stuck: what it has is written
        self._socket.close()

    def _queue(self, rows: list[tuple[Any, ...]]) -> None:
        """Put rows, and all else there is, into one message; what changed before its `until_ns` is written."""
        execs, self._execs = self._execs, []
        oldest = next(iter(self._marks.values()), self._now_ns)
        is_first_settled = not self._is_settled and oldest > self._now_ns - SETTLE_NS
        self._is_settled = self._is_settled or is_first_settled
        self._told_until_ns = self._now_ns
        self._written += len(rows)
        self._send(
            ("rows", min(oldest, self._now_ns), rows, execs, self._losses(), self._missed, is_first_settled)
        )

    def _losses(self) -> list[tuple[int, int, int]] | None:
        if self._ledger.lost == self._told_lost:
            return None
        self._told_lost = self._ledger.lost
        return [(window.start_ns, window.end_ns, window.lost) for window in self._ledger.windows]

    def _row(self, node: Node) -> tuple[Any, ...]:
        parent = node.parent if not node.left_out else None
        uid = node.uid
        if not node.recorded_as:
            self._assign_number(node)
        return (
            node.recorded_as,
            node.pid,
            node.start_ns,
            node.ppid,
            node.ppid_source,
            None if parent is None else self._number(parent),
            node.adopter_pid,
            _bytes(node.cmd),
            node.source,
            b"".join(_bytes(name) + b"\0" for name in node.former) if node.former else None,
            node.cmdline,
            uid if isinstance(uid, int) else None,
            self._user(node, node.uid),
            self._user(node, node.birth_uid),
            node.session,
            node.exit_ns or None,
            node.exit_status,
            node.cost,  # packed: the writer has more time
            None if node.full_name is None else _bytes(node.full_name),
            node.place,
        )

    def _user(self, node: Node, uid: int | str | None) -> bytes:
        """Give the name of a user; looked up once in a while, for it is asked three times for each process."""
        name = self._names.get(uid)
        if name is None:
            if self._now_ns > self._named_until_ns:
                self._names.clear()
                self._named_until_ns = self._now_ns + NAMED_FOR_NS
            name = _bytes(self._view.user(node) if uid == node.uid else self._view.birth_user(node))
            self._names[uid] = name
        return name

    def _number(self, node: Node) -> int:
        """Give the number of a process in this recording; one that has none yet will be written too."""
        if not node.recorded_as:
            self._assign_number(node)
            self.mark(node)
        return node.recorded_as

    def _assign_number(self, node: Node) -> None:
        self._numbers += 1
        node.recorded_as = self._numbers

    def _drop_beyond_bounds(self) -> None:
        excess = len(self._marks) - MARKS_MAX
        for node in list(self._marks)[: max(0, excess)]:
            del self._marks[node]
            self._missed += 1
        if len(self._execs) > MARKS_MAX:
            del self._execs[:-MARKS_MAX]

    # --- the socket -------------------------------------------------------------------------------------

    def _send(self, message: tuple[Any, ...]) -> None:
        # marshal: both ends are this program, forked a moment ago; nobody else can write to this socket.
        data = marshal.dumps(message)
        self._unsent = memoryview(bytes(self._unsent) + LENGTH.pack(len(data)) + data)
        self._push()

    def _push(self) -> bool:
        """Send what is waiting; false where the writer does not take all of it now."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BlockingIOError, TimeoutError):
            return False
        except OSError:
            self._end("the process that writes the history has ended")
        return True

    def _hear(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._heard += data
            self._take_in()
        else:
            self._end("the process that writes the history has ended")

    def _take_in(self) -> None:
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            word, _, rest = line.decode("utf-8", "replace").partition(" ")
            if word == "missed":
                self._missed_by_writer = int(rest)
            elif word == "error":
                self._errors += 1
                self._tell(f"the history is not written: {rest}; capture goes on, and what is missed is counted")
            elif word == "again":
                self._tell(f"the history is written again; {rest} processes were missed")

    def _end(self, why: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._unsent = memoryview(b"")
            self._errors += 1
            self._tell(f"{why}; capture goes on without it")


@contextmanager
def _signals_later() -> Iterator[None]:
    """Let no signal's exception come between a message and what is remembered of it."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _bytes(text: str | None) -> bytes:
    return b"" if text is None else text.encode("utf-8", "surrogateescape")
