"""What recording costs: `serve` beside two storms of `/bin/true`, with --record and without.

    python -m tests.benchmarks.recording [COUNT]

Prints the rate of the storm, the CPU of the engine and of the process that writes, as shares of one core, and
whether every process of the storm is in the file with its end. As root; needs a C compiler.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

COUNT = 20_000
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_STORM = """
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    FILE *ends = fopen(argv[2], "w");
    for (long left = atol(argv[1]); left > 0; left--) {
        int status;
        pid_t pid = vfork();
        if (pid == 0) { execl("/bin/true", "true", (char *)0); _exit(127); }
        if (pid < 0 || waitpid(pid, &status, 0) != pid) return 1;
        fprintf(ends, "%d %d\\n", (int)pid, status);
    }
    return fclose(ends);
}
"""


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def writer_of(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def run(storm: Path, count: int, directory: Path, *, is_recording: bool) -> None:
    history = directory / "history"
    options = ["--record", str(history)] if is_recording else []
    env = {**os.environ, "PROC_CACHE_SOCKET": str(directory / "socket")}
    serve = [sys.executable, "-m", "proc_cache", "serve", "--capacity", str(2 * count), *options]
    with subprocess.Popen(serve, env=env, stderr=subprocess.PIPE) as engine:
        assert engine.stderr is not None
        engine.stderr.readline()  # it answers
        writer = writer_of(engine.pid)
        before = cpu_s(engine.pid), cpu_s(writer) if writer else 0.0
        began = time.monotonic()
        files = [directory / "ends-0", directory / "ends-1"]
        storms = [subprocess.Popen([storm, str(count // 2), str(file)]) for file in files]
        assert all(process.wait() == 0 for process in storms)
        lasted = time.monotonic() - began
        time.sleep(1)  # the writer is a moment behind
        engine_share = (cpu_s(engine.pid) - before[0]) / lasted
        writer_share = (cpu_s(writer) - before[1]) / lasted if writer else 0.0
        engine.send_signal(signal.SIGTERM)
        said = engine.stderr.read().decode().strip()
    print(
        f"{'with' if is_recording else 'without'} --record: {count / lasted:,.0f} fork+exec+exit a second; "
        f"engine {engine_share:.0%}, writer {writer_share:.0%} of a core; {said}"
    )
    if is_recording:
        made = Counter(line for file in files for line in file.read_text().split("\n") if line)
        with sqlite3.connect(history) as database:
            kept = Counter(
                f"{pid} {status}" for pid, status in database.execute("SELECT pid, exit_status FROM process")
            )
        print(f"of {count:,} processes {(made & kept).total():,} are in the file with their ends")


def compile_storm(directory: Path) -> Path:
    """Compile the storm: `storm COUNT FILE`."""
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("needs a C compiler: `apt-get install gcc`")
    (directory / "storm.c").write_text(_STORM)
    storm = directory / "storm"
    subprocess.run([compiler, "-O2", "-o", str(storm), str(directory / "storm.c")], check=True)
    return storm


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    for is_recording in (False, True):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            run(compile_storm(directory), count, directory, is_recording=is_recording)


if __name__ == "__main__":
    main()
