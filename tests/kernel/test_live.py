"""The live view of `proc-cache watch` in a real terminal, that of tmux(1)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.engines import engine_pid, socket_file_is_there, wait_until_ended
from tests.helpers.processes import running
from tests.helpers.screens import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel

SIZES = pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (250, 70)])
PROGRAM = re.compile(r"^[ ▸] \d\d:\d\d:\d\d")
RATE = re.compile(r"(fork|exec|exit) +([\d,.]+)/s")


def run_some(count: int = 5) -> bool:
    """Run programs that end at once; true when they have."""
    return all(subprocess.run(["true"]).returncode == 0 for _ in range(count))


def of_this_test() -> list[str]:
    """Else what others do on this machine may drive a row off the screen before it was seen."""
    return ["--under", str(os.getpid())]


def is_drawn(lines: list[str]) -> bool:
    """From top to bottom: tmux may be looked at while it takes a frame in."""
    has_list = any(line.startswith("  began") for line in lines)
    return lines[0].startswith(" proc-cache ") and has_list and lines[-1].startswith(" p ")


def rates(lines: list[str]) -> dict[str, float]:
    return {word: float(figure.replace(",", "")) for word, figure in RATE.findall("\n".join(lines))}


def are_rows_whole(lines: list[str]) -> bool:
    """Behind the heading of the list each line is a process, until the keys."""
    heading = next(number for number, line in enumerate(lines) if line.startswith("  began"))
    rows = [line for line in lines[heading + 1 : -1] if line]
    return all(PROGRAM.match(line) or re.match(r"^[ ▸] {20}.* (root|nobody) ", line) for line in rows)


def leave(terminal: Terminal, key: str = "q") -> list[str]:
    terminal.press(key)
    return terminal.wait_for_status(15)


def is_restored(terminal: Terminal, lines: list[str]) -> bool:
    """What was there before is there again, with what was typed since."""
    assert not terminal.is_alternate()
    assert terminal.is_cursor_shown()
    assert lines[0].startswith("ready$ ")
    assert "Traceback" not in "\n".join(lines)
    terminal.type("echo still-$((40+2))")  # the terminal takes lines and echoes them
    terminal.wait_for(lambda shown: "still-42" in shown, "the shell goes on")
    assert any("echo still-$((40+2))" in line for line in terminal.lines())
    return True


def shows(word: str) -> Callable[[list[str]], bool]:
    return lambda lines: any(word in line for line in lines)


def shows_whole(word: str) -> Callable[[list[str]], bool]:
    """The word is there, and all that is drawn around the list."""
    return lambda lines: shows(word)(lines) and is_drawn(lines)


# --- what it shows ----------------------------------------------------------------------------------------


@SIZES
@pytest.mark.parametrize("key", ["q", "C-c", "C-d"])
def test_it_shows_what_happens_and_leaves_the_screen_as_it_was(columns: int, rows: int, key: str) -> None:
    with Terminal(columns, rows) as terminal:
        terminal.run_watch(*of_this_test())
        with running(["sleep", "1000"]) as program:
            lines = terminal.wait_for(shows_whole(f"{program.pid} sleep  1000"), "a program is shown")
            assert are_rows_whole(lines), lines
            assert any("●" in line for line in lines if f"{program.pid} sleep" in line)
        ended = re.compile(rf"✗ KILL.* {program.pid} sleep")
        terminal.wait_for(lambda lines: any(ended.search(line) for line in lines), "its end is shown")
        subprocess.run(["sh", "-c", "exit 3"])
        terminal.wait_for(
            lambda lines: any(re.search("✗ 3 .* sh  -c exit 3", line) for line in lines), "a failure"
        )
        lines = terminal.wait_for(
            lambda lines: run_some() and rates(lines).get("fork", 0) > 0 and rates(lines)["exec"] > 0, "rates"
        )
        text = "\n".join(lines)
        for word in ("lost ", "priority ", "buffer ", "processes ", "expired", "evicted", "oldest"):
            assert word in text, word
        me = f"under {os.getpid()} "
        terminal.wait_for(lambda lines: run_some() and shows(me)(lines), "who starts most is shown", 20)
        lines = leave(terminal, key)
        assert "status=0" in lines
        # Others on this machine may flood the kernel, of which it tells.
        assert [line for line in lines if "proc-cache:" in line and "flood of" not in line] == []
        assert is_restored(terminal, lines)
    assert not socket_file_is_there()


def test_the_dead_between_are_counted_for_who_lasts() -> None:
    script = (
        "import subprocess\nfor _ in range(8): subprocess.run(['sh', '-c', 'ls /; ls /; ls /; true'])\ninput()"
    )
    with Terminal(120, 40) as terminal:
        terminal.run_watch(*of_this_test())
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as agent:
            line = re.compile(rf" 32 .* 24 ls +by 8 short-lived sh +under {agent.pid} python")
            terminal.wait_for(lambda lines: any(line.search(each) for each in lines), "they are counted", 30)
        assert "status=0" in leave(terminal)


@SIZES
def test_more_programs_than_rows(columns: int, rows: int) -> None:
    with Terminal(columns, rows) as terminal:
        terminal.run_watch(*of_this_test())
        run_some(60)
        terminal.wait_for(
            lambda lines: (
                is_drawn(lines) and len([line for line in lines if PROGRAM.match(line)]) >= min(40, rows - 24)
            ),
            "they fill the screen",
        )
        with running(["sleep", "1000"]) as program:
            lines = terminal.wait_for(shows_whole(f"{program.pid} sleep"), "the newest is shown")
        assert are_rows_whole(lines)
        assert "status=0" in leave(terminal)


def test_it_follows_the_size_of_the_screen() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch(*of_this_test())
        run_some(60)
        for columns, rows in ((120, 40), (60, 16), (250, 70), (80, 24)):
            terminal.resize(columns, rows)
            with running(["sleep", "1000"]) as program:
                lines = terminal.wait_for(shows_whole(f" {program.pid} sleep"), f"it is drawn at {columns}x{rows}")
            assert len(lines) == rows
            assert are_rows_whole(lines), lines
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
            lines = terminal.wait_for(shows_whole(rf"{program.pid} x\x1b[2J\x1b[31m\x0a"), "it is shown")
            assert are_rows_whole(lines)
        assert "status=0" in leave(terminal)


# --- keys -------------------------------------------------------------------------------------------------


def test_a_pause_stops_the_programs_until_it_is_over() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch(*of_this_test())
        with running(["sleep", "1000"]) as first:
            terminal.wait_for(shows(f"{first.pid} sleep"), "it is shown")
            terminal.press("p")
            terminal.wait_for(shows("PAUSED"), "it is paused")
            with running(["sleep", "1000"]) as second:
                lines = terminal.wait_for(
                    lambda lines: run_some() and rates(lines).get("exec", 0) > 0, "rates go on"
                )
                assert shows(f"{first.pid} sleep")(lines)
                assert not shows(f"{second.pid} sleep")(lines)
                terminal.press("p")
                terminal.wait_for(shows(f"{second.pid} sleep"), "it goes on")
        assert "status=0" in leave(terminal)


def test_a_filter_is_applied_as_it_is_typed() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch(*of_this_test())
        with running(["sleep", "1234"]) as wanted, running(["sleep", "1000"]) as other:
            terminal.wait_for(shows(f"{other.pid} sleep"), "both are shown")
            for key in "/1234":
                terminal.press(key)
            terminal.wait_for(
                lambda lines: (
                    shows("/1234")(lines)
                    and shows(f"{wanted.pid} sleep")(lines)
                    and not shows(f"{other.pid} sleep")(lines)
                ),
                "the other one is not",
            )
            terminal.press("Enter")
            run_some(150)  # which would have driven it off the screen, and out of what an engine tells
            lines = terminal.wait_for(shows("filter 1234"), "the filter is kept")
            assert shows(f"{wanted.pid} sleep")(lines)
            terminal.press("Escape")
            terminal.wait_for(shows(" true"), "all are shown again")
        assert "status=0" in leave(terminal)


def test_a_chain_is_opened_and_left() -> None:
    with Terminal(120, 40) as terminal:
        terminal.run_watch(*of_this_test())
        with running(["sleep", "1000"]) as program:
            terminal.wait_for(shows(f"{program.pid} sleep"), "it is shown")
            terminal.press("G")
            terminal.wait_for(lambda lines: any(line.startswith("▸") for line in lines), "a line is selected")
            for key in "/sleep":
                terminal.press(key)
            terminal.press("Enter")
            terminal.press("G")
            terminal.press("e")
            terminal.wait_for(shows(f"{program.pid} {os.path.basename(sys.executable)[:6]}"), "its chain is shown")
            lines = terminal.wait_for(shows("sleep 1000"), "with its arguments")
            assert shows(f" {os.getpid()} ")(lines)
            terminal.press("Escape")
            terminal.wait_for(is_drawn, "the programs are back")
            terminal.press("?")
            terminal.wait_for(shows("the programs stand still"), "help is shown")
            terminal.press("?")
            terminal.wait_for(is_drawn, "the programs are back")
        assert "status=0" in leave(terminal)


def test_sorting_goes_around() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch(*of_this_test())
        run_some()
        for words in ("longest running first", "failures first", "by user", "newest first"):
            terminal.press("s")
            terminal.wait_for(lambda lines, words=words: words in lines[0], words)  # type: ignore[misc]
        assert "status=0" in leave(terminal)


def test_ctrl_z_gives_the_terminal_back_until_fg() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch()
        terminal.press("C-z")
        terminal.wait_for(lambda lines: not terminal.is_alternate() and shows("Stopped")(lines), "it stops", 15)
        terminal.type("echo still-$((40+2))")
        terminal.wait_for(shows("still-42"), "the shell goes on")
        terminal.type("fg")
        terminal.wait_for(lambda lines: terminal.is_alternate() and is_drawn(lines), "it goes on", 15)
        terminal.press("?")
        terminal.wait_for(shows("the programs stand still"), "it hears keys again")
        terminal.press("q")
        terminal.wait_for(lambda _: not terminal.is_alternate(), "it ends", 15)
        terminal.type("echo again-$((40+2))")
        terminal.wait_for(shows("again-42"), "the shell goes on")


def test_without_a_keyboard_on_stdin_the_terminals_own_is_used() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch("< /dev/null")
        terminal.press("?")
        terminal.wait_for(shows("the programs stand still"), "it hears keys")
        lines = leave(terminal)
        assert "status=0" in lines
        assert is_restored(terminal, lines)


# --- how it ends ------------------------------------------------------------------------------------------


def test_it_ends_after_its_duration_and_leaves_the_screen_as_it_was() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch("--duration", "2")
        lines = terminal.wait_for_status(15)
        assert "status=0" in lines
        assert is_restored(terminal, lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_the_screen_as_it_was(number: signal.Signals) -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch()
        engine = engine_pid()
        assert engine is not None
        with open(f"/proc/{engine}/stat", encoding="ascii", errors="replace") as stat:
            viewer = int(stat.read().rpartition(")")[2].split()[1])
        os.kill(viewer, number)
        lines = terminal.wait_for_status(15)
        assert "status=0" in lines
        assert is_restored(terminal, lines)


def test_the_end_of_its_engine_is_told_on_the_screen_as_it_was() -> None:
    with Terminal(80, 24) as terminal:
        terminal.run_watch()
        engine = engine_pid()
        assert engine is not None
        os.kill(engine, signal.SIGKILL)
        lines = terminal.wait_for_status(15)
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
