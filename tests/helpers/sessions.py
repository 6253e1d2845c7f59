"""A person at a terminal: one shell that runs one command after another, and what each wrote on the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from proc_cache.closing import Closing

COLUMNS = 100
_END = b"\x1e"  # what the shell writes on the screen when a command is over
_MARK = "PROC_CACHE_TEST_SHELL"  # an environment variable, which all that the shell started have

# Each command is sourced with a screen of its own: what a background job writes later stays on its own.
_LOOP = """
keep() { return "$1"; }
status=0
while IFS=' ' read -r -u 9 command screen; do
    keep "$status"
    . "$command" >"$screen" 2>&1 </dev/null 9<&- 8>&-
    status=$?
    printf '\\036' >"$screen"
    printf '%d\\n' "$status" >&8
done
"""


class Ran(NamedTuple):
    """How a command ended, and its screen, on which a background job may still write."""

    status: int
    screen: Screen


class Screen:
    """A terminal of 100 columns, as a pseudo-terminal."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        settings = termios.tcgetattr(slave)
        settings[1] &= ~termios.OPOST  # a newline stays one
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        self.path = os.ttyname(slave)
        self._slave = slave  # held open: the last writer's end must not be the screen's
        self._read = bytearray()

    def read(self) -> None:
        """Take what is there; call it when there is something."""
        self._read += os.read(self.master, 1 << 16)

    @property
    def is_over(self) -> bool:
        """Whether the command has ended."""
        return _END in self._read

    @property
    def text(self) -> str:
        """What stands on it."""
        return bytes(self._read).replace(_END, b"").decode("utf-8", "replace")

    def close(self) -> None:
        os.close(self.master)
        os.close(self._slave)


class Shell(Closing):
    """A bash in a directory of its own: `with Shell(path, environment) as shell: shell.run("ls")`."""

    def __init__(self, directory: str, environment: dict[str, str]) -> None:
        self._scripts = tempfile.TemporaryDirectory(prefix="proc-cache-shell-")
        self._mark = f"{_MARK}={uuid.uuid4()}"
        self._screens: list[Screen] = []
        commands, self._commands = os.pipe()
        self._statuses, statuses = os.pipe()
        name, _, value = self._mark.partition("=")
        # An orphan, so that its ancestry is short wherever the tests are run from.
        subprocess.run(
            ["bash", "-c", f'exec 9<&{commands} 8>&{statuses}\nbash --norc --noprofile -c "$1" &', "_", _LOOP],
            cwd=directory,
            env={**environment, name: value},
            stdin=subprocess.DEVNULL,
            pass_fds=(commands, statuses),
            process_group=0,
            check=True,
        )
        os.close(commands)
        os.close(statuses)

    def run(self, command: str, timeout_s: float) -> Ran:
        """Run a command to its end; fails the test when the time is over."""
        script = Path(self._scripts.name, f"command-{len(self._screens)}")
        script.write_text(f"{command}\n")
        screen = Screen()
        self._screens.append(screen)
        os.write(self._commands, f"{script} {screen.path}\n".encode())
        deadline = time.monotonic() + timeout_s
        said = b""
        while not (said.endswith(b"\n") and screen.is_over):
            assert time.monotonic() < deadline, f"not over within {timeout_s} s; it wrote:\n{screen.text}"
            if self._statuses in self.look(0.1):
                chunk = os.read(self._statuses, 64)
                assert chunk, f"the shell itself has ended; it wrote:\n{screen.text}"
                said += chunk
        return Ran(int(said), screen)

    def look(self, timeout_s: float) -> list[int]:
        """Take what is written on any screen, waiting so long for some; returns what else can be read."""
        screens = {screen.master: screen for screen in self._screens}
        ready, _, _ = select.select([*screens, self._statuses], [], [], timeout_s)
        for descriptor in ready:
            if descriptor in screens:
                screens[descriptor].read()
        return ready

    def close(self) -> None:
        """End it and all that it started, wherever that went."""
        for descriptor in (self._commands, self._statuses):
            os.close(descriptor)
        while pids := self._started():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for screen in self._screens:
            screen.close()
        self._scripts.cleanup()

    def _started(self) -> list[int]:
        """Give the living that have our mark in their environment."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                with suppress(OSError), open(f"/proc/{name}/environ", "rb") as environ:
                    if self._mark.encode() in environ.read().split(b"\0"):
                        found.append(int(name))
        return found
