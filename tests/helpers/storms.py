"""Programs in C that make many processes and write down what they made: what an engine says can be compared."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# `family-storm N FILE`: workers, each of which lets 100 processes be born and die, until there were N. Each of
# those, and each worker, is a record in FILE: pid, ppid, wait status, and when it lived (CLOCK_REALTIME, ns).
_FAMILY_STORM = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
struct record { int32_t pid, ppid, status, unused; int64_t from_ns, until_ns; };
static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}
static void die(long number) {
    if (number % 10 == 7) { signal(SIGTERM, SIG_DFL); kill(getpid(), SIGTERM); pause(); }
    _exit(number % 251);
}
static void await(int file, pid_t pid, int64_t from_ns) {
    struct record told = { pid, getpid(), 0, 0, from_ns, 0 };
    if (waitpid(pid, &told.status, 0) != pid) _exit(99);
    told.until_ns = now();
    if (write(file, &told, sizeof told) != sizeof told) _exit(98);
}
int main(int argc, char **argv) {
    if (argc != 3) return 2;
    long left = atol(argv[1]);
    int file = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    for (; left > 0; left -= 101) {
        int64_t worker_from_ns = now();
        pid_t worker = fork();
        if (worker == 0) {
            for (long number = left; number > left - 100 && number > 0; number--) {
                int64_t from_ns = now();
                pid_t pid = vfork();
                if (pid == 0) die(number);
                if (pid < 0) _exit(97);
                await(file, pid, from_ns);
            }
            die(left);
        }
        if (worker < 0) return 1;
        await(file, worker, worker_from_ns);
    }
    return 0;
}
"""

# `ladder N`: N generations, each of which forks one child and dies; this program adopts and reaps them. It writes
# the pids of the first and of the last, which waits for the end of stdin.
_LADDER = """
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    long generations = argc > 1 ? atol(argv[1]) : 1;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) return 1;
    pid_t first = fork();
    if (first < 0) return 1;
    if (first == 0) {
        first = getpid();
        for (long number = 1; number < generations; number++) {
            pid_t pid = fork();
            if (pid < 0) _exit(1);
            if (pid > 0) _exit(number % 200);
        }
        char byte;
        printf("%d %d\\n", (int)first, (int)getpid());
        fflush(stdout);
        while (read(0, &byte, 1) > 0) {}
        _exit(201);
    }
    while (wait(0) > 0) {}
    return 0;
}
"""

_RECORD = struct.Struct("=iiiiqq")


class Lived(NamedTuple):
    """One process as the storm itself wrote it down; it lived within these two times, and no other had its pid."""

    pid: int
    ppid: int
    status: int
    from_ns: int
    until_ns: int


def read_family_storm(path: Path) -> list[Lived]:
    """Read what a family-storm wrote."""
    return [
        Lived(pid, ppid, status, from_ns, until_ns)
        for pid, ppid, status, _, from_ns, until_ns in _RECORD.iter_unpack(path.read_bytes())
    ]


def build_family_storm(directory: Path) -> Path:
    return compile_program(directory, "family-storm", _FAMILY_STORM, "-static")


def build_ladder(directory: Path) -> Path:
    return compile_program(directory, "ladder", _LADDER, "-static")


def compile_program(directory: Path, name: str, text: str, *flags: str) -> Path:
    """Compile a program in C; skips the test where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: so many processes cannot be made fast enough")
    source, program = directory / f"{name}.c", directory / name
    source.write_text(text)
    subprocess.run([compiler, "-O2", "-Wall", *flags, "-o", str(program), str(source)], check=True)
    return program
