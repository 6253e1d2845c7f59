"""Execs are read before all else: who is gone when its messages have their turn has its name and arguments."""

from __future__ import annotations

import os
import select
import subprocess
from typing import TYPE_CHECKING

import pytest

from proc_cache import Engine
from proc_cache.engine import intake
from proc_cache.kernel import socket_filter
from proc_cache.kernel.netlink import ProcConnector
from proc_cache.process import Source
from tests.helpers.processes import DEADLINE_S, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kernel


@pytest.fixture
def connector() -> Iterator[ProcConnector]:
    with ProcConnector.open(has_exec_lane=True) as opened:
        while opened.receive():  # what came before the acknowledgement
            pass
        yield opened


def take_until(connector: ProcConnector, pid: int) -> list[int]:
    """Take execs from the lane until one of this process is among them; gives the pids, in order."""
    assert connector.exec_lane is not None
    seen: list[int] = []
    while pid not in seen:
        assert connector.wait(DEADLINE_S), "no exec was told"
        seen += [told for told, _ in connector.exec_lane.take()]
    return seen


def test_the_lane_has_execs_and_nothing_else(connector: ProcConnector, fork_storm: Path) -> None:
    connector.hold_back(True)
    subprocess.run([fork_storm, "200"], check=True)
    with running(["sleep", "1000"]) as sleeper:
        assert sleeper.pid in take_until(connector, sleeper.pid)
    assert connector.exec_lane is not None
    assert connector.exec_lane.take() == []


def test_held_back_only_execs_wake_up(connector: ProcConnector, fork_storm: Path) -> None:
    connector.hold_back(True)
    with running(["sh", "-c", "read go; (exit 0); (exit 0); echo done; read end"]) as shell:
        take_until(connector, shell.pid)
        assert shell.stdin is not None
        assert shell.stdout is not None
        while connector.wait(0):  # of other programs on this machine
            assert connector.exec_lane is not None
            connector.exec_lane.take()
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == b"done\n"  # it has forked twice
        woken_by = connector.exec_lane.take() if connector.wait(0) and connector.exec_lane is not None else []
        assert shell.pid not in [pid for pid, _ in woken_by]
        connector.hold_back(False)
        assert connector.wait(0), "its forks are there to be received"


def test_a_program_that_is_gone_long_before_its_messages_are_applied_is_known() -> None:
    with Engine() as engine:
        engine.start()
        connector = engine.intake.connector
        assert connector is not None
        with running(["sleep", "1000"]) as program:
            poll = select.poll()
            poll.register(engine.fileno(), select.POLLIN)
            while not any(pid == program.pid for pid, _ in engine.tree.process_tree._seen_early):
                assert poll.poll(DEADLINE_S * 1000), "no exec was told"
                engine.intake.glance()
        assert not os.path.exists(f"/proc/{program.pid}")
        assert program.pid not in engine.table.newest
        while engine.intake.drain():
            pass
        node = engine.table.newest[program.pid]
        assert (node.cmd, node.source) == ("sleep", Source.EXEC)
        assert node.cmdline == b"sleep\x001000\x00"
        assert engine.tree.process_tree._seen_early == {}


def test_without_a_lane_all_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no filter can be attached (a kernel without them, a sandbox) every message wakes the engine up."""
    monkeypatch.setattr(socket_filter, "attach", lambda _sock, _instructions: False)
    with Engine() as engine:
        engine.start()
        assert engine.intake.connector is not None
        assert engine.intake.connector.exec_lane is None
        with running(["sleep", "1000"]) as sleeper:
            while sleeper.pid not in engine.table.newest or engine.table.newest[sleeper.pid].cmd != "sleep":
                assert engine.pump(DEADLINE_S), "it is not told"


def test_execs_that_were_read_and_never_told_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    monkeypatch.setattr("proc_cache.engine.tree.SEEN_EARLY_MAX", 3)
    for number in range(10):
        engine.tree.process_tree.look_at(os.getpid(), number)
    assert len(engine.tree.process_tree._seen_early) <= 3


def test_messages_wait_for_a_batch_and_no_longer() -> None:
    with Engine() as engine:
        engine.start()
        with running(["sleep", "1000"]) as sleeper:
            received = 0
            while sleeper.pid not in engine.table.newest:
                assert engine.intake.rest() <= max(intake.BATCH_S, intake.RECORDS_WAIT_S) or not received
                received += engine.intake.look()
