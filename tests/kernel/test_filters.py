"""The filters, the same in every command, with real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache.service.client import EngineClient
from tests.helpers.cli import PROC_CACHE, Ended, Watching, proc_cache
from tests.helpers.processes import DEADLINE_S, Forked, comm_of, rename, running, wait_until
from tests.helpers.screens import Terminal
from tests.helpers.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel

NO_SUCH_PID = "4194305"
ME = str(os.getpid())
# It ends with 0 after a fifth of a second; below it: one ends with 3, one by a signal, one with 0.
SCRIPT = "sh -c 'exit 3'; sh -c 'kill -9 $$'; /bin/true; sleep 0.2; exit 0"
OF_SCRIPT = [
    ("failed", ["--failed"], {"exit 3", "signal 9"}),
    ("longer", ["--longer-than", "100ms"], {"sleep", "all"}),
    ("shorter", ["--shorter-than", "100ms"], {"exit 3", "signal 9", "true"}),
    ("longer and failed", ["--longer-than", "100ms", "--failed"], set()),
    ("between", ["--longer-than", "100ms", "--shorter-than", "1h"], {"sleep", "all"}),
    ("pattern", ["--cmd-re", "^(sleep|tr.e)$"], {"sleep", "true"}),
    ("pattern and shorter", ["--cmd-re", "s[hl]", "--shorter-than", "100ms"], {"exit 3", "signal 9"}),
    ("user", ["--user", str(os.geteuid()), "--cmd", "true"], {"true"}),
    ("another user", ["--user", "54321"], set()),
]
FILTERS = pytest.mark.parametrize(
    ("filters", "found"), [each[1:] for each in OF_SCRIPT], ids=[each[0] for each in OF_SCRIPT]
)


def which(process: dict[str, Any]) -> str:
    """Which process of the script it is."""
    if process["signal"]:
        return f"signal {process['signal']}"
    if process["exit_code"]:
        return f"exit {process['exit_code']}"
    return str(process["cmd"]) if process["cmd"] != "sh" else "all"


def run_script() -> int:
    """Give the pid of the shell that ran it."""
    with subprocess.Popen(["sh", "-c", SCRIPT], stderr=subprocess.DEVNULL) as shell:
        assert shell.wait(timeout=DEADLINE_S) == 0
    return shell.pid


def named(name: bytes) -> Forked:
    """A child of this name, whose child runs `true` when it is let go."""
    return Forked(lambda: rename(name), afterwards=lambda: subprocess.run(["true"]))


def answer(*arguments: str) -> Ended:
    ended = proc_cache(*arguments)
    assert (ended.status, ended.stderr) == (0, ""), ended
    return ended


# --- the same everywhere ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A history of the script, and the pid of its shell."""
    directory = tmp_path_factory.mktemp("filters")
    history = str(directory / "history")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROC_CACHE_SOCKET", str(directory / "socket"))
        with Watching("--record", history, "--under", ME, "--events", "exit", "--format", "ndjson") as watch:
            watch.wait_until_capturing()
            pid = run_script()
            watch.read_until(lambda: any(json.loads(line)["pid"] == pid for line in watch.lines), "its end")
            assert watch.stop().status == 0
    return history, str(pid)


@FILTERS
def test_in_a_list_of_a_history(recorded: tuple[str, str], filters: list[str], found: set[str]) -> None:
    history, shell = recorded
    options = ["--from", history, "--under", shell, "--dead", "--format", "json"]
    assert {which(each) for each in answer("snapshot", *options, *filters).json()} == found


@FILTERS
def test_in_a_stream_of_a_history(recorded: tuple[str, str], filters: list[str], found: set[str]) -> None:
    history, shell = recorded
    options = ["--from", history, "--under", shell, "--events", "exit", "--format", "ndjson"]
    lines = answer("watch", *options, *filters).lines
    assert {which(json.loads(line)) for line in lines} == found


def test_under_a_name_in_a_history(recorded: tuple[str, str]) -> None:
    history, shell = recorded
    for command in (
        ["snapshot", "--dead", "--format", "ndjson"],
        ["watch", "--events", "exit", "--format", "ndjson"],
    ):
        found = [json.loads(line) for line in answer(*command, "--from", history, "--under", "sleep").lines]
        assert {each["cmd"] for each in found} == {"sleep"}
        assert shell in [str(each["ppid"]) for each in found]  # there may be others on this machine
        ended = proc_cache(*command, "--from", history, "--under", "no-such-name")
        assert (ended.status, ended.stdout) == (1, ""), ended
        assert "no process named 'no-such-name' is in this history" in ended.stderr


def test_a_pattern_in_a_stream_of_a_history(recorded: tuple[str, str]) -> None:
    """It is the name at the time of each event that is searched."""
    history, shell = recorded
    options = ["--from", history, "--under", shell, "--format", "ndjson", "--cmd-re", "^sl"]
    told = [json.loads(line) for line in answer("watch", *options).lines]
    assert [(each["event"], each["cmd"]) for each in told] == [("exec", "sleep"), ("exit", "sleep")]


@FILTERS
def test_in_a_stream(filters: list[str], found: set[str]) -> None:
    arguments = ["watch", "--events", "exit", "--format", "ndjson", *filters, "--", "sh", "-c", SCRIPT]
    ended = proc_cache(*arguments)
    assert ended.status == 0, ended
    assert {which(json.loads(line)) for line in ended.lines} == found


def test_in_a_list_of_an_engine() -> None:
    # The shell around it lives while it is asked about: nobody else gets its PID.
    with serving(), running(["sh", "-c", f"({SCRIPT}); echo; read stay"]) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        below = ["--under", str(shell.pid), "--format", "json"]
        for _, filters, found in OF_SCRIPT:
            listed = answer("snapshot", *below, "--dead", *filters).json()
            assert {which(each) for each in listed} == found, filters
        # What only the dead can match needs no --dead.
        assert {which(each) for each in answer("snapshot", *below, "--failed").json()} == {"exit 3", "signal 9"}


# --- trees ------------------------------------------------------------------------------------------------


def test_a_filtered_tree_keeps_the_ancestors_the_dead_ones_too() -> None:
    with serving():
        # The shell between has ended when this is asked, and its child is adopted.
        script = "sh -c 'sleep 1000 & echo $! $$'"
        with running(["sh", "-c", f"{script}; read stay"]) as shell:
            assert shell.stdout is not None
            pid, between = map(int, shell.stdout.readline().split())
            try:
                wait_until(lambda: not os.path.exists(f"/proc/{between}"), "the one between has ended")
                wait_until(lambda: comm_of(pid) == b"sleep", "it has been exec'ed")
                for filters in (["--cmd", "sleep"], ["--cmd-re", "^sleep$"], ["--under", str(pid)]):
                    lines = answer("snapshot", "--format", "tree", *filters).lines
                    assert lines[0].startswith("(1 ")
                    (place,) = [number for number, line in enumerate(lines) if f"─ {pid} sh -> sleep (" in line]
                    assert f"─ ({between} " in lines[place - 1]
                    assert "[exit 0 after " in lines[place - 1]
                    assert f"─ ({shell.pid} " in lines[place - 2]
            finally:
                os.kill(pid, signal.SIGKILL)


def test_a_filtered_tree_from_proc() -> None:
    with running(["sleep", "1000"]) as sleeper:
        lines = answer("snapshot", "--format", "tree", "--under", str(sleeper.pid)).lines
        assert f"└─ {sleeper.pid} sleep (" in lines[-1]
        assert f"└─ ({ME} " in lines[-2]
        assert lines[0].startswith("(1 ")
        assert all("└─ (" in line for line in lines[1:-1])


def test_a_tree_that_is_not_filtered_has_no_parentheses() -> None:
    assert answer("snapshot", "--format", "tree").lines[0].startswith("1 ")


# --- under ------------------------------------------------------------------------------------------------


def test_under_a_name_that_comes_later() -> None:
    name = f"late{ME}"
    with Watching("--events", "exec", "--under", name, "--format", "ndjson", "--count", "1") as watch:
        watch.wait_until_capturing()
        with named(name.encode()) as child:
            child.wait()
        ended = watch.end(timeout_s=DEADLINE_S)
    assert (ended.status, ended.stderr) == (0, "")
    (line,) = watch.lines
    told = json.loads(line)
    assert (told["cmd"], told["ppid"]) == ("true", child.pid)


def test_under_a_name_that_nobody_has_is_waited_for() -> None:
    ended = proc_cache("watch", "--under", "no-such-name", "--duration", "0.1")
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("form", ["lines", "ndjson", "live"])
def test_under_a_pid_that_nobody_has_is_not(form: str) -> None:
    ended = proc_cache("watch", "--under", NO_SUCH_PID, "--duration", "5", "--format", form)
    assert (ended.status, ended.stdout) == (1, ""), ended
    assert NO_SUCH_PID in ended.stderr


def test_a_word_of_digits_is_a_pid() -> None:
    with serving(), Forked(lambda: rename(NO_SUCH_PID.encode())) as child:
        wait_until(
            lambda: proc_cache("snapshot", "--cmd", NO_SUCH_PID, "--format", "json").json(), "it has its name"
        )
        assert proc_cache("snapshot", "--under", NO_SUCH_PID).status == 1
        assert child.pid in [
            each["pid"] for each in answer("snapshot", "--cmd", NO_SUCH_PID, "--format", "json").json()
        ]


# --- ends alone -------------------------------------------------------------------------------------------


def kinds_told(*options: str) -> set[str]:
    ended = proc_cache("watch", *options, "--format", "ndjson", "--", "sh", "-c", "sh -c 'exit 3'; exit 4")
    assert ended.status == 4, ended
    return {json.loads(line)["event"] for line in ended.lines}


def test_what_is_about_ends_shows_ends_alone() -> None:
    assert kinds_told("--failed") == {"exit"}
    assert kinds_told("--longer-than", "0") == {"exit"}
    assert kinds_told("--failed", "--events", "fork,exit") == {"exit"}
    assert kinds_told("--failed", "--events", "fork,exec") == set()
    assert kinds_told() == {"fork", "exec", "exit"}


# --- patterns ---------------------------------------------------------------------------------------------


def test_a_pattern_counts_what_it_finds() -> None:
    with Watching("--cmd-re", "^tr.e$", "--events", "exec", "--under", ME, "--count", "3") as watch:
        watch.wait_until_capturing()
        for name in ("true", "false", "true", "false", "true", "true"):
            subprocess.run([name])
        assert watch.end(timeout_s=DEADLINE_S).status == 0
    assert [line.split("|")[1] for line in watch.lines] == ["true"] * 3


def test_a_pattern_that_takes_forever_holds_up_nobody_but_who_typed_it(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    program = str(tmp_path / ("a" * 60 + "!"))
    shutil.copy(os.path.realpath(sleep), program)
    forever = ["--cmd-re", "(a+)+$", "--events", "exit", "--under", ME]
    with serving() as served, ExitStack() as watching:
        stuck = watching.enter_context(Watching(*forever))
        stuck.wait_until_capturing()
        other = watching.enter_context(Watching("--events", "exit", "--under", ME))
        other.wait_until_capturing()
        used_s = cpu_s(stuck.pid)
        subprocess.run([program, "0.3"])  # long enough for its file to be looked up
        other.read_until(lambda: any("aaaaaaaaaaaaaaa|" in line for line in other.lines), "another is told of it")
        wait_until(lambda: cpu_s(stuck.pid) > used_s + 0.5, "it is stuck")
        before_s = time.monotonic()
        for _ in range(20):
            client = EngineClient.connect()
            assert client is not None
            assert client.chain(os.getpid()).complete
            client.close()
        assert time.monotonic() - before_s < DEADLINE_S / 2
        ended = stuck.stop(signal.SIGINT)
        assert (ended.status, ended.stderr, stuck.lines) == (0, "", [])
        # A list is searched by who asks for it, likewise.
        asked = subprocess.Popen(
            [*PROC_CACHE, "snapshot", "--dead", "--cmd-re", "(a+)+$"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: cpu_s(asked.pid) > 1, "it is stuck")
        assert served.stats()["alive"] > 0
        asked.terminate()
        out, err = asked.communicate(timeout=DEADLINE_S)
        assert (asked.returncode, out, err) == (143, b"", b"")


def cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- on a screen ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filters", [["--cmd-re", "^shown"], ["--failed"], ["--under", "shown-NUMBER"]], ids=" ".join
)
def test_on_the_live_screen(tmp_path: Path, filters: list[str]) -> None:
    """Of two programs the one that is asked for is shown; the other one comes first, and ends otherwise."""
    name = f"shown-{ME}"[:15]
    (tmp_path / name).symlink_to("/bin/sh")
    filters = [word.replace("shown-NUMBER", name) for word in filters]
    if "--under" not in filters:
        filters += ["--under", ME]
    with Terminal(120, 40) as terminal:
        terminal.run_watch(*(f"'{word}'" for word in filters))
        for _ in range(3):
            subprocess.run(["hostname"], stdout=subprocess.DEVNULL)
        subprocess.run([str(tmp_path / name), "-c", "exit 3"])
        lines = terminal.wait_for(
            lambda lines: any(re.search(rf"\d {name}\b", line) for line in lines), "it is shown"
        )
        assert not any(re.search(r"\d hostname\b", line) for line in lines), lines
        terminal.press("C-c")
        assert "status=0" in terminal.wait_for_status(15)
