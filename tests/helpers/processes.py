"""Real processes to look at: forked from the test, waited for by handshake, never by sleeping."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from proc_cache import Engine
    from proc_cache.events import Event
    from proc_cache.process import Node

DEADLINE_S = 10.0
NOBODY = 65534

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

SYS_EXIT = 60  # x86_64, asm/unistd_64.h
SYS_EXIT_GROUP = 231

LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int | bytes) -> None:
    value = argument if isinstance(argument, int) else ctypes.c_char_p(argument)
    if LIBC.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def rename(name: bytes) -> None:
    """Give the calling thread a name; any bytes but NUL, 15 are kept."""
    prctl(PR_SET_NAME, name)


def exit_thread(status: int) -> NoReturn:
    """End the calling thread alone, as exit(2) without a library around it does."""
    LIBC.syscall(SYS_EXIT, status)
    raise AssertionError("exit(2) returned")


def exit_group(status: int) -> NoReturn:
    LIBC.syscall(SYS_EXIT_GROUP, status)
    raise AssertionError("exit_group(2) returned")


def wait_until(is_so: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll for something that tells nobody when it happens (/proc); fails the test when the time is over."""
    deadline = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}"
        time.sleep(0.002)


def pump_until(engine: Engine, is_so: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Apply the kernel's events until something holds; fails the test when the time is over."""
    deadline = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}"
        engine.pump(0.05)


class Record:
    """Everything that an engine told its observer, in order."""

    def __init__(self, engine: Engine) -> None:
        self.seen: list[tuple[Event, Node]] = []
        engine.observer = lambda event, node: self.seen.append((event, node))

    def of(self, kind: type, pid: int) -> list[Node]:
        return [node for event, node in self.seen if isinstance(event, kind) and node.pid == pid]

    def children_of(self, pid: int) -> list[Node]:
        """The processes that were born of this one, each once."""
        children = {id(node): node for _, node in self.seen if node.ppid == pid and node.ppid_source == "fork"}
        return list(children.values())


def fork(body: Callable[[], object], *, dies_with_parent: bool = True) -> int:
    """Fork a child that runs `body` and then ends with status 0; it outlives no test."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        if dies_with_parent:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it had died before that was asked for
                os._exit(status)
        else:
            signal.alarm(60)
        body()
        status = 0
    finally:
        os._exit(status)


def in_turn(*steps: Callable[[], object]) -> Callable[[], object]:
    """One body of several steps."""

    def body() -> None:
        for step in steps:
            step()

    return body


class Forked:
    """A child that runs `body`, says so, and then waits for its end: `with Forked(body) as child`.

    `go()` lets it leave: with what `afterwards` does, or status 0.
    """

    def __init__(
        self, body: Callable[[], object] | None = None, *, afterwards: Callable[[], object] | None = None
    ) -> None:
        ready, say_ready = os.pipe()
        self._stay, self._go = os.pipe()
        self.status: int | None = None

        def run() -> None:
            os.close(self._go)
            if body is not None:
                body()
            os.write(say_ready, b"!")
            os.read(self._stay, 1)
            if afterwards is not None:
                afterwards()

        self.pid = fork(run)
        os.close(say_ready)
        os.close(self._stay)
        said = os.read(ready, 1)
        os.close(ready)
        assert said == b"!", f"the child ended before it was ready: {os.waitpid(self.pid, 0)}"

    def go(self) -> None:
        if self._go >= 0:
            with suppress(BrokenPipeError):
                os.write(self._go, b"!")  # closing alone would not do: later children hold this end too
            os.close(self._go)
            self._go = -1

    def wait(self) -> int:
        """Let it go, reap it, and give the wait status word."""
        self.go()
        if self.status is None:
            _, self.status = os.waitpid(self.pid, 0)
        return self.status

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Kill and reap it."""
        if self.status is None:
            os.kill(self.pid, number)
            _, self.status = os.waitpid(self.pid, 0)
        return self.status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.go()


@contextmanager
def running(arguments: Sequence[str | bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has been exec'ed (Popen returns after that) and is killed at the end."""
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def touch_every_cpu() -> None:
    """Have a process fork and exit on each CPU, so that each CPU's sequence is known or goes on."""
    for cpu in os.sched_getaffinity(0):

        def body(cpu: int = cpu) -> None:
            os.sched_setaffinity(0, {cpu})
            # The messages of this one may have gone by another CPU; those of its child go by this one.
            os.waitpid(fork(lambda: None), 0)

        os.waitpid(fork(body), 0)


def forget(pid: int) -> None:
    """Kill and reap a child, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def stat_fields(pid: int) -> list[bytes]:
    """What /proc/PID/stat says after the name: state, ppid, ... (read independently of the package)."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()


def comm_of(pid: int) -> bytes:
    with open(f"/proc/{pid}/comm", "rb") as comm:
        return comm.read().removesuffix(b"\n")


def start_ticks_of(pid: int) -> int:
    return int(stat_fields(pid)[19])


def chain_by_ps(pid: int) -> str:
    """Walk up by `ps -o ppid=,comm=,user=`, one call a process: the one-line form, for names without specials."""
    links = []
    while pid:
        line = subprocess.run(
            ["ps", "-o", "ppid=,user:32=,comm=", "-p", str(pid)], capture_output=True, text=True, check=True
        ).stdout
        ppid, user, cmd = line.strip("\n").split(None, 2)
        links.append(f"{pid}|{cmd}|{user}")
        pid = int(ppid)
    return ";".join(links)


def netlink_drops(inode: int) -> int:
    """How many messages the kernel says it dropped for a netlink socket (sk_drops, /proc/net/netlink)."""
    with open("/proc/net/netlink", encoding="ascii") as table:
        for line in table:
            fields = line.split()
            if fields[-1] == str(inode):
                return int(fields[8])
    raise LookupError(f"no netlink socket has inode {inode}")


def connector_inodes(pid: int) -> list[int]:
    """The inodes of the connector sockets (NETLINK_CONNECTOR, group 1) that a process holds."""
    held = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if target.startswith("socket:["):
                held.add(target[len("socket:[") : -1])
    with open("/proc/net/netlink", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return [int(row[-1]) for row in rows if row[1] == "11" and int(row[3], 16) & 1 and row[-1] in held]
