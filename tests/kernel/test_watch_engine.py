"""The engine behind `proc-cache watch`: whose it is, how long it lives, and that a slow viewer costs nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.cli import (
    PROC_CACHE,
    REPOSITORY,
    Ended,
    Watching,
    become_nobody,
    in_fork,
    load_engine,
    plain_environment,
    proc_cache,
)
from tests.helpers.engines import (
    children,
    engine_pid,
    engine_stats,
    has_ended,
    resident_bytes,
    socket_file_is_there,
    wait_until_ended,
)
from tests.helpers.processes import in_turn, wait_until
from tests.helpers.serving import Serving, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.kernel

STORM = 20_000
RESIDENT_MAX_BYTES = 300 << 20
NOBODY_MATCHES = ("--cmd", "no-such-name")


def run_true() -> None:
    subprocess.run(["true"])


def complaints(ended: Ended) -> list[str]:
    """What it says, but for what others do on this machine meanwhile."""
    return [line for line in ended.complaints if "flood of" not in line]


@pytest.fixture
def served() -> Iterator[Serving]:
    with serving() as engine:
        yield engine


# --- its end ----------------------------------------------------------------------------------------------


def kill(watch: Watching) -> int:
    return watch.stop(signal.SIGKILL).status


def terminate(watch: Watching) -> int:
    return watch.stop(signal.SIGTERM).status


def interrupt(watch: Watching) -> int:
    return watch.stop(signal.SIGINT).status


def hang_up(watch: Watching) -> int:
    return watch.stop(signal.SIGHUP).status


def close_pipe(watch: Watching) -> int:
    assert watch.process.stdout is not None
    watch.process.stdout.close()
    deadline = time.monotonic() + 10
    while watch.process.poll() is None:
        assert time.monotonic() < deadline, "it goes on without a reader"
        run_true()
    return watch.process.returncode


def let_time_pass(watch: Watching) -> int:
    return watch.end().status


@pytest.mark.parametrize(
    ("end", "status", "options"),
    [
        (kill, -signal.SIGKILL, ()),
        (terminate, 0, ()),
        (interrupt, 0, ()),
        (hang_up, 0, ()),
        (close_pipe, 0, ()),
        (let_time_pass, 0, ("--duration", "3")),
    ],
    ids=["KILL", "TERM", "INT", "HUP", "closed pipe", "duration"],
)
def test_it_ends_with_its_viewer(end: Callable[[Watching], int], status: int, options: tuple[str, ...]) -> None:
    with Watching("--events", "exec", *options) as watch:
        watch.wait_until_capturing()
        engine = watch.engine_pid
        assert engine == engine_pid()
        assert socket_file_is_there()
        watch.read_until(lambda: watch.lines, "it shows something", provoke=run_true)
        assert end(watch) == status
        wait_until_ended(engine)
        assert not socket_file_is_there()


def test_it_ends_with_a_viewer_that_is_killed_before_it_listens() -> None:
    with Watching() as watch:
        wait_until(lambda: children(watch.pid), "it has been started")
        engine = watch.engine_pid
        watch.process.kill()
        wait_until_ended(engine)
    assert not socket_file_is_there()


def test_it_ends_with_a_viewer_that_was_stopped() -> None:
    with Watching("--events", "exec") as watch:
        watch.wait_until_capturing()
        engine = watch.engine_pid
        watch.process.send_signal(signal.SIGSTOP)
        run_true()
        watch.process.kill()
        wait_until_ended(engine)
    assert not socket_file_is_there()


def test_who_reads_a_viewer_that_was_killed_is_not_kept_waiting() -> None:
    with Watching(*NOBODY_MATCHES) as watch:
        watch.wait_until_capturing()
        watch.process.kill()
        assert watch.process.communicate(timeout=10) == (b"", b"")


def test_what_it_recorded_is_whole_though_its_viewer_was_killed(tmp_path: Path) -> None:
    history = str(tmp_path / "history")
    with Watching("--record", history, "--events", "exec") as watch:
        watch.read_until(lambda: watch.lines, "it watches", provoke=run_true)
        engine = watch.engine_pid
        with subprocess.Popen(["true"]) as last:
            pass
        watch.read_until(lambda: any(f" {last.pid}|" in line for line in watch.lines), "it has seen the last")
        watch.process.kill()
        wait_until_ended(engine)
    ended = proc_cache("snapshot", "--from", history, "--dead", "--format", "json")
    assert last.pid in [process["pid"] for process in ended.json()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["KILL", "TERM"])
def test_a_viewer_ends_with_its_engine_and_says_what_to_do(number: signal.Signals) -> None:
    with Watching(*NOBODY_MATCHES) as watch:
        watch.wait_until_capturing()
        os.kill(watch.engine_pid, number)
        ended = watch.end(timeout_s=10)
    assert (ended.status, ended.stdout) == (69, "")
    (complaint,) = complaints(ended)
    assert "engine" in complaint
    assert "again" in complaint  # run it, or start it
    assert "at this watch" not in complaint  # which is no place


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["INT", "HUP"])
def test_ctrl_c_is_for_the_viewer(number: signal.Signals) -> None:
    with Watching("--events", "exec") as watch:
        watch.wait_until_capturing()
        engine = watch.engine_pid
        os.kill(engine, number)
        before = len(watch.lines)
        watch.read_until(lambda: len(watch.lines) > before + 3, "it goes on", provoke=run_true)
        assert not has_ended(engine)


def test_it_is_no_child_that_the_command_could_wait_for(tmp_path: Path) -> None:
    """The command is told its own children only, and ends before the engine does."""
    ended = proc_cache("watch", "--format", "ndjson", "--", "sh", "-c", f"wait; echo $PPID > {tmp_path}/viewer")
    assert (ended.status, complaints(ended)) == (0, [])
    assert has_ended(int((tmp_path / "viewer").read_text()))
    assert not socket_file_is_there()


# --- a slow viewer ----------------------------------------------------------------------------------------


def test_a_viewer_that_was_stopped_during_a_storm_costs_the_engine_nothing(fork_storm: Path) -> None:
    with Watching("--events", "fork,exit", "--under", str(os.getpid())) as watch:
        watch.wait_until_capturing()
        engine = watch.engine_pid
        before = engine_stats()
        watch.process.send_signal(signal.SIGSTOP)
        subprocess.run([fork_storm, str(STORM)], check=True)
        time.sleep(2)  # no event is waited for: it is to be stopped for seconds
        during = engine_stats()
        assert during["forks"] - before["forks"] > STORM
        assert during["exits"] - before["exits"] > STORM
        assert (during["lost"], during["overruns"]) == (0, 0)
        assert resident_bytes(engine) < RESIDENT_MAX_BYTES
        watch.process.send_signal(signal.SIGCONT)
        later = go_on(watch)
        assert engine_stats()["lost"] == 0
        ended = watch.stop()
    missing = [int(number) for number in re.findall(r"proc-cache: (\d+) events are missing here", ended.stderr)]
    assert len(missing) == len(complaints(ended)) == 1, ended  # one gap; and nothing else is said
    assert missing[0] > 1000
    # Each was born and ended: what was not told is counted, to the last.
    assert len(watch.lines) + missing[0] == 2 * (STORM + 1 + later)


def go_on(watch: Watching) -> int:
    """Run programs until one is told, and then one more; returns how many."""
    pids: list[int] = []

    def run_one() -> None:
        with subprocess.Popen(["true"]) as program:
            pids.append(program.pid)

    def is_told(*wanted: int) -> bool:
        """Whether one of them has ended; the storm may have had the same pids."""
        ends = {line.split()[2] for line in watch.lines[-200:] if line.split()[1] == "exit"}
        return any(end.split("|")[0] in map(str, wanted) and end.split("|")[1] != "fork-storm" for end in ends)

    watch.read_until(lambda: pids and is_told(*pids), "it goes on", provoke=run_one, deadline_s=60)
    run_one()
    watch.read_until(lambda: is_told(pids[-1]), "the last is told", deadline_s=60)
    return len(pids)


# --- several viewers --------------------------------------------------------------------------------------


def test_a_second_viewer_asks_the_engine_of_the_first_and_ends_with_it() -> None:
    with Watching("--events", "exec") as first:
        first.wait_until_capturing()
        with Watching("--events", "exec") as second:
            second.wait_until_capturing()
            assert children(second.pid) == []
            assert (len(children(first.pid)), engine_stats()["streams"]) == (1, 2)
            second.read_until(lambda: second.lines, "the second is told", provoke=run_true)
            first.read_until(lambda: first.lines, "the first is told")
            assert first.stop().status == 0
            ended = second.end(timeout_s=10)
    assert ended.status == 69
    (complaint,) = complaints(ended)
    assert "engine" in complaint
    assert "again" in complaint


def test_the_first_goes_on_when_the_second_ends() -> None:
    with Watching("--events", "exec") as first:
        first.wait_until_capturing()
        for number in (signal.SIGKILL, signal.SIGTERM):
            with Watching("--events", "exec") as second:
                second.wait_until_capturing()
                second.stop(number)
            wait_until(lambda: engine_stats()["streams"] == 1, "it is noticed")
        before = len(first.lines)
        first.read_until(lambda: len(first.lines) > before, "the first is told", provoke=run_true)


# --- beside `serve` ---------------------------------------------------------------------------------------


def test_an_engine_that_runs_is_asked(served: Serving) -> None:
    with Watching("--events", "exec") as watch:
        watch.wait_until_capturing()
        assert (children(watch.pid), served.stats()["streams"]) == ([], 1)
        watch.read_until(lambda: watch.lines, "it is told", provoke=run_true)
        ended = watch.stop()
    assert (ended.status, complaints(ended)) == (0, [])
    wait_until(lambda: served.stats()["streams"] == 0, "it is noticed")
    assert engine_pid() == served.pid


def test_its_end_is_told(served: Serving, socket_path: str) -> None:
    with Watching(*NOBODY_MATCHES) as watch:
        watch.wait_until_capturing()
        assert served.end() == 0
        ended = watch.end(timeout_s=10)
    assert (ended.status, len(ended.complaints)) == (69, 1)
    assert socket_path in ended.stderr
    assert "again" in ended.stderr


@pytest.mark.parametrize("option", ["record", "capacity", "ttl", "no-realtime"])
def test_what_that_engine_cannot_give_is_given_by_an_own_one(served: Serving, option: str, tmp_path: Path) -> None:
    history = tmp_path / "history"
    options = {
        "record": ["--record", str(history)],
        "capacity": ["--capacity", "1000"],
        "ttl": ["--ttl", "5s"],
        "no-realtime": ["--no-realtime"],
    }[option]
    with Watching("--events", "exec", *options) as watch:
        watch.read_until(lambda: watch.lines, "it watches", provoke=run_true)
        own = watch.engine_pid
        assert own != served.pid
        assert (engine_pid(), served.stats()["streams"]) == (served.pid, 0)
        ended = watch.stop()
    assert (ended.status, complaints(ended)) == (0, [])
    wait_until_ended(own)
    assert history.exists() == (option == "record")
    assert engine_pid() == served.pid  # whose socket was left alone


class TestCommand:
    def test_beside_an_engine_that_runs(self, served: Serving) -> None:
        calls = served.stats()["calls"]
        ended = proc_cache("watch", "--format", "ndjson", "--", "sh", "-c", "/bin/true; exit 3")
        assert (ended.status, complaints(ended)) == (3, [])
        events = [json.loads(line) for line in ended.lines]
        assert [each["event"] for each in events].count("exit") == 2
        assert events[-1]["exit_code"] == 3
        assert served.stats()["calls"] > calls + 1
        wait_until(lambda: served.stats()["streams"] == 0, "it is noticed")

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["KILL", "TERM"])
    def test_goes_on_when_the_engine_has_ended(self, served: Serving, number: signal.Signals) -> None:
        with subprocess.Popen(
            [*PROC_CACHE, "watch", "--", "sh", "-c", "echo ready >&2; read stay; exit 5"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
            env=plain_environment(),
        ) as watch:
            assert watch.stderr is not None
            assert watch.stderr.readline() == b"ready\n"
            served.end(number)
            complaint = watch.stderr.readline().decode()
            assert watch.poll() is None, "the command is left alone"
            _, rest = watch.communicate(b"\n", timeout=10)
        assert watch.returncode == 5
        if rest:  # it was told of the command before: there is a tree
            assert b"the watch ended before the command" in rest
        assert complaint.startswith("proc-cache: ")
        assert "engine" in complaint

    def test_an_own_engine_ends_with_it(self) -> None:
        assert proc_cache("watch", "--", "true").status == 0
        assert (engine_pid(), socket_file_is_there()) == (None, False)


# --- where there are no events ----------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces")
@pytest.mark.parametrize("form", ["lines", "ndjson", "live"])
def test_without_a_connector_it_is_said_at_once(form: str) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare(1)")
    began_s = time.monotonic()
    ended = proc_cache("watch", "--format", form, prefix=["unshare", "--net"])
    assert (ended.status, ended.stdout, len(ended.complaints)) == (69, "", 1)
    assert "initial network namespace" in ended.stderr
    assert time.monotonic() - began_s < 5
    assert not socket_file_is_there()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_the_engine_of_nobody_ends_with_its_viewer_too() -> None:
    engines: list[int] = []

    def end_it(viewer: int, stdout: Path) -> None:
        def is_told() -> bool:
            run_true()
            return "|true|" in stdout.read_text()

        wait_until(stdout.exists, "watch has begun")
        wait_until(is_told, "nobody is told", 20)
        engines.extend(children(viewer))
        assert [os.stat(f"/proc/{pid}").st_uid for pid in engines] == [65534]
        os.kill(viewer, signal.SIGTERM)

    ended = in_fork(
        ["watch", "--events", "exec", "--format", "lines"],
        before=in_turn(load_engine, become_nobody),
        warm_up=["watch", "--duration", "0"],
        during=end_it,
    )
    assert (ended.status, complaints(ended)) == (0, [])
    wait_until_ended(engines[0])
