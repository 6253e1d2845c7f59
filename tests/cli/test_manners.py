"""What is mistyped and what was meant, colour, examples, and streams that are full, closed or read no more."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from proc_cache.cli import main
from proc_cache.cli.app import app
from proc_cache.cli.examples import EXAMPLES
from tests.cli.test_streams_and_forms import on_terminal
from tests.helpers.cli import PROC_CACHE, REPOSITORY, Ended, in_fork, plain_environment, proc_cache
from tests.helpers.zoo import assert_harmless

if TYPE_CHECKING:
    from pathlib import Path

ME = str(os.getpid())
COMMANDS = ["chain", "descendant", "snapshot", "serve", "watch"]


# --- what was meant ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("chian 1", "no such command 'chian'; did you mean chain?"),
        ("descendent 1 sh", "no such command 'descendent'; did you mean descendant?"),
        ("1234", "no such command '1234'; did you mean `proc-cache chain 1234`?"),
        ("xyzzy", "no such command 'xyzzy'; there are chain, descendant, snapshot, serve, watch"),
        ("chain --fromat tree 1", "no such option --fromat; did you mean --format?"),
        ("snapshot --usr root", "no such option --usr; did you mean --user?"),
        ("--colour never chain 1", "no such option --colour; did you mean --color?"),
        ("chain --xyzzy 1", "no such option --xyzzy"),
        (
            "chain --format tre 1",
            "--format cannot be 'tre'; did you mean tree? It takes chain, tree, json, ndjson",
        ),
        ("chain --format xml 1", "--format cannot be 'xml'; it takes chain, tree, json, ndjson"),
        ("watch --format table", "--format cannot be 'table'; it takes live, lines, tree, json, ndjson, ecs"),
        ("chain --color sometimes 1", "--color cannot be 'sometimes'; it takes auto, always, never"),
        ("chain nginx", "'nginx' is not a PID; `pgrep -x nginx` prints those of that name"),
        ("chain ngi$nx", "'ngi$nx' is not a PID; give a number, as `pgrep NAME` prints them"),
        ("descendant 1", "CMD is missing"),
    ],
)
def test_one_line_says_what_was_meant(typed: str, said: str) -> None:
    ended = in_fork(typed.split())
    assert (ended.status, ended.stdout) == (2, "")
    (line,) = ended.complaints
    assert re.sub(r" \(see `proc-cache.*--help`\)$", "", line) == f"proc-cache: {said}"


# --- help -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_ends_with_examples_as_they_are_typed(command: str) -> None:
    lines = in_fork([*([command] if command else []), "--help"]).lines
    after = lines[lines.index("Examples:") + 1 :]
    assert after == [line for typed, what in EXAMPLES[command] for line in (f"  # {what}", f"  {typed}")]


def test_help_names_each_command_on_a_line_of_its_own_and_cuts_nothing() -> None:
    said = in_fork(["--help"]).stdout
    assert "..." not in said.partition("Commands:")[2]
    for command in COMMANDS:
        assert re.search(rf"^  {command} +[A-Z].*\.$", said, re.MULTILINE)


def examples() -> list[str]:
    return [typed for of_one in EXAMPLES.values() for typed, _ in of_one]


@pytest.mark.parametrize("typed", examples())
def test_examples_are_well_formed(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is understood as it stands, up to the shell's own part; groups are not asked for on this machine."""
    monkeypatch.setattr("proc_cache.cli.quantities.getgrnam", lambda _: type("Group", (), {"gr_gid": 4}))
    words = shlex.split(re.split(r"proc-cache (?=[a-z])", typed, maxsplit=1)[1])
    end = next((place for place, word in enumerate(words) if word in ("|", "||", ">>")), len(words))
    words = [re.sub(r"^\$(\$|PPID)$", ME, word) for word in words[:end]]
    assert callable(app(words, prog_name="proc-cache", standalone_mode=False))


# --- colour -----------------------------------------------------------------------------------------------

TREE = ["chain", "--format", "tree", ME]


@pytest.mark.parametrize(
    "where", [["--color", "always", *TREE], [*TREE, "--color", "always"], [*TREE, "--color=always"]]
)
def test_colour_in_a_pipe_where_it_is_asked_for_and_nothing_is_cut(where: list[str]) -> None:
    coloured = proc_cache(*where, env={"COLUMNS": "20", "NO_COLOR": "1"})
    assert (coloured.status, coloured.stderr) == (0, "")
    assert "\x1b[1m" in coloured.stdout
    lines = assert_harmless(coloured.raw, is_coloured=True)
    plain = proc_cache(*TREE).lines
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in lines] == plain


def test_a_table_in_colour_in_a_pipe() -> None:
    coloured = proc_cache("snapshot", "--color", "always", "--under", ME)
    assert coloured.lines[0].startswith("\x1b[1m")


@pytest.mark.parametrize("where", [["--color", "never", *TREE], [*TREE, "--color", "never"]])
def test_no_colour_on_a_terminal_where_it_is_not_wanted(where: list[str]) -> None:
    status, drawn = on_terminal(*where)
    assert (status, "\x1b" in drawn) == (0, False)
    assert "└─" in drawn


def test_what_stands_behind_the_command_counts() -> None:
    assert "\x1b" not in proc_cache("--color", "always", *TREE, "--color", "never").stdout


def test_colour_of_one_call_is_not_that_of_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--color", "always", *TREE]) == 0
    assert "\x1b[" in capsys.readouterr().out
    assert main.main(TREE) == 0
    assert "\x1b[" not in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["CLICOLOR_FORCE", "FORCE_COLOR"])
def test_no_variable_colours_what_a_script_reads(variable: str) -> None:
    assert "\x1b" not in proc_cache(*TREE, env={variable: "1", "TERM": "xterm-256color"}).stdout


# --- streams ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("history") / "file")
    ended = proc_cache("watch", "--record", path, "--", "true", env={"PROC_CACHE_SOCKET": f"{path}.socket"})
    assert ended.status == 0, ended
    return path


FORMS = [
    *(["chain", "--format", form, "1"] for form in ("chain", "tree", "json", "ndjson")),
    *(["descendant", "--format", form, ME, "no-such-name"] for form in ("chain", "tree", "json", "ndjson")),
    *(["snapshot", "--format", form] for form in ("table", "tree", "json", "ndjson", "ecs")),
    *(["watch", "--from", "HISTORY", "--format", form] for form in ("lines", "json", "ndjson", "ecs")),
]
OTHERS = [["--help"], ["--version"], ["watch", "--help"]]


def ended_with(arguments: list[str], history: str, redirections: str) -> Ended:
    command = shlex.join([*PROC_CACHE, *(history if word == "HISTORY" else word for word in arguments)])
    done = subprocess.run(
        ["bash", "-c", f"{command} {redirections}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=REPOSITORY,
        env=plain_environment(),
        timeout=60,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.kernel
@pytest.mark.parametrize("arguments", [*FORMS, *OTHERS], ids=" ".join)
class TestStreams:
    def test_a_full_disk(self, arguments: list[str], history: str) -> None:
        ended = ended_with(arguments, history, ">/dev/full")
        assert ended.status == 69
        (line,) = ended.complaints
        assert line.startswith("proc-cache: No space left on device: ")

    def test_a_reader_who_has_gone(self, arguments: list[str], history: str) -> None:
        read, write = os.pipe()
        os.close(read)
        try:
            ended = into(write, arguments, history)
        finally:
            os.close(write)
        assert (ended.status, ended.stderr) == (0, "")

    def test_streams_that_are_closed(self, arguments: list[str], history: str) -> None:
        usual = 1 if arguments[0] == "descendant" else 0
        ended = ended_with(arguments, history, ">&-")
        assert (ended.status, ended.stderr) == (usual, "")
        ended = ended_with(arguments, history, "<&- 2>&-")
        assert (ended.status, ended.stderr) == (usual, "")
        assert ended.stdout


def into(descriptor: int, arguments: list[str], history: str) -> Ended:
    words = [history if word == "HISTORY" else word for word in arguments]
    done = subprocess.run(
        [*PROC_CACHE, *words],
        stdin=subprocess.DEVNULL,
        stdout=descriptor,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=plain_environment(),
        timeout=60,
    )
    return Ended(done.returncode, b"", done.stderr)


@pytest.mark.parametrize("full", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["chain", "word"], 2), (["chain", "4194305"], 1), (["chian"], 2), (["snapshot", "--dead"], 69)],
)
def test_what_cannot_be_said_changes_no_status(arguments: list[str], status: int, full: str) -> None:
    assert ended_with(arguments, "", full).status == status


@pytest.mark.kernel
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_a_command_goes_on_where_its_events_cannot_be_written(redirection: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    ended = ended_with(["watch", "--", "sh", "-c", f"sleep 0.5; touch {mark}; exit 7"], "", redirection)
    assert (ended.status, mark.exists()) == (7, True)
    assert [line for line in ended.complaints if "the command goes on" in line] == (
        ["proc-cache: No space left on device: the command goes on, and nothing more is written of it"]
        if redirection == ">/dev/full"
        else []
    )


def test_many_questions_of_one_pipe() -> None:
    script = f"yes {ME} | {shlex.join(PROC_CACHE)} chain - | head -n 3; echo ${{PIPESTATUS[*]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, cwd=REPOSITORY, timeout=30, text=True)
    assert done.stderr == ""
    *lines, statuses = done.stdout.splitlines()
    assert len(lines) == 3
    assert statuses.split()[1:] == ["0", "0"]


@pytest.mark.kernel
def test_no_colour_in_the_live_view_where_it_is_not_wanted() -> None:
    _, drawn = on_terminal("watch", "--color", "never", columns=120, interrupt_at="lost")
    assert not re.search(r"\x1b\[[0-9;]*[349][0-7]m", drawn)
