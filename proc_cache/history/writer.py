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
from ..kernel.clocks import monotonic_s
from .bounds import Bounds, Pruner
from .journal import LENGTH
from .recording import Recording
from .schema import open_for_reading, open_for_writing

if TYPE_CHECKING:
    from collections.abc import Callable

COMMIT_S = 0.25
BATCH = 4096  # processes in one transaction
WAITING_MAX = 1 << 18  # processes kept while the file cannot be written
MESSAGES_MAX = 1 << 16  # a message can hold execs alone, or nothing but how far it goes
RETRY_S = 1.0
PRUNE_S = 10.0
NICE = 5  # a third of the engine's weight, and still of some where others take every CPU


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
        os.setpgid(0, 0)
        # In one session they share what the scheduler gives to a session (autogroup, sched(7)): the engine first.
        os.nice(NICE)
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

    def _prune(self) -> None:
        has_more = Pruner(self._open(), self._bounds).prune()
        interval_s = PRUNE_S if self._bounds.max_bytes is None else COMMIT_S
        self._next_prune_s = monotonic_s() + (0.0 if has_more else interval_s)

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


def _lock(path: str) -> int:
    """Take the file for this writer alone; the lock goes with the descriptor. Raises HistoryError.

    flock(2), on a descriptor that is open as long as SQLite's own: closing it drops SQLite's locks (fcntl(2)).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise HistoryError("another engine is writing it; give each engine a file of its own") from None
    except OSError:
        pass  # a file system without locks
    return descriptor
