"""Without privilege everything works; outside the initial namespaces there are no events, and that is said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from proc_cache.kernel.netlink import ProcConnector
from tests.helpers.cli import as_nobody, become_nobody, in_fork, proc_cache
from tests.helpers.processes import LIBC, Forked, chain_by_ps, comm_of, running, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody and make namespaces"),
]

CLONE_NEWNS = 0x00020000  # linux/sched.h

NAMESPACES = {
    "pid": ["unshare", "--pid", "--fork", "--mount-proc"],
    "user": ["unshare", "--user", "--map-root-user"],
    "network": ["unshare", "--net"],
}


@pytest.fixture(params=NAMESPACES)
def namespace(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    if shutil.which("unshare") is None:
        pytest.skip("no unshare(1)")
    if subprocess.run([*NAMESPACES[kind], "true"], capture_output=True).returncode:
        pytest.skip(f"no new {kind} namespace can be made here")
    return kind


# --- nobody -----------------------------------------------------------------------------------------------


def test_nobody_gets_the_same_chains_as_root() -> None:
    with Forked(become_nobody) as own, Forked() as of_root:
        for pid in (own.pid, of_root.pid, os.getpid(), 1):
            ended = as_nobody("chain", str(pid))
            assert (ended.status, ended.stderr) == (0, "")
            assert ended.stdout == f"{chain_by_ps(pid)}\n"


def test_nobody_asks_for_descendants() -> None:
    name = comm_of(os.getpid()).decode()
    with Forked() as child:
        assert as_nobody("descendant", "--strict", str(child.pid), name).status == 0
        assert as_nobody("descendant", str(child.pid), "no-such-name").status == 1
        assert as_nobody("descendant", "4194305", name).status == 3


def test_nobody_sees_every_process_and_its_user() -> None:
    with Forked(become_nobody) as child:
        ended = as_nobody("snapshot", "--format", "json")
        assert (ended.status, ended.stderr) == (0, "")
        users = {process["pid"]: process["user"] for process in ended.json()}
        assert users[child.pid] == "nobody"
        assert users[1] == users[os.getpid()] == "root"


def test_nobody_watches_the_processes_of_root() -> None:
    """Since Linux 6.6 (bfdfdc2f3b70) listening needs no privilege."""
    with ExitStack() as programs:

        def provoke(watch_pid: int, stdout: Path) -> None:
            def is_told() -> bool:
                process = programs.enter_context(running(["sleep", "1000"]))
                time.sleep(0.02)
                assert os.waitpid(watch_pid, os.WNOHANG) == (0, 0), "watch has ended"
                return f"{process.pid}|sleep|root;" in stdout.read_text()

            wait_until(stdout.exists, "watch has begun")
            wait_until(is_told, "an exec of root is told to nobody")
            os.kill(watch_pid, signal.SIGTERM)

        ended = as_nobody("watch", "--events", "exec", "--format", "lines", during=provoke)
    assert (ended.status, ended.stderr) == (0, "")
    line = next(line for line in ended.lines if "|sleep|root;" in line)
    assert f"|sleep|root;{chain_by_ps(os.getpid())}  " in f"{line}  "


def test_where_the_kernel_wants_a_privilege_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kernel before 6.6 answers nobody's bind: EPERM."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pyroute2.netlink.connector.cn_proc.ProcEventSocket.bind", refuse)
    ended = in_fork(["watch"], before=become_nobody, warm_up=["watch", "--duration", "0"])
    assert ended.status == 69
    (complaint,) = ended.complaints
    assert "CAP_NET_ADMIN" in complaint
    assert "root" in complaint


# --- namespaces -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_host_listening", [False, True], ids=["alone", "beside-a-listener-of-the-host"])
def test_watch_says_which_namespace_and_ends_in_seconds(namespace: str, is_host_listening: bool) -> None:
    with ExitStack() as host:
        if is_host_listening:  # then events may come even without an acknowledgement: they are not trusted
            host.enter_context(ProcConnector.open())
        began = time.monotonic()
        ended = proc_cache("watch", prefix=NAMESPACES[namespace])
        took_s = time.monotonic() - began
    assert (ended.status, ended.stdout) == (69, "")
    (complaint,) = ended.complaints
    assert f"initial {namespace} namespace" in complaint
    assert took_s < 5


def test_a_command_is_not_run_where_it_could_not_be_watched(namespace: str, tmp_path: Path) -> None:
    trace = tmp_path / "was-run"
    ended = proc_cache("watch", "--", "touch", str(trace), prefix=NAMESPACES[namespace])
    assert ended.status == 69
    assert not trace.exists()


def test_the_other_commands_answer_there(namespace: str) -> None:
    prefix = NAMESPACES[namespace]
    chain = proc_cache("chain", "1", prefix=prefix)
    assert (chain.status, chain.stderr) == (0, "")
    name = chain.stdout.split("|")[1]
    assert chain.stdout.startswith("1|")
    assert proc_cache("descendant", "1", name, prefix=prefix).status == 0
    assert proc_cache("descendant", "1", "no-such-name", prefix=prefix).status == 1
    snapshot = proc_cache("snapshot", "--format", "json", prefix=prefix)
    assert snapshot.status == 0
    processes = snapshot.json()
    assert 1 in [process["pid"] for process in processes]
    if namespace == "pid":
        assert [process["pid"] for process in processes] == [1]
    else:
        assert os.getpid() in [process["pid"] for process in processes]


def test_several_foreign_namespaces_are_all_named() -> None:
    ended = proc_cache("watch", prefix=["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"])
    assert ended.status == 69
    assert "pid and user namespace" in ended.complaints[0]


# --- a /proc that hides -----------------------------------------------------------------------------------


def as_nobody_under_hidepid(level: int, *arguments: str) -> tuple[int, str, list[str]]:
    """In a mount namespace of its own, whose /proc hides the processes of others (proc(5))."""

    def before() -> None:
        assert not subprocess.run(["mount", "-t", "proc", "-o", f"hidepid={level}", "proc", "/proc"]).returncode
        become_nobody()

    def unshare_mounts() -> None:
        assert LIBC.unshare(CLONE_NEWNS) == 0
        assert not subprocess.run(["mount", "--make-rprivate", "/"]).returncode
        before()

    ended = in_fork(arguments, before=unshare_mounts, warm_up=arguments)
    return ended.status, ended.stdout, ended.complaints


@pytest.mark.parametrize("level", [1, 2])
def test_a_hidden_process_is_not_said_to_be_nobody(level: int) -> None:
    status, _, complaints = as_nobody_under_hidepid(level, "chain", "1")
    assert status == 3
    assert len(complaints) == 1
    assert "hid" in complaints[0]


@pytest.mark.parametrize("level", [1, 2])
def test_no_is_not_said_where_ancestors_are_hidden(level: int) -> None:
    with Forked(become_nobody) as child:
        status, answer, complaints = as_nobody_under_hidepid(level, "chain", str(child.pid))
        assert (status, len(complaints)) == (3, 1)
        assert answer.startswith(f"{child.pid}|")
        assert answer.endswith(f";{os.getpid()}|unknown|unknown\n")
        status, _, complaints = as_nobody_under_hidepid(level, "descendant", str(child.pid), "no-such-name")
        assert (status, len(complaints)) == (3, 1)
