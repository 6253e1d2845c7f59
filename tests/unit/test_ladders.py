"""The fork-and-die ladder: each generation forks a child and dies; every dead rung is an ancestor of the tip."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from proc_cache import query
from proc_cache.engine.table import LADDER_ENDS, LADDER_MAX, SAMPLING
from proc_cache.process import PID_TREE_CAP, PID_TREE_TTL_SECS
from proc_cache.render.chain import chain_text
from proc_cache.render.style import PLAIN
from proc_cache.render.tree import draw_chain
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import BEGINNING_NS, SECOND_NS, Story, is_sound, lineage

if TYPE_CHECKING:
    from collections.abc import Callable

    from proc_cache.process import Node

GENERATIONS = 20_000
FIRST = 100_000
INIT = sighting(1, ppid=0, start_ns=0, comm=b"init")
MS_NS = 1_000_000


class Ladder(Story):
    """A ladder from PID 1 that climbs by a generation a millisecond; rung 0 is the first."""

    def __init__(self, *, capacity: int = PID_TREE_CAP, ttl_s: float = PID_TREE_TTL_SECS) -> None:
        super().__init__(capacity=capacity, ttl_s=ttl_s, reader=FakeReader([INIT]))
        self.scan([INIT], is_whole=False)
        self.view.since_ns = BEGINNING_NS
        self.tip = self.rung = FIRST
        self.next_pid = FIRST + 1_000_000  # of those beside the ladder
        self.born(1, self.tip)

    @property
    def generations(self) -> int:
        """How many the tip has above it, PID 1 included."""
        return self.tip - FIRST + 1

    def born(self, parent: int, pid: int) -> Node:
        self.now_ns += MS_NS
        return self.fork(parent, pid, at_ns=self.now_ns)

    def dies(self, pid: int) -> None:
        self.now_ns += MS_NS
        self.exit(pid, at_ns=self.now_ns)

    def climb(self, generations: int, beside: Callable[[int], object] | None = None) -> None:
        """Each rung forks the next, then `beside` happens, then it dies."""
        for _ in range(generations):
            self.born(self.tip, self.tip + 1)
            if beside is not None:
                beside(self.tip)
            self.dies(self.tip)
            self.tip += 1

    def other(self, parent: int, *, dies: bool = True) -> int:
        """One beside the ladder is born."""
        pid = self.next_pid
        self.next_pid += 1
        self.born(parent, pid)
        if dies:
            self.dies(pid)
        return pid

    def told(self) -> tuple[int, int]:
        """How many ancestors of the tip are retained, and how many are said to be left out."""
        nodes = query.walk(self.view, self.tip).nodes
        return len(nodes) - 1, sum(node.left_out for node in nodes)

    def is_exact(self) -> bool:
        retained, left_out = self.told()
        assert retained + left_out == self.generations
        assert is_sound(self.table)
        left_in_queue = self.table._left_in_queue
        assert left_in_queue <= set(self.table._queue)
        assert not left_in_queue & set(self.table.nodes())
        for pid in range(FIRST, self.tip + 1):
            assert self.table.was_forgotten(pid) is (pid not in self.table.newest)
        return True


@pytest.fixture(scope="module")
def tall() -> Ladder:
    """20,000 generations with the bounds that are the default; not to be changed."""
    ladder = Ladder()
    ladder.climb(GENERATIONS)
    return ladder


class TestTall:
    def test_both_ends_are_kept_and_the_number_left_out_is_exact(self, tall: Ladder) -> None:
        assert tall.generations == GENERATIONS + 1
        assert tall.is_exact()
        retained, left_out = tall.told()
        assert left_out > GENERATIONS - 2 * (LADDER_MAX + SAMPLING)
        walked = lineage(tall.node(tall.tip))
        assert walked[:LADDER_ENDS] == [tall.tip - number for number in range(LADDER_ENDS)]
        # The end at the root: PID 1, and what is kept of the ladder above the gap.
        assert walked[-LADDER_ENDS:] == [1, *range(FIRST, FIRST + LADDER_ENDS - 1)][::-1]
        assert walked == sorted(walked, reverse=True)
        assert retained == len(walked) - 1

    def test_memory_is_bounded(self, tall: Ladder) -> None:
        assert len(list(tall.table.nodes())) < 4 * LADDER_MAX
        assert len(tall.table._queue) < 8 * LADDER_MAX, "what was left out is still there"
        assert tall.table.evicted == tall.told()[1]

    def test_the_chain_of_the_tip(self, tall: Ladder) -> None:
        began = time.monotonic()
        chain = query.chain(tall.view, tall.tip)
        text, drawn = chain_text(chain), draw_chain(chain, PLAIN)
        assert time.monotonic() - began < 1
        left_out = tall.told()[1]
        assert not chain.complete
        assert chain.missing_pid is None
        assert chain.reason == f"{left_out} generations on the way were left out to bound memory"
        told = [link.generations_left_out for link in chain.links if link.generations_left_out]
        assert sum(told) == left_out
        for number in told:
            assert f";...{number} left out...;" in text
            assert f"... {number} generations left out ..." in drawn
        assert text.startswith(f"{tall.tip}|init|root;{tall.tip - 1}|init|root;")
        assert text.endswith(f";{FIRST}|init|root;1|init|root")
        assert len(drawn.splitlines()) >= len(chain.links) + len(told)

    def test_nobody_is_drawn_above_the_root(self, tall: Ladder) -> None:
        drawn = draw_chain(query.chain(tall.view, tall.tip), PLAIN)
        assert drawn.splitlines()[0] == "1 init (root)"

    def test_what_was_left_out_may_have_had_that_name(self, tall: Ladder) -> None:
        descent = query.descent(tall.view, tall.tip, "sh")
        assert descent.descendant is None
        assert "were left out to bound memory" in (descent.reason or "")
        assert query.descent(tall.view, tall.tip, "init").descendant is True

    def test_above_the_gap_no_is_known(self, tall: Ladder) -> None:
        assert query.descent(tall.view, FIRST + 3, "sh").descendant is False
        assert query.chain(tall.view, FIRST + 3).complete

    def test_one_that_was_left_out_is_told_from_one_that_never_was(self, tall: Ladder) -> None:
        pid = FIRST + GENERATIONS // 2
        assert pid not in tall.table.newest
        assert tall.table.was_forgotten(pid)
        chain = query.chain(tall.view, pid)
        assert chain.may_exist
        assert f"{pid} has ended, and that is not remembered any more" in (chain.reason or "")
        assert not query.chain(tall.view, tall.tip + 1).may_exist

    def test_the_tip_is_under_the_first(self, tall: Ladder) -> None:
        from proc_cache.selection import Selection, Target, select

        under = list(select(tall.view, Selection(under=Target(FIRST + 5), with_dead=True)))
        assert tall.node(tall.tip) in under
        assert tall.node(FIRST + 4) not in under


@pytest.mark.parametrize("generations", [1, 2 * LADDER_ENDS, LADDER_MAX - 1])
def test_a_short_ladder_is_whole(generations: int) -> None:
    ladder = Ladder()
    ladder.climb(generations)
    assert ladder.told() == (generations + 1, 0)
    assert query.chain(ladder.view, ladder.tip).complete


@pytest.mark.parametrize("capacity", [0, 1, 9, 64, 1000])
def test_a_small_capacity(capacity: int) -> None:
    ladder = Ladder(capacity=capacity)
    ladder.climb(3000)
    assert ladder.is_exact()
    assert ladder.told()[1] > 0
    assert len(list(ladder.table.nodes())) < capacity + 2 * LADDER_MAX + SAMPLING


@pytest.mark.parametrize("capacity", [16, 200])
def test_strictly_above_one_that_stands_on_a_gap(capacity: int) -> None:
    ladder = Ladder(capacity=capacity)
    ladder.climb(2000)
    lower = next(node for node in query.walk(ladder.view, ladder.tip).nodes if node.left_out)
    assert query.descent(ladder.view, lower.pid, "sh").descendant is None
    assert query.descent(ladder.view, lower.pid, "sh", is_strict=True).descendant is None


class TestWithOthers:
    @pytest.mark.parametrize("capacity", [50, 500])
    def test_rungs_that_have_another_child_that_dies(self, capacity: int) -> None:
        ladder = Ladder(capacity=capacity)
        ladder.climb(3000, beside=ladder.other)
        assert ladder.is_exact()
        assert ladder.told()[1] > 0
        assert len(list(ladder.table.nodes())) < 2 * capacity + 2 * LADDER_MAX

    def test_rungs_whose_other_child_has_expired(self) -> None:
        ladder = Ladder(ttl_s=0.2)

        def beside(rung: int) -> None:
            ladder.other(rung)
            ladder.table.expire()

        ladder.climb(5000, beside=beside)
        assert ladder.is_exact()
        assert len(list(ladder.table.nodes())) < 5000

    def test_some_rungs_have_a_child_that_lives(self) -> None:
        ladder = Ladder(capacity=100)
        kept = []

        def beside(rung: int) -> None:
            if not rung % 500:
                kept.append((rung - FIRST, ladder.other(rung, dies=False)))

        ladder.climb(4000, beside=beside)
        assert ladder.is_exact()
        assert len(kept) == 8
        for height, pid in kept:
            nodes = query.walk(ladder.view, pid).nodes
            assert len(nodes) - 1 + sum(node.left_out for node in nodes) == height + 2
        # Once those die too, their rungs are left out like the others.
        before = len(list(ladder.table.nodes()))
        for _, pid in kept:
            ladder.dies(pid)
        ladder.climb(4000)
        assert ladder.is_exact()
        assert len(list(ladder.table.nodes())) <= before

    @pytest.mark.parametrize("others", [1, 3, 255])
    def test_a_slow_one_among_other_forks(self, others: int) -> None:
        """Who is looked at every so many births is hardly ever the tip, or never."""
        ladder = Ladder(capacity=400)

        def beside(_: int) -> None:
            for _ in range(others):
                ladder.other(1)

        ladder.climb(1000, beside=beside)
        assert ladder.is_exact()
        assert ladder.told()[1] > 0
        assert len(list(ladder.table.nodes())) < 400 + 2 * LADDER_MAX + SAMPLING

    def test_many_at_once(self) -> None:
        story = Story(capacity=300)
        tips = [10_000 + 10_000 * number for number in range(8)]
        for tip in tips:
            story.fork(1, tip)
        for number in range(1500):
            for tip in tips:
                story.fork(tip + number, tip + number + 1)
                story.exit(tip + number)
        assert is_sound(story.table)
        for tip in tips:
            nodes = query.walk(story.view, tip + 1500).nodes
            assert len(nodes) - 1 + sum(node.left_out for node in nodes) == 1500
        assert len(list(story.table.nodes())) < 1000

    def test_one_that_forks_at_its_top(self) -> None:
        """Two tips: what both stand on is left out once, and counted for both."""
        ladder = Ladder(capacity=100)
        ladder.climb(1000)
        other = ladder.other(ladder.tip, dies=False)
        ladder.climb(1000)
        assert ladder.is_exact()
        nodes = query.walk(ladder.view, other).nodes
        assert len(nodes) - 1 + sum(node.left_out for node in nodes) == 1002


class TestAfterwards:
    """What was left out of the middle of the queue must not upset what goes later."""

    def test_the_tip_goes_and_all_with_it(self) -> None:
        ladder = Ladder(ttl_s=60)
        ladder.climb(5000)
        ladder.dies(ladder.tip)
        ladder.wait(61)
        ladder.table.expire()
        assert [node.pid for node in ladder.table.nodes()] == [1]
        assert (ladder.table.dead, ladder.table.alive, len(ladder.table._left_in_queue)) == (0, 1, 0)
        assert ladder.table.expired + ladder.table.evicted == 5001

    def test_expiry_step_by_step(self) -> None:
        ladder = Ladder(ttl_s=3)
        others = []
        for _ in range(20):
            ladder.climb(300)
            others.append(ladder.other(1))
            ladder.table.expire()
            assert ladder.is_exact()
        ladder.dies(ladder.tip)
        for _ in range(20):
            ladder.wait(0.25)
            ladder.table.expire()
            assert is_sound(ladder.table)
        assert [node.pid for node in ladder.table.nodes()] == [1]
        assert all(ladder.table.was_forgotten(pid) for pid in others)

    def test_the_oldest_dead_is_never_one_that_was_left_out(self) -> None:
        ladder = Ladder()
        other = ladder.other(1)
        ladder.climb(5000)
        assert ladder.table.oldest_dead() is ladder.node(other)
        ladder.wait(PID_TREE_TTL_SECS - 9.9)
        ladder.table.expire()
        assert other not in ladder.table.newest
        oldest = ladder.table.oldest_dead()
        assert oldest is None or ladder.table.newest.get(oldest.pid) is oldest

    def test_room_is_made_of_others_as_before(self) -> None:
        ladder = Ladder(capacity=1000)
        ladder.climb(5000)
        first = [ladder.other(1) for _ in range(1000)]
        assert ladder.is_exact()
        assert ladder.table.dead <= 1000 + 2 * LADDER_MAX
        assert first[-1] in ladder.table.newest
        assert first[0] not in ladder.table.newest
        kept = [pid in ladder.table.newest for pid in first]
        assert kept == sorted(kept), "a younger one went before an older one"
        assert sum(kept) > 500

    def test_a_pid_of_one_that_was_left_out_is_given_out_again(self) -> None:
        ladder = Ladder()
        ladder.climb(5000)
        pid = FIRST + 2500
        assert pid not in ladder.table.newest
        node = ladder.born(1, pid)
        assert list(ladder.table.owners(pid)) == [node]
        ladder.dies(pid)
        assert ladder.table.was_forgotten(pid)
        assert is_sound(ladder.table)

    def test_a_ladder_of_two_pids(self) -> None:
        """The rungs are former owners of each other's pids, and hang off the newest."""
        story = Story()
        story.fork(1, 2)
        for number in range(5000):
            story.fork(2 + number % 2, 3 - number % 2)
            story.exit(2 + number % 2)
        nodes = query.walk(story.view, 2).nodes
        assert len(nodes) - 1 + sum(node.left_out for node in nodes) == 5000
        assert is_sound(story.table)
        assert len(list(story.table.nodes())) < 4 * LADDER_MAX
        story.exit(2)
        story.now_ns += 10**9 * SECOND_NS
        story.table.expire()
        assert list(story.table.nodes()) == []
