"""cli/live_state.py: what each key changes about what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from proc_cache.cli.live_state import LiveState
from proc_cache.cli.live_users import LiveUsers
from proc_cache.process import Node
from proc_cache.render.glyphs import UNICODE
from proc_cache.render.live import Frame, draw
from proc_cache.render.spans import plain
from proc_cache.service.picture import Picture
from proc_cache.service.picture_feed import FAILED, NEWEST, RUNNING, Search
from tests.helpers.frames import NOW_NS, family, program
from tests.helpers.frozen import BOOT_WALL_NS, SECOND_NS
from tests.helpers.told import a_node, some_stats


class Shown:
    """A live view of 80 columns and 24 rows, without a terminal."""

    def __init__(self) -> None:
        self.state = LiveState(LiveUsers(), "a-host")
        self.now_s = 1000.0
        self.init, self.shell = family("systemd", "sh")

    def child(self, pid: int, name: str = "ls", **facts: Any) -> Node:
        return a_node(pid, self.shell, cmd=name, **facts)

    def take(self, *nodes: Node, text: str = "", **stats: int) -> None:
        """A picture comes, with these programs, the newest first."""
        self.now_s += 0.25
        programs = tuple(program(node, 100 - place) for place, node in enumerate(nodes))
        picture = Picture(some_stats(**stats), programs, (), text)
        self.state.take(picture, self.now_s, NOW_NS + int((self.now_s - 1000) * SECOND_NS))
        self.lines()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.state.press(key)
            self.lines()

    def frame(self) -> Frame:
        return self.state.frame(80, BOOT_WALL_NS, UNICODE, has_keys=True)

    def lines(self) -> list[str]:
        drawn = draw(self.frame(), 80, 24, UNICODE)
        self.state.shown, self.state.scroll = drawn.selectable, drawn.scroll
        return [plain(line).rstrip() for line in drawn.lines]

    def pids(self) -> list[int]:
        return [told.node.pid for told in self.state.programs()]


@pytest.fixture
def shown() -> Shown:
    shown = Shown()
    shown.take(shown.child(502), shown.child(501, "cat", uid=65534), shown.child(500, cmdline=b"ls\0-l\0"))
    return shown


@pytest.mark.parametrize("key", ["q", "ctrl-c", "ctrl-d"])
def test_quit(shown: Shown, key: str) -> None:
    shown.press(key)
    assert shown.state.is_done


@pytest.mark.parametrize("opened", [["?"], ["enter"], ["j"], ["p"]])
def test_it_can_be_left_from_everywhere(shown: Shown, opened: list[str]) -> None:
    shown.press(*opened, "q")
    assert shown.state.is_done


def test_keys_that_mean_nothing(shown: Shown) -> None:
    before = shown.lines()
    shown.press("x", "tab", "delete", "ctrl-l", "漢")
    assert (shown.lines(), shown.state.is_done) == (before, False)


# --- pause ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["p", " "])
def test_a_pause_keeps_the_programs_and_the_rates_go_on(shown: Shown, key: str) -> None:
    shown.press(key)
    rows = shown.lines()[9:-1]
    for forks in range(1000, 9000, 1000):
        shown.take(shown.child(700 + forks), forks=forks)
    assert "PAUSED" in shown.lines()[0]
    assert shown.lines()[9:-1] == rows
    assert shown.frame().rates[0].now == 4000.0
    shown.press(key)
    assert "LIVE" in shown.lines()[0]
    assert shown.pids() == [8700]


def test_esc_leaves_a_pause(shown: Shown) -> None:
    shown.press("p", "esc")
    assert not shown.state.is_paused


# --- filter -----------------------------------------------------------------------------------------------


def test_a_filter_applies_as_it_is_typed(shown: Shown) -> None:
    shown.press("/", "c", "a")
    assert shown.lines()[-1].startswith(" /ca")
    assert shown.pids() == [501]
    assert shown.state.search(10) == Search("ca", shown.state.search(10).uids, NEWEST, 10)
    shown.press("t", "q", "backspace", "enter")
    assert (shown.state.text, shown.state.is_typing, shown.state.is_done) == ("cat", False, False)
    assert "filter cat" in shown.lines()[0]


@pytest.mark.parametrize(
    ("text", "pids"),
    [
        ("CAT", [501]),
        ("nobody", [501]),
        ("501", [501]),
        ("ls -l", [500]),
        ("systemd", [502, 501, 500]),
        ("nothing", []),
    ],
)
def test_what_a_filter_finds(shown: Shown, text: str, pids: list[int]) -> None:
    shown.press("/", *text)
    assert shown.pids() == pids


def test_what_the_engine_has_filtered_is_believed(shown: Shown) -> None:
    """It has arguments that are longer than what it tells."""
    shown.press("/", "x", "enter")
    shown.take(shown.child(600), text="x")
    assert shown.pids() == [600]


@pytest.mark.parametrize(
    ("keys", "text", "is_typing"),
    [
        (["a", "b", "esc"], "", False),
        (["a", "b", "ctrl-u"], "", True),
        (["a", " ", "b", "ctrl-w"], "a", True),
        (["a", "backspace"], "", True),
        (["a", "backspace", "backspace"], "", False),
        (["?", "j", "up", "é"], "?jé", True),
        (["x"] * 500, "x" * 100, True),
        (["a", "enter", "/", "b", "enter"], "ab", False),
        (["a", "enter", "esc"], "", False),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_typing(shown: Shown, keys: list[str], text: str, is_typing: bool) -> None:
    shown.press("/", *keys)
    assert (shown.state.text, shown.state.is_typing) == (text, is_typing)


def test_a_filter_of_users_is_told_by_their_numbers(shown: Shown) -> None:
    shown.press("/", *"nobod")
    assert 65534 in shown.state.search(5).uids
    assert 0 not in shown.state.search(5).uids


# --- sort and form ----------------------------------------------------------------------------------------


def test_sorting(shown: Shown) -> None:
    ended: dict[str, Any] = {"exit_ns": NOW_NS, "exit_status": 0}
    failed: dict[str, Any] = {"exit_ns": NOW_NS, "exit_status": 256}
    shown.take(
        shown.child(504, **ended), shown.child(503, uid=65534), shown.child(502, **failed), shown.child(501, uid=0)
    )
    orders = []
    for _ in range(4):
        orders.append((shown.state.search(5).order, shown.pids()))
        shown.press("s")
    assert orders == [
        (NEWEST, [504, 503, 502, 501]),
        (RUNNING, [501, 503, 504, 502]),
        (FAILED, [502, 504, 503, 501]),
        (NEWEST, [503, 504, 502, 501]),  # by user
    ]
    assert shown.state.order == NEWEST


def test_tree_and_list(shown: Shown) -> None:
    assert any("├─ 502 ls" in line for line in shown.lines())
    shown.press("t")
    assert any("502 ls  by systemd › sh" in line for line in shown.lines())
    shown.press("t")
    assert any("├─ 502 ls" in line for line in shown.lines())


# --- select and expand ------------------------------------------------------------------------------------


def selected(shown: Shown) -> str:
    lines = [line for line in shown.lines() if line.startswith("▸")]
    assert len(lines) <= 1
    return lines[0].split("root")[-1].split("nobody")[-1].strip() if lines else ""


def test_selecting_stops_the_programs_and_goes_up_and_down(shown: Shown) -> None:
    steps = []
    for key in ("j", "down", "k", "j", "j", "j", "j", "up", "home", "end", "g", "G", "page-up", "page-down"):
        shown.press(key)
        steps.append(selected(shown).split()[-1])
    assert shown.state.is_paused
    names = ["sh", "ls", "sh", "ls", "cat", "-l", "-l", "cat", "sh", "-l", "sh", "-l", "sh", "-l"]
    assert steps == names
    shown.take(shown.child(900))
    assert selected(shown).endswith("-l")
    shown.press("p")
    assert selected(shown) == ""


def test_selecting_upwards_begins_at_the_end(shown: Shown) -> None:
    shown.press("k")
    assert selected(shown).endswith("500 ls  -l")


@pytest.mark.parametrize("key", ["j", "k", "enter", "e", "G", "page-up"])
def test_where_nothing_is_shown_there_is_nothing_to_select(key: str) -> None:
    shown = Shown()
    shown.take()
    shown.press(key)
    assert (shown.state.is_paused, shown.state.selected, shown.state.expanded) == (False, None, None)


@pytest.mark.parametrize("back", ["esc", "enter", "e", "left"])
def test_a_chain_is_opened_and_left(shown: Shown, back: str) -> None:
    shown.press("j", "j", "j", "enter")
    text = "\n".join(shown.lines())
    for word in ("1 systemd (root)", "└─ 2 sh (root)", "└─ 501 cat (nobody"):
        assert word in text
    shown.take(shown.child(900))
    assert "501 cat" in "\n".join(shown.lines())
    shown.press(back)
    assert selected(shown).endswith("501 cat")


def test_without_a_selection_the_first_line_is_opened(shown: Shown) -> None:
    shown.press("t", "e")
    assert "└─ 502 ls (root)" in "\n".join(shown.lines())


def test_a_long_chain_is_shown_from_its_end_and_can_be_scrolled(shown: Shown) -> None:
    shown.take(family(*(f"rung-{number}" for number in range(60)))[-1])
    shown.press("enter")
    assert "60 rung-59" in shown.lines()[-2]
    shown.press(*["k"] * 3)
    assert "57 rung-56" in shown.lines()[-2]
    shown.press(*["page-up"] * 20)
    assert "1 rung-0" in shown.lines()[3]
    shown.press("j", "down")
    assert "3 rung-2" in shown.lines()[3]


@pytest.mark.parametrize("key", ["h", "?"])
def test_help(shown: Shown, key: str) -> None:
    shown.press(key)
    assert "the programs stand still" in "\n".join(shown.lines())
    shown.take(shown.child(900))
    shown.press(key)
    assert any("900 ls" in line for line in shown.lines())
