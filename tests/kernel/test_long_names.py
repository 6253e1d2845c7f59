"""Names longer than the kernel keeps: `descendant` finds a program by the name of its file, and by no other."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from proc_cache.events import Comm, Exec
from tests.helpers.cli import proc_cache
from tests.helpers.processes import Record, comm_of, pump_until, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proc_cache import Engine

pytestmark = pytest.mark.kernel

NAME = "victoria-metrics-prod"
CUT = b"victoria-metric"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy(os.path.realpath(sleep), tmp_path / NAME)
    return tmp_path / NAME


@contextmanager
def run_as(program: Path, *arguments: str) -> Iterator[int]:
    """Run a program with arguments of one's own choice, its name among them or not."""
    with subprocess.Popen(arguments, executable=program, stdin=subprocess.PIPE) as process:
        try:
            wait_until(lambda: comm_of(process.pid) == CUT, "it has been exec'ed")
            yield process.pid
        finally:
            process.kill()


def test_is_found_by_the_file_that_it_runs(program: Path) -> None:
    with run_as(program, "vm", "1000") as pid:
        ended = proc_cache("descendant", "--format", "json", str(pid), NAME)
        assert ended.status == 0, ended
        answer = ended.json()
        assert (answer["descendant"], answer["matched_by"]) == (True, "exe")
        assert answer["match"]["pid"] == pid


@pytest.mark.parametrize("other", ["victoria-metrics-prodx", "victoria-metrics", "victoria-metrics-pro"])
def test_another_name_with_the_same_beginning_is_no_yes(program: Path, other: str) -> None:
    with run_as(program, "vm", "1000") as pid:
        ended = proc_cache("descendant", str(pid), other)
        assert ended.status != 0, ended
        answer = proc_cache("descendant", "--format", "json", str(pid), other).json()
        assert answer["descendant"] is not True


def test_is_found_when_the_file_was_deleted(program: Path) -> None:
    """An update replaced it while it ran."""
    with run_as(program, "vm", "1000") as pid:
        program.unlink()
        assert os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")
        assert proc_cache("descendant", str(pid), NAME).status == 0
        assert proc_cache("descendant", str(pid), f"{NAME} (deleted)").status != 0


def test_a_script_is_found_by_its_arguments(tmp_path: Path) -> None:
    """The file that runs is its interpreter's."""
    script = tmp_path / NAME
    script.write_text("#!/bin/sh\nread stay\n")
    script.chmod(0o755)
    with run_as(script, str(script)) as pid:
        ended = proc_cache("descendant", "--format", "json", str(pid), NAME)
        assert ended.status == 0, ended
        assert ended.json()["matched_by"].startswith("argv[")
        assert proc_cache("descendant", str(pid), f"{NAME}x").status != 0


def test_an_engine_knows_it_of_the_dead(engine: Engine, program: Path) -> None:
    record = Record(engine)
    with run_as(program, "vm", "1000") as pid:
        pump_until(engine, lambda: record.of(Exec, pid), "exec'ed")
    pump_until(engine, lambda: engine.table.newest[pid].exit_ns, "it has ended")
    descent = engine.descent(pid, NAME)
    assert (descent.descendant, descent.matched_by) == (True, "exe")
    assert descent.match is not None
    assert (descent.match.full_name, descent.match.is_alive) == (NAME, False)
    assert engine.descent(pid, f"{NAME}x").descendant is not True
    assert engine.descent(pid, CUT.decode()).descendant is True


def test_goes_with_a_rename(engine: Engine, program: Path) -> None:
    """What it calls itself then is not the name of the file any more."""
    shell = shutil.which("sh")
    assert shell is not None
    program.unlink()
    shutil.copy(os.path.realpath(shell), program)
    record = Record(engine)
    with run_as(program, "vm", "-c", f"read go; echo {CUT.decode()} > /proc/self/comm; read stay") as pid:
        pump_until(engine, lambda: record.of(Exec, pid), "exec'ed")
        assert engine.table.newest[pid].full_name == NAME
        with open(f"/proc/{pid}/fd/0", "wb") as stdin:
            stdin.write(b"\n")
        pump_until(engine, lambda: record.of(Comm, pid), "renamed")
        assert engine.table.newest[pid].full_name is None
        assert engine.descent(pid, NAME).descendant is not True
