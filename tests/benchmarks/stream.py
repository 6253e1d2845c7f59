"""What it costs to watch: viewers of a `serve` beside two storms of `/bin/true`, in each form that writes events.

    python -m tests.benchmarks.stream [COUNT]

Prints for each event the CPU time of the viewer, and what the engine takes more than without one; and whether all
events were told. As root; needs a C compiler.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .recording import compile_storm, cpu_s

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 20_000
EVENTS_OF_ONE = 3  # fork, exec, exit
FORMS = {"lines": b"|true|", "ndjson": b'"cmd":"true"', "ecs": b'"name":"true"'}  # and the mark of exec and exit
_QUIET_S = 0.5
_DEADLINE_S = 60.0


def pass_storm(storm: Path, count: int, directory: Path) -> None:
    """Let two storms pass, of so many programs together."""
    storms = [subprocess.Popen([storm, str(count // 2), str(directory / f"ends-{one}")]) for one in range(2)]
    if any(process.wait() for process in storms):
        raise SystemExit("a storm failed")


def until_it_rests(pid: int) -> float:
    """Wait until a process uses no CPU any more; returns all it has used, in seconds."""
    deadline = time.monotonic() + _DEADLINE_S
    used = cpu_s(pid)
    while time.monotonic() < deadline:
        time.sleep(_QUIET_S)
        before, used = used, cpu_s(pid)
        if used - before < 0.02:
            return used
    raise SystemExit(f"{pid} does not come to rest")


def measure(storm: Path, count: int, directory: Path, engine_pid: int, form: str | None) -> float:
    """Let a storm pass before a viewer, or none; returns what the engine took, in seconds."""
    output = directory / "output"
    with output.open("wb") as stdout:
        watch = [sys.executable, "-m", "proc_cache", "watch", "--format", form or "lines"]
        viewer = subprocess.Popen(watch, stdout=stdout, env=environment(directory)) if form else None
        time.sleep(_QUIET_S)
        viewer_s = until_it_rests(viewer.pid) if viewer else 0.0
        engine_s = until_it_rests(engine_pid)
        pass_storm(storm, count, directory)
        engine_s = until_it_rests(engine_pid) - engine_s
        if viewer is None or form is None:
            return engine_s
        viewer_s = until_it_rests(viewer.pid) - viewer_s
        viewer.send_signal(signal.SIGTERM)
        viewer.wait()
    with output.open("rb") as lines:
        told = sum(FORMS[form] in line for line in lines)
    print(f"{form}: viewer {viewer_s / EVENTS_OF_ONE / count * 1e6:.1f} us an event, ", end="")
    print(f"{told:,} of {2 * count:,} execs and exits told, ", end="")
    return engine_s


def environment(directory: Path) -> dict[str, str]:
    """Give the environment of an engine, and of who asks it."""
    return {**os.environ, "PROC_CACHE_SOCKET": str(directory / "socket")}


@contextmanager
def engine_in(directory: Path, count: int) -> Iterator[int]:
    """Run an engine; gives its pid."""
    serve = [sys.executable, "-m", "proc_cache", "serve", "--capacity", str(2 * count)]
    with subprocess.Popen(serve, env=environment(directory), stderr=subprocess.PIPE) as engine:
        assert engine.stderr is not None
        engine.stderr.readline()  # it answers
        try:
            yield engine.pid
        finally:
            engine.send_signal(signal.SIGTERM)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        storm = compile_storm(directory)
        with engine_in(directory, count) as pid:
            alone_s = measure(storm, count, directory, pid, None)
            print(f"engine alone {alone_s / EVENTS_OF_ONE / count * 1e6:.1f} us an event")
            for form in FORMS:
                engine_s = measure(storm, count, directory, pid, form)
                print(f"engine {(engine_s - alone_s) / EVENTS_OF_ONE / count * 1e6:.1f} us more")


if __name__ == "__main__":
    main()
