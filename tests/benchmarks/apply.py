"""CPU time for each message decoded and applied, on a stream of real messages that this records itself.

    python -m tests.benchmarks.apply [MESSAGES]

Beside it, on the same stream: plain `struct` and a dict (the floor), and that with a cachetools.TTLCache write
for each process. The engine runs with all counting on and without reading /proc: those processes are gone.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from itertools import chain, repeat
from struct import Struct
from typing import TYPE_CHECKING, cast

from cachetools import TTLCache

from proc_cache.engine.collector import IdleCollector
from proc_cache.engine.core import Engine
from proc_cache.kernel.netlink import ProcConnector
from proc_cache.process import PID_TREE_CAP, PID_TREE_TTL_SECS

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

MESSAGES = 200_000
ROUNDS = 5
EXEC_EVERY = 10
_EVENT = Struct("=36xIIQiiii")
_SEQ, _SEQ_AT = Struct("=I"), 24
_HEAD, _HEAD_AT = Struct("=IIQ"), 36
FORK, EXIT = 1, 0x80000000


def storm() -> None:
    """Fork children that exit at once, every tenth running a program first, until killed."""
    count = 0
    while True:
        count += 1
        pid = os.fork()
        if pid == 0:
            if count % EXEC_EVERY == 0:
                os.execv("/bin/true", ["true"])
            os._exit(0)
        os.waitpid(pid, 0)


def record(messages: int) -> list[bytes]:
    """Take that many messages off the connector while two storms run."""
    stream: list[bytes] = []
    with ProcConnector.open() as connector:
        storms = [subprocess.Popen([sys.executable, "-m", "tests.benchmarks.apply", "--storm"]) for _ in range(2)]
        try:
            while len(stream) < messages:
                datagram = connector.receive()
                if datagram:
                    stream.append(datagram)
                elif datagram == b"":
                    connector.wait(1)
        finally:
            for process in storms:
                process.kill()
                process.wait()
    return stream


class Recorded:
    """Gives a recorded stream as a connector would."""

    receive_buffer_bytes = 0
    exec_lane = None

    def __init__(self, stream: list[bytes]) -> None:
        self._datagrams = chain(stream, repeat(b""))
        self.receive = self._datagrams.__next__

    def wait(self, _timeout_s: float) -> bool:
        return False

    def hold_back(self, is_held_back: bool) -> None:
        pass

    def close(self) -> None:
        pass


def pump(engine: Engine, stream: list[bytes]) -> None:
    """Have an engine receive a stream to its end, with nothing to read in /proc."""
    engine.tree.process_tree.reader = None
    engine.listen(cast("ProcConnector", Recorded(stream)))
    while engine.pump(0):
        pass
    assert engine.stats().lost == 0, engine.stats()


def apply_from_empty(stream: list[bytes]) -> None:
    """The engine's own loop from its beginning: memory grows until the tree is full."""
    engine = Engine()
    pump(engine, stream)
    assert engine.stats().messages == len(stream)
    assert engine.stats().forks > len(stream) // 3


class FullEngine:
    """The same in an engine that has been full for long: every process that comes evicts another."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.rounds = 0
        self._seqs: dict[int, int] = {}  # the last one given out, by CPU

    def __call__(self, stream: list[bytes]) -> None:
        pump(self.engine, stream)

    def next_stream(self, stream: list[bytes]) -> list[bytes]:
        """Give the same messages as they would look at a later time, with sequences that go on."""
        self.rounds += 1
        return [self._restamp(bytearray(datagram)) for datagram in stream]

    def _restamp(self, datagram: bytearray) -> bytes:
        what, cpu, timestamp_ns = _HEAD.unpack_from(datagram, _HEAD_AT)
        self._seqs[cpu] = self._seqs.get(cpu, 0) + 1
        _SEQ.pack_into(datagram, _SEQ_AT, self._seqs[cpu])
        _HEAD.pack_into(datagram, _HEAD_AT, what, cpu, timestamp_ns + self.rounds * 10**12)
        return bytes(datagram)


def apply_plain(stream: list[bytes]) -> None:
    """The floor: one unpack, one dict."""
    apply_to({}, stream)


def apply_ttl_cache(stream: list[bytes]) -> None:
    """The same with an entry of a TTLCache for each process."""
    apply_to(TTLCache(PID_TREE_CAP, PID_TREE_TTL_SECS), stream)


def apply_to(nodes: MutableMapping[int, tuple[int, str, int]], stream: list[bytes]) -> None:
    """Keep each process's parent, name and start in a mapping, and look it up when it exits."""
    for datagram in stream:
        what, _cpu, timestamp_ns, a, b, c, d = _EVENT.unpack_from(datagram)
        if what == FORK:
            if c == d:
                nodes[d] = (b, "", timestamp_ns)
        elif what == EXIT and a == b:
            nodes.get(a)


def measure(way: Callable[[list[bytes]], None], stream: list[bytes]) -> float:
    """Give CPU microseconds for each message, the median of some rounds."""
    figures = []
    for _ in range(ROUNDS):
        fresh = way.next_stream(stream) if isinstance(way, FullEngine) else stream
        gc.collect()
        began = time.process_time()
        way(fresh)
        figures.append((time.process_time() - began) / len(stream) * 1e6)
    return statistics.median(figures)


def main() -> None:
    """Record, measure, print."""
    stream = record(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES)
    print(f"{len(stream)} recorded messages, median of {ROUNDS} rounds, Python {sys.version.split()[0]}")
    floor = measure(apply_plain, stream)
    IdleCollector()
    for name, way in (
        ("struct and a dict", apply_plain),
        ("struct and a TTLCache", apply_ttl_cache),
        ("the engine, from empty", apply_from_empty),
        ("the engine, full", FullEngine()),
    ):
        cost = measure(way, stream)
        print(f"{name:24} {cost:5.2f} us a message  {cost / floor:4.1f} x")


if __name__ == "__main__":
    if sys.argv[1:] == ["--storm"]:
        storm()
    main()
