"""Reading /proc: pure parsers over bytes, and one reader with the root as an argument.

A process can vanish between any two reads (ENOENT on open, ESRCH on an open descriptor): both mean gone, and
gone is `None`. Names are any bytes but NUL. See proc(5).
"""

from __future__ import annotations

import os
from errno import EACCES, ENOENT, ENOTDIR, EPERM, ESRCH

from ..errors import ProcessHiddenError
from ..process import CMDLINE_KEPT_BYTES, CMDLINE_LIMIT, COMM_MAX_BYTES, Node, cut_cmdline, decode_name
from ..record import Record
from .clocks import ticks_to_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PF_KTHREAD = 0x00200000  # linux/sched.h

# The signal at its end, `exit_signal`: clone(2) gives a thread none, and every process one, or 0.
_SIGNALS_NOBODY = b"-1"

_STAT_SIZE = 4096
_USUAL_SIZE = 4096  # bytes that hold nearly every argv: for more, the memory alone takes longer than the read
_COMM_SIZE = 64  # a kernel worker tells what it works on too
_STATUS_SIZE = 1 << 16  # a process can be in many groups
_CGROUP_SIZE = 1 << 16
_GONE = (ENOENT, ESRCH, ENOTDIR)
_REFUSED = (EPERM, EACCES)
_READ = os.O_RDONLY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY


class Stat(Record):
    """What /proc/PID/stat says, as far as it is used here."""

    pid: int
    comm: bytes
    state: str
    ppid: int
    session: int
    flags: int
    num_threads: int
    start_ticks: int  # since boot, CLOCK_BOOTTIME
    is_thread: bool = False  # not the leader of its group: `pid` is a thread's id
    tty_nr: int = 0  # of its terminal, see places.py; 0 is none

    @property
    def start_ns(self) -> int:
        """Nanoseconds since boot, rounded down to a clock tick."""
        return ticks_to_ns(self.start_ticks)


class Sighting(Record):
    """One process as /proc showed it, all of one moment and surely of one process."""

    stat: Stat
    uid: int  # effective
    cmdline: bytes | None
    tids: tuple[int, ...]  # of its threads other than the leader
    full_name: bytes | None = None  # of the file it runs, where the kernel's name is the beginning of that
    cgroup: bytes | None = None  # see places.py; None where it was not read


def parse_stat(data: bytes) -> Stat:
    """Parse /proc/PID/stat. The name ends at the *last* parenthesis. Raises ValueError for other bytes."""
    opening = data.index(b"(")
    closing = data.rindex(b")")
    fields = data[closing + 2 :].split(b" ", 36)
    if len(fields) < 36:
        raise ValueError(f"stat ends early: {data!r}")
    return Stat(
        int(data[:opening]),
        data[opening + 1 : closing],
        fields[0].decode("ascii"),
        int(fields[1]),
        int(fields[3]),
        int(fields[6]),
        int(fields[17]),
        int(fields[19]),
        fields[35] == _SIGNALS_NOBODY,
        int(fields[4]),
    )


def parse_tgid(status: bytes) -> int:
    """Give the process of a task from /proc/TID/status. Raises ValueError where the line is missing."""
    # `Name:` comes first and cannot forge a line: status escapes newlines in it.
    _, found, rest = status.partition(b"\nTgid:\t")
    if not found:
        raise ValueError("status without Tgid")
    return int(rest[: rest.index(b"\n")])


def parse_ns_pids(status: bytes) -> tuple[int, ...]:
    """Give the pids of a process in its PID namespaces, outermost first; none before Linux 4.1."""
    _, found, rest = status.partition(b"\nNSpid:\t")
    if not found or b"\n" not in rest:
        return ()
    return tuple(map(int, rest[: rest.index(b"\n")].split()))


class ProcReader:
    """Reads one /proc. `root` is another directory in tests, or the /proc of a container."""

    def __init__(self, root: str = "/proc", *, with_cgroups: bool = False) -> None:
        self.root = root
        self._with_cgroups = with_cgroups

    def pids(self) -> Iterator[int]:
        """Give the processes that /proc lists (threads are not listed), as the directory has them."""
        for name in os.listdir(self.root):
            if name.isdecimal() and name.isascii():
                yield int(name)

    def stat(self, pid: int) -> Stat | None:
        """Read the stat of a process or thread; None where it is gone. Raises ProcessHiddenError."""
        return _parse_or_gone(self._read(pid, f"{self.root}/{pid}/stat", _STAT_SIZE))

    def glance(self, pid: int) -> tuple[bytes, int] | None:
        """Read name and user of a process, and nothing else; None where it is gone. Raises ProcessHiddenError."""
        directory = -1
        try:
            directory = os.open(f"{self.root}/{pid}", _DIRECTORY)
            uid = os.fstat(directory).st_uid  # first, for the same reason as in `see`
            comm = _read_in(directory, "comm", _COMM_SIZE)
            return (comm.removesuffix(b"\n"), uid) if comm else None
        except OSError as error:
            _raise_unless_gone(error, pid)
            return None
        finally:
            if directory >= 0:
                os.close(directory)

    def see(self, pid: int, *, with_tids: bool = False) -> Sighting | None:
        """Read a process whole; None where it is gone. Raises ProcessHiddenError.

        Everything is read through one descriptor of its directory, which stays bound to that process: a
        reused pid cannot mix two of them. The user is the owner of that directory, always the effective
        uid; the files inside belong to root where the process is not dumpable (proc(5)).
        """
        directory = -1
        try:
            directory = os.open(f"{self.root}/{pid}", _DIRECTORY)
            # First the user: of a process that is gone it is told as 0 (pid_getattr, fs/proc/base.c), and the stat
            # that can be read after it proves that it was not.
            uid = os.fstat(directory).st_uid
            stat = _parse_or_gone(_read_in(directory, "stat", _STAT_SIZE))
            if stat is None:
                return None
            tids = _list_tids(pid, "task", directory) if with_tids and stat.num_threads > 1 else ()
            cgroup = _read_whole(directory, "cgroup", _CGROUP_SIZE) if self._with_cgroups else None
            if stat.flags & PF_KTHREAD:
                return Sighting(stat, uid, None, tids, None, cgroup)
            cmdline = _read_cmdline(directory)
            is_cut = len(stat.comm) >= COMM_MAX_BYTES
            return Sighting(
                stat, uid, cmdline, tids, _read_full_name(directory, stat.comm) if is_cut else None, cgroup
            )
        except OSError as error:
            _raise_unless_gone(error, pid)
            return None
        finally:
            if directory >= 0:
                os.close(directory)

    def see_all(self) -> Iterator[Sighting]:
        """Read every process that is listed, threads' ids included; what is hidden or gone is passed over."""
        for pid in self.pids():
            try:
                seen = self.see(pid, with_tids=True)
            except ProcessHiddenError:
                continue
            if seen is not None:
                yield seen

    def is_hidden(self, pid: int) -> bool:
        """Tell whether a process exists that this /proc does not show (hidepid=2); it answers signals only."""
        if self.root != "/proc":
            return False
        try:
            os.kill(pid, 0)
        except PermissionError:
            return not os.path.exists(f"{self.root}/{pid}")
        except (ProcessLookupError, OverflowError):
            pass
        return False

    def tgid(self, tid: int) -> int | None:
        """Tell which process a thread belongs to; None where there is no such task."""
        data = self._read(tid, f"{self.root}/{tid}/status", _STAT_SIZE)
        if not data:
            return None
        try:
            return parse_tgid(data)
        except ValueError:
            return None

    def cgroup(self, pid: int) -> bytes | None:
        """Read in which cgroups a process is; None where it is gone. Raises ProcessHiddenError."""
        return self._read(pid, f"{self.root}/{pid}/cgroup", _CGROUP_SIZE)

    def ns_pids(self, pid: int) -> tuple[int, ...]:
        """Read the pids of a process in its PID namespaces; none where it is gone. Raises ProcessHiddenError."""
        return parse_ns_pids(self._read(pid, f"{self.root}/{pid}/status", _STATUS_SIZE) or b"")

    def executable(self, pid: int) -> tuple[Stat, bytes] | None:
        """Read who has a pid, and the file it runs; None where it is gone, or not for this user to know."""
        try:
            directory = os.open(f"{self.root}/{pid}", _DIRECTORY)
        except OSError:
            return None
        try:
            target = _read_exe(directory)
            stat = _parse_or_gone(_read_in(directory, "stat", _STAT_SIZE))
        except OSError:
            return None
        finally:
            os.close(directory)
        return None if stat is None or target is None else (stat, target)

    def thread_name(self, pid: int, tid: int) -> str | None:
        """Read the name of one thread; None where it is gone."""
        try:
            data = self._read(tid, f"{self.root}/{pid}/task/{tid}/comm", _COMM_SIZE)
        except ProcessHiddenError:
            return None
        return decode_name(data.removesuffix(b"\n")) if data else None

    def _read(self, pid: int, path: str, size: int) -> bytes | None:
        """Read a file in one go, at most `size` bytes; None where the process is gone."""
        try:
            return _read_in(None, path, size)
        except OSError as error:
            _raise_unless_gone(error, pid)
            return None


def _read_in(directory: int | None, path: str, size: int) -> bytes:
    descriptor = os.open(path, _READ, dir_fd=directory)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _read_whole(directory: int, path: str, limit: int) -> bytes | None:
    """Read a file that is short for nearly every process; None where the process is gone."""
    try:
        data = _read_in(directory, path, _USUAL_SIZE)
        return data if len(data) < _USUAL_SIZE else _read_in(directory, path, limit)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def _read_cmdline(directory: int) -> bytes | None:
    """Read the arguments, None where there are none any more; where they are longer than is read, it is marked."""
    cmdline = _read_whole(directory, "cmdline", CMDLINE_LIMIT + CMDLINE_KEPT_BYTES)
    return cut_cmdline(cmdline, CMDLINE_LIMIT) if cmdline else None


class BriefReader(ProcReader):
    """Reads what one line tells of a process: who, whose, since when; no arguments, no longer name."""

    def see(self, pid: int, *, with_tids: bool = False) -> Sighting | None:
        """As `ProcReader.see`, in two thirds of its system calls."""
        path = f"{self.root}/{pid}"
        descriptor = -1
        try:
            descriptor = os.open(f"{path}/stat", _READ)
            uid = os.stat(path).st_uid
            # What can be read now proves that the process was there until now, and that the owner is its.
            stat = _parse_or_gone(os.read(descriptor, _STAT_SIZE))
            if stat is None:
                return None
            tids = _list_tids(pid, f"{path}/task") if with_tids and stat.num_threads > 1 else ()
            return Sighting(stat, uid, None, tids)
        except OSError as error:
            _raise_unless_gone(error, pid)
            return None
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def _raise_unless_gone(error: OSError, pid: int) -> None:
    if error.errno in _REFUSED:
        raise ProcessHiddenError(pid) from error
    if error.errno not in _GONE:
        raise error


def _parse_or_gone(data: bytes | None) -> Stat | None:
    # The kernel gives an empty file, or part of one, for a task that is on its way out.
    if not data:
        return None
    try:
        return parse_stat(data)
    except ValueError:
        return None


def _read_full_name(directory: int, comm: bytes) -> bytes | None:
    """Give the whole of a name that the kernel cut; None where the program's file has another, or is not told."""
    name = (_read_exe(directory) or b"").rpartition(b"/")[2]
    return name if len(name) > len(comm) and name.startswith(comm) else None


def _read_exe(directory: int) -> bytes | None:
    try:
        return os.readlink(b"exe", dir_fd=directory).removesuffix(b" (deleted)")
    except OSError:  # gone, or another user's: only its owner and root may look (ptrace(2))
        return None


def _list_tids(pid: int, path: str, directory: int | None = None) -> tuple[int, ...]:
    tasks = os.open(path, _DIRECTORY, dir_fd=directory)
    try:
        return tuple(int(name) for name in os.listdir(tasks) if int(name) != pid)
    finally:
        os.close(tasks)


def make_node(seen: Sighting, source: str) -> Node:
    """Make a node, with no parent linked yet, of what /proc showed; `ppid` is the *present* parent's."""
    stat = seen.stat
    node = Node(
        stat.pid,
        stat.start_ns,
        stat.ppid,
        source,
        None,
        decode_name(stat.comm),
        source,
        seen.uid,
        stat.session,
        seen.cmdline,
    )
    if seen.full_name is not None:
        node.full_name = decode_name(seen.full_name)
    if seen.cgroup is not None:
        from .places import place_of

        node.place = place_of(seen.cgroup, stat.tty_nr)
    return node


def is_zombie(seen: Sighting) -> bool:
    """Tell whether a process has ended, and waits to be reaped; a leader that ends before its threads has not."""
    return seen.stat.state == "Z" and not seen.tids


def read_proc_start_time_ns(pid: int) -> int:
    """Give when the process started: nanoseconds since boot (CLOCK_BOOTTIME), 0 where there is none."""
    try:
        stat = ProcReader().stat(pid)
    except ProcessHiddenError:
        return 0
    return stat.start_ns if stat else 0
