"""engine/table.py: every process that is known, and which of the dead are kept."""

from __future__ import annotations

import pytest

from proc_cache.engine.table import ProcessTable
from proc_cache.process import CacheParams, Node, Source
from tests.helpers.story import SECOND_NS, Story, is_sound, lineage


def pids(table: ProcessTable) -> list[int]:
    return sorted(node.pid for node in table.nodes())


@pytest.mark.parametrize("params", [CacheParams(-1, 1), CacheParams(1, -1)])
def test_negative_bounds(params: CacheParams) -> None:
    with pytest.raises(ValueError, match="negative"):
        ProcessTable(params)


class TestAge:
    def test_counts_from_exit_and_not_from_birth(self) -> None:
        story = Story(ttl_s=600)
        story.fork(1, 10)
        story.wait(10_000)
        story.exit(10)
        story.wait(599)
        assert story.table.expire() == 0
        assert pids(story.table) == [10]
        story.wait(2)
        assert story.table.expire() == 1
        assert pids(story.table) == []
        assert (story.table.expired, story.table.evicted, story.table.dead) == (1, 0, 0)

    def test_the_living_never_expire(self) -> None:
        story = Story(ttl_s=600)
        story.fork(1, 10)
        story.fork(10, 11)
        story.wait(1_000_000)
        assert story.table.expire() == 0
        assert pids(story.table) == [10, 11]

    def test_the_first_to_exit_is_the_first_to_go(self) -> None:
        story = Story(ttl_s=100)
        for pid in (10, 11, 12):
            story.fork(1, pid)
        story.exit(11)
        story.wait(50)
        story.exit(10)
        assert story.table.oldest_dead() is story.node(11)
        story.wait(60)
        assert story.table.expire() == 1
        assert pids(story.table) == [10, 12]

    def test_a_ttl_of_nothing(self) -> None:
        story = Story(ttl_s=0)
        story.fork(1, 10)
        story.exit(10)
        story.wait(0.001)
        assert story.table.expire() == 1


class TestRoom:
    def test_capacity_bounds_the_dead(self) -> None:
        story = Story(capacity=3)
        for pid in range(10, 20):
            story.fork(1, pid)
            story.exit(pid)
            assert story.table.dead <= 3
        assert pids(story.table) == [17, 18, 19]
        assert (story.table.evicted, story.table.expired) == (7, 0)
        assert is_sound(story.table)

    def test_a_large_capacity_is_a_bound_too(self) -> None:
        story = Story(capacity=4096, ttl_s=1e9)
        for pid in range(10, 10 + 4200):
            story.fork(1, pid)
            story.exit(pid)
            assert story.table.dead <= 4096

    def test_the_living_need_no_room(self) -> None:
        story = Story(capacity=3)
        for pid in range(10, 100):
            story.fork(1, pid)
        assert len(pids(story.table)) == 90
        assert story.table.evicted == 0

    def test_no_room_at_all(self) -> None:
        story = Story(capacity=0)
        story.fork(1, 10)
        story.fork(10, 11)
        story.exit(10)
        assert lineage(story.node(11)) == [11, 10]
        story.exit(11)
        assert pids(story.table) == []
        assert is_sound(story.table)


class TestHeldAncestors:
    def test_are_kept_while_a_child_is_and_go_with_the_last(self) -> None:
        story = Story(ttl_s=10)
        story.fork(1, 10)
        story.fork(10, 11)
        story.fork(11, 12)
        story.fork(11, 13)
        story.exit(10)
        story.exit(11)
        story.wait(100)
        assert story.table.expire() == 0
        assert lineage(story.node(12)) == [12, 11, 10]
        story.exit(12)
        story.wait(100)
        assert story.table.expire() == 1
        assert lineage(story.node(13)) == [13, 11, 10]
        story.exit(13)
        story.wait(100)
        assert story.table.expire() == 3  # itself, and both that were held for it
        assert pids(story.table) == []
        assert story.table.dead == 0

    def test_are_kept_for_dead_children_too(self) -> None:
        story = Story(capacity=1000, ttl_s=100)
        story.fork(1, 10)
        story.fork(10, 11)
        story.exit(10)
        story.wait(60)
        story.exit(11)
        story.wait(60)
        assert story.table.expire() == 0
        assert lineage(story.node(11)) == [11, 10]
        story.wait(60)
        assert story.table.expire() == 2

    def test_do_not_take_the_room_of_others_at_once(self) -> None:
        story = Story(capacity=2)
        story.fork(1, 10)
        story.fork(10, 11)
        story.exit(10)
        for pid in (20, 21, 22):
            story.fork(1, pid)
            story.exit(pid)
        assert pids(story.table) == [10, 11, 22]
        assert story.node(10) in story.table.held
        assert is_sound(story.table)

    def test_are_not_held_any_more_when_relinked_away(self) -> None:
        story = Story(ttl_s=10)
        story.fork(1, 10)
        child = story.fork(10, 11)
        story.exit(10)
        story.wait(100)
        story.table.expire()
        story.table.relink(child, None)
        assert pids(story.table) == [11]
        assert is_sound(story.table)


class TestFormerOwners:
    def test_hang_off_the_newest(self) -> None:
        story = Story()
        for _ in range(3):
            story.fork(1, 10)
            story.exit(10)
        owners = list(story.table.owners(10))
        assert [owner.start_ns for owner in owners] == sorted((o.start_ns for o in owners), reverse=True)
        assert len({owner.start_ns for owner in owners}) == 3
        assert pids(story.table) == [10, 10, 10]

    def test_go_one_by_one(self) -> None:
        story = Story(ttl_s=10)
        for _ in range(3):
            story.fork(1, 10)
            story.exit(10)
            story.wait(4)
        newest = story.node(10)
        assert story.table.expire() == 1
        assert next(story.table.owners(10)) is newest
        assert len(list(story.table.owners(10))) == 2
        assert is_sound(story.table)

    def test_a_newest_that_goes_first_leaves_the_former(self) -> None:
        story = Story(ttl_s=10)
        former = story.fork(1, 10)
        story.fork(10, 11)
        story.exit(10)
        story.fork(1, 10)
        story.exit(10)
        story.wait(100)
        assert story.table.expire() == 1  # the former is held by 11
        assert story.node(10) is former
        assert lineage(story.node(11)) == [11, 10]

    def test_nobody_has_owners(self) -> None:
        assert list(Story().table.owners(10)) == []


class TestByHand:
    def test_forget_orphans_the_children_and_lets_held_ancestors_go(self) -> None:
        story = Story(ttl_s=10)
        story.fork(1, 10)
        story.fork(10, 11)
        story.fork(11, 12)
        story.exit(10)
        story.wait(100)
        story.table.expire()
        story.table.forget(story.node(11))
        assert pids(story.table) == [12]
        assert story.node(12).parent is None
        assert is_sound(story.table)

    @pytest.mark.parametrize("is_held", [False, True])
    def test_forget_the_dead(self, is_held: bool) -> None:
        story = Story(ttl_s=10)
        story.fork(1, 10)
        story.fork(10, 11)
        story.exit(10)
        if is_held:
            story.wait(100)
            story.table.expire()
        story.table.forget(story.node(10))
        assert pids(story.table) == [11]
        assert story.table.dead == 0
        story.wait(100)
        assert story.table.expire() == 0
        assert is_sound(story.table)

    def test_forget_a_former_owner(self) -> None:
        story = Story()
        former = story.fork(1, 10)
        story.exit(10)
        newest = story.fork(1, 10)
        story.table.forget(former)
        assert list(story.table.owners(10)) == [newest]

    @pytest.mark.parametrize("is_held", [False, True])
    def test_revive(self, is_held: bool) -> None:
        story = Story(ttl_s=10)
        node = story.fork(1, 10)
        story.fork(10, 11)
        story.exit(10, status=9)
        if is_held:
            story.wait(100)
            story.table.expire()
            assert node in story.table.held
        story.table.revive(node)
        assert (node.exit_ns, node.exit_status, story.table.held, story.table.dead) == (0, None, set(), 0)
        story.exit(11)
        story.wait(1000)
        assert story.table.expire() == 1
        assert pids(story.table) == [10]


def climb(story: Story, generations: int, first: int = 1000) -> list[Node]:
    """A ladder: each generation forks one child and dies."""
    rungs = [story.fork(1, first)]
    for number in range(1, generations + 1):
        rungs.append(story.fork(first + number - 1, first + number))
        story.exit(first + number - 1)
    return rungs


def told_generations(tip: Node) -> tuple[int, int]:
    """How many ancestors are retained above a process, and how many are said to be left out."""
    retained, left_out = 0, tip.left_out
    node = tip.parent
    while node is not None:
        retained += 1
        left_out += node.left_out
        node = node.parent
    return retained, left_out


class TestLadder:
    @pytest.mark.parametrize("capacity", [0, 1, 2, 8, 64, 500])
    def test_is_bounded_and_says_exactly_what_is_missing(self, capacity: int) -> None:
        story = Story(capacity=capacity, ttl_s=10_000_000)
        generations = 20_000
        rungs = climb(story, generations)
        retained, left_out = told_generations(rungs[-1])
        assert retained + left_out == generations
        assert left_out > 0
        assert len(list(story.table.nodes())) < capacity + 100
        assert story.table.evicted == left_out
        assert is_sound(story.table)

    def test_keeps_both_ends(self) -> None:
        story = Story(capacity=400, ttl_s=10_000_000)
        rungs = climb(story, 20_000)
        walked = lineage(rungs[-1])
        assert walked[-30:] == [rung.pid for rung in reversed(rungs[:30])]
        assert walked[:30] == [rung.pid for rung in reversed(rungs[-30:])]

    def test_goes_whole_when_its_tip_has_gone(self) -> None:
        story = Story(capacity=100, ttl_s=10)
        climb(story, 5_000)
        story.exit(6_000)
        story.wait(1000)
        story.table.expire()
        assert pids(story.table) == []
        assert story.table.dead == 0
        assert story.table.expired + story.table.evicted == 5_001

    def test_two_ladders_and_a_fork_in_one(self) -> None:
        story = Story(capacity=200, ttl_s=10_000_000)
        rungs = climb(story, 3_000)
        sibling = story.fork(rungs[-1].pid, 50)  # from here on there are two ways up
        story.fork(rungs[-1].pid, 51)
        story.exit(rungs[-1].pid)
        other = climb(story, 3_000, first=100_000)
        for number in range(3_000):
            story.fork(51 + number, 52 + number)
            story.exit(51 + number)
        for tip, generations in ((sibling, 3_001), (other[-1], 3_000), (story.node(3_051), 6_001)):
            assert sum(told_generations(tip)) == generations
        assert len(list(story.table.nodes())) < 500
        assert is_sound(story.table)

    def test_rungs_with_a_living_child_beside_stay(self) -> None:
        story = Story(capacity=50, ttl_s=10_000_000)
        story.fork(1, 1000)
        for number in range(1, 301):
            story.fork(999 + number, 1000 + number)
            story.fork(999 + number, 5000 + number)  # and it lives
            story.exit(999 + number)
        for number in range(1, 301):
            retained, left_out = told_generations(story.node(5000 + number))
            assert (retained, left_out) == (number, 0)


def test_looking_changes_nothing() -> None:
    def tell(is_looked_at: bool) -> list[int]:
        story = Story(capacity=20, ttl_s=50)
        for pid in range(10, 60):
            story.fork(1, pid)
            story.fork(pid, pid + 100)
            story.exit(pid)
            if pid % 3:
                story.exit(pid + 100)
            if is_looked_at:
                for node in list(story.table.nodes()):
                    story.view.find(node.pid)
                    story.view.parent(node)
                    story.view.describe(node)
                story.table.oldest_dead()
                list(story.table.owners(pid))
        return pids(story.table)

    assert tell(is_looked_at=True) == tell(is_looked_at=False)


def test_times_are_nanoseconds_of_the_timer() -> None:
    table = ProcessTable(CacheParams(10, 0.5), lambda: 10 * SECOND_NS)
    node = Node(10, 1, 1, Source.FORK, None, "sh", Source.EXEC, 0)
    table.add(node)
    table.retire(node, int(9.6 * SECOND_NS), 0)
    assert table.expire() == 0
    table.forget(node)
    table.add(node)
    table.retire(node, int(9.4 * SECOND_NS), 0)
    assert table.expire() == 1


def test_the_arguments_of_the_dead_are_bounded() -> None:
    """Else anybody could fill the memory: 65,536 processes with 128 KiB each."""
    story = Story()
    node = story.fork(1, 10)
    node.cmdline = b"x" * 100_000 + b"\0"
    child = story.fork(10, 11)
    story.exit(10)
    assert node.cmdline is not None
    assert len(node.cmdline) < 4200
    assert story.view.describe(node).is_cmdline_cut
    assert child.cmdline == b"x" * 100_000 + b"\0", "what lives keeps them whole"
    story.exit(11)
    assert not any(len(each.cmdline or b"") > 4200 for each in story.table.nodes())
