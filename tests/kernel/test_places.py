"""Units, containers, terminals, entries and PIDs in namespaces, of real processes."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache.kernel.procfs import ProcReader
from tests.helpers.cgroups import a_cgroup
from tests.helpers.cli import Watching, proc_cache
from tests.helpers.processes import Forked, forget, fork, pump_until, rename, running, wait_until
from tests.helpers.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proc_cache import Engine

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make cgroups and namespaces"),
]

UNIT = b"proc-cache-test-%d.service" % os.getpid()
CONTAINER = b"docker-3f2a%056d%04d.scope" % (os.getpid(), 0)
SHORT = "docker:" + CONTAINER.decode().removeprefix("docker-")[:12]

# Waits for a line, then runs what it is told to, with the same stdin.
WHEN_TOLD = [sys.executable, "-S", "-c", "import os, sys; os.read(0, 1); os.execvp(sys.argv[1], sys.argv[1:])"]
A_SHORT_LIVED_CHILD = ["sh", "-c", "read line; /bin/true; exec sleep 60"]  # when it is told once more


def place_of(engine: Engine, pid: int) -> Any:
    return engine.table.newest[pid].place


def unit_of(engine: Engine, pid: int) -> str | None:
    node = engine.table.newest.get(pid)
    return None if node is None or node.place is None else node.place[0]


def runs(engine: Engine, pid: int, cmd: str) -> bool:
    node = engine.table.newest.get(pid)
    return node is not None and node.cmd == cmd


@contextmanager
def when_told(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a command once it gets a byte."""
    process = subprocess.Popen([*WHEN_TOLD, *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def answer(*arguments: str) -> Any:
    ended = proc_cache(*arguments, "--format", "json")
    assert ended.status == 0, ended
    return ended.json()


# --- an engine ----------------------------------------------------------------------------------------------


def test_one_that_was_moved_has_its_unit_once_it_has_run_a_program(engine: Engine) -> None:
    with a_cgroup(UNIT) as unit, when_told("sleep", "60") as process:
        pump_until(engine, lambda: process.pid in engine.table.newest, "its birth is seen")
        unit.take(process.pid)
        tell(process)
        pump_until(
            engine, lambda: (place_of(engine, process.pid) or "")[:1] == (UNIT.decode(),), "its unit is read"
        )


def test_what_was_there_before_is_read_while_nothing_happens(engine: Engine) -> None:
    engine.close()
    with a_cgroup(CONTAINER) as container, Forked() as process:
        container.take(process.pid)
        engine.start()
        pump_until(engine, lambda: place_of(engine, process.pid)[1] == SHORT, "its container is read")
        assert place_of(engine, process.pid)[0] == CONTAINER.decode()


def test_a_short_lived_child_has_it_from_its_parent(engine: Engine) -> None:
    with a_cgroup(UNIT) as unit, when_told(*A_SHORT_LIVED_CHILD) as process:
        unit.take(process.pid)
        tell(process)
        pump_until(engine, lambda: unit_of(engine, process.pid) == UNIT.decode(), "it is known")
        tell(process)

        def short_lived() -> list[Any]:
            nodes = [node for node in engine.table.nodes() if node.ppid == process.pid and node.exit_ns]
            return [node.place and node.place[0] for node in nodes if node.cmd == "true"]

        pump_until(engine, short_lived, "it has come and gone")
        assert short_lived() == [UNIT.decode()]


def test_a_terminal(engine: Engine) -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.execvp("sleep", ["sleep", "60"])
    try:
        name = _slave_of(terminal)
        pump_until(engine, lambda: runs(engine, pid, "sleep"), "it runs")
        assert place_of(engine, pid)[2] == f"pts/{name}"
    finally:
        os.kill(pid, signal.SIGKILL)
        forget(pid)
        os.close(terminal)


def _slave_of(terminal: int) -> str:
    from fcntl import ioctl
    from struct import pack, unpack

    number = 0x80045430  # TIOCGPTN, asm-generic/ioctls.h
    return str(unpack("I", ioctl(terminal, number, pack("I", 0)))[0])


def test_a_new_session_leaves_its_terminal(engine: Engine, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"setsid sleep 60 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60"
    pid, terminal = pty.fork()
    if not pid:
        os.execvp("sh", ["sh", "-c", script])
    child = 0
    try:
        pump_until(engine, pid_file.exists, "it has a child")
        child = int(pid_file.read_text())
        pump_until(engine, lambda: runs(engine, child, "sleep"), "it runs")
        assert place_of(engine, pid)[2].startswith("pts/")
        assert place_of(engine, child)[2] == ""
    finally:
        for each in filter(None, (child, pid)):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        forget(pid)
        os.close(terminal)


# --- answers ------------------------------------------------------------------------------------------------


def test_proc_and_an_engine_say_the_same() -> None:
    with a_cgroup(CONTAINER) as container, Forked() as process:
        container.take(process.pid)
        of_proc = answer("chain", str(process.pid))["links"][0]
        with serving():
            of_engine = answer("chain", str(process.pid))["links"][0]
            listed = answer("snapshot", "--under", str(process.pid))
    for told in (of_proc, of_engine, *listed):
        assert (told["unit"], told["container"], told["tty"]) == (CONTAINER.decode(), SHORT, of_proc["tty"])
    assert len(listed) == 1


def test_the_dead_keep_theirs_in_an_engine_and_in_a_history(tmp_path: Path) -> None:
    history = str(tmp_path / "history")
    with a_cgroup(UNIT) as unit, serving("--record", history) as engine:
        with when_told(*A_SHORT_LIVED_CHILD) as process:
            unit.take(process.pid)
            tell(process)
            wait_until(lambda: _is_known(process.pid), "where it is is known")
            tell(process)
            wait_until(lambda: _dead_child_of(process.pid), "it has come and gone")
            of_engine = _dead_child_of(process.pid)
        assert engine.end() == 0
    (recorded,) = [
        told
        for told in answer("snapshot", "--dead", "--cmd", "true", "--from", history)
        if told["ppid"] == process.pid
    ]
    for told in (*of_engine, recorded):
        assert (told["unit"], told["container"]) == (UNIT.decode(), None)
    chain = answer("chain", str(recorded["pid"]), "--from", history)
    assert (chain["entry"], chain["entry_pid"]) == ("systemd-service", process.pid)


def _is_known(pid: int) -> bool:
    told = answer("chain", str(pid))["links"][0]
    return bool(told["cmd"] == "sh" and told["unit"] == UNIT.decode())


def _dead_child_of(pid: int) -> list[Any]:
    listed = answer("snapshot", "--dead", "--cmd", "true")
    return [told for told in listed if told["ppid"] == pid and not told["alive"]]


def test_watch_tells_where_it_was() -> None:
    with a_cgroup(UNIT) as unit, Watching("--format", "ndjson", "--cmd", "true") as watching:
        watching.wait_until_capturing()
        with when_told(*A_SHORT_LIVED_CHILD) as process:

            def own() -> list[Any]:
                told = map(json.loads, watching.lines)
                return [each for each in told if each["ppid"] == process.pid]

            unit.take(process.pid)
            tell(process)
            wait_until(lambda: _is_known(process.pid), "where it is is known")
            tell(process)
            watching.read_until(lambda: len(own()) >= 2, "its exec and its exit")
    assert [each["event"] for each in own()] == ["exec", "exit"]
    assert {(each["unit"], each["entry"]) for each in own()} == {(UNIT.decode(), "systemd-service")}


# --- entries ------------------------------------------------------------------------------------------------


def test_a_cron_job_that_is_gone() -> None:
    def run_a_job() -> None:
        job = fork(lambda: os.execvp("sh", ["sh", "-c", "sleep 0.01; exit 3"]))
        os.waitpid(job, 0)
        signal.pause()

    with serving(), Forked(lambda: rename(b"cron"), afterwards=run_a_job) as daemon:
        daemon.go()

        def dead_job() -> list[Any]:
            listed = answer("snapshot", "--dead", "--cmd", "sh")
            return [told for told in listed if told["ppid"] == daemon.pid and not told["alive"]]

        wait_until(dead_job, "the job has ended")
        (job,) = dead_job()
        chain = answer("chain", str(job["pid"]))
        assert (chain["entry"], chain["entry_pid"]) == ("cron", daemon.pid)
        drawn = proc_cache("chain", "--format", "tree", str(job["pid"]))
        assert drawn.lines[-1] == f"entered by cron ({daemon.pid} cron)"


def test_kernel_threads() -> None:
    threads = [pid for pid in ProcReader().pids() if _ppid(pid) == 2]
    if not threads:
        pytest.skip("no kernel threads are seen here")
    chain = answer("chain", str(threads[0]))
    assert (chain["entry"], chain["entry_pid"]) == ("kernel", 2)
    assert answer("chain", "2")["entry"] == "kernel"


def _ppid(pid: int) -> int | None:
    stat = ProcReader().stat(pid)
    return None if stat is None else stat.ppid


# --- PID namespaces -----------------------------------------------------------------------------------------


@pytest.fixture
def inside() -> Iterator[int]:
    """A process that is PID 1 of a namespace of its own."""
    command = ["unshare", "--pid", "--fork", "--kill-child", "sleep", "60"]
    if shutil.which("unshare") is None or subprocess.run([*command[:-2], "true"], capture_output=True).returncode:
        pytest.skip("no new PID namespace can be made here")
    with running(command) as outside:

        def child() -> int | None:
            with open(f"/proc/{outside.pid}/task/{outside.pid}/children", encoding="ascii") as file:
                pids = file.read().split()
            return int(pids[0]) if pids and ProcReader().ns_pids(int(pids[0]))[1:] else None

        wait_until(child, "it is there")
        yield child() or 0


@pytest.mark.parametrize("has_engine", [False, True])
def test_pids_in_a_namespace(inside: int, has_engine: bool) -> None:
    if has_engine:
        with serving():
            check_namespace(inside)
    else:
        check_namespace(inside)


def check_namespace(pid: int) -> None:
    itself, outside, *_ = answer("chain", str(pid), "--ns")["links"]
    assert itself["ns_pids"] == [pid, 1]
    assert outside["ns_pids"] == [outside["pid"]]
    assert [told["ns_pids"] for told in answer("snapshot", "--ns", "--under", str(pid))] == [[pid, 1]]
    heading, row = proc_cache("snapshot", "--ns", "--under", str(pid)).lines
    assert row.split()[heading.split().index("NSPID")] == "1"
    assert "[1 in its PID namespace]" in proc_cache("chain", "--ns", "--format", "tree", str(pid)).stdout
    assert "ns_pids" not in answer("chain", str(pid))["links"][0]


def test_the_dead_have_no_pids_in_a_namespace_any_more() -> None:
    with serving(), Forked() as process:
        process.kill()
        pid = process.pid
        wait_until(lambda: not answer("chain", str(pid))["links"][0]["alive"], "its end is known")
        assert answer("chain", str(pid), "--ns")["links"][0]["ns_pids"] is None


# --- names made to deceive ----------------------------------------------------------------------------------

HOSTILE = [
    b"\x1b]0;owned\x07\x1b[31m.service",
    b"[red]x[link=y].service",
    b"\xe2\x80\xaelive.service",  # U+202E, RIGHT-TO-LEFT OVERRIDE
    b"\xff\xfe.service",
    b"a|b;c d\t.service",
    b"\\x2d.service",
    b"lxc.payload.\x1b[2J\xff",
]


def test_no_name_of_a_cgroup_reaches_a_terminal_as_it_is() -> None:
    with ExitStack() as stack:
        pids = {}
        for name in HOSTILE:
            cgroup = stack.enter_context(a_cgroup(name))
            pids[name] = stack.enter_context(Forked()).pid
            cgroup.take(pids[name])
        for arguments in (
            ["chain", "--wide", "--format", "tree", *map(str, pids.values())],
            ["chain", "--format", "json", *map(str, pids.values())],
            ["chain", "--format", "ndjson", *map(str, pids.values())],
            ["snapshot", "--wide", "--under", str(os.getpid())],
            ["snapshot", "--wide", "--format", "tree", "--under", str(os.getpid())],
            ["snapshot", "--format", "ndjson", "--under", str(os.getpid())],
        ):
            ended = proc_cache(*arguments)
            assert ended.status == 0, ended
            assert all(line.isprintable() for line in ended.lines), ended
        links = {told["pid"]: told["links"][0] for told in answer("chain", *map(str, pids.values()))}
    for name, pid in pids.items():
        text = name.decode("utf-8", "replace")
        key, told = (
            ("unit", text) if name.endswith(b".service") else ("container", text.replace("lxc.payload.", "lxc:"))
        )
        assert links[pid][key] == told
        assert (f"{key}_raw" in links[pid]) == ("\ufffd" in text)
