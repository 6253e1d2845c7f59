"""A Markdown page as a reader follows it: what is typed, and what is shown to come of it.

- A ```sh block holds commands, which all end with 0.
- A ```console block holds commands behind `$ ` (and `> ` where they go on) with what they print below. A command
  ends with 0, unless the next one is `echo $?`, which shows its status.
- `<!-- saved as: NAME -->` above any block: the reader saves it under that name.
- `<!-- until: Ctrl-C -->` above a block: its commands do not end by themselves; each is ended when it watches.
- `<!-- not run: REASON -->` above a block: it cannot be run in a test, for this reason.
- `<!-- needs: PROGRAM -->` above a block: it is run where there is such a program.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MARK = re.compile(r"<!-- (saved as|not run|needs|until): (.+?) -->")
_FENCE = re.compile(r"( *)```(\S*)")


class Block(NamedTuple):
    """A fenced block: where it begins, its language, its lines, and what the comment above it says."""

    line: int
    language: str
    lines: tuple[str, ...]
    marks: dict[str, str]


class Step(NamedTuple):
    """A command, and what is shown below it; None where nothing is claimed about that."""

    line: int
    command: str
    shown: tuple[str, ...] | None
    may_fail: bool = False
    is_endless: bool = False


def read_blocks(page: Path) -> Iterator[Block]:
    """Give all fenced blocks of a page."""
    marks: dict[str, str] = {}
    lines = enumerate(page.read_text().splitlines(), 1)
    for number, line in lines:
        if mark := _MARK.search(line):
            marks[mark[1]] = mark[2]
        elif fence := _FENCE.fullmatch(line):
            yield Block(number, fence[2], tuple(_inside(lines, fence[1])), marks)
            marks = {}
        elif line:
            marks = {}


def _inside(lines: Iterator[tuple[int, str]], indent: str) -> Iterator[str]:
    for _, line in lines:
        if line == f"{indent}```":
            return
        yield line.removeprefix(indent)
    raise ValueError("a block is not closed")


def read_steps(block: Block) -> tuple[Step, ...]:
    """Give the commands of a block, in order; what is to be saved is run by a command below it."""
    if "saved as" in block.marks:
        return ()
    if block.language == "sh":
        return tuple(step._replace(is_endless="until" in block.marks) for step in _commands(block))
    return tuple(_console(block)) if block.language == "console" else ()


def _commands(block: Block) -> Iterator[Step]:
    """Split a script where a shell has read a whole command."""
    begun: list[str] = []
    for number, line in enumerate(block.lines, block.line + 1):
        begun.append(line)
        text = "\n".join(begun)
        if is_whole(text):
            if text.strip() and not text.lstrip().startswith("#"):
                yield Step(number - len(begun) + 1, text, None)
            begun = []
    if begun:
        raise ValueError(f"line {block.line}: a command does not end with its block")


def is_whole(text: str) -> bool:
    """Tell whether a shell would wait for no more lines."""
    if text.endswith("\\"):
        return False
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    return checked.returncode == 0 and not checked.stderr


def _console(block: Block) -> Iterator[Step]:
    steps: list[Step] = []
    for number, line in enumerate(block.lines, block.line + 1):
        if line.startswith("$ "):
            steps.append(Step(number, line[2:], ()))
        elif not steps:
            raise ValueError(f"line {number}: output above the first command")
        elif line.startswith("> ") and not steps[-1].shown:
            steps[-1] = steps[-1]._replace(command=f"{steps[-1].command}\n{line[2:]}")
        else:
            steps[-1] = steps[-1]._replace(shown=(*(steps[-1].shown or ()), line))
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        yield step._replace(may_fail=following is not None and following.command == "echo $?")


def inline_commands(page: Path, program: str) -> Iterator[tuple[int, str]]:
    """Give each `program ...` that stands within a sentence, a table or a block that is not run, and its line."""
    is_code = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if _FENCE.fullmatch(line):
            is_code = not is_code
        elif not is_code:
            yield from ((number, code) for code in _spans(line) if code.startswith(f"{program} "))


def _spans(line: str) -> Iterable[str]:
    return re.findall(r"`([^`]+)`", line.replace("\\|", "|"))
