"""How long a one-shot query takes, as a whole process, beside an empty Python.

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
from pathlib import Path

RUNS = 30


def elapsed_ms(command: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    python = sys.executable
    script = str(Path(python).with_name("proc-cache"))
    module = [python, "-m", "proc_cache"]
    with tempfile.TemporaryDirectory() as directory:
        env = {**os.environ, "PROC_CACHE_SOCKET": f"{directory}/socket"}
        with subprocess.Popen([*module, "serve"], env=env, stderr=subprocess.PIPE, cwd="/") as engine:
            assert engine.stderr is not None
            engine.stderr.readline()  # it answers
            dead = subprocess.Popen(["true"])
            dead.wait()
            commands = {
                "python -c pass": [python, "-c", "pass"],
                "python -m proc_cache chain PID, from /proc": [*module, "chain", "--no-engine", str(os.getpid())],
                "proc-cache chain PID, from /proc": [script, "chain", "--no-engine", str(os.getpid())],
                "proc-cache chain PID, of a dead one, from an engine": [script, "chain", str(dead.pid)],
                "proc-cache descendant PID CMD, from an engine": [script, "descendant", str(dead.pid), "no-such"],
                "proc-cache chain --help (Typer)": [script, "chain", "--help"],
            }
            os.chdir("/")
            times: dict[str, list[float]] = {name: [] for name in commands}
            for _ in range(runs):
                for name, command in commands.items():
                    times[name].append(elapsed_ms(command, env))
            engine.send_signal(signal.SIGTERM)
    floor = statistics.median(times["python -c pass"])
    print(f"{runs} runs each, Python {sys.version.split()[0]}")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:<55} {median:6.1f} ms   {median / floor:4.2f} x")


if __name__ == "__main__":
    main()
