"""The live view of `proc-cache watch` in a real terminal, that of tmux(1)."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest

from tests.helpers.engines import engine_pid, socket_file_is_there, wait_until_ended
from tests.helpers.processes import running
from tests.helpers.screens import Terminal

pytestmark = pytest.mark.kernel

SIZES = pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 50)])
STARTED = re.compile(r"\d\d:\d\d:\d\d\.\d{3}  \d+\|")


def are_rows_whole(lines: list[str]) -> bool:
    """From the first program on, each line is one program."""
    programs = [number for number, line in enumerate(lines) if STARTED.match(line)]
    return all(STARTED.match(line) for line in lines[programs[0] :] if line) if programs else True


def run_some(count: int = 5) -> bool:
    """Run programs that end at once; true when they have."""
    return all(subprocess.run(["true"]).returncode == 0 for _ in range(count))


def of_this_test() -> list[str]:
    """Else what others do on this machine may drive a row off the screen before it was seen."""
    return ["--under", str(os.getpid())]


def rate(lines: list[str], word: str) -> float:
    found = re.search(rf"{word} ([\d.]+)/s", lines[0])
    return float(found[1]) if found else 0.0


def leave(terminal: Terminal, key: str = "C-c") -> list[str]:
    terminal.press(key)
    return terminal.wait_for(lambda lines: any(line.startswith("status=") for line in lines), "it ends", 15)


def is_restored(terminal: Terminal, lines: list[str]) -> bool:
    """What was there before is there again, with what was typed since."""
    assert not terminal.is_alternate()
    assert terminal.is_cursor_shown()
    assert lines[0].startswith("ready$ ")
    assert "Traceback" not in "\n".join(lines)
    terminal.type("echo still-$((40+2))")  # the terminal takes lines and echoes them
    terminal.wait_for(lambda shown: "still-42" in shown, "the shell goes on")
    return True


@SIZES
def test_it_shows_what_happens_and_leaves_the_screen_as_it_was(columns: int, rows: int) -> None:
    with Terminal(columns, rows) as terminal:
        terminal.run_watch(*of_this_test())
        with running(["sleep", "1000"]) as program:
            row = f"{program.pid}|sleep|root;"
            lines = terminal.wait_for(lambda lines: any(row in line for line in lines), "a program is shown")
            assert are_rows_whole(lines), lines
        ended = re.compile(rf" {program.pid}\|sleep\|root;.*signal 9 after ")
        terminal.wait_for(lambda lines: any(ended.search(line) for line in lines), "its end is shown")
        subprocess.run(["sh", "-c", "exit 3"])
        terminal.wait_for(lambda lines: any("exit 3" in line for line in lines), "how it went is shown")
        lines = terminal.wait_for(
            lambda lines: run_some() and rate(lines, "fork") > 0 and rate(lines, "exec") > 0, "rates are shown"
        )
        sizes = {line.split()[0]: int(line.split()[1]) for line in lines if re.match(r"(processes|users) ", line)}
        assert sizes["processes"] > 0
        assert sizes.keys() == {"processes", "users"}
        me = os.getpid()
        terminal.wait_for(
            lambda lines: run_some() and any(f" by {me} " in line for line in lines if "top spawners" in line),
            "who starts most is shown",
            20,
        )
        lines = leave(terminal)
        assert "status=0" in lines
        assert [line for line in lines if "proc-cache:" in line] == []
        assert is_restored(terminal, lines)
    assert not socket_file_is_there()


@SIZES
def test_more_programs_than_rows(columns: int, rows: int) -> None:
    with Terminal(columns, rows) as terminal:
        terminal.run_watch(*of_this_test())
        run_some(60)
        with running(["sleep", "1000"]) as program:
            lines = terminal.wait_for(
                lambda lines: f"{program.pid}|sleep|" in "".join(lines), "the newest is shown"
            )
        assert lines[0].startswith("lost ")
        assert are_rows_whole(lines)
        assert len([line for line in lines if STARTED.match(line)]) >= rows - 10
        assert "status=0" in leave(terminal)


def test_it_follows_the_size_of_the_screen() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch(*of_this_test())
        run_some(60)
        for columns, rows in ((120, 40), (60, 16), (80, 24)):
            terminal.resize(columns, rows)
            with running(["sleep", "1000"]) as program:
                lines = terminal.wait_for(
                    lambda lines, pid=program.pid: f" {pid}|sleep|" in "\n".join(lines),  # type: ignore[misc]
                    f"it is drawn at {columns}x{rows}",
                )
            assert len(lines) == rows
            assert lines[0].startswith("lost "), lines
            assert are_rows_whole(lines), lines
            assert len([line for line in lines if STARTED.match(line)]) >= rows - 10
        lines = leave(terminal)
        assert "status=0" in lines
        assert "Traceback" not in "\n".join(lines)


def test_a_hostile_name_in_a_terminal() -> None:
    """It would end the line, clear the screen, or paint it."""
    name = "x\x1b[2J\x1b[31m\n;|"
    with Terminal(160, 50) as terminal:
        terminal.run_watch(*of_this_test())
        script = (
            "import ctypes,os,sys; ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0); sys.stdin.read()"
        )
        with running(["python3", "-c", script, name]) as program:
            lines = terminal.wait_for(
                lambda lines: any(rf"{program.pid}|x\x1b[2J\x1b[31m\x0a" in line for line in lines), "it is shown"
            )
            assert lines[0].startswith("lost ")
            assert are_rows_whole(lines)
        assert "status=0" in leave(terminal)


def test_it_ends_after_its_duration_and_leaves_the_screen_as_it_was() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch("--duration", "2")
        lines = terminal.wait_for(lambda lines: "status=0" in lines, "it ends", 15)
        assert is_restored(terminal, lines)


def test_the_end_of_its_engine_is_told_on_the_screen_as_it_was() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch()
        engine = engine_pid()
        assert engine is not None
        os.kill(engine, signal.SIGKILL)
        lines = terminal.wait_for(lambda lines: any(line.startswith("status=") for line in lines), "it ends", 15)
        assert "status=69" in lines
        assert len([line for line in lines if line.startswith("proc-cache: ")]) == 1
        assert is_restored(terminal, lines)


def test_it_and_its_engine_end_with_the_terminal() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch()
        engine = engine_pid()
        assert engine is not None
        terminal.tmux("kill-server")
        wait_until_ended(engine)
        assert not socket_file_is_there()
