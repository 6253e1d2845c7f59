"""Two ways into a command, without Typer and with it: the same bytes, the same exit status."""

from __future__ import annotations

import os

import pytest

from proc_cache.cli import main, plain

ME = str(os.getpid())
NOBODY_HAS = "4194305"

CHAINS = [
    [*form, *engine, *pids]
    for form in ([], *(["--format", form] for form in ("chain", "tree", "json", "ndjson")))
    for engine in ([], ["--no-engine"])
    for pids in ([ME], ["1", ME], [NOBODY_HAS], ["word"], ["12@tea-time"], [f"{ME}@-1h"])
]
DESCENTS = [
    [*words, *form, *flags]
    for words in ([ME, "no-such-name"], [ME, "python"], ["1", ""], ["word", "sh"], [NOBODY_HAS, "sh"])
    for form in ([], *(["--format", form] for form in ("chain", "tree", "json", "ndjson")))
    for flags in ([], ["--strict"], ["--quiet"], ["-q", "--strict", "--no-engine"])
]
SNAPSHOTS = [
    [*form, *flags]
    for form in ([], *(["--format", form] for form in ("table", "tree", "json", "ndjson")))
    for flags in ([], ["--no-engine"], ["--dead"], ["--from", "/nonexistent/history"])
]
PLAIN = [
    *(["chain", *rest] for rest in CHAINS),
    *(["descendant", *rest] for rest in DESCENTS),
    *(["snapshot", *rest] for rest in SNAPSHOTS),
]

NOT_PLAIN = [
    [],
    ["--help"],
    ["--version"],
    ["chain"],
    ["chain", "--help"],
    ["chain", "--format"],
    ["chain", "--format", "table", "1"],
    ["chain", "--format=tree", "1"],
    ["chain", "--", "1"],
    ["chain", "--quiet", "1"],
    ["chain", "1", "--no-such-option"],
    ["descendant", "1"],
    ["descendant", "1", "a", "b"],
    ["snapshot", "1"],
    ["snapshot", "--user", "root"],
    ["snapshot", "--format", "chain"],
    ["watch"],
    ["serve"],
    ["word"],
]


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_both_ways_are_one(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def ended(action: object) -> tuple[object, list[str], str]:
        status = None
        try:
            status = action() if callable(action) else main._dispatch_by_typer(arguments)
        except Exception as error:  # noqa: BLE001
            status = repr(error)
        out, err = capsys.readouterr()
        # What changes from one look to the next: processes come and go while pytest runs.
        return status, [line for line in out.splitlines() if ME in line or "unknown" in line], err

    action = plain.read(arguments)
    assert action is not None, "it is not read as plain"
    # A column is as wide as what is there needs: where somebody came between the two looks, both are taken again.
    for _ in range(4):
        if ended(action) == ended(None):
            return
    assert ended(action) == ended(None)


@pytest.mark.parametrize("arguments", NOT_PLAIN, ids=" ".join)
def test_all_else_is_left_to_typer(arguments: list[str]) -> None:
    assert plain.read(arguments) is None


def test_what_completions_ask_is_read_here_alone() -> None:
    assert plain.read(["_complete", "pids", "--help"]) is not None


def test_chain_reads_stdin_either_way(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from io import BytesIO, TextIOWrapper

    told = []
    for is_plain in (True, False):
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(f"{ME}\n\nword\n".encode())))
        action = plain.read(["chain", "-"])
        assert action is not None
        told.append((action() if is_plain else main._dispatch_by_typer(["chain", "-"]), capsys.readouterr()))
    assert told[0] == told[1]
    assert told[0][0] == 2
