"""Threads: not processes, yet a process lives as long as one of them, and each of them can fork and exec."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from proc_cache import Engine
from proc_cache.events import Exec, Exit, Fork
from tests.helpers.cli import proc_cache
from tests.helpers.processes import (
    Forked,
    Record,
    comm_of,
    exit_group,
    exit_thread,
    forget,
    fork,
    pump_until,
    rename,
    stat_fields,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel


def in_thread(body: Callable[[], object]) -> None:
    """Run this in another thread, and wait for nothing."""
    threading.Thread(target=body, daemon=True).start()


def test_a_thread_is_no_process(engine: Engine) -> None:
    record = Record(engine)
    with Forked(lambda: in_thread(signal.pause)) as child:
        (tid,) = {int(name) for name in os.listdir(f"/proc/{child.pid}/task")} - {child.pid}
        child.kill()
        pump_until(engine, lambda: record.of(Exit, child.pid), "the process has ended")
        assert tid not in engine.table.newest
        assert record.of(Fork, tid) == record.of(Exit, tid) == []
        assert engine.table.newest[child.pid].exit_status == 9


def test_a_thread_that_ends_is_no_exit_of_its_process(engine: Engine) -> None:
    record = Record(engine)

    def body() -> None:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()

    with Forked(body, afterwards=lambda: os._exit(3)) as child, Forked() as marker:
        pump_until(engine, lambda: marker.pid in engine.table.newest, "what came before was applied")
        assert record.of(Exit, child.pid) == []
        assert not engine.table.newest[child.pid].exit_ns
        status = child.wait()
        pump_until(engine, lambda: record.of(Exit, child.pid), "the process has ended")
        assert engine.table.newest[child.pid].exit_status == status == 3 << 8


def test_a_leader_that_exits_before_its_threads_is_not_dead(engine: Engine) -> None:
    record = Record(engine)
    go, let_go = os.pipe()

    def body() -> None:
        in_thread(lambda: (os.read(go, 1), exit_thread(0)))
        exit_thread(0)

    pid = fork(body)
    try:
        wait_until(lambda: stat_fields(pid)[0] == b"Z", "the leader has exited")
        with Forked() as marker:
            pump_until(engine, lambda: marker.pid in engine.table.newest, "what came before was applied")
        node = engine.table.newest[pid]
        assert not node.exit_ns
        assert record.of(Exit, pid) == []
        assert engine.chain(pid).links[0].is_alive
        engine.scan()  # /proc shows a zombie, which has a living thread
        assert not node.exit_ns
        os.write(let_go, b"!")
        _, status = os.waitpid(pid, 0)
        pump_until(engine, lambda: node.exit_ns, "the last thread has ended")
        assert record.of(Exit, pid) == [node]
        assert status == 0
    finally:
        forget(pid)
        os.close(go)
        os.close(let_go)


def test_a_scan_that_finds_an_exited_leader_with_threads_takes_it_for_alive() -> None:
    go, let_go = os.pipe()

    def body() -> None:
        in_thread(lambda: (os.read(go, 1), exit_thread(0)))
        exit_thread(0)

    pid = fork(body)
    try:
        wait_until(lambda: stat_fields(pid)[0] == b"Z", "the leader has exited")
        with Engine() as engine:
            engine.start()
            node = engine.table.newest[pid]
            assert not node.exit_ns
            os.write(let_go, b"!")
            os.waitpid(pid, 0)
            pump_until(engine, lambda: node.exit_ns, "the last thread has ended")
    finally:
        forget(pid)
        os.close(go)
        os.close(let_go)


def leader_first(last_words: Callable[[], object]) -> Callable[[], object]:
    """A process whose leader exits with 0, and whose other thread then does `last_words`."""

    def body() -> None:
        leader = os.getpid()

        def worker() -> None:
            wait_until(lambda: stat_fields(leader)[0] == b"Z", "the leader has exited")
            last_words()

        in_thread(worker)
        exit_thread(0)

    return body


@pytest.mark.parametrize(
    "last_words",
    [lambda: exit_group(3), lambda: exit_thread(5), lambda: os.kill(os.getpid(), signal.SIGKILL)],
    ids=["exit_group-3", "exit-5", "kill-9"],
)
def test_after_the_leader_the_last_thread_decides_the_status(
    engine: Engine, last_words: Callable[[], object]
) -> None:
    pid = fork(leader_first(last_words))
    _, status = os.waitpid(pid, 0)
    assert status != 0
    pump_until(engine, lambda: pid in engine.table.newest, "the process is known")
    node = engine.table.newest[pid]
    pump_until(engine, lambda: node.exit_ns, "the process has ended")
    assert node.exit_status == status


def test_a_thread_that_exits_before_the_leader_does_not_decide_the_status(engine: Engine) -> None:
    def body() -> None:
        in_thread(lambda: exit_thread(5))
        wait_until(lambda: len(os.listdir("/proc/self/task")) == 1, "the thread has ended")
        exit_thread(3)

    pid = fork(body)
    _, status = os.waitpid(pid, 0)
    pump_until(engine, lambda: pid in engine.table.newest, "the process is known")
    node = engine.table.newest[pid]
    pump_until(engine, lambda: node.exit_ns, "the process has ended")
    assert node.exit_status == status == 3 << 8


def test_exit_group_from_a_worker_while_the_leader_lives(engine: Engine) -> None:
    def body() -> None:
        in_thread(lambda: exit_group(3))
        signal.pause()

    pid = fork(body)
    _, status = os.waitpid(pid, 0)
    pump_until(engine, lambda: pid in engine.table.newest, "the process is known")
    node = engine.table.newest[pid]
    pump_until(engine, lambda: node.exit_ns, "the process has ended")
    assert node.exit_status == status == 3 << 8


def exec_from_thread() -> None:
    in_thread(lambda: os.execv("/bin/sleep", ["sleep", "1000"]))
    signal.pause()


def test_an_exec_from_a_thread_that_is_not_the_leader_is_no_exit(engine: Engine) -> None:
    record = Record(engine)
    pid = fork(exec_from_thread)
    try:
        pump_until(engine, lambda: record.of(Exec, pid), "exec'ed")
        node = engine.table.newest[pid]
        assert (node.cmd, node.source, node.exit_ns) == ("sleep", "exec", 0)
        assert record.of(Exit, pid) == []
        assert len(record.of(Fork, pid)) == 1
        assert list(engine.table.owners(pid)) == [node]
        assert node.ppid == os.getpid()
        # Its other threads are gone, and are not waited for at its end.
        os.kill(pid, signal.SIGKILL)
        pump_until(engine, lambda: node.exit_ns, "ended")
        assert (node.exit_status, record.of(Exit, pid)) == (9, [node])
    finally:
        forget(pid)


def test_threads_that_were_there_before_the_engine_are_known_to_it() -> None:
    """The same, where the threads' forks were not seen: their number comes from the scan."""
    go, let_go = os.pipe()

    def exec_when_told() -> None:
        os.read(go, 1)
        os.execv("/bin/sleep", ["sleep", "1000"])

    def body() -> None:
        in_thread(exec_when_told)
        in_thread(signal.pause)

    with Forked(body) as child, Engine() as engine:
        engine.start()
        record = Record(engine)
        os.write(let_go, b"!")
        pump_until(engine, lambda: record.of(Exec, child.pid), "exec'ed")
        assert record.of(Exit, child.pid) == []
        assert engine.table.newest[child.pid].cmd == "sleep"
        status = child.kill()
        pump_until(engine, lambda: record.of(Exit, child.pid), "ended")
        assert engine.table.newest[child.pid].exit_status == status
    os.close(go)
    os.close(let_go)


@pytest.mark.parametrize("is_engine_first", [True, False], ids=["seen-forking", "scanned"])
def test_a_fork_from_a_worker_hangs_under_the_process_and_has_the_workers_name(is_engine_first: bool) -> None:
    read, write = os.pipe()
    go, let_go = os.pipe()

    def worker() -> None:
        rename(b"a-worker")
        os.read(go, 1)
        pid = fork(signal.pause)
        os.write(write, f"{pid} {threading.get_native_id()}".encode())
        signal.pause()

    def body() -> None:
        rename(b"the-leader")
        in_thread(worker)
        wait_until(lambda: b"a-worker" in map(name_of_thread, os.listdir("/proc/self/task")), "renamed")

    def name_of_thread(tid: str) -> bytes:
        with open(f"/proc/self/task/{tid}/comm", "rb") as comm:
            return comm.read().strip()

    with Engine() as engine:
        if is_engine_first:
            engine.start()
        with Forked(body) as child:
            if not is_engine_first:
                engine.start()
            os.write(let_go, b"!")
            pid, worker_tid = map(int, os.read(read, 64).split())
            pump_until(engine, lambda: pid in engine.table.newest, "the fork is known")
            node = engine.table.newest[pid]
            assert node.ppid == child.pid != worker_tid
            assert node.parent is engine.table.newest[child.pid]
            assert comm_of(pid) == b"a-worker"
            assert (node.cmd, node.source) == ("a-worker", "inherited")
            assert engine.table.newest[child.pid].cmd == "the-leader"
            assert worker_tid not in engine.table.newest
            forget(pid)
    for descriptor in (read, write, go, let_go):
        os.close(descriptor)


def test_a_threads_id_is_answered_for_its_process_and_said_so() -> None:
    with Forked(lambda: in_thread(signal.pause)) as child:
        (tid,) = {int(name) for name in os.listdir(f"/proc/{child.pid}/task")} - {child.pid}
        by_pid, by_tid = proc_cache("chain", str(child.pid)), proc_cache("chain", str(tid))
        assert (by_tid.status, by_tid.stdout) == (0, by_pid.stdout)
        assert by_tid.complaints == [f"proc-cache: {tid} is a thread of {child.pid}: answering for {child.pid}"]
        assert by_pid.stderr == ""
        name = comm_of(os.getpid()).decode()
        descent = proc_cache("descendant", "--strict", str(tid), name)
        assert (descent.status, len(descent.complaints)) == (0, 1)


def test_no_thread_is_in_a_snapshot() -> None:
    with Forked(lambda: in_thread(signal.pause)) as child:
        tids = {int(name) for name in os.listdir(f"/proc/{child.pid}/task")}
        pids = {process["pid"] for process in proc_cache("snapshot", "--format", "json").json()}
        assert tids & pids == {child.pid}
