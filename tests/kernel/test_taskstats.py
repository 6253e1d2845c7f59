"""Exit records from the real kernel: of processes, of threads, in what order, and what is lost told exactly."""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache.errors import ExitRecordsUnavailableError
from proc_cache.events import Exit
from proc_cache.kernel import taskstats, wire
from proc_cache.kernel.clocks import deadline_s, left_s
from proc_cache.kernel.exit_record import NLM_F_REQUEST, ExitRecord, decode, encode_deregister
from proc_cache.kernel.netlink import ProcConnector
from proc_cache.kernel.taskstats import ExitRecordSocket
from tests.conftest import MUST_RUN
from tests.helpers.processes import (
    DEADLINE_S,
    LIBC,
    NOBODY,
    exit_group,
    exit_thread,
    fork,
    in_turn,
    netlink_drops,
    rename,
    stat_fields,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.kernel

MIB = 1 << 20
TICK_US = 10_000  # of the slowest kernels (CONFIG_HZ=100)
CLONE_NEWUSER = 0x10000000  # linux/sched.h
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


@pytest.fixture
def records() -> Iterator[ExitRecordSocket]:
    """A registered socket; where there is none the test is skipped with the reason."""
    try:
        opened = ExitRecordSocket.open()
    except ExitRecordsUnavailableError as error:
        if os.environ.get(MUST_RUN) == "1":
            raise
        pytest.skip(f"no exit records: {error}")
    with opened:
        yield opened


def take(records: ExitRecordSocket) -> list[ExitRecord]:
    """All that is waiting."""
    taken = []
    while batch := records.receive_batch():
        for datagram in batch:
            taken += decode(datagram, records.family)
    return taken


def records_of(records: ExitRecordSocket, pid: int) -> list[ExitRecord]:
    """The records of a process from its first thread to its last, in order."""
    found: list[ExitRecord] = []
    deadline = deadline_s(DEADLINE_S)
    while not (found and found[-1].is_last_of_group):
        assert records.wait(left_s(deadline)), f"no record of the end of {pid} in {DEADLINE_S} s: {found}"
        found += [record for record in take(records) if record.pid == pid]
    assert records.lost == 0
    return found


def record_of(records: ExitRecordSocket, pid: int) -> ExitRecord:
    (record,) = records_of(records, pid)
    return record


def burn(seconds: float) -> None:
    """Use CPU in the calling thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def in_thread(body: Callable[[], object]) -> None:
    threading.Thread(target=body, daemon=True).start()


def ended(body: Callable[[], object]) -> tuple[int, int]:
    """Fork a child that runs `body`, and reap it: its pid and wait status."""
    return os.waitpid(fork(body), 0)


def test_a_program_with_its_name_user_status_and_cost(records: ExitRecordSocket) -> None:
    began_s = time.time()
    pid, status = ended(
        in_turn(
            lambda: burn(0.06),
            lambda: os.setresuid(NOBODY, NOBODY, NOBODY),
            lambda: os.execv("/bin/sh", ["another", "-c", "exit 3"]),
        )
    )
    took_us = (time.time() - began_s) * 1e6
    record = record_of(records, pid)
    assert (record.cmd, record.uid, record.exit_status) == (b"sh", NOBODY, 768)
    assert (record.tid, record.pid, record.ppid, record.is_leader) == (pid, pid, os.getpid(), True)
    assert status == record.exit_status
    assert 60_000 - TICK_US <= record.cpu_us <= record.elapsed_us + TICK_US
    assert record.group_cpu_us == record.cpu_us
    assert 60_000 <= record.elapsed_us <= took_us
    assert began_s - 1 <= record.btime_s <= began_s + 2  # whole seconds


@pytest.mark.parametrize(
    "ends",
    [
        lambda: exit_group(3),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        lambda: os.kill(os.getpid(), signal.SIGQUIT),
        lambda: exit_thread(5),
    ],
    ids=["exit", "SIGKILL", "SIGQUIT", "exit of the only thread"],
)
def test_the_status_is_a_wait_status_word(records: ExitRecordSocket, ends: Callable[[], object]) -> None:
    pid, status = ended(ends)
    assert record_of(records, pid).exit_status == status


def test_a_core_dump_is_in_the_status(records: ExitRecordSocket, tmp_path: Path) -> None:
    with subprocess.Popen(["sh", "-c", "ulimit -c unlimited; kill -QUIT $$"], cwd=tmp_path) as process:
        process.wait()
    record = record_of(records, process.pid)
    if not record.exit_status & 0x80:
        pytest.skip("no core was dumped here (core_pattern, or a limit)")
    assert record.exit_status == 0x80 | signal.SIGQUIT


def test_the_peak_of_memory(records: ExitRecordSocket) -> None:
    with subprocess.Popen([sys.executable, "-SEc", f"b'x' * {50 * MIB}"]) as process:
        process.wait()
    assert 50 * MIB <= record_of(records, process.pid).max_rss_bytes < 100 * MIB


def test_bytes_that_went_to_a_disk(records: ExitRecordSocket, tmp_path: Path) -> None:
    """As many as the kernel says of the living process (/proc/PID/io), in whole KiB."""
    told, tell = os.pipe()

    def body() -> None:
        with open(tmp_path / "written", "wb") as file:
            file.write(b"x" * MIB)
            file.flush()
            os.fsync(file.fileno())
        with open("/proc/self/io", "rb") as io:
            os.write(tell, io.read())

    pid, status = ended(body)
    os.close(tell)
    with open(told, "rb") as io:
        counted = {name: int(value) for name, value in (line.split(b": ") for line in io)}
    assert status == 0
    record = record_of(records, pid)
    assert record.write_bytes == counted[b"write_bytes"] & ~1023
    assert record.read_bytes == counted[b"read_bytes"] & ~1023
    if not record.write_bytes:
        pytest.skip("what this file system writes is not counted (tmpfs writes to no disk)")
    assert record.write_bytes >= MIB


def test_each_thread_has_its_own_and_the_last_the_cpu_of_all(records: ExitRecordSocket) -> None:
    def work() -> None:
        rename(b"worker")
        burn(0.05)

    def body() -> None:
        workers = [threading.Thread(target=work) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        tids = {int(name) for name in os.listdir("/proc/self/task")}
        wait_until(lambda: len(os.listdir("/proc/self/task")) == 1, f"only one of {tids} is left")
        rename(b"leader")
        burn(0.03)

    pid, _ = ended(body)
    *workers, leader = records_of(records, pid)
    assert [worker.cmd for worker in workers] == [b"worker"] * 2
    assert all(worker.is_last_of_group is False and worker.group_cpu_us is None for worker in workers)
    assert (leader.cmd, leader.tid, leader.is_leader, leader.is_last_of_group) == (b"leader", pid, True, True)
    assert all(worker.cpu_us >= 50_000 - TICK_US for worker in workers)
    assert 30_000 - TICK_US <= leader.cpu_us < 130_000 - TICK_US
    assert leader.group_cpu_us is not None
    assert abs(leader.group_cpu_us - sum(record.cpu_us for record in (*workers, leader))) <= 3 * TICK_US


def test_a_leader_that_ends_first(records: ExitRecordSocket) -> None:
    go, let_go = os.pipe()

    def body() -> None:
        in_thread(in_turn(lambda: rename(b"worker"), lambda: os.read(go, 1), lambda: exit_thread(5)))
        exit_thread(2)

    pid = fork(body)
    wait_until(lambda: stat_fields(pid)[0] == b"Z", "the leader has ended")
    (leader,) = [record for record in take(records) if record.pid == pid]
    os.write(let_go, b"!")
    _, status = os.waitpid(pid, 0)
    worker = record_of(records, pid)
    os.close(go)
    os.close(let_go)
    assert (leader.tid, leader.exit_status, leader.is_last_of_group) == (pid, 2 << 8, False)
    assert worker.tid != pid
    assert (worker.cmd, worker.is_last_of_group, worker.is_leader) == (b"worker", True, False)
    assert worker.exit_status == 5 << 8
    assert status in (leader.exit_status, worker.exit_status)  # older kernels give the leader's


def test_a_process_that_ends_as_a_whole_has_one_status(records: ExitRecordSocket) -> None:
    def body() -> None:
        in_thread(signal.pause)
        exit_group(9)

    pid, status = ended(body)
    told = records_of(records, pid)
    assert [record.exit_status for record in told] == [status] * 2
    assert [record.is_last_of_group for record in told] == [False, True]


def test_an_exec_by_another_thread_ends_the_leader_and_takes_its_tid(records: ExitRecordSocket) -> None:
    def body() -> None:
        in_thread(lambda: os.execv("/bin/true", ["true"]))
        signal.pause()

    pid, status = ended(body)
    replaced, last = records_of(records, pid)
    assert (replaced.tid, last.tid) == (pid, pid)
    assert (replaced.is_last_of_group, last.is_last_of_group) == (False, True)
    assert (replaced.exit_status, last.exit_status) == (0, status)
    assert replaced.cmd != b"true"
    assert last.cmd == b"true"
    assert last.elapsed_us >= replaced.elapsed_us  # it has taken the start of the process over


def test_a_record_is_there_before_the_connector_tells_of_the_exit(
    records: ExitRecordSocket, fork_storm: Path
) -> None:
    told: dict[int, ExitRecord] = {}
    with ProcConnector.open() as connector, subprocess.Popen([fork_storm, "500"]) as storm:
        heard = 0
        while heard < 500:
            assert connector.wait(DEADLINE_S), f"{heard} exits in {DEADLINE_S} s"
            datagram = connector.receive()
            assert datagram is not None, "the connector's buffer ran over"
            exits = [event for event in wire.decode(datagram) if isinstance(event, Exit)]
            told |= {record.tid: record for record in take(records)}
            for event in exits:
                record = told.pop(event.tid)
                assert (record.pid, record.exit_status) == (event.pid, event.status)
                heard += event.parent_pid in (storm.pid, 0)  # 0: it was reaped before its exit was told
    assert records.lost == 0


def test_two_thousand_are_all_told_by_name(records: ExitRecordSocket) -> None:
    assert os.getpriority(os.PRIO_PROCESS, 0) == 0
    born = []
    for _ in range(2000):
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(pid, 0)
        born.append(pid)
    told = [record for record in take(records) if record.ppid == os.getpid()]
    assert records.lost == records.overruns == 0
    assert [record.pid for record in told] == born
    assert {(record.cmd, record.uid, record.exit_status) for record in told} == {(b"true", os.getuid(), 0)}


def test_a_batch_is_not_changed_by_the_next(records: ExitRecordSocket) -> None:
    def names_of(batch: list[bytes], pid: int) -> list[bytes]:
        told = [record for datagram in batch for record in decode(datagram, records.family)]
        return [record.cmd for record in told if record.pid == pid]

    pid, _ = ended(lambda: rename(b"before"))
    batch: list[bytes] = []
    while not names_of(batch, pid):
        batch = records.receive_batch()
        assert batch, "its record is waiting"
    after, _ = ended(lambda: rename(b"after"))
    assert record_of(records, after).cmd == b"after"
    assert names_of(batch, pid) == [b"before"]


def test_nothing_waiting_is_an_empty_batch_at_once(records: ExitRecordSocket) -> None:
    deadline = deadline_s(DEADLINE_S)
    while records.receive_batch():
        assert left_s(deadline), "others never rest"


def test_an_overrun_is_counted_and_what_it_cost_is_told_exactly(
    monkeypatch: pytest.MonkeyPatch, records: ExitRecordSocket, fork_storm: Path
) -> None:
    monkeypatch.setattr(taskstats, "RECEIVE_BUFFER_BYTES", 32768)
    with ExitRecordSocket.open() as small:
        assert small.lost == 0
        with subprocess.Popen([fork_storm, "500"]) as storm:
            storm.wait()
        lost = small.lost
        drops = netlink_drops(os.fstat(small.fileno()).st_ino)
        assert lost is not None
        assert lost <= drops <= (small.lost or 0)  # the same, unless others have ended in between
        took = sum(record.ppid == storm.pid for record in take(small))
        assert took < 500 <= took + lost
        assert small.overruns >= 1
        assert sum(record.ppid == storm.pid for record in take(records)) == 500
        deadline = deadline_s(DEADLINE_S)
        while ended(lambda: None)[0] not in {record.pid for record in take(small)}:
            assert left_s(deadline), "it goes on after an overrun"


def test_what_ends_before_the_registration_is_answered_is_kept(
    monkeypatch: pytest.MonkeyPatch, records: ExitRecordSocket
) -> None:
    born: list[int] = []

    class Delayed(socket.socket):
        """Registers without asking for an answer, lets processes end, and registers again as it was told to."""

        def send(self, data: bytes, flags: int = 0, /) -> int:  # type: ignore[override]
            if not born:
                super().send(data[:6] + struct.pack("=H", NLM_F_REQUEST) + data[8:], flags)
                born.extend(ended(lambda: rename(b"early"))[0] for _ in range(3))
            return super().send(data, flags)

    open_socket = taskstats._open_socket

    def open_delayed() -> tuple[socket.socket, int]:
        sock, family = open_socket()
        delayed = Delayed(fileno=sock.detach())
        delayed.setblocking(False)
        return delayed, family

    monkeypatch.setattr(taskstats, "_open_socket", open_delayed)
    with ExitRecordSocket.open() as opened:
        assert opened.wait(0)
        told = [record.pid for record in take(opened) if record.cmd == b"early"]
    assert told == born


def test_a_closed_socket_leaves_nothing_behind(records: ExitRecordSocket) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        opened = ExitRecordSocket.open()
        opened.close()
        opened.close()
        assert opened.fileno() == -1
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert threading.active_count() == 1


def test_closing_deregisters_first(monkeypatch: pytest.MonkeyPatch, records: ExitRecordSocket) -> None:
    sent: list[bytes] = []

    class Listened(socket.socket):
        def send(self, data: bytes, flags: int = 0, /) -> int:  # type: ignore[override]
            sent.append(bytes(data))
            return super().send(data, flags)

    former = records._socket
    listened = Listened(fileno=os.dup(former.fileno()))
    monkeypatch.setattr(records, "_socket", listened)
    with listened.dup() as still_open:
        records.close()
        former.close()
        with open(taskstats.POSSIBLE_CPUS, encoding="ascii") as possible:
            assert sent == [encode_deregister(records.family, possible.read().strip())]
        still_open.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:  # what had ended before, of whomever
                still_open.recv(4096)
        ended(lambda: None)
        with pytest.raises(BlockingIOError):
            still_open.recv(4096)


def test_programs_that_we_start_do_not_inherit_the_descriptor(records: ExitRecordSocket) -> None:
    assert not os.get_inheritable(records.fileno())


def test_the_receive_buffer_is_told_as_given(records: ExitRecordSocket) -> None:
    given = records._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert records.receive_buffer_bytes == given >= taskstats.RECEIVE_BUFFER_BYTES


def unshare(flags: int) -> None:
    assert LIBC.unshare(flags) == 0


def unshare_pid_namespace() -> None:
    """Go on as the first process of a new one; the calling process waits for it, and ends."""
    unshare(CLONE_NEWPID)
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        os._exit(0)


def reason_of_child(*steps: Callable[[], object]) -> str:
    """Why a child has no exit records that has gone through these steps."""
    told, tell = os.pipe()

    def body() -> None:
        for step in steps:
            step()
        try:
            ExitRecordSocket.open()
        except ExitRecordsUnavailableError as error:
            os.write(tell, str(error).encode())

    _, status = ended(body)
    os.close(tell)
    with open(told, encoding="utf-8") as reason:
        assert status == 0
        return reason.read()


def ask_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taskstats, "_refuse_foreign_namespaces", lambda: None)


def test_without_the_capability(records: ExitRecordSocket) -> None:
    assert "CAP_NET_ADMIN" in reason_of_child(lambda: os.setresuid(NOBODY, NOBODY, NOBODY))


def test_in_another_network_namespace(records: ExitRecordSocket) -> None:
    """There the kernel says yes, and sends nothing."""
    assert "initial network namespace" in reason_of_child(lambda: unshare(CLONE_NEWNET))


def test_in_another_user_namespace(records: ExitRecordSocket) -> None:
    assert "initial user namespace" in reason_of_child(lambda: unshare(CLONE_NEWUSER))


def test_in_another_pid_namespace(records: ExitRecordSocket) -> None:
    assert "initial pid namespace" in reason_of_child(unshare_pid_namespace)


def test_what_the_kernel_says_of_another_pid_namespace(
    monkeypatch: pytest.MonkeyPatch, records: ExitRecordSocket
) -> None:
    ask_the_kernel(monkeypatch)
    assert "initial PID or user namespace" in reason_of_child(unshare_pid_namespace)


def test_a_kernel_without_the_family(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, records: ExitRecordSocket
) -> None:
    from pyroute2.netlink.taskstats import AsyncTaskStats

    bind = AsyncTaskStats.__mro__[1].bind

    async def bind_another(self: Any) -> None:
        await bind(self, "NO_SUCH_FAMILY", None)

    monkeypatch.setattr(AsyncTaskStats, "bind", bind_another)
    before = os.listdir("/proc/self/fd")
    with caplog.at_level(logging.INFO), pytest.raises(ExitRecordsUnavailableError, match="CONFIG_TASKSTATS"):
        ExitRecordSocket.open()
    assert caplog.messages == []
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_kernel_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, records: ExitRecordSocket) -> None:
    monkeypatch.setattr(taskstats, "ACK_TIMEOUT_S", 0.0)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ExitRecordsUnavailableError, match="did not answer"):
        ExitRecordSocket.open()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_no_list_of_cpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(taskstats, "POSSIBLE_CPUS", str(tmp_path / "possible"))
    with pytest.raises(ExitRecordsUnavailableError, match="possible cannot be read: No such file"):
        ExitRecordSocket.open()
