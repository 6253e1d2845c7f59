"""`proc-cache serve` beside real processes, callers of every kind, and other engines."""

from __future__ import annotations

import grp
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache.errors import EngineUnavailableError
from proc_cache.selection import Selection
from proc_cache.service import client as client_module
from proc_cache.service import protocol
from proc_cache.service.client import EngineClient
from tests.helpers.cli import (
    PROC_CACHE,
    REPOSITORY,
    Ended,
    Watching,
    as_nobody,
    in_fork,
    plain_environment,
    proc_cache,
)
from tests.helpers.processes import (
    DEADLINE_S,
    NOBODY,
    PR_SET_DUMPABLE,
    Forked,
    comm_of,
    forget,
    fork,
    prctl,
    rename,
    running,
    wait_until,
)
from tests.helpers.serving import Serving, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.kernel

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

# What an answer from /proc cannot know, or knows by another way.
OF_THE_WAY = {"ppid_source", "source", "birth_user", "former_cmds", "start_time_ns", "started_at", "lost_events"}


@pytest.fixture
def served() -> Iterator[Serving]:
    """A running engine."""
    with serving() as engine:
        yield engine


def dead_pid(*, status: int = 3) -> int:
    """A child of this test that has ended, been reaped, and is not there any more."""
    pid = fork(lambda: os._exit(status))
    os.waitpid(pid, 0)
    return pid


def ask(question: Callable[[EngineClient], Any]) -> Any:
    """Ask, again and again while there is no room for a call; fails the test when the time is over."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            client = EngineClient.connect()
        except EngineUnavailableError:
            assert time.monotonic() < deadline, "it takes no calls"
            continue
        assert client is not None, "no engine answers"
        try:
            return question(client)
        finally:
            client.close()


def agreeing(value: Any) -> Any:
    """What has to be the same whoever answers."""
    if isinstance(value, dict):
        return {key: agreeing(item) for key, item in value.items() if key not in OF_THE_WAY}
    return [agreeing(item) for item in value] if isinstance(value, list) else value


# --- the same answers -------------------------------------------------------------------------------------


class TestTheSameAnswers:
    """About the living: from the engine, and from /proc."""

    @pytest.fixture(params=["before", "after"])
    def living(self, request: pytest.FixtureRequest) -> Iterator[int]:
        """A process with a nasty name and a child; it was there before the engine, or not."""

        @contextmanager
        def born() -> Iterator[int]:
            with Forked(lambda: rename(b"a|b;\\\n\xff")) as parent, running(["sleep", "60"]):
                yield parent.pid

        if request.param == "before":
            with born() as pid, serving():
                yield pid
        else:
            with serving(), born() as pid:
                yield pid

    def both(self, *arguments: str) -> tuple[Ended, Ended]:
        by_engine, by_proc = proc_cache(*arguments), proc_cache(*arguments, "--no-engine")
        assert (by_engine.status, by_engine.stderr) == (by_proc.status, by_proc.stderr)
        return by_engine, by_proc

    def test_of_chain(self, living: int) -> None:
        before = ask(EngineClient.stats)["answered"]
        by_engine, by_proc = self.both("chain", str(living), str(os.getpid()), "1")
        assert by_engine.stdout == by_proc.stdout
        assert by_engine.lines[0].startswith(f"{living}|a\\x7cb\\x3b\\x5c\\x0a\\xff|")
        assert (
            ask(EngineClient.stats)["answered"] == before + 1 + 1
        )  # it was the engine that was asked, for all at once
        by_engine, by_proc = self.both("chain", str(living), "--format", "json")
        assert agreeing(by_engine.json()) == agreeing(by_proc.json())
        starts = [[link["start_time_ns"] for link in ended.json()["links"]] for ended in (by_engine, by_proc)]
        assert all(abs(one - other) <= 2e7 for one, other in zip(*starts, strict=True))

    def test_of_chain_as_a_tree(self, living: int) -> None:
        by_engine, by_proc = self.both("chain", str(living), "--format", "tree")
        assert len(by_engine.lines) == len(by_proc.lines)
        assert str(living) in by_engine.stdout

    def test_of_descendant(self, living: int) -> None:
        name = comm_of(os.getpid()).decode()
        for arguments in ((str(living), name), (str(living), "no-such-name"), ("--strict", "1", "systemd")):
            by_engine, by_proc = self.both("descendant", *arguments)
            assert by_engine.stdout == by_proc.stdout
            by_engine, by_proc = self.both("descendant", *arguments, "--format", "json")
            assert agreeing(by_engine.json()) == agreeing(by_proc.json())

    def test_of_snapshot(self, living: int) -> None:
        under = ["snapshot", "--under", str(os.getpid()), "--cmd"]
        for cmd in ("sleep", "no-such-name"):
            by_engine, by_proc = self.both(*under, cmd, "--format", "json")
            assert agreeing(by_engine.json()) == agreeing(by_proc.json())
            assert len(by_engine.json()) == (cmd == "sleep")
            by_engine, by_proc = self.both(*under, cmd, "--format", "table")
            assert [line.split()[:2] for line in by_engine.lines] == [line.split()[:2] for line in by_proc.lines]
        by_engine, by_proc = self.both("snapshot", "--under", str(living), "--format", "tree")
        assert by_engine.stdout == by_proc.stdout

    def test_of_who_is_not_there(self, living: int) -> None:
        assert living
        nobody = "4194305"
        for arguments in (("chain", nobody), ("descendant", nobody, "sh"), ("snapshot", "--under", nobody)):
            by_engine, by_proc = (proc_cache(*arguments, *how) for how in ((), ("--no-engine",)))
            assert (by_engine.status, by_engine.stdout) == (by_proc.status, by_proc.stdout)
            assert len(by_engine.complaints) == len(by_proc.complaints) == 1


def test_everybody_is_in_a_snapshot(served: Serving) -> None:
    with running(["sleep", "60"]) as child:
        shown = {each["pid"] for each in proc_cache("snapshot", "--format", "json").json()}
    assert {1, os.getpid(), child.pid, served.pid} <= shown


# --- the dead ---------------------------------------------------------------------------------------------


def test_the_dead_are_answered(served: Serving) -> None:
    assert served.pid
    with running(["sh", "-c", "sh -c 'exit 3' & echo $!; wait; read stay"]) as shell:
        assert shell.stdout is not None
        child = int(shell.stdout.readline())
        wait_until(lambda: not os.path.exists(f"/proc/{child}"), "it has ended")
    ended = proc_cache("chain", str(child))
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{child}|sh|root;{shell.pid}|sh|root;{os.getpid()}|")
    first, second = proc_cache("chain", str(child), "--format", "json").json()["links"][:2]
    assert (first["exit_code"], first["alive"], first["ppid"]) == (3, False, shell.pid)
    assert (second["signal"], second["alive"]) == (signal.SIGKILL, False)
    name = comm_of(os.getpid()).decode()
    assert proc_cache("descendant", str(child), name, "--quiet").status == 0
    dead = proc_cache("snapshot", "--dead", "--under", str(shell.pid), "--format", "json").json()
    assert {each["pid"] for each in dead} == {child, shell.pid}
    assert proc_cache("chain", str(child), "--no-engine").status == 1


@pytest.mark.parametrize("arguments", [["--dead"], ["--at", "-1s"], ["--dead", "--under", "1"]], ids=" ".join)
@pytest.mark.parametrize("how", [[], ["--no-engine"]], ids=["no engine", "not asked"])
def test_the_dead_cannot_be_asked_of_proc(arguments: list[str], how: list[str]) -> None:
    ended = proc_cache("snapshot", *arguments, *how)
    assert (ended.status, ended.stdout, len(ended.complaints)) == (69, "", 1)
    assert "proc-cache serve" in ended.stderr


# --- one engine -------------------------------------------------------------------------------------------


def test_the_socket_is_for_the_owner(served: Serving, socket_path: str) -> None:
    assert served.pid
    assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o600


def test_a_second_engine_says_that_the_first_is_there(served: Serving, socket_path: str) -> None:
    inode = os.stat(socket_path).st_ino
    ended = proc_cache("serve")
    assert (ended.status, ended.stdout, len(ended.complaints)) == (69, "", 1)
    assert str(served.pid) in ended.stderr
    assert os.stat(socket_path).st_ino == inode
    assert served.stats()["alive"] > 0


def test_after_a_kill_the_next_one_takes_over(socket_path: str) -> None:
    with serving() as first:
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        assert os.path.exists(socket_path)
        pid = dead_pid()
        assert proc_cache("chain", str(pid)).status == 1  # nobody is there, and nobody waits for it
        with serving() as second:
            inode = os.stat(socket_path).st_ino
            assert second.stats()["alive"] > 0
            assert proc_cache("chain", str(dead_pid())).status == 0
            assert os.stat(socket_path).st_ino == inode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=["TERM", "INT", "HUP"])
def test_a_signal_ends_it(served: Serving, socket_path: str, number: signal.Signals) -> None:
    assert proc_cache("chain", "1").status == 0
    assert served.end(number) == 0
    assert not os.path.lexists(socket_path)
    first, last = served.stderr.splitlines()
    assert socket_path in first
    assert "requests answered" in last


def test_it_outlives_its_terminal_if_it_is_told_to(socket_path: str) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup(1) does; it is inherited
    try:
        with serving() as served:
            os.kill(served.pid, signal.SIGHUP)
            assert served.stats()["answered"] >= 0
            assert served.end() == 0
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_socket_that_cannot_be_made(socket_path: str) -> None:
    with open(socket_path, "w", encoding="ascii") as file:
        file.write("precious")
    ended = proc_cache("serve")
    assert (ended.status, ended.stdout, len(ended.complaints)) == (69, "", 1)
    with open(socket_path, encoding="ascii") as file:
        assert file.read() == "precious"


# --- watch ------------------------------------------------------------------------------------------------


def test_watch_answers_too(socket_path: str) -> None:
    with Watching("--cmd", "no-such-name") as watch:
        watch.wait_until_capturing()
        pid = dead_pid(status=5)
        ended = proc_cache("chain", str(pid), "--format", "json")
        assert ended.json()["links"][0]["exit_code"] == 5
        second = proc_cache("serve")
        assert (second.status, str(watch.engine_pid) in second.stderr) == (69, True)
        assert watch.stop().status == 0
    assert not os.path.lexists(socket_path)


def test_watch_goes_beside_an_engine(served: Serving, socket_path: str) -> None:
    ended = proc_cache("watch", "--format", "ndjson", "--", "sh", "-c", "exit 4")
    assert (ended.status, ended.stderr) == (4, "")
    assert [json.loads(line)["event"] for line in ended.lines] == ["fork", "exec", "exit"]
    assert os.path.exists(socket_path)
    assert served.stats()["alive"] > 0


# --- an engine that does not answer -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["chain", "1"], ["descendant", "1", "no-such"], ["snapshot", "--cmd", "no-such"]],
    ids=lambda words: words[0],
)
def test_a_stopped_engine_is_not_waited_for(
    served: Serving, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    assert client_module.TIMEOUT_S <= 5
    monkeypatch.setattr(client_module, "TIMEOUT_S", 0.4)
    os.kill(served.pid, signal.SIGSTOP)
    began = time.monotonic()
    ended = in_fork(arguments)
    assert 0.4 <= time.monotonic() - began < 4
    by_proc = in_fork([*arguments, "--no-engine"])
    assert (ended.status, ended.stdout) == (by_proc.status, by_proc.stdout)
    (complaint,) = ended.complaints
    assert "/proc instead" in complaint
    os.kill(served.pid, signal.SIGCONT)
    ended = in_fork(arguments)
    assert (ended.status, ended.stderr) == (by_proc.status, "")


def test_an_engine_that_goes_between_two_questions(served: Serving) -> None:
    asking = subprocess.Popen(
        [*PROC_CACHE, "chain", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=plain_environment(),
    )
    with asking:
        assert asking.stdin is not None
        assert asking.stdout is not None
        pid = dead_pid()
        asking.stdin.write(b"%d\n" % pid)
        asking.stdin.flush()
        assert asking.stdout.readline().startswith(b"%d|" % pid)
        served.end(signal.SIGKILL)
        rest, said = asking.communicate(b"%d\n%d\n" % (os.getpid(), os.getpid()), timeout=20)
    assert rest.count(b"%d|" % os.getpid()) == 2
    assert asking.returncode == 0
    assert len(said.splitlines()) == 1


# --- who may ask ------------------------------------------------------------------------------------------


def become(gid: int, groups: list[int]) -> Callable[[], None]:
    def change() -> None:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os.chdir("/")
        prctl(PR_SET_DUMPABLE, 1)

    return change


@needs_root
def test_another_user_cannot_ask_and_is_answered_from_proc(served: Serving, socket_path: str) -> None:
    os.chmod(os.path.dirname(socket_path), 0o755)
    assert served.pid
    assert proc_cache("chain", str(dead_pid())).status == 0
    ended = as_nobody("chain", str(os.getpid()))
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout == proc_cache("chain", str(os.getpid())).stdout
    assert as_nobody("chain", str(dead_pid())).status == 1
    ended = as_nobody("snapshot", "--dead")
    assert (ended.status, ended.stdout, len(ended.complaints)) == (69, "", 1)


@needs_root
class TestGroup:
    @pytest.fixture
    def group(self, socket_path: str) -> grp.struct_group:
        os.chmod(os.path.dirname(socket_path), 0o755)
        for group in grp.getgrall():
            if group.gr_gid not in (0, NOBODY):
                return group
        pytest.skip("there is no group")

    @pytest.mark.parametrize("how", ["primary", "supplementary"])
    def test_a_member_can_ask(self, group: grp.struct_group, socket_path: str, how: str) -> None:
        gid, groups = (group.gr_gid, []) if how == "primary" else (NOBODY, [group.gr_gid])
        with serving("--group", group.gr_name):
            assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o660
            question = ["chain", str(dead_pid())]
            ended = in_fork(question, before=become(gid, groups), warm_up=question)
            assert (ended.status, ended.stderr) == (0, "")
            assert ended.stdout == proc_cache(*question).stdout

    def test_another_one_cannot(self, group: grp.struct_group) -> None:
        with serving("--group", group.gr_name) as served:
            question = ["chain", str(dead_pid()), str(os.getpid())]
            ended = in_fork(question, before=become(NOBODY, [NOBODY]), warm_up=question)
            assert ended.status == 1
            assert ended.lines[1] == proc_cache("chain", str(os.getpid())).lines[0]
            assert len(ended.complaints) == 1  # that there is no such process now
            assert served.stats()["malformed"] == 0

    def test_a_group_that_is_not_ones_own(self, group: grp.struct_group, socket_path: str) -> None:
        os.chmod(os.path.dirname(socket_path), 0o777)
        ended = in_fork(["serve", "--group", group.gr_name], before=become(NOBODY, [NOBODY]))
        assert (ended.status, ended.stdout, len(ended.complaints)) == (69, "", 1)
        assert "or name a group that you are in" in ended.stderr
        assert not os.path.lexists(socket_path)

    def test_a_group_that_does_not_exist(self) -> None:
        ended = proc_cache("serve", "--group", "no-such-group")
        assert (ended.status, ended.stdout, len(ended.complaints)) == (2, "", 1)
        assert "no-such-group" in ended.stderr


@needs_root
def test_another_pid_namespace_is_refused(served: Serving) -> None:
    prefix = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("no PID namespace can be made here")
    ended = proc_cache("chain", "1", prefix=prefix)
    assert (ended.status, ended.stdout) == (0, proc_cache("chain", "1", "--no-engine", prefix=prefix).stdout)
    assert ended.stdout.startswith("1|python")
    (complaint,) = ended.complaints
    assert "namespace" in complaint
    assert "/proc instead" in complaint
    assert served.stats()["foreign"] == 1


# --- the service manager ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool) -> None:
    name = f"@proc-cache-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if is_abstract else name)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        with serving() as served:
            assert manager.recv(4096) == b"READY=1"
            assert manager.recv(4096).startswith(b"STATUS=")
            assert served.end() == 0
            told = b""
            while not told.startswith(b"STOPPING=1"):
                told = manager.recv(4096)
        assert "answering at" not in served.stderr  # the journal has systemd's own line


def test_a_service_manager_that_has_gone_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    with serving() as served:
        assert served.stats()["alive"] > 0
        assert served.end() == 0


# --- callers that mean harm, during a storm ---------------------------------------------------------------

STORM = 20_000


def connected(path: str) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX)
    caller.settimeout(5)
    with suppress(BlockingIOError):  # the backlog is full: it is not connected
        caller.connect(path)
    return caller


def send_garbage(path: str) -> None:
    for number in range(1_000_000):
        with connected(path) as caller, suppress(OSError):
            caller.sendall(os.urandom(4 + number % 300))
            caller.recv(100)


def send_a_gigabyte(path: str) -> None:
    chunk = b"x" * (1 << 20)
    while True:
        with connected(path) as caller, suppress(OSError):
            caller.sendall(protocol.LENGTH.pack(1 << 30))
            for _ in range(1 << 10):
                caller.sendall(chunk)


def send_half(path: str) -> None:
    request = protocol.write_request(os.getpid(), protocol.CHAIN, 1, None)
    while True:
        with connected(path) as caller, suppress(OSError):
            caller.sendall(request[:-1])


def ask_and_go(path: str) -> None:
    """The largest question, and no wait for its answer."""
    request = protocol.write_request(os.getpid(), protocol.SNAPSHOT, Selection(with_dead=True))
    while True:
        with connected(path) as caller, suppress(OSError):
            caller.sendall(request)
            caller.recv(1)


@contextmanager
def attacked(path: str, *attacks: Callable[[str], None]) -> Iterator[None]:
    """Attackers, at work in processes of their own."""
    pids = [fork(lambda attack=attack: attack(path)) for attack in attacks]  # type: ignore[misc]
    try:
        yield
        for pid in pids:
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), "an attacker has given up"
    finally:
        for pid in pids:
            forget(pid)


@pytest.mark.parametrize(
    "attack", [send_garbage, send_a_gigabyte, send_half, ask_and_go], ids=lambda attack: attack.__name__
)
@needs_root
def test_an_attack_during_a_storm_loses_nothing(
    served: Serving, socket_path: str, fork_storm: Path, attack: Callable[[str], None]
) -> None:
    with ExitStack() as held:
        for _ in range(20):
            held.enter_context(connected(socket_path))  # they say nothing
        wait_until(lambda: served.stats()["callers"] == 21, "they are taken")
        before = served.stats()
        held.enter_context(attacked(socket_path, attack))
        wait_until(lambda: ask(EngineClient.stats)["calls"] > before["calls"] + 20, "the attack has begun")
        with subprocess.Popen([str(fork_storm), str(STORM)]) as storm:
            while storm.poll() is None:
                chain = ask(lambda client: client.chain(storm.pid))
                assert [link.pid for link in chain.links[:2]] == [storm.pid, os.getpid()]
        assert storm.returncode == 0
        pid = dead_pid(status=7)
        assert ask(lambda client: client.chain(pid)).links[0].exit_code == 7
        after = ask(EngineClient.stats)
    assert (after["lost"], after["overruns"]) == (0, 0)
    assert after["forks"] - before["forks"] >= STORM
    if attack in (send_garbage, send_a_gigabyte):
        assert after["malformed"] > before["malformed"]
    assert served.end() == 0


@needs_root
def test_a_hundred_callers_at_once_during_a_storm(served: Serving, fork_storm: Path) -> None:
    dead = dead_pid(status=9)
    parent = os.getpid()
    hold, let_go = os.pipe()

    def be_a_caller() -> None:
        os.close(let_go)
        os.read(hold, 1)  # its end: all begin at once
        client = EngineClient.connect()
        assert client is not None
        for _ in range(3):
            own, gone = client.chain(os.getpid()), client.chain(dead)
            assert [link.pid for link in own.links[:2]] == [os.getpid(), parent]
            assert own.complete
            assert (gone.links[0].pid, gone.links[0].exit_code) == (dead, 9)
        os._exit(0)

    pids = [fork(be_a_caller) for _ in range(100)]
    os.close(hold)
    before = served.stats()
    with subprocess.Popen([str(fork_storm), str(STORM)]) as storm:
        os.close(let_go)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        storm.wait(timeout=20)
    assert statuses == [0] * 100
    after = served.stats()
    assert (after["lost"], after["overruns"], after["late"], after["malformed"]) == (0, 0, 0, 0)
    assert after["forks"] - before["forks"] >= STORM
    assert after["answered"] - before["answered"] >= 600


def test_who_asks_late_is_answered_by_the_engine() -> None:
    """`tail -f pids | proc-cache chain -`: the engine has hung up when the first PID comes."""
    with serving() as served:
        gone = dead_pid()
        client = EngineClient.connect()
        assert client is not None
        wait_until(lambda: served.stats()["late"] == 1, "it hangs up on who says nothing", 8)
        assert client.chain(gone).links[0].pid == gone
        client.close()
