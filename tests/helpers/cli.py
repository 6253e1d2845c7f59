"""Running `proc-cache`: as a subprocess, as another user, and as a stream that is read line by line."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proc_cache import Engine

from .engines import stats_if_any
from .processes import DEADLINE_S, NOBODY, PR_SET_DUMPABLE, forget, fork, prctl, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import IO, Self

REPOSITORY = Path(__file__).parents[2]
PROC_CACHE = [sys.executable, "-m", "proc_cache"]


def plain_environment() -> dict[str, str]:
    """What a command runs with, unless told otherwise: the test's own environment, without what changes output."""
    return {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "PROC_CACHE_DEBUG")}


class Ended:
    """How a command ended: its status, and what it wrote, as bytes and as text."""

    def __init__(self, status: int, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.raw = stdout
        self.stdout = stdout.decode()
        self.stderr = stderr.decode()

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    @property
    def complaints(self) -> list[str]:
        return self.stderr.splitlines()

    def json(self) -> Any:
        return json.loads(self.stdout)

    def __repr__(self) -> str:
        return f"status {self.status}\nstdout: {self.stdout[:2000]}\nstderr: {self.stderr[:2000]}"


def proc_cache(
    *arguments: str | bytes,
    stdin: bytes | None = b"",
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    timeout_s: float = 30.0,
) -> Ended:
    """Run `python -m proc_cache` to its end."""
    done = subprocess.run(
        [*prefix, *PROC_CACHE, *arguments],
        input=stdin,
        capture_output=True,
        cwd=REPOSITORY,
        env={**plain_environment(), **(env or {})},
        timeout=timeout_s,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def in_fork(
    arguments: Sequence[str],
    *,
    before: Callable[[], object] | None = None,
    warm_up: Sequence[str] | None = None,
    during: Callable[[int, Path], object] | None = None,
) -> Ended:
    """Run `main(arguments)` in a forked child, after `before` was done in it (dropping privileges, say).

    `warm_up` is run first, with its output thrown away: what is imported late is imported while it still can
    be read. `during` is called in the test with the child's pid and the file its stdout goes to.
    """
    with tempfile.TemporaryDirectory() as directory:
        stdout, stderr = Path(directory, "stdout"), Path(directory, "stderr")

        def body() -> None:
            from proc_cache.cli.main import main

            if warm_up is not None:
                _redirect(Path(os.devnull), Path(os.devnull))
                main(warm_up)
            _redirect(stdout, stderr)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if before is not None:
                before()
            status = main(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

        pid = fork(body)
        try:
            if during is not None:
                during(pid, stdout)
            _, word = os.waitpid(pid, 0)
        finally:
            forget(pid)
        return Ended(os.waitstatus_to_exitcode(word), stdout.read_bytes(), stderr.read_bytes())


def as_nobody(*arguments: str, during: Callable[[int, Path], object] | None = None) -> Ended:
    """Run `main` as uid 65534 with no capability and no group.

    In a forked child that imported everything before: the interpreter may lie where nobody cannot read.
    """
    warm_up = ["watch", "--duration", "0"] if arguments[0] == "watch" else list(arguments)

    def before() -> None:
        if arguments[0] == "watch":
            load_engine()  # its own is another process: what that one imported is not here
        become_nobody()

    return in_fork(arguments, before=before, warm_up=warm_up, during=during)


def load_engine() -> None:
    """Import what an engine imports late."""
    import proc_cache.cli.capture
    import proc_cache.service.answers  # noqa: F401

    with Engine() as engine:
        engine.start()


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.chdir("/")
    prctl(PR_SET_DUMPABLE, 1)  # as if nobody had exec'ed it


def _redirect(stdout: Path, stderr: Path) -> None:
    for path, number in ((stdout, 1), (stderr, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115


def streams() -> int:
    """How many viewers the engine of this test tells events; 0 where there is none."""
    return (stats_if_any() or {"streams": 0})["streams"]


class Watching:
    """`proc-cache watch` in a subprocess, read line by line: `with Watching("--format", "ndjson") as watch`."""

    def __init__(
        self, *options: str, prefix: Sequence[str] = (), stdout: int | IO[bytes] = subprocess.PIPE
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, *PROC_CACHE, "watch", *options],
            stdout=stdout,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd=REPOSITORY,
            env=plain_environment(),
        )
        self.lines: list[str] = []
        self._buffer = b""
        self._streams_before = streams()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def engine_pid(self) -> int:
        """The engine that it has started."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as children:
            (pid,) = children.read().split()
        return int(pid)

    def read(self, timeout_s: float) -> bool:
        """Take over the lines that are there, waiting so long for some; false at the end of the stream."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        if not select.select([descriptor], [], [], timeout_s)[0]:
            return True
        chunk = os.read(descriptor, 1 << 16)
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        self.lines += [line.decode() for line in lines]
        return bool(chunk)

    def read_until(
        self,
        is_so: Callable[[], object],
        what: str,
        *,
        provoke: Callable[[], object] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Read until something holds, doing `provoke` again and again; fails the test when time is over."""
        deadline = time.monotonic() + deadline_s
        while not is_so():
            assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}; read {self.lines[-5:]}"
            if provoke is not None:
                provoke()
            assert self.read(0.05) or is_so(), f"the stream ended before: {what}; {self.stop()}"

    def wait_until_capturing(self) -> None:
        """Wait until an engine tells it events: one that was there, or its own (it has scanned by then)."""

        def is_told() -> bool:
            assert self.process.poll() is None, f"watch ended: {self.stop()}"
            return streams() > self._streams_before

        wait_until(is_told, "an engine tells it events", 20)

    def stop(self, number: int = signal.SIGTERM) -> Ended:
        """Send a signal, and give how it ended; `stdout` has what was not read as lines."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.end()

    def end(self, timeout_s: float = 30.0) -> Ended:
        """Wait for its own end."""
        stdout, stderr = self.process.communicate(timeout=timeout_s)
        rest = self._buffer + (stdout or b"")
        self.lines += [line.decode() for line in rest.split(b"\n") if line]
        self._buffer = b""
        return Ended(self.process.returncode, rest, stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.process:
            if self.process.poll() is None:
                self.process.kill()
