"""What a retained process costs, what becomes dearer with many of them, and how long the engine pauses.

    python -m tests.benchmarks.retained [COUNT...]

A life is a Fork, an Exec and an Exit, applied; when it is timed, each evicts an older one. A chain is six links in
the one-line form, a descent a "no" over the same six. The scan is of the real /proc: what grows in it is the look
for who has ended. Each process forks, runs a program with an argv of 91 bytes of its own, and exits. "pids wrap"
has them share the 32,768 pids of a small machine, "all pids" gives each its own (pid_max is 4,194,304 on a large
one).
"""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from proc_cache import PidNode, build_chain, is_descendant
from proc_cache.engine.core import Engine
from proc_cache.events import Exec
from proc_cache.kernel.clocks import TICK_NS, boottime_ns
from proc_cache.kernel.procfs import ProcReader, Sighting, Stat
from proc_cache.process import CacheParams, Node, Source

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL_PID_MAX = 32768
LARGE_PID_MAX = 1 << 22
STEP_NS = 300_000


class OneProgram(ProcReader):
    """Shows whatever is asked for as the program that was set last; the rest is the real /proc."""

    seen: Sighting | None = None

    def see(self, pid: int, *, with_tids: bool = False) -> Sighting | None:
        return self.seen or super().see(pid, with_tids=with_tids)

    def program(self, pid: int, number: int, start_ns: int) -> None:
        argv = b"/usr/bin/python3\0-m\0some.module.name\0--option=value\0/path/to/a/file/%022d\0" % number
        self.seen = Sighting(Stat(pid, b"python3", "R", 1, 77, 0, 1, start_ns // TICK_NS), 0, argv, ())


def rss_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def live(engine: Engine, reader: OneProgram, pid: int, now_ns: int, number: int) -> None:
    """Let one process live from its Fork to its Exit, as the kernel tells it."""
    tree = engine.tree.process_tree
    tree.fork((0, 0, now_ns, 1, 1, pid, pid))
    reader.program(pid, number, now_ns)
    tree.exec(Exec(0, 0, now_ns + 1000, pid, pid))
    tree.exit((0, 0, now_ns + 250_000 + number % 1000, pid, pid, 0, 17, 0, 1))


def fill(count: int, pid_max: int) -> tuple[Engine, float]:
    """An engine with so many dead processes, and how many bytes each took."""
    reader = OneProgram()
    engine = Engine(CacheParams(count + count // 512, 1e9), reader=reader)
    init = Node(1, 1, 0, Source.FORK, None, "init", Source.SNAPSHOT, 0)
    engine.table.add(init)
    before = rss_bytes()
    now_ns = boottime_ns() - count * STEP_NS
    for number in range(count):
        pid = 300 + number % (pid_max - 300)
        live(engine, reader, pid, now_ns, number)
        now_ns += STEP_NS
    reader.seen = None
    return engine, (rss_bytes() - before) / count


def longest_ms(work: Callable[[], object], rounds: int = 5) -> float:
    longest = 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        longest = max(longest, time.perf_counter() - began)
    return longest * 1000


LIVES, ROUNDS, QUERIES, LINKS = 2000, 7, 2000, 6


def best_us(work: Callable[[], object], times: int) -> float:
    """Give what one of so many takes, at best."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best * 1e6 / times


def measure_costs(engine: Engine, pid_max: int) -> tuple[float, float, float]:
    """Give microseconds a life, a chain and a descent."""
    reader = engine.reader
    assert isinstance(reader, OneProgram)
    pids = itertools.cycle(range(300, min(pid_max, SMALL_PID_MAX)))
    now_ns, numbers = itertools.count(boottime_ns(), STEP_NS), itertools.count(1 << 40)

    def lives() -> None:
        for _ in range(LIVES):
            live(engine, reader, next(pids), next(now_ns), next(numbers))

    life_us = best_us(lives, LIVES)
    reader.seen = None
    parent = 0
    for pid in range(LARGE_PID_MAX, LARGE_PID_MAX + LINKS):  # whom no process of this machine is taken for
        engine.tree.process_tree.fork((0, 0, next(now_ns), parent, parent, pid, pid))
        engine.tree[pid] = PidNode(parent, f"name{pid}", engine.table.newest[pid].start_ns)
        engine.table.newest[pid].uid = 0
        parent = pid

    def chains() -> None:
        for _ in range(QUERIES):
            build_chain(engine.tree, engine.cache, parent)

    def descents() -> None:
        for _ in range(QUERIES):
            is_descendant(engine.tree, parent, "none")

    return life_us, best_us(chains, QUERIES), best_us(descents, QUERIES)


def measure(count: int, pid_max: int) -> None:
    gc.disable()
    engine, bytes_each = fill(count, pid_max)
    name = "pids wrap" if pid_max == SMALL_PID_MAX else "all pids"
    scan_ms = longest_ms(engine.scan)
    stats_ms = longest_ms(engine.stats)
    gc.freeze()
    collect_ms = longest_ms(lambda: gc.collect(0))
    life_us, chain_us, descent_us = measure_costs(engine, pid_max)
    print(
        f"{count:>9,} {name:<10} {bytes_each:5.0f} bytes each   life {life_us:5.1f} us   "
        f"chain {chain_us:4.1f} us   descent {descent_us:4.1f} us   longest: scan {scan_ms:7.1f} ms   "
        f"stats {stats_ms:6.2f} ms   collection {collect_ms:5.2f} ms"
    )


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        measure(int(sys.argv[2]), int(sys.argv[3]))
        return
    print(f"Python {sys.version.split()[0]}, longest of 5")
    for count in map(int, sys.argv[1:] or ("1000", "10000", "100000", "1000000")):
        for pid_max in (SMALL_PID_MAX, LARGE_PID_MAX):  # each in a process of its own: memory is not given back
            subprocess.run([sys.executable, "-m", __spec__.name, "one", str(count), str(pid_max)], check=True)


if __name__ == "__main__":
    main()
