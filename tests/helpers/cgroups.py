"""Cgroups of a test's own, where the kernel lets us make some."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from .processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cgroup:
    """A cgroup of version 2 below the root; `take` puts a process into it."""

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.name = os.path.basename(path)

    def take(self, pid: int) -> None:
        with open(self.path + b"/cgroup.procs", "w", encoding="ascii") as procs:
            procs.write(str(pid))


def _root() -> bytes | None:
    """Where cgroup v2 is mounted, proc(5)."""
    with open("/proc/self/mounts", "rb") as mounts:
        for line in mounts:
            _, where, kind, *_ = line.split(b" ")
            if kind == b"cgroup2":
                return where
    return None


@contextmanager
def a_cgroup(name: bytes) -> Iterator[Cgroup]:
    """Make a cgroup, and remove it once nobody is in it; skips where none can be made."""
    root = _root()
    if root is None:
        pytest.skip("no cgroup of version 2 is mounted")
    path = root + b"/" + name
    try:
        os.mkdir(path)
    except OSError as error:
        pytest.skip(f"no cgroup can be made in {root.decode()}: {error.strerror}")
    made = Cgroup(path)
    try:
        _can_take(made)
        yield made
    finally:
        wait_until(lambda: _is_removed(path), "the cgroup is empty")


def _can_take(cgroup: Cgroup) -> None:
    child = os.fork()
    if not child:
        with suppress(OSError):
            cgroup.take(os.getpid())
            os._exit(0)
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        pytest.skip("no process can be put into a cgroup here")


def _is_removed(path: bytes) -> bool:
    try:
        os.rmdir(path)
    except OSError:  # the last one in it is on its way out
        return False
    return True
