"""render/live.py at a fixed size: what stands where, and that no name breaks it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from proc_cache.cli.live import LiveView
from proc_cache.engine.stats import CacheStats, Flood
from proc_cache.events import Exec
from proc_cache.query import Walk
from proc_cache.render.live import LiveRow
from proc_cache.service.facts import Told
from proc_cache.service.following import ChildEnded, Missed, Picture
from tests.helpers.screens import Drawn
from tests.helpers.told import a_node, some_stats, told_of

HOSTILE = b"\x1b[2J\x1b]0;x\x07\n\r\t\x08|;\\\xff\xc2\x9b\xe2\x80\xae[red]".decode("utf-8", "surrogateescape")
STARTED = re.compile(r"\d\d:\d\d:\d\d\.\d{3}  ")
RATES = "fork 1.0/s  exec 2.0/s  exit 3.0/s"
SIZES = pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 50), (60, 12)])


def row(number: int, *, chain: str = "", ending: str = "", is_failed: bool = False) -> LiveRow:
    chain = chain or f"{number}|sh|root;1|systemd|root"
    return LiveRow(started="12:00:00.123", chain=chain, ending=ending, is_failed=is_failed)


def drawn(monkeypatch: pytest.MonkeyPatch, rows: list[LiveRow], **more: Any) -> list[str]:
    columns, height = more.pop("columns", 80), more.pop("height", 24)
    spawners = more.pop("spawners", ())
    with Drawn(monkeypatch, columns, height) as screen:
        screen.screen.draw(some_stats(**more), RATES, rows, spawners)
        return screen.lines()


def programs(lines: list[str]) -> list[str]:
    """The rows of the list."""
    return [line for line in lines if STARTED.match(line)]


def line_with(lines: list[str], beginning: str) -> str:
    (found,) = [line for line in lines if line.startswith(beginning)]
    return found


# --- the layout -------------------------------------------------------------------------------------------


def test_what_stands_where(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = {"lost": 0, "alive": 11, "dead": 22, "overruns": 3, "receive_buffer_bytes": 8 << 20}
    lines = drawn(monkeypatch, [row(500), row(501, ending="exit 0 after 2ms")], spawners=[(7, "make", 9)], **stats)
    assert lines[0].startswith(f"lost 0   {RATES}   alive 11   dead 22   overruns 3")
    assert lines[1].startswith("priority fifo ")
    assert line_with(lines, "cache ").split()[1:] == ["size", "capacity", "hits", "misses", "expired", "evicted"]
    assert line_with(lines, "processes ").split()[1:] == ["1", "2", "3", "4", "5", "6"]
    assert line_with(lines, "users ").split()[1:] == ["7", "8", "9", "10", "11", "12"]
    assert line_with(lines, "top spawners") == "top spawners: 9 by 7 make"
    first, second = programs(lines)
    assert first == "12:00:00.123  500|sh|root;1|systemd|root"
    assert second.startswith("12:00:00.123  501|sh|root;1|systemd|root  ")
    assert second.endswith("exit 0 after 2ms")
    assert lines.index(first) > lines.index("top spawners: 9 by 7 make")


def test_a_wide_screen_shows_all_of_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn(monkeypatch, [], columns=160, receive_buffer_bytes=8 << 20)[0]
    assert first.endswith("buffer 8 MiB")


@pytest.mark.parametrize(("is_exact", "text"), [(True, "lost 5 "), (False, "lost >=5 ")])
def test_a_loss_that_is_not_exact_is_said_to_be_the_least(
    monkeypatch: pytest.MonkeyPatch, is_exact: bool, text: str
) -> None:
    assert drawn(monkeypatch, [], lost=5, lost_is_exact=is_exact)[0].startswith(text)


def test_without_spawners(monkeypatch: pytest.MonkeyPatch) -> None:
    assert line_with(drawn(monkeypatch, []), "top spawners") == "top spawners: none yet"


def test_a_spawner_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        line_with(drawn(monkeypatch, [], spawners=[(7, None, 3)]), "top spawners")
        == "top spawners: 3 by 7 unknown"
    )


# --- no line wraps ----------------------------------------------------------------------------------------


@SIZES
def test_each_program_has_one_row_and_the_newest_are_shown(
    monkeypatch: pytest.MonkeyPatch, columns: int, rows: int
) -> None:
    long = ";".join(f"{pid}|a-long-name-{pid}|root" for pid in range(100, 160))
    newest = [row(number, chain=f"{number}|{long}") for number in range(900, 1000)]
    shown = drawn(monkeypatch, newest, columns=columns, height=rows, spawners=[(1, "x" * 200, 5)] * 9)
    pids = [line.split()[1].split("|")[0] for line in programs(shown)]
    assert pids == [str(number) for number in range(900, 900 + len(pids))]  # in their order
    assert len(pids) >= max(1, rows - 10)
    first = shown.index(programs(shown)[0])
    assert programs(shown) == [line for line in shown[first:] if line]  # and nothing between them


@SIZES
def test_the_largest_figures_take_no_second_line(monkeypatch: pytest.MonkeyPatch, columns: int, rows: int) -> None:
    huge = 10**12
    caches = tuple(CacheStats(name, huge, huge, huge, huge, huge, huge) for name in ("processes", "users"))
    shown = drawn(monkeypatch, [row(500)], columns=columns, height=rows, caches=caches, alive=huge, lost=huge)
    beginnings = ["lost 1000000000000"[: columns - 1], "prio", "c", "p", "u", "top spawners", "", "12:00"]
    assert [line[: len(word)] for line, word in zip(shown, beginnings, strict=False)] == beginnings


@pytest.mark.parametrize("columns", [1, 10, 20])
@pytest.mark.parametrize("height", [1, 5, 10])
def test_a_screen_that_is_too_small_for_anything(
    monkeypatch: pytest.MonkeyPatch, columns: int, height: int
) -> None:
    drawn(monkeypatch, [row(500), row(501, ending="exit 1")], columns=columns, height=height)


def test_a_short_screen_shows_the_newest_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert any("|sh|" in line for line in drawn(monkeypatch, [row(500)], height=8))


def test_how_it_went_is_shown_beside_a_chain_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(500, chain="500|" + "x" * 300, ending="exit 3 after 2s", is_failed=True)]
    (line,) = programs(drawn(monkeypatch, rows))
    assert line.endswith("exit 3 after 2s")
    assert "…" in line


def test_wide_characters_are_counted_as_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(monkeypatch, [row(500, chain="500|" + "漢" * 100), row(501)])
    assert programs(shown)[1].startswith("12:00:00.123  501|")


# --- from a picture ---------------------------------------------------------------------------------------


def view_of(monkeypatch: pytest.MonkeyPatch, *pieces: Any, columns: int = 80) -> tuple[list[str], set[str]]:
    """What a live view shows of these, and what it does to the terminal besides."""
    screen = Drawn(monkeypatch, columns)
    with LiveView() as view:
        view.show(iter(pieces))
        lines = screen.lines()
    return lines, screen.sequences()


def program(pid: int = 500, **facts: Any) -> Told:
    return told_of(a_node(pid, a_node(1, cmd="systemd"), **facts))


def test_a_picture_is_drawn_with_its_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = program(501, exit_ns=3_000_000_000, exit_status=768)
    picture = Picture(some_stats(), (program(), ended), ((7, "make", 9),))
    lines, _ = view_of(monkeypatch, picture)
    assert "fork 0.0/s  exec 0.0/s  exit 0.0/s" in lines[0]
    first, second = programs(lines)
    assert "500|sh|root;1|systemd|root" in first
    assert "501|sh|root;1|systemd|root" in second
    assert second.endswith("exit 3 after 2s")


def test_the_newest_of_several_pictures_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (Picture(some_stats(alive=alive), (), ()) for alive in (1, 2))
    lines, _ = view_of(monkeypatch, old, Missed(3, True), ChildEnded(5), new)
    assert "alive 2 " in lines[0]


def test_rates_are_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("proc_cache.cli.live.monotonic_s", lambda: now_s)
    screen = Drawn(monkeypatch)
    with LiveView() as view:
        for second in range(20):
            now_s = 1000.0 + second
            counts = {"forks": second * 10, "execs": second * 20, "exits": 5}
            view.show(iter([Picture(some_stats(**counts), (), ())]))
        lines = screen.lines()
    assert "fork 10.0/s  exec 20.0/s  exit 0.0/s" in lines[0]


@pytest.mark.parametrize("columns", [80, 1000])
def test_names_that_mean_harm(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    parent = a_node(499, a_node(1, cmd=HOSTILE, uid=HOSTILE), cmd=HOSTILE)
    node = a_node(500, parent, cmd=HOSTILE, uid=HOSTILE, cmdline=b"\x1b[2J\0\n\0")
    told = Told(Exec, 2_000_000_000, Walk((node, parent), None, None), HOSTILE)
    picture = Picture(some_stats(), (told, program(501)), ((7, HOSTILE, 9), (8, "[bold]", 1)))
    _, plain_sequences = view_of(monkeypatch, Picture(some_stats(), (program(), program(501)), ()))
    lines, sequences = view_of(monkeypatch, picture, columns=columns)
    assert all(line.isprintable() for line in lines)
    assert sequences == plain_sequences  # they do nothing to the terminal that other names do not
    first, second = programs(lines)
    assert r"500|\x1b[2J\x1b]0\x3bx\x07\x0a\x0d\x09\x08\x7c\x3b\x5c\xff"[: columns // 2] in first
    assert "501|sh|root;1|systemd|root" in second
    spawners = line_with(lines, "top spawners")
    assert spawners.startswith(r"top spawners: 9 by 7 \x1b[2J\x1b]0;x\x07\x0a")
    if columns == 1000:
        assert "[red]" in first  # a name is no markup
        assert "[bold]" in spawners


def test_the_name_of_who_makes_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    floods = (Flood("comm", 5, HOSTILE, 1000, 9000, 1),)
    screen = Drawn(monkeypatch, 1000)
    with screen:
        screen.screen.draw(some_stats(floods=floods), RATES, [row(500)], ())
        lines = screen.lines()
    assert r"\x1b[2J\x1b]0;x\x07" in lines[1]
    assert all(line.isprintable() for line in lines)
    assert len(programs(lines)) == 1
