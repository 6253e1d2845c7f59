"""render/tree.py: chains and forests, drawn."""

from __future__ import annotations

import time
from itertools import islice

import pytest

from proc_cache.lineage import Placed
from proc_cache.process import Process, Source
from proc_cache.render.style import PLAIN, Style
from proc_cache.render.tree import command_line, describe, draw_chain, draw_forest, draw_lineages, ending
from tests.helpers.frozen import chain, ended, process

ROOT = process(1, 0, cmd="systemd")
SINCE = "[since 2023-11-14 22:13:21]"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def forest(*processes: Process) -> list[str]:
    return list(islice(draw_forest(processes, PLAIN), 100))


class TestChain:
    def test_the_root_on_top(self) -> None:
        assert draw_chain(chain(process(11, 10, cmd="ls"), process(10), ROOT), PLAIN).split("\n") == [
            f"1 systemd (root) {SINCE}",
            f"└─ 10 sh (root) {SINCE}",
            f"   └─ 11 ls (root) {SINCE}",
        ]

    def test_both_parents_and_what_became_of_them(self) -> None:
        born = ended(4200, 0, cmd="deploy.sh")
        orphan = process(4300, 4200, current_ppid=1, current_parent="systemd", former_cmds=("sh", "bash"))
        drawn = draw_chain(chain(orphan, born, ROOT), PLAIN).split("\n")
        assert drawn[1] == "└─ 4200 deploy.sh (root) [2023-11-14 22:13:21, exit 0 after 2s]"
        assert drawn[2] == (
            f"   └─ 4300 sh -> bash -> sh (root) {SINCE} "
            "[born of 4200 deploy.sh, which exited 0 after 2s; adopted by 1 systemd]"
        )

    def test_a_parent_that_was_killed(self) -> None:
        orphan = process(11, 10, current_ppid=1)
        drawn = draw_chain(chain(orphan, ended(10, 9), ROOT), PLAIN)
        assert "[born of 10 sh, which was killed by signal 9 after 2s; adopted by 1]" in drawn
        drawn = draw_chain(chain(orphan, ended(10, None), ROOT), PLAIN)
        assert "[born of 10 sh, which ended; adopted by 1]" in drawn

    def test_deep_chains_do_not_run_off_the_screen(self) -> None:
        deep = [process(pid, pid - 1) for pid in range(3000, 0, -1)]
        assert max(map(len, draw_chain(chain(*deep), PLAIN).split("\n"))) < 300

    def test_a_missing_parent(self) -> None:
        drawn = draw_chain(chain(process(11, 10), missing_pid=10, reason="gone"), PLAIN)
        assert drawn.split("\n") == ["10 unknown", f"└─ 11 sh (root) {SINCE}"]

    def test_an_unknown_parent(self) -> None:
        drawn = draw_chain(chain(process(11, 10), reason="not seen"), PLAIN)
        assert drawn.split("\n") == ["unknown", f"└─ 11 sh (root) {SINCE}"]

    def test_generations_left_out(self) -> None:
        drawn = draw_chain(chain(process(11, 10, generations_left_out=5), ROOT), PLAIN)
        assert drawn.split("\n") == [
            f"1 systemd (root) {SINCE}",
            "└─ ... 5 generations left out ...",
            f"   └─ 11 sh (root) {SINCE}",
        ]


class TestForest:
    def test_each_below_its_parent(self) -> None:
        assert forest(ROOT, process(10), process(11, 10), process(12, 10), process(13, 11), process(20, 1)) == [
            "1 systemd (root)",
            "├─ 10 sh (root)",
            "│  ├─ 11 sh (root)",
            "│  │  └─ 13 sh (root)",
            "│  └─ 12 sh (root)",
            "└─ 20 sh (root)",
        ]

    def test_one_whose_parent_is_not_there_stands_at_the_left(self) -> None:
        assert forest(process(10, 9), process(11, 10)) == ["10 sh (root)", "└─ 11 sh (root)"]
        assert forest(process(10, 10)) == ["10 sh (root)"]
        assert forest() == []

    def test_deeper_than_pythons_stack(self) -> None:
        deep = [process(pid, pid - 1) for pid in range(1, 3001)]
        assert len(list(draw_forest(deep, PLAIN))) == 3000

    def test_the_present_parent_counts(self) -> None:
        assert forest(ROOT, process(10, 9, current_ppid=1))[1] == "└─ 10 sh (root) [born of 9, adopted by 1]"

    def test_a_circle_of_reused_pids_is_drawn(self) -> None:
        assert len(forest(ROOT, process(10, 11), process(11, 10))) == 3

    def test_two_owners_of_one_pid_are_drawn_once_each(self) -> None:
        former = ended(10, 0, ppid=11, start_time_ns=5)
        assert len(forest(ROOT, process(10, 1), process(11, 10), former)) == 4


def lineages(*placed: Placed, asked: set[int], style: Style = PLAIN) -> list[str]:
    return list(islice(draw_lineages(placed, asked, style), 100))


class TestLineages:
    PLACED = (
        Placed(7, None, False, ROOT),
        Placed(3, 7, False, process(10, 1, cmd="make")),
        Placed(4, 3, True, process(11, 10, cmd="cc1")),
        Placed(5, 3, True, process(12, 10, cmd="cc2")),
        Placed(6, 7, True, process(20, 1, cmd="cron")),
    )

    def test_what_is_only_above_stands_in_parentheses(self) -> None:
        assert lineages(*self.PLACED, asked={4, 5, 6}) == [
            "(1 systemd) (root)",
            "├─ (10 make) (root)",
            "│  ├─ 11 cc1 (root)",
            "│  └─ 12 cc2 (root)",
            "└─ 20 cron (root)",
        ]

    def test_one_that_is_above_and_was_asked_for_does_not(self) -> None:
        assert lineages(*self.PLACED, asked={3, 4}) == [
            "(1 systemd) (root)",
            "└─ 10 make (root)",
            "   └─ 11 cc1 (root)",
        ]

    def test_what_is_above_nothing_that_was_asked_for_is_left_out(self) -> None:
        """An engine knows no patterns: what a pattern leaves out, and what is above that alone, it has sent."""
        assert lineages(*self.PLACED, asked={5}) == [
            "(1 systemd) (root)",
            "└─ (10 make) (root)",
            "   └─ 12 cc2 (root)",
        ]
        assert lineages(*self.PLACED, asked=set()) == []
        assert lineages(asked=set()) == []

    def test_on_a_screen_it_is_dimmed_and_what_was_asked_for_is_not(self) -> None:
        drawn = lineages(*self.PLACED, asked={4}, style=Style(is_coloured=True))
        assert drawn[0].startswith("\x1b[2m(1 systemd)\x1b[0m ")
        assert drawn[2].startswith("   └─ \x1b[1m11 cc1\x1b[0m ")

    def test_a_failure_above_does_not_draw_the_eye(self) -> None:
        placed = (Placed(0, None, False, ended(10, 256)), Placed(1, 0, True, ended(11, 256, 10)))
        drawn = lineages(*placed, asked={1}, style=Style(is_coloured=True))
        assert ["\x1b[31m" in line for line in drawn] == [False, True]

    def test_below_who_bore_it_whoever_adopted_it(self) -> None:
        orphan = process(12, 11, current_ppid=1, current_parent="systemd")
        placed = (Placed(0, None, False, ROOT), Placed(1, 0, False, ended(11, 0)), Placed(2, 1, True, orphan))
        assert lineages(*placed, asked={2}) == [
            "(1 systemd) (root)",
            "└─ (11 sh) (root) [exit 0 after 2s]",
            "   └─ 12 sh (root) [born of 11 sh, which exited 0 after 2s; adopted by 1 systemd]",
        ]

    def test_two_owners_of_one_pid_are_two(self) -> None:
        placed = (Placed(0, None, False, ended(10, 0)), Placed(1, 0, True, process(10, 10, cmd="new")))
        assert lineages(*placed, asked={1}) == ["(10 sh) (root) [exit 0 after 2s]", "└─ 10 new (root)"]

    def test_generations_that_were_left_out_are_told(self) -> None:
        placed = (Placed(0, None, False, ROOT), Placed(1, 0, True, process(10, 9, generations_left_out=500)))
        assert lineages(*placed, asked={1})[1] == "└─ ... 500 generations left out ... 10 sh (root)"

    def test_a_circle_is_drawn(self) -> None:
        placed = (Placed(0, 1, True, process(10, 11)), Placed(1, 0, False, process(11, 10)))
        assert lineages(*placed, asked={0}) == ["10 sh (root)", "└─ (11 sh) (root)"]

    def test_deeper_than_pythons_stack(self) -> None:
        deep = [Placed(pid, pid - 1 or None, False, process(pid, pid - 1)) for pid in range(1, 3001)]
        assert len(list(draw_lineages(deep, {3000}, PLAIN))) == 3000

    def test_a_hostile_name_is_harmless_there_too(self) -> None:
        assert (
            lineages(Placed(0, None, False, process(10, cmd="\x1b[2J\n")), Placed(1, 0, True, ROOT), asked={1})[0]
            == r"(10 \x1b[2J\x0a) (root)"
        )


class TestOneProcess:
    @pytest.mark.parametrize(
        ("one", "text"),
        [
            (process(10, cmdline=(b"sh", b"-c", b"a\nb \xff")), r"10 sh (root) sh -c a\x0ab \xff"),
            (process(10, cmd=None, user=None), "10 unknown (unknown)"),
            (process(10, source=Source.UNREAD), "10 sh? (root)"),
            (process(10, cmd="\x1b[2J", user="a\nb"), r"10 \x1b[2J (a\x0ab)"),
            (ended(10, 768), "10 sh (root) [exit 3 after 2s]"),
            (ended(10, None), "10 sh (root) [ended]"),
            (process(10, current_ppid=None), "10 sh (root)"),
            (process(10, is_alive=None), "10 sh (root) [end not recorded]"),
            (process(10, birth_user="bob"), "10 sh (root, born as bob)"),
            (process(10, former_cmds=("a\n", "b")), r"10 a\x0a -> b -> sh (root)"),
            (process(10, 7, current_ppid=1), "10 sh (root) [born of 7, adopted by 1]"),
        ],
    )
    def test_on_one_line(self, one: Process, text: str) -> None:
        assert describe(one, PLAIN) == text

    @pytest.mark.parametrize(
        ("status", "text"),
        [(0, "exit 0"), (768, "exit 3"), (9, "signal 9"), (0x8B, "signal 11, core dumped"), (None, "ended")],
    )
    def test_how_it_ended(self, status: int | None, text: str) -> None:
        assert ending(ended(10, status)) == text

    def test_colour_is_around_text_only(self) -> None:
        coloured = describe(ended(10, 9), Style(is_coloured=True), is_asked=True)
        assert "\x1b[31m[signal 9 after 2s]\x1b[0m" in coloured
        assert coloured.count("\x1b[") == 2 * coloured.count("\x1b[0m")

    def test_no_arguments(self) -> None:
        assert command_line(process(10)) == ""
        assert command_line(process(10, cmdline=())) == ""

    def test_arguments_are_cut_to_a_screen_that_is_there(self) -> None:
        long = process(10, cmdline=(b"x" * 200,))
        assert len(describe(long, Style(is_coloured=False, width=80))) == 80
        assert describe(long, Style(is_coloured=False, width=80)).endswith("…")
        assert len(describe(long, PLAIN)) > 200
