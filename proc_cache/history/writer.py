"""The process that writes a history: takes messages from the engine's journal, and commits them in batches.

It runs apart, so that no disk and no lock of SQLite ever holds up capture. It ends when the engine hangs up,
whatever way that ended, with all it was given written. While the file cannot be written it tries again, keeps
what comes up to a bound, and counts what it had to leave out.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import select
import signal
import socket
import sqlite3
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import HistoryError, UnreadableHistoryError
from ..kernel.clocks import TICK_NS, deadline_s, left_s, monotonic_s, wall_ns
from ..record import Record
from .journal import LENGTH
from .schema import PAGE_BYTES, open_for_reading, open_for_writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COMMIT_S = 0.25
BATCH = 4096  # processes in one transaction
WAITING_MAX = 1 << 18  # processes kept while the file cannot be written
MESSAGES_MAX = 1 << 16  # a message can hold execs alone, or nothing but how far it goes
RETRY_S = 1.0
PRUNE_S = 10.0
PRUNE_STEP = 4096  # processes removed in one transaction
_NUMBER_BITS = 40
_FORMER = 3  # among the facts of a row: adopter_pid, cmd, source, former, ...
_FULL = 0.95  # of the size allowed: from here on the oldest are removed, down to _EMPTIED of it
_EMPTIED = 0.9

_UPSERT = """
INSERT INTO process (id, boot, pid, start_ns, ppid, ppid_source, parent, adopter_pid, cmd, source, former,
                     cmdline, uid, user, birth_user, session, exit_ns, exit_status)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    -- What a Fork event told of the birth is not overwritten by what a later engine found in /proc.
    start_ns = iif(excluded.ppid_source = 'fork' OR ppid_source <> 'fork', excluded.start_ns, start_ns),
    ppid = iif(excluded.ppid_source = 'fork' OR ppid_source <> 'fork', excluded.ppid, ppid),
    parent = iif(excluded.ppid_source = 'fork' OR ppid_source <> 'fork',
                 coalesce(excluded.parent, parent), parent),
    adopter_pid = coalesce(excluded.adopter_pid, iif(excluded.ppid <> ppid, excluded.ppid, NULL), adopter_pid),
    ppid_source = iif(excluded.ppid_source = 'fork', excluded.ppid_source, ppid_source),
    cmd = excluded.cmd, source = excluded.source, former = coalesce(excluded.former, former),
    cmdline = excluded.cmdline, uid = excluded.uid, user = excluded.user,
    birth_user = coalesce(birth_user, excluded.birth_user), session = excluded.session,
    exit_ns = excluded.exit_ns, exit_status = excluded.exit_status
"""
_OLD_LEAVES = """
SELECT id FROM process AS old WHERE exit_ns < ?
AND NOT EXISTS (SELECT 1 FROM process WHERE parent = old.id) ORDER BY exit_ns LIMIT ?
"""
_OLDEST = "SELECT id FROM process WHERE exit_ns IS NOT NULL ORDER BY exit_ns LIMIT ?"
_REMOVE = "DELETE FROM process WHERE id = ? RETURNING parent, exit_ns"
_IS_OLD_LEAF = """
SELECT 1 FROM process AS old WHERE id = ? AND exit_ns < ?
AND NOT EXISTS (SELECT 1 FROM process WHERE parent = old.id)
"""


class Bounds(Record):
    """How much a history keeps; None is no bound."""

    keep_ns: int | None = None  # what ended longer ago than this is removed, unless a descendant is kept
    max_bytes: int | None = None


def start(path: str, bounds: Bounds) -> socket.socket:
    """Start the writer; returns the journal's end of the socket to it.

    Raises NotAHistoryError; what else keeps the file from being written, the writer tells, and tries again.
    """
    with contextlib.suppress(UnreadableHistoryError):
        if os.path.exists(path) and os.path.getsize(path):
            open_for_reading(path).close()
    ours, theirs = socket.socketpair()
    if not os.fork():
        ours.close()
        _run(theirs, path, bounds)
    theirs.close()
    return ours


def _run(sock: socket.socket, path: str, bounds: Bounds) -> NoReturn:
    status = 1
    try:
        # The engine's signals are meant for the engine: this one ends with its messages.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.setsid()
        _let_go_of_all_but(sock.fileno())
        Writer(sock, path, bounds).run()
        status = 0
    finally:
        os._exit(status)


def _let_go_of_all_but(descriptor: int) -> None:
    """Close what was inherited: a pipe that stays open here would never end for who reads it."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


class Writer:
    """Takes messages until there are no more, and writes them."""

    def __init__(self, sock: socket.socket, path: str, bounds: Bounds) -> None:
        self._socket = sock
        self._path = path
        self._bounds = bounds
        self._received = bytearray()
        self._waiting: list[tuple[Any, ...]] = []  # messages that are not committed
        self._rows = 0  # in them
        self._database: sqlite3.Connection | None = None
        self._lock: int | None = None  # a descriptor of the file that is held while it is written
        self._recording: Recording | None = None
        self._begin: tuple[Any, ...] = ()
        self._missed = 0
        self._missed_told = 0
        self._is_failing = False
        self._next_s = 0.0
        self._next_prune_s = 0.0

    def run(self) -> None:
        """Write until the engine hangs up."""
        is_open = True
        while is_open:
            timeout_s = max(0.0, self._next_s - monotonic_s()) if self._waiting else PRUNE_S
            readable, _, _ = select.select([self._socket], [], [], timeout_s)
            if readable:
                is_open = self._receive()
            self._commit_if_due(is_last=not is_open)
        if self._waiting:
            self._say(f"missed {self._missed + self._rows}")
        if self._database is not None:
            self._database.close()
        if self._lock is not None:
            os.close(self._lock)

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        self._received += data
        head = LENGTH.size
        received, at = self._received, 0
        while len(received) - at >= head:
            (length,) = LENGTH.unpack_from(received, at)
            if len(received) - at < head + length:
                break
            self._take(marshal.loads(received[at + head : at + head + length]))  # noqa: S302  # see Journal._send
            at += head + length
        del received[:at]
        return bool(data)

    def _take(self, message: tuple[Any, ...]) -> None:
        if message[0] == "begin":
            self._begin = message
            return
        if not self._waiting:
            self._next_s = max(self._next_s, monotonic_s() + COMMIT_S)
        self._waiting.append(message)
        self._rows += len(message[2])
        while len(self._waiting) > 1 and (self._rows > WAITING_MAX or len(self._waiting) > MESSAGES_MAX):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Let go of the processes of the oldest message; what it alone told of the rest goes to the next one."""
        _, _, rows, _, losses, _, is_settled = self._waiting.pop(0)
        self._rows -= len(rows)
        self._missed += len(rows)
        word, until_ns, next_rows, execs, next_losses, missed, is_next_settled = self._waiting[0]
        self._waiting[0] = (
            word,
            until_ns,
            next_rows,
            execs,
            losses if next_losses is None else next_losses,
            missed,
            is_settled or is_next_settled,
        )

    # --- the file ---------------------------------------------------------------------------------------

    def _commit_if_due(self, *, is_last: bool) -> None:
        is_due = monotonic_s() >= self._next_s or (self._rows >= BATCH and not self._is_failing)
        if not self._begin or not (is_last or is_due):
            return
        if self._waiting or not self._recording:
            self._try(self._commit)
        if not is_last and not self._is_failing and monotonic_s() >= self._next_prune_s:
            self._try(self._prune)

    def _try(self, step: Callable[[], None]) -> None:
        """Do something to the file; where that fails, tell once, and try again later."""
        try:
            step()
        except (sqlite3.Error, OSError, HistoryError) as error:
            self._fail(error)
            return
        if self._is_failing:
            self._is_failing = False
            self._say(f"again {self._missed}")

    def _fail(self, error: Exception) -> None:
        self._next_s = monotonic_s() + RETRY_S
        if self._database is not None:
            try:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # it is rolled back when the file is opened again
        if not self._is_failing:
            self._is_failing = True
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            self._say(f"error {self._path}: {reason}")

    def _commit(self) -> None:
        database = self._open()
        recording = self._recording
        assert recording is not None
        database.execute("BEGIN IMMEDIATE")
        for message in self._waiting:
            recording.write(message)
        recording.note(self._missed)
        database.execute("COMMIT")
        self._waiting.clear()
        self._rows = 0
        if self._missed != self._missed_told:
            self._missed_told = self._missed
            self._say(f"missed {self._missed}")

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            database = open_for_writing(self._path)
            try:
                self._lock = _lock(self._path)
            except HistoryError:
                database.close()
                raise
            self._database = database
        if self._recording is None:
            self._database.execute("BEGIN IMMEDIATE")
            recording = Recording(self._database, self._begin)
            self._database.execute("COMMIT")
            self._recording = recording  # not before: what is rolled back has not begun
        return self._database

    def _say(self, line: str) -> None:
        data = " ".join(line.split()).encode("utf-8", "backslashreplace") + b"\n"
        with contextlib.suppress(OSError):  # the engine has gone, or does not listen: the file is what counts
            self._socket.send(data, socket.MSG_DONTWAIT)

    # --- bounds -----------------------------------------------------------------------------------------

    def _prune(self) -> None:
        """Remove what is beyond the bounds, a step at a time; the next commit comes first."""
        database, bounds = self._open(), self._bounds
        has_more = False
        if bounds.keep_ns is not None:
            has_more = self._remove_before(wall_ns() - bounds.keep_ns, PRUNE_STEP) >= PRUNE_STEP
        if bounds.max_bytes is not None and self._used_bytes(database) > bounds.max_bytes * _FULL:
            has_more = not self._shrink(database, int(bounds.max_bytes * _EMPTIED))
        self._next_prune_s = monotonic_s() + (0.0 if has_more else self._prune_interval_s())

    def _shrink(self, database: sqlite3.Connection, down_to: int) -> bool:
        """Remove the oldest until so many bytes are in use; false where the time for it is over before."""
        deadline = deadline_s(COMMIT_S)
        while (used := self._used_bytes(database)) > down_to:
            if not left_s(deadline):
                return False
            # Leaves first, so that chains stay whole; ancestors of the living alone leave no other way.
            step = min(PRUNE_STEP, used // PAGE_BYTES)  # a row in twenty or so
            if not self._remove_before(wall_ns(), step) and not self._remove(_OLDEST, (step,), 0, step):
                break  # the living alone take more
        return True

    def _prune_interval_s(self) -> float:
        return PRUNE_S if self._bounds.max_bytes is None else COMMIT_S

    def _remove_before(self, end_ns: int, step: int) -> int:
        """Remove what ended before and has no child in the file; and so on up, as far as a step goes."""
        return self._remove(_OLD_LEAVES, (end_ns, step), end_ns, step)

    def _remove(self, chosen: str, arguments: tuple[int, ...], end_ns: int, step: int) -> int:
        database = self._database
        assert database is not None
        database.execute("BEGIN IMMEDIATE")
        pending = [number for (number,) in database.execute(chosen, arguments)]
        removed: list[tuple[int, int]] = []
        while pending and len(removed) < step:
            number = pending.pop(0)
            parent, exit_ns = database.execute(_REMOVE, (number,)).fetchone()
            removed.append((number, exit_ns))
            if parent is not None and database.execute(_IS_OLD_LEAF, (parent, end_ns)).fetchone():
                pending.insert(0, parent)
        database.executemany("DELETE FROM exec WHERE process = ?", [(number,) for number, _ in removed])
        if removed:
            newest = max(exit_ns for _, exit_ns in removed)
            (horizon,) = database.execute("SELECT max(removed_ns) FROM horizon").fetchone()
            database.execute("DELETE FROM horizon")
            database.execute("INSERT INTO horizon VALUES (?)", (max(newest, horizon or 0),))
        database.execute("COMMIT")
        return len(removed)

    @staticmethod
    def _used_bytes(database: sqlite3.Connection) -> int:
        """How much of the file is in use: freed pages are used again before it grows."""
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * PAGE_BYTES


def _lock(path: str) -> int:
    """Take the file for this writer alone; the lock goes with the descriptor. Raises HistoryError.

    flock(2), on a descriptor that is open as long as SQLite's own: closing it drops SQLite's locks (fcntl(2)).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HistoryError("another engine is writing it; give each engine a file of its own") from None
    except OSError:
        pass  # a file system without locks
    return descriptor


class Recording:
    """One run of an engine in the file. A process that an earlier one of this boot had is the same row again."""

    def __init__(self, database: sqlite3.Connection, begin: tuple[Any, ...]) -> None:
        _, boot_id, booted_ns, began_ns, pid = begin
        self._database = database
        database.execute("INSERT OR IGNORE INTO boot (boot_id, booted_ns) VALUES (?, ?)", (boot_id, booted_ns))
        self._boot, self._booted_ns = database.execute(
            "SELECT id, booted_ns FROM boot WHERE boot_id = ?", (boot_id,)
        ).fetchone()
        self._began_ns = self._wall(began_ns)
        _close_other_boots(database, self._boot)
        self._living: dict[
            int, list[tuple[int, int]]
        ] = {}  # pid -> id and start of what an earlier one left alive
        for number, living_pid, start_ns in database.execute(
            "SELECT id, pid, start_ns FROM process WHERE boot = ? AND exit_ns IS NULL", (self._boot,)
        ):
            self._living.setdefault(living_pid, []).append((number, start_ns))
        self._id = database.execute(
            "INSERT INTO recording (boot, pid, began_ns, until_ns) VALUES (?, ?, ?, ?) RETURNING id",
            (self._boot, pid, self._began_ns, self._began_ns),
        ).fetchone()[0]
        self._aliases: dict[int, int] = {}  # number -> id of the row that an earlier recording made
        self._former: dict[int, bytes] = {}  # number -> the names that one knew already
        self._until_ns = self._began_ns
        self._missed_by_journal = 0

    def write(self, message: tuple[Any, ...]) -> None:
        """Write one message of the journal."""
        _, until_ns, rows, execs, losses, missed, is_settled = message
        self._until_ns = self._wall(until_ns)
        self._missed_by_journal = missed
        self._database.executemany(_UPSERT, self._values(rows))
        if execs:
            self._database.executemany(
                "INSERT OR REPLACE INTO exec VALUES (?, ?, ?, ?, ?, ?)",
                [(self._row_id(number), self._wall(time_ns), *rest) for number, time_ns, *rest in execs],
            )
        if losses is not None:
            self._write_losses(losses)
        if is_settled:
            self._close_the_gone()

    def note(self, missed: int) -> None:
        """Write down how far this recording has come."""
        self._database.execute(
            "UPDATE recording SET until_ns = ?, missed = ? WHERE id = ?",
            (self._until_ns, missed + self._missed_by_journal, self._id),
        )

    def _wall(self, time_ns: int) -> int:
        return int(time_ns + self._booted_ns)

    def _row_id(self, number: int) -> int:
        return self._aliases.get(number) or self._id << _NUMBER_BITS | number

    def _values(self, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        values = []
        for number, pid, start_ns, ppid, ppid_source, parent, *facts, exit_ns, exit_status in rows:
            start = self._wall(start_ns) if start_ns else 0
            if pid in self._living:
                self._recognise(number, pid, start)
            if number in self._former and facts[_FORMER] is not None:
                facts[_FORMER] = self._former[number] + facts[_FORMER]
            values.append(
                (
                    self._row_id(number),
                    self._boot,
                    pid,
                    start,
                    ppid,
                    ppid_source,
                    None if parent is None else self._row_id(parent),
                    *facts,
                    None if exit_ns is None else self._wall(exit_ns),
                    exit_status,
                )
            )
        return values

    def _recognise(self, number: int, pid: int, start_ns: int) -> None:
        """See whether a process is one that an earlier recording of this boot knew: by its start."""
        for known in self._living[pid]:
            if abs(start_ns - known[1]) <= 2 * TICK_NS and number not in self._aliases:
                self._aliases[number] = known[0]
                self._living[pid].remove(known)
                row = self._database.execute("SELECT former FROM process WHERE id = ?", known[:1]).fetchone()
                self._former[number] = row[0] or b""
                return

    def _close_the_gone(self) -> None:
        """What an earlier recording of this boot left alive and this one did not find ended in between."""
        # They stay in mind: should this transaction fail, the same message comes again.
        self._database.executemany(
            "UPDATE process SET exit_ns = ? WHERE id = ?",
            [(self._began_ns, number) for owners in self._living.values() for number, _ in owners],
        )

    def _write_losses(self, losses: list[tuple[int, int, int]]) -> None:
        self._database.execute("DELETE FROM loss WHERE recording = ?", (self._id,))
        self._database.executemany(
            "INSERT INTO loss VALUES (?, ?, ?, ?)",
            [(self._id, self._wall(start_ns), self._wall(end_ns), lost) for start_ns, end_ns, lost in losses],
        )


def _close_other_boots(database: sqlite3.Connection, boot: int) -> None:
    """What lived when the recording of another boot ended has ended with that boot, or before."""
    database.execute(
        "UPDATE process SET exit_ns = (SELECT max(until_ns) FROM recording WHERE recording.boot = process.boot) "
        "WHERE exit_ns IS NULL AND boot <> ?",
        (boot,),
    )
