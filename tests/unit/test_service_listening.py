"""service/listening.py and service/address.py: taking the address, and leaving it."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proc_cache.errors import EngineRunningError, EngineUnavailableError
from proc_cache.service import address, listening
from proc_cache.service.client import EngineClient
from proc_cache.service.listening import Listener
from tests.helpers.processes import NOBODY, forget, fork

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to a group it is not in")


@pytest.fixture
def listener(socket_path: str) -> Iterator[Listener]:
    """An engine's, at the address of this test."""
    with Listener.open() as opened:
        assert opened.path == socket_path
        yield opened


def leave_stale(path: str) -> int:
    """Leave the socket of an engine that was killed; returns its inode."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    return os.stat(path).st_ino


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def can_connect(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(path)
        except OSError:
            return False
        return True


# --- taking it --------------------------------------------------------------------------------------------


def test_is_for_its_owner_alone(listener: Listener) -> None:
    assert mode_of(listener.path) == 0o600
    assert stat.S_ISSOCK(os.stat(listener.path).st_mode)
    assert can_connect(listener.path)


@pytest.mark.parametrize("umask", [0, 0o077, 0o777], ids=oct)
def test_the_umask_changes_nothing_and_is_not_changed(socket_path: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        with Listener.open():
            assert mode_of(socket_path) == 0o600
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


@needs_root
def test_is_opened_to_a_group(socket_path: str) -> None:
    with Listener.open(group=4321):
        status = os.stat(socket_path)
        assert (stat.S_IMODE(status.st_mode), status.st_gid, status.st_uid) == (0o660, 4321, os.geteuid())


def test_a_stale_socket_is_taken_over(socket_path: str) -> None:
    leave_stale(socket_path)
    assert not can_connect(socket_path)
    with Listener.open() as listener:
        assert can_connect(socket_path)
        assert mode_of(socket_path) == 0o600
        accepted = listener.accept()
        assert accepted is not None
        accepted[0].close()


def test_a_second_engine_says_that_the_first_is_there(listener: Listener) -> None:
    inode = os.stat(listener.path).st_ino
    with pytest.raises(EngineRunningError, match=f"{listener.path}.*process {os.getpid()}$"):
        Listener.open()
    assert os.stat(listener.path).st_ino == inode
    assert can_connect(listener.path)


def test_the_pid_told_is_of_the_engine(socket_path: str) -> None:
    ready, say_ready = os.pipe()

    def be_an_engine() -> None:
        with Listener.open():
            os.write(say_ready, b"!")
            select.select([], [], [], 20)

    pid = fork(be_an_engine)
    try:
        assert os.read(ready, 1) == b"!"
        with pytest.raises(EngineRunningError, match=f"{socket_path}.* {pid}$"):
            Listener.open()
    finally:
        forget(pid)
        os.close(ready)
        os.close(say_ready)
    with Listener.open():  # killed: it left a stale one
        assert can_connect(socket_path)


def test_an_engine_that_takes_no_calls_any_more_is_there_still(socket_path: str) -> None:
    with socket.socket(socket.AF_UNIX) as stuck, socket.socket(socket.AF_UNIX) as waiting:
        stuck.bind(socket_path)
        stuck.listen(0)
        waiting.connect(socket_path)
        inode = os.stat(socket_path).st_ino
        try:
            with pytest.raises(EngineRunningError, match="stuck"):
                Listener.open()
        finally:
            assert os.stat(socket_path).st_ino == inode


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling", "fifo"])
def test_what_is_no_socket_is_left_alone(socket_path: str, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "precious"
    if kind == "file":
        Path(socket_path).write_text("precious")
    elif kind == "directory":
        Path(socket_path).mkdir()
    elif kind == "link":
        target.write_text("precious")
        Path(socket_path).symlink_to(target)
    elif kind == "dangling":
        Path(socket_path).symlink_to(target)
    else:
        os.mkfifo(socket_path)
    before = os.lstat(socket_path)
    with pytest.raises(EngineUnavailableError, match=f"{socket_path} .*no socket"):
        Listener.open()
    after = os.lstat(socket_path)
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, before.st_size)
    assert target.exists() is (kind == "link")


def test_a_path_that_is_too_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    longest = f"{tmp_path}/".ljust(107, "x")
    monkeypatch.setenv("PROC_CACHE_SOCKET", longest)
    with Listener.open():
        assert can_connect(longest)
    monkeypatch.setenv("PROC_CACHE_SOCKET", f"{longest}x")
    with pytest.raises(EngineUnavailableError, match=r"too long.*PROC_CACHE_SOCKET"):
        Listener.open()
    assert EngineClient.connect() is None


def test_the_length_is_counted_in_bytes() -> None:
    assert not address.is_too_long("é" * 53)
    assert address.is_too_long("é" * 54)


@pytest.mark.parametrize("place", ["missing/socket", "file/socket"])
def test_a_directory_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROC_CACHE_SOCKET", str(tmp_path / place))
    with pytest.raises(EngineUnavailableError, match="PROC_CACHE_SOCKET") as caught:
        Listener.open()
    assert str(tmp_path / place) in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_directory_that_is_not_for_this_user(socket_path: str) -> None:
    def try_it() -> None:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            Listener.open()
        except EngineUnavailableError:
            os._exit(7)

    pid = fork(try_it)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert not os.path.exists(socket_path)


def test_a_path_without_a_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROC_CACHE_SOCKET", "socket")
    with Listener.open():
        assert can_connect(str(tmp_path / "socket"))
    assert os.listdir(tmp_path) == []


def test_nothing_that_is_opened_is_inherited(listener: Listener) -> None:
    assert not os.get_inheritable(listener.socket.fileno())
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(listener.path)
        accepted = listener.accept()
        assert accepted is not None
        with accepted[0] as sock:
            assert not os.get_inheritable(sock.fileno())
            assert not sock.getblocking()
            assert accepted[1] == os.getpid()


def test_no_call_is_none(listener: Listener) -> None:
    assert listener.accept() is None


# --- two engines ------------------------------------------------------------------------------------------


def _race(barrier_path: str, path: str) -> str:
    os.environ["PROC_CACHE_SOCKET"] = path
    with open(barrier_path, "rb") as barrier:
        fcntl.flock(barrier, fcntl.LOCK_SH)  # all begin when the test lets go
    try:
        listener = Listener.open()
    except EngineRunningError:
        return "running"
    listener.socket.detach()  # it lives until its process ends
    return "won"


@pytest.mark.parametrize("is_stale", [True, False], ids=["stale", "free"])
def test_of_engines_that_start_at_once_one_wins(socket_path: str, tmp_path: Path, is_stale: bool) -> None:
    """Each in a process of its own, for what one of them holds must not hold up the others."""
    barrier = tmp_path / "barrier"
    barrier.write_text("")
    with get_context("fork").Pool(4) as pool:
        for attempt in range(8):
            path = f"{socket_path}{attempt}"
            if is_stale:
                leave_stale(path)
            with barrier.open("rb") as gate:
                fcntl.flock(gate, fcntl.LOCK_EX)
                outcomes = [pool.apply_async(_race, (str(barrier), path)) for _ in range(4)]
            said = sorted(outcome.get(timeout=10) for outcome in outcomes)
            assert said == ["running", "running", "running", "won"], f"attempt {attempt}"
            assert can_connect(path)


def test_who_holds_the_directory_for_long_is_not_waited_for(
    socket_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_LOCK_S", 0.05)
    directory = os.open(os.path.dirname(socket_path), os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        with Listener.open():
            assert can_connect(socket_path)
    finally:
        os.close(directory)


def test_the_directory_is_free_again(listener: Listener) -> None:
    directory = os.open(os.path.dirname(listener.path), os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(directory)


# --- leaving it -------------------------------------------------------------------------------------------


def test_closing_removes_it(socket_path: str) -> None:
    listener = Listener.open()
    listener.close()
    assert not os.path.lexists(socket_path)
    listener.close()  # can be repeated
    assert os.listdir(os.path.dirname(socket_path)) == []


def test_closing_twice_leaves_the_next_engines_alone(socket_path: str) -> None:
    first = Listener.open()
    first.close()
    with Listener.open():
        first.close()
        assert can_connect(socket_path)


def test_closing_leaves_another_ones_alone(socket_path: str) -> None:
    first = Listener.open()
    os.unlink(socket_path)
    with Listener.open() as second:
        first.close()
        assert can_connect(socket_path)
        assert second.path == socket_path
    assert not os.path.lexists(socket_path)


def test_closing_after_the_directory_has_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setenv("PROC_CACHE_SOCKET", str(place / "socket"))
    listener = Listener.open()
    os.unlink(place / "socket")
    place.rmdir()
    listener.close()
    assert listener.socket.fileno() == -1


class ClosingSlowly:
    """A socket; right after it was closed, and before anything else, another engine starts."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.next: Listener | None = None

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        self.next = Listener.open()


def test_an_engine_that_starts_while_another_closes_keeps_its_socket(
    socket_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next file may have the inode of the one that has gone: on ext4 it has."""
    first = Listener.open()
    slow = ClosingSlowly(first.socket)
    monkeypatch.setattr(first, "socket", slow)
    first.close()
    assert slow.next is not None
    try:
        assert can_connect(socket_path)
    finally:
        with suppress(OSError):
            slow.next.close()


# --- where it is ------------------------------------------------------------------------------------------


def paths(*, euid: int, monkeypatch: pytest.MonkeyPatch, **environment: str) -> tuple[str | None, list[str]]:
    for name in ("PROC_CACHE_SOCKET", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    return address.own_path(), address.asked_paths()


def test_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    system = "/run/proc-cache.sock"

    def at(euid: int, **environment: str) -> tuple[str | None, list[str]]:
        return paths(euid=euid, monkeypatch=monkeypatch, **environment)

    assert at(0) == (system, [system])
    assert at(0, XDG_RUNTIME_DIR="/run/user/0") == (system, [system])
    own = "/run/user/1000/proc-cache.sock"
    assert at(1000, XDG_RUNTIME_DIR="/run/user/1000") == (own, [own, system])
    assert at(1000) == (None, [system])
    assert at(1000, XDG_RUNTIME_DIR="") == (None, [system])
    assert at(1000, XDG_RUNTIME_DIR="/run/user/1000", PROC_CACHE_SOCKET="/x") == ("/x", ["/x"])
    assert at(0, PROC_CACHE_SOCKET="/x") == ("/x", ["/x"])
    assert at(0, PROC_CACHE_SOCKET="") == (system, [system])


def test_nowhere_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    paths(euid=1000, monkeypatch=monkeypatch)
    with pytest.raises(EngineUnavailableError, match="XDG_RUNTIME_DIR"):
        Listener.open()


# --- who may call -----------------------------------------------------------------------------------------


def call_as(path: str, *, uid: int, gid: int, groups: list[int]) -> subprocess.Popen[bytes]:
    """A caller that connects, says so by a line, and waits for its end."""
    script = (
        "import socket, sys\n"
        "caller = socket.socket(socket.AF_UNIX)\n"
        f"caller.connect({path!r})\n"
        "print('connected', flush=True)\n"
        "sys.stdin.read()\n"
    )
    return subprocess.Popen(
        ["/usr/bin/env", "-i", _python_for_all(), "-S", "-E", "-c", script],
        user=uid,
        group=gid,
        extra_groups=groups,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    )


def _python_for_all() -> str:
    for candidate in ("/usr/bin/python3", os.path.realpath(sys.executable)):
        if os.path.exists(candidate):
            return candidate
    pytest.skip("no Python that others can run")


MANY = list(range(30_000, 31_000))


@needs_root
@pytest.mark.parametrize(
    ("gid", "groups", "is_let_in"),
    [
        pytest.param(4321, [], True, id="primary"),
        *(
            pytest.param(
                NOBODY,
                groups,
                True,
                id=f"supplementary-{len(groups)}",
            )
            for groups in ([4321], [4320, 4321, 4322], [4321, *MANY])
        ),
        pytest.param(NOBODY, [], False, id="none"),
        pytest.param(NOBODY, [4320, 4322], False, id="others"),
        pytest.param(4320, [], False, id="another"),
        pytest.param(NOBODY, MANY, False, id="many-others"),
    ],
)
def test_members_of_the_group_are_let_in(socket_path: str, gid: int, groups: list[int], is_let_in: bool) -> None:
    os.chmod(os.path.dirname(socket_path), 0o755)
    with Listener.open(group=4321) as listener:
        os.chmod(socket_path, 0o666)  # so that it is the credentials that are looked at
        with call_as(socket_path, uid=NOBODY, gid=gid, groups=groups) as caller:
            assert caller.stdout is not None
            assert caller.stdout.readline() == b"connected\n"
            accepted = listener.accept()
            caller.communicate()
        assert (accepted is not None) is is_let_in
        if accepted is not None:
            assert accepted[1] == caller.pid
            accepted[0].close()


@needs_root
def test_without_a_group_it_is_the_owner_and_root(socket_path: str) -> None:
    os.chmod(os.path.dirname(socket_path), 0o755)
    with Listener.open() as listener:
        os.chmod(socket_path, 0o666)
        with call_as(socket_path, uid=NOBODY, gid=0, groups=[0]) as caller:
            assert caller.stdout is not None
            assert caller.stdout.readline() == b"connected\n"
            assert listener.accept() is None
            assert listener.accept() is None
            caller.communicate()
