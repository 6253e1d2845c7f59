"""Start-up in a storm, and messages that were lost: nothing falls between, and what was lost is told exactly.

How many are missing is counted in two more ways than the engine's: the kernel's own figure for the socket
(sk_drops in /proc/net/netlink), and a second connector whose buffer is large enough for everything.
"""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from proc_cache import Engine
from proc_cache.kernel import netlink
from proc_cache.kernel.clocks import TICK_NS
from proc_cache.kernel.netlink import ProcConnector
from tests.helpers.cli import Watching
from tests.helpers.processes import (
    Forked,
    chain_by_ps,
    connector_inodes,
    fork,
    netlink_drops,
    pump_until,
    rename,
    running,
    stat_fields,
    touch_every_cpu,
    wait_until,
)

if TYPE_CHECKING:
    import socket
    from pathlib import Path

pytestmark = pytest.mark.kernel

SMALL_BUFFER_BYTES = 128 << 10  # doubled by the kernel: some 340 messages
STORM = 10_000  # forks; each is a Fork and an Exit
BIG_STORM = 150_000


def living_by_proc() -> dict[int, int]:
    """Start (in ticks) of every process that /proc shows, but for zombies that have no thread left."""
    living = {}
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        try:
            fields = stat_fields(pid)
            if fields[0] in (b"Z", b"X") and len(os.listdir(f"/proc/{pid}/task")) == 1:
                continue
            living[pid] = int(fields[19])
        except OSError:
            continue
    return living


def differences(engine: Engine) -> list[str]:
    """Where the engine's living and those of /proc are not the same processes, by PID and start."""
    by_proc = living_by_proc()
    by_engine = {pid: node.start_ns // TICK_NS for pid, node in engine.table.newest.items() if not node.exit_ns}
    wrong = [f"{pid} lives and is not in the table" for pid in by_proc.keys() - by_engine.keys()]
    wrong += [f"{pid} is alive in the table alone" for pid in by_engine.keys() - by_proc.keys()]
    wrong += [
        f"{pid} started at {by_proc[pid]}, not {by_engine[pid]}"
        for pid in by_proc.keys() & by_engine.keys()
        if not -2 <= by_proc[pid] - by_engine[pid] <= 1
    ]
    return wrong


def pump_until_same(engine: Engine) -> None:
    """Other processes come and go meanwhile: what differs for a moment is not wrong, what stays is."""
    latest: list[str] = []

    def is_same() -> bool:
        latest[:] = differences(engine)
        return not latest

    try:
        pump_until(engine, is_same, "the table has what /proc has")
    except AssertionError as error:
        raise AssertionError(f"{error}: {latest}") from error


def churn() -> None:
    """Keep forking: most die at once, some live, some become grandparents."""
    kept: list[int] = []
    while True:
        pid = fork(lambda: None)
        os.waitpid(pid, 0)
        kept.append(fork(lambda: os.wait() if fork(signal.pause) else None))
        if len(kept) > 20:
            oldest = kept.pop(0)
            os.kill(oldest, signal.SIGKILL)
            os.waitpid(oldest, 0)


@pytest.mark.parametrize("attempt", range(5))
def test_nothing_falls_between_while_the_engine_starts_in_a_storm(attempt: int, fork_storm: Path) -> None:
    with ExitStack() as storm:
        for _ in range(2):
            pid = fork(churn)
            storm.callback(os.waitpid, pid, 0)
            storm.callback(os.kill, pid, signal.SIGKILL)
        storm.enter_context(running([os.fsencode(fork_storm), b"100000000"]))
        with Engine() as engine:
            engine.start()
            born_before = engine.stats().forks
            pump_until(engine, lambda: engine.stats().forks >= born_before + 200, "the storm goes on")
            storm.close()
            pump_until_same(engine)
            stats = engine.stats()
            assert (stats.scans, stats.lost, stats.malformed) == (1, 0, 0)  # no scan repaired it afterwards
            assert stats.lost_is_exact


class RecordedConnector(ProcConnector):
    """Keeps a copy of what it receives."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.received: list[bytes] = []

    def receive(self) -> bytes | None:
        datagram = super().receive()
        if datagram:
            self.received.append(datagram)
        return datagram

    def drain(self) -> None:
        datagram = self.receive()
        while datagram:
            datagram = self.receive()
        assert datagram is not None, "the buffer of the second connector ran over"


def by_cpu(datagrams: list[bytes]) -> dict[int, list[int]]:
    """The counters of the messages by CPU, taken from the bytes without the package's decoder."""
    counters: dict[int, list[int]] = {}
    for datagram in datagrams:
        assert len(datagram) == 76
        (seq,), (cpu,) = struct.unpack_from("=I", datagram, 24), struct.unpack_from("=I", datagram, 40)
        counters.setdefault(cpu, []).append(seq)
    return counters


def missing_by_second_connector(since: dict[int, int], lossy: list[bytes], complete: list[bytes]) -> int:
    """How many messages the complete stream has more, after `since` and up to the lossy one's last."""
    complete_by_cpu = by_cpu(complete)
    missing = 0
    for cpu, counters in by_cpu(lossy).items():
        sent = [seq for seq in complete_by_cpu[cpu] if since[cpu] < seq <= counters[-1]]
        missing += len(sent) - len(counters)
    return missing


@pytest.fixture
def deaf_engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with a small buffer, that has heard of every CPU."""
    engine = Engine()
    with monkeypatch.context() as patched:
        patched.setattr(netlink, "RECEIVE_BUFFER_BYTES", SMALL_BUFFER_BYTES)
        engine.start(RecordedConnector.open())
    hear_every_cpu(engine)
    return engine


def hear_every_cpu(engine: Engine) -> None:
    """Go on until a message of each CPU has come through; while the buffer is full they are lost too."""
    cpus = os.sched_getaffinity(0)
    drops = -1
    while drops != netlink_drops(engine.intake.connector.inode()):
        drops = netlink_drops(engine.intake.connector.inode())
        while engine.pump(0):
            pass
        touch_every_cpu()
        with Forked() as marker:
            pump_until(engine, lambda pid=marker.pid: pid in engine.table.newest, "heard again")  # type: ignore[misc]
        while engine.pump(0):
            pass
    assert cpus <= engine.ledger.last.keys()


def test_the_number_of_lost_messages_is_exact_and_the_tree_is_repaired(
    deaf_engine: Engine, fork_storm: Path
) -> None:
    engine = deaf_engine
    connector = engine.intake.connector
    assert isinstance(connector, RecordedConnector)
    inode = connector.inode()
    with engine, RecordedConnector.open() as second, Forked(lambda: rename(b"lived-before")) as witness:
        hear_every_cpu(engine)
        assert engine.stats().lost == netlink_drops(inode)
        # The second one has everything from before here; what the first one receives from here is compared.
        lost_before = engine.stats().lost
        since = {cpu: event[0] for cpu, event in engine.ledger.last.items()}
        connector.received.clear()

        died_unseen = Forked(lambda: rename(b"died-unseen"))
        pump_until(engine, lambda: died_unseen.pid in engine.table.newest, "known before the storm")
        scans_before = engine.stats().scans
        subprocess.run([fork_storm, str(STORM)], check=True)
        died_unseen.kill()
        with Forked(lambda: rename(b"born-unseen")) as born_unseen:
            hear_every_cpu(engine)
            second.drain()

            stats = engine.stats()
            lost = stats.lost - lost_before
            assert lost > STORM
            assert stats.lost == netlink_drops(inode)
            assert stats.lost_is_exact
            assert stats.overruns >= 1
            assert lost == missing_by_second_connector(since, connector.received, second.received)

            # Repaired: the living are the living again, with their chains.
            assert stats.scans > scans_before
            pump_until_same(engine)
            for pid, name in ((born_unseen.pid, "born-unseen"), (witness.pid, "lived-before")):
                expected = chain_by_ps(pid)
                chain = engine.chain(pid)
                assert chain.complete
                links = [f"{link.pid}|{link.cmd}|{link.user}" for link in chain.links]
                assert ";".join(links) == expected
                assert links[0] == f"{pid}|{name}|root"
            ended = next(node for node in engine.table.owners(died_unseen.pid) if node.cmd == "died-unseen")
            assert ended.exit_ns
            assert ended.exit_status is None  # its Exit was lost: that it is gone is all that is known

            # Told where it matters, and only there.
            assert engine.chain(witness.pid).lost_events >= lost
        with Forked(lambda: rename(b"born-after")) as born_after:
            pump_until(engine, lambda: born_after.pid in engine.table.newest, "known")
            assert engine.chain(born_after.pid).lost_events == 0


def test_a_loss_nobody_sends_after_is_still_told_as_an_overrun(deaf_engine: Engine, fork_storm: Path) -> None:
    with deaf_engine as engine:
        overruns = engine.stats().overruns
        subprocess.run([fork_storm, "1000"], check=True)
        while engine.pump(0):
            pass
        assert engine.stats().overruns > overruns
        hear_every_cpu(engine)
        assert engine.stats().lost == netlink_drops(engine.intake.connector.inode())


def read_until_every_cpu_is_heard(watch: Watching) -> None:
    """Run a program pinned to each CPU until its line comes: all that was lost before is counted then."""
    for cpu in sorted(os.sched_getaffinity(0)):
        is_heard = False
        while not is_heard:
            with running(["taskset", "-c", str(cpu), "sleep", "1000"]) as sentinel:
                mark = f" {sentinel.pid}|sleep|root;"
                patience = time.monotonic() + 1.0
                while not is_heard and time.monotonic() < patience:
                    assert watch.read(0.1), "watch has ended"
                    is_heard = any(mark in line for line in watch.lines)


def test_an_engine_that_was_stopped_tells_its_losses_to_the_last_message(fork_storm: Path) -> None:
    """SIGSTOP during 150,000 forks: 300,000 messages, of which the largest buffer holds some 170,000."""
    with Watching("--events", "exec") as watch:
        watch.wait_until_capturing()
        engine_pid = watch.engine_pid
        inode = min(connector_inodes(engine_pid))  # the other one, opened later, has execs alone
        read_until_every_cpu_is_heard(watch)
        os.kill(engine_pid, signal.SIGSTOP)
        wait_until(lambda: stat_fields(engine_pid)[0] == b"T", "its engine is stopped")
        subprocess.run([fork_storm, str(BIG_STORM)], check=True, timeout=90)
        assert netlink_drops(inode) > 1000
        with running(["sh", "-c", "read go; sleep 60; exit"]) as born_unseen:
            os.kill(engine_pid, signal.SIGCONT)
            drops = -1
            while drops != netlink_drops(inode):
                drops = netlink_drops(inode)
                read_until_every_cpu_is_heard(watch)

            # Nobody told it of that shell: a scan found it, and its child's chain is whole.
            assert born_unseen.stdin is not None
            born_unseen.stdin.write(b"\n")
            born_unseen.stdin.flush()
            expected = f"|sleep|root;{chain_by_ps(born_unseen.pid)} "
            watch.read_until(lambda: any(expected in line for line in watch.lines), f"...{expected}")
            assert netlink_drops(inode) == drops
            ended = watch.stop()
            (grandchild,) = [line for line in watch.lines if expected in line]
            os.kill(int(grandchild.split()[2].split("|")[0]), signal.SIGKILL)
    *as_it_went, in_all = ended.complaints
    told = re.match(r"proc-cache: (\d+) messages of the kernel were lost, in \d+ overruns", in_all)
    assert told, in_all
    assert int(told[1]) == drops
    here = [re.fullmatch(r"proc-cache: (\d+) messages of the kernel were lost here", line) for line in as_it_went]
    assert all(here), as_it_went
    assert sum(int(found[1]) for found in here if found) == drops
