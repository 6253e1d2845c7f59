"""Every command line in the documents is run, in order, and shows what the page says.

How pages are written stands in `tests/helpers/pages.py`, how output is compared in `tests/helpers/shown.py`. A
page is one shell in a fresh directory, on a terminal without colours, with an engine where the page starts one.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache.cli import plain
from proc_cache.cli.app import app
from proc_cache.service.address import SYSTEM_PATH, VARIABLE
from tests.helpers.cli import plain_environment, streams
from tests.helpers.engines import stats_if_any
from tests.helpers.pages import Block, Step, inline_commands, read_blocks, read_steps
from tests.helpers.processes import wait_until
from tests.helpers.sessions import Ran, Shell
from tests.helpers.shown import Meanings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
COMMAND_S = 30.0
OUTPUT_S = 10.0
# In a storm of another program of this machine PIDs come round and the dead are forgotten: not what a page shows.
A_STORM = 10_000
ATTEMPTS = 3
NOT_RUN_AT_MOST = 8
PLACEHOLDERS = {"PID": "1", "TIME": "12:03:07", "FILE": "file", "CMD": "sh", "USER": "root", "N": "9"}


def _why_not(block: Block) -> str | None:
    needed = block.marks.get("needs")
    if needed is not None and shutil.which(needed) is None:
        return f"no {needed} on this machine"
    return block.marks.get("not run")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _with_commands() -> Iterator[Any]:
    for page in PAGES:
        if any(read_steps(block) and _why_not(block) is None for block in read_blocks(page)):
            yield pytest.param(page, id=_name(page))


def _not_run() -> Iterator[Any]:
    for page in PAGES:
        for block in read_blocks(page):
            reason = _why_not(block)
            if reason is not None:
                mark = pytest.mark.skip(reason=f"{_name(page)}:{block.line}: {reason}")
                yield pytest.param(page, id=f"{_name(page)}:{block.line}", marks=mark)


@pytest.mark.kernel
@pytest.mark.parametrize("page", list(_with_commands()))
def test_page(page: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the pages show what root sees")
    for attempt in range(ATTEMPTS):
        before = processes_started()
        try:
            follow(page, tmp_path / str(attempt))
        except AssertionError:
            if processes_started() - before < A_STORM or attempt == ATTEMPTS - 1:
                raise
        else:
            return


def processes_started() -> int:
    """How many the machine has started so far, threads too (proc(5), `processes` in /proc/stat)."""
    with open("/proc/stat", encoding="ascii") as file:
        (count,) = [line.split()[1] for line in file if line.startswith("processes ")]
    return int(count)


@pytest.mark.parametrize("page", list(_not_run()))
def test_block_that_is_not_run(page: Path) -> None:
    """Only lists them, with their reasons."""


def test_few_blocks_are_not_run() -> None:
    marked = [(page, block.line) for page in PAGES for block in read_blocks(page) if "not run" in block.marks]
    assert len(marked) <= NOT_RUN_AT_MOST, marked


def test_no_command_stands_where_it_is_not_run() -> None:
    """In a block without a language there is only output, or a synopsis.

    But for the reference of commands: its examples are those of the help, which tests/cli/test_manners.py reads.
    """
    for page in PAGES:
        if page.name == "commands.md":
            continue
        for block in read_blocks(page):
            if block.language not in ("sh", "console") and "saved as" not in block.marks:
                typed = [line for line in block.lines if line.startswith("$ ") or _is_command(line)]
                assert not typed, f"{_name(page)}:{block.line}: make it a console block, so that it is run"


def _is_command(line: str) -> bool:
    return line.startswith("proc-cache ") and "[OPTIONS]" not in line


def _inline() -> Iterator[Any]:
    for page in PAGES:
        for number, code in inline_commands(page, "proc-cache"):
            if len(code.split()) > 2:  # less is the name of a command
                yield pytest.param(code, id=f"{_name(page)}:{number}")


@pytest.mark.parametrize("code", list(_inline()))
def test_command_within_a_sentence_has_no_usage_error(code: str) -> None:
    """They have placeholders, so they are read by the command line, and not run."""
    command = re.sub(r"\b[A-Z]+\b", lambda word: PLACEHOLDERS.get(word[0], word[0]), code)
    command = command.partition("|")[0].partition("&&")[0]
    words = [word.strip("\"'") for word in command.split()[1:] if word != "&"]
    if plain.read(words) is None:
        app(words, prog_name="proc-cache", standalone_mode=False)


def follow(page: Path, directory: Path) -> None:
    """Do what a page says, in order; fails where what comes is not what is shown."""
    home = directory / "home"
    home.mkdir(parents=True)
    meanings = Meanings()
    with Shell(str(home), _environment(directory)) as shell:
        for block in read_blocks(page):
            if _why_not(block) is not None:
                continue
            if "saved as" in block.marks:
                (home / block.marks["saved as"]).write_text("".join(f"{line}\n" for line in block.lines))
            for step in read_steps(block):
                _take(shell, step, meanings, f"{page.name}:{step.line}")


def _environment(directory: Path) -> dict[str, str]:
    """What a reader has: a terminal without colours, a home, and this `proc-cache` first in the path."""
    programs = directory / "bin"
    programs.mkdir()
    (programs / "proc-cache").write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from proc_cache.__main__ import run\nsys.exit(run())\n"
    )
    (programs / "proc-cache").chmod(0o755)
    (programs / "python3").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    return {
        **plain_environment(),
        "HOME": str(directory / "home"),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "TERM": "xterm",
    }


def _take(shell: Shell, step: Step, meanings: Meanings, where: str) -> None:
    command = meanings.translate(step.command)
    if step.is_endless:
        _watch_until_ended(shell, command, where)
        return
    ran = shell.run(command, COMMAND_S)
    came = ran.screen.text
    assert step.may_fail or ran.status == 0, f"{where}: status {ran.status} of `{command}`, which wrote:\n{came}"
    if step.shown is not None:
        _compare(shell, step, ran, meanings, f"{where}: `{command}`")
    if command.endswith("&") and "proc-cache serve" in command and not step.shown:
        wait_until(stats_if_any, f"{where}: the engine answers", OUTPUT_S)


def _watch_until_ended(shell: Shell, command: str, where: str) -> None:
    """Run a stream without an end in the background, and end it as soon as an engine tells it events."""
    before = streams()
    shell.run(f"{re.sub(r'  #.*', '', command)} &", COMMAND_S)
    wait_until(lambda: streams() > before, f"{where}: `{command}` watches", COMMAND_S)
    ended = shell.run("kill $!; wait $!", COMMAND_S)
    assert ended.status == 0, f"{where}: status {ended.status} of `{command}`"


def _compare(shell: Shell, step: Step, ran: Ran, meanings: Meanings, where: str) -> None:
    """Hold what came against what is shown; a job in the background has its time to write it."""
    assert step.shown is not None
    deadline = time.monotonic() + (OUTPUT_S if step.command.endswith("&") else 0)
    while True:
        came = ran.screen.text.replace(os.environ[VARIABLE], SYSTEM_PATH)
        if meanings.take_over(step.shown, came, is_exact=step.command == "echo $?"):
            return
        if time.monotonic() >= deadline:
            shown = "\n".join(step.shown)
            raise AssertionError(f"{where}: shown is\n{shown}\n--- and this came:\n{came}")
        shell.look(0.05)
