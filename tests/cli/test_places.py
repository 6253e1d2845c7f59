"""`--wide` and `--ns`, and that who does not ask for them pays nothing."""

from __future__ import annotations

import os

import pytest

from proc_cache.cli import main, plain
from tests.helpers.cli import proc_cache

ME = str(os.getpid())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of /proc that are read only where an answer needs them, as they are opened."""
    opened: list[str] = []
    really_open = os.open

    def note(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        name = os.fsdecode(path).rpartition("/")[2]
        if name in ("cgroup", "status"):
            opened.append(name)
        return really_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", note)
    return opened


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["chain", ME], set()),
        (["chain", "--format", "chain", ME], set()),
        (["chain", "--format", "tree", ME], {"cgroup"}),
        (["chain", "--format", "json", ME], {"cgroup"}),
        (["chain", "--wide", ME], set()),
        (["chain", "--ns", "--format", "ndjson", ME], {"cgroup", "status"}),
        (["descendant", ME, "no-such-name"], set()),
        (["descendant", "--format", "tree", ME, "no-such-name"], set()),
        (["descendant", "--format", "tree", "--wide", ME, "no-such-name"], {"cgroup"}),
        (["descendant", "--format", "json", ME, "no-such-name"], {"cgroup"}),
        (["snapshot"], set()),
        (["snapshot", "--format", "tree"], set()),
        (["snapshot", "--wide"], {"cgroup"}),
        (["snapshot", "--ns"], {"status"}),
        (["snapshot", "--format", "json"], {"cgroup"}),
    ],
    ids=" ".join,
)
def test_what_is_read_for_an_answer(
    arguments: list[str], files: set[str], asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    action = plain.read(arguments)
    if action is None:
        main._dispatch_by_typer(arguments)
    else:
        action()
    assert set(asked) == files
    assert capsys.readouterr().out


def test_a_wide_table() -> None:
    ended = proc_cache("snapshot", "--wide", "--ns", "--under", ME)
    assert ended.status == 0
    headings = "PID PPID USER STARTED NSPID UNIT CONTAINER TTY SESSION CMD CMDLINE"
    assert ended.lines[0].split() == headings.split()
    (row,) = [line.split() for line in ended.lines if line.split()[0] == ME]
    assert row[headings.split().index("SESSION")] == str(os.getsid(0) or "-")


def test_the_order_of_options_does_not_matter() -> None:
    told = [
        proc_cache(*arguments).stdout
        for arguments in (
            ["chain", "--wide", "--ns", "--format", "tree", "--no-engine", ME],
            ["chain", ME, "--format", "tree", "--no-engine", "--ns", "--wide"],
        )
    ]
    assert told[0] == told[1]
    assert told[0]


def test_a_descendant_is_not_asked_for_pids_inside() -> None:
    ended = proc_cache("descendant", "--ns", ME, "sh")
    assert (ended.status, ended.stdout) == (2, "")
