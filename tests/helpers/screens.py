"""What a terminal shows: of what was drawn in memory at a fixed size, and of a real one that tmux(1) has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from io import StringIO
from itertools import count
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from proc_cache.render import live
from proc_cache.render.live import LiveScreen

from .cli import PROC_CACHE, REPOSITORY, plain_environment
from .processes import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
HOME = "\x1b[H"
_NUMBERS = count(1)
_LOOK_S = 0.2  # between two looks: each is a program that runs, and has a row of its own


class Drawn:
    """A live screen in memory, of so many columns and rows; `lines()` is what it shows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, columns: int = 80, rows: int = 24) -> None:
        self.columns, self.rows = columns, rows
        self.written = StringIO()

        def console() -> Console:
            return Console(
                file=self.written,
                width=columns,
                height=rows,
                force_terminal=True,
                color_system="standard",
                _environ={"TERM": "xterm"},
            )

        monkeypatch.setattr(live, "Console", console)
        self.screen = LiveScreen()

    def lines(self) -> list[str]:
        """What the last frame shows, line by line, without styles."""
        frame = self.written.getvalue().rpartition(HOME)[2]
        shown = _SEQUENCE.sub("", frame).split("\n")
        assert len(shown) == self.rows, "it is not as tall as the screen"
        assert all(cell_len(line) <= self.columns for line in shown), "it is wider than the screen"
        return [line.rstrip() for line in shown]

    def sequences(self) -> set[str]:
        """What of the frame does something else than to write or to style."""
        return {found for found in _SEQUENCE.findall(self.written.getvalue()) if not _STYLE.fullmatch(found)}

    def __enter__(self) -> Self:
        self.screen.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.screen.__exit__(kind, error, trace)


class Terminal:
    """A shell in a terminal of this size, by a tmux of its own: `with Terminal(80, 24) as terminal`."""

    def __init__(self, columns: int, rows: int) -> None:
        tmux = shutil.which("tmux")
        if tmux is None:
            pytest.skip("no tmux(1)")
        name = f"proc-cache-{os.getpid()}-{next(_NUMBERS)}"
        self._tmux = [tmux, "-L", name, "-f", "/dev/null"]
        self._size = columns, rows

    def tmux(self, *arguments: str) -> str:
        done = self._run(*arguments)
        assert not done.returncode, done.stderr
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in plain_environment().items() if key != "TMUX"}
        environment["TMUX_TMPDIR"] = os.path.dirname(environment["PROC_CACHE_SOCKET"])  # removed with the test
        return subprocess.run(
            [*self._tmux, *arguments], capture_output=True, text=True, env=environment, cwd=REPOSITORY, timeout=20
        )

    def __enter__(self) -> Self:
        columns, rows = self._size
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "PS1='ready$ ' sh -i")
        self.tmux("set-option", "-g", "window-size", "manual")
        self.wait_for(lambda lines: lines[0].startswith("ready$"), "a shell is there")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("kill-server")

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.tmux("capture-pane", "-p").split("\n")[:-1]]

    def type(self, text: str) -> None:
        """Type a line."""
        self.tmux("send-keys", "-l", text)
        self.press("Enter")

    def press(self, key: str) -> None:
        self.tmux("send-keys", key)

    def resize(self, columns: int, rows: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def is_alternate(self) -> bool:
        return self.tmux("display-message", "-p", "#{alternate_on}").strip() == "1"

    def is_cursor_shown(self) -> bool:
        return self.tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def wait_for(
        self, is_so: Callable[[list[str]], object], what: str, deadline_s: float = DEADLINE_S
    ) -> list[str]:
        """Wait until the screen shows something; gives its lines then."""
        deadline = time.monotonic() + deadline_s
        while not is_so(lines := self.lines()):
            assert time.monotonic() < deadline, "\n".join(
                [f"not within {deadline_s} s: {what}; it shows:", *lines]
            )
            time.sleep(_LOOK_S)
        return lines

    def run_watch(self, *options: str) -> None:
        """Type the command, and wait for its screen."""
        self.type(" ".join([*PROC_CACHE, "watch", *options, "; echo status=$?"]))
        self.wait_for(lambda lines: self.is_alternate() and lines[0].startswith("lost "), "it draws", 30)
