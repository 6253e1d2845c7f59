"""A scan of many processes: pid, birth parent, name, user and start of each, beside psutil and a loop in C.

    python -m tests.benchmarks.scan [PROCESSES [RUNS]]

Every reading is the first of a fresh interpreter, for psutil keeps what it has seen. The loop in C opens, reads
and closes each /proc/PID/stat, and keeps nothing. psutil is not installed with the project (`pip install psutil`).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from importlib.util import find_spec

from .crowd import crowd, stat_loop

PROCESSES, RUNS = 5000, 9

_OURS = """
import gc, time
from proc_cache.engine.core import Engine
from proc_cache.kernel.procfs import {reader}
gc.set_threshold(100_000)  # as the commands do
engine = Engine(reader={reader}())
began = time.perf_counter()
engine.scan()
print(int((time.perf_counter() - began) * 1e9))
"""
_BARE = """
import os, time
def scan():
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                file = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            uid, data = os.fstat(file).st_uid, os.read(file, 4096)
            os.close(file)
            end = data.rindex(b")")
            fields = data[end + 2:].split(b" ", 20)
            found[int(name)] = data[data.index(b"(") + 1:end], int(fields[1]), uid, int(fields[19])
began = time.perf_counter()
scan()
print(int((time.perf_counter() - began) * 1e9))
"""
_PSUTIL = """
import psutil, time
began = time.perf_counter()
found = [each.info for each in psutil.process_iter(["pid", "ppid", "name", "username", "create_time"])]
print(int((time.perf_counter() - began) * 1e9))
"""


def main() -> None:
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else PROCESSES
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else RUNS
    with crowd(processes), stat_loop() as loop:
        commands = {
            "C, open/read/close of stat": [loop],
            "Python, the same, fstat, a dict": [sys.executable, "-c", _BARE],
            "Engine.scan, these fields": [sys.executable, "-c", _OURS.format(reader="BriefReader")],
            "Engine.scan, arguments too": [sys.executable, "-c", _OURS.format(reader="ProcReader")],
        }
        if find_spec("psutil"):
            commands["psutil.process_iter"] = [sys.executable, "-c", _PSUTIL]
        else:
            print("without psutil, which is not installed here")
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                times[name].append(int(done.stdout) / 1e6)
    floor = statistics.median(times["C, open/read/close of stat"])
    print(f"{processes:,} processes, {runs} runs each, Python {sys.version.split()[0]}")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:<34} {median:7.1f} ms   {median / floor:5.2f} x")


if __name__ == "__main__":
    main()
