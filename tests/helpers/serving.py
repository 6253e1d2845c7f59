"""`proc-cache serve` as a subprocess, at the socket of the test."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from proc_cache.service.client import EngineClient

from .cli import PROC_CACHE, REPOSITORY, plain_environment
from .engines import engine_stats
from .processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Serving:
    """A running engine: `pid`, and what it said when it has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self.stderr = ""

    def stats(self) -> dict[str, int]:
        """Ask for its counters."""
        return engine_stats()

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; returns its exit status (negative: the signal)."""
        if self.process.returncode is None:
            self.process.send_signal(number)
            _, said = self.process.communicate(timeout=30)
            self.stderr = said.decode()
        return self.process.returncode


@contextmanager
def serving(*options: str) -> Iterator[Serving]:
    """Run an engine until the end of the block; it answers at `$PROC_CACHE_SOCKET` when the block begins."""
    process = subprocess.Popen(
        [*PROC_CACHE, "serve", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=plain_environment(),
    )
    running = Serving(process)
    try:
        path = os.environ["PROC_CACHE_SOCKET"]
        wait_until(lambda: process.poll() is not None or _answers(path), "the engine answers", 20)
        assert process.poll() is None, f"it ended: {process.communicate()[1].decode()}"
        yield running
    finally:
        running.end(signal.SIGKILL)


def _answers(path: str) -> bool:
    if not os.path.exists(path):
        return False
    client = EngineClient.connect()
    if client is None:
        return False
    client.stats()
    client.close()
    return True
