"""Floods against an engine: it filters the flooder, names everybody else, and is right about it in the end."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from proc_cache import Engine
from proc_cache.kernel import netlink
from proc_cache.kernel.netlink import ProcConnector
from tests.helpers.processes import comm_of, fork, netlink_drops, pump_until, touch_every_cpu
from tests.helpers.storms import compile_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proc_cache.engine.stats import Flood
    from proc_cache.process import Node

pytestmark = pytest.mark.kernel

SECONDS = 2
PROGRAMS = 200

# `flood KIND SECONDS`: renames itself, or starts and ends threads, for so long; then it is called `the-last-name`,
# says so, and waits for the end of stdin. KIND `orphan`: the leader ends first, and its thread does it all.
_FLOOD = """
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static double until;
static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}
static void *nothing(void *unused) { return unused; }
static void start_threads(void) {
    while (now() < until) {
        pthread_t thread;
        if (pthread_create(&thread, 0, nothing, 0)) _exit(1);
        pthread_join(thread, 0);
    }
}
static void wait_for_the_end(void) {
    char byte;
    if (write(1, "!", 1) != 1) _exit(1);
    while (read(0, &byte, 1) > 0) {}
}
static void *outlive(void *leader) {
    pthread_join(*(pthread_t *)leader, 0);
    start_threads();
    wait_for_the_end();
    syscall(SYS_exit, 5);
    return 0;
}
int main(int argc, char **argv) {
    if (argc != 3) return 2;
    until = now() + atof(argv[2]);
    if (!strcmp(argv[1], "orphan")) {
        static pthread_t leader, worker;
        leader = pthread_self();
        prctl(PR_SET_NAME, "the-leader");
        start_threads();
        until = now() + atof(argv[2]);
        if (pthread_create(&worker, 0, outlive, &leader)) return 1;
        pthread_exit(0);
    }
    if (!strcmp(argv[1], "thread")) start_threads();
    char name[16];
    for (unsigned number = 0; !strcmp(argv[1], "rename") && (number % 1024 || now() < until); number++) {
        snprintf(name, sizeof name, "flood-%u", number);
        prctl(PR_SET_NAME, name);
    }
    prctl(PR_SET_NAME, "the-last-name");
    wait_for_the_end();
    return 0;
}
"""


@pytest.fixture(scope="module")
def flood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("flood"), "flood", _FLOOD, "-pthread")


@contextmanager
def flooding(flood: Path, kind: str, seconds: float = SECONDS) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([flood, kind, str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def say_go(process: subprocess.Popen[bytes]) -> int:
    """Let it end, and reap it."""
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(30)


def is_done(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    return process.stdout.read(1) is not None


def flood_told(engine: Engine, pid: int, kind: str) -> Flood | None:
    found = [flood for flood in engine.stats().floods if (flood.pid, flood.kind) == (pid, kind)]
    return found[-1] if found else None


def run_programs(engine: Engine, directory: Path) -> dict[int, str]:
    """Run programs of distinct names, one at a time, and look at the queue meanwhile."""
    born = {}
    source = os.path.realpath("/bin/true")
    for number in range(PROGRAMS):
        name = f"program-{number}"
        program = directory / name
        if not program.exists():
            os.symlink(source, program)
        pid = os.posix_spawn(program, [name], {})
        born[pid] = name
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            engine.pump(0.001)
    return born


def child(engine: Engine, pid: int) -> Node | None:
    """Who had this pid as a child of this test: others may have had it before and since."""
    return next((node for node in engine.table.owners(pid) if node.ppid == os.getpid()), None)


def are_named(engine: Engine, born: dict[int, str]) -> None:
    """Each has its name; where there are no exit records, it is not a wrong one that passes for certain."""
    pump_until(engine, lambda: all(child(engine, pid) for pid in born), "all are known", 60)
    nodes = {pid: node for pid in born if (node := child(engine, pid)) is not None}
    pump_until(engine, lambda: all(node.exit_ns for node in nodes.values()), "all have ended", 60)
    if engine.stats().no_records is None:
        pump_until(engine, lambda: all(node.cost is not None for node in nodes.values()), "all records", 60)
        wrong = [nodes[pid] for pid, name in born.items() if nodes[pid].cmd != name]
        assert wrong == []


def drops_of(engine: Engine) -> int:
    assert engine.intake.connector is not None
    return netlink_drops(engine.intake.connector.inode())


def no_filter_is_left(engine: Engine) -> None:
    """Wait until gaps prove something again: the filter is gone, and each CPU was heard since."""

    def is_so() -> bool:
        touch_every_cpu()
        return not engine.ledger.is_filtered

    pump_until(engine, is_so, "the filter is gone", 90)


def lost_is_what_was_dropped(engine: Engine) -> None:
    """By the kernel's own counter. It is ahead until each CPU has been heard again."""

    def is_same() -> bool:
        touch_every_cpu()
        while engine.pump(0):
            pass
        return engine.stats().lost == drops_of(engine)

    pump_until(engine, is_same, "as many are lost as were dropped", 30)


def test_a_rename_flood(engine: Engine, flood: Path, tmp_path: Path) -> None:
    with flooding(flood, "rename") as flooder:
        # Before it is filtered it may fill the buffer, and then what is lost is told; afterwards it does not.
        pump_until(engine, lambda: flood_told(engine, flooder.pid, "comm"), "it is noticed", 30)
        pump_until(engine, lambda: not engine.pump(0), "what had queued up is applied", 30)
        lost = engine.stats().lost
        born = run_programs(engine, tmp_path)
        assert engine.stats().lost == lost
        pump_until(engine, lambda: is_done(flooder), "the flood is over", 60)
        told = flood_told(engine, flooder.pid, "comm")
        assert told is not None
        assert (told.cmd or "").startswith("flood"), told
        assert told.uid == 0
        assert told.per_second > 5_000
        are_named(engine, born)
        # It lives on; once the filter is lifted a scan reads what it is called.
        node = engine.table.newest[flooder.pid]
        pump_until(engine, lambda: node.cmd == "the-last-name", "its last name", 90)
        assert comm_of(flooder.pid) == b"the-last-name"
        lost_is_what_was_dropped(engine)
        assert engine.stats().filtered > 0  # now that each CPU has shown its gap
        assert say_go(flooder) == 0
        pump_until(engine, lambda: node.exit_ns, "its end")
    assert (node.cmd, node.exit_status) == ("the-last-name", 0)


def test_a_rename_flood_that_ends_with_its_process(engine: Engine, flood: Path) -> None:
    """Its last name is in the record of its end alone; the filter goes at once."""
    if engine.stats().no_records is not None:
        pytest.skip("no exit records")
    with flooding(flood, "rename") as flooder:
        pump_until(engine, lambda: flood_told(engine, flooder.pid, "comm"), "the flood is noticed", 30)
        pump_until(engine, lambda: is_done(flooder), "the flood is over", 60)
        assert say_go(flooder) == 0
    node = engine.table.newest[flooder.pid]
    pump_until(engine, lambda: node.cost is not None, "its record")
    assert node.cmd == "the-last-name"
    guard = engine.intake.floods
    assert guard is not None
    pump_until(engine, lambda: not guard.is_dropping("comm", flooder.pid), "the filter is gone")


def test_a_thread_flood(engine: Engine, flood: Path, tmp_path: Path) -> None:
    with flooding(flood, "thread") as flooder:
        born = run_programs(engine, tmp_path)
        pump_until(engine, lambda: is_done(flooder), "the flood is over", 60)
        told = flood_told(engine, flooder.pid, "thread")
        if told is None:
            pytest.skip("so few threads a second are no flood: this machine is slow")
        assert told.cmd == "flood"
        are_named(engine, born)
        assert say_go(flooder) == 0
        node = engine.table.newest[flooder.pid]
        pump_until(engine, lambda: node.exit_ns, "its end")
        no_filter_is_left(engine)
        assert engine.stats().filtered > 0
        lost_is_what_was_dropped(engine)
    assert (node.cmd, node.exit_status) == ("the-last-name", 0)


def test_a_leader_that_ends_first_while_its_threads_are_a_flood(engine: Engine, flood: Path) -> None:
    with flooding(flood, "orphan") as flooder:
        pump_until(engine, lambda: is_done(flooder), "the flood is over", 60)
        if flood_told(engine, flooder.pid, "thread") is None:
            pytest.skip("so few threads a second are no flood: this machine is slow")
        node = engine.table.newest[flooder.pid]
        since = time.monotonic()
        pump_until(engine, lambda: time.monotonic() > since + 0.5, "some time has passed")
        assert not node.exit_ns, "it lives, by its other thread"
        child = fork(lambda: None)  # something is told to the engine meanwhile
        os.waitpid(child, 0)
        status = say_go(flooder)
        pump_until(engine, lambda: node.exit_ns, "a scan has seen its end", 90)
        if engine.stats().no_records is None:
            pump_until(engine, lambda: node.exit_status is not None, "and its record told how it ended", 30)
            assert os.waitstatus_to_exitcode(node.exit_status or 0) == status
            assert node.cmd == "the-leader"
            assert engine.stats().records_lost == 0, "those of threads that nobody tells of are taken all the same"
    mine = [owner for owner in engine.table.owners(flooder.pid) if owner.ppid == os.getpid()]
    assert mine == [node], "one process was taken for two"


def test_losses_beside_a_flood_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, flood: Path, fork_storm: Path
) -> None:
    """A buffer that is soon full: what found no room is lost, what the filter took is not."""
    with monkeypatch.context() as patched:
        patched.setattr(netlink, "RECEIVE_BUFFER_BYTES", 4 << 20)
        connector = ProcConnector.open()
    with Engine() as engine, flooding(flood, "rename", 6) as flooder:
        engine.start(connector)
        pump_until(engine, lambda: engine.ledger.is_filtered, "the flood is filtered", 30)
        before = engine.stats().lost
        subprocess.run([fork_storm, "30000"], check=True)
        pump_until(engine, lambda: engine.stats().lost > before, "a loss")
        lost_is_what_was_dropped(engine)
        pump_until(engine, lambda: is_done(flooder), "the flood is over", 60)
        assert say_go(flooder) == 0
        no_filter_is_left(engine)
        stats = engine.stats()
        assert stats.filtered > 0
        if stats.lost_is_exact:
            lost_is_what_was_dropped(engine)
        else:
            assert stats.lost >= drops_of(engine)
