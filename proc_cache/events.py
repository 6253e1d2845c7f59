"""What happened: the events of linux/cn_proc.h, in the words of this project.

The kernel calls a thread `pid` and a process `tgid`; here, as for `ps`, `pid` is the process and `tid` the
thread. Every event begins with the message counter of the CPU that sent it (mod 2^32), that CPU, and the
CLOCK_MONOTONIC time in nanoseconds. They are named tuples: one is made for every message of a storm, and
a tuple costs half of an object.
"""

from __future__ import annotations

from typing import NamedTuple


class Fork(NamedTuple):
    """A process (child_tid == child_pid) or a thread of one was born; the parent is the one of birth."""

    seq: int
    cpu: int
    timestamp_ns: int
    parent_tid: int
    parent_pid: int
    child_tid: int
    child_pid: int


class Exec(NamedTuple):
    """The process runs another program now; which one has to be read from /proc."""

    seq: int
    cpu: int
    timestamp_ns: int
    tid: int
    pid: int


class Uid(NamedTuple):
    """A thread's user changed to these."""

    seq: int
    cpu: int
    timestamp_ns: int
    tid: int
    pid: int
    ruid: int
    euid: int


class Gid(NamedTuple):
    """A thread's group changed to these."""

    seq: int
    cpu: int
    timestamp_ns: int
    tid: int
    pid: int
    rgid: int
    egid: int


class Sid(NamedTuple):
    """The process became the leader of a new session, which has its pid."""

    seq: int
    cpu: int
    timestamp_ns: int
    tid: int
    pid: int


class Ptrace(NamedTuple):
    """A tracer was attached, or detached (tracer 0)."""

    seq: int
    cpu: int
    timestamp_ns: int
    tid: int
    pid: int
    tracer_tid: int
    tracer_pid: int


class Comm(NamedTuple):
    """A thread renamed itself (prctl, /proc/self/comm); never sent for an exec."""

    seq: int
    cpu: int
    timestamp_ns: int
    tid: int
    pid: int
    comm: bytes


class Coredump(NamedTuple):
    """A thread dumps core; its Exit follows."""

    seq: int
    cpu: int
    timestamp_ns: int
    tid: int
    pid: int
    parent_tid: int
    parent_pid: int


class Exit(NamedTuple):
    """A thread ended. `status` is a wait status word; the parent is the present one, not the one of birth."""

    seq: int
    cpu: int
    timestamp_ns: int
    tid: int
    pid: int
    status: int
    exit_signal: int
    parent_tid: int
    parent_pid: int


class Ack(NamedTuple):
    """The kernel's answer to a listener (PROC_EVENT_NONE); `ack` is that listener's number plus one."""

    seq: int
    cpu: int
    timestamp_ns: int
    error: int
    ack: int


class Unknown(NamedTuple):
    """An event of a newer kernel; it still counts in the sequence of its CPU."""

    seq: int
    cpu: int
    timestamp_ns: int
    what: int


class Overrun(NamedTuple):
    """The socket's buffer ran over (ENOBUFS): messages between the last one and the next may be missing."""


Event = Fork | Exec | Uid | Gid | Sid | Ptrace | Comm | Coredump | Exit | Ack | Unknown

# What can be watched, by the word for it; in the order in which help names them.
KINDS: dict[str, type[Event]] = {
    "fork": Fork,
    "exec": Exec,
    "exit": Exit,
    "comm": Comm,
    "uid": Uid,
    "sid": Sid,
}
KIND_NAMES: dict[type, str] = {kind: name for name, kind in KINDS.items()}
