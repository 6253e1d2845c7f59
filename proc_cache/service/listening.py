"""The socket that an engine is asked at: taken where it is free, opened to whom it is for, removed at the end."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..closing import Closing
from ..errors import EngineRunningError, EngineUnavailableError
from ..kernel.clocks import deadline_s, left_s, pause
from .address import VARIABLE, is_too_long, own_path
from .peer import credentials, groups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_BACKLOG = 256
_OWNER_ONLY = 0o600
_OWNER_AND_GROUP = 0o660
_LOCK_S = 1.0


class Listener(Closing):
    """A listening Unix socket, and who may call. `group` is the id of a group it is open to, besides its owner."""

    def __init__(self, sock: socket.socket, path: str, group: int | None) -> None:
        self.socket = sock
        self.path = path
        self._group = group
        self.refused = 0  # callers whom it is not for
        self._inode = os.stat(path).st_ino

    @classmethod
    def open(cls, group: int | None = None) -> Self:
        """Take this user's address; a socket that a dead engine left is taken over.

        Raises EngineRunningError where another engine has it, EngineUnavailableError where it cannot be had.
        """
        path = own_path()
        if path is None:
            raise EngineUnavailableError(f"there is no place for a socket; set {VARIABLE} or XDG_RUNTIME_DIR")
        if is_too_long(path):
            raise EngineUnavailableError(f"{path} is too long for a socket; set {VARIABLE} to a shorter path")
        try:
            with _alone_in(os.path.dirname(path) or "."):
                _clear(path)
                sock = _bind(path, group)
        except OSError as error:
            raise EngineUnavailableError(
                f"no socket can be made at {path}: {error.strerror}; set {VARIABLE} to another path"
            ) from error
        return cls(sock, path, group)

    def accept(self) -> tuple[socket.socket, int] | None:
        """Take a call, and tell the caller's pid; None where there is none, or it is not for this caller.

        Raises OSError where no descriptor is left for it.
        """
        try:
            peer, _ = self.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        peer.setblocking(False)
        try:
            pid, uid, gid = credentials(peer)
            if self._is_allowed(peer, uid, gid):
                return peer, pid
            self.refused += 1
        except OSError:
            pass  # it has hung up already
        peer.close()
        return None

    def _is_allowed(self, peer: socket.socket, uid: int, gid: int) -> bool:
        if uid in (0, os.geteuid()):
            return True
        if self._group is None:
            return False
        if gid == self._group:
            return True
        return self._group in groups(peer)

    def close(self) -> None:
        """Close, and remove the socket unless another one stands there by now. Can be repeated."""
        if self.socket.fileno() < 0:
            return
        try:
            # Before it is closed: until then no other file can have its inode.
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        except OSError:
            pass  # it is gone, or its directory is: nothing is left behind
        self.socket.close()


@contextmanager
def _alone_in(directory: str) -> Iterator[None]:
    """Hold the directory's lock, so that of two engines that find a stale socket one takes it.

    Whoever holds it for long is no engine: after a second it is done without.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = deadline_s(_LOCK_S)
        while left_s(deadline):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pause(0.01)
        yield
    finally:
        os.close(descriptor)


def _clear(path: str) -> None:
    """Remove the socket of a dead engine. Raises EngineRunningError where it lives."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise EngineUnavailableError(f"{path} is there and is no socket; remove it, or set {VARIABLE}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_LOCK_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:  # its engine has removed it just now
            return
        except (TimeoutError, BlockingIOError):  # a full backlog
            raise EngineRunningError(f"another engine listens at {path} already, and is stuck") from None
        pid, _, _ = credentials(probe)
    raise EngineRunningError(f"another engine answers at {path} already: process {pid}")


def _give_to(path: str, group: int) -> None:
    try:
        os.chown(path, -1, group)
    except PermissionError as error:
        raise EngineUnavailableError(
            f"the socket cannot be given to group {group}: run it as root, or name a group that you are in"
        ) from error


def _bind(path: str, group: int | None) -> socket.socket:
    """Bind and listen; nobody can connect before the socket has its owner, group and mode."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        umask = os.umask(0o777 & ~_OWNER_ONLY)
        try:
            sock.bind(path)
        finally:
            os.umask(umask)
        try:
            if group is not None:
                _give_to(path, group)
                os.chmod(path, _OWNER_AND_GROUP)
            sock.setblocking(False)
            sock.listen(_BACKLOG)
        except BaseException:
            os.unlink(path)
            raise
    except BaseException:
        sock.close()
        raise
    return sock
