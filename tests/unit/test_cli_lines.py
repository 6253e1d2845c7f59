"""cli/lines.py: what `watch` writes of what it is told."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache.cli.lines import Lines
from proc_cache.events import Exec
from proc_cache.process import Node, Source
from proc_cache.query import Walk
from proc_cache.service.facts import Told
from proc_cache.service.following import ChildEnded, Missed
from proc_cache.service.picture import Picture
from tests.helpers.told import a_node, some_stats, told_of

if TYPE_CHECKING:
    from pathlib import Path

    from proc_cache.service.following import Piece

HOSTILE = b"\x1b[2J|;\n\r\\\xff\xe2\x80\xae".decode("utf-8", "surrogateescape")
Captured = pytest.CaptureFixture[str]


def shell(pid: int = 500, **facts: Any) -> Node:
    return a_node(pid, a_node(1, cmd="systemd"), **facts)


def shown(
    capsys: Captured, *pieces: Any, is_json: bool = False, count: int | None = None
) -> tuple[list[str], str]:
    """Show them to a new one: its lines, and what it says beside them."""
    Lines("ndjson" if is_json else "lines", count).show(iter(pieces))
    out, err = capsys.readouterr()
    assert not out or out.endswith("\n")
    return out.split("\n")[:-1], err


def test_a_line_for_each_event(capsys: Captured) -> None:
    node = shell(cmdline=b"sh\0-c\0exit 3\0", exit_status=768, exit_ns=3_000_000_000)
    lines, err = shown(capsys, *(told_of(node, kind) for kind in ("fork", "exec", "exit")))
    assert err == ""
    assert [line.split(" ", 1)[1] for line in lines] == [
        "fork 500|sh|root;1|systemd|root",
        "exec 500|sh|root;1|systemd|root  sh -c exit 3",
        "exit 500|sh|root;1|systemd|root  [exit 3 after 2s]",
    ]


def test_an_object_for_each_event(capsys: Captured) -> None:
    lines, err = shown(capsys, told_of(shell()), told_of(shell(501), "fork"), is_json=True)
    first, second = (json.loads(line) for line in lines)
    assert (first["event"], first["pid"], first["chain"]) == ("exec", 500, "500|sh|root;1|systemd|root")
    assert (second["event"], second["pid"], second["timestamp_ns"]) == ("fork", 501, 2_000_000_000)
    assert err == ""


@pytest.mark.parametrize("is_json", [False, True])
def test_a_parent_that_is_not_known_ends_the_chain(capsys: Captured, is_json: bool) -> None:
    node = a_node(500, ppid=77)
    told = Told(told_of(node).kind, 5, Walk((node,), None, 77), None)
    lines, _ = shown(capsys, told, is_json=is_json)
    assert "500|sh|root;77|unknown|unknown" in lines[0]


# --- how many ---------------------------------------------------------------------------------------------


class TestCount:
    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_so_many_and_no_more(self, capsys: Captured, count: int) -> None:
        lines = Lines("lines", count)
        for pid in (500, 501, 502, 503):
            assert lines.is_done == (pid - 500 >= count)
            lines.show(iter([told_of(shell(pid))]))
        assert len(capsys.readouterr().out.splitlines()) == count

    def test_though_more_come_at_once(self, capsys: Captured) -> None:
        lines, _ = shown(capsys, *(told_of(shell(pid)) for pid in range(500, 510)), count=3)
        assert [line.split()[2].split("|")[0] for line in lines] == ["500", "501", "502"]

    def test_what_is_missing_is_not_counted(self, capsys: Captured) -> None:
        lines, _ = shown(capsys, Missed(5, True), ChildEnded(7), told_of(shell()), count=1)
        assert len(lines) == 1

    def test_without_one_there_is_no_end(self, capsys: Captured) -> None:
        lines = Lines("lines", None)
        lines.show(told_of(shell(pid)) for pid in range(1, 1000))
        assert (lines.is_done, len(capsys.readouterr().out.splitlines())) == (False, 999)

    def test_of_the_kinds_that_are_asked_for(self, capsys: Captured) -> None:
        """More may be told, for the tree of a command: that is neither written nor counted."""
        lines = Lines("lines", 2, frozenset((Exec,)))
        for kind in ("fork", "exec", "exit", "exec", "exec"):
            lines.show([told_of(shell(), kind)])
        written = capsys.readouterr().out.splitlines()
        assert [line.split()[1] for line in written] == ["exec", "exec"]


# --- what is missing --------------------------------------------------------------------------------------


class TestMissing:
    def test_what_was_dropped_is_told_beside_the_lines(self, capsys: Captured) -> None:
        lines, err = shown(capsys, told_of(shell()), Missed(1234, False), told_of(shell(501)))
        assert len(lines) == 2
        (remark,) = err.splitlines()
        assert remark.startswith("proc-cache: 1234 events are missing here")
        assert "the engine has them" in remark

    def test_what_was_lost_nobody_has(self, capsys: Captured) -> None:
        lines, err = shown(capsys, Missed(7, True))
        assert lines == []
        (remark,) = err.splitlines()
        assert remark.startswith("proc-cache: 7 messages of the kernel were lost")
        assert "engine has" not in remark

    def test_the_remark_stands_in_its_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where both go to one file or terminal: what was written before it is there before it."""
        path = tmp_path / "both"
        with path.open("a", encoding="utf-8") as out, path.open("a", encoding="utf-8") as err:
            monkeypatch.setattr(sys, "stdout", out)
            monkeypatch.setattr(sys, "stderr", err)
            pieces: list[Piece] = [told_of(shell(500)), Missed(3, False), told_of(shell(501))]
            Lines("lines", None).show(iter(pieces))
            monkeypatch.undo()
        lines = path.read_text().splitlines()
        assert ["500|" in lines[0], "missing" in lines[1], "501|" in lines[2]] == [True] * 3, lines

    def test_what_is_for_a_screen_is_not_shown(self, capsys: Captured) -> None:
        assert shown(capsys, Picture(some_stats(), (), ())) == ([], "")


# --- names that mean harm ---------------------------------------------------------------------------------


OF_HOSTILE: Any = {
    "cmd": HOSTILE,
    "cmdline": b"\x1b]0;title\x07\0\n\0" + HOSTILE.encode("utf-8", "surrogateescape") + b"\0",
    "former": (HOSTILE,),
    "full_name": HOSTILE,
    "uid": HOSTILE,
}


class TestHostile:
    @pytest.mark.parametrize("kind", ["fork", "exec", "exit"])
    def test_in_a_line(self, capsys: Captured, kind: str) -> None:
        node = shell(**OF_HOSTILE, exit_ns=5, exit_status=9)
        assert node.parent is not None
        node.parent.cmd = HOSTILE
        lines, _ = shown(capsys, told_of(node, kind, adopter=HOSTILE))
        (line,) = lines
        assert line.isprintable()
        assert r"500|\x1b[2J\x7c\x3b\x0a\x0d\x5c\xff\u202e|" in line

    def test_in_an_object(self, capsys: Captured) -> None:
        lines, _ = shown(capsys, told_of(shell(**OF_HOSTILE), adopter=HOSTILE), is_json=True)
        (line,) = lines
        assert line.isprintable()
        told = json.loads(line)
        assert "cmd_raw" in told

    @pytest.mark.parametrize("source", [Source.UNREAD, Source.INHERITED])
    def test_a_name_that_was_not_read_is_marked(self, capsys: Captured, source: str) -> None:
        lines, _ = shown(capsys, told_of(shell(cmd="bash", source=source)))
        assert ("500|bash?|" in lines[0]) == (source == Source.UNREAD)
