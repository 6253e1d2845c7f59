"""Who is at the other end of a Unix socket, as the kernel knows it (unix(7))."""

from __future__ import annotations

# Not `socket`, and ctypes where it is used: a client asks for credentials on the way of every query.
import _socket
from struct import Struct

_UCRED = Struct("=iII")  # struct ucred: pid, uid, gid
_SO_PEERGROUPS = 59  # asm-generic/socket.h
_GROUPS_BYTES = 4 * 65536  # NGROUPS_MAX (linux/limits.h) of gid_t


def credentials(peer: _socket.socket) -> tuple[int, int, int]:
    """Give pid, uid and gid of who connected, or listens."""
    pid, uid, gid = _UCRED.unpack(peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid


def groups(peer: _socket.socket) -> tuple[int, ...]:
    """Give the supplementary groups of who connected; none where the kernel does not tell (before 4.13)."""
    import ctypes
    from struct import iter_unpack

    # socket.getsockopt() takes 1,024 bytes at most, and a user can be in more groups than fit.
    buffer = ctypes.create_string_buffer(_GROUPS_BYTES)
    size = ctypes.c_uint32(_GROUPS_BYTES)
    failed = ctypes.CDLL(None).getsockopt(
        peer.fileno(), _socket.SOL_SOCKET, _SO_PEERGROUPS, buffer, ctypes.byref(size)
    )
    return () if failed else tuple(number for (number,) in iter_unpack("=I", buffer.raw[: size.value]))
