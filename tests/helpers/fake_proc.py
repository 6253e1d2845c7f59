"""A /proc made up: as records in memory (`FakeReader`), or as files under a directory (`write_process`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proc_cache.errors import ProcessHiddenError
from proc_cache.kernel.clocks import TICK_NS
from proc_cache.kernel.procfs import ProcReader, Sighting, Stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


def sighting(
    pid: int,
    *,
    start_ns: int,
    ppid: int = 1,
    comm: bytes = b"seen",
    state: str = "S",
    uid: int = 0,
    session: int = 1,
    cmdline: bytes | None = None,
    tids: tuple[int, ...] = (),
    full_name: bytes | None = None,
    is_thread: bool = False,
    tty_nr: int = 0,
) -> Sighting:
    """One process as /proc would show it: its start rounded down to a clock tick."""
    stat = Stat(pid, comm, state, ppid, session, 0, 1 + len(tids), start_ns // TICK_NS, is_thread, tty_nr)
    return Sighting(stat, uid, cmdline, tids, full_name)


class FakeReader(ProcReader):
    """Shows the sightings that it holds; `hidden` pids are refused, as hidepid=1 does."""

    def __init__(self, sightings: Iterable[Sighting] = ()) -> None:
        super().__init__("/nonexistent")
        self.shown = {seen.stat.pid: seen for seen in sightings}
        self.thread_names: dict[int, str] = {}
        self.tgids: dict[int, int] = {}
        self.hidden: set[int] = set()
        self.cgroups: dict[int, bytes] = {}
        self.asked: list[int] = []  # what was read, in order
        self.asked_for_cgroups: list[int] = []
        self.during_scan: Callable[[], None] | None = None  # called once the list of pids was read

    def show(self, seen: Sighting) -> None:
        self.shown[seen.stat.pid] = seen

    def pids(self) -> Iterator[int]:
        return iter(sorted(self.shown))

    def stat(self, pid: int) -> Stat | None:
        seen = self.see(pid)
        return None if seen is None else seen.stat

    def see(self, pid: int, *, with_tids: bool = False) -> Sighting | None:
        self.asked.append(pid)
        if pid in self.hidden:
            raise ProcessHiddenError(pid)
        seen = self.shown.get(pid)
        if seen is None or with_tids:
            return seen
        return Sighting(seen.stat, seen.uid, seen.cmdline, (), seen.full_name)

    def see_all(self) -> Iterator[Sighting]:
        listed = list(self.pids())
        if self.during_scan is not None:
            self.during_scan()
        for pid in listed:
            seen = self.shown.get(pid)
            if seen is not None and pid not in self.hidden:
                yield seen

    def cgroup(self, pid: int) -> bytes | None:
        self.asked_for_cgroups.append(pid)
        if pid in self.hidden:
            raise ProcessHiddenError(pid)
        return self.cgroups.get(pid, b"0::/\n") if pid in self.shown else None

    def tgid(self, tid: int) -> int | None:
        return self.tgids.get(tid, tid if tid in self.shown else None)

    def thread_name(self, pid: int, tid: int) -> str | None:
        return self.thread_names.get(tid)


def stat_line(
    pid: int,
    comm: bytes = b"sh",
    *,
    state: str = "S",
    ppid: int = 1,
    session: int = 7,
    flags: int = 0,
    threads: int = 1,
    tty_nr: int = 0,
    start_ticks: int = 500,
    is_thread: bool = False,
) -> bytes:
    """The whole line of /proc/PID/stat, its other fields made recognizable (their own number, negated)."""
    fields: list[object] = [state, ppid, *(-number for number in range(5, 53))]
    fields[6 - 3] = session
    fields[7 - 3] = tty_nr
    fields[9 - 3] = flags
    fields[20 - 3] = threads
    fields[22 - 3] = start_ticks
    fields[38 - 3] = -1 if is_thread else 17
    return b"%d (%s) %s\n" % (pid, comm, " ".join(map(str, fields)).encode())


def write_process(
    root: Path,
    pid: int,
    *,
    stat: bytes | None = None,
    cmdline: bytes = b"",
    tids: tuple[int, ...] = (),
    tgid: int | None = None,
) -> Path:
    """Write the files of one process under `root`, as /proc has them."""
    directory = root / str(pid)
    directory.mkdir()
    (directory / "stat").write_bytes(stat_line(pid, threads=1 + len(tids)) if stat is None else stat)
    (directory / "cmdline").write_bytes(cmdline)
    (directory / "status").write_bytes(b"Name:\tsh\nUmask:\t0022\nTgid:\t%d\nPid:\t%d\n" % (tgid or pid, pid))
    for tid in (pid, *tids):
        task = directory / "task" / str(tid)
        task.mkdir(parents=True)
        (task / "comm").write_bytes(b"worker %d\n" % tid)
    return directory
