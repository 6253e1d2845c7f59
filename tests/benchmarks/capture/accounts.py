"""What /proc says of a listener: which processes it is, their CPU time, and what the kernel dropped for them."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

CONNECTOR, GENERIC = 11, 16  # NETLINK_CONNECTOR, NETLINK_GENERIC (linux/netlink.h)
MARK = "CAPTURE_BENCHMARK"  # a variable of the environment that all processes of a listener inherit
_QUIET_SHARE = 0.15  # of all CPUs
_QUIET_SAMPLE_S = 0.4
_QUIET_WAIT_S = 10
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_PPID, _CPU = 1, slice(11, 15)  # fields after the name in /proc/PID/stat: ppid; utime, stime, cutime, cstime


class Usage(NamedTuple):
    """CPU time of one process, with that of its children which it has reaped."""

    pid: int
    ppid: int
    comm: str
    cmdline: str
    cpu_us: int


def wait_until_quiet() -> bool:
    """Wait for the machine to be idle, for some time; false where something else goes on using it."""
    deadline = time.monotonic() + _QUIET_WAIT_S
    while not (has_calmed := is_quiet()) and time.monotonic() < deadline:
        pass
    return has_calmed


def is_quiet() -> bool:
    """Tell whether nothing else is using the machine now."""
    return _busy_share() < _QUIET_SHARE


def _busy_share() -> float:
    before = _busy_and_all()
    time.sleep(_QUIET_SAMPLE_S)
    busy, total = (now - then for now, then in zip(_busy_and_all(), before, strict=True))
    return busy / max(1, total)


def _busy_and_all() -> tuple[int, int]:
    """Sum the ticks of all CPUs (proc_stat(5)): user nice system idle iowait irq softirq steal."""
    ticks = [int(field) for field in Path("/proc/stat").read_bytes().split(b"\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _stat(pid: int) -> list[bytes] | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in b"ZX" else fields


def is_alive(pid: int) -> bool:
    """Tell whether it runs; a zombie does not."""
    return _stat(pid) is not None


def processes_of(mark: str) -> set[int]:
    """Find the living processes of a listener: those that bear its mark, and what descends from them."""
    pids = map(int, filter(str.isdecimal, os.listdir("/proc")))
    parents = {pid: int(fields[_PPID]) for pid in pids if (fields := _stat(pid))}
    found = {pid for pid in parents if _has_mark(pid, mark)}
    size = 0
    while size != len(found):
        size = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found


def _has_mark(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def usage_of(pids: set[int]) -> dict[int, Usage]:
    """Read the CPU time of each, so far."""
    usages = {}
    for pid in pids:
        fields = _stat(pid)
        if fields is not None:
            cpu_us = sum(map(int, fields[_CPU])) * _TICK_US
            usages[pid] = Usage(pid, int(fields[_PPID]), _text(pid, "comm"), _text(pid, "cmdline"), cpu_us)
    return usages


def _text(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""  # it has just ended


def used_since(before: dict[int, Usage], now: dict[int, Usage]) -> list[Usage]:
    """Give what each process of a listener has used since; one that came in between counts from its birth."""
    spent = [
        one._replace(cpu_us=one.cpu_us - (before[pid].cpu_us if pid in before else 0)) for pid, one in now.items()
    ]
    return sorted(spent)


def drops_of(pids: set[int]) -> Counter[int]:
    """Count what the kernel dropped at the netlink sockets of these processes, by protocol (/proc/net/netlink)."""
    inodes = {inode for pid in pids for inode in _sockets_of(pid)}
    drops: Counter[int] = Counter()
    for line in Path("/proc/net/netlink").read_text().splitlines()[1:]:
        _, protocol, *_, dropped, inode = line.split()
        if inode in inodes:
            drops[int(protocol)] += int(dropped)
    return drops


def _sockets_of(pid: int) -> set[str]:
    directory = f"/proc/{pid}/fd"
    found = set()
    try:
        for name in os.listdir(directory):
            match = _SOCKET.fullmatch(os.readlink(f"{directory}/{name}"))
            if match:
                found.add(match[1])
    except OSError:
        pass  # it has ended, or a descriptor was closed just now
    return found
