"""`proc-cache watch -- COMMAND`: the command, its streams and its status, and the tree at its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.cli import PROC_CACHE, REPOSITORY, Ended, plain_environment, proc_cache
from tests.helpers.contract import MAY_STAND_BESIDE, OF_THE_EXIT_RECORD, PROCESS_FIELDS
from tests.helpers.screens import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

BUILD = 'for i in 1 2 3; do /bin/true; done; (sh -c "exit 3"; true); exit 4'


def watched(*options: str, script: str = BUILD) -> Any:
    return proc_cache("watch", *options, "--", "sh", "-c", script)


def document(*options: str, script: str = BUILD) -> Any:
    return watched("--format", "json", *options, script=script).json()


def said(ended: Ended) -> list[str]:
    """What stands on stderr, but for what others do on this machine meanwhile."""
    return [line for line in ended.complaints if not re.match("proc-cache: (flood of|.* were lost)", line)]


def walk(processes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for process in processes:
        yield process
        yield from walk(process["children"])


# --- the tree ---------------------------------------------------------------------------------------------


def test_a_tree_in_a_pipe_is_alone_on_stdout() -> None:
    ended = watched("--format", "tree", script=f"echo of-the-command; {BUILD}")
    assert (ended.status, said(ended)) == (4, ["of-the-command"])
    assert re.match(r"6 processes, 2 failed, [\d.]+m?s", ended.lines[0])
    failures = [line for line in ended.lines if re.match(r"✗ \d+ ", line)]
    assert [line.split(" ", 2)[2][:12] for line in failures] == ["sh -c exit 3", "sh -c echo o"]
    assert re.search(r"exit 3 after .*; started by \d+ sh, \d+ sh$", ended.stdout, re.MULTILINE)
    drawn = "\n".join(ended.lines[-6:])
    assert [len(found) for found in (re.findall(r"/bin/true$", drawn, re.M), re.findall("✗", drawn))] == [3, 2]
    assert re.search(r"└─ \d+ fork of sh\n.*   └─ \d+ \[exit 3\] sh -c exit 3$", drawn)
    assert all(line.isprintable() for line in ended.lines)


def test_lines_are_followed_by_the_tree_on_stderr() -> None:
    ended = watched()
    assert ended.status == 4
    assert [line.split()[1] for line in ended.lines].count("exit") == 6
    assert said(ended)[0] == ""
    assert said(ended)[1].startswith("6 processes, 2 failed, ")
    assert len([line for line in said(ended) if line.endswith("/bin/true")]) == 3


def test_objects_are_alone() -> None:
    ended = watched("--format", "ndjson")
    assert (ended.status, said(ended)) == (4, [])
    assert all(json.loads(line)["event"] for line in ended.lines)


def test_the_tree_as_a_document() -> None:
    told = document()
    assert (told["status"], told["processes"], told["failed"], told["still_running"]) == (4, 6, 2, 0)
    assert (told["dropped_events"], told["folded"]) == (0, 0)
    assert len(told["notes"]) == bool(told["lost_events"])
    assert told["command"] == ["sh", "-c", BUILD]
    (shell,) = told["tree"]
    assert [child["cmd"] for child in shell["children"]] == ["true", "true", "true", "sh"]
    assert [child["exit_code"] for child in shell["children"]] == [0, 0, 0, 0]
    (inner,) = shell["children"][3]["children"]
    assert (inner["cmdline"], inner["exit_code"], inner["children"]) == (["sh", "-c", "exit 3"], 3, [])
    starts = [process["start_time_ns"] for process in walk(told["tree"])]
    assert starts == sorted(starts)
    for process in walk(told["tree"]):
        assert process.keys() >= PROCESS_FIELDS | {"children"}
        assert process.keys() <= PROCESS_FIELDS | MAY_STAND_BESIDE | OF_THE_EXIT_RECORD | {"children"}
        assert process["run_time_s"] > 0


def test_many_alike_are_one_row() -> None:
    ended = watched("--format", "tree", script="i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done")
    assert (ended.status, said(ended)) == (0, [])
    assert ended.lines[0].startswith("301 processes, none failed, ")
    assert re.search(r"└─ 300 x true  total \S+  longest \S+: /bin/true$", ended.lines[-1])
    assert len(ended.lines) == 5


@pytest.mark.parametrize(
    ("script", "ending"), [("kill -9 $$", "signal 9"), ("kill -TERM $$", "signal 15"), ("exit 7", "exit 7")]
)
def test_how_the_command_ended_is_told(script: str, ending: str) -> None:
    ended = watched("--format", "tree", script=script)
    assert f"[{ending}]" in ended.lines[-1]
    assert ended.lines[-1].startswith("✗")


# --- who outlives it --------------------------------------------------------------------------------------


LEFT_BEHIND = (
    "sleep 1000 <&- >&- 2>&- & "
    'until read name </proc/$!/comm && [ "$name" = sleep ]; do :; done; '  # it has run its program
    "echo $! >"
)


def test_what_it_leaves_behind_is_still_running(tmp_path: Path) -> None:
    told_pid = tmp_path / "pid"
    script = f"({LEFT_BEHIND}{told_pid}); exit 0"
    ended = watched("--format", "tree", script=script)
    pid = int(told_pid.read_text())
    try:
        assert ", none failed, 1 still running, " in ended.lines[0]
        assert f"  {pid} sleep 1000" in ended.lines
        (where,) = [line for line in ended.lines if line.startswith("    still running")]
        present = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        assert f"under {present} " in where
        assert f"{pid} [still running] sleep 1000" in ended.lines[-1]
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_what_it_leaves_behind_is_alive_in_the_document(tmp_path: Path) -> None:
    told_pid = tmp_path / "pid"
    told = document(script=f"{LEFT_BEHIND}{told_pid}; exit 0")
    pid = int(told_pid.read_text())
    os.kill(pid, signal.SIGKILL)
    (sleep,) = told["tree"][0]["children"]
    assert (sleep["pid"], sleep["alive"], sleep["exit_code"]) == (pid, True, None)
    assert sleep["current_ppid"] != sleep["ppid"] == told["tree"][0]["pid"]
    assert told["still_running"] == 1


# --- what may be missing ----------------------------------------------------------------------------------


def test_what_came_too_fast_is_told(fork_storm: Path) -> None:
    """The viewer is stopped by the command itself: 60,000 events are more than wait for it.

    It goes on when the engine has answered: by then that one has applied them all.
    """
    ask = " ".join([*PROC_CACHE, "chain", "$$", ">&2"])
    told = document(script=f"kill -STOP $PPID; {fork_storm} 30000; {ask}; kill -CONT $PPID; exit 5")
    assert told["status"] == 5
    assert told["dropped_events"] > 0
    assert (
        f"{told['dropped_events']:,} events came faster than they were read; processes or ends may be missing"
        in told["notes"]
    )
    (shell,) = told["tree"]
    assert shell["exit_code"] == 5, "its end is known, told or not"


@pytest.mark.parametrize("limit", [["--count", "2"], ["--count", "1", "--events", "exec"]])
def test_a_count_ends_the_watch_and_not_the_command(limit: list[str]) -> None:
    told = document(*limit)
    assert told["status"] == 4
    assert told["processes"] == 1
    assert "the watch ended before the command; what happened later is not told" in told["notes"]


def test_a_duration_ends_the_watch_and_not_the_command() -> None:
    ended = watched("--duration", "0", script="/bin/true; echo went-on; exit 4")
    assert (ended.status, ended.stdout) == (4, "")
    assert said(ended)[0] == "went-on"
    assert said(ended)[1:2] in ([], [""])


def test_events_narrow_the_lines_and_not_the_tree() -> None:
    ended = watched("--events", "exit", "--count", "100")
    assert [line.split()[1] for line in ended.lines] == ["exit"] * 6
    assert said(ended)[1].startswith("6 processes, 2 failed, ")


def test_who_started_what_was_asked_for_stands_above_it() -> None:
    told = document("--cmd", "true")
    assert told["processes"] == 3
    (shell,) = told["tree"]
    assert (shell["cmd"], shell["context"], shell["alive"]) == ("sh", True, None)
    assert [child["cmd"] for child in shell["children"]] == ["true"] * 3
    assert any(note.startswith("only what was asked for is counted") for note in told["notes"])


# --- streams, signals, statuses ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tree", "json", "lines", "ndjson"])
def test_nobody_reads_it(form: str) -> None:
    with subprocess.Popen(
        [*PROC_CACHE, "watch", "--format", form, "--", "sh", "-c", "read stay; /bin/true; exit 4"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=plain_environment(),
    ) as watch:
        assert watch.stdout is not None
        watch.stdout.close()
        watch.stdout = None
        _, stderr = watch.communicate(b"\n", timeout=20)
    assert watch.returncode == 4
    assert b"Traceback" not in stderr
    assert said(Ended(4, b"", stderr))[:1] in ([], [""]), "nothing but the tree"


@pytest.mark.parametrize("form", ["tree", "json", "lines"])
def test_there_is_no_room_for_it(form: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PROC_CACHE, "watch", "--format", form, "--", "sh", "-c", "exit 4"],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
            env=plain_environment(),
            timeout=20,
        )
    assert done.returncode == 4
    complaints = [line for line in said(Ended(4, b"", done.stderr)) if line.startswith("proc-cache: ")]
    assert len(complaints) == 1
    assert "No space left on device" in complaints[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_reaches_it_and_the_tree_follows(number: signal.Signals) -> None:
    with subprocess.Popen(
        [*PROC_CACHE, "watch", "--format", "tree", "--", "sh", "-c", "echo ready; exec sleep 60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=plain_environment(),
    ) as watch:
        assert watch.stderr is not None
        assert watch.stderr.readline() == b"ready\n"
        watch.send_signal(number)
        drawn, _ = watch.communicate(timeout=20)
    assert watch.returncode == 128 + number
    assert f"[signal {int(number)}]" in drawn.decode()


@pytest.mark.parametrize(
    ("name", "content", "mode", "status", "reason"),
    [
        ("nobody-there", None, 0, 127, "there is no such program"),
        ("no-interpreter", "#!/no/such/shell\n", 0o755, 127, "interpreter"),
        ("not-executable", "#!/bin/sh\n", 0o644, 126, "chmod"),
        ("no-program", "true\n", 0o755, 126, "#!/bin/sh"),
        ("directory", "", 0, 126, "directory"),
    ],
)
def test_a_command_that_cannot_be_run(
    tmp_path: Path, name: str, content: str | None, mode: int, status: int, reason: str
) -> None:
    path = tmp_path / name
    if content:
        path.write_text(content)
        path.chmod(mode)
    elif content == "":
        path.mkdir()
    ended = proc_cache("watch", "--", str(path))
    assert (ended.status, ended.stdout, len(said(ended))) == (status, "", 1)
    assert ended.stderr.startswith(f"proc-cache: cannot run {path}: ")
    assert reason in ended.stderr


def test_a_name_that_means_harm_cannot_be_run_harmlessly() -> None:
    ended = proc_cache("watch", "--", "/no/\x1b[2J\nsuch")
    assert (ended.status, len(said(ended))) == (127, 1)
    assert ended.stderr.replace("\n", "").isprintable()


@pytest.mark.parametrize("arguments", [["--format", "tree"], ["--format", "live", "--", "true"]])
def test_forms_that_do_not_fit(arguments: list[str]) -> None:
    ended = proc_cache("watch", *arguments)
    assert (ended.status, ended.stdout, len(ended.complaints)) == (2, "", 1)
    assert "--format" in ended.stderr


# --- on a terminal ----------------------------------------------------------------------------------------


def type_watch(terminal: Terminal, command: str, *options: str) -> None:
    terminal.type(" ".join(["clear;", *PROC_CACHE, "watch", *options, "--", command, "; echo status=$?"]))


def test_on_a_terminal_the_command_has_it_and_the_tree_follows() -> None:
    with Terminal(80, 40) as terminal:
        script = f"test -t 0 && test -t 1 && test -t 2 && printf is-a-terminal; {BUILD} # {'x' * 100}"
        type_watch(terminal, f"sh -c '{script}'")
        lines = [line for line in terminal.wait_for_status(30) if line]
        at = lines.index("is-a-terminal")
        assert lines[at + 1].startswith("6 processes, 2 failed, ")
        assert lines[-2:] == ["status=4", "ready$"]
        assert any(line.endswith("…") and len(line) == 80 for line in lines), "it is cut to the width"
        assert not any(re.match(r"\d\d:\d\d:\d\d\.", line) for line in lines), "no events on it"


def test_ctrl_c_ends_the_command_and_the_tree_follows() -> None:
    with Terminal(80, 24) as terminal:
        type_watch(terminal, "sh -c 'echo re''ady; exec sleep 60'")
        terminal.wait_for(lambda lines: "ready" in lines, "the command runs", 30)
        terminal.press("C-c")
        lines = terminal.wait_for_status(30)
        assert "status=130" in lines
        assert any("[signal 2]" in line for line in lines)


def test_ctrl_backslash_ends_the_command_and_the_tree_follows() -> None:
    with Terminal(80, 24) as terminal:
        type_watch(terminal, "sh -c 'ulimit -c 0; echo re''ady; exec sleep 60'")
        terminal.wait_for(lambda lines: "ready" in lines, "the command runs", 30)
        terminal.press("C-\\")
        lines = terminal.wait_for_status(30)
        assert "status=131" in lines
        assert any("[signal 3]" in line for line in lines)


def test_an_interactive_shell_goes_in_it() -> None:
    with Terminal(100, 40) as terminal:
        type_watch(terminal, "env PS1='inner$ ' sh -i")
        terminal.wait_for(lambda lines: any(line.startswith("inner$") for line in lines), "a shell is there", 30)
        terminal.type("/bin/true; exit 5")
        lines = terminal.wait_for_status(30)
        assert "status=5" in lines
        assert any(line.endswith("/bin/true") and "─ " in line for line in lines)


def test_it_is_stopped_and_goes_on_with_the_command() -> None:
    with Terminal(100, 40) as terminal:
        type_watch(terminal, "sh -c 'echo re''ady; read line; exit 6'")
        terminal.wait_for(lambda lines: "ready" in lines, "the command runs", 30)
        terminal.press("C-z")
        terminal.wait_for(lambda lines: any("topped" in line for line in lines), "it is stopped", 30)
        terminal.type("fg; echo then=$?")
        terminal.type("a line")
        terminal.wait_for(lambda lines: "then=6" in lines, "it ends with the command's status", 30)
