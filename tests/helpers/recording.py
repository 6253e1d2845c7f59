"""Histories made by hand: the journal's messages, a writer in a thread, and a story that is recorded."""

from __future__ import annotations

import marshal
import os
import socket
import sqlite3
from contextlib import closing, contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from proc_cache.history import reader as reader_module
from proc_cache.history.bounds import Bounds
from proc_cache.history.journal import LENGTH, Journal
from proc_cache.history.reader import HistoryView
from proc_cache.history.schema import open_for_reading
from proc_cache.history.writer import Writer
from proc_cache.kernel import clocks
from proc_cache.kernel.clocks import boot_wall_ns
from proc_cache.process import Source

from .processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from proc_cache.process import Place

    from .story import Story

    Message = tuple[Any, ...]

SECOND_NS = 1_000_000_000
BOOTED_NS = 1_700_000_000 * SECOND_NS
BEGAN_NS = 100 * SECOND_NS
BOOT_ID = "00000000-0000-0000-0000-00000000000a"
OTHER_BOOT_ID = "00000000-0000-0000-0000-00000000000b"


# --- what the journal sends -------------------------------------------------------------------------------


def begin(
    *, boot_id: str = BOOT_ID, booted_ns: int = BOOTED_NS, began_ns: int = BEGAN_NS, pid: int = 4000
) -> Message:
    """The first message of a recording."""
    return ("begin", boot_id, booted_ns, began_ns, pid)


def row(
    number: int,
    pid: int,
    start_s: float,  # since boot
    *,
    ppid: int | None = 1,
    ppid_source: str = Source.FORK,
    parent: int | None = None,
    adopter_pid: int | None = None,
    cmd: bytes = b"sh",
    source: str = Source.EXEC,
    former: bytes | None = None,
    cmdline: bytes | None = None,
    uid: int | None = 0,
    user: bytes = b"root",
    birth_user: bytes = b"root",
    session: int | None = 1,
    exit_s: float | None = None,
    status: int | None = None,
    cost: int | None = None,  # see `pack_cost`
    full_name: bytes | None = None,
    place: Place | None = None,
) -> tuple[Any, ...]:
    """One process as `Journal` writes it down; `parent` is the number of another row."""
    return (
        number,
        pid,
        round(start_s * SECOND_NS),
        ppid,
        ppid_source,
        parent,
        adopter_pid,
        cmd,
        source,
        former,
        cmdline,
        uid,
        user,
        birth_user,
        session,
        None if exit_s is None else round(exit_s * SECOND_NS),
        0 if exit_s is not None and status is None else status,
        cost,
        full_name,
        place,
    )


def exec_row(number: int, time_s: float, cmd: bytes, *, user: bytes = b"root") -> tuple[Any, ...]:
    return (number, round(time_s * SECOND_NS), cmd, Source.EXEC, cmd + b"\0", user)


def unread_row(number: int, time_s: float, cmd: bytes, *, user: bytes = b"root") -> tuple[Any, ...]:
    """An exec of a program that was gone before it could be read; `cmd` is the older name."""
    return (number, round(time_s * SECOND_NS), cmd, Source.UNREAD, None, user)


def rows(
    *processes: tuple[Any, ...],
    until_s: float = 200,
    execs: Sequence[tuple[Any, ...]] = (),
    losses: list[tuple[int, int, int]] | None = None,
    missed: int = 0,
    is_settled: bool = False,
) -> Message:
    """A message of processes and execs."""
    return ("rows", int(until_s * SECOND_NS), list(processes), list(execs), losses, missed, is_settled)


def frame(message: Message) -> bytes:
    data = marshal.dumps(message)
    return LENGTH.pack(len(data)) + data


# --- a writer in a thread ---------------------------------------------------------------------------------


class Writing:
    """A `Writer` in a thread, and the journal's end of its socket: `with Writing(path) as writing`."""

    def __init__(self, path: Path | str, bounds: Bounds | None = None) -> None:
        self.sock, self._theirs = socket.socketpair()
        self.writer = Writer(self._theirs, str(path), bounds or Bounds())
        self.path = str(path)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        self._heard = b""
        self._error: BaseException | None = None

    def _run(self) -> None:
        try:
            self.writer.run()
        except BaseException as error:  # noqa: BLE001  # raised where it is joined
            self._error = error
        finally:
            self._theirs.close()

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.sock.sendall(frame(message))

    @property
    def said(self) -> list[str]:
        """The lines that the writer has said so far."""
        self.sock.setblocking(False)
        try:
            while data := self.sock.recv(1 << 16):
                self._heard += data
        except (BlockingIOError, OSError):
            pass
        self.sock.setblocking(True)
        return self._heard.decode().splitlines()

    def wait_for_word(self, word: str) -> str:
        """Wait until the writer has said a line that begins so."""

        def found() -> list[str]:
            return [line for line in self.said if line.startswith(word)]

        wait_until(found, f"the writer says {word!r}", 4)
        return found()[-1]

    def hang_up(self) -> None:
        """End as the engine's end does."""
        self.sock.shutdown(socket.SHUT_WR)
        self.join()

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive(), "the writer does not end"
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # it was hung up, or closed by the journal
            self.sock.shutdown(socket.SHUT_WR)
        try:
            self.join()
        finally:
            self.sock.close()


def record(path: Path | str, *messages: Message, bounds: Bounds | None = None) -> list[str]:
    """Let a writer write these messages, and end; returns what it said."""
    with Writing(path, bounds) as writing:
        writing.send(*messages)
        writing.hang_up()
        return writing.said


def table(path: Path | str, columns: str, rest: str = "FROM process ORDER BY id") -> list[tuple[Any, ...]]:
    """Read a file, past everything that reads it in the package."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute(f"SELECT {columns} {rest}").fetchall()


@contextmanager
def view_of(path: Path | str, *, now_s: float | None = None, booted_ns: int = BOOTED_NS) -> Iterator[HistoryView]:
    """Read a history as the package does; `now_s` (since boot) is what the wall clock says meanwhile."""
    wall_ns = booted_ns + int((1e6 if now_s is None else now_s) * SECOND_NS)
    with (
        closing(open_for_reading(str(path))) as database,
        patch.object(reader_module, "wall_ns", lambda: wall_ns),
        patch.object(reader_module, "read_boot_id", lambda: BOOT_ID),
    ):
        yield HistoryView(database)


# --- a story that is recorded -----------------------------------------------------------------------------


class RecordedStory:
    """Records a `Story` from now on, by its own clock; `told` is what the user was told.

    `with RecordedStory(story, path) as recorded`: when the block has ended, all is in the file.
    """

    def __init__(self, story: Story, path: Path | str, *, boot_id: str = BOOT_ID) -> None:
        self.story = story
        self.path = path
        self.told: list[str] = []
        self._later_ns = 0  # nothing happens in this time, but that the last things settle
        self._clock = patch.object(clocks, "boottime_ns", lambda: story.now_ns + self._later_ns)
        self._boot = patch("proc_cache.history.journal.read_boot_id", lambda: boot_id)
        self.journal: Journal

    def __enter__(self) -> Self:
        self._clock.start()
        self._boot.start()
        self.writing = Writing(self.path)
        self.journal = Journal(self.writing.sock, self.story.view, self.story.ledger, self.told.append)
        self.story.table.recorder = self.journal
        self.journal.begin(list(self.story.table.nodes()))
        return self

    def flush(self) -> None:
        """Hand over what has settled by now, as the engine does before each look at the kernel's queue."""
        self.journal.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for _ in range(2):
                self._later_ns += SECOND_NS
                self.journal.flush()
            self.story.table.recorder = None
            self.journal.finish()
            self.writing.join()
        finally:
            self._clock.stop()
            self._boot.stop()

    @contextmanager
    def view(self) -> Iterator[HistoryView]:
        """Ask the file, as if no time had gone by since the story's end."""
        with view_of(self.path, now_s=self.story.now_ns / SECOND_NS, booted_ns=boot_wall_ns()) as view:
            yield view


def writers_of(pid: int) -> list[int]:
    """The children of an engine: only the process that writes its history is one."""
    children = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    fields = stat.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != b"Z":
                children.append(int(name))
    return children


def is_running(pid: int) -> bool:
    """Whether a process is there, and not waiting to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False
