"""render/live.py at fixed sizes: what stands where, that nothing takes a second line, that no name breaks it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from proc_cache.engine.stats import CacheStats, Flood
from proc_cache.process import Node, Source
from proc_cache.render.glyphs import ASCII, UNICODE, Glyphs
from proc_cache.render.live_overlay import chain_lines, help_lines
from proc_cache.render.live_rows import ending_word, user_style
from proc_cache.service.facts import Told, ToldUsers
from proc_cache.service.picture import Spawner
from tests.helpers.frames import NOW_NS, drawn, family, frame, program, spawner, text_of
from tests.helpers.frozen import SECOND_NS
from tests.helpers.told import a_node, some_stats, told_of

HOSTILE = b"\x1b[2J\x1b]0;x\x07\n\r\t\x08|;\\\xff\xc2\x9b\xe2\x80\xae[red]".decode("utf-8", "surrogateescape")
HUGE = 10**12
SIZES = [(80, 24), (120, 40), (250, 70)]
EVERY_SIZE = pytest.mark.parametrize(("columns", "rows"), SIZES, ids=str)
GLYPHS = pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
ROW = re.compile(r"^[ ▸>] \d\d:\d\d:\d\d")


def rows_of(lines: list[str]) -> list[str]:
    """The lines of programs."""
    return [line for line in lines if ROW.match(line)]


def line_with(lines: list[str], word: str) -> str:
    found = [line for line in lines if word in line]
    assert len(found) == 1, (word, found)
    return found[0]


def some_programs(count: int = 100, name: str = "ast-grep") -> list[Told]:
    """The newest first: each by a shell of its own under one agent."""
    _, agent = family("systemd", "agent")
    programs = []
    for number in range(count):
        shell = a_node(1000 + number, agent, cmd="sh")
        node = a_node(5000 + number, shell, cmd=name, cmdline=b"ast-grep\0--json\0f.py\0", uid=number % 3 * 1000)
        node.exit_ns, node.exit_status = NOW_NS - SECOND_NS, 768 if number % 5 == 4 else 0
        programs.append(program(node, 90 - number / 100))
    return programs


# --- what stands where ------------------------------------------------------------------------------------


@EVERY_SIZE
@GLYPHS
def test_something_useful_of_everything(columns: int, rows: int, glyphs: Glyphs) -> None:
    shown = text_of(frame(some_programs(), [spawner()]), columns, rows, glyphs)
    text = "\n".join(shown)
    assert shown[0].startswith(" proc-cache  22:15:00  a-host")
    assert "LIVE" in shown[0]
    assert "newest first" in shown[0]
    for word in (
        "fork",
        "exec",
        "exit",
        "12/s",
        "lost 0",
        "priority fifo",
        "buffer",
        "processes",
        "expired",
        "evicted",
    ):
        assert word in text, word
    assert glyphs.bars[3] in text
    line = line_with(shown, "under 1204 agent")
    assert " ".join(line.split()) == "3,740 3,646 ast-grep by 94 short-lived sh under 1204 agent"
    assert len(rows_of(shown)) >= rows - 20
    assert f"{glyphs.failed} 3" in text
    assert shown[-1].startswith(" p pause")


@pytest.mark.parametrize(("columns", "rows", "least"), [(80, 24, 14), (120, 40, 17), (250, 70, 44)])
def test_the_programs_have_the_rest(columns: int, rows: int, least: int) -> None:
    programs = [program(a_node(5000 + number, None), 90) for number in range(100)]
    assert len(rows_of(text_of(frame(programs, [spawner()] * 20), columns, rows))) >= least


@EVERY_SIZE
@GLYPHS
def test_the_largest_figures_and_names_take_no_second_line(columns: int, rows: int, glyphs: Glyphs) -> None:
    caches = tuple(CacheStats(name, *[HUGE] * 6) for name in ("processes", "users", "漢" * 30))
    names = [f"漢{'x' * 300}", HOSTILE * 5, "🙂" * 90, ""]
    figures = dict.fromkeys(("lost", "overruns", "records", "records_lost", "steps_back", "unread", "alive"), HUGE)
    stats = some_stats(caches=caches, no_records="漢" * 500, priority="p" * 100, **figures)
    spawners = [spawner(HUGE, name, births=HUGE, program=name, between=name, between_count=HUGE) for name in names]
    programs = []
    for name in names:
        deep = family(*[name] * 50, first_pid=HUGE)
        deep[-1].cmdline, deep[-1].uid = name.encode("utf-8", "surrogateescape") * 50, name
        programs += [program(deep[-1]), program(deep[-3])]
    for order, is_tree in (("newest", True), ("newest", False), ("failed", False)):
        of = frame(programs, spawners, stats=stats, host="漢" * 200, text="漢" * 100, order=order, is_tree=is_tree)
        drawn(of, columns, rows, glyphs)
    drawn(frame(programs, stats=stats, text="漢" * 100, is_typing=True), columns, rows, glyphs)


@pytest.mark.parametrize("columns", [1, 2, 10, 20, 40, 79, 81, 149, 150, 400])
@pytest.mark.parametrize("rows", [1, 2, 5, 8, 12, 31, 32, 100])
def test_any_other_size(columns: int, rows: int) -> None:
    for more in ({}, {"is_typing": True}, {"overlay": tuple([("x" * 500, "")] for _ in range(50)), "scroll": 7}):
        drawn(frame(some_programs(), [spawner()] * 20, **more), columns, rows)


def test_a_short_screen_shows_the_newest_program() -> None:
    assert any("5000 ast-grep" in line for line in text_of(frame(some_programs()), 80, 8))


def test_a_screen_that_has_nothing_to_show_says_so() -> None:
    shown = text_of(frame())
    assert any("no program has run yet" in line for line in shown)
    assert any("none yet" in line for line in shown)
    assert any("nothing of that kind yet" in line for line in text_of(frame(text="x")))


# --- the head ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"is_paused": True}, ["PAUSED"]),
        ({"text": "cron"}, ["LIVE", "filter cron"]),
        ({"order": "failed"}, ["failures first"]),
        ({"order": "running"}, ["longest running first"]),
        ({"order": "user"}, ["by user"]),
    ],
    ids=repr,
)
def test_the_state_is_told(told: dict[str, Any], words: list[str]) -> None:
    head = text_of(frame(**told))[0]
    assert all(word in head for word in words)


@pytest.mark.parametrize(("is_exact", "text"), [(True, "lost 5 "), (False, "lost at least 5 ")])
def test_losses_stand_out(is_exact: bool, text: str) -> None:
    result = drawn(frame(stats=some_stats(lost=5, lost_is_exact=is_exact, floods=())))
    assert any(text in "".join(part for part, _ in line) for line in result.lines)
    assert any("5" in part and style == "bold red" for line in result.lines for part, style in line)


def test_floods_have_a_line() -> None:
    floods = (Flood("comm", 5, HOSTILE, 1000, 9000, 1),)
    line = line_with(text_of(frame(stats=some_stats(floods=floods)), 120, 40), "flood of comm events by 5")
    assert r"\x1b[2J" in line


def test_why_there_are_no_exit_records() -> None:
    shown = text_of(frame(stats=some_stats(no_records="no CAP_NET_ADMIN", floods=())), 200, 40)
    assert "exit records none" in line_with(shown, "no exit records: no CAP_NET_ADMIN")


def test_caches_are_a_table_where_there_is_room() -> None:
    caches = (
        CacheStats("processes", 65_848, 65_536, 2, 3, 4, 1_234_567),
        CacheStats("users", 7, 8, 9, 10, 11, 12),
    )
    stats = some_stats(caches=caches, oldest_exit_ns=NOW_NS - 90 * SECOND_NS, floods=())
    shown = text_of(frame(stats=stats), 120, 40)
    heading = line_with(shown, "capacity")
    assert heading.split() == ["cache", "size", "capacity", "hits", "misses", "expired", "evicted", "oldest"]
    figures = " ".join(line_with(shown, " processes  ").split()[1:])
    assert figures == "65,848 65,536 2 3 4 1,234,567 1m30s ago"
    assert line_with(shown, " users ").split()[1:] == ["7", "8", "9", "10", "11", "12"]
    assert (
        line_with(text_of(frame(stats=stats), 80, 24), "processes 65.8k").strip()
        == "processes 65.8k/65.5k hit 2 miss 3  expired 4 evicted 1.23M  oldest 1m30s"
    )


def test_on_a_wide_screen_rates_and_caches_stand_beside_each_other() -> None:
    assert "capacity" in line_with(text_of(frame(), 250, 70), "fork ")
    assert "capacity" not in line_with(text_of(frame(), 120, 70), "fork ")


# --- who starts most --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (spawner(), "3,740  3,646 ast-grep  by 94 short-lived sh  under 1204 agent"),
        (spawner(is_alive=False), "3,740  3,646 ast-grep  by 94 short-lived sh  under 1204 agent (ended)"),
        (spawner(between=None, between_count=0), "3,740  3,646 ast-grep    under 1204 agent"),
        (spawner(runs=0, program=None, between_count=0), "3,740  no programs    under 1204 agent"),
        (spawner(None, None), "3,740  3,646 ast-grep  by 94 short-lived sh  under parents that are not known"),
        (
            spawner(7, None, program=None, between=None),
            "3,740  3,646 unknown  by 94 short-lived unknown  under 7 unknown",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_spawner(of: Spawner, text: str) -> None:
    assert line_with(text_of(frame(spawners=[of])), "under").strip() == text


def test_how_many_a_second_where_there_is_room() -> None:
    of = frame(spawners=[spawner()], births_per_s={(1204, "agent"): 120.4})
    assert "+120/s" in line_with(text_of(of, 120, 40), "1204")
    assert "/s" not in line_with(text_of(of, 80, 24), "1204")


@pytest.mark.parametrize(("rows", "count"), [(24, 3), (40, 6), (70, 10)])
def test_as_many_as_there_is_room_for(rows: int, count: int) -> None:
    spawners = [spawner(100 + number) for number in range(20)]
    shown = [line for line in text_of(frame(spawners=spawners), 120, rows) if "short-lived" in line]
    assert [line.split()[-2] for line in shown] == [str(100 + number) for number in range(count)]


# --- programs ---------------------------------------------------------------------------------------------


def row_of(node: Node, columns: int = 120, **told: Any) -> str:
    (row,) = rows_of(text_of(frame([program(node)], **told), columns, 40))
    return row


def test_a_program_that_runs() -> None:
    node = family("systemd", "cron", "sleep")[-1]
    node.start_ns, node.cmdline = NOW_NS - 12 * SECOND_NS, b"sleep\0" + b"1000\0"
    assert row_of(node) == "  22:14:50.000     12s ●       root     1 systemd › 2 cron › 3 sleep  1000"


@pytest.mark.parametrize(
    ("status", "mark"),
    [(0, "·"), (768, "✗ 3"), (127 << 8, "✗ 127"), (9, "✗ KILL"), (0x8B, "✗ SEGV"), (64, "✗ RTMAX")],
)
def test_how_it_ended(status: int, mark: str) -> None:
    node = a_node(500, start_ns=NOW_NS - SECOND_NS, exit_ns=NOW_NS - SECOND_NS + 3_000_000, exit_status=status)
    assert row_of(node).split("root")[0] == f"  22:14:50.000     3ms {mark:7} "


def test_words_of_signals_that_have_no_name() -> None:
    assert [ending_word(number) for number in (40, 26, 64)] == ["sig40", "sig26", "RTMAX"]


def test_failures_are_red_and_users_have_their_colour() -> None:
    failed = a_node(500, cmd="make", exit_ns=NOW_NS, exit_status=256, uid=1000)
    fine = a_node(501, cmd="true", exit_ns=NOW_NS, exit_status=0, uid=1000)
    spans = [span for line in drawn(frame([program(failed), program(fine)])).lines for span in line]
    assert ("make", "bold red") in spans
    assert ("true", f"bold {user_style('alice')}") in spans
    assert any(text.startswith("✗ 1") and style == "bold red" for text, style in spans)


def test_the_colour_of_a_user_is_always_the_same_and_never_that_of_failures() -> None:
    assert user_style("alice") == user_style("alice")
    styles = {user_style(f"user-{number}") for number in range(100)}
    assert len(styles) > 5
    assert not any("red" in style for style in styles)
    assert (user_style("root"), user_style(None)) == ("", "dim")


def test_names_that_are_not_known_or_not_certain() -> None:
    assert row_of(a_node(500, cmd="", source=Source.FORK, uid=None)).split()[-3:] == ["unknown", "500", "unknown"]
    assert row_of(a_node(500, cmd="sh", source=Source.UNREAD)).endswith(" 500 sh?")


def test_generations_that_are_left_out_and_a_parent_that_is_not_known() -> None:
    node = family("systemd", "sh", "ls")[-1]
    node.left_out = 12
    assert row_of(node).endswith("1 systemd › 2 sh › … 12 left out › 3 ls")
    told = Told(object, NOW_NS, told_of(a_node(500)).walked, None)
    orphan = Told(told.kind, told.time_ns, type(told.walked)(told.walked.nodes, None, 77), None)
    (row,) = rows_of(text_of(frame([orphan]), 120, 40))
    assert row.endswith("77 unknown › 500 sh")


def test_of_a_chain_that_is_too_long_the_end_near_the_process_is_shown() -> None:
    row = row_of(family(*(f"ancestor-{number}" for number in range(50)), "ls")[-1], 80)
    assert re.search(r"root     … › (ancestor-\d\d › )*ancestor-49 › 51 ls$", row)


def test_as_a_list_names_stand_below_each_other_with_who_started_them() -> None:
    of = frame([program(family("systemd", "cron", "sh", "ls")[-1])], is_tree=False)
    (row,) = rows_of(text_of(of, 120, 40))
    assert row.endswith("root     4 ls  by 1 systemd › 2 cron › 3 sh")


def test_the_selected_one_is_marked_and_all_can_be_selected() -> None:
    programs = [program(node) for node in family("systemd", "sh", "ls")[::-1]]
    result = drawn(frame(programs, selected=programs[1].node.identity()))
    assert [walked.nodes[0].cmd for walked in result.selectable] == ["systemd", "sh", "ls"]
    marked = [line for line in result.lines if line and line[0][0].startswith("▸")]
    assert len(marked) == 1
    assert any("sh" in text for text, _ in marked[0])


@EVERY_SIZE
@GLYPHS
@pytest.mark.parametrize("is_tree", [True, False])
def test_names_that_mean_harm(columns: int, rows: int, glyphs: Glyphs, is_tree: bool) -> None:
    nodes = [
        a_node(500, a_node(499, cmd=HOSTILE, uid=HOSTILE), cmd=HOSTILE, uid=HOSTILE, cmdline=b"a\0\x1b[2J\0\n\0")
    ]
    of = frame(
        [program(node) for node in nodes], [spawner(7, HOSTILE, program=HOSTILE, between=HOSTILE)], is_tree=is_tree
    )
    shown = text_of(of, columns, rows, glyphs)  # which sees that each line is printable
    assert any(r"500 \x1b[2J"[:9] in line for line in rows_of(shown))


# --- instead of the programs ------------------------------------------------------------------------------


def test_an_overlay_stands_instead_of_the_programs_and_can_be_scrolled() -> None:
    lines = tuple([(f"line-{number}", "")] for number in range(100))
    for scroll, first in ((0, 0), (7, 7), (1000, 80)):
        result = drawn(frame(some_programs(), overlay=lines, overlay_title="chain", scroll=scroll))
        text = ["".join(part for part, _ in line) for line in result.lines]
        assert text[3] == f"line-{first}"
        assert result.scroll == first
        assert result.selectable == ()
    assert text[-2] == "line-99"


@EVERY_SIZE
@GLYPHS
def test_help_fits(columns: int, rows: int, glyphs: Glyphs) -> None:
    shown = text_of(frame(overlay=tuple(help_lines(glyphs)), overlay_title="help"), columns, rows, glyphs)
    assert glyphs.more not in "".join(shown)
    assert sum(bool(line) for line in shown) >= len([line for line in help_lines(glyphs) if line])


@EVERY_SIZE
@GLYPHS
def test_a_chain_with_all_that_is_known(columns: int, rows: int, glyphs: Glyphs) -> None:
    nodes = family("systemd", "make", "cc1")
    nodes[1].exit_ns, nodes[1].exit_status, nodes[1].left_out = NOW_NS, 512, 3
    nodes[2].cmdline, nodes[2].cmd = b"cc1\0-o\0" + "漢".encode() * 300 + b"\0\x1b[2J\0", HOSTILE
    links = [ToldUsers().freeze(node, node.ppid, None) for node in reversed(nodes)]
    lines = chain_lines(links, 77, columns, glyphs)
    shown = text_of(frame(overlay=tuple(lines), overlay_title="chain"), columns, max(rows, len(lines) + 9), glyphs)
    text = " ".join(" ".join(shown).split())
    for word in ("77 unknown", "1 systemd (root)", "3 generations left out", "exit 2", r"cc1 -o"):
        assert word in text, word
    written = "漢" if glyphs is UNICODE else r"\u6f22"
    assert "".join(shown).replace(" ", "").count(written) == 300  # the arguments of the asked one are whole
