"""cli/live_terminal.py: what a terminal is sent, and that it is given back; on a pty(7)."""

from __future__ import annotations

import os
import re
import select
import signal
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from proc_cache.cli import live_terminal
from proc_cache.cli.live_terminal import LiveTerminal, Painter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proc_cache.render.spans import Line

PLACE = re.compile(r"\x1b\[(\d+);1H")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)


def lines(*texts: str) -> list[Line]:
    return [[(text, "")] for text in texts]


def places(written: str) -> list[int]:
    """The lines that were written, from 1."""
    return [int(number) for number in PLACE.findall(written)]


# --- painting ---------------------------------------------------------------------------------------------


def test_only_what_has_changed_is_written() -> None:
    painter = Painter(is_coloured=True)
    first = painter.paint(lines("a", "b", "c"), 10, 3)
    assert places(first) == [1, 2, 3]
    assert "\x1b[2J" in first
    assert painter.paint(lines("a", "b", "c"), 10, 3) == ""
    second = painter.paint(lines("a", "B", "c"), 10, 3)
    assert second == "\x1b[?2026h\x1b[2;1HB\x1b[K\x1b[?2026l"


def test_an_empty_line_clears_what_stood_there() -> None:
    painter = Painter(is_coloured=True)
    painter.paint(lines("a", "b"), 10, 2)
    assert painter.paint([[("a", "")], []], 10, 2) == "\x1b[?2026h\x1b[2;1H\x1b[K\x1b[?2026l"


def test_behind_a_full_line_nothing_is_cleared() -> None:
    """There the cursor stands on the last column still, and would take it with it."""
    assert "\x1b[K" not in Painter(is_coloured=True).paint(lines("x" * 10, "漢" * 5), 10, 2)


@pytest.mark.parametrize("size", [(11, 3), (10, 4)])
def test_another_size_is_drawn_anew(size: tuple[int, int]) -> None:
    painter = Painter(is_coloured=True)
    painter.paint(lines("a", "b", "c"), 10, 3)
    again = painter.paint(lines("a", "b", "c"), *size)
    assert places(again) == [1, 2, 3]
    painter.forget()
    assert places(painter.paint(lines("a", "b", "c"), *size)) == [1, 2, 3]


def test_styles_end_where_they_should() -> None:
    written = Painter(is_coloured=True).paint([[("a", "bold red"), ("b", "")]], 10, 1)
    assert re.search(r"\x1b\[1;31ma\x1b\[0mb", written)


def test_without_colour_nothing_is_styled() -> None:
    written = Painter(is_coloured=False).paint([[("a", "bold red"), ("b", "on grey19")]], 10, 1)
    assert "\x1b[1;1Hab\x1b[K" in written


# --- a terminal -------------------------------------------------------------------------------------------


@contextmanager
def pty(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A terminal as stdout and keyboard: its other end, and this one."""
    master, slave = os.openpty()
    with open(slave, "w", encoding="utf-8", closefd=False) as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        monkeypatch.setattr(live_terminal, "_find_keyboard", lambda: os.dup(slave))
        try:
            yield master, slave
        finally:
            os.close(master)
            os.close(slave)


def received(master: int) -> str:
    """What was written to the terminal: all that is there."""
    data = b""
    while select.select([master], [], [], 0)[0]:
        data += os.read(master, 10_000)
    return data.decode()


def modes(descriptor: int) -> int:
    return int(termios.tcgetattr(descriptor)[3])


def test_it_is_taken_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with pty(monkeypatch) as (master, slave):
        before = termios.tcgetattr(slave)
        handlers = [signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)]
        with LiveTerminal() as terminal:
            assert not modes(slave) & (termios.ICANON | termios.ECHO)
            assert modes(slave) & termios.ISIG  # Ctrl-C is a signal still
            terminal.draw(lines("hello"), 80, 24)
            assert terminal.is_stale is False
        assert termios.tcgetattr(slave) == before
        assert [signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)] == handlers
        drawn = received(master)
    assert drawn.startswith("\x1b[?1049h\x1b[?25l\x1b[?7l")
    assert "hello" in drawn
    assert drawn.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")


def test_it_is_given_back_where_something_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pty(monkeypatch) as (master, slave):
        before = termios.tcgetattr(slave)
        with pytest.raises(KeyboardInterrupt), LiveTerminal():
            raise KeyboardInterrupt
        assert termios.tcgetattr(slave) == before
        assert received(master).endswith("\x1b[?1049l")


def test_after_a_stop_it_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pty(monkeypatch) as (master, slave), LiveTerminal() as terminal:
        terminal.draw(lines("hello"), 80, 24)
        termios.tcsetattr(
            slave,
            termios.TCSANOW,
            [*termios.tcgetattr(slave)[:3], modes(slave) | termios.ECHO, *termios.tcgetattr(slave)[4:]],
        )
        os.kill(os.getpid(), signal.SIGCONT)
        assert terminal.is_stale
        assert not modes(slave) & termios.ECHO
        received(master)
        terminal.draw(lines("hello"), 80, 24)
        assert "hello" in received(master)


def test_keys_and_half_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with pty(monkeypatch) as (master, _), LiveTerminal() as terminal:
        os.write(master, b"a\x1b")
        assert terminal.keys(has_more=True) == ["a"]
        assert terminal.has_half_a_key
        os.write(master, b"[A\x1b")
        assert terminal.keys(has_more=True) == ["up"]
        assert terminal.keys(has_more=False) == ["esc"]
        assert not terminal.has_half_a_key


def test_a_keyboard_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with pty(monkeypatch):
        monkeypatch.setattr(live_terminal, "_find_keyboard", lambda: None)
        with LiveTerminal() as terminal:
            assert terminal.keys(has_more=True) == []
            terminal.keyboard = reader
            os.close(writer)
            assert terminal.keys(has_more=True) == []
            assert terminal.keyboard is None
    os.close(reader)


def test_a_terminal_that_has_not_said_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with pty(monkeypatch), LiveTerminal() as terminal:
        assert terminal.size() == (80, 24)
