"""How answers are written: forms and their fields, terminals, pipes, locales, and stdin answered as it comes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from typing import Any

import pytest

from tests.helpers.cli import PROC_CACHE, REPOSITORY, proc_cache
from tests.helpers.contract import MAY_STAND_BESIDE, OF_THE_EXIT_RECORD, PROCESS_FIELDS
from tests.helpers.processes import Forked, comm_of, in_turn, rename, running, start_ticks_of, wait_until

ME = str(os.getpid())
NO_SUCH_PID = "4194305"

CHAIN_FIELDS = {"pid", "complete", "reason", "lost_events", "notes", "chain", "entry", "entry_pid", "links"}
DESCENT_FIELDS = {"pid", "cmd", "descendant", "reason", "match", "chain"}


def check_process(process: dict[str, Any]) -> None:
    assert process.keys() >= PROCESS_FIELDS
    assert process.keys() <= PROCESS_FIELDS | MAY_STAND_BESIDE | OF_THE_EXIT_RECORD
    assert process["tgid"] == process["pid"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", process["started_at"])
    assert process["exited_at"] is process["exit_code"] is process["signal"] is None


# --- JSON -------------------------------------------------------------------------------------------------


def test_a_process_in_json_has_the_fields_of_the_contract_with_true_values() -> None:
    with running(["sleep", "1000"]) as sleep:
        (process,) = proc_cache("chain", "--format", "ndjson", str(sleep.pid)).json()["links"][:1]
        check_process(process)
        assert (process["pid"], process["ppid"], process["current_ppid"]) == (sleep.pid, int(ME), int(ME))
        assert (process["cmd"], process["cmdline"]) == ("sleep", ["sleep", "1000"])
        assert process["uid"] == os.geteuid()
        ticks = os.sysconf("SC_CLK_TCK")
        assert process["start_time_ns"] == start_ticks_of(sleep.pid) * 1_000_000_000 // ticks


def test_started_at_is_the_wall_clock_of_the_start() -> None:
    before = time.time()
    with Forked() as child:
        after = time.time()
        told = proc_cache("chain", "--format", "ndjson", str(child.pid)).json()["links"][0]["started_at"]
    seconds, fraction = told.rstrip("Z").split(".")
    at = time.mktime(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) - time.timezone + float(f"0.{fraction}")
    assert before - 0.05 <= at <= after + 0.05


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_a_chain_in_json(form: str) -> None:
    answer = proc_cache("chain", "--format", form, ME).json()
    assert answer.keys() == CHAIN_FIELDS
    assert (answer["pid"], answer["complete"], answer["reason"], answer["lost_events"]) == (int(ME), True, None, 0)
    for process in answer["links"]:
        check_process(process)
    assert [link["pid"] for link in answer["links"]] == [
        int(link.split("|")[0]) for link in answer["chain"].split(";")
    ]
    assert answer["chain"] == proc_cache("chain", "--format", "chain", ME).stdout.strip()


def test_several_chains_in_json_are_an_array_and_in_ndjson_lines() -> None:
    pids = [ME, "1", NO_SUCH_PID]
    answers = proc_cache("chain", "--format", "json", *pids).json()
    lines = proc_cache("chain", "--format", "ndjson", *pids).lines
    assert [answer["pid"] for answer in answers] == list(map(int, pids))
    assert [json.loads(line)["chain"] for line in lines] == [answer["chain"] for answer in answers]
    nobody = answers[-1]
    assert nobody.keys() == CHAIN_FIELDS
    assert (nobody["complete"], nobody["links"]) == (False, [])
    assert nobody["reason"]


@pytest.mark.parametrize(
    ("pid", "cmd", "answer"),
    [(ME, comm_of(1).decode(), True), (ME, "no-such-name", False), (NO_SUCH_PID, "a", None)],
)
def test_a_descent_in_json(pid: str, cmd: str, answer: bool | None) -> None:
    for form in ("json", "ndjson"):
        told = proc_cache("descendant", "--format", form, pid, cmd).json()
        assert told.keys() - {"matched_by"} == DESCENT_FIELDS
        assert (told["pid"], told["cmd"], told["descendant"]) == (int(pid), cmd, answer)
        assert (told["reason"] is None) == (answer is not None)
        assert told["chain"].keys() == CHAIN_FIELDS
        assert (told["match"]["pid"] == 1) if answer else (told["match"] is None)


def test_a_snapshot_in_json_and_ndjson() -> None:
    with Forked() as child:
        document = proc_cache("snapshot", "--format", "json").json()
        lines = [json.loads(line) for line in proc_cache("snapshot", "--format", "ndjson").lines]
        for processes in (document, lines):
            for process in processes:
                check_process(process)
            pids = [process["pid"] for process in processes]
            assert {1, int(ME), child.pid} <= set(pids)
            assert len(pids) == len(set(pids))


# --- snapshot: filters ------------------------------------------------------------------------------------


def pids_of(*options: str) -> set[int]:
    ended = proc_cache("snapshot", "--format", "ndjson", *options)
    assert (ended.status, ended.stderr) == (0, "")
    return {json.loads(line)["pid"] for line in ended.lines}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_filters_of_a_snapshot() -> None:
    with (
        Forked(lambda: rename(b"of-root")) as of_root,
        Forked(in_turn(lambda: rename(b"of-other"), lambda: os.setresuid(54321, 54321, 54321))) as of_other,
    ):
        assert pids_of("--cmd", "of-root") == {of_root.pid}
        assert pids_of("--user", "54321") == {of_other.pid}
        assert {1, int(ME), of_root.pid} <= pids_of("--user", "root")
        assert {1, int(ME), of_root.pid} <= pids_of("--user", "0")
        assert of_other.pid not in pids_of("--user", "root")
        assert pids_of("--under", str(of_root.pid)) == {of_root.pid}
        assert {int(ME), of_root.pid, of_other.pid} <= pids_of("--under", ME)
        assert 1 not in pids_of("--under", ME)
        assert pids_of("--under", ME, "--user", "54321", "--cmd", "of-other") == {of_other.pid}
        assert pids_of("--under", str(of_root.pid), "--cmd", "of-other") == set()


def test_a_table_has_a_row_for_each_process_and_cuts_nothing() -> None:
    long_argument = "x" * 3000
    with running(["sh", "-c", "read stay", long_argument]) as shell:
        ended = proc_cache("snapshot", "--under", str(shell.pid), env={"COLUMNS": "40"})
        assert len(ended.lines) == 2
        assert ended.lines[0].split() == ["PID", "PPID", "USER", "STARTED", "CMD", "CMDLINE"]
        assert ended.lines[1].split()[:2] == [str(shell.pid), ME]
        assert ended.lines[1].endswith(f" {long_argument}")


def test_a_forest_has_every_process_once_and_children_below_their_parents() -> None:
    with Forked(lambda: rename(b"one")) as one, Forked(lambda: rename(b"two")) as two:
        for filters in ([], ["--under", ME]):
            lines = proc_cache("snapshot", "--format", "tree", *filters).lines
            drawn = {}
            for line in lines:
                text = line.lstrip(" │├└─")
                drawn[int(text.split()[0].strip("()"))] = len(line) - len(text)  # what is only above stands in ()
            assert len(drawn) == len(lines)
            assert drawn[one.pid] == drawn[two.pid] == drawn[int(ME)] + 3


# --- stdin ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["chain", "tree", "ndjson"])
def test_pids_from_stdin_are_answered_as_they_come(form: str) -> None:
    command = [*PROC_CACHE, "chain", "--format", form, "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for pid in ("1", ME, "1"):
            process.stdin.write(f"{pid}\n".encode())
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 10)[0], f"no answer for {pid} within 10 s"
            assert pid.encode() in os.read(process.stdout.fileno(), 1 << 16)
        process.stdin.close()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_stdin_may_hold_blanks_and_mistakes_and_goes_on() -> None:
    ended = proc_cache("chain", "-", stdin=f"\n  1  \nword\n{NO_SUCH_PID}\n\n1".encode())
    assert ended.status == 2
    assert [line.split("|")[0] for line in ended.lines] == ["1", NO_SUCH_PID, "1"]
    assert len(ended.complaints) == 2


def test_stdin_may_hold_any_bytes() -> None:
    ended = proc_cache("chain", "-", stdin=b"\xff\x00\x1b[2J\n1\n")
    assert (ended.status, len(ended.complaints), len(ended.lines)) == (2, 1, 1)
    assert ended.complaints[0].isprintable()


def test_an_empty_stdin_is_answered_with_nothing() -> None:
    ended = proc_cache("chain", "-", stdin=b"")
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


def test_arguments_and_stdin_together() -> None:
    ended = proc_cache("chain", "1", "-", ME, stdin=b"1\n")
    assert [line.split("|")[0] for line in ended.lines] == ["1", "1", ME]


def test_stdin_in_json_is_an_array() -> None:
    assert [answer["pid"] for answer in proc_cache("chain", "--format", "json", "-", stdin=b"1\n").json()] == [1]


# --- pipes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["chain", "1", "1", "1"], ["snapshot", "--format", "ndjson"]], ids=" ".join)
def test_a_pipe_closed_before_the_end_is_quiet(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)  # the reader has gone before the first line: no race about how much it took
    try:
        done = subprocess.run([*PROC_CACHE, *arguments], stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


# --- terminals --------------------------------------------------------------------------------------------


def on_terminal(
    *arguments: str,
    columns: int = 80,
    env: dict[str, str] | None = None,
    program: list[str] = PROC_CACHE,
    interrupt_at: str = "",
    times: int = 1,
) -> tuple[int, str]:
    """Run it on a terminal of its own; Ctrl-C comes once `interrupt_at` was drawn so many times."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment.update({"TERM": "xterm-256color", **(env or {})})
    process = subprocess.Popen(
        [*program, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, env=environment, cwd=REPOSITORY
    )
    os.close(terminal)
    drawn = b""
    deadline = time.monotonic() + 20
    is_interrupted = not interrupt_at
    try:
        while chunk := read_terminal(controller, deadline):
            drawn += chunk
            if not is_interrupted and drawn.count(interrupt_at.encode()) >= times:
                is_interrupted = True
                process.send_signal(signal.SIGINT)
    finally:
        os.close(controller)
        if not is_interrupted or time.monotonic() >= deadline:
            process.kill()
        status = process.wait(10)
    return status, drawn.decode().replace("\r\n", "\n")


def read_terminal(controller: int, deadline: float) -> bytes:
    """Give what was drawn next, nothing when nobody has the terminal open any more (EIO)."""
    assert select.select([controller], [], [], max(0.0, deadline - time.monotonic()))[0], "nothing is drawn"
    try:
        return os.read(controller, 1 << 16)
    except OSError:
        return b""


def test_on_a_terminal_a_chain_is_a_tree_in_colour() -> None:
    status, drawn = on_terminal("chain", ME)
    assert status == 0
    assert "└─ " in drawn
    assert "\x1b[" in drawn
    assert "|" not in drawn.split("\n", maxsplit=1)[0]


def test_no_color_is_a_tree_without_colour() -> None:
    status, drawn = on_terminal("chain", ME, env={"NO_COLOR": "1"})
    assert (status, "\x1b" in drawn) == (0, False)
    piped = proc_cache("chain", "--format", "tree", ME).lines
    # On a screen a line may end at its edge; which processes there are is the same.
    assert [line.split(" (")[0] for line in drawn.splitlines()] == [line.split(" (")[0] for line in piped]


def test_a_dumb_terminal_gets_plain_text() -> None:
    status, drawn = on_terminal("chain", ME, env={"TERM": "dumb"})
    assert status == 0
    assert drawn == proc_cache("chain", ME).stdout
    status, drawn = on_terminal("snapshot", env={"TERM": "dumb"})
    assert (status, "\x1b" in drawn) == (0, False)


def test_piped_there_is_no_colour_and_the_one_line_form() -> None:
    assert proc_cache("chain", ME).stdout.startswith(f"{ME}|")
    for arguments in (["chain", "--format", "tree", ME], ["snapshot"], ["snapshot", "--format", "tree"]):
        assert "\x1b" not in proc_cache(*arguments, env={"TERM": "xterm-256color"}).stdout


def test_a_snapshot_on_a_terminal_is_a_table() -> None:
    status, drawn = on_terminal("snapshot", "--under", ME)
    assert status == 0
    assert "PID" in drawn.split("\n", maxsplit=1)[0]


def check_that_the_screen_is_as_it_was(drawn: str) -> None:
    assert drawn.count("\x1b[?1049h") == drawn.count("\x1b[?1049l") == 1
    assert drawn.index("\x1b[?1049h") < drawn.index("\x1b[?1049l")
    assert "\x1b[?25h" in drawn[drawn.rindex("\x1b[?25l") :]  # the cursor is shown again
    assert "Traceback" not in drawn


@pytest.mark.kernel
def test_watch_on_a_terminal_is_a_view_that_leaves_the_screen_as_it_was() -> None:
    status, drawn = on_terminal("watch", columns=160, interrupt_at="LIVE", times=3)
    assert status == 0
    check_that_the_screen_is_as_it_was(drawn)
    for word in ("fork", "exec", "exit", "hit ", "miss ", "expired", "evicted", "lost", "top spawners"):
        assert word in drawn


@pytest.mark.kernel
def test_losses_are_seen_on_a_screen_of_80_columns() -> None:
    _, drawn = on_terminal("watch", interrupt_at="LIVE", times=3)
    assert re.search(r"lost (\x1b\[[0-9;]*m)*0", drawn)


@pytest.mark.kernel
def test_ctrl_c_during_the_first_frame_leaves_the_screen_as_it_was() -> None:
    script = """
import sys
from proc_cache.cli.main import main
from proc_cache.cli.live_terminal import LiveTerminal
def interrupted(*_):
    raise KeyboardInterrupt
LiveTerminal.draw = interrupted
sys.exit(main(["watch"]))
"""
    status, drawn = on_terminal(program=[sys.executable, "-c", script])
    assert status in (0, 130)
    check_that_the_screen_is_as_it_was(drawn)


@pytest.mark.kernel
def test_a_view_has_no_place_in_a_pipe() -> None:
    with subprocess.Popen(["sh", "-c", "while :; do /bin/true; done"]) as spawner:
        try:
            ended = proc_cache("watch", "--format", "live", "--count", "3")
        finally:
            spawner.kill()
    assert (ended.status, len(ended.stdout.splitlines())) == (0, 3)
    assert "\x1b" not in ended.stdout


@pytest.mark.kernel
@pytest.mark.parametrize("form", [[], ["--format", "live"]], ids=str)
def test_watch_on_a_dumb_terminal_is_lines(form: list[str]) -> None:
    with subprocess.Popen(["sh", "-c", "while :; do /bin/true; done"]) as spawner:
        try:
            status, drawn = on_terminal("watch", *form, "--count", "3", env={"TERM": "dumb"})
        finally:
            spawner.kill()
    assert (status, "\x1b" in drawn) == (0, False)
    assert len(drawn.splitlines()) == 3


# --- locales ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["C", "POSIX"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["chain"],
        ["chain", "--format", "tree"],
        ["chain", "--format", "json"],
        ["snapshot", "--format", "tree", "--under"],
    ],
)
def test_a_locale_of_ascii_loses_no_answer(locale: str, arguments: list[str]) -> None:
    ascii_only = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Forked(lambda: rename("é-中".encode())) as child:
        wait_until(lambda: comm_of(child.pid) == "é-中".encode(), "renamed")
        ended = proc_cache(*arguments, str(child.pid), env=ascii_only)
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.raw.isascii()
        assert str(child.pid) in ended.stdout
        assert proc_cache("chain", "wörd", env=ascii_only).status == 2


def test_chain_answers_many_lines_as_each_alone() -> None:
    """Those that come together are answered from one look; what is wrong with some disturbs no other."""
    words = [ME, "1", "word", "4194305", *([ME] * 150), "1@-1h"]
    together = proc_cache("chain", "-", stdin="\n".join(words).encode())
    alone = [proc_cache("chain", word) for word in (*words[:4], words[-1])]
    lines, complaints = together.stdout.splitlines(), together.complaints
    assert lines == [
        *(line for ended in alone[:4] for line in ended.stdout.splitlines()),
        *(alone[0].stdout.splitlines() * 150),
        *alone[4].stdout.splitlines(),
    ]
    assert complaints == [said for ended in alone for said in ended.complaints]
    assert together.status == 2
