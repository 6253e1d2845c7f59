"""`--record` and `--from` with real processes, a full disk, and an engine that is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from proc_cache.errors import ExitRecordsUnavailableError
from proc_cache.kernel.taskstats import ExitRecordSocket
from tests.conftest import MUST_RUN
from tests.helpers.cli import PROC_CACHE, REPOSITORY, Watching, as_nobody, plain_environment, proc_cache
from tests.helpers.processes import running, wait_until
from tests.helpers.recording import is_running, table, writers_of
from tests.helpers.serving import Serving, serving
from tests.helpers.storms import compile_program

pytestmark = pytest.mark.kernel

# The example of the question: three generations of shells, all of which end.
GENERATIONS = "sh -c 'sh -c \"exit 3\" & echo $! & wait' ; exit 5"
ENDED = struct.Struct("=qq")  # pid, CLOCK_BOOTTIME in ns after it was reaped

STORM = """
#define _DEFAULT_SOURCE
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* known-storm N: N processes, one after the other, some 3,000 a second; writes down when each had ended. */
int main(int argc, char **argv) {
    struct timespec pause = {0, 150000}, now;
    for (long left = atol(argv[1]); left > 0; left--) {
        pid_t pid = vfork();
        if (pid == 0) _exit(0);
        if (pid < 0) return 1;
        waitpid(pid, 0, 0);
        clock_gettime(CLOCK_BOOTTIME, &now);
        long long row[2] = {pid, now.tv_sec * 1000000000LL + now.tv_nsec};
        if (write(1, row, sizeof row) != sizeof row) return 1;
        nanosleep(&pause, 0);
    }
    return 0;
}
"""


@pytest.fixture
def needs_exit_records() -> None:
    """Skip where the kernel gives none, with the reason."""
    try:
        ExitRecordSocket.open().close()
    except ExitRecordsUnavailableError as error:
        if os.environ.get(MUST_RUN) == "1":
            raise
        pytest.skip(f"no exit records: {error}")


@pytest.fixture(scope="module")
def known_storm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("known-storm"), "known-storm", STORM)


def read_ends(path: Path) -> list[tuple[int, int]]:
    data = path.read_bytes()
    return list(ENDED.iter_unpack(data[: len(data) // ENDED.size * ENDED.size]))


@contextmanager
def storming(program: Path, known: Path, count: int) -> Iterator[subprocess.Popen[bytes]]:
    with open(known, "wb") as file, subprocess.Popen([program, str(count)], stdout=file) as storm:
        try:
            yield storm
        finally:
            storm.kill()


def rows_of(history: Path, columns: str, rest: str) -> list[tuple[Any, ...]]:
    """Read a file that may not be there yet, or may have no tables yet."""
    try:
        return table(history, columns, rest)
    except sqlite3.OperationalError:
        return []


def wait_until_recorded(history: Path, pid: int, condition: str = "exit_ns IS NOT NULL") -> None:
    rest = f"FROM process WHERE pid = {pid} AND {condition}"
    wait_until(lambda: rows_of(history, "pid", rest), f"{pid} is in the file", 5)


def run_generations() -> list[int]:
    """Let the three generations live and end; gives the pids of the outermost and the innermost."""
    with subprocess.Popen(["sh", "-c", GENERATIONS], stdout=subprocess.PIPE) as outermost:
        said, _ = outermost.communicate(timeout=10)
    assert outermost.returncode == 5
    return [outermost.pid, int(said)]


def comparable(value: Any) -> Any:
    """An answer without what changes with time: whether somebody lives, and what may be read of the living."""
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items() if key != "alive"}
    return value


def hear(process: subprocess.Popen[bytes], word: str, deadline_s: float = 5) -> list[str]:
    """Read stderr until a line has this word; gives all lines that were read."""
    assert process.stderr is not None
    descriptor, heard = process.stderr.fileno(), b""
    os.set_blocking(descriptor, False)

    def is_said() -> bool:
        nonlocal heard
        with suppress(BlockingIOError):
            heard += os.read(descriptor, 1 << 16)
        return word in heard.decode()

    wait_until(is_said, f"it says {word!r}", deadline_s)
    os.set_blocking(descriptor, True)
    return heard.decode().splitlines()


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[Path]:
    """A file system of its own."""
    directory.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], capture_output=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def remount(directory: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(directory)], check=True)


# --- after the engine -------------------------------------------------------------------------------------


def test_the_file_answers_what_the_engine_answered(tmp_path: Path) -> None:
    history = tmp_path / "history"
    with serving("--record", str(history)) as engine:
        outermost, innermost = run_generations()
        questions = [
            ["chain", "--format", "json", str(innermost)],
            ["chain", str(innermost)],
            ["descendant", "--format", "json", str(innermost), "sh"],
            ["descendant", "--format", "json", str(innermost), "no-such-name"],
            ["snapshot", "--format", "json", "--dead", "--under", str(outermost)],
        ]
        of_engine = [proc_cache(*question) for question in questions]
        assert engine.end() == 0
        assert "0 missed, 0 errors" in engine.stderr
    of_file = [proc_cache(*question, "--from", str(history)) for question in questions]
    assert [each.status for each in of_file] == [each.status for each in of_engine]
    for question, before, after in zip(questions, of_engine, of_file, strict=True):
        if "json" in question:
            assert comparable(after.json()) == comparable(before.json()), question
        else:
            assert after.stdout == before.stdout
    links = of_file[0].json()["links"]
    assert [link["exit_code"] for link in links[:3]] == [3, 0, 5]
    assert [link["pid"] for link in links[:3:2]] == [innermost, outermost]
    assert [link["alive"] for link in links[:3]] == [False] * 3
    assert all(link["run_time_s"] > 0 for link in links[:3])


@pytest.mark.usefixtures("needs_exit_records")
def test_what_happened_just_before_the_end_is_in_the_file(tmp_path: Path) -> None:
    for attempt in range(3):  # that the engine had looked by itself is possible, once
        history = tmp_path / f"history-{attempt}"
        with serving("--record", str(history)) as engine:
            ended = subprocess.Popen(["sh", "-c", "exit 3"])
            ended.wait(10)
            assert engine.end() == 0
        row = table(history, "exit_status, cmd", f"FROM process WHERE pid = {ended.pid} ORDER BY start_ns DESC")
        assert row[0] == (3 << 8, b"sh"), attempt


def test_watch_records_and_shows_it_again(tmp_path: Path) -> None:
    history = tmp_path / "history"
    live = proc_cache(
        "watch", "--record", str(history), "--format", "ndjson", "--", "sh", "-c", "/bin/true; (exit 4); exit 3"
    )
    assert live.status == 3
    events = [json.loads(line) for line in live.lines]
    replayed = proc_cache("watch", "--from", str(history), "--format", "ndjson", "--under", str(events[0]["pid"]))
    assert (replayed.status, replayed.stderr) == (0, "")
    again = [json.loads(line) for line in replayed.lines]
    fields = ("event", "timestamp_ns", "pid", "ppid", "cmd", "source", "user", "exit_code", "chain")
    assert [{field: each[field] for field in fields} for each in again] == [
        {field: each[field] for field in fields} for each in events
    ]
    arguments = [[each["cmdline"] for each in of if each["event"] != "fork"] for of in (again, events)]
    assert arguments[0] == arguments[1]
    two = proc_cache("watch", "--from", str(history), "--events", "exec", "--count", "2")
    assert [line.split()[1] for line in two.lines] == ["exec", "exec"]
    for command in ("snapshot", "watch"):  # it may be of another machine, with users of its own
        of_nobody = proc_cache(command, "--from", str(history), "--user", "no-such-user", "--format", "ndjson")
        assert (of_nobody.status, of_nobody.stdout, of_nobody.stderr) == (0, "", "")


@pytest.mark.usefixtures("needs_exit_records")
def test_what_a_process_cost_is_in_the_file(tmp_path: Path) -> None:
    history = tmp_path / "history"
    with serving("--record", str(history)) as engine:
        program = "import time; held = bytearray(64 << 20)\nwhile time.process_time() < 0.2: pass"
        with subprocess.Popen([sys.executable, "-c", program]) as spender:
            assert spender.wait(10) == 0
        wait_until_recorded(history, spender.pid, "cpu_us IS NOT NULL")
        assert engine.end() == 0
    of_file = proc_cache("chain", "--format", "json", "--from", str(history), str(spender.pid)).json()["links"]
    assert 0.2 <= of_file[0]["cpu_s"] < 5
    assert 64 << 20 <= of_file[0]["max_rss_bytes"] < 1 << 30
    assert of_file[0]["write_bytes"] >= 0
    assert of_file[1]["cpu_s"] is None, "it lives: its record is not written yet"


@pytest.mark.usefixtures("needs_exit_records")
def test_programs_that_were_gone_too_soon_have_their_names_in_the_file(tmp_path: Path) -> None:
    history = tmp_path / "history"
    with serving("--record", str(history)) as engine:
        os.kill(engine.pid, signal.SIGSTOP)  # it looks when all is over
        try:
            gone = [subprocess.Popen(["true"]) for _ in range(23)]
            assert [each.wait(10) for each in gone] == [0] * 23
        finally:
            os.kill(engine.pid, signal.SIGCONT)
        for each in gone:
            wait_until_recorded(history, each.pid, "cpu_us IS NOT NULL")
        assert engine.end() == 0
    pids = ", ".join(str(each.pid) for each in gone)
    of_them = f"FROM exec JOIN process ON process.id = exec.process WHERE pid IN ({pids})"
    named = (b"true", "exit_record")
    assert table(history, "exec.cmd, exec.source, process.cmd, process.source", of_them) == [(*named, *named)] * 23
    events = [
        json.loads(line)
        for line in proc_cache("watch", "--from", str(history), "--format", "ndjson", "--cmd", "true").lines
    ]
    execs = [each for each in events if each["event"] == "exec" and each["pid"] in {one.pid for one in gone}]
    assert [(each["cmd"], each["source"], each["cpu_s"]) for each in execs] == [("true", "exit_record", None)] * 23


def test_two_recordings_in_one_file(tmp_path: Path) -> None:
    """What lived through both is one row; what ended between them is known to have ended."""
    history = tmp_path / "history"
    with running(["cat"]) as lasting:
        with running(["cat"]) as between, serving("--record", str(history)) as engine:
            wait_until_recorded(history, between.pid, "1")
            engine.end()
        between.wait()
        with serving("--record", str(history)) as engine:
            wait_until_recorded(history, between.pid)
            engine.end()
    rest = f"FROM process WHERE pid IN ({lasting.pid}, {between.pid})"
    found = dict(table(history, "pid, exit_ns IS NULL", rest))
    assert found == {lasting.pid: 1, between.pid: 0}
    assert len(table(history, "pid", rest)) == 2
    assert len(table(history, "id", "FROM boot")) == 1


# --- ends -------------------------------------------------------------------------------------------------


def test_killed_in_the_middle_of_a_storm(tmp_path: Path, known_storm: Path) -> None:
    history, known = tmp_path / "history", tmp_path / "known"
    with serving("--record", str(history)) as engine, storming(known_storm, known, 20_000) as storm:
        (writer,) = writers_of(engine.pid)
        wait_until(lambda: known.stat().st_size >= 5000 * ENDED.size, "the storm rages")
        assert storm.poll() is None
        killed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert engine.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not is_running(writer), "the writer ends with the engine", 5)
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    ((booted_ns,),) = table(history, "booted_ns", "FROM boot")
    ends: dict[int, list[int]] = {}
    for pid, exit_ns in table(history, "pid, exit_ns", "FROM process WHERE exit_status IS NOT NULL"):
        ends.setdefault(pid, []).append(exit_ns - booted_ns)
    old = [(pid, ended_ns) for pid, ended_ns in read_ends(known) if ended_ns < killed_ns - 1_000_000_000]
    assert len(old) > 500, "the storm was old enough for the promise to mean something"
    # Noted by the storm after the end, and soon after it, unless it was kept from a CPU.
    missing = {
        pid: [ended_ns - at for at in ends.get(pid, ())]
        for pid, ended_ns in old
        if not any(-(10**6) < ended_ns - at < 10**9 for at in ends.get(pid, ()))
    }
    assert missing == {}
    assert proc_cache("chain", "--from", str(history), str(old[-1][0])).status == 0


def test_ctrl_c_loses_nothing(tmp_path: Path, known_storm: Path) -> None:
    """A terminal sends SIGINT to the engine and to all that it started."""
    history, known = tmp_path / "history", tmp_path / "known"
    with subprocess.Popen(
        [*PROC_CACHE, "serve", "--record", str(history)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=plain_environment(),
        process_group=0,
    ) as process:
        try:
            hear(process, "answering at", 20)
            (writer,) = writers_of(process.pid)
            with storming(known_storm, known, 1000) as storm:
                assert storm.wait(10) == 0
            Serving(process).stats()  # an answer holds what happened before the question
            os.killpg(process.pid, signal.SIGINT)
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0, said.decode()
    wait_until(lambda: not is_running(writer), "the writer has ended", 5)
    recorded = {pid for (pid,) in table(history, "pid", "FROM process WHERE exit_status = 0")}
    assert {pid for pid, _ in read_ends(known)} <= recorded


def test_killing_the_writer_is_told_once_and_capture_goes_on(tmp_path: Path) -> None:
    history = tmp_path / "history"
    with serving("--record", str(history)) as engine:
        (writer,) = writers_of(engine.pid)
        os.kill(writer, signal.SIGKILL)
        said = hear(engine.process, "capture goes on")
        subprocess.run(["true"])
        outermost, innermost = run_generations()
        chain = proc_cache("chain", "--format", "json", str(innermost)).json()
        assert outermost in [link["pid"] for link in chain["links"]]
        assert engine.end() == 0
    assert len([line for line in (*said, *engine.stderr.splitlines()) if "capture goes on" in line]) == 1


# --- files that cannot be written -------------------------------------------------------------------------


def test_a_full_disk(tmp_path: Path, fork_storm: Path) -> None:
    with mounted(tmp_path / "small", "size=1m") as small:
        history = small / "history"
        with serving("--record", str(history)) as engine:
            wait_until_recorded(history, engine.pid, "1")
            subprocess.run([fork_storm, "12000"], check=True)
            said = hear(engine.process, "the history is not written")
            outermost, innermost = run_generations()
            answer = proc_cache("chain", "--format", "json", str(innermost))
            assert outermost in [link["pid"] for link in answer.json()["links"]], "capture goes on"
            remount(small, "size=64m")
            said += hear(engine.process, "the history is written again")
            wait_until_recorded(history, innermost)
            assert engine.end() == 0
        said += engine.stderr.splitlines()
        assert len([line for line in said if "is not written" in line]) == 1
        assert len([line for line in said if "written again" in line]) == 1
        assert "1 errors" in engine.stderr
        after = proc_cache("chain", "--format", "json", "--from", str(history), str(innermost))
        assert comparable(after.json()["links"][:3]) == comparable(answer.json()["links"][:3])
        ((missed,),) = table(history, "missed", "FROM recording")
        recorded = table(history, "count(*)", "FROM process WHERE ppid_source = 'fork'")[0][0]
        assert recorded + missed >= 12_000


def test_what_a_disk_that_stays_full_has_cost_is_counted(tmp_path: Path, fork_storm: Path) -> None:
    with mounted(tmp_path / "small", "size=1m") as small:
        history = small / "history"
        with serving("--record", str(history)) as engine:
            wait_until_recorded(history, engine.pid, "1")
            subprocess.run([fork_storm, "12000"], check=True)
            hear(engine.process, "the history is not written")
            assert engine.end() == 0
        assert "processes are missing from the history" in engine.stderr


def test_a_directory_that_cannot_be_written_to(tmp_path: Path) -> None:
    with mounted(tmp_path / "fixed", "size=8m,ro") as fixed:
        history = fixed / "history"
        with serving("--record", str(history)) as engine:
            said = hear(engine.process, "the history is not written")
            _, innermost = run_generations()
            assert len(proc_cache("chain", "--format", "json", str(innermost)).json()["links"]) > 3
            remount(fixed, "rw")
            said += hear(engine.process, "the history is written again")
            wait_until_recorded(history, innermost)
            assert engine.end() == 0
        said += engine.stderr.splitlines()
        assert len([line for line in said if "is not written" in line]) == 1
        assert "Read-only file system" in " ".join(said)


def test_a_reader_in_the_middle_of_a_read_does_not_stop_the_writer(tmp_path: Path) -> None:
    history = tmp_path / "history"
    with serving("--record", str(history)) as engine:
        wait_until_recorded(history, engine.pid, "1")
        with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            before = reader.execute("SELECT count(*) FROM process").fetchone()
            _, innermost = run_generations()
            wait_until_recorded(history, innermost)
            assert reader.execute("SELECT count(*) FROM process").fetchone() == before
        assert engine.end() == 0
        assert "0 missed, 0 errors" in engine.stderr


# --- its process, and its file ----------------------------------------------------------------------------


def test_the_writer_holds_nothing_of_ours_and_is_no_real_time_process(tmp_path: Path) -> None:
    history = tmp_path / "history"
    with serving("--record", str(history)) as engine:
        wait_until_recorded(history, engine.pid, "1")
        (writer,) = writers_of(engine.pid)
        held = {os.readlink(f"/proc/{writer}/fd/{name}") for name in os.listdir(f"/proc/{writer}/fd")}
        sockets = [name for name in held if name.startswith("socket:")]
        assert len(sockets) == 1
        assert {name for name in held if not name.startswith("socket:")} <= {
            "/dev/null",
            *(f"{history}{suffix}" for suffix in ("", "-wal", "-shm")),
        }
        assert os.sched_getscheduler(writer) == os.SCHED_OTHER
        assert os.getpriority(os.PRIO_PROCESS, writer) > os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getsid(writer) == os.getsid(engine.pid), "they share what the scheduler gives to a session"
        assert os.getpgid(writer) != os.getpgid(engine.pid), "what is sent to the engine's group is not for it"
        for suffix in ("", "-wal", "-shm"):
            assert Path(f"{history}{suffix}").stat().st_mode & 0o777 == 0o600
        engine.end()
        wait_until(lambda: not is_running(writer), "the writer has ended", 5)


def test_watch_without_a_command_records_until_its_end(tmp_path: Path) -> None:
    history = tmp_path / "history"
    with Watching("--record", str(history), "--events", "exec", "--cmd", "no-such-name") as watch:
        watch.wait_until_capturing()
        _, innermost = run_generations()
        wait_until_recorded(history, innermost)
        (writer,) = writers_of(watch.engine_pid)
        ended = watch.stop()
    assert (ended.status, ended.stderr) == (0, "")
    wait_until(lambda: not is_running(writer), "the writer has ended", 5)


@pytest.mark.parametrize(
    "question",
    [["chain", "1"], ["descendant", "1", "x"], ["snapshot"], ["watch"]],
    ids=lambda words: str(words[0]),
)
@pytest.mark.parametrize("what", ["directory", "text", "missing"])
def test_what_is_no_history(tmp_path: Path, question: list[str], what: str) -> None:
    path = tmp_path / "path"
    if what == "directory":
        path.mkdir()
    elif what == "text":
        path.write_text("not a database\n" * 100)
    ended = proc_cache(*question, "--from", str(path))
    assert (ended.status, ended.stdout, len(ended.complaints)) == (69, "", 1), ended
    assert str(path) in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_history_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.touch(0o600)
    ended = as_nobody("chain", "1", "--from", str(path))
    assert (ended.status, ended.stdout, len(ended.complaints)) == (69, "", 1), ended
    assert "Permission denied" in ended.stderr


@pytest.mark.parametrize("command", [["serve"], ["watch", "--duration", "1"]], ids=["serve", "watch"])
def test_a_file_of_somebody_else_is_not_recorded_to(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "text"
    path.write_text("not a database\n" * 100)
    ended = proc_cache(*command, "--record", str(path))
    assert (ended.status, ended.stdout, len(ended.complaints)) == (69, "", 1), ended
    assert path.read_text() == "not a database\n" * 100


def test_a_history_on_a_read_only_disk_is_read(tmp_path: Path) -> None:
    """A log is shared through files beside the history, which cannot be made there."""
    with mounted(tmp_path / "disk", "size=8m") as disk:
        history = disk / "history"
        with serving("--record", str(history)) as engine:
            assert engine.end() == 0
        remount(disk, "ro")
        ended = proc_cache("chain", "--from", str(history), "1")
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout.startswith("1|")


def test_a_directory_is_no_history(tmp_path: Path) -> None:
    ended = proc_cache("chain", "--from", str(tmp_path), "1")
    assert (ended.status, len(ended.complaints)) == (69, 1)
    assert "it is a directory" in ended.stderr
