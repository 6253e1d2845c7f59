"""A small writer of connector messages: what the kernel would send, built field by field."""

from __future__ import annotations

from struct import pack

from proc_cache.kernel import wire


def message(
    what: int,
    body: bytes,
    *,
    cpu: int = 0,
    seq: int = 0,
    timestamp_ns: int = 0,
    ack: int = 0,
    idx: int = wire.CN_IDX_PROC,
    kind: int = wire.NLMSG_DONE,
) -> bytes:
    """One datagram of one message; `body` is padded to the size of the kernel's union (24 bytes)."""
    event = pack("=IIQ", what, cpu, timestamp_ns) + body.ljust(24, b"\0")
    cn_msg = pack("=IIIIHH", idx, wire.CN_VAL_PROC, seq, ack, len(event), 0) + event
    return pack("=IHHII", 16 + len(cn_msg), kind, 0, 0, 0) + cn_msg


def fork(parent: int, child: int, *, parent_tid: int | None = None, tid: int | None = None, **head: int) -> bytes:
    body = pack("=iiii", parent_tid or parent, parent, tid or child, child)
    return message(wire.PROC_EVENT_FORK, body, **head)


def exec_(pid: int, *, tid: int | None = None, **head: int) -> bytes:
    return message(wire.PROC_EVENT_EXEC, pack("=ii", tid or pid, pid), **head)


def exit_(
    pid: int, *, status: int = 0, parent: int = 1, tid: int | None = None, exit_signal: int = 17, **head: int
) -> bytes:
    body = pack("=iiIIii", tid or pid, pid, status, exit_signal, parent, parent)
    return message(wire.PROC_EVENT_EXIT, body, **head)


def comm(pid: int, name: bytes, *, tid: int | None = None, **head: int) -> bytes:
    return message(wire.PROC_EVENT_COMM, pack("=ii16s", tid or pid, pid, name), **head)


def uid(pid: int, ruid: int, euid: int, *, tid: int | None = None, **head: int) -> bytes:
    return message(wire.PROC_EVENT_UID, pack("=iiII", tid or pid, pid, ruid, euid), **head)


def sid(pid: int, **head: int) -> bytes:
    return message(wire.PROC_EVENT_SID, pack("=ii", pid, pid), **head)


def ack(number: int, *, error: int = 0, **head: int) -> bytes:
    return message(wire.PROC_EVENT_NONE, pack("=I", error), ack=number, **head)


def gid(pid: int, rgid: int, egid: int, *, tid: int | None = None, **head: int) -> bytes:
    return message(wire.PROC_EVENT_GID, pack("=iiII", tid or pid, pid, rgid, egid), **head)


def ptrace(pid: int, tracer: int, **head: int) -> bytes:
    return message(wire.PROC_EVENT_PTRACE, pack("=iiii", pid, pid, tracer, tracer), **head)


def coredump(pid: int, parent: int, **head: int) -> bytes:
    return message(wire.PROC_EVENT_COREDUMP, pack("=iiii", pid, pid, parent, parent), **head)
