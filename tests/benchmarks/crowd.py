"""A crowd of processes that do nothing, and the floor of reading them: two programs in C, compiled on the spot."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# `crowd N`: N children that wait until this ends; their pids on stdout, a line each, then an empty line.
_CROWD = """
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (long left = argc > 1 ? atol(argv[1]) : 0; left > 0; left--) {
        pid_t pid = fork();
        if (pid < 0) return 1;
        if (pid == 0) { prctl(PR_SET_PDEATHSIG, SIGKILL); pause(); _exit(0); }
        printf("%d\\n", pid);
    }
    printf("\\n");
    fflush(stdout);
    pause();
}
"""
# Opens, reads and closes the stat of every process, as fast as it can be done; prints nanoseconds.
_STAT_LOOP = """
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    struct timespec from, until;
    struct dirent *entry;
    char path[300], data[4096];
    clock_gettime(CLOCK_MONOTONIC, &from);
    DIR *proc = opendir("/proc");
    while ((entry = readdir(proc))) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) continue;
        if (read(file, data, sizeof data) < 0) data[0] = 0;
        close(file);
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    printf("%ld\\n", (until.tv_sec - from.tv_sec) * 1000000000L + until.tv_nsec - from.tv_nsec);
}
"""


@contextmanager
def crowd(count: int) -> Iterator[list[int]]:
    """Have so many processes; gives their pids."""
    with tempfile.TemporaryDirectory() as directory:
        program = _compile(directory, "crowd", _CROWD)
        with subprocess.Popen([program, str(count)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                pids = [int(line) for line in iter(process.stdout.readline, "\n")]
                yield pids
            finally:
                process.kill()


@contextmanager
def stat_loop() -> Iterator[str]:
    """Have the program that reads every stat; gives its path."""
    with tempfile.TemporaryDirectory() as directory:
        yield _compile(directory, "stat-loop", _STAT_LOOP)


def _compile(directory: str, name: str, text: str) -> str:
    source, program = Path(directory, f"{name}.c"), str(Path(directory, name))
    source.write_text(text)
    subprocess.run(["cc", "-O2", "-w", "-o", program, str(source)], check=True)
    return program
