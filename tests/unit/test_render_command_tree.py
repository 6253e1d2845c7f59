"""render/command_tree.py and render/folding.py: the tree at the end of a command, at 80 columns."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from proc_cache.process import Node, Source, pack_cost
from proc_cache.render.command_tree import CommandTree, size
from proc_cache.render.folding import ROWS_LIMIT, ROWS_MAX, FoldRow, fold_rows
from proc_cache.render.json_tree import command_document
from proc_cache.render.style import PLAIN, Style, columns
from tests.helpers.families import MS, Story, frozen

SECOND = 1000 * MS
MIB = 1 << 20
NARROW = Style(is_coloured=False, width=80)
HOSTILE = "\x1b[2J\n\u202e[red]\udcff"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def drawn(story: Story, style: Style = PLAIN, notes: tuple[str, ...] = ()) -> list[str]:
    return list(CommandTree(story.family, frozen, style, run_time_ns=12_400 * MS, notes=notes).lines())


def tree(story: Story, style: Style = PLAIN) -> list[str]:
    """The rows alone."""
    lines = drawn(story, style)
    (heading,) = [number for number, line in enumerate(lines) if line.split()[:1] == ["time"]]
    return lines[heading + 1 :]


def cost(cpu_ms: int, mib: int) -> int:
    return pack_cost(cpu_ms * 1000, mib * MIB, 0, 0)


def a_failed_build() -> Story:
    story = Story()
    make = story.start("make", cmdline=b"make\0-j8\0")
    good = story.start("gcc", make, cmdline=b"gcc\0-c\0good.c\0")
    bad = story.start("gcc", make, cmdline=b"gcc\0-c\0bad.c\0")
    story.exit(story.start("cc1", good, cmdline=b"cc1\0good.c\0"), run_time_ns=300 * MS, cost=cost(250, 25))
    story.exit(story.start("cc1", bad, cmdline=b"cc1\0bad.c\0"), 256, run_time_ns=200 * MS, cost=cost(100, 210))
    story.exit(good, run_time_ns=400 * MS, cost=cost(2, 3))
    story.exit(bad, 256, run_time_ns=500 * MS, cost=cost(2, 3))
    story.exit(make, 512, run_time_ns=12 * SECOND, cost=cost(10, 5))
    return story


class TestWhole:
    def test_failures_first_then_the_tree(self) -> None:
        assert drawn(a_failed_build(), NARROW) == [
            "5 processes, 3 failed, 12.4s, cpu 0.364s, peak 210 MiB (cc1)",
            "",
            "✗ 104 cc1 bad.c",
            "    exit 1 after 0.2s, at 22:13:21.206; started by 102 gcc, 100 make",
            "✗ 102 gcc -c bad.c",
            "    exit 1 after 0.5s, at 22:13:21.503; started by 100 make",
            "✗ 100 make -j8",
            "    exit 2 after 12s, at 22:13:33.001",
            "",
            "      time      cpu   memory",
            "✗      12s     10ms  5.0 MiB  100 [exit 2] make -j8",
            "      0.4s      2ms  3.0 MiB  ├─ 101 gcc -c good.c",
            "      0.3s    0.25s   25 MiB  │  └─ 103 cc1 good.c",
            "✗     0.5s      2ms  3.0 MiB  └─ 102 [exit 1] gcc -c bad.c",
            "✗     0.2s     0.1s  210 MiB     └─ 104 [exit 1] cc1 bad.c",
        ]

    def test_one_that_succeeded(self) -> None:
        story = Story()
        story.exit(story.start("true", cmdline=b"true\0"))
        assert drawn(story) == [
            "1 process, none failed, 12.4s",
            "",
            "      time",
            "       1ms  100 true",
        ]

    def test_nothing_was_told(self) -> None:
        assert drawn(Story(), notes=("why",)) == ["0 processes, none failed, 12.4s", "note: why"]

    def test_it_is_as_wide_as_the_screen_and_whole_in_a_pipe(self) -> None:
        story = Story()
        node: Node | None = None
        for _ in range(30):
            node = story.start("sh", node, cmdline=b"sh\0" + b"x" * 300 + b"\0")
        assert node is not None
        story.exit(node, 256)
        assert max(map(columns, drawn(story, NARROW))) == 80
        assert all(any("x" * 300 in line for line in drawn(story)) for _ in (1,))

    def test_colour_is_around_text_only(self) -> None:
        lines = drawn(a_failed_build(), Style(is_coloured=True, width=80))
        (failed,) = [line for line in lines if line.endswith("[exit 1] cc1 bad.c\x1b[0m")]
        assert failed.startswith("\x1b[31m✗")
        text = "\n".join(lines)
        assert text.count("\x1b[") == 2 * text.count("\x1b[0m")


class TestFailures:
    def test_what_took_the_command_down_comes_before_what_did_not(self) -> None:
        story = Story()
        make = story.start("make")
        for _ in range(100):
            story.exit(story.start("grep", make), 256)
        story.exit(story.start("cc1", make), 256)
        story.exit(make, 512)
        lines = drawn(story)
        listed = [line for line in lines[: lines.index("      time")] if line.startswith("✗")]
        assert len(listed) == 20
        assert listed[-2:] == ["✗ 201 cc1", "✗ 100 make"]
        assert "  and 82 more failed, in the tree" in lines

    def test_of_a_command_that_succeeded_in_the_order_of_their_ends(self) -> None:
        story = Story()
        top = story.start("sh")
        first, second = story.start("first", top), story.start("second", top)
        story.exit(second, 9)
        story.exit(first, 0x8B)
        story.exit(top)
        lines = drawn(story)
        assert lines[2] == "✗ 102 second"
        assert lines[3].startswith("    signal 9 after 1ms, at ")
        assert lines[5].startswith("    signal 11, core dumped after ")

    def test_a_long_way_is_told_at_both_ends(self) -> None:
        story = Story()
        node: Node | None = None
        for _ in range(50):
            node = story.start("sh", node)
        assert node is not None
        story.exit(node, 256)
        (way,) = [line for line in drawn(story) if "exit 1 after" in line]
        assert way.endswith("started by 148 sh, 147 sh, 146 sh, 145 sh, 42 more, 102 sh, 101 sh, 100 sh")


class TestStillRunning:
    def test_it_is_told_with_who_has_it_now(self) -> None:
        story = Story()
        top = story.start("sh", cmdline=b"sh\0-c\0sleep 99 &\0")
        story.start("sleep", top, cmdline=b"sleep\x0099\0", adopter_pid=1)
        story.exit(top)
        for member in story.family.members():
            member.adopter = "systemd"
        lines = drawn(story)
        assert lines[0] == "2 processes, none failed, 1 still running, 12.4s"
        assert lines[2:4] == [
            "  101 sleep 99",
            "    still running, under 1 systemd now; started by 100 sh",
        ]
        assert lines[-1] == "            └─ 101 [still running] sleep 99"

    def test_an_end_that_was_not_seen_is_no_running(self) -> None:
        story = Story()
        story.start("sh")
        for member in story.family.members():
            member.is_end_unseen = True
        assert drawn(story)[0] == "1 process, none failed, 12.4s"
        assert tree(story) == ["            100 [its end was not seen] sh"]

    def test_many(self) -> None:
        story = Story()
        top = story.start("sh")
        for _ in range(500):
            story.start("sleep", top)
        story.exit(top)
        lines = drawn(story)
        assert "  and 480 more still running, in the tree" in lines
        assert any("480 x sleep" in line and "480 not ended" in line for line in lines)


class TestRows:
    def test_a_fork_that_ran_nothing(self) -> None:
        story = Story()
        story.exit(story.fork("bash"))
        assert tree(story) == ["       1ms  100 fork of bash"]

    def test_a_name_that_was_not_read(self) -> None:
        story = Story()
        story.exit(story.start("bash", source=Source.UNREAD))
        assert tree(story) == ["       1ms  100 bash?"]

    def test_whose_it_is_where_that_changes(self) -> None:
        story = Story()
        top = story.start("sudo")
        story.exit(story.start("sh", story.start("sh", top, uid=7), uid=7))
        assert [line.strip() for line in tree(story)][1:] == [
            "└─ 101 [still running] (7) sh",
            "1ms     └─ 102 sh",
        ]

    def test_one_that_only_stands_above(self) -> None:
        story = Story()
        story.exit(story.node("cc1", story.node("gcc")))
        assert tree(story) == ["            100 gcc", "       1ms  └─ 101 cc1"]

    def test_generations_that_were_put_away(self) -> None:
        story = Story(capacity=3)
        node = story.start("sh")
        for _ in range(9):
            child = story.start("sh", node)
            if node is not story.born[0]:
                story.exit(node)
            node = child
        assert tree(story) == [
            "            100 [still running] sh",
            "       3ms  ├─ ...7 left out... 108 sh",
            "            │  └─ 109 [still running] sh",
            "            └─ 7 x sh  total 20ms  longest 3ms",
        ]

    def test_names_are_harmless(self) -> None:
        story = Story()
        top = story.start(HOSTILE, cmdline=HOSTILE.encode("utf-8", "surrogateescape") + b"\0\x9b\0")
        for number in range(100):
            story.exit(story.start(HOSTILE, top), 256 if number == 50 else 0)
        for member in story.family.members():
            member.adopter = HOSTILE
            member.node.adopter_pid = 1
        lines = drawn(story, notes=(HOSTILE,))
        assert all(line.isprintable() for line in lines)
        assert any(r"99 x \x1b[2J\x0a\u202e[red]\xff" in line for line in lines)


class TestFolding:
    def test_few_are_all_drawn(self) -> None:
        story = Story()
        make = story.start("make")
        for _ in range(ROWS_MAX - 1):
            story.exit(story.start("cc1", make))
        assert len(tree(story)) == ROWS_MAX

    def test_many_alike_are_one_row_where_the_first_of_them_stood(self) -> None:
        story = Story()
        make = story.start("make", cmdline=b"make\0")
        story.exit(story.start("sh", make), run_time_ns=MS)
        for number in range(3646):
            gcc = story.start("gcc", make, cmdline=b"gcc\0-c\0%d.c\0" % number)
            story.exit(story.start("cc1", gcc), run_time_ns=10 * MS, cost=cost(8, 20 + number % 7))
            story.exit(gcc, run_time_ns=(12 if number == 77 else 11) * MS, cost=cost(1, 3))
        story.exit(story.start("ld", make, cmdline=b"ld\0-o\0prog\0"), run_time_ns=2 * SECOND)
        story.exit(make, run_time_ns=60 * SECOND)
        assert tree(story, NARROW) == [
            "     1m00s                    100 make",
            "       1ms                    ├─ 101 sh",
            "              3.65s  3.0 MiB  ├─ 3,646 x gcc  total 40.1s  longest 12ms: gcc -c…",
            "              29.2s   26 MiB  │  └─ 3,646 x cc1  total 36.5s  longest 10ms",
            "        2s                    └─ 7394 ld -o prog",
        ]

    def test_what_failed_is_seen_by_itself(self) -> None:
        story = Story()
        make = story.start("make")
        for number in range(300):
            gcc = story.start("gcc", make)
            story.exit(story.start("cc1", gcc), 256 if number == 150 else 0)
            story.exit(gcc, 256 if number == 150 else 0)
        story.exit(make, 512)
        rows = tree(story)
        assert len(rows) == 5
        assert "├─ 299 x gcc" in rows[1]
        assert "299 x cc1" in rows[2]
        assert "[exit 1] gcc" in rows[3]
        assert "[exit 1] cc1" in rows[4]

    def test_very_many_failures_are_folded_too_and_marked(self) -> None:
        story = Story()
        top = story.start("configure")
        for _ in range(500):
            shell = story.start("sh", top)
            story.exit(story.start("grep", shell), 256)
            story.exit(shell)
        lines = tree(story)
        assert len(lines) <= ROWS_LIMIT
        assert any(line.startswith("✗") and "480 x grep" in line and "  480 failed  " in line for line in lines)

    def test_names_without_end_fit_too(self) -> None:
        story = Story()
        top = story.start("sh")
        for number in range(1000):
            story.exit(story.start(f"name-{number}", top))
        story.exit(top)
        rows, left_out = fold_rows(story.family, ())
        assert len(rows) <= 30
        counts = [row.of.fold.count if isinstance(row.of, FoldRow) else 1 for row in rows]
        assert sum(counts) + left_out == 1001
        assert any("others (" in line for line in tree(story))

    @pytest.mark.parametrize("ending", [0, 256])
    def test_a_ladder_is_drawn_and_does_not_run_off_the_screen(self, ending: int) -> None:
        story = Story()
        node: Node | None = None
        for _ in range(3000):
            node = story.start("sh", node)
        for node in reversed(story.born):
            story.exit(node, ending)
        lines = tree(story)
        assert len(lines) <= ROWS_LIMIT + 1
        assert max(map(len, lines)) < 300
        rows, left_out = fold_rows(story.family, ())
        counts = [row.of.fold.count if isinstance(row.of, FoldRow) else 1 for row in rows]
        assert sum(counts) + left_out == 3000

    def test_what_is_not_drawn_is_told(self) -> None:
        story = Story()
        node: Node | None = None
        for _ in range(3000):
            node = story.start("sh", node)
        assert node is not None
        story.exit(node, 256)  # to be seen by itself, with all above it
        assert drawn(story)[-1] == "  2,800 more processes are not drawn; --format json has them all"


class TestJson:
    def document(self, story: Story) -> Any:
        return json.loads("".join(command_document(story.family, frozen, {"command": ["make"], "notes": []})))

    def test_each_process_with_its_children(self) -> None:
        told = self.document(a_failed_build())
        assert (told["processes"], told["failed"], told["still_running"]) == (5, 3, 0)
        assert (told["cpu_s"], told["max_rss_bytes"], told["folded"]) == (0.364, 210 * MIB, 0)
        (make,) = told["tree"]
        assert (make["cmd"], make["exit_code"]) == ("make", 2)
        assert [child["cmdline"][-1] for child in make["children"]] == ["good.c", "bad.c"]
        assert [child["children"][0]["cmd"] for child in make["children"]] == ["cc1", "cc1"]

    def test_nothing(self) -> None:
        told = self.document(Story())
        assert (told["processes"], told["tree"], told["cpu_s"]) == (0, [], None)

    def test_deeper_than_pythons_stack(self) -> None:
        story = Story()
        node: Node | None = None
        for _ in range(3000):
            node = story.start("sh", node)
        text = "".join(command_document(story.family, frozen, {}))
        assert text.count('"children":[') == 3000
        assert text.count("[") == text.count("]")

    def test_what_is_not_known_is_null(self) -> None:
        story = Story()
        story.exit(story.node("cc1", story.node("gcc")))
        story.start("sh")
        for member in story.family.members():
            member.is_end_unseen = not member.node.exit_ns and not member.is_context
        gcc, shell = self.document(story)["tree"]
        assert (gcc["alive"], gcc["context"], shell["alive"]) == (None, True, None)

    def test_what_was_counted_by_name(self) -> None:
        story = Story(capacity=2)
        make = story.start("make")
        for _ in range(10):
            story.exit(story.start("cc1", make))
        told = self.document(story)
        assert (told["processes"], told["folded"]) == (11, 9)
        (folded,) = told["tree"][0]["folded"]
        assert (folded["cmd"], folded["count"], folded["failed"], folded["total_s"]) == ("cc1", 9, 0, 0.009)

    def test_names_are_whole(self) -> None:
        story = Story(capacity=1)
        top = story.start(HOSTILE)
        story.exit(story.start(HOSTILE, top))
        story.start("sh", top)
        text = "".join(command_document(story.family, frozen, {}))
        assert text.replace("\n", "").isprintable()
        assert json.loads(text)["tree"][0]["cmd_raw"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0.0 KiB"),
        (964 << 10, "964 KiB"),
        (1023 << 10, "1.0 MiB"),
        (9 << 20, "9.0 MiB"),
        (210 << 20, "210 MiB"),
        (3 << 29, "1.5 GiB"),
        (2 << 40, "2048.0 GiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
