"""What a real terminal shows, that of tmux(1)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from itertools import count
from typing import TYPE_CHECKING

import pytest

from .cli import PROC_CACHE, REPOSITORY, plain_environment
from .processes import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_NUMBERS = count(1)
_STATUS = re.compile(r"status=\d+")  # never what was typed to ask for it, wherever the terminal wrapped that
_LOOK_S = 0.2  # between two looks: each is a program that runs, and has a row of its own


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
        self.wait_for(lambda lines: self.is_alternate() and lines[0].startswith(" proc-cache "), "it draws", 30)

    def wait_for_status(self, deadline_s: float = DEADLINE_S) -> list[str]:
        """Wait until `echo status=$?` has said how the command ended; gives the lines of the screen then."""
        return self.wait_for(lambda lines: any(map(_STATUS.fullmatch, lines)), "it ends", deadline_s)
