"""A page that is wrong is found out: otherwise the test of all commands would prove nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.test_commands import follow
from tests.helpers.engines import wait_until_ended
from tests.helpers.pages import inline_commands, read_blocks, read_steps
from tests.helpers.shown import Meanings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def page(directory: Path, *lines: str) -> Path:
    path = directory / "page.md"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def follow_console(directory: Path, *lines: str) -> None:
    follow(page(directory, "```console", *lines, "```"), directory)


def test_what_is_shown_comes(tmp_path: Path) -> None:
    follow_console(
        tmp_path, "$ echo one", "one", "$ printf 'two\\nthree\\n'", "two", "three", "$ false", "$ echo $?", "1"
    )


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["$ proc-cache chian 1"], id="a command that is not there"),
        pytest.param(["$ proc-cache chain --no-such-option 1"], id="an option that is not there"),
        pytest.param(["$ false"], id="a status that is not shown"),
        pytest.param(["$ false", "$ echo $?", "2"], id="another status"),
        pytest.param(["$ (exit 143)", "$ echo $?", "130"], id="another status of three digits"),
        pytest.param(["$ echo one", "two"], id="other output"),
        pytest.param(["$ echo one"], id="output that is not shown"),
        pytest.param(["$ true", "one"], id="output that does not come"),
        pytest.param(["$ echo one; echo two", "one"], id="a line too many"),
        pytest.param(["$ echo 4711", "100", "$ echo 4712", "100"], id="another process by the same number"),
    ],
)
def test_what_is_wrong_fails(tmp_path: Path, lines: Sequence[str]) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:\d"):
        follow_console(tmp_path, *lines)


def test_a_script_fails_at_its_first_wrong_command(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:4: status 1 of `false`"):
        follow(page(tmp_path, "```sh", "cat > file <<'END'", "END", "false", "true", "```"), tmp_path)


def test_the_shell_is_one_and_its_directory_fresh(tmp_path: Path) -> None:
    follow_console(tmp_path, "$ here=$PWD; ls", "$ cd /; sleep 60 &", "$ kill $! && echo $here", "…/home")


def test_a_job_in_the_background_has_time_for_its_output(tmp_path: Path) -> None:
    follow_console(tmp_path, "$ (sleep 0.2; echo late) &", "late")


def test_what_is_started_does_not_outlive_the_page(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    follow_console(
        tmp_path,
        f"$ (setsid sh -c 'echo $$ > {pid_file}; exec sleep 60' &)",
        f"$ until test -s {pid_file}; do :; done",
    )
    wait_until_ended(int(pid_file.read_text()), "what the page has started")


def test_numbers_stand_for_those_that_came() -> None:
    meanings = Meanings()
    assert meanings.take_over(["100 sh;1 init", "200 100 ls"], "7211 sh;1 init\n33 7211 ls\n")
    assert meanings.translate("chain 100 200 300 100ms") == "chain 7211 33 300 100ms"
    assert not meanings.take_over(["100 sh"], "7212 sh\n")
    assert not meanings.take_over(["exit 3"], "exit 4\n")


def test_times_stand_for_those_that_came() -> None:
    meanings = Meanings()
    assert meanings.take_over(
        ["[2026-11-25 18:44:25, exit 3 after 1.2ms]"], "[2027-01-02 03:04:05, exit 3 after 2m01s]\n"
    )
    assert meanings.translate("chain 500@18:44:25") == "chain 500@03:04:05"
    assert not meanings.take_over(["after 1.2ms"], "after a while\n")


@pytest.mark.parametrize(
    ("shown", "came", "is_so"),
    [
        (["a … z"], "a b c z\n", True),
        (["a … z"], "a b c\n", False),
        (["…", "z"], "a\nb\nz\n", True),
        (["…", "z"], "z\n", True),
        (["a", "…"], "b\n", False),
        (["  PID  CMD"], "PID    CMD\n", True),
        (["   └─ 100 sh"], "      └─ 7 sh\n", True),
        (["a b"], "a  b\n", False),
    ],
)
def test_what_may_vary(shown: list[str], came: str, is_so: bool) -> None:
    assert Meanings().take_over(shown, came) is is_so


def test_blocks_have_the_marks_of_the_comment_right_above(tmp_path: Path) -> None:
    path = page(
        tmp_path,
        "<!-- not run: it installs -->",
        "```sh",
        "true",
        "```",
        "",
        "<!-- needs: jq -->",
        "text",
        "```sh",
        "```",
    )
    assert [block.marks for block in read_blocks(path)] == [{"not run": "it installs"}, {}]


def test_a_console_goes_on_behind_its_second_prompt(tmp_path: Path) -> None:
    (block,) = read_blocks(page(tmp_path, "```console", "$ cat <<END", "> text", "> END", "text", "```"))
    (step,) = read_steps(block)
    assert (step.command, step.shown, step.line) == ("cat <<END\ntext\nEND", ("text",), 2)


def test_commands_within_sentences_are_found(tmp_path: Path) -> None:
    path = page(
        tmp_path,
        "Say `proc-cache chain PID`,",
        "| `ls` | `proc-cache chain 1 \\| wc` |",
        "```",
        "`proc-cache x`",
        "```",
    )
    assert [code for _, code in inline_commands(path, "proc-cache")] == [
        "proc-cache chain PID",
        "proc-cache chain 1 | wc",
    ]
