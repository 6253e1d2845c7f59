"""lineage.py: what was asked for, and all that is above it."""

from __future__ import annotations

import pytest

from proc_cache.errors import NobodyFoundError
from proc_cache.lineage import Placed, lineages
from proc_cache.process import Node, Source
from proc_cache.selection import Selection, Target
from tests.helpers.story import Story


@pytest.fixture
def story() -> Story:
    """1 -> 10 -> 11 -> 12, and 1 -> 20 -> 21; 11 has ended."""
    told = Story()
    told.fork(0, 1)
    for parent, pid, name in ((1, 10, b"sshd"), (10, 11, b"bash"), (11, 12, b"make"), (1, 20, b"cron")):
        told.fork(parent, pid)
        told.comm(pid, name)
    told.fork(20, 21)
    told.comm(21, b"make")
    told.exit(11)
    return told


def family(placed: list[Placed]) -> dict[int, tuple[int | None, bool]]:
    """Of each pid, that of who is above it, and whether it was asked for."""
    pids = {one.place: one.process.pid for one in placed}
    assert len(pids) == len(placed), "a place is given twice"
    return {one.process.pid: (None if one.above is None else pids[one.above], one.is_asked) for one in placed}


def found(story: Story, selection: Selection) -> dict[int, tuple[int | None, bool]]:
    return family(list(lineages(story.view, selection)))


def test_each_with_all_that_is_above_it(story: Story) -> None:
    assert found(story, Selection(cmd="make")) == {
        1: (None, False),
        10: (1, False),
        11: (10, False),  # though it has ended
        12: (11, True),
        20: (1, False),
        21: (20, True),
    }


def test_nothing_else(story: Story) -> None:
    assert found(story, Selection(cmd="cron")) == {1: (None, False), 20: (1, True)}
    assert found(story, Selection(cmd="no-such-name")) == {}


def test_one_that_was_asked_for_is_that_though_it_is_above_another(story: Story) -> None:
    assert found(story, Selection(under=Target(10), with_dead=True)) == {
        1: (None, False),
        10: (1, True),
        11: (10, True),
        12: (11, True),
    }
    # The same where the one below comes first.
    story.table.newest = dict(reversed(story.table.newest.items()))
    assert found(story, Selection(under=Target(10))) == {
        1: (None, False),
        10: (1, True),
        11: (10, False),
        12: (11, True),
    }


def test_a_parent_that_is_not_known(story: Story) -> None:
    story.fork(77, 30)
    story.comm(30, b"alone")
    assert found(story, Selection(cmd="alone")) == {30: (None, True)}


def test_a_reused_pid_is_another_place(story: Story) -> None:
    story.fork(12, 11)
    story.comm(11, b"newer")
    placed = list(lineages(story.view, Selection(cmd="newer")))
    assert [one.process.pid for one in placed if one.process.pid == 11] == [11, 11]
    (newer,) = [one for one in placed if one.is_asked]
    by_place = {one.place: one for one in placed}
    pids = []
    current: Placed | None = newer
    while current is not None:
        pids.append(current.process.pid)
        current = None if current.above is None else by_place[current.above]
    assert pids == [11, 12, 11, 10, 1]


def test_nobody(story: Story) -> None:
    for selection in (Selection(under=Target(999)), Selection(under="no-such-name")):
        with pytest.raises(NobodyFoundError):
            lineages(story.view, selection)


def test_a_cycle_made_by_hand_ends() -> None:
    story = Story()
    for pid, ppid in ((10, 11), (11, 10)):
        story.table.add(Node(pid, 0, ppid, Source.MANUAL, None, "x", Source.MANUAL, 0))
    assert found(story, Selection(cmd="x")) == {10: (11, True), 11: (10, True)}
