"""Exit records: bytes of the taskstats family to values, and requests to bytes. Pure, as `wire` is.

A datagram holds a netlink message with a generic netlink header and attributes around one struct taskstats
(linux/taskstats.h, Documentation/accounting/taskstats.rst), in the byte order of the machine. Any bytes give
records or `MalformedMessageError`, never anything else.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from ..errors import MalformedMessageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Buffer = bytes | bytearray | memoryview

NLMSG_ERROR = 2  # linux/netlink.h; also the acknowledgement, with an error of 0
NLM_F_REQUEST = 1
NLM_F_ACK = 4

TASKSTATS_GENL_NAME = "TASKSTATS"
TASKSTATS_GENL_VERSION = 1

TASKSTATS_CMD_GET = 1
TASKSTATS_CMD_NEW = 2

TASKSTATS_TYPE_PID = 1
TASKSTATS_TYPE_TGID = 2
TASKSTATS_TYPE_STATS = 3
TASKSTATS_TYPE_AGGR_PID = 4
TASKSTATS_TYPE_AGGR_TGID = 5

TASKSTATS_CMD_ATTR_REGISTER_CPUMASK = 3
TASKSTATS_CMD_ATTR_DEREGISTER_CPUMASK = 4

AGROUP = 0x20  # linux/acct.h, in ac_flag: the last task of its process; since version 12 (Linux 5.19)


class ExitRecord(NamedTuple):
    """What the kernel wrote down of one task, a thread, when it ended. None: this kernel's version does not tell.

    A process has a record for each of its threads, in the order in which they end, each with the thread's own
    `cmd`, `uid`, `exit_status`, times, CPU and bytes. The process's is the one that `is_last_of_group`, whoever
    that was: its `exit_status` is the one that wait(2) gives. Its bytes are the sum over all records of `pid`,
    its CPU is told as `group_cpu_us`. The other threads of a process that ends as a whole have its status too;
    a leader that another thread's exec(2) replaced has 0, and the record of the end comes later under the same
    tid, with the start of the process and only the CPU and bytes of the thread that did it. (All seen on 6.18.
    Before 5.17 `exit_status` was 0 for all but the leader.)

    The kernel queues a record before it tells parent and connector of the same exit (do_exit, kernel/exit.c):
    whoever has the Exit of a task, or has waited for it, finds its record waiting unless it was lost.

    Times are of CLOCK_MONOTONIC, as fork events are. `btime_s`, in seconds since 1970, is the whole second of
    the end less the whole seconds of `elapsed_us`: up to a second late. `ppid` is the parent at the end (1 when
    adopted), `uid` the real one, `exit_status` a wait status word. `max_rss_bytes` is that of the memory, not of
    the thread: since the last exec, and a child of vfork(2) that never exec'ed has its parent's. Bytes are those
    that reached the block layer, in whole KiB, written ones when a page was dirtied. CPU is the scheduler's, up
    to one tick too low as it is brought up to date by ticks and switches: 0 for what was never interrupted.
    """

    tid: int
    pid: int | None
    ppid: int
    uid: int
    cmd: bytes
    btime_s: int
    elapsed_us: int
    exit_status: int
    cpu_us: int
    max_rss_bytes: int
    read_bytes: int
    write_bytes: int
    is_last_of_group: bool | None
    group_cpu_us: int | None

    @property
    def is_leader(self) -> bool:
        """Whether its tid was that of the process."""
        return self.tid == self.pid


_NLMSGHDR = Struct("=IHHII")  # length, type, flags, sequence, port id
_GENLMSGHDR = Struct("=BBH")  # command, version, reserved
_NLATTR = Struct("=HH")  # length with this header, type
_U16 = Struct("=H")
_U32 = Struct("=I")
_U64 = Struct("=Q")
_ERROR = Struct("=i")  # struct nlmsgerr begins with a negative errno
_NLA_TYPE_MASK = 0x3FFF  # linux/netlink.h, without NLA_F_NESTED and NLA_F_NET_BYTEORDER


class _Layout:
    """Where the fields of struct taskstats are: `head` in all versions, the other two where they fit in."""

    __slots__ = ("btime64_at", "head", "tgid_at")

    def __init__(self, comm_at: int, btime64_at: int, tgid_at: int) -> None:
        # version, ac_exitcode, ac_flag, cpu_run_real_total, cpu_run_virtual_total, ac_comm, ac_uid, ac_ppid,
        # ac_btime, ac_etime, ac_utime, ac_stime, hiwater_rss, read_bytes, write_bytes
        self.head = Struct(f"=H2xIB{comm_at - 25}xQQ32s8xI8xII4xQQQ32xQ40xQQ")
        self.btime64_at = btime64_at
        self.tgid_at = tgid_at

    def unpack(self, data: Buffer, begin: int, end: int) -> tuple[Any, ...]:
        """Give the fields of `head`."""
        if end - begin < self.head.size:
            raise MalformedMessageError(f"a struct taskstats of {end - begin} bytes, not {self.head.size}")
        return self.head.unpack_from(data, begin)


_LAYOUT = _Layout(80, 344, 368)
# Version 15 (Linux 6.14 and early 6.15) put new fields in the middle; 16 moved them to the end ("taskstats: fix
# struct taskstats breaks backward compatibility since version 15").
_LAYOUT_15 = _Layout(128, 424, 464)
_VERSION_WITH_TGID = 12


def _usual_heads() -> set[tuple[int, bytes, bytes]]:
    """Give length, headers before the tid and headers after it, of messages of one task by known kernels."""
    heads = set()
    for version, size in ((12, 400), (13, 416), (14, 432), (16, 560), (17, 688)):
        stats = _NLATTR.pack(_NLATTR.size + size, TASKSTATS_TYPE_STATS)
        tid = _NLATTR.pack(_NLATTR.size + _U32.size, TASKSTATS_TYPE_PID)
        both = _NLATTR.pack(_NLATTR.size + len(tid) + _U32.size + len(stats) + size, TASKSTATS_TYPE_AGGR_PID)
        generic = _GENLMSGHDR.pack(TASKSTATS_CMD_NEW, TASKSTATS_GENL_VERSION, 0)
        length = _NLMSGHDR.size + len(generic) + len(both) + len(tid) + _U32.size + len(stats) + size
        heads.add((length, generic + both + tid, stats + _U16.pack(version)))
    return heads


_USUAL_HEADS = _usual_heads()
# The whole of a usual message in one go: nlmsghdr's length and type, the headers, the tid, the headers up to
# `version`; then as in _LAYOUT, without cpu_run_real_total, with ac_btime64 instead of ac_btime, and ac_tgid.
_USUAL = Struct("=IH10x12sI6s2xIB63xQ32s8xI8xI8xQQQ32xQ40xQQ80xQ16xI")
_unpack_usual = _USUAL.unpack_from
_new = tuple.__new__


def decode(data: Buffer, family: int, offset: int = 0, size: int | None = None) -> list[ExitRecord]:
    """Give the records of one datagram: `size` bytes from `offset` (all of them), from the family of that id.

    Other messages are passed over. Raises MalformedMessageError where the bytes end too early or contradict
    themselves; then there are none of this datagram.
    """
    if size is None:
        size = len(data) - offset
    if size >= _USUAL.size:
        (length, kind, head, tid, stats_head, status, flag, run_ns, comm, uid, ppid, elapsed, user, system, rss,
         read, written, btime, pid) = _unpack_usual(data, offset)  # fmt: skip
        if length == size and kind == family and (length, head, stats_head) in _USUAL_HEADS:
            cpu = run_ns // 1000 or user + system
            is_last = flag & AGROUP != 0
            return [_new(ExitRecord, (
                tid, pid, ppid, uid, comm.partition(b"\0")[0], btime, elapsed, status, cpu, rss << 10, read,
                written, is_last, cpu if is_last else None,
            ))]  # fmt: skip
    return list(_decode_messages(data, family, offset, offset + size))


def _decode_messages(data: Buffer, family: int, offset: int, end: int) -> Iterator[ExitRecord]:
    while offset < end:
        left = end - offset
        if left < _NLMSGHDR.size:
            raise MalformedMessageError(f"{left} bytes are no message")
        length, kind, *_ = _NLMSGHDR.unpack_from(data, offset)
        if not _NLMSGHDR.size <= length <= left:
            raise MalformedMessageError(f"a message of {length} bytes in {left} bytes")
        if kind == family:
            record = _decode_generic(data, offset + _NLMSGHDR.size, offset + length)
            if record is not None:
                yield record
        offset += (length + 3) & ~3  # NLMSG_ALIGN


def _decode_generic(data: Buffer, offset: int, end: int) -> ExitRecord | None:
    if end - offset < _GENLMSGHDR.size:
        raise MalformedMessageError(f"a generic message of {end - offset} bytes")
    command, *_ = _GENLMSGHDR.unpack_from(data, offset)
    if command != TASKSTATS_CMD_NEW:
        return None
    parts = _attributes(data, offset + _GENLMSGHDR.size, end)
    if TASKSTATS_TYPE_AGGR_PID not in parts:
        return None
    task = _attributes(data, *parts[TASKSTATS_TYPE_AGGR_PID])
    if TASKSTATS_TYPE_PID not in task or TASKSTATS_TYPE_STATS not in task:
        raise MalformedMessageError("a record without its tid or its figures")
    tid = _u32(data, *task[TASKSTATS_TYPE_PID])
    layout = _layout(data, *task[TASKSTATS_TYPE_STATS])
    record = _decode_task(layout, data, tid, *task[TASKSTATS_TYPE_STATS])
    if TASKSTATS_TYPE_AGGR_TGID not in parts:
        return record
    return _with_group(record, layout, data, _attributes(data, *parts[TASKSTATS_TYPE_AGGR_TGID]))


def _with_group(
    record: ExitRecord, layout: _Layout, data: Buffer, group: dict[int, tuple[int, int]]
) -> ExitRecord:
    """Add what is sent with the last task of a process that had several: in every version, CPU and little else."""
    if TASKSTATS_TYPE_TGID not in group or TASKSTATS_TYPE_STATS not in group:
        raise MalformedMessageError("a group without its id or its figures")
    # Its own `version` was 0 for long; user and system time are in it since 2026 ("taskstats: retain dead thread
    # stats in TGID queries"), the sums of CPU always, if the kernel has CONFIG_TASK_DELAY_ACCT.
    (_, _, _, real_ns, run_ns, _, _, _, _, _, user, system, *_) = layout.unpack(
        data, *group[TASKSTATS_TYPE_STATS]
    )  # fmt: skip
    cpu = (run_ns or real_ns) // 1000 or user + system
    pid = _u32(data, *group[TASKSTATS_TYPE_TGID])
    return record._replace(pid=pid, is_last_of_group=True, group_cpu_us=max(cpu, record.cpu_us))


def _attributes(data: Buffer, offset: int, end: int) -> dict[int, tuple[int, int]]:
    """Give begin and end of what each attribute holds, by its type."""
    found = {}
    while offset < end:
        left = end - offset
        if left < _NLATTR.size:
            raise MalformedMessageError(f"{left} bytes are no attribute")
        length, kind = _NLATTR.unpack_from(data, offset)
        if not _NLATTR.size <= length <= left:
            raise MalformedMessageError(f"an attribute of {length} bytes in {left} bytes")
        found[kind & _NLA_TYPE_MASK] = (offset + _NLATTR.size, offset + length)
        offset += (length + 3) & ~3  # NLA_ALIGN
    return found


def _u32(data: Buffer, begin: int, end: int) -> int:
    if end - begin < _U32.size:
        raise MalformedMessageError(f"a number of {end - begin} bytes")
    number: int = _U32.unpack_from(data, begin)[0]
    return number


def _layout(data: Buffer, begin: int, end: int) -> _Layout:
    if end - begin < _U16.size:
        raise MalformedMessageError(f"a struct taskstats of {end - begin} bytes")
    return _LAYOUT_15 if _U16.unpack_from(data, begin) == (15,) else _LAYOUT


def _decode_task(layout: _Layout, data: Buffer, tid: int, begin: int, end: int) -> ExitRecord:
    (version, status, flag, _, run_ns, comm, uid, ppid, btime, elapsed, user, system, rss, read, written) = (
        layout.unpack(data, begin, end)
    )  # fmt: skip
    size = end - begin
    if size >= layout.btime64_at + _U64.size:
        (btime,) = _U64.unpack_from(data, begin + layout.btime64_at)
    has_group = version >= _VERSION_WITH_TGID and size >= layout.tgid_at + _U32.size
    is_last = flag & AGROUP != 0 if has_group else None
    cpu = run_ns // 1000 or user + system
    return ExitRecord(
        tid=tid,
        pid=_u32(data, begin + layout.tgid_at, end) if has_group else None,
        ppid=ppid,
        uid=uid,
        cmd=comm.partition(b"\0")[0],
        btime_s=btime,
        elapsed_us=elapsed,
        exit_status=status,
        cpu_us=cpu,
        max_rss_bytes=rss << 10,
        read_bytes=read,
        write_bytes=written,
        is_last_of_group=is_last,
        group_cpu_us=cpu if is_last else None,
    )


def decode_acknowledgement(data: Buffer, number: int) -> int | None:
    """Give the errno with which the kernel answers request `number` (0: done); None where this is no answer."""
    if len(data) < _NLMSGHDR.size + _ERROR.size:
        return None
    _, kind, _, sequence, _ = _NLMSGHDR.unpack_from(data)
    if kind != NLMSG_ERROR or sequence != number:
        return None
    error: int = _ERROR.unpack_from(data, _NLMSGHDR.size)[0]
    return -error


def encode_register(family: int, cpus: str, number: int) -> bytes:
    """Ask for the records of tasks that end on these CPUs ("0-3,8"), and for an answer that carries `number`."""
    return _encode_cpus(family, TASKSTATS_CMD_ATTR_REGISTER_CPUMASK, cpus, NLM_F_REQUEST | NLM_F_ACK, number)


def encode_deregister(family: int, cpus: str) -> bytes:
    """Ask for no more records; no answer comes."""
    return _encode_cpus(family, TASKSTATS_CMD_ATTR_DEREGISTER_CPUMASK, cpus, NLM_F_REQUEST, 0)


def _encode_cpus(family: int, kind: int, cpus: str, flags: int, number: int) -> bytes:
    mask = cpus.encode("ascii") + b"\0"
    attribute = _NLATTR.pack(_NLATTR.size + len(mask), kind) + mask + b"\0" * (-len(mask) % 4)
    message = _GENLMSGHDR.pack(TASKSTATS_CMD_GET, TASKSTATS_GENL_VERSION, 0) + attribute
    return _NLMSGHDR.pack(_NLMSGHDR.size + len(message), family, flags, number, 0) + message
