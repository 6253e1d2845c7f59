"""A PID that is given out again, forced through ns_last_pid: nothing of the former owner may answer for it."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from proc_cache.events import Exec, Fork
from tests.helpers.cli import proc_cache
from tests.helpers.processes import NOBODY, Record, forget, fork, in_turn, pump_until, rename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proc_cache import Engine

LAST_PID = "/proc/sys/kernel/ns_last_pid"  # CONFIG_CHECKPOINT_RESTORE

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not os.access(LAST_PID, os.W_OK), reason=f"{LAST_PID} cannot be written here"),
]


def as_pid(wanted: int, body: Callable[[], object]) -> int:
    """Fork a child that gets this PID; other processes are being born too, so it may take several attempts."""
    for _ in range(500):
        with open(LAST_PID, "w", encoding="ascii") as last_pid:
            last_pid.write(str(wanted - 1))
        pid = fork(body)
        if pid == wanted:
            return pid
        forget(pid)
    pytest.skip(f"PID {wanted} was not given out in 500 attempts")


@contextmanager
def reused(pid: int, body: Callable[[], object]) -> Iterator[None]:
    as_pid(pid, body)
    try:
        yield
    finally:
        forget(pid)


def former_owner() -> None:
    rename(b"former-owner")
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os._exit(3)


def test_a_reused_pid_inherits_nothing_and_the_former_owner_can_still_be_reached(engine: Engine) -> None:
    record = Record(engine)
    pid = fork(former_owner)
    os.waitpid(pid, 0)
    pump_until(engine, lambda: pid in engine.table.newest and engine.table.newest[pid].exit_ns, "it ended")
    former = engine.table.newest[pid]
    with reused(pid, signal.pause):
        pump_until(engine, lambda: len(record.of(Fork, pid)) >= 2, "the PID was given out again")
        new = record.of(Fork, pid)[-1]
        assert engine.table.newest[pid] is new is not former
        own_name = engine.table.newest[os.getpid()].cmd
        assert (new.cmd, new.uid, new.exit_ns, new.ppid) == (own_name, os.geteuid(), 0, os.getpid())
        assert new.start_ns > former.start_ns
        owners = list(engine.table.owners(pid))
        assert owners[0] is new
        assert former in owners
        assert (former.cmd, former.uid, former.exit_status) == ("former-owner", NOBODY, 3 << 8)
        chain = engine.chain(pid)
        assert (chain.links[0].cmd, chain.links[0].user, chain.links[0].is_alive) == (own_name, "root", True)
        assert [link.pid for link in chain.links].count(pid) == 1


def test_all_that_happened_before_the_first_look(engine: Engine) -> None:
    """Both owners come within one batch, perhaps within one clock tick: their order alone tells them apart."""
    pid = fork(former_owner)
    os.waitpid(pid, 0)
    with reused(pid, in_turn(lambda: rename(b"new-owner"), signal.pause)):
        pump_until(
            engine,
            lambda: pid in engine.table.newest and engine.table.newest[pid].cmd == "new-owner",
            "the new owner is known",
        )
        new, *former = engine.table.owners(pid)
        assert (new.exit_ns, new.uid) == (0, os.geteuid())
        assert [node.cmd for node in former][-1] == "former-owner"
        assert former[-1].exit_status == 3 << 8


def test_a_child_that_outlived_its_parent_is_not_given_to_the_next_owner_of_the_pid(engine: Engine) -> None:
    read, write = os.pipe()

    def parent() -> None:
        rename(b"real-parent")
        os.write(write, str(fork(signal.pause, dies_with_parent=False)).encode())

    pid = fork(parent)
    child_pid = int(os.read(read, 16))
    os.waitpid(pid, 0)
    try:
        with reused(pid, in_turn(lambda: rename(b"impostor"), signal.pause)):
            pump_until(
                engine,
                lambda: pid in engine.table.newest and engine.table.newest[pid].cmd == "impostor",
                "the new owner is known",
            )
            assert [(link.pid, link.cmd) for link in engine.chain(child_pid).links[:3]] == [
                (child_pid, "real-parent"),
                (pid, "real-parent"),
                (os.getpid(), engine.table.newest[os.getpid()].cmd),
            ]
            assert engine.descent(child_pid, "impostor").descendant is False
            assert engine.descent(child_pid, "real-parent", is_strict=True).descendant is True
            # A new scan sees the impostor under that PID, and changes nothing of this.
            engine.scan()
            assert engine.chain(child_pid).links[1].cmd == "real-parent"
            # The command sees /proc alone: the child was adopted, and the impostor is no ancestor of it.
            assert "impostor" not in proc_cache("chain", str(child_pid)).stdout
    finally:
        os.kill(child_pid, signal.SIGKILL)
        os.close(read)
        os.close(write)


def test_an_exec_of_the_new_owner_names_the_new_owner_alone(engine: Engine) -> None:
    record = Record(engine)
    pid = fork(former_owner)
    os.waitpid(pid, 0)
    with reused(pid, lambda: os.execv("/bin/sleep", ["sleep", "1000"])):
        pump_until(engine, lambda: record.of(Exec, pid), "exec'ed")
        new, *former = engine.table.owners(pid)
        assert (new.cmd, new.source, new.exit_ns) == ("sleep", "exec", 0)
        assert "sleep" not in [node.cmd for node in former]
        assert former[-1].cmd == "former-owner"
