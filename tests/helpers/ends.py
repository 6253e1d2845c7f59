"""What the kernel writes down of threads that end: as values, and as a socket that gives them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from proc_cache.kernel.exit_record import ExitRecord
from proc_cache.kernel.taskstats import RECORDS_AT_ONCE
from tests.helpers.exit_records import FAMILY

if TYPE_CHECKING:
    from proc_cache.process import Node


def ending(
    tid: int,
    *,
    lived_ns: int,
    pid: int | None = None,
    cmd: bytes = b"last",
    ppid: int = 1,
    uid: int = 0,
    status: int = 0,
    cpu_us: int = 0,
    max_rss_bytes: int = 0,
    read_bytes: int = 0,
    write_bytes: int = 0,
    is_last: bool | None = True,
    group_cpu_us: int | None = None,
) -> ExitRecord:
    """The record of one thread; without a pid it is a leader's. `is_last` None: as kernels before 5.19 have it."""
    return ExitRecord(
        tid=tid,
        pid=None if is_last is None else pid or tid,
        ppid=ppid,
        uid=uid,
        cmd=cmd,
        btime_s=0,
        elapsed_us=lived_ns // 1000,
        exit_status=status,
        cpu_us=cpu_us,
        max_rss_bytes=max_rss_bytes,
        read_bytes=read_bytes,
        write_bytes=write_bytes,
        is_last_of_group=is_last,
        group_cpu_us=(group_cpu_us or cpu_us) if is_last else None,
    )


def lived_ns(node: Node) -> int:
    """How long an ended process lived."""
    assert node.exit_ns
    return node.exit_ns - node.start_ns


class FakeRecordSocket:
    """Gives the datagrams that were queued, a batch at a time."""

    family = FAMILY
    lost = 0

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.is_closed = False

    def receive_batch(self) -> list[bytes]:
        return [self.queue.popleft() for _ in range(min(RECORDS_AT_ONCE, len(self.queue)))]

    def close(self) -> None:
        self.is_closed = True
