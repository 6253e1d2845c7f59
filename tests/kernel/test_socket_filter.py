"""The socket's filter against real floods: the flooder's messages end in the kernel, and losses stay exact.

Everything is sent before the sender goes on (the kernel queues in the sender's context): a process that has been
reaped has no message still to come, so nothing here waits for events.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from proc_cache.events import Comm, Exec, Exit, Fork
from proc_cache.kernel import netlink, socket_filter, wire
from proc_cache.kernel.netlink import ProcConnector
from tests.helpers.processes import (
    DEADLINE_S,
    LIBC,
    PR_SET_NAME,
    Forked,
    fork,
    in_turn,
    netlink_drops,
    rename,
    touch_every_cpu,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from proc_cache.events import Event

pytestmark = pytest.mark.kernel

RENAMES = 100_000
THREADS = 2_000
STORM = 3_000  # forks; each is a Fork and an Exit
SMALL_BUFFER_BYTES = 128 << 10  # doubled by the kernel: some 340 messages


def rename_often(times: int = RENAMES) -> None:
    for _ in range(times):
        LIBC.prctl(PR_SET_NAME, b"flood", 0, 0, 0)


def start_threads() -> None:
    """Let many threads live, one after the other."""
    for _ in range(THREADS):
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()


def fork_and_reap(body: Callable[[], object] | None = None) -> int:
    pid = fork(body or (lambda: None))
    os.waitpid(pid, 0)
    return pid


def exec_true() -> None:
    os.execv("/bin/true", ["true"])


class Listener:
    """A connector whose every event is kept, from a moment at which each CPU has been heard."""

    def __init__(self) -> None:
        self.connector = ProcConnector.open()
        self.sock = self.connector._socket
        self.events: list[Event] = []
        self._drops_before = 0
        self.hear_every_cpu()
        self.events = list({event.cpu: event for event in self.events}.values())  # the last of each CPU
        self._drops_before = self.drops

    def drain(self) -> None:
        while (datagram := self.connector.receive()) != b"":
            if datagram is not None:  # None: it ran over, and there is more behind
                self.events += wire.decode(datagram)

    def hear_every_cpu(self) -> None:
        """Let each CPU send a message that is received: what was dropped before it is a gap then.

        Again where a message was dropped meanwhile: other processes of this machine may be busy.
        """
        deadline = time.monotonic() + DEADLINE_S
        self.drain()
        self.drops = -1
        while self.drops != self.read_drops():
            assert time.monotonic() < deadline, "messages are dropped all the time"
            self.drops = self.read_drops()
            touch_every_cpu()
            self.drain()

    def read_drops(self) -> int:
        told = socket_filter.drops(self.sock)
        assert told is not None
        return told

    def new_drops(self) -> int:
        """How many messages were lost until each CPU was last heard."""
        return self.drops - self._drops_before

    def gaps(self) -> int:
        """How many messages are missing from the sequences of all CPUs."""
        by_cpu: dict[int, list[int]] = {}
        for event in self.events:
            by_cpu.setdefault(event.cpu, []).append(event.seq)
        assert by_cpu.keys() >= os.sched_getaffinity(0)
        return sum(
            (later - earlier - 1) % (1 << 32) for seqs in by_cpu.values() for earlier, later in pairwise(seqs)
        )

    def kinds_of(self, pid: int) -> list[type]:
        """The kinds of what came about a process itself, its threads aside."""
        return [
            type(event)
            for event in self.events
            if (isinstance(event, Fork) and event.child_tid == event.child_pid == pid)
            or (isinstance(event, Exec | Comm | Exit) and event.tid == event.pid == pid)
        ]

    def about_threads_of(self, pid: int) -> int:
        births = sum(isinstance(e, Fork) and e.child_pid == pid != e.child_tid for e in self.events)
        return births + sum(isinstance(e, Exit) and e.pid == pid != e.tid for e in self.events)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    with listening.connector:
        yield listening


@pytest.fixture
def deaf_listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """One whose buffer is soon full."""
    with monkeypatch.context() as patched:
        patched.setattr(netlink, "RECEIVE_BUFFER_BYTES", SMALL_BUFFER_BYTES)
        listening = Listener()
    with listening.connector:
        yield listening


def test_without_a_filter_nothing_is_missing(listener: Listener) -> None:
    """The counting of these tests itself."""
    renamer = fork_and_reap(lambda: rename_often(23))
    listener.hear_every_cpu()
    assert listener.kinds_of(renamer) == [Fork, *[Comm] * 23, Exit]
    assert (listener.gaps(), listener.new_drops()) == (0, 0)


def test_a_rename_flood_is_dropped_and_all_else_arrives(listener: Listener) -> None:
    with Forked(afterwards=rename_often) as flooder:
        assert socket_filter.attach(listener.sock, socket_filter.program({wire.PROC_EVENT_COMM: [flooder.pid]}))
        flooder.go()
        others = [fork_and_reap(in_turn(lambda: rename(b"other"), exec_true)) for _ in range(10)]
        flooder.wait()
    listener.hear_every_cpu()
    assert listener.kinds_of(flooder.pid) == [Fork, Exit]
    for other in others:
        assert listener.kinds_of(other) == [Fork, Comm, Exec, Exit]
    assert (listener.gaps(), listener.new_drops()) == (RENAMES, 0)


def test_a_thread_flood_is_dropped_and_the_processes_themselves_arrive(listener: Listener) -> None:
    read, write = os.pipe()

    def flood() -> None:
        start_threads()
        os.write(write, b"%d" % fork_and_reap())

    with Forked(afterwards=flood) as flooder:
        assert socket_filter.attach(listener.sock, socket_filter.program({}, [flooder.pid]))
        flooder.go()
        other = fork_and_reap(lambda: threading.Thread(target=lambda: None).start())
        flooder.wait()
    child = int(os.read(read, 32))
    os.close(read)
    os.close(write)
    listener.hear_every_cpu()
    assert listener.kinds_of(flooder.pid) == [Fork, Exit]
    assert listener.kinds_of(child) == [Fork, Exit]
    assert listener.about_threads_of(flooder.pid) == 0
    assert listener.kinds_of(other) == [Fork, Exit]
    assert listener.about_threads_of(other) == 2
    assert (listener.gaps(), listener.new_drops()) == (2 * THREADS, 0)


def test_more_pids_than_fit_end_the_renames_of_everyone(listener: Listener) -> None:
    pids = range(1_000_000_000, 1_000_000_000 + socket_filter.PIDS_MAX + 1)
    assert socket_filter.attach(listener.sock, socket_filter.program({wire.PROC_EVENT_COMM: pids}))
    pid = fork_and_reap(in_turn(lambda: rename(b"a"), exec_true))
    listener.hear_every_cpu()
    assert listener.kinds_of(pid) == [Fork, Exec, Exit]
    assert (listener.gaps(), listener.new_drops()) == (1, 0)


def test_after_detach_renames_arrive_again(listener: Listener) -> None:
    assert socket_filter.attach(listener.sock, socket_filter.program({wire.PROC_EVENT_COMM: None}))
    before = fork_and_reap(lambda: rename(b"before"))
    socket_filter.detach(listener.sock)
    after = fork_and_reap(lambda: rename(b"after"))
    listener.hear_every_cpu()
    assert (listener.kinds_of(before), listener.kinds_of(after)) == ([Fork, Exit], [Fork, Comm, Exit])


def test_an_overrun_is_counted_to_the_message(deaf_listener: Listener, fork_storm: Path) -> None:
    subprocess.run([fork_storm, str(STORM)], check=True)
    inode = os.fstat(deaf_listener.sock.fileno()).st_ino
    least, by_proc, most = deaf_listener.read_drops(), netlink_drops(inode), deaf_listener.read_drops()
    assert least <= by_proc <= most
    deaf_listener.hear_every_cpu()
    assert deaf_listener.new_drops() > STORM
    assert deaf_listener.gaps() == deaf_listener.new_drops()


def test_what_was_filtered_and_what_was_lost_are_told_apart(deaf_listener: Listener, fork_storm: Path) -> None:
    """Renames go on while the buffer is full: they are filtered before it is looked at, and no drops."""
    with Forked(afterwards=rename_often) as flooder:
        program = socket_filter.program({wire.PROC_EVENT_COMM: [flooder.pid]})
        assert socket_filter.attach(deaf_listener.sock, program)
        with subprocess.Popen([fork_storm, str(STORM)]) as storm:
            flooder.wait()
            assert storm.wait() == 0
    deaf_listener.hear_every_cpu()
    assert deaf_listener.new_drops() > STORM
    assert deaf_listener.gaps() - deaf_listener.new_drops() == RENAMES


def test_the_filter_of_one_listener_is_nothing_to_another(listener: Listener) -> None:
    unfiltered = Listener()
    with unfiltered.connector:
        assert socket_filter.attach(listener.sock, socket_filter.program({wire.PROC_EVENT_COMM: None}, None))
        pid = fork_and_reap(lambda: rename(b"renamed"))
        listener.drain()
        unfiltered.drain()
    assert listener.kinds_of(pid) == [Fork, Exit]
    assert unfiltered.kinds_of(pid) == [Fork, Comm, Exit]
