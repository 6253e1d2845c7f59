"""An engine with exit records: every program has its name, its user and what it cost, however soon it is gone.

All at normal priority, where reading /proc in time is a matter of luck.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proc_cache import Engine
from proc_cache.process import Cost, Source, unpack_cost
from tests.helpers.cli import REPOSITORY, become_nobody, plain_environment
from tests.helpers.processes import (
    NOBODY,
    Forked,
    Record,
    exit_thread,
    fork,
    in_turn,
    pump_until,
    rename,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proc_cache.process import Node

pytestmark = pytest.mark.kernel

PROGRAMS = 2000
MIB = 1 << 20
TICK_US = 10_000


@pytest.fixture
def recorded() -> Iterator[Engine]:
    """An engine with records and no privilege of scheduling; skipped where there are none."""
    with Engine() as engine:
        engine.start()
        why = engine.stats().no_records
        if why is not None:
            pytest.skip(f"no exit records: {why}")
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
        yield engine


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that any user may enter: those of pytest are its user's."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def make_programs(directory: Path, count: int) -> list[Path]:
    """Programs that end at once, each with a name of its own."""
    program = shutil.which("true")
    assert program is not None
    directory.chmod(0o755)
    first = directory / "program-0"
    shutil.copy(os.path.realpath(program), first)
    first.chmod(0o755)
    others = [directory / f"program-{number}" for number in range(1, count)]
    for other in others:
        os.link(first, other)
    return [first, *others]


def run_all(programs: list[Path], *, before: Callable[[], object] = lambda: None) -> Callable[[], dict[int, str]]:
    """Run these one after the other from another process; what is returned waits, and gives their names by pid.

    The first is that of who ran them, as an empty name.
    """
    read, write = os.pipe()
    told: list[bytes] = []

    def listen() -> None:
        with open(read, "rb") as lines:
            told.append(lines.read())

    def body() -> None:
        before()
        for program in programs:
            pid = os.posix_spawn(program, ["another name"], {})
            os.waitpid(pid, 0)
            os.write(write, b"%d %s\n" % (pid, program.name.encode()))

    spawner = fork(body)
    os.close(write)
    listening = threading.Thread(target=listen)
    listening.start()

    def wait() -> dict[int, str]:
        _, status = os.waitpid(spawner, 0)
        listening.join()
        assert status == 0, "it could not run them"
        lines = [line.split() for line in told[0].decode().splitlines()]
        return {spawner: "", **{int(pid): name for pid, name in lines}}

    return wait


def pump_while(engine: Engine, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while is_so():
        assert time.monotonic() < deadline
        engine.pump(0.02)


def ended(engine: Engine, body: Callable[[], object]) -> Node:
    """Let a child run this, and wait for its record."""
    pid = fork(body)
    os.waitpid(pid, 0)
    nodes = engine.table.newest
    pump_until(engine, lambda: pid in nodes and nodes[pid].cost is not None, "its record")
    return nodes[pid]


def cost_of(node: Node) -> Cost:
    cost = unpack_cost(node.cost)
    assert cost is not None
    return cost


def child_of(engine: Engine, pid: int, ppid: int) -> Node | None:
    """Who had this pid as a child of that one: others may have had it before and since."""
    return next((node for node in engine.table.owners(pid) if node.ppid == ppid), None)


@pytest.mark.parametrize("is_behind", [False, True], ids=["while they run", "when all are gone"])
def test_thousands_of_names_are_all_right(recorded: Engine, directory: Path, is_behind: bool) -> None:
    """By two users at once; by an engine that is there, and by one that reads all of it afterwards."""
    programs = make_programs(directory, PROGRAMS)
    spawners = [run_all(programs[::2]), run_all(programs[1::2], before=become_nobody)]
    names: list[dict[int, str]] = []
    waiting = threading.Thread(target=lambda: names.extend(wait() for wait in spawners))
    waiting.start()
    if not is_behind:
        pump_while(recorded, waiting.is_alive)
    waiting.join()
    expected: list[tuple[int, int, str, int]] = []  # pid, its parent's, name, uid
    for (spawner, *pids), by_pid, uid in zip(map(list, names), names, (0, NOBODY), strict=True):
        expected += [(pid, spawner, by_pid[pid], uid) for pid in pids]
    assert len(expected) == PROGRAMS
    pump_until(recorded, lambda: all(child_of(recorded, pid, ppid) for pid, ppid, *_ in expected), "all are known")
    nodes = [child_of(recorded, pid, ppid) for pid, ppid, *_ in expected]
    pump_until(recorded, lambda: all(node and node.exit_ns for node in nodes), "all have ended")
    pump_until(recorded, lambda: all(node and node.cost is not None for node in nodes), "all records are read")
    told = [(node.cmd, node.uid, node.exit_status) for node in nodes if node is not None]
    wrong = [(is_told, facts) for is_told, facts in zip(told, expected, strict=True) if is_told != (*facts[2:], 0)]
    assert wrong == []
    stats = recorded.stats()
    assert (stats.records_lost, stats.no_records, stats.lost) == (0, None, 0)
    assert stats.records >= PROGRAMS
    if is_behind:  # nothing could be read of most, so that these are by their records
        assert sum(node is not None and node.source == Source.EXIT_RECORD for node in nodes) > PROGRAMS // 2


def test_watch_names_all_of_a_command_right(directory: Path) -> None:
    make_programs(directory, 200)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "proc_cache", "watch", "--no-realtime", "--format", "ndjson"),
            *("--events", "exit", "--", "sh", "-c", f"for program in {directory}/*; do $program; done"),
        ],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=plain_environment(),
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    import json

    events = [json.loads(line) for line in ended.stdout.splitlines()]
    of_programs = [event for event in events if event["cmd"].startswith("program-")]
    assert sorted(event["cmd"] for event in of_programs) == sorted(f"program-{n}" for n in range(200))
    assert len(events) == 201  # the shell
    for event in of_programs:
        assert (event["user"], event["exit_code"], event["former_cmds"]) == ("root", 0, ["sh"])
        assert 0 <= event["cpu_s"] < 1
        assert event["max_rss_bytes"] > 0


class TestCost:
    def test_cpu(self, recorded: Engine) -> None:
        def burn() -> None:
            until = time.thread_time() + 0.3
            while time.thread_time() < until:
                pass

        node = ended(recorded, burn)
        assert 300_000 - TICK_US <= cost_of(node).cpu_us < 400_000
        described = recorded.view.describe(node)
        assert described.cost == cost_of(node)

    def test_cpu_of_all_threads(self, recorded: Engine) -> None:
        def burn() -> None:
            until = time.thread_time() + 0.1
            while time.thread_time() < until:
                pass

        def body() -> None:
            threads = [threading.Thread(target=burn) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert 300_000 - 4 * TICK_US <= cost_of(ended(recorded, body)).cpu_us < 500_000

    def test_peak_of_memory(self, recorded: Engine) -> None:
        code = f"import os; b'x' * {50 * MIB}; os._exit(0)"
        node = ended(recorded, lambda: os.execv(sys.executable, ["python", "-SEc", code]))
        assert 50 * MIB <= cost_of(node).max_rss_bytes < 100 * MIB

    def test_of_a_leader_that_ended_long_before(self, recorded: Engine) -> None:
        """Longer than what is taken for a mere delay; name and status are the process's."""
        go, let_go = os.pipe()

        def body() -> None:
            rename(b"the-leader")

            def work() -> None:
                rename(b"worker")
                os.read(go, 1)
                exit_thread(5)

            threading.Thread(target=work, daemon=True).start()
            exit_thread(2)

        pid = fork(body)
        pump_until(recorded, lambda: pid in recorded.table.newest, "born")
        since = time.monotonic()
        pump_while(recorded, lambda: time.monotonic() < since + 2.5)
        assert not recorded.table.newest[pid].exit_ns
        os.write(let_go, b"!")
        _, status = os.waitpid(pid, 0)
        os.close(go)
        os.close(let_go)
        node = recorded.table.newest[pid]
        pump_until(recorded, lambda: node.cost is not None, "its record")
        assert (node.cmd, node.exit_status) == ("the-leader", status)

    def test_of_the_living_is_not_known(self, recorded: Engine) -> None:
        with Forked() as child:
            pump_until(recorded, lambda: child.pid in recorded.table.newest, "born")
            recorded.pump(0)
            assert recorded.table.newest[child.pid].cost is None


def test_without_the_privilege_everything_else_works(directory: Path) -> None:
    """Uid 65534 with no capability, which may listen since Linux 6.6."""
    programs = make_programs(directory, 20)
    told, tell = os.pipe()

    def body() -> None:
        with Engine() as warm_up:  # what is imported late is, while it can be read
            warm_up.start()
        become_nobody()
        with Engine() as engine:
            engine.start()
            record = Record(engine)
            _, *names = run_all(programs)()
            pump_until(
                engine,
                lambda: all(pid in engine.table.newest and engine.table.newest[pid].exit_ns for pid in names),
                "all have ended",
            )
            stats = engine.stats()
            children = [engine.table.newest[pid] for pid in names]
            is_all_known = all(node.exit_status == 0 and node.cost is None for node in children)
            answer = f"{is_all_known} {len(record.seen) >= 60} {stats.records} {stats.lost} {stats.no_records}"
            os.write(tell, answer.encode())

    pid = fork(body)
    os.close(tell)
    _, status = os.waitpid(pid, 0)
    with open(told, "rb") as answers:
        answer = answers.read().decode()
    if not answer:
        pytest.skip(f"listening needs a privilege here (it is free since Linux 6.6): {status}")
    assert answer == "True True 0 0 exit records need CAP_NET_ADMIN; run it as root"


def test_an_exec_that_was_lost_is_named_all_the_same(
    recorded: Engine, fork_storm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Exec and Exit found no room; a scan has seen that it is gone, the record tells the rest."""
    from proc_cache.kernel import netlink
    from proc_cache.kernel.netlink import ProcConnector
    from proc_cache.kernel.taskstats import ExitRecordSocket

    recorded.close()
    with monkeypatch.context() as patched:
        patched.setattr(netlink, "RECEIVE_BUFFER_BYTES", 128 << 10)
        connector = ProcConnector.open()
    with Engine() as engine:
        engine.start(connector)
        engine.intake.take_records_from(ExitRecordSocket.open())
        with Forked(afterwards=in_turn(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 3"]))) as lived_before:
            pump_until(engine, lambda: lived_before.pid in engine.table.newest, "known")
            subprocess.run([fork_storm, "3000"], check=True)
            lived_before.wait()  # runs another program and ends, unheard
            pump_until(
                engine,
                lambda: engine.table.newest[lived_before.pid].cost is not None,
                "a scan has seen that it is gone, and its record who it was",
            )
            node = engine.table.newest[lived_before.pid]
            pump_until(engine, lambda: node.exit_status is not None, "and how it ended")
            assert (node.cmd, node.source, node.exit_status) == ("sh", Source.EXIT_RECORD, 3 << 8)
        assert engine.stats().overruns > 0
