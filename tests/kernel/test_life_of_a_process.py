"""Fork, exec and exit of real processes, as an engine tells them, against what wait(2) and /proc say."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from proc_cache.events import Comm, Exec, Exit, Fork, Sid, Uid
from proc_cache.kernel.clocks import TICK_NS
from tests.helpers.cli import proc_cache
from tests.helpers.processes import (
    NOBODY,
    PR_SET_CHILD_SUBREAPER,
    Forked,
    Record,
    chain_by_ps,
    comm_of,
    forget,
    fork,
    in_turn,
    prctl,
    pump_until,
    rename,
    running,
    start_ticks_of,
    stat_fields,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from proc_cache import Engine
    from proc_cache.process import Node

pytestmark = pytest.mark.kernel


def pump_until_known(engine: Engine, pid: int) -> Node:
    pump_until(engine, lambda: pid in engine.table.newest, f"{pid} is known")
    return engine.table.newest[pid]


def pump_until_ended(engine: Engine, pid: int) -> Node:
    node = pump_until_known(engine, pid)
    pump_until(engine, lambda: node.exit_ns, f"{pid} has ended")
    return node


def dump_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.kill(os.getpid(), signal.SIGQUIT)


def test_a_forked_child_has_its_parent_its_start_and_the_inherited_name(engine: Engine) -> None:
    with Forked() as child:
        node = pump_until_known(engine, child.pid)
        assert (node.ppid, node.ppid_source) == (os.getpid(), "fork")
        assert node.parent is engine.table.newest[os.getpid()]
        assert (node.cmd.encode(), node.source) == (comm_of(child.pid), "inherited")
        assert node.uid == os.geteuid()
        assert abs(node.start_ns // TICK_NS - start_ticks_of(child.pid)) <= 1
        assert not node.exit_ns


def test_an_exec_gives_the_new_name_and_arguments_and_keeps_start_and_parent(engine: Engine) -> None:
    record = Record(engine)
    with running(["sleep", "1000"]) as process:
        pump_until(engine, lambda: record.of(Exec, process.pid), "sleep is exec'ed")
        node = engine.table.newest[process.pid]
        assert (node.cmd, node.source, node.cmdline) == ("sleep", "exec", b"sleep\x001000\0")
        assert (node.ppid, node.ppid_source) == (os.getpid(), "fork")
        assert len(list(engine.table.owners(process.pid))) == 1
        assert abs(node.start_ns // TICK_NS - start_ticks_of(process.pid)) <= 1


@pytest.mark.parametrize(
    ("end", "code", "number"),
    [
        (lambda: os._exit(0), 0, None),
        (lambda: os._exit(3), 3, None),
        (lambda: os._exit(255), 255, None),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), None, 9),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), None, 15),
    ],
    ids=["exit-0", "exit-3", "exit-255", "kill-9", "kill-15"],
)
def test_an_exit_tells_code_and_signal_as_waitpid_does(
    engine: Engine, end: Callable[[], object], code: int | None, number: int | None
) -> None:
    pid = fork(end)
    _, status = os.waitpid(pid, 0)
    node = pump_until_ended(engine, pid)
    assert node.exit_status == status
    (told, *_) = engine.chain(pid).links
    assert (told.exit_code, told.signal, told.is_core_dumped) == (code, number, False)
    assert told.start_time_ns is not None
    assert told.exit_time_ns is not None
    assert told.start_time_ns <= told.exit_time_ns


def test_a_core_dump_is_told(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where core_pattern is relative, the core is left there
    pid = fork(dump_core)
    _, status = os.waitpid(pid, 0)
    node = pump_until_ended(engine, pid)
    assert node.exit_status == status
    told = engine.chain(pid).links[0]
    assert told.signal == signal.SIGQUIT
    if not status & 0x80:
        pytest.skip("this system leaves no cores (limits or core_pattern): waitpid tells no dump either")
    assert told.is_core_dumped


def test_a_shell_that_runs_true_and_ends_with_3(engine: Engine) -> None:
    """`true` may be gone before its name is read: the exit record names it, or an older one is told, marked so."""
    record = Record(engine)
    with running(["sh", "-c", "read go; /bin/true; exit 3"]) as shell:
        pump_until(engine, lambda: record.of(Exec, shell.pid), "sh is exec'ed")
        assert shell.stdin is not None
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        pump_until(engine, lambda: record.of(Exit, shell.pid), "sh has ended")
    node = record.of(Exit, shell.pid)[0]
    assert (node.cmd, node.source, node.exit_status) == ("sh", "exec", 3 << 8)
    (true,) = record.children_of(shell.pid)
    assert (true.exit_status, true.parent) == (0, node)
    assert (true.cmd, true.source) in [("true", "exec"), ("true", "exit_record"), ("sh", "unread")]
    assert [type(event) for event, of in record.seen if of is true] == [Fork, Exec, Exit]
    chain = engine.chain(true.pid)
    assert chain.complete
    assert [link.pid for link in chain.links[:3]] == [true.pid, shell.pid, os.getpid()]


def test_a_renamed_process_has_its_new_name(engine: Engine) -> None:
    record = Record(engine)
    with Forked(lambda: rename(b"other-name")) as child:
        pump_until(engine, lambda: record.of(Comm, child.pid), "the child has renamed itself")
        node = engine.table.newest[child.pid]
        assert (node.cmd, node.source) == ("other-name", "comm")


def test_a_name_written_by_another_process_is_followed(engine: Engine) -> None:
    """/proc/PID/comm can be written by a thread of the process only, /proc/PID/task/TID/comm is the same file."""
    record = Record(engine)

    def write_comm() -> None:
        with open("/proc/self/comm", "wb") as comm:
            comm.write(b"by-file")

    with Forked(write_comm) as child:
        pump_until(engine, lambda: record.of(Comm, child.pid), "the name was written")
        assert engine.chain(child.pid).links[0].cmd == "by-file" == comm_of(child.pid).decode()


def test_a_session_leader_is_told(engine: Engine) -> None:
    record = Record(engine)
    with Forked(os.setsid) as child:
        pump_until(engine, lambda: record.of(Sid, child.pid), "setsid")
        assert engine.chain(child.pid).links[0].session == child.pid


def test_a_process_that_changes_its_user_is_followed_and_its_birth_user_kept(engine: Engine) -> None:
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    record = Record(engine)
    with Forked(lambda: os.setresuid(NOBODY, NOBODY, NOBODY)) as child:
        pump_until(engine, lambda: record.of(Uid, child.pid), "setuid")
        # Without an exec it cannot be dumped, and its files in /proc stay root's: a trap for who stats those.
        assert os.stat(f"/proc/{child.pid}/stat").st_uid == 0
        node = engine.table.newest[child.pid]
        assert (node.uid, node.birth_uid) == (NOBODY, 0)
        assert engine.chain(child.pid).links[0].user == "nobody"


def test_only_the_effective_user_counts(engine: Engine) -> None:
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    record = Record(engine)
    with Forked(lambda: os.setresuid(0, NOBODY, 0)) as child:
        pump_until(engine, lambda: record.of(Uid, child.pid), "seteuid")
        assert engine.chain(child.pid).links[0].uid == NOBODY
    assert proc_cache("chain", str(os.getpid())).status == 0


def test_a_child_of_another_user_is_born_as_that_user(engine: Engine) -> None:
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    grandchildren: list[int] = []
    read, write = os.pipe()

    def body() -> None:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        pid = fork(signal.pause)
        os.write(write, str(pid).encode())

    with Forked(body) as child:
        grandchildren.append(int(os.read(read, 16)))
        node = pump_until_known(engine, grandchildren[0])
        assert (node.ppid, node.uid, node.birth_uid) == (child.pid, NOBODY, NOBODY)
        forget(grandchildren[0])
    os.close(read)
    os.close(write)


def test_an_orphan_keeps_its_birth_parent_and_tells_who_adopted_it(engine: Engine) -> None:
    read, write = os.pipe()

    def reaper() -> None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        rename(b"reaper")

        def middle() -> None:
            rename(b"middle")
            os.write(write, f"{os.getpid()} {fork(signal.pause, dies_with_parent=False)}".encode())

        os.waitpid(fork(middle), 0)

    with Forked(reaper) as subreaper:
        middle_pid, orphan_pid = map(int, os.read(read, 64).split())
        wait_until(lambda: int(stat_fields(orphan_pid)[1]) == subreaper.pid, "the orphan is adopted")
        pump_until_ended(engine, middle_pid)
        chain = engine.chain(orphan_pid)
        orphan = chain.links[0]
        assert (orphan.ppid, orphan.ppid_source, orphan.current_ppid) == (middle_pid, "fork", subreaper.pid)
        assert [(link.pid, link.cmd, link.is_alive) for link in chain.links[:3]] == [
            (orphan_pid, "middle", True),
            (middle_pid, "middle", False),
            (subreaper.pid, "reaper", True),
        ]
        assert chain.complete
        # A command that was not there at the birth can only tell who the parent is now.
        (by_command,) = proc_cache("chain", "--format", "ndjson", str(orphan_pid)).json()["links"][:1]
        assert (by_command["ppid"], by_command["ppid_source"]) == (subreaper.pid, "procfs")
        # Its end: the Exit names the adopter, the birth parent stays.
        os.kill(orphan_pid, signal.SIGKILL)
        node = pump_until_ended(engine, orphan_pid)
        assert (node.ppid, node.adopter_pid, node.exit_status) == (middle_pid, subreaper.pid, 9)
    os.close(read)
    os.close(write)


def test_a_zombie_is_dead_to_an_engine_that_listened(engine: Engine) -> None:
    pid = fork(lambda: os._exit(3))
    try:
        node = pump_until_ended(engine, pid)
        assert stat_fields(pid)[0] == b"Z"
        assert node.exit_status == 3 << 8
        engine.scan()  # /proc still lists it, and nothing is learned from that
        assert engine.table.newest[pid] is node
        assert node.exit_status == 3 << 8
    finally:
        os.waitpid(pid, 0)


@pytest.mark.parametrize("form", ["chain", "tree", "json", "ndjson"])
def test_a_zombie_has_a_chain_by_the_command(form: str) -> None:
    with Forked(lambda: rename(b"zombie"), afterwards=lambda: os._exit(3)) as child:
        child.go()
        wait_until(lambda: stat_fields(child.pid)[0] == b"Z", "a zombie")
        ended = proc_cache("chain", "--format", form, str(child.pid))
        assert (ended.status, ended.stderr) == (0, "")
        assert f"{child.pid}" in ended.stdout
        assert "zombie" in ended.stdout
        if form == "chain":
            own = chain_by_ps(os.getpid())
            assert ended.stdout == f"{child.pid}|zombie|root;{own}\n"


def test_a_kernel_thread_ends_its_chain_at_kthreadd() -> None:
    pid = next((pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if is_steady_kthread(pid)), 0)
    if not pid:
        pytest.skip("/proc shows no kernel threads here")
    name = comm_of(pid).decode()
    assert (
        proc_cache("chain", str(pid)).stdout == f"{pid}|{name}|root;2|kthreadd|root\n" == f"{chain_by_ps(pid)}\n"
    )
    (link, kthreadd) = proc_cache("chain", "--format", "json", str(pid)).json()["links"]
    assert (link["ppid"], link["cmdline"], kthreadd["ppid"]) == (2, None, 0)


def is_steady_kthread(pid: int) -> bool:
    """A child of kthreadd that is no kworker: those change their names with their work."""
    try:
        return stat_fields(pid)[1] == b"2" and not comm_of(pid).startswith(b"kworker")
    except OSError:
        return False


def test_a_process_of_another_user_by_the_command() -> None:
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    with Forked(in_turn(lambda: rename(b"others"), lambda: os.setresuid(NOBODY, NOBODY, NOBODY))) as child:
        expected = f"{child.pid}|others|nobody;{chain_by_ps(os.getpid())}"
        assert proc_cache("chain", str(child.pid)).stdout == f"{expected}\n"
        assert chain_by_ps(child.pid) == expected
    with Forked(lambda: os.setresuid(54321, 54321, 54321)) as child:  # nobody's number in passwd
        link = proc_cache("chain", "--format", "ndjson", str(child.pid)).json()["links"][0]
        assert (link["user"], link["uid"]) == ("54321", 54321)


def test_a_chain_is_what_a_walk_by_ps_finds_in_every_form(engine: Engine) -> None:
    script = "sleep 1000 & echo $!; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        wait_until(lambda: comm_of(pid) == b"sleep", "sleep is exec'ed")
        try:
            expected = chain_by_ps(pid)
            assert expected.startswith(f"{pid}|sleep|root;{shell.pid}|sh|root;{os.getpid()}|")
            assert expected.split(";")[-1].startswith("1|")
            names = [link.split("|")[1] for link in expected.split(";")]
            pids = [int(link.split("|")[0]) for link in expected.split(";")]

            pump_until_known(engine, pid)
            pump_until(engine, lambda: engine.table.newest[pid].cmd == "sleep", "its exec was read")
            assert [(link.pid, link.cmd) for link in engine.chain(pid).links] == list(
                zip(pids, names, strict=True)
            )

            assert proc_cache("chain", str(pid)).stdout == f"{expected}\n"

            document = json.loads(proc_cache("chain", "--format", "json", str(pid)).stdout)
            assert document["chain"] == expected
            assert (document["pid"], document["complete"], document["reason"]) == (pid, True, None)
            assert [(link["pid"], link["cmd"]) for link in document["links"]] == list(
                zip(pids, names, strict=True)
            )
            assert [link["ppid"] for link in document["links"]] == [*pids[1:], 0]

            drawn = proc_cache("chain", "--format", "tree", str(pid)).stdout.splitlines()
            assert [line.lstrip(" └─").split(" ")[0] for line in drawn] == [str(each) for each in reversed(pids)]
            assert [len(line) - len(line.lstrip(" └─")) for line in drawn] == [
                3 * depth for depth in range(len(pids))
            ]
        finally:
            os.kill(pid, signal.SIGKILL)
