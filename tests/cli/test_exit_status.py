"""What is typed wrong, what is not there, and what cannot be told: the status, and one line that says why."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.helpers.cli import PROC_CACHE, Ended, in_fork, proc_cache
from tests.helpers.processes import comm_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_SUCH_PID = "4194305"  # one more than PID_MAX_LIMIT, linux/threads.h
OWN_NAME = comm_of(os.getpid()).decode()
ME = str(os.getpid())


WRONG_FILTERS = [
    ["--cmd", ""],
    ["--cmd-re", ""],
    ["--cmd-re", "("],
    ["--cmd-re", "(?P<\n"],
    ["--cmd-re", "*\udcff\x1b[2J"],
    ["--user", ""],
    ["--user", "no-such-user"],
    ["--user", "\udcff\x1b[2J"],
    ["--under", ""],
    ["--under", "12@"],
    ["--under", "\u0661"],
    ["--longer-than", "long"],
    ["--longer-than", ""],
    ["--shorter-than", "5us"],
    ["--shorter-than", "-5ms"],
    ["--shorter-than", "1s", "--longer-than", "1s"],
    ["--failed=yes"],
]


def complain_once(ended: Ended) -> str:
    """Exactly one line on stderr, ours, and no traceback in it."""
    assert len(ended.complaints) == 1, ended
    (complaint,) = ended.complaints
    assert complaint.startswith("proc-cache: ")
    assert "Traceback" not in complaint
    assert "bug in proc-cache" not in complaint
    return complaint


def run(arguments: Sequence[str]) -> Ended:
    return in_fork(arguments)


# --- 2: usage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["chain", "init"],
        ["chain", "1x"],
        ["chain", "0x10"],
        ["chain", "1.5"],
        ["chain", "+1"],
        ["chain", "1_0"],
        ["chain", "\u0661"],  # a decimal digit, and not ASCII
        ["chain", ""],
        ["chain", " "],
        ["chain", "--", "-5"],
        ["chain", "-5"],
        ["chain"],
        ["chain", "--no-such-option", "1"],
        ["chain", "--format", "xml", "1"],
        ["chain", "--format"],
        ["descendant"],
        ["descendant", "1"],
        ["descendant", "word", "systemd"],
        ["descendant", "1", ""],
        ["descendant", "1", "a", "b"],
        ["descendant", "--no-such-option", "1", "a"],
        ["snapshot", "extra"],
        ["snapshot", "--under", "12@tea-time"],
        *([command, *rest] for command in ("snapshot", "watch") for rest in WRONG_FILTERS),
        ["snapshot", "--at", "yesterday"],
        ["snapshot", "--around", "x"],
        ["snapshot", "--around", "1", "--within", "close"],
        ["chain", "12@"],
        ["chain", "12@tea-time"],
        ["chain", "@12:00:00"],
        ["descendant", "12@25:00:00", "sh"],
        ["serve", "--capacity", "-1"],
        ["serve", "--ttl", "x"],
        ["serve", "--group", "no such group"],
        ["serve", "--keep", "7d"],
        ["serve", "--record", "/nonexistent/x", "--max-size", "0"],
        ["watch", "--from", "x", "--record", "y"],
        ["watch", "--from", "x", "--", "true"],
        ["snapshot", "--format", "chain"],
        ["watch", "--count", "0"],
        ["watch", "--count", "many"],
        ["watch", "--duration", "-1"],
        ["watch", "--duration", "long"],
        ["watch", "--events", "fork,bogus"],
        ["watch", "--events", " , "],
        ["chian", "1"],
        ["--no-such-option"],
    ],
    ids=" ".join,
)
def test_what_is_typed_wrong_is_a_usage_error_of_one_line(arguments: list[str]) -> None:
    ended = run(arguments)
    assert (ended.status, ended.stdout) == (2, "")
    complain_once(ended)


def test_nothing_typed_shows_the_help_where_it_disturbs_nobody() -> None:
    ended = run([])
    assert (ended.status, ended.stdout) == (2, "")
    for command in ("chain", "descendant", "snapshot", "watch"):
        assert command in ended.stderr


def test_a_mistyped_word_is_repeated_safely() -> None:
    ended = run(["chain", "\x1b[2J\n\udcff"])
    assert ended.status == 2
    assert complain_once(ended).isprintable()


def test_the_past_of_a_pid_cannot_be_told_from_proc() -> None:
    ended = run(["chain", f"{ME}@2001-01-01T00:00:00Z"])
    assert (ended.status, ended.stdout) == (3, f"{ME}|unknown|unknown\n")
    assert "/proc shows the living alone" in complain_once(ended)


def test_a_process_that_lived_then_is_told_from_proc() -> None:
    ended = run(["chain", f"{ME}@-0s"])
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{ME}|")


@pytest.mark.parametrize("command", [[], ["chain"], ["descendant"], ["snapshot"], ["watch"]])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_an_answer(command: list[str], option: str) -> None:
    ended = run([*command, option])
    assert (ended.status, ended.stderr) == (0, "")
    assert "Usage: proc-cache" in ended.stdout


def test_version_is_an_answer() -> None:
    from proc_cache import __version__

    ended = proc_cache("--version")
    assert (ended.status, ended.stdout, ended.stderr) == (0, f"proc-cache {__version__}\n", "")


# --- 0, 1 and 3: chain ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pid", ["0", NO_SUCH_PID, "9" * 15])
@pytest.mark.parametrize("form", ["chain", "tree", "json", "ndjson"])
def test_a_chain_of_nobody_is_1(pid: str, form: str) -> None:
    ended = run(["chain", "--format", form, pid])
    assert ended.status == 1
    assert f"no process {pid} is there now" in complain_once(ended)
    if form == "chain":
        assert ended.stdout == f"{pid}|unknown|unknown\n"


@pytest.mark.parametrize("digits", [20, 300, 5000])
def test_a_number_that_no_pid_can_be_is_nobody_or_no_pid(digits: int) -> None:
    """A path of 300 bytes is refused by the kernel, a number of 5,000 digits by int()."""
    ended = run(["chain", "9" * digits])
    assert ended.status in (1, 2)
    complain_once(ended)


def test_a_chain_of_somebody_is_0() -> None:
    ended = run(["chain", ME])
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{ME}|{OWN_NAME}|")


def test_of_several_the_status_is_the_worst() -> None:
    ended = run(["chain", "1", NO_SUCH_PID, ME])
    assert ended.status == 1
    assert [line.split("|")[0] for line in ended.lines] == ["1", NO_SUCH_PID, ME]
    complain_once(ended)
    assert run(["chain", NO_SUCH_PID, "word", "1"]).status == 2


def test_leading_zeros_are_the_same_number() -> None:
    assert run(["chain", "0001"]).stdout == run(["chain", "1"]).stdout


# --- 0, 1 and 3: descendant -------------------------------------------------------------------------------


def test_descendant_yes_of_itself_and_of_an_ancestor() -> None:
    assert run(["descendant", ME, OWN_NAME]).stdout == f"{run(['chain', ME]).stdout.split(';')[0].strip()}\n"
    root = comm_of(1).decode()
    ended = run(["descendant", ME, root])
    assert (ended.status, ended.stdout, ended.stderr) == (0, run(["chain", ME]).stdout, "")


def test_descendant_no() -> None:
    ended = run(["descendant", ME, "no-such-name"])
    assert (ended.status, ended.stderr) == (1, "")


def test_descendant_does_not_match_a_prefix() -> None:
    assert run(["descendant", "1", comm_of(1).decode()[:-1]]).status == 1


def test_descendant_of_nobody_cannot_be_told() -> None:
    ended = run(["descendant", NO_SUCH_PID, "systemd"])
    assert ended.status == 3
    assert "cannot tell" in complain_once(ended)


def test_strict_leaves_the_process_itself_out() -> None:
    root = comm_of(1).decode()
    assert run(["descendant", "1", root]).status == 0
    assert run(["descendant", "--strict", "1", root]).status == 1


@pytest.mark.parametrize(
    ("pid", "cmd", "status"), [(ME, OWN_NAME, 0), (ME, "no-such-name", 1), (NO_SUCH_PID, "a", 3)]
)
@pytest.mark.parametrize("option", ["--quiet", "-q"])
def test_quiet_prints_nothing_and_has_the_same_status(pid: str, cmd: str, status: int, option: str) -> None:
    ended = run(["descendant", option, pid, cmd])
    assert (ended.status, ended.stdout, ended.stderr) == (status, "", "")


@pytest.mark.parametrize(
    ("pid", "cmd", "said"), [(ME, OWN_NAME, "yes"), (ME, "no-such-name", "no"), (NO_SUCH_PID, "a", "cannot tell")]
)
def test_the_tree_form_says_the_verdict_first(pid: str, cmd: str, said: str) -> None:
    assert run(["descendant", "--format", "tree", pid, cmd]).lines[0].startswith(said)


def test_a_long_name_is_compared_in_full() -> None:
    """The kernel keeps 15 bytes of a name; two programs that share them are not the same."""
    arguments = ["a-very-long-program-name", "-c", "read stay"]
    with subprocess.Popen(arguments, executable="/bin/sh", stdin=subprocess.PIPE) as process:
        pid = str(process.pid)
        assert run(["descendant", pid, "sh"]).status == 0
        process.communicate(b"\n")


# --- snapshot ---------------------------------------------------------------------------------------------


def test_a_snapshot_under_nobody_is_1() -> None:
    ended = run(["snapshot", "--under", NO_SUCH_PID])
    assert (ended.status, ended.stdout) == (1, "")
    assert NO_SUCH_PID in complain_once(ended)


@pytest.mark.parametrize("form", ["table", "tree", "json", "ndjson"])
@pytest.mark.parametrize("name", ["no-such-name", "-1", "@12:00", "\x1b[2J\n\udcff"])
def test_a_snapshot_under_a_name_of_nobody_is_1(form: str, name: str) -> None:
    ended = run(["snapshot", "--format", form, "--under", name])
    assert (ended.status, ended.stdout) == (1, "")
    assert "no process is named" in complain_once(ended)


@pytest.mark.parametrize("options", [["--failed"], ["--shorter-than", "5ms"], ["--dead", "--longer-than", "1s"]])
def test_what_only_the_dead_can_match_needs_who_knows_them(options: list[str]) -> None:
    ended = run(["snapshot", *options])
    assert (ended.status, ended.stdout) == (69, "")
    assert "only a running engine or a history knows the dead" in complain_once(ended)


def test_a_snapshot_of_a_name_that_nobody_has_is_empty() -> None:
    ended = run(["snapshot", "--format", "json", "--cmd", "no-such-name"])
    assert (ended.status, ended.stderr, ended.json()) == (0, "", [])


# --- 69, and streams that are not there -------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["chain", "1"],
        ["chain", "--format", "json", "1"],
        ["descendant", "1", comm_of(1).decode()],
        ["snapshot"],
        ["--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_a_full_disk_is_one_line_and_69(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*PROC_CACHE, *arguments], stdout=full, stderr=subprocess.PIPE)
    ended = Ended(done.returncode, b"", done.stderr)
    assert ended.status == 69
    assert "No space left on device" in complain_once(ended)


def with_closed(descriptor: int, *arguments: str) -> Ended:
    script = f'exec {descriptor}>&-; exec "$@"' if descriptor else 'exec <&-; exec "$@"'
    done = subprocess.run(["sh", "-c", script, "sh", *PROC_CACHE, *arguments], capture_output=True)
    return Ended(done.returncode, done.stdout, done.stderr)


def test_a_closed_stdout_ends_as_quietly_as_a_closed_pipe() -> None:
    ended = with_closed(1, "chain", "1")
    assert (ended.status, ended.stderr) == (0, "")
    assert with_closed(1, "chain", NO_SUCH_PID).status == 1


def test_a_closed_stderr_changes_no_status() -> None:
    assert with_closed(2, "chain", "1").status == 0
    assert with_closed(2, "chain", "word").status == 2


def test_a_closed_stdin_is_an_empty_one_or_said() -> None:
    ended = with_closed(0, "chain", "-")
    assert ended.status in (0, 2, 69)
    assert "bug in proc-cache" not in ended.stderr
