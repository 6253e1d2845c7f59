"""A small writer of taskstats messages: what the kernel would send of a task that ended, built field by field."""

from __future__ import annotations

from struct import calcsize, pack, pack_into
from typing import Any

FAMILY = 31  # the kernel gives it out when it starts; any number will do

# struct taskstats of each version, in bytes (linux/taskstats.h as it was).
SIZES = {8: 328, 9: 344, 10: 352, 11: 368, 12: 400, 13: 416, 14: 432, 15: 560, 16: 560, 17: 688}

# Where a field is in every version but 15, and its format.
FIELDS = {
    "version": (0, "H"),
    "ac_exitcode": (4, "I"),
    "ac_flag": (8, "B"),
    "cpu_count": (16, "Q"),
    "cpu_run_real_total": (64, "Q"),
    "cpu_run_virtual_total": (72, "Q"),
    "ac_comm": (80, "32s"),
    "ac_uid": (120, "I"),
    "ac_gid": (124, "I"),
    "ac_pid": (128, "I"),
    "ac_ppid": (132, "I"),
    "ac_btime": (136, "I"),
    "ac_etime": (144, "Q"),
    "ac_utime": (152, "Q"),
    "ac_stime": (160, "Q"),
    "hiwater_rss": (200, "Q"),
    "read_char": (216, "Q"),
    "read_bytes": (248, "Q"),
    "write_bytes": (256, "Q"),
    "cancelled_write_bytes": (264, "Q"),
    "ac_btime64": (344, "Q"),
    "ac_tgid": (368, "I"),
}
# Where version 15 put its 8-byte fields, by what stood there before.
_MOVED_BY_15 = (32, 32, 48, 48, 64, 64, 328, 328, 344, 344, 368, 368)


def stats(version: int = 16, size: int | None = None, **fields: Any) -> bytes:
    """A struct taskstats; a field that the version does not have is left out."""
    data = bytearray(SIZES[version] if size is None else size)
    for name, value in {"version": version, **fields}.items():
        at, form = FIELDS[name]
        if version == 15:
            at += 8 * sum(before <= at for before in _MOVED_BY_15)
        if at + calcsize(form) <= len(data):
            pack_into(f"={form}", data, at, value)
    return bytes(data)


def attribute(kind: int, body: bytes) -> bytes:
    """A struct nlattr with what it holds, aligned."""
    return pack("=HH", 4 + len(body), kind) + body + b"\0" * (-len(body) % 4)


def aggregate(kind: int, number: int, figures: bytes) -> bytes:
    """What holds the id of a task (AGGR_PID, 4) or of a process (AGGR_TGID, 5), and its figures."""
    return attribute(kind, attribute(kind - 3, pack("=I", number)) + attribute(3, figures))


def message(*attributes: bytes, family: int = FAMILY, command: int = 2, seq: int = 0) -> bytes:
    """A datagram of one message (TASKSTATS_CMD_NEW)."""
    body = pack("=BBH", command, 1, 0) + b"".join(attributes)
    return pack("=IHHII", 16 + len(body), family, 0, seq, 0) + body


def record(tid: int, *, pid: int | None = None, is_last: bool = True, **fields: Any) -> bytes:
    """What is sent of a process of one thread, or of one of several threads that was not the last."""
    flag = 0x20 if is_last else 0
    return message(aggregate(4, tid, stats(**_of_task(tid, pid or tid), ac_flag=flag, **fields)))


def last_of_several(
    tid: int, pid: int, *, version: int = 16, group: dict[str, int] | None = None, **fields: Any
) -> bytes:
    """What is sent of the last thread of a process that had several; `group` are figures of the process."""
    task = stats(version, **_of_task(tid, pid), ac_flag=0x20 if version >= 12 else 0, **fields)
    of_all = stats(**{"version": version, "size": SIZES[version], **(group or {})})
    return message(aggregate(4, tid, task), aggregate(5, pid, of_all))


def acknowledgement(number: int, error: int = 0) -> bytes:
    """The kernel's answer to the request of that number: struct nlmsgerr."""
    return pack("=IHHIIi", 36, 2, 0x100, number, 77, -error) + pack("=IHHII", 28, FAMILY, 5, number, 0)


def _of_task(tid: int, pid: int) -> dict[str, int]:
    return {"ac_pid": tid, "ac_tgid": pid}
