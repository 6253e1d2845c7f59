"""What is kept of random forks and exits, where capacity is small and ladders are shortened all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.story import SECOND_NS, Story, is_sound

if TYPE_CHECKING:
    from proc_cache.process import Node

PIDS = range(2, 14)
TTL_S = 40

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fork", "fork", "exit", "exit", "climb", "climb", "wait", "expire"]),
        st.integers(0, 50),
        st.integers(1, 12),
    ),
    max_size=60,
)


class Model:
    """Every process that ever was, and the table that keeps some of them."""

    def __init__(self, capacity: int) -> None:
        self.story = Story(capacity=capacity, ttl_s=TTL_S)
        self.parents: dict[Node, Node | None] = {}  # of everyone; what the table cuts is whole here
        self.alive: list[Node] = []
        self.fork(None, 1)

    def fork(self, parent: Node | None, pid: int) -> Node:
        node = self.story.fork(0 if parent is None else parent.pid, pid)
        self.parents[node] = parent
        self.alive.append(node)
        return node

    def exit(self, node: Node) -> None:
        self.story.exit(node.pid, status=256)
        self.alive.remove(node)

    def free_pid(self, number: int) -> int | None:
        used = {node.pid for node in self.alive}
        free = [pid for pid in PIDS if pid not in used]
        return free[number % len(free)] if free else None

    def do(self, what: str, which: int, often: int) -> None:
        node = self.alive[which % len(self.alive)]
        if what == "fork":
            pid = self.free_pid(often)
            if pid is not None:
                self.fork(node, pid)
        elif what == "exit" and node.pid != 1:
            self.exit(node)
        elif what == "climb":
            self.climb(node, often)
        elif what == "wait":
            self.story.wait(which)
        elif what == "expire":
            self.story.table.expire()

    def climb(self, tip: Node, generations: int) -> None:
        for number in range(generations):
            pid = self.free_pid(number)
            if pid is None:
                return
            child = self.fork(tip, pid)
            if tip.pid != 1:
                self.exit(tip)
            tip = child

    def ancestors(self, node: Node) -> list[Node]:
        found = [node]
        while (parent := self.parents[found[-1]]) is not None:
            found.append(parent)
        return found

    # --- what must hold ---------------------------------------------------------------------------------

    def check(self) -> None:
        table = self.story.table
        retained = set(table.nodes())
        assert is_sound(table)
        assert set(self.alive) <= retained, "a living one was evicted"
        assert {node for node in retained if not node.exit_ns} == set(self.alive)
        assert (table.alive, table.dead) == (len(self.alive), len(retained) - len(self.alive))
        assert table.evicted + table.expired == len(self.parents) - len(retained)
        self.check_chains(retained)
        gone = {node.pid for node in self.parents if node not in retained}
        assert {pid for pid in (1, *PIDS) if table.was_forgotten(pid)} == gone
        self.check_queue(retained)

    def check_chains(self, retained: set[Node]) -> None:
        for node in retained:
            expected = self.ancestors(node)
            place = 0
            link: Node | None = node
            while link is not None:
                assert link in retained
                assert link is expected[place], f"{link} in the chain of {node}"
                place += 1 + link.left_out
                link = link.parent
            assert place == len(expected), f"the chain of {node} ends early"

    def check_queue(self, retained: set[Node]) -> None:
        """Every dead one can go: it waits in the queue, or is held by a child."""
        table = self.story.table
        waiting = [node for node in table._queue if node not in table._left_in_queue]
        assert len(table._queue) - len(waiting) == len(table._left_in_queue)
        assert {node for node in retained if node.exit_ns and node not in table.held} == set(waiting)
        assert len(set(waiting)) == len(waiting)
        assert [node.exit_ns for node in waiting] == sorted(node.exit_ns for node in waiting)
        assert sum(1 for node in waiting if not node.children) <= table.params.capacity
        oldest = table.oldest_dead()
        assert oldest is (waiting[0] if waiting else None)


@settings(max_examples=300, deadline=None)
@given(
    steps=STEPS,
    capacity=st.sampled_from([0, 1, 3, 8, 30, 1000]),
    ladder_max=st.integers(3, 12),
    ends=st.integers(1, 3),
    sampling=st.integers(1, 7),
)
def test_what_is_kept_is_exact(
    steps: list[tuple[str, int, int]], capacity: int, ladder_max: int, ends: int, sampling: int
) -> None:
    with patch.multiple("proc_cache.engine.table", LADDER_MAX=ladder_max, LADDER_ENDS=ends, SAMPLING=sampling):
        model = Model(capacity)
        for step in steps:
            model.do(*step)
            model.check()
        # The end of all: nothing that was ever held or left out stays behind.
        for node in [node for node in model.alive if node.pid != 1]:
            model.exit(node)
            model.check()
        model.story.now_ns += 1000 * SECOND_NS
        model.story.table.expire()
        model.check()
        assert [node.pid for node in model.story.table.nodes()] == [1]
        assert not model.story.table._queue


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, ladder_max=st.integers(3, 12))
def test_long_ladders_leave_something_out(steps: list[tuple[str, int, int]], ladder_max: int) -> None:
    """The property above says something only where ladders are shortened: so they are."""
    with patch.multiple("proc_cache.engine.table", LADDER_MAX=ladder_max, LADDER_ENDS=1, SAMPLING=2):
        model = Model(1000)
        for step in steps:
            model.do(*step)
        if model.free_pid(0) is None:
            model.exit(model.alive[-1])
        model.climb(model.alive[-1], 100)
        model.check()
        assert sum(node.left_out for node in model.story.table.nodes()) > 50
