"""A filter in the kernel for the connector's socket: a flooder's messages end before they reach the buffer.

Any process may rename itself a million times a second, and each time is a message. The filter is a classic
BPF program (SO_ATTACH_FILTER, socket(7); it needs no privilege) that runs in the sender's context, before the
socket's buffer is looked at (do_one_broadcast in net/netlink/af_netlink.c calls sk_filter). It names the
processes and the kinds of message that are dropped; everything else passes.

A filtered message leaves a gap in the sequence of its CPU, as a lost one does. The kernel counts only the
lost ones (sk_drops, `drops` here), so losses stay exact: filtered = gaps - drops, once every CPU has been
heard again. A message the kernel had no memory for is a gap without a drop: it passes for a filtered one.

Commit c46bfba1337d (6.8-rc1, and for some weeks in the stable 6.6 and 6.7; reverted by 8929f95b2b58) stopped
all events when no listener took one. There an overrun ends the stream, and a filter would do so too.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from struct import Struct, pack
from typing import TYPE_CHECKING

from . import wire

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Each process costs one comparison for a message of that kind; a jump reaches 255 instructions at most.
PIDS_MAX = 32

# The kinds that can come in a flood and that no ancestry hangs on. Any process can rename itself (COMM), flip
# between users and groups where it may have two (UID, GID: root of a container can), and seize and leave a child
# of its own (PTRACE: the pid is the traced one's, and a detach names no tracer). SID comes once in a process.
DROPPABLE = frozenset(
    {
        wire.PROC_EVENT_COMM,
        wire.PROC_EVENT_UID,
        wire.PROC_EVENT_GID,
        wire.PROC_EVENT_SID,
        wire.PROC_EVENT_PTRACE,
    }
)

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_SO_DETACH_FILTER = 27
_SO_MEMINFO = 55  # Linux 4.12 (commit a2d133b1d465)
_MEMINFO = Struct("=9I")  # SK_MEMINFO_VARS numbers, linux/sock_diag.h
_SK_MEMINFO_DROPS = 8

_INSTRUCTION = Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, k (linux/filter.h)

# Codes of linux/bpf_common.h, each the sum of its parts.
_LD_W_ABS = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LD_H_ABS = 0x28  # BPF_LD | BPF_H | BPF_ABS
_LD_W_LEN = 0x80  # BPF_LD | BPF_W | BPF_LEN
_TAX = 0x07  # BPF_MISC | BPF_TAX
_JEQ_K = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JEQ_X = 0x1D  # BPF_JMP | BPF_JEQ | BPF_X
_JGE_K = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RET_K = 0x06  # BPF_RET | BPF_K

# Offsets from the start of the datagram: struct nlmsghdr (16 bytes), struct cn_msg (20), struct proc_event.
_NLMSG_TYPE_AT = 4
_CN_IDX_AT = 16
_CN_VAL_AT = 20
_WHAT_AT = 36
_PID_AT, _TGID_AT = 52, 56  # process_pid and process_tgid, in every kind but FORK
_CHILD_PID_AT, _CHILD_TGID_AT = 60, 64  # of FORK

# A load beyond the end would drop the message (it ends the program with 0, net/core/filter.c). Two events do not
# fit below the upper bound: one takes 52 bytes before its union. Every kernel so far sends 76.
_LEAST, _TOO_MUCH = 68, 104
_LEAST_OF_EXIT = 76  # that the decoder reads: what it could not read is not dropped unread


def _do(code: int, k: int = 0, jump_if: int = 0, jump_else: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, jump_if, jump_else, k)


_PASS = _do(_RET_K, 0xFFFFFFFF)  # so many bytes of it, at most
_DROP = _do(_RET_K, 0)

# Loads give network byte order, the message is in the machine's: the constants are swapped instead.
_HEAD = b"".join(
    (
        _do(_LD_W_LEN),
        _do(_JGE_K, _LEAST, jump_if=1),
        _PASS,
        _do(_JGE_K, _TOO_MUCH, jump_else=1),
        _PASS,
        _do(_LD_H_ABS, _NLMSG_TYPE_AT),
        _do(_JEQ_K, socket.htons(wire.NLMSG_DONE), jump_if=1),
        _PASS,
        _do(_LD_W_ABS, _CN_IDX_AT),
        _do(_JEQ_K, socket.htonl(wire.CN_IDX_PROC), jump_if=1),
        _PASS,
        _do(_LD_W_ABS, _CN_VAL_AT),
        _do(_JEQ_K, socket.htonl(wire.CN_VAL_PROC), jump_if=1),
        _PASS,
        _do(_LD_W_ABS, _WHAT_AT),
    )
)


_WHOLE_EXIT = _do(_LD_W_LEN) + _do(_JGE_K, _LEAST_OF_EXIT, jump_if=1) + _PASS


def program(kinds: Mapping[int, Collection[int] | None], threads_of: Collection[int] | None = ()) -> bytes:
    """Make the filter that drops these messages and passes all others: an array of struct sock_filter.

    `kinds` gives for a PROC_EVENT_ of DROPPABLE the pids whose messages are dropped, None for those of every
    process. `threads_of` names in the same way the processes whose threads are born and die untold; their own
    FORK and EXIT pass. More than PIDS_MAX pids stand for every process. Raises ValueError for another kind.

    What was filtered has to be read again where it matters: the name, the users, and, for `threads_of`, whether
    a process goes on after the exit of its leader.
    """
    for what in kinds:
        if what not in DROPPABLE:
            raise ValueError(f"messages of the kind {what:#x} are never dropped")
    blocks = [
        _block(what, _do(_LD_W_ABS, _TGID_AT) + _drop_of(pids))
        for what, pids in sorted(kinds.items())
        if _has_any(pids)
    ]
    if _has_any(threads_of):
        blocks += [
            _block(wire.PROC_EVENT_FORK, _drop_threads_of(threads_of, _CHILD_PID_AT, _CHILD_TGID_AT)),
            _block(wire.PROC_EVENT_EXIT, _WHOLE_EXIT + _drop_threads_of(threads_of, _PID_AT, _TGID_AT)),
        ]
    return _HEAD + b"".join(blocks) + _PASS


def only(what: int) -> bytes:
    """Make the filter that passes the messages of one kind alone, and whatever is no event of the usual size."""
    return _HEAD + _do(_JEQ_K, socket.htonl(what), jump_else=1) + _PASS + _DROP


def _has_any(pids: Collection[int] | None) -> bool:
    return pids is None or len(pids) > 0


def _block(what: int, body: bytes) -> bytes:
    """Do this for one kind; the body always returns, so the next block finds `what` loaded as it was."""
    return _do(_JEQ_K, socket.htonl(what), jump_else=len(body) // _INSTRUCTION.size) + body


def _drop_of(pids: Collection[int] | None) -> bytes:
    """Drop the message where the pid that is loaded is one of these."""
    if pids is None or len(pids) > PIDS_MAX:
        return _DROP
    tests = [_do(_JEQ_K, socket.htonl(pid), jump_if=len(pids) - place) for place, pid in enumerate(pids)]
    return b"".join(tests) + _PASS + _DROP


def _drop_threads_of(pids: Collection[int] | None, tid_at: int, tgid_at: int) -> bytes:
    is_thread = (_do(_LD_W_ABS, tid_at), _do(_TAX), _do(_LD_W_ABS, tgid_at), _do(_JEQ_X, jump_else=1), _PASS)
    return b"".join(is_thread) + _drop_of(pids)


def attach(sock: socket.socket, instructions: bytes) -> bool:
    """Filter what the socket gets from now on, in place of any filter before; false where that is refused.

    What was queued before stays, and a message that is being sent at this moment may still come.
    """
    import ctypes

    array = ctypes.create_string_buffer(instructions, len(instructions))
    # struct sock_fprog: the number of instructions and a pointer to them, aligned as in C.
    fprog = pack("@HP", len(instructions) // _INSTRUCTION.size, ctypes.addressof(array))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
    except OSError:
        return False
    return True


def detach(sock: socket.socket) -> None:
    """Let everything pass again; nothing happens where there is no filter."""
    with suppress(OSError):  # ENOENT: none was attached
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def drops(sock: socket.socket) -> int | None:
    """Tell how many messages did not fit into the socket's buffer since it was opened (mod 2^32).

    What the filter dropped is not among them. None where the kernel does not tell (before 4.12). It is ahead of
    the gaps: those show at the next message of each CPU.
    """
    try:
        told = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return None
    return int(_MEMINFO.unpack(told)[_SK_MEMINFO_DROPS]) if len(told) == _MEMINFO.size else None
