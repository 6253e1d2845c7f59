"""service/family.py: what a command starts, gathered and bounded."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proc_cache.process import CMDLINE_KEPT_BYTES, Node, is_cmdline_cut, pack_cost
from proc_cache.service import family as module
from proc_cache.service.family import Family, Member, children_of, counted_in, fold_in
from tests.helpers.families import ME, MS, Story

HOSTILE = "\x1b[2J\n\udcff"


def shape(member: Member) -> Any:
    """The names and pids below, in order."""
    return [(child.node.pid, child.node.cmd, shape(child)) for child in children_of(member)]


def by_themselves(family: Family) -> list[int]:
    return [member.node.pid for member in family.members()]


def counted_by_name(family: Family) -> int:
    return sum(counted_in((member.folds or {}).values()) for member in (family.top, *family.members()))


class TestTree:
    def test_each_below_who_bore_it_in_the_order_of_birth(self) -> None:
        story = Story()
        make = story.start("make")
        gcc, other = story.start("gcc", make), story.start("gcc", make)
        story.start("cc1", other)
        story.start("cc1", gcc)
        assert shape(story.family.top) == [
            (100, "make", [(101, "gcc", [(104, "cc1", [])]), (102, "gcc", [(103, "cc1", [])])])
        ]
        assert by_themselves(story.family) == [100, 101, 104, 102, 103]

    def test_what_it_was_told_last_counts(self) -> None:
        story = Story()
        node = story.fork("sh")
        story.exec(node, "ls", b"ls\0/\0")
        story.exit(node, 512, cost=pack_cost(1500, 4096, 0, 0))
        (member,) = story.family.members()
        assert (member.node.cmd, member.node.cmdline, member.node.exit_status) == ("ls", b"ls\0/\0", 512)
        assert (story.family.count, story.family.failed) == (1, 1)
        assert (story.family.cpu_us, story.family.with_cost, story.family.max_rss_bytes) == (1500, 1, 4096)

    def test_a_pid_that_was_used_again_is_another_process(self) -> None:
        story = Story()
        top = story.start("sh")
        first = story.start("first", top, pid=200)
        story.exit(first)
        second = story.start("second", top, pid=200)
        story.start("child", second)
        assert shape(story.family.top) == [
            (100, "sh", [(200, "first", []), (200, "second", [(101, "child", [])])])
        ]

    def test_a_child_is_never_given_to_one_that_had_its_parents_pid_later(self) -> None:
        """Its first event may come late, where events are filtered or were dropped."""
        story = Story()
        top = story.start("sh")
        unseen = story.node("parent", top, pid=200)
        child = story.node("child", unseen)
        story.advance()
        story.start("younger", top, pid=200)
        story.exit(child)
        (shell,) = children_of(story.family.top)
        assert [(m.node.cmd, m.is_context) for m in children_of(shell)] == [("parent", True), ("younger", False)]

    def test_who_was_not_told_of_stands_above_one_that_was(self) -> None:
        story = Story()
        make = story.node("make")
        gcc = story.node("gcc", make)
        story.exit(story.node("cc1", gcc))
        story.exit(story.node("as", gcc))
        assert shape(story.family.top) == [(100, "make", [(101, "gcc", [(102, "cc1", []), (103, "as", [])])])]
        assert [member.is_context for member in story.family.members()] == [True, True, False, False]
        assert story.family.count == 2

    def test_one_that_stood_above_is_told_of_later(self) -> None:
        story = Story()
        gcc = story.node("gcc")
        story.exit(story.node("cc1", gcc))
        story.exit(gcc, 256)
        assert [member.is_context for member in story.family.members()] == [False, False]
        assert (story.family.count, story.family.failed) == (2, 1)

    def test_who_is_above_the_command_is_not_in_it(self) -> None:
        story = Story()
        story.start("sh")
        assert all(member.node.pid not in (1, ME) for member in story.family.members())

    def test_a_second_end_is_not_counted(self) -> None:
        story = Story()
        node = story.start("sh")
        story.exit(node, 256)
        story.exit(node, 256)
        assert story.family.failed == 1

    def test_an_end_that_is_known_otherwise(self) -> None:
        story = Story()
        told, untold = story.start("told"), story.start("untold")
        story.exit(told, 256)
        story.family.end(told.pid, 0, 1)
        story.family.end(untold.pid, 512, 10**12)
        story.family.end(4_000_000, 0, 1)
        assert [m.node.exit_status for m in story.family.members()] == [256, 512]
        assert story.family.failed == 2


class TestBounds:
    def test_the_oldest_that_succeeded_are_counted_by_name(self) -> None:
        story = Story(capacity=5)
        make = story.start("make")
        for number in range(20):
            story.exit(story.start("cc1" if number % 2 else "as", make), run_time_ns=number * MS)
        members = by_themselves(story.family)
        assert len(members) == 5
        assert members[0] == make.pid
        assert members[1:] == [117, 118, 119, 120]
        (shell,) = children_of(story.family.top)
        assert shell.folds is not None
        assert {name: fold.count for name, fold in shell.folds.items()} == {"as": 8, "cc1": 8}
        assert shell.folds["cc1"].longest_ns == 15 * MS
        assert shell.folds["cc1"].total_ns == sum(range(1, 16, 2)) * MS
        assert (story.family.count, story.family.put_away) == (21, 16)

    def test_failures_stay_as_long_as_something_else_can_go(self) -> None:
        story = Story(capacity=4)
        make = story.start("make")
        story.exit(story.start("false", make), 256)
        for _ in range(10):
            story.exit(story.start("true", make))
        assert any(member.node.exit_status for member in story.family.members())
        for _ in range(10):
            story.exit(story.start("false", make), 256)
        assert len(by_themselves(story.family)) == 4
        assert (story.family.failed, story.family.failures_put_away) == (11, 8)

    def test_the_living_stay(self) -> None:
        story = Story(capacity=3)
        make = story.start("make")
        living = [story.start("sleep", make) for _ in range(10)]
        assert by_themselves(story.family) == [make.pid, *(node.pid for node in living)]

    def test_a_ladder_of_processes_that_fork_and_end_does_not_grow(self) -> None:
        story = Story(capacity=50)
        node = top = story.start("sh")
        for _ in range(2000):
            child = story.start("sh", node)
            if node is not top:
                story.exit(node)
            node = child
        members = list(story.family.members())
        assert len(members) <= 51
        assert story.family.count == 2001 == len(members) + counted_by_name(story.family)
        assert sum(member.left_out for member in members) == story.family.put_away

    def test_a_whole_family_goes_with_its_shape(self) -> None:
        story = Story(capacity=3)
        make = story.start("make")
        for _ in range(50):
            gcc = story.start("gcc", make)
            story.exit(story.start("cc1", gcc))
            story.exit(gcc)
        (top,) = children_of(story.family.top)
        assert top.folds is not None
        assert set(top.folds) == {"gcc"}
        assert set(top.folds["gcc"].below) == {"cc1"}
        assert story.family.count == 101 == len(by_themselves(story.family)) + counted_by_name(story.family)

    def test_names_without_end_are_not_told_apart(self) -> None:
        story = Story(capacity=2)
        make = story.start("make")
        for number in range(500):
            story.exit(story.start(f"name-{number}", make))
        (top,) = children_of(story.family.top)
        assert top.folds is not None
        assert len(top.folds) <= 51
        assert counted_in(top.folds.values()) == 499

    def test_arguments_are_cut(self) -> None:
        story = Story()
        node = story.start("sh", cmdline=b"x" * 100_000 + b"\0")
        (member,) = story.family.members()
        assert member.node.cmdline is not None
        assert len(member.node.cmdline) < CMDLINE_KEPT_BYTES + 10
        assert is_cmdline_cut(member.node.cmdline)
        assert node.cmdline is not member.node.cmdline

    def test_arguments_of_very_many_are_cut_short(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(module, "ARGUMENT_BYTES_MAX", 20_000)
        story = Story()
        for _ in range(100):
            story.start("sh", cmdline=b"x" * 4000 + b"\0")
        lengths = [len(member.node.cmdline or b"") for member in story.family.members()]
        assert lengths[0] > 4000
        assert lengths[-1] < 300
        assert sum(lengths) < 60_000

    @given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(("start", "exit", "fail"))), max_size=200))
    def test_no_process_is_left_out_of_the_counts(self, steps: list[tuple[int, str]]) -> None:
        story = Story(capacity=10)
        living = [story.start("top")]
        for where, what in steps:
            node = living[where % len(living)]
            if what == "start" or len(living) == 1:
                living.append(story.start(f"n{where}", node))
            else:
                if node is living[0]:
                    node = living[-1]
                living.remove(node)
                story.exit(node, 256 if what == "fail" else 0)
        members = list(story.family.members())
        assert story.family.count == len(members) + counted_by_name(story.family) == len(story.born)
        assert {node.pid for node in living} <= {member.node.pid for member in members}
        failed = sum(bool(member.node.exit_status) for member in members)
        assert story.family.failed == failed + story.family.failures_put_away


class TestFold:
    def test_a_ladder_is_counted_whole(self) -> None:
        story = Story()
        node: Node | None = None
        for _ in range(3000):
            node = story.start("sh", node)
        (member,) = children_of(story.family.top)
        folds: module.Folds = {}
        fold_in(folds, member)
        assert counted_in(folds.values()) == 3000
        assert folds["sh"].count == 1

    def test_what_it_counts(self) -> None:
        story = Story()
        top = story.start("sh")
        story.exit(story.start("ls", top), 0, run_time_ns=2 * MS, cost=pack_cost(10, 100, 0, 0))
        story.exit(story.start("ls", top), 256, run_time_ns=5 * MS, cost=pack_cost(20, 50, 0, 0))
        story.start("ls", top)
        folds: module.Folds = {}
        for member in children_of(next(story.family.members())):
            fold_in(folds, member)
        fold = folds["ls"]
        assert (fold.count, fold.failed, fold.unended) == (3, 1, 1)
        assert (fold.total_ns, fold.longest_ns) == (7 * MS, 5 * MS)
        assert (fold.cpu_us, fold.max_rss_bytes) == (30, 100)
