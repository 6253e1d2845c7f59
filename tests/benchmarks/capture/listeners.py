"""A listener under measurement: how it is started, seen to listen, ended, and what is read of it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .accounts import MARK, is_alive, processes_of, usage_of
from .reports import from_history, from_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .reports import Told
    from .storms import Workshop

ROOT = Path(__file__).resolve().parents[2]
_READY_S = 20
_DRAIN_S = 20
_END_S = 40
_POLL_S = 0.05


class NotReadyError(Exception):
    """A listener did not come up."""


class Place(NamedTuple):
    """Where one run of a listener happens."""

    directory: Path
    workshop: Workshop
    prefix: tuple[str, ...]  # pins it on a CPU

    @property
    def output(self) -> Path:
        return self.directory / "output"

    @property
    def errors(self) -> Path:
        return self.directory / "errors"

    @property
    def history(self) -> Path:
        return self.directory / "history"

    @property
    def mark(self) -> str:
        """What all processes of the listener have in their environment."""
        return str(self.directory)

    def settings(self) -> dict[str, str]:
        """Give what the environment of a listener has besides ours; the socket is its own, and disturbs nobody."""
        return {
            MARK: self.mark,
            "PROC_CACHE_SOCKET": str(self.directory / "socket"),
            "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}",
        }


class Listener:
    """A program that writes what it hears to stdout."""

    def __init__(self, place: Place, command: Sequence[str], read: Callable[[Path, Path], Told]) -> None:
        self.place = place
        self.command = [*place.prefix, *command]
        self.root_pid = 0
        self._read = read
        self._process: subprocess.Popen[bytes] | None = None
        self._searched = 0  # bytes of the output

    def start(self) -> None:
        """Start it; it is not known to listen yet."""
        with self.place.output.open("wb") as output:
            self.spawn(output.fileno())

    def spawn(self, stdout: int) -> None:
        """Start the program itself."""
        with self.place.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=errors,
                cwd="/",
                env=os.environ | self.place.settings(),
                start_new_session=True,
            )
        self.root_pid = self._process.pid

    def processes(self) -> set[int]:
        """Find its processes; a terminal, or a reader at the end of its pipe, is none of them."""
        return processes_of(self.place.mark)

    def terminal_us(self) -> int:
        """Read the CPU time of the terminal that it draws on."""
        return 0

    def is_told_of(self, pid: int, token: str) -> bool:
        """Tell whether it has told of a probe by now."""
        with self.place.output.open("rb") as output:
            output.seek(max(0, self._searched - 100))
            text = output.read()
            self._searched = output.tell()
        return token.encode() in text or f"exec {pid}.".encode() in text

    def catch_up(self, wait_s: float) -> bool:
        """Run probes until it has told of one: all that came before is known to it by then."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            token = f"probe-{time.monotonic_ns()}"
            pid = self.place.workshop.run_probe(token)
            soon = min(deadline, time.monotonic() + 1)
            while time.monotonic() < soon:
                if self.is_told_of(pid, token):
                    return True
                if not is_alive(self.root_pid):
                    raise NotReadyError(f"it ended: {self.last_words()}")
                time.sleep(_POLL_S)
        return False

    def wait_until_ready(self) -> None:
        """Raise NotReadyError where it does not tell of anything in time."""
        if not self.catch_up(_READY_S):
            raise NotReadyError(f"it told of nothing in {_READY_S} s: {self.last_words()}")

    def drain(self) -> bool:
        """Let it come to the end of what it has received; false where it did not in time."""
        return self.catch_up(_DRAIN_S)

    def last_words(self) -> str:
        """Give the end of what it said on stderr."""
        text = self.place.errors.read_text(errors="replace") if self.place.errors.exists() else ""
        return text.strip()[-200:] or "nothing on stderr"

    def told(self) -> Told:
        """Read all it has told; after its end."""
        return self._read(self.place.output, self.place.errors)

    def stop(self) -> bool:
        """End it, and wait until all of its processes are gone; false where they had to be killed."""
        pids = self.processes()
        if self.root_pid in pids:
            os.kill(self.root_pid, signal.SIGTERM)
        deadline = time.monotonic() + _END_S
        while (is_running := any(map(is_alive, pids))) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self.close()
        return not is_running

    def close(self) -> None:
        """End what is left of it, at once."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()


class NoListener(Listener):
    """None at all: what the storm does by itself."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, [], from_nothing)

    def start(self) -> None:
        """Do nothing."""

    def catch_up(self, wait_s: float) -> bool:
        """There is nothing to wait for."""
        return wait_s > 0


class EngineListener(Listener):
    """An engine alone, that is asked: it writes nothing."""

    def is_told_of(self, pid: int, token: str) -> bool:
        """Ask it for the end of the probe."""
        command = [sys.executable, "-m", "proc_cache", "chain", "--format", "ndjson", str(pid)]
        environment = os.environ | self.place.settings()
        asked = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)
        return token in asked.stdout and '"alive":false' in asked.stdout


class PipedListener(Listener):
    """A program with a reader at the other end of its pipe, as in `watch --format ndjson | ...`."""

    _reader: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start both."""
        inlet, outlet = os.pipe()
        with self.place.output.open("wb") as output, os.fdopen(inlet) as source, os.fdopen(outlet, "wb") as sink:
            reader = [*self.place.prefix, "cat"]
            self._reader = subprocess.Popen(reader, stdin=source, stdout=output, start_new_session=True)
            self.spawn(sink.fileno())

    def close(self) -> None:
        """End the listener; the reader ends with its pipe."""
        super().close()
        if self._reader is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._reader.wait(_END_S)
            self._reader.kill()
            self._reader.wait()


class LiveListener(Listener):
    """A program on a terminal of its own, inside tmux, that records into a file."""

    _server_pid = 0

    def __init__(self, place: Place, command: Sequence[str]) -> None:
        super().__init__(place, [*command, "--record", str(place.history)], from_history)

    def start(self) -> None:
        """Start tmux, and the program in it."""
        settings = [f"{key}={value}" for key, value in self.place.settings().items()]
        line = f"exec env {shlex.join([*settings, *self.command])} 2>{shlex.quote(str(self.place.errors))}"
        size = ["-x", "120", "-y", "40"]
        told = subprocess.run(
            [*self._tmux(), "new-session", "-d", *size, "-P", "-F", "#{pane_pid} #{pid}", line],
            cwd="/",
            env={key: value for key, value in os.environ.items() if key != "TMUX"} | {"SHELL": "/bin/sh"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        self.root_pid, self._server_pid = map(int, told.stdout.split())

    def _tmux(self) -> list[str]:
        return [*self.place.prefix, "tmux", "-S", str(self.place.directory / "tmux"), "-f", "/dev/null"]

    def terminal_us(self) -> int:
        """Read the CPU time of tmux, which is not the listener's own."""
        return sum(one.cpu_us for one in usage_of({self._server_pid}).values())

    def is_told_of(self, pid: int, token: str) -> bool:
        """Look for the end of the probe in the history; the newest rows come last."""
        name = f"file:{self.place.history}?mode=ro"
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(name, uri=True)) as database:
            (is_there,) = database.execute(
                "SELECT EXISTS (SELECT 1 FROM (SELECT * FROM process ORDER BY id DESC LIMIT 1000) "
                "WHERE pid = ? AND exit_ns IS NOT NULL AND instr(cmdline, ?))",
                (pid, token.encode()),
            ).fetchone()
            return bool(is_there)
        return False  # there is no file yet

    def told(self) -> Told:
        """Read the history."""
        return self._read(self.place.history, self.place.errors)

    def close(self) -> None:
        """End what is left, the terminal too."""
        super().close()
        if self._server_pid:
            subprocess.run([*self._tmux(), "kill-server"], stderr=subprocess.DEVNULL)
