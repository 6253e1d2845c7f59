"""Names that were made to hurt: from the kernel through the engine and the commands, unharmed and harmless."""

from __future__ import annotations

import base64
import os
import shutil
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache import build_chain
from proc_cache.events import Comm, Exec
from proc_cache.render.escape import unescape
from tests.helpers.cli import proc_cache
from tests.helpers.processes import Forked, Record, comm_of, pump_until, rename, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proc_cache import Engine

pytestmark = pytest.mark.kernel

NAMES = [
    b") R 1 (",
    b"two\nlines",
    b"a|b|root",
    b"a;1|b|root",
    b"\x1b[2J\x1b[1;1H",
    b"\xff\xfe",
    b"",
    b"back\\slash",
    b"\\x41",
    b"unknown",
    b"why?",
    b" ",
    b"\r\t\x07\x7f",
    "é-ü-中".encode(),
    "\u202eevil".encode(),
    b"\xc3",  # half a character
    "\x9b31m".encode(),  # CSI of C1
    b"123456789012345",
]
IDS = [ascii(name.decode("latin-1"))[1:-1] or "empty" for name in NAMES]


@pytest.fixture(scope="module")
def named() -> Iterator[dict[bytes, int]]:
    """A living process of each name."""
    with ExitStack() as children:
        yield {name: children.enter_context(Forked(partial(rename, name))).pid for name in NAMES}


def raw_name(described: dict[str, Any]) -> bytes:
    if "cmd_raw" in described:
        return base64.b64decode(described["cmd_raw"])
    return str(described["cmd"]).encode()


def is_harmless(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text)


@pytest.mark.parametrize("name", NAMES, ids=IDS)
def test_an_engine_knows_the_name_that_the_event_and_proc_tell(engine: Engine, name: bytes) -> None:
    record = Record(engine)
    with Forked(lambda: rename(name)) as child:
        pump_until(engine, lambda: record.of(Comm, child.pid), "renamed")
        told = engine.chain(child.pid).links[0].cmd
        assert told is not None
        assert told.encode("utf-8", "surrogateescape") == name == comm_of(child.pid)
        text = build_chain(engine.tree, engine.cache, child.pid)
        assert is_harmless(text)
        first, *rest = text.split(";")
        pid, cmd, _ = first.split("|")
        assert (int(pid), unescape(cmd).encode("utf-8", "surrogateescape")) == (child.pid, name)
        assert rest == build_chain(engine.tree, engine.cache, os.getpid()).split(";")


def test_an_exec_of_a_file_with_such_a_name(engine: Engine, tmp_path: Path) -> None:
    record = Record(engine)
    shell = shutil.which("sh")
    assert shell is not None
    for name in [b") R 1 (", b"two\nlines", b"\xff\x1b|;", b"(", b")"]:
        program = os.path.join(os.fsencode(tmp_path), name)
        shutil.copy(os.fsencode(os.path.realpath(shell)), program)
        with running([program, b"-c", b"read line", b"\xff\n"]) as process:
            pump_until(engine, lambda pid=process.pid: record.of(Exec, pid), "exec'ed")  # type: ignore[misc]
            node = engine.table.newest[process.pid]
            assert node.cmd.encode("utf-8", "surrogateescape") == name == comm_of(process.pid)
            assert node.source == "exec"
            described = proc_cache("chain", "--format", "ndjson", str(process.pid)).json()["links"][0]
            arguments = described.get("cmdline_raw")
            assert arguments is not None
            assert [base64.b64decode(argument) for argument in arguments] == [
                program,
                b"-c",
                b"read line",
                b"\xff\n",
            ]
            assert raw_name(described) == name


def test_the_one_line_form_is_one_line_and_gives_every_name_back(named: dict[bytes, int]) -> None:
    ended = proc_cache("chain", *map(str, named.values()))
    assert (ended.status, ended.stderr) == (0, "")
    assert is_harmless(ended.stdout)
    assert len(ended.lines) == len(NAMES)
    own = proc_cache("chain", str(os.getpid())).stdout.rstrip("\n")
    for (name, pid), line in zip(named.items(), ended.lines, strict=True):
        first, rest = line.split(";", 1)
        told_pid, cmd, user = first.split("|")
        assert (int(told_pid), user, rest) == (pid, "root", own)
        assert unescape(cmd).encode("utf-8", "surrogateescape") == name


def test_json_is_valid_and_gives_every_name_back(named: dict[bytes, int]) -> None:
    ended = proc_cache("chain", "--format", "json", *map(str, named.values()))
    assert ended.status == 0
    assert ended.raw.isascii()
    answers = ended.json()
    assert [raw_name(answer["links"][0]) for answer in answers] == NAMES
    lines = proc_cache("chain", "--format", "ndjson", *map(str, named.values())).lines
    assert len(lines) == len(NAMES)


@pytest.mark.parametrize(
    "command", [["chain", "--format", "tree"], ["snapshot"], ["snapshot", "--format", "tree"]]
)
def test_no_name_can_move_the_cursor_or_forge_a_line(command: list[str], named: dict[bytes, int]) -> None:
    arguments = [str(pid) for pid in named.values()] if command[0] == "chain" else ["--under", str(os.getpid())]
    ended = proc_cache(*command, *arguments)
    assert ended.status == 0
    assert is_harmless(ended.stdout)
    if command[0] == "snapshot":
        heading = 0 if "tree" in command else 1
        # This process, its children of these names, and the command itself; in a tree also who is above, in ().
        lines = [line for line in ended.lines if not line.lstrip(" │├└─").startswith("(")]
        assert len(lines) == heading + 1 + len(NAMES) + 1


def test_a_snapshot_in_json_has_every_name(named: dict[bytes, int]) -> None:
    by_pid = {process["pid"]: process for process in proc_cache("snapshot", "--format", "json").json()}
    assert [raw_name(by_pid[pid]) for pid in named.values()] == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if name], ids=[i for i in IDS if i != "empty"])
def test_descendant_finds_a_process_by_such_a_name(name: bytes, named: dict[bytes, int]) -> None:
    ended = proc_cache("descendant", str(named[name]), "--", name)
    assert ended.status == 0
    assert ended.stdout.startswith(f"{named[name]}|")


def test_arguments_longer_than_are_kept_are_cut_and_marked() -> None:
    """In the one-shot answer of /proc, 128 KiB; of two arguments of 100 KiB the second is cut."""
    long = "x" * 100_000
    with running(["sh", "-c", "read stay", long, long]) as process:
        ended = proc_cache("chain", "--format", "json", str(process.pid))
        link = ended.json()["links"][0]
        assert link["cmdline_cut"] is True
        assert link["cmdline"][:4] == ["sh", "-c", "read stay", long]
        assert link["cmdline"][5] == "…"
        assert 0 < len(link["cmdline"][4]) < len(long)
        whole = proc_cache("chain", "--format", "json", str(os.getpid())).json()["links"][0]
        assert "cmdline_cut" not in whole
