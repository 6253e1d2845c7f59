"""engine/scan.py: a scan in pieces, with the events that come between them."""

from __future__ import annotations

import pytest

from proc_cache.engine import scan as scan_module
from proc_cache.engine.scan import Scan, scan_at_once
from proc_cache.process import Source
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import BEGINNING_NS, SECOND_NS, Story, is_sound, lineage

INIT = sighting(1, ppid=0, start_ns=0, comm=b"init")
OLD_NS = 500 * SECOND_NS


class Piecewise:
    """A scan that a test leads: what is shown at a moment is taken then, and events come before and after."""

    def __init__(self, story: Story) -> None:
        story.wait(1)
        self.scan = Scan(story.tree, story.now_ns)

    def take(self, pid: int, *, start_ns: int = OLD_NS, comm: bytes = b"shown", **facts: object) -> None:
        self.scan.take((sighting(pid, start_ns=start_ns, comm=comm, **facts),))  # type: ignore[arg-type]

    def finish(self) -> int:
        """Go to its end; returns in how many steps."""
        self.scan.take((INIT,))
        return sum(1 for _ in self.scan.finish())


@pytest.fixture
def story() -> Story:
    """One that knows pids 10 and 11, children of 1, from a scan; their names are those of /proc."""
    story = Story(reader=FakeReader())
    story.scan([INIT, sighting(10, start_ns=OLD_NS, comm=b"ten"), sighting(11, start_ns=OLD_NS, comm=b"eleven")])
    return story


def test_a_process_that_is_gone_has_ended(story: Story) -> None:
    under_way = Piecewise(story)
    under_way.take(10)
    under_way.finish()
    assert not story.node(10).exit_ns
    assert (story.node(11).exit_ns, story.node(11).exit_status) == (story.now_ns, None)
    assert is_sound(story.table)


def test_what_was_missed_is_there_with_its_parent(story: Story) -> None:
    under_way = Piecewise(story)
    under_way.take(21, ppid=20)  # the child is listed before its parent
    under_way.take(20, ppid=11)
    under_way.take(10)
    under_way.take(11)
    under_way.finish()
    assert lineage(story.node(21)) == [21, 20, 11, 1]
    assert story.node(21).source == Source.SNAPSHOT
    assert [node.pid for node in under_way.scan.seen] == [21, 20, 10, 11, 1]


def test_where_pid_1_is_hidden_nobody_is_ended(story: Story) -> None:
    scan_at_once(story.tree, [sighting(10, start_ns=OLD_NS)], story.now_ns + 1)
    assert not story.node(11).exit_ns
    assert not story.node(1).exit_ns


@pytest.mark.parametrize("is_whole", [True, False])
def test_whether_it_is_whole_can_be_known_otherwise(story: Story, is_whole: bool) -> None:
    scan_at_once(story.tree, [], story.now_ns + 1, is_whole=is_whole)
    assert bool(story.node(11).exit_ns) is is_whole


class TestBetweenThePieces:
    def test_one_that_was_seen_exits(self, story: Story) -> None:
        under_way = Piecewise(story)
        under_way.take(10)
        under_way.take(11)
        story.exit(10, status=256)
        ended_ns = story.now_ns
        story.wait(1)
        under_way.finish()
        assert (story.node(10).exit_ns, story.node(10).exit_status) == (ended_ns, 256)

    def test_one_that_was_not_yet_seen_exits(self, story: Story) -> None:
        under_way = Piecewise(story)
        story.exit(11, status=256)
        under_way.take(10)
        under_way.finish()
        assert (story.node(11).exit_status, story.tree.exits) == (256, 1)

    def test_the_exit_of_one_that_was_seen_as_a_zombie(self, story: Story) -> None:
        """It was sent before, and is applied after."""
        under_way = Piecewise(story)
        under_way.take(10, state="Z")
        under_way.take(11)
        story.exit(10, status=256)
        under_way.finish()
        assert story.node(10).exit_status == 256

    @pytest.mark.parametrize("is_seen", [True, False])
    def test_a_child_is_born(self, story: Story, is_seen: bool) -> None:
        under_way = Piecewise(story)
        under_way.take(10)
        under_way.take(11)
        born = story.fork(11, 12)
        if is_seen:
            under_way.take(12, start_ns=born.start_ns, ppid=11)
        under_way.finish()
        assert story.node(12) is born
        assert (born.exit_ns, born.cmd, lineage(born)) == (0, "shown", [12, 11, 1])

    def test_a_child_is_seen_before_its_fork_is_applied(self, story: Story) -> None:
        under_way = Piecewise(story)
        under_way.take(10)
        under_way.take(11)
        born_ns = story.now_ns + 5
        story.wait(1)
        under_way.take(12, start_ns=born_ns, ppid=1)
        assert story.late_fork(11, 12, at_ns=born_ns) is story.node(12)
        under_way.finish()
        assert (lineage(story.node(12)), story.node(12).ppid_source) == ([12, 11, 1], Source.FORK)
        assert list(story.table.owners(12)) == [story.node(12)]

    def test_a_pid_is_reused_after_it_was_seen(self, story: Story) -> None:
        under_way = Piecewise(story)
        under_way.take(10)
        under_way.take(11)
        former = story.node(10)
        story.exit(10, status=256)
        newest = story.fork(11, 10)
        under_way.finish()
        assert (former.exit_status, newest.exit_ns, newest.cmd) == (256, 0, "shown")
        assert list(story.table.owners(10)) == [newest, former]

    def test_a_pid_is_reused_before_it_is_seen_and_the_events_come_after(self, story: Story) -> None:
        under_way = Piecewise(story)
        former = story.node(10)
        ended_ns, born_ns = story.now_ns + 1000, story.now_ns + SECOND_NS // 2
        story.wait(1)
        under_way.take(10, start_ns=born_ns, comm=b"newest", ppid=11)
        under_way.take(11)
        story.exit(10, status=256, at_ns=ended_ns)
        newest = story.late_fork(11, 10, at_ns=born_ns)
        under_way.finish()
        assert newest is story.node(10) is not former
        assert (newest.exit_ns, newest.cmd, newest.start_ns) == (0, "newest", born_ns)
        assert (former.exit_ns, former.exit_status) == (ended_ns, 256)

    def test_one_runs_another_program(self, story: Story) -> None:
        reader = story.reader
        assert isinstance(reader, FakeReader)
        under_way = Piecewise(story)
        under_way.take(10, comm=b"old")
        reader.show(sighting(10, start_ns=OLD_NS, comm=b"new"))
        story.exec(10)
        under_way.take(11)
        under_way.finish()
        assert (story.node(10).cmd, story.node(10).source) == ("new", Source.EXEC)

    def test_one_is_seen_with_the_program_whose_exec_comes_after(self, story: Story) -> None:
        under_way = Piecewise(story)
        under_way.take(10, comm=b"new")
        assert story.node(10).cmd == "new"
        story.exec(10)  # by now it is gone
        story.exit(10)
        under_way.take(11)
        under_way.finish()
        assert (story.node(10).source, story.node(10).exit_status) == (Source.UNREAD, 0)

    def test_the_times_of_the_scan_go_on_with_its_pieces(self, story: Story) -> None:
        under_way = Piecewise(story)
        began_ns = story.now_ns
        story.wait(5)
        under_way.take(10)
        assert (story.tree.scan_began_ns, story.tree.scan_ended_ns) == (began_ns, story.now_ns)


def test_the_end_of_many_is_looked_for_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "_NODES_AT_ONCE", 10)
    story = Story()
    for pid in range(10, 110):
        story.fork(1, pid)
    under_way = Piecewise(story)
    under_way.scan.take((INIT,))
    steps = under_way.scan.finish()
    next(steps)
    ended = [node for node in story.table.nodes() if node.exit_ns]
    assert 0 < len(ended) <= 10
    late = story.fork(1, 500)  # meanwhile
    story.exit(109, status=256)
    assert sum(1 for _ in steps) >= 9
    assert [node.pid for node in story.table.nodes() if not node.exit_ns and node.pid != 1] == [500]
    assert (late.exit_ns, story.node(109).exit_status) == (0, 256)
    assert story.now_ns > BEGINNING_NS
