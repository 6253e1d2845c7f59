"""The terminal of a live view: taken with its keys and a screen of its own, given back whatever way this ends."""

from __future__ import annotations

import errno
import os
import signal
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from ..render.spans import width
from .keys import decode, decode_rest
from .terminal import is_coloured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType
    from typing import Any, Self

    from ..render.spans import Line

# Another screen, no cursor, no wrapping (DECAWM): where a terminal counts columns otherwise, no row is broken.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = "\x1b[?2026l\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
# One frame, drawn at once by terminals that know of this (synchronized output); others pass over it.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_LFLAG = 3  # place of the local modes in what tcgetattr() gives
_CC = 6
_USUAL_SIZE = 80, 24


class Painter:
    """Turns lines into what a terminal is sent: of each frame only the lines that have changed."""

    def __init__(self, *, is_coloured: bool) -> None:
        name = Console().color_system or "standard"
        self._colors = COLOR_SYSTEMS.get(name) if is_coloured else None
        self._marks: dict[str, tuple[str, str]] = {"": ("", "")}
        self._lines: list[str] = []
        self._size = (0, 0)

    def forget(self) -> None:
        """Have all drawn anew: somebody else has written on the screen."""
        self._size = (0, 0)

    def paint(self, lines: Sequence[Line], columns: int, rows: int) -> str:
        """Give what is to be written for this frame."""
        parts = []
        if (columns, rows) != self._size:
            parts.append("\x1b[0m\x1b[2J")
            self._lines, self._size = [""] * rows, (columns, rows)
        for number, line in enumerate(lines):
            text = "".join(self._styled(*span) for span in line)
            if text != self._lines[number]:
                self._lines[number] = text
                rest = "" if width(line) >= columns else "\x1b[K"
                parts.append(f"\x1b[{number + 1};1H{text}{rest}")
        return f"{_BEGIN}{''.join(parts)}{_END}" if parts else ""

    def _styled(self, text: str, style: str) -> str:
        marks = self._marks.get(style)
        if marks is None:
            rendered = Style.parse(style).render("\0", color_system=self._colors)
            before, _, after = rendered.partition("\0")
            marks = self._marks[style] = before, after
        return f"{marks[0]}{text}{marks[1]}"


class LiveTerminal:
    """Stdout, and the keyboard where there is one: `with LiveTerminal() as terminal`."""

    def __init__(self) -> None:
        self._output = sys.stdout.fileno()
        self.keyboard = _find_keyboard()
        self.is_stale = True  # what is on the screen is not ours any more
        self._pending = b""
        self._modes: list[Any] = []
        self._former: dict[int, Any] = {}
        self._painter = Painter(is_coloured=is_coloured())

    def __enter__(self) -> Self:
        try:
            if self.keyboard is not None:
                self._modes = termios.tcgetattr(self.keyboard)
            for number, handler in ((signal.SIGTSTP, self._stop), (signal.SIGCONT, self._continue)):
                self._former[number] = signal.signal(number, handler)
            self._take()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    # --- taking and giving back -------------------------------------------------------------------------

    def _take(self) -> None:
        if self._modes and self.keyboard is not None:
            modes = self._modes[:]
            modes[_LFLAG] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)  # cbreak: Ctrl-C is a signal still
            modes[_CC] = list(modes[_CC])
            modes[_CC][termios.VMIN], modes[_CC][termios.VTIME] = 1, 0
            termios.tcsetattr(self.keyboard, termios.TCSADRAIN, modes)
        self._write(_ENTER)
        self.is_stale = True

    def _give_back(self) -> None:
        with suppress(OSError):  # it has gone
            self._write(_LEAVE)
        if self._modes and self.keyboard is not None:
            with suppress(termios.error):
                termios.tcsetattr(self.keyboard, termios.TCSADRAIN, self._modes)

    def _release(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()
        self._give_back()
        if self.keyboard not in (None, 0):
            os.close(self.keyboard)
        self.keyboard = None

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Give the terminal back and stop, as Ctrl-Z asks; here it goes on with `fg`."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._stop)
        self._take()

    def _continue(self, _number: int, _frame: FrameType | None) -> None:
        self._take()  # who was stopped by SIGSTOP has given nothing back, and the shell has taken it

    # --- drawing ----------------------------------------------------------------------------------------

    def size(self) -> tuple[int, int]:
        """Give columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._output)
        except OSError:
            return _USUAL_SIZE
        return columns or _USUAL_SIZE[0], rows or _USUAL_SIZE[1]  # 0: a terminal that has not said

    def draw(self, lines: Sequence[Line], columns: int, rows: int) -> None:
        """Show these lines; what stands there already is not written again."""
        if self.is_stale:
            self.is_stale = False
            self._painter.forget()
        self._write(self._painter.paint(lines, columns, rows))

    def _write(self, text: str) -> None:
        data = memoryview(text.encode(sys.stdout.encoding or "ascii", "backslashreplace"))
        while data:
            try:
                data = data[os.write(self._output, data) :]
            except BlockingIOError:  # somebody has made it so
                with suppress(BlockingIOError):
                    os.set_blocking(self._output, True)

    # --- keys -------------------------------------------------------------------------------------------

    @property
    def has_half_a_key(self) -> bool:
        """Whether what has come may go on, or is an Esc alone."""
        return bool(self._pending)

    def keys(self, *, has_more: bool) -> list[str]:
        """Give the keys that were pressed; without `has_more`, what is left of before is all there is."""
        if not has_more or self.keyboard is None:
            rest, self._pending = self._pending, b""
            return decode_rest(rest)
        try:
            data = os.read(self.keyboard, 1024)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self.keyboard = None  # it has gone
            return []
        keys, self._pending = decode(self._pending + data)
        return keys


def _find_keyboard() -> int | None:
    """Give stdin, or where that is no terminal the one this runs on; None in the background or without one."""
    if os.isatty(0):
        return 0 if _is_in_foreground(0) else None
    try:
        keyboard = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    if _is_in_foreground(keyboard):
        return keyboard
    os.close(keyboard)
    return None


def _is_in_foreground(terminal: int) -> bool:
    """Tell whether reading from it would not stop this process (SIGTTIN)."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # it is not the terminal of this session, and stops nobody
        return True
