"""kernel/procfs.py: the parsers, and the reader over a /proc of files."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from errno import EACCES, EIO, ENOENT, EPERM, ESRCH
from typing import TYPE_CHECKING

import pytest

from proc_cache.errors import ProcessHiddenError
from proc_cache.kernel import procfs
from proc_cache.kernel.clocks import TICKS_PER_SECOND
from proc_cache.kernel.procfs import BriefReader, ProcReader, make_node, parse_stat, parse_tgid
from proc_cache.process import Source, decode_name
from tests.helpers.fake_proc import stat_line, write_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE_NAMES = [
    b"sh",
    b"",
    b")",
    b"(",
    b"))) ((",
    b"a) R 1 (b",
    b") R 1 1 1 1",
    b"two\nlines",
    b" spaces ",
    b"\xff\xfe\x1b[2J",
    b"123456789012345",
    b"kworker/u16:3+events_unbound",
]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def reader(tmp_path: Path) -> ProcReader:
    return ProcReader(str(tmp_path))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, int], None]:
    """Make `os.open` or `os.read` fail with an errno for paths that end in something."""
    paths: dict[int, str] = {}
    real_open, real_read = os.open, os.read

    def fail(function: str, ending: str, errno: int) -> None:
        def fake_open(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if function == "open" and str(path).endswith(ending):
                raise OSError(errno, os.strerror(errno), path)
            descriptor = real_open(path, flags, mode, dir_fd=dir_fd)
            paths[descriptor] = str(path)
            return descriptor

        def fake_read(descriptor: int, size: int) -> bytes:
            if function == "read" and paths.get(descriptor, "").endswith(ending):
                raise OSError(errno, os.strerror(errno))
            return real_read(descriptor, size)

        monkeypatch.setattr(os, "open", fake_open)
        monkeypatch.setattr(os, "read", fake_read)

    return fail


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_parse_stat(name: bytes) -> None:
    stat = parse_stat(
        stat_line(42, name, state="Z", ppid=7, session=8, flags=0x400040, threads=3, start_ticks=123456)
    )
    assert (stat.pid, stat.comm, stat.state, stat.ppid) == (42, name, "Z", 7)
    assert (stat.session, stat.flags, stat.num_threads, stat.start_ticks) == (8, 0x400040, 3, 123456)


@pytest.mark.parametrize("is_thread", [True, False])
def test_the_signal_at_its_end_tells_a_thread(is_thread: bool) -> None:
    assert parse_stat(stat_line(42, is_thread=is_thread)).is_thread is is_thread


def test_a_start_in_ticks_becomes_nanoseconds() -> None:
    stat = parse_stat(stat_line(1, start_ticks=3 * TICKS_PER_SECOND + 1))
    assert stat.start_ns == 3_000_000_000 + 1_000_000_000 // TICKS_PER_SECOND


@pytest.mark.parametrize(
    "data", [b"", b"42", b"42 (sh", b"42 (sh) S 1 1 1", b"x (sh) S " + b"1 " * 30, b"42 (sh) \xff " + b"1 " * 30]
)
def test_other_bytes_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_stat(data)


def test_parse_tgid() -> None:
    # status escapes a newline in the name, so that a name cannot forge the line
    assert parse_tgid(b"Name:\tx\\nTgid:\\t9\nUmask:\t0022\nTgid:\t42\nPid:\t43\n") == 42
    with pytest.raises(ValueError, match="without Tgid"):
        parse_tgid(b"Name:\tsh\n")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_are_decoded_losslessly(name: bytes) -> None:
    assert decode_name(name).encode("utf-8", "surrogateescape") == name


def test_see_a_process(proc: Path, reader: ProcReader) -> None:
    write_process(proc, 42, stat=stat_line(42, b"a) R 1 (b", ppid=7), cmdline=b"/bin/sh\0-c\0x\0")
    seen = reader.see(42)
    assert seen is not None
    assert (seen.stat.comm, seen.stat.ppid) == (b"a) R 1 (b", 7)
    assert seen.cmdline == b"/bin/sh\0-c\0x\0"
    assert seen.uid == (proc / "42").stat().st_uid
    assert seen.tids == ()


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if name])
def test_glance_at_a_process(proc: Path, reader: ProcReader, name: bytes) -> None:
    folder = write_process(proc, 42)
    (folder / "comm").write_bytes(name + b"\n")
    assert reader.glance(42) == (name, folder.stat().st_uid)
    (folder / "comm").write_bytes(b"")  # of one that is on its way out
    assert reader.glance(42) is None
    assert reader.glance(43) is None


def test_a_glance_is_refused_where_proc_refuses(
    proc: Path, reader: ProcReader, failing: Callable[[str, str, int], None]
) -> None:
    write_process(proc, 42)
    failing("open", "42", EACCES)
    with pytest.raises(ProcessHiddenError):
        reader.glance(42)


def test_see_with_tids(proc: Path, reader: ProcReader) -> None:
    write_process(proc, 42, tids=(44, 43))
    seen = reader.see(42, with_tids=True)
    assert seen is not None
    assert sorted(seen.tids) == [43, 44]
    single = write_process(proc, 50)
    (single / "task").rename(single / "no task")  # not even looked at where there is one thread
    seen = reader.see(50, with_tids=True)
    assert seen is not None
    assert seen.tids == ()


def test_a_title_without_nul_is_kept_as_it_is(proc: Path, reader: ProcReader) -> None:
    write_process(proc, 42, cmdline=b"nginx: worker process")
    seen = reader.see(42)
    assert seen is not None
    assert seen.cmdline == b"nginx: worker process"


def test_a_zombie_has_no_cmdline(proc: Path, reader: ProcReader) -> None:
    write_process(proc, 42, stat=stat_line(42, b"sh", state="Z"))
    seen = reader.see(42)
    assert seen is not None
    assert seen.cmdline is None
    assert seen.stat.state == "Z"


def test_of_a_kernel_thread_no_cmdline_is_read(
    proc: Path, reader: ProcReader, failing: Callable[[str, str, int], None]
) -> None:
    write_process(proc, 42, stat=stat_line(42, b"kworker/0:1", ppid=2, flags=procfs.PF_KTHREAD))
    failing("open", "cmdline", EIO)
    seen = reader.see(42)
    assert seen is not None
    assert (seen.cmdline, seen.stat.ppid) == (None, 2)


def test_gone(reader: ProcReader) -> None:
    assert reader.see(42) is None
    assert reader.stat(42) is None
    assert reader.tgid(42) is None
    assert reader.thread_name(42, 43) is None
    assert list(reader.see_all()) == []


@pytest.mark.parametrize("errno", [ENOENT, ESRCH])
@pytest.mark.parametrize("function", ["open", "read"])
@pytest.mark.parametrize("file", ["stat", "cmdline", "task"])
def test_vanished_between_two_reads(
    proc: Path,
    reader: ProcReader,
    failing: Callable[[str, str, int], None],
    function: str,
    file: str,
    errno: int,
) -> None:
    write_process(proc, 42, tids=(43,), cmdline=b"sh\0")
    failing(function, file, errno)
    seen = reader.see(42, with_tids=True)
    if file == "cmdline":  # what was read before is true of that process, which has ended since
        assert seen is not None
        assert seen.cmdline is None
    elif (function, file) != ("read", "task"):  # a directory is listed, not read
        assert seen is None


def test_an_empty_stat_is_gone(proc: Path, reader: ProcReader) -> None:
    write_process(proc, 42, stat=b"")
    write_process(proc, 43, stat=b"43 (sh) S 1")
    assert reader.see(42) is None
    assert reader.see(43) is None
    assert list(reader.see_all()) == []


@pytest.mark.parametrize("errno", [EPERM, EACCES])
@pytest.mark.parametrize("place", ["/42", "stat", "cmdline", "task"])
def test_refused_is_hidden_and_not_gone(
    proc: Path, reader: ProcReader, failing: Callable[[str, str, int], None], place: str, errno: int
) -> None:
    write_process(proc, 42, tids=(43,))
    failing("open", place, errno)
    with pytest.raises(ProcessHiddenError) as caught:
        reader.see(42, with_tids=True)
    assert caught.value.pid == 42


def test_a_scan_passes_over_what_is_hidden(
    proc: Path, reader: ProcReader, failing: Callable[[str, str, int], None]
) -> None:
    write_process(proc, 42)
    write_process(proc, 43)
    failing("open", "/42", EPERM)
    assert [seen.stat.pid for seen in reader.see_all()] == [43]
    with pytest.raises(ProcessHiddenError):
        reader.see(42)


def test_other_errors_are_not_swallowed(
    proc: Path, reader: ProcReader, failing: Callable[[str, str, int], None]
) -> None:
    write_process(proc, 42)
    failing("read", "stat", EIO)
    with pytest.raises(OSError, match="Input/output error"):
        reader.see(42)


def test_no_descriptor_is_left_open(proc: Path, reader: ProcReader) -> None:
    write_process(proc, 42, tids=(43,))
    write_process(proc, 44, stat=b"")
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        list(reader.see_all())
        reader.see(99)
        reader.tgid(42)
        reader.thread_name(42, 43)
    assert set(os.listdir("/proc/self/fd")) == before


def test_only_numbers_are_processes(proc: Path, reader: ProcReader) -> None:
    write_process(proc, 42)
    for name in ("self", "sys", "4x", "٤٢", "-1"):  # Arabic digits are decimal too
        (proc / name).mkdir()
    assert list(reader.pids()) == [42]


def test_the_process_of_a_thread(proc: Path, reader: ProcReader) -> None:
    write_process(proc, 42, tids=(43,))
    write_process(proc, 43, tgid=42)
    (write_process(proc, 44) / "status").write_bytes(b"Name:\tsh\n")
    assert reader.tgid(42) == 42
    assert reader.tgid(43) == 42
    assert reader.tgid(44) is None


def test_the_name_of_a_thread(proc: Path, reader: ProcReader, failing: Callable[[str, str, int], None]) -> None:
    task = write_process(proc, 42, tids=(43,)) / "task" / "43" / "comm"
    assert reader.thread_name(42, 43) == "worker 43"
    task.write_bytes(b"two\nlines\n\n")  # the kernel adds one newline, the rest is the name's
    assert reader.thread_name(42, 43) == "two\nlines\n"
    failing("open", "comm", EPERM)
    assert reader.thread_name(42, 43) is None


class TestFullName:
    """A name of 15 bytes may be the beginning of a longer one: that of the program's file."""

    NAME = b"victoria-metrics-prod"

    @staticmethod
    def see(
        proc: Path, reader: ProcReader, exe: bytes | None, comm: bytes = NAME[:15], flags: int = 0
    ) -> bytes | None:
        directory = write_process(proc, 42, stat=stat_line(42, comm, flags=flags))
        if exe is not None:
            os.symlink(exe, bytes(directory / "exe"))
        seen = reader.see(42)
        assert seen is not None
        assert seen.stat.comm == comm
        return seen.full_name

    @pytest.mark.parametrize(
        ("exe", "full_name"),
        [
            (b"/opt/victoria-metrics-prod", NAME),
            (b"victoria-metrics-prod", NAME),
            (b"/opt/victoria-metrics-prod (deleted)", NAME),
            (b"/opt/victoria-metrics-prod (deleted) (deleted)", NAME + b" (deleted)"),
            (b"/victoria-metrics-prod/python3.11-something", None),
            (b"/usr/bin/python3", None),
            (b"/opt/victoria-metric", None),  # the kernel has cut nothing of it
            (b"/opt/Victoria-metrics-prod", None),
            (b"/opt/", None),
            (None, None),
        ],
    )
    def test_is_that_of_the_file_where_it_begins_so(
        self, proc: Path, reader: ProcReader, exe: bytes | None, full_name: bytes | None
    ) -> None:
        assert self.see(proc, reader, exe) == full_name

    def test_of_any_bytes(self, proc: Path, reader: ProcReader) -> None:
        name = b"\xff\n)" * 6
        assert self.see(proc, reader, b"/opt/" + name, name[:15]) == name
        seen = reader.see(42)
        assert seen is not None
        assert make_node(seen, Source.EXEC).full_name == name.decode("utf-8", "surrogateescape")

    def test_a_shorter_name_is_whole_and_the_file_is_not_looked_at(
        self, proc: Path, reader: ProcReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_look(*_: object, **__: object) -> str:
            raise AssertionError("it was looked at")

        monkeypatch.setattr(os, "readlink", no_look)
        assert self.see(proc, reader, b"/opt/fourteen-bytes", b"fourteen-bytes") is None

    def test_a_kernel_thread_has_no_file(
        self, proc: Path, reader: ProcReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(os, "readlink")
        assert self.see(proc, reader, None, b"kworker/u16:3+events", flags=procfs.PF_KTHREAD) is None

    @pytest.mark.parametrize("errno", [EPERM, EACCES, ENOENT, ESRCH])
    def test_where_it_may_not_be_looked_at_the_rest_is_seen(
        self, proc: Path, reader: ProcReader, monkeypatch: pytest.MonkeyPatch, errno: int
    ) -> None:
        """Another user's, or on its way out."""

        def refuse(*_: object, **__: object) -> str:
            raise OSError(errno, os.strerror(errno))

        monkeypatch.setattr(os, "readlink", refuse)
        assert self.see(proc, reader, b"/opt/victoria-metrics-prod") is None


def test_make_node(proc: Path, reader: ProcReader) -> None:
    write_process(proc, 42, stat=stat_line(42, b"\xffsh", ppid=7, session=9, start_ticks=100), cmdline=b"a\0b\0")
    seen = reader.see(42)
    assert seen is not None
    node = make_node(seen, Source.SNAPSHOT)
    assert (node.pid, node.ppid, node.session, node.start_ns) == (42, 7, 9, seen.stat.start_ns)
    assert (node.cmd, node.source, node.ppid_source) == ("\udcffsh", Source.SNAPSHOT, Source.SNAPSHOT)
    assert (node.parent, node.exit_ns, node.cmdline) == (None, 0, b"a\0b\0")


def test_the_real_proc() -> None:
    seen = ProcReader().see(os.getpid(), with_tids=True)
    assert seen is not None
    assert seen.stat.ppid == os.getppid()
    assert seen.uid == os.geteuid()
    assert seen.stat.session == os.getsid(0)
    assert procfs.read_proc_start_time_ns(os.getpid()) == seen.stat.start_ns > 0


def test_start_of_nobody_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    assert procfs.read_proc_start_time_ns(1 << 30) == 0
    assert procfs.read_proc_start_time_ns(-1) == 0

    def refuse(_self: ProcReader, pid: int) -> None:
        raise ProcessHiddenError(pid)

    monkeypatch.setattr(ProcReader, "stat", refuse)
    assert procfs.read_proc_start_time_ns(os.getpid()) == 0


def test_a_brief_reader_reads_no_arguments(proc: Path, failing: Callable[[str, str, int], None]) -> None:
    write_process(proc, 42, stat=stat_line(42, b"fifteen-bytes-x"), cmdline=b"/bin/sh\0")
    failing("open", "cmdline", EIO)
    seen = BriefReader(str(proc)).see(42)
    assert seen is not None
    assert (seen.stat.comm, seen.cmdline, seen.full_name) == (b"fifteen-bytes-x", None, None)


@pytest.mark.parametrize("length", [4095, 4096, 4097, 100_000])
def test_long_arguments_are_read_whole(proc: Path, reader: ProcReader, length: int) -> None:
    write_process(proc, 42, cmdline=b"x" * (length - 1) + b"\0")
    seen = reader.see(42)
    assert seen is not None
    assert seen.cmdline is not None
    assert len(seen.cmdline) == length


def test_a_real_thread_is_told_from_a_process() -> None:
    with ThreadPoolExecutor(1) as pool:
        tid = pool.submit(threading.get_native_id).result()
        thread, process = ProcReader().see(tid), ProcReader().see(os.getpid())
        assert thread is not None
        assert process is not None
        assert (thread.stat.is_thread, process.stat.is_thread) == (True, False)


@pytest.mark.parametrize("with_cgroups", [True, False])
def test_the_cgroup_is_read_where_it_is_wanted(proc: Path, with_cgroups: bool) -> None:
    directory = write_process(proc, 42)
    (directory / "cgroup").write_bytes(b"0::/system.slice/web.service\n")
    seen = ProcReader(str(proc), with_cgroups=with_cgroups).see(42)
    assert seen is not None
    node = make_node(seen, Source.SNAPSHOT)
    assert node.place == (("web.service", "", "") if with_cgroups else None)
