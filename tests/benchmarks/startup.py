"""How long a query takes, as a whole process: beside an empty Python, over many PIDs, over many processes.

    python -m tests.benchmarks.startup [RUNS]

Run it with the Python of an environment where proc-cache is installed from a wheel (an editable one may have no
byte code). Medians of all runs, taken in turn; an engine runs for those that ask one.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .crowd import crowd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RUNS = 30
MANY_RUNS = 7
PROCESSES = 5000
ASKED = 10_000
PYTHON = sys.executable
SCRIPT = str(Path(PYTHON).with_name("proc-cache"))
MODULE = [PYTHON, "-m", "proc_cache"]
PS = ["ps", "-e", "-o", "pid,ppid,user,comm,lstart"]


def elapsed_ms(command: Sequence[str], env: Mapping[str, str], stdin: bytes = b"") -> float:
    """Time one process, from before it is made until it has ended and its output was read."""
    began = time.perf_counter()
    subprocess.run(command, env=env, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/")
    return (time.perf_counter() - began) * 1000


def medians(
    commands: Mapping[str, Sequence[str]], env: Mapping[str, str], runs: int, stdin: bytes = b""
) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(elapsed_ms(command, env, stdin))
    return {name: statistics.median(measured) for name, measured in times.items()}


@contextmanager
def engine() -> Iterator[tuple[dict[str, str], int]]:
    """Have an engine; gives the environment in which it is asked, and its pid."""
    with tempfile.TemporaryDirectory() as directory:
        env = {**os.environ, "PROC_CACHE_SOCKET": f"{directory}/socket"}
        with subprocess.Popen([*MODULE, "serve"], env=env, stderr=subprocess.PIPE, cwd="/") as process:
            assert process.stderr is not None
            process.stderr.readline()  # it answers
            yield env, process.pid
            process.send_signal(signal.SIGTERM)


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def print_as_ratios(figures: Mapping[str, float]) -> None:
    """Print each figure, and how many times the first it is."""
    floor = next(iter(figures.values()))
    for name, median in figures.items():
        print(f"{name:<58} {median:7.1f} ms   {median / floor:5.2f} x")


def one_query(runs: int) -> None:
    """A query of one PID, with and without an engine."""
    nowhere = {**os.environ, "PROC_CACHE_SOCKET": "/nonexistent/socket"}
    me = str(os.getpid())
    empty = {"python -c pass": [PYTHON, "-c", "pass"]}
    alone = {
        "python -m proc_cache chain PID, no engine": [*MODULE, "chain", me],
        "proc-cache chain PID, no engine": [SCRIPT, "chain", me],
        "proc-cache descendant PID CMD, no engine": [SCRIPT, "descendant", me, "no-such"],
        "proc-cache chain --help (Typer)": [SCRIPT, "chain", "--help"],
    }
    print_as_ratios(medians(empty | alone, nowhere, runs))
    with engine() as (env, _):
        dead = subprocess.Popen(["true"])
        dead.wait()
        asking = {
            "proc-cache chain PID, of a dead one, from an engine": [SCRIPT, "chain", str(dead.pid)],
            "proc-cache descendant PID CMD, the same": [SCRIPT, "descendant", str(dead.pid), "no-such"],
        }
        print_as_ratios(medians(empty | asking, env, runs))


def many_pids(pids: list[int]) -> None:
    """`chain -` over many PIDs, an empty one's time taken off."""
    stdin = b"".join(b"%d\n" % pids[number % len(pids)] for number in range(ASKED))
    with engine() as (env, pid):
        for name, options in (("from /proc", ["--no-engine"]), ("from an engine", [])):
            command = {name: [SCRIPT, "chain", *options, "-"]}
            (whole_ms,) = medians(command, env, MANY_RUNS, stdin).values()
            (empty_ms,) = medians(command, env, MANY_RUNS).values()
            each_us = (whole_ms - empty_ms) * 1000 / ASKED
            print(f"{f'chain - over {ASKED:,} PIDs, {name}':<58} {each_us:7.1f} us each")
        print(f"{f'serve, idle, with {len(pids):,} processes':<58} {resident_mib(pid):7.1f} MiB")


def all_processes() -> None:
    """`snapshot` beside ps."""
    nowhere = {**os.environ, "PROC_CACHE_SOCKET": "/nonexistent/socket"}
    commands = {
        " ".join(PS): PS,
        "proc-cache snapshot --format ndjson, no engine": [SCRIPT, "snapshot", "--format", "ndjson"],
        "proc-cache snapshot, no engine": [SCRIPT, "snapshot"],
    }
    print_as_ratios(medians(commands, nowhere, MANY_RUNS))


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    print(f"{runs} runs each, Python {sys.version.split()[0]}")
    one_query(runs)
    with crowd(500) as few, engine() as (_, pid):
        print(f"{f'serve, idle, with {len(few)} processes more':<58} {resident_mib(pid):7.1f} MiB")
    with crowd(PROCESSES) as pids:
        print(f"with {PROCESSES:,} processes more:")
        many_pids(pids)
        all_processes()


if __name__ == "__main__":
    main()
