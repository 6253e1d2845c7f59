"""engine/tree.py: what each event does to the table, rule by rule."""

from __future__ import annotations

import pytest

from proc_cache.engine.identity import is_same_start
from proc_cache.kernel.clocks import TICK_NS
from proc_cache.process import Source, is_name_certain
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import BEGINNING_NS, SECOND_NS, STEP_NS, Story, is_sound, lineage


def shown_story(capacity: int = 1000) -> tuple[Story, FakeReader]:
    reader = FakeReader()
    return Story(capacity=capacity, reader=reader), reader


class TestFork:
    def test_a_child_of_a_known_parent(self) -> None:
        story = Story()
        parent = story.fork(1, 10)
        story.comm(10, b"sh")
        story.uid(10, 1000)
        story.sid(10)
        parent.cmdline = b"sh\0"
        child = story.fork(10, 11)
        assert child.parent is parent
        assert (child.ppid, child.ppid_source) == (10, Source.FORK)
        assert (child.cmd, child.source) == ("sh", Source.INHERITED)
        assert (child.uid, child.birth_uid, child.session, child.cmdline) == (1000, 1000, 10, b"sh\0")
        assert child.start_ns == story.now_ns
        assert story.tree.forks == 2

    def test_a_child_of_nobody_known(self) -> None:
        child = Story().fork(10, 11)
        assert (child.ppid, child.parent) == (10, None)
        assert (child.cmd, child.source, child.uid) == ("", Source.FORK, None)

    def test_monotonic_times_become_boottime(self) -> None:
        story = Story()
        story.tree.to_boottime_ns = 5
        assert story.fork(1, 10).start_ns == story.now_ns + 5
        node = story.exit(10)
        assert node is not None
        assert node.exit_ns == story.now_ns + 5

    def test_a_parent_that_is_not_in_the_table_is_read(self) -> None:
        story, reader = shown_story()
        reader.show(sighting(10, start_ns=BEGINNING_NS, comm=b"sh", ppid=1))
        child = story.fork(10, 11)
        assert child.parent is story.node(10)
        assert (story.node(10).cmd, story.node(10).source) == ("sh", Source.PROCFS)

    def test_a_younger_process_that_has_the_parents_pid_is_not_read_as_parent(self) -> None:
        story, reader = shown_story()
        reader.show(sighting(10, start_ns=BEGINNING_NS + 50 * SECOND_NS, comm=b"other"))
        child = story.fork(10, 11)
        assert (child.parent, child.ppid) == (None, 10)

    def test_a_parent_that_is_hidden_is_unknown(self) -> None:
        story, reader = shown_story()
        reader.hidden.add(10)
        assert story.fork(10, 11).parent is None

    def test_a_small_pid_may_follow_a_large_one(self) -> None:
        story = Story()
        story.fork(1, 4_000_000)
        assert lineage(story.fork(4_000_000, 300)) == [300, 4_000_000]

    def test_a_parent_that_has_exited_by_then_is_no_parent(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.exit(10)
        assert story.fork(10, 11).parent is None

    def test_a_fork_told_after_its_parents_exit(self) -> None:
        story = Story()
        story.fork(1, 10)
        born_ns = story.now_ns + 1
        story.exit(10)
        child = story.late_fork(10, 11, at_ns=born_ns)
        assert lineage(child) == [11, 10]

    def test_the_same_fork_twice(self) -> None:
        story = Story()
        node = story.fork(1, 10)
        assert story.late_fork(1, 10, at_ns=node.start_ns) is node
        assert list(story.table.owners(10)) == [node]


class TestThreads:
    def test_are_no_processes(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.thread(10, 11)
        assert set(story.table.newest) == {10}
        assert story.exit(10, tid=11) is None
        assert not story.node(10).exit_ns

    def test_a_fork_from_one_is_the_processs(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.thread(10, 11)
        assert lineage(story.fork(10, 12, parent_tid=11)) == [12, 10]

    def test_a_child_has_the_name_of_the_forking_thread(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.comm(10, b"main")
        story.thread(10, 11)
        assert story.comm(10, b"pool-1", tid=11) is None
        assert story.node(10).cmd == "main"
        child = story.fork(10, 12, parent_tid=11)
        assert (child.cmd, child.source) == ("pool-1", Source.INHERITED)
        assert story.fork(10, 13).cmd == "main"

    def test_a_thread_begins_with_the_name_of_its_process(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.comm(10, b"main")
        story.thread(10, 11)
        story.comm(10, b"renamed")
        assert story.fork(10, 12, parent_tid=11).cmd == "main"

    def test_an_unknown_thread_name_is_read(self) -> None:
        story, reader = shown_story()
        reader.thread_names[11] = "pool-1"
        story.scan([sighting(10, start_ns=BEGINNING_NS, comm=b"main", tids=(11, 12))])
        assert story.fork(10, 20, parent_tid=11).cmd == "pool-1"
        reader.thread_names.clear()  # it is remembered
        assert story.fork(10, 21, parent_tid=11).cmd == "pool-1"
        assert story.fork(10, 22, parent_tid=12).cmd == "main"  # gone by now: the process's is the likeliest

    def test_a_thread_name_taken_from_an_unread_process_is_not_certain(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.comm(10, b"sh")
        story.exec(10)  # of what, nobody could read: its threads have a name that is not known
        story.thread(10, 11)
        story.comm(10, b"renamed")
        assert not is_name_certain(story.fork(10, 12, parent_tid=11))

    def test_uid_of_a_thread_is_not_the_processs(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.uid(10, 1000)
        assert story.uid(10, 0, tid=11) is None
        assert story.node(10).uid == 1000

    def test_the_leader_exits_first(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.thread(10, 11)
        story.thread(10, 12)
        assert story.exit(10, status=768) is None
        assert not story.node(10).exit_ns
        assert story.exit(10, tid=11, status=9) is None
        assert lineage(story.fork(10, 20, parent_tid=12)) == [20, 10]
        ended = story.exit(10, tid=12, status=9)
        assert ended is story.node(10)
        assert ended is not None
        assert (ended.exit_status, ended.exit_ns) == (9, story.now_ns)  # as wait(2) gives it: the last one's
        assert story.tree.exits == 1

    def test_the_leader_exits_last(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.thread(10, 11)
        story.exit(10, tid=11)
        node = story.exit(10, status=256)
        assert node is not None
        assert node.exit_status == 256

    def test_exec_from_another_thread(self) -> None:
        """EXIT of the leader, then EXEC of the same pid; no EXIT for the thread that called execve(2)."""
        story, reader = shown_story()
        born = story.fork(1, 10)
        story.thread(10, 11)
        story.thread(10, 12)
        story.exit(10, tid=12)
        story.exit(10)
        reader.show(sighting(10, start_ns=born.start_ns, comm=b"new"))
        assert story.exec(10) is born
        assert (born.cmd, born.exit_ns) == ("new", 0)
        assert story.exit(10) is born  # the other threads are gone: this exit is its end
        assert born.exit_ns == story.now_ns

    def test_exec_from_a_thread_that_nobody_told_of(self) -> None:
        story, reader = shown_story()
        born = story.fork(1, 10)
        story.exit(10)
        reader.show(sighting(10, start_ns=born.start_ns, comm=b"new"))
        assert story.exec(10) is born
        assert (born.cmd, born.exit_ns, born.exit_status, story.table.dead) == ("new", 0, None, 0)
        assert list(story.table.owners(10)) == [born]

    def test_a_new_owner_of_the_pid_has_none_of_the_threads(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.thread(10, 11)  # and every exit is lost
        story.fork(1, 10)
        assert story.exit(10) is story.node(10)
        assert story.node(10).exit_ns

    def test_threads_of_an_unknown_process_are_not_the_next_ones(self) -> None:
        story = Story()
        story.thread(10, 11)  # of a process whose fork was lost, as its exits will be
        story.fork(1, 10)
        story.exit(10)
        assert story.node(10).exit_ns

    def test_a_leader_that_exited_with_unknown_threads_and_forks(self) -> None:
        """Its exit was the leader's only; one identity stays one process."""
        story, reader = shown_story()
        born = story.fork(1, 10)
        story.exit(10)
        reader.show(sighting(10, start_ns=born.start_ns, state="Z", tids=(11,)))
        child = story.fork(10, 20, parent_tid=11)
        assert list(story.table.owners(10)) == [born]
        assert lineage(child) == [20, 10]


class TestExec:
    def test_takes_name_user_and_arguments_from_proc(self) -> None:
        story, reader = shown_story()
        born = story.fork(1, 10)
        reader.show(
            sighting(10, start_ns=born.start_ns, comm=b"\xffls", uid=1000, cmdline=b"ls\0-l\0", session=10)
        )
        assert story.exec(10) is born
        assert (born.cmd, born.source, born.uid, born.cmdline, born.session) == (
            "\udcffls",
            Source.EXEC,
            1000,
            b"ls\0-l\0",
            10,
        )
        assert born.start_ns != BEGINNING_NS
        assert (story.tree.execs, story.tree.unread) == (1, 0)

    def test_gone_before_it_could_be_read(self) -> None:
        story, _ = shown_story()
        story.fork(1, 10)
        story.comm(10, b"sh")
        node = story.exec(10)
        assert node is not None
        assert (node.cmd, node.source, node.cmdline) == ("sh", Source.UNREAD, None)
        assert story.tree.unread == 1
        assert story.fork(10, 11).source == Source.UNREAD

    def test_hidden_is_unread(self) -> None:
        story, reader = shown_story()
        story.fork(1, 10)
        reader.hidden.add(10)
        node = story.exec(10)
        assert node is not None
        assert node.source == Source.UNREAD

    def test_the_next_owner_of_the_pid_gives_no_name(self) -> None:
        story, reader = shown_story()
        story.fork(1, 10)
        story.comm(10, b"sh")
        reader.show(sighting(10, start_ns=story.now_ns + 60 * SECOND_NS, comm=b"other", uid=1001))
        node = story.exec(10)
        assert node is not None
        assert (node.cmd, node.source, node.uid) == ("sh", Source.UNREAD, None)

    def test_of_a_process_whose_fork_was_lost(self) -> None:
        story, reader = shown_story()
        parent = story.fork(1, 10)
        reader.show(sighting(11, start_ns=story.now_ns, ppid=10, comm=b"ls", uid=1000))
        node = story.exec(11)
        assert node is not None
        assert (node.cmd, node.source, node.uid) == ("ls", Source.EXEC, 1000)
        assert (node.parent, node.ppid_source) == (parent, Source.PROCFS)

    def test_of_a_process_of_which_nothing_can_be_known(self) -> None:
        story, _ = shown_story()
        node = story.exec(11)
        assert node is not None
        assert (node.cmd, node.source, node.ppid, node.start_ns, node.uid) == ("", Source.UNREAD, None, 0, None)

    def test_every_exec_without_a_name_is_counted(self) -> None:
        story, _ = shown_story()
        story.exec(11)
        assert story.tree.unread == 1

    def test_of_a_new_owner_whose_fork_was_lost(self) -> None:
        story, reader = shown_story()
        former = story.fork(1, 10)
        story.comm(10, b"sh")
        story.exit(10)
        reader.show(sighting(10, start_ns=story.now_ns + SECOND_NS, ppid=1, comm=b"new"))
        story.wait(2)
        node = story.exec(10)
        assert node is not former
        assert node is not None
        assert (node.cmd, node.previous) == ("new", former)
        assert former.exit_ns

    def test_of_a_new_owner_that_cannot_be_read_takes_nothing_over(self) -> None:
        story, _ = shown_story()
        former = story.fork(1, 10)
        story.comm(10, b"sh")
        story.exit(10)
        node = story.exec(10)
        assert node is not former
        assert node is not None
        assert (node.cmd, node.ppid, former.exit_ns > 0) == ("", None, True)

    def test_a_parent_learnt_by_a_later_exec_is_retained(self) -> None:
        story, reader = shown_story(capacity=0)
        story.fork(1, 10)
        story.exec(11)  # fork lost, and /proc too late
        reader.show(sighting(11, start_ns=story.now_ns, ppid=10, comm=b"ls"))
        node = story.exec(11)
        assert node is not None
        assert node.ppid == 10
        story.exit(10)
        assert lineage(node) == [11, 10]

    def test_the_present_parent_is_noted_beside_the_birth_parent(self) -> None:
        story, reader = shown_story()
        born = story.fork(10, 11)
        reader.show(sighting(11, start_ns=born.start_ns, ppid=1))
        story.exec(11)
        assert (born.ppid, born.ppid_source, born.adopter_pid) == (10, Source.FORK, 1)


class TestCommUidSid:
    def test_rename(self) -> None:
        story = Story()
        node = story.fork(1, 10)
        assert story.comm(10, b"\xff\x1b[2J") is node
        assert (node.cmd, node.source) == ("\udcff\x1b[2J", Source.COMM)
        story.comm(10, b"")
        assert (node.cmd, node.source) == ("", Source.COMM)

    def test_another_user(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.uid(10, 1000)
        node = story.fork(10, 11)
        assert story.uid(11, 0, ruid=1001) is node
        assert (node.uid, node.birth_uid) == (0, 1000)

    def test_a_session_of_its_own(self) -> None:
        story = Story()
        node = story.fork(1, 10)
        assert story.sid(10) is node
        assert node.session == 10

    def test_of_nobody_known(self) -> None:
        story = Story()
        assert story.comm(10, b"sh") is None
        assert story.uid(10, 0) is None
        assert story.sid(10) is None
        assert story.table.newest == {}

    def test_a_late_one_goes_to_the_former_owner(self) -> None:
        story = Story()
        former = story.fork(1, 10)
        told_ns = story.now_ns + 1
        story.exit(10)
        newest = story.fork(1, 10)
        assert story.comm(10, b"old", at_ns=told_ns) is former
        assert (former.cmd, newest.cmd) == ("old", "")


class TestExit:
    def test_keeps_what_is_known(self) -> None:
        story = Story()
        node = story.fork(10, 11)
        story.comm(11, b"ls")
        assert story.exit(11, status=0x8B, parent=1) is node
        assert (node.exit_ns, node.exit_status) == (story.now_ns, 0x8B)
        assert (node.cmd, node.ppid, node.adopter_pid) == ("ls", 10, 1)
        assert story.tree.exits == 1

    def test_names_no_adopter_where_the_parent_is_the_same(self) -> None:
        story = Story()
        node = story.fork(10, 11)
        story.exit(11, parent=10)
        assert node.adopter_pid is None

    def test_the_birth_parent_never_changes(self) -> None:
        story = Story()
        story.fork(1, 10)
        node = story.fork(10, 11)
        story.exit(10)
        story.exit(11, parent=1)
        assert (node.ppid, lineage(node)) == (10, [11, 10])

    def test_of_nobody_known(self) -> None:
        node = Story().exit(10, status=256, parent=1)
        assert node is not None
        assert (node.source, node.start_ns, node.ppid, node.cmd) == (Source.EXIT, 0, None, "")
        assert node.exit_status == 256

    def test_twice(self) -> None:
        story = Story()
        node = story.fork(1, 10)
        story.exit(10, status=256)
        ended_ns = node.exit_ns
        story.exit(10, status=0)
        assert (node.exit_ns, node.exit_status, story.table.dead, story.tree.exits) == (ended_ns, 256, 1, 1)

    def test_a_late_one_does_not_end_the_next_owner(self) -> None:
        story = Story()
        former = story.fork(1, 10)
        ended_ns = story.now_ns + 1
        newest = story.fork(1, 10)  # its fork proves that the former had ended
        assert former.exit_ns == newest.start_ns
        assert former.exit_status is None
        assert story.exit(10, status=256, at_ns=ended_ns) is former
        assert former.exit_status == 256
        assert not newest.exit_ns

    def test_of_an_owner_before_all_that_are_known(self) -> None:
        story = Story()
        node = story.fork(1, 10)
        assert story.exit(10, at_ns=node.start_ns - 60 * SECOND_NS) is None
        assert not node.exit_ns


class TestLateFork:
    def test_never_resurrects(self) -> None:
        story = Story()
        story.fork(1, 5)
        story.comm(5, b"sh")
        story.uid(5, 1000)
        born_ns = story.now_ns + 1
        node = story.exit(10, status=256)
        assert node is not None
        assert story.late_fork(5, 10, at_ns=born_ns) is node
        assert (node.exit_status, node.start_ns) == (256, born_ns)
        assert node.exit_ns > born_ns
        assert (lineage(node), node.ppid_source) == ([10, 5], Source.FORK)
        assert (node.cmd, node.source, node.uid) == ("sh", Source.UNREAD, 1000)
        assert story.table.dead == 1
        assert is_sound(story.table)

    def test_of_an_unknown_parent(self) -> None:
        story = Story()
        story.exit(10)
        node = story.late_fork(5, 10, at_ns=story.now_ns - 1)
        assert node is not None
        assert (node.ppid, node.parent, node.exit_ns) == (5, None, story.now_ns)

    def test_of_a_former_owner_changes_nothing(self) -> None:
        story = Story()
        newest = story.fork(1, 10)
        assert story.late_fork(5, 10, at_ns=newest.start_ns - SECOND_NS) is None
        assert list(story.table.owners(10)) == [newest]
        assert (newest.ppid, newest.exit_ns) == (1, 0)

    def test_of_a_process_that_its_exec_made_known(self) -> None:
        story, reader = shown_story()
        story.fork(1, 5)
        born_ns = story.now_ns + SECOND_NS + TICK_NS // 2
        reader.show(sighting(10, start_ns=born_ns, ppid=5, comm=b"ls"))
        node = story.exec(10, at_ns=born_ns + 1)
        assert story.late_fork(5, 10, at_ns=born_ns) is node
        assert node is not None
        assert list(story.table.owners(10)) == [node]
        assert (node.cmd, node.exit_ns, node.ppid_source) == ("ls", 0, Source.FORK)


class TestReuse:
    def test_inherits_nothing(self) -> None:
        story = Story()
        former = story.fork(5, 10)
        story.comm(10, b"old")
        story.uid(10, 1000)
        story.sid(10)
        story.exit(10)
        node = story.fork(6, 10)
        assert node is not former
        assert (node.cmd, node.source, node.uid, node.session, node.ppid) == ("", Source.FORK, None, None, 6)
        assert (former.cmd, former.ppid) == ("old", 5)
        assert node.children == 0

    def test_with_the_exit_lost(self) -> None:
        story = Story()
        former = story.fork(5, 10)
        child = story.fork(10, 11)
        node = story.fork(6, 10)
        assert former.exit_ns == node.start_ns
        assert former.exit_status is None
        assert child.parent is former
        assert story.fork(10, 12).parent is node

    def test_a_child_of_each_owner(self) -> None:
        story = Story()
        owners, children = [], []
        for number in range(4):
            owners.append(story.fork(1, 10))
            children.append(story.fork(10, 20 + number))
            story.exit(10)
        assert [child.parent for child in children] == owners

    def test_its_own_child_may_take_the_pid(self) -> None:
        story = Story()
        first = story.fork(1, 10)
        story.fork(10, 11)
        story.exit(10)
        second = story.fork(11, 10)
        assert lineage(second) == [10, 11, 10]
        assert second.previous is first


class TestScan:
    def test_the_first(self) -> None:
        story = Story()
        story.scan(
            [
                sighting(1, ppid=0, start_ns=0, comm=b"systemd"),
                sighting(10, ppid=1, start_ns=5 * SECOND_NS, comm=b"sh", uid=1000, cmdline=b"-sh\0"),
                sighting(300, ppid=10, start_ns=6 * SECOND_NS, comm=b"top"),
            ]
        )
        node = story.node(300)
        assert lineage(node) == [300, 10, 1]
        shell = story.node(10)
        assert (shell.cmd, shell.source, shell.ppid_source) == ("sh", Source.SNAPSHOT, Source.SNAPSHOT)
        assert (shell.uid, shell.cmdline) == (1000, b"-sh\0")

    def test_links_whatever_the_order(self) -> None:
        story = Story()
        story.scan([sighting(300, ppid=4000, start_ns=9 * SECOND_NS), sighting(4000, ppid=1, start_ns=SECOND_NS)])
        assert lineage(story.node(300)) == [300, 4000]

    def test_finds_a_missed_fork(self) -> None:
        story = Story()
        parent = story.fork(1, 10)
        story.scan(
            [sighting(10, start_ns=parent.start_ns), sighting(11, ppid=10, start_ns=story.now_ns, comm=b"ls")]
        )
        assert lineage(story.node(11)) == [11, 10]
        assert story.node(11).cmd == "ls"

    def test_finds_a_missed_exit(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.thread(10, 11)
        story.scan([])
        node = story.node(10)
        assert node.exit_status is None
        assert story.table.dead == 1
        assert story.now_ns - STEP_NS <= node.exit_ns <= story.now_ns
        assert not story.view.describe(node).is_alive
        assert story.view.describe(node).exit_time_ns is None  # when it was noticed is not when it was

    def test_that_is_not_whole_ends_nobody(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.scan([], is_whole=False)
        assert not story.node(10).exit_ns

    def test_ends_nobody_who_came_after_it_began(self) -> None:
        story = Story()
        began_ns = story.now_ns
        story.fork(1, 10)
        story.scan([], began_ns=began_ns)
        assert not story.node(10).exit_ns

    def test_finds_a_missed_exec(self) -> None:
        story = Story()
        node = story.fork(1, 10)
        story.comm(10, b"sh")
        story.scan([sighting(10, start_ns=node.start_ns, comm=b"ls", cmdline=b"ls\0")])
        assert (node.cmd, node.source, node.cmdline) == ("ls", Source.SNAPSHOT, b"ls\0")
        assert node.ppid_source == Source.FORK

    def test_names_what_was_unread(self) -> None:
        story = Story()
        node = story.fork(1, 10)
        story.exec(10)
        story.scan([sighting(10, start_ns=node.start_ns, comm=b"ls")])
        assert (node.cmd, node.source) == ("ls", Source.SNAPSHOT)

    @pytest.mark.parametrize("how", ["exec", "comm"])
    def test_a_name_known_from_an_event_stays_that_events(self, how: str) -> None:
        story, reader = shown_story()
        node = story.fork(1, 10)
        reader.show(sighting(10, start_ns=node.start_ns, comm=b"ls"))
        if how == "exec":
            story.exec(10)
        else:
            story.comm(10, b"ls")
        story.scan(reader.shown.values())
        assert (node.cmd, node.source) == ("ls", how)

    def test_a_name_inherited_is_confirmed(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.comm(10, b"sh")
        node = story.fork(10, 11)
        story.scan([sighting(11, ppid=10, start_ns=node.start_ns, comm=b"sh")], is_whole=False)
        assert node.source == Source.SNAPSHOT

    def test_finds_a_new_owner_of_a_pid(self) -> None:
        story = Story()
        former = story.fork(1, 10)
        story.thread(10, 11)
        story.wait(10)
        story.scan([sighting(10, ppid=1, start_ns=story.now_ns - SECOND_NS, comm=b"new")])
        node = story.node(10)
        assert node is not former
        assert node.previous is former
        assert former.exit_ns == node.start_ns
        story.exit(10)
        assert node.exit_ns  # it has none of the former's threads

    def test_the_birth_parent_stays(self) -> None:
        story = Story()
        story.fork(1, 10)
        node = story.fork(10, 11)
        story.exit(10)
        story.scan([sighting(11, ppid=1, start_ns=node.start_ns), sighting(1, ppid=0, start_ns=0)])
        assert (node.ppid, node.adopter_pid, lineage(node)) == (10, 1, [11, 10])

    def test_a_younger_process_with_the_parents_pid_is_not_adopted(self) -> None:
        story = Story()
        story.scan([sighting(11, ppid=10, start_ns=SECOND_NS)], is_whole=False)
        story.wait(5)
        story.scan([sighting(11, ppid=10, start_ns=SECOND_NS), sighting(10, ppid=1, start_ns=story.now_ns)])
        assert story.node(11).parent is None

    def test_a_parent_of_the_same_tick(self) -> None:
        story = Story()
        story.scan([sighting(11, ppid=10, start_ns=SECOND_NS), sighting(10, ppid=1, start_ns=SECOND_NS)])
        assert lineage(story.node(11)) == [11, 10]

    def test_a_zombie_has_ended(self) -> None:
        story = Story()
        story.scan([sighting(10, start_ns=SECOND_NS, state="Z", comm=b"ls")])
        assert story.node(10).exit_ns
        assert story.node(10).exit_status is None
        assert story.node(10).cmd == "ls"

    def test_a_zombie_leader_with_threads_lives(self) -> None:
        story = Story()
        story.scan([sighting(10, start_ns=SECOND_NS, state="Z", tids=(11,))])
        assert not story.node(10).exit_ns
        assert story.exit(10, tid=11) is story.node(10)
        assert story.node(10).exit_ns == story.now_ns
        assert story.node(10).exit_status == 0

    def test_threads_are_known_from_it(self) -> None:
        story = Story()
        story.scan([sighting(10, start_ns=SECOND_NS, tids=(11, 12))])
        story.exit(10, status=256)
        assert not story.node(10).exit_ns
        story.exit(10, tid=11)
        story.exit(10, tid=12, status=512)
        assert story.node(10).exit_status == 512

    def test_twice_the_same(self) -> None:
        story = Story()
        shown = [sighting(1, ppid=0, start_ns=0), sighting(10, start_ns=SECOND_NS)]
        story.scan(shown)
        before = list(story.table.nodes())
        story.scan(shown)
        assert list(story.table.nodes()) == before
        assert is_sound(story.table)

    @pytest.mark.parametrize(("state", "tids"), [("S", ()), ("Z", (11,))])
    def test_what_it_shows_running_lives(self, state: str, tids: tuple[int, ...]) -> None:
        """The exit was the leader's: a thread of which the fork was lost runs on, or has called execve(2)."""
        story = Story()
        node = story.fork(1, 10)
        story.exit(10)
        story.scan([sighting(10, start_ns=node.start_ns, state=state, tids=tids)])
        assert not node.exit_ns

    def test_zombies_beyond_the_capacity(self) -> None:
        story = Story(capacity=0)
        story.scan([sighting(10, start_ns=SECOND_NS), sighting(11, ppid=10, start_ns=2 * SECOND_NS, state="Z")])
        assert is_sound(story.table)


class TestScanAgainstQueuedEvents:
    """Subscribe, scan, drain: what queued up in between is applied to what the scan showed."""

    def test_a_fork_that_the_scan_saw(self) -> None:
        story = Story()
        story.scan([sighting(1, ppid=0, start_ns=0), sighting(5, ppid=1, start_ns=SECOND_NS)])
        began_ns, born_ns = story.now_ns, story.now_ns + TICK_NS // 2
        story.wait(1)
        shown = [sighting(1, ppid=0, start_ns=0), sighting(5, ppid=1, start_ns=SECOND_NS)]
        story.scan([*shown, sighting(10, ppid=1, start_ns=born_ns, comm=b"ls")], began_ns=began_ns)
        node = story.node(10)
        assert lineage(node) == [10, 1]  # adopted already when it was seen
        assert story.late_fork(5, 10, at_ns=born_ns) is node
        assert (node.ppid, node.ppid_source, node.adopter_pid) == (5, Source.FORK, 1)
        assert (node.start_ns, lineage(node)) == (born_ns, [10, 5, 1])
        assert (node.cmd, node.source) == ("ls", Source.SNAPSHOT)  # not the parent's
        assert is_sound(story.table)

    @pytest.mark.parametrize("ticks", [0, 1, 2])
    def test_a_fork_is_stamped_a_moment_after_the_start_that_proc_shows(self, ticks: int) -> None:
        story = Story()
        born_ns = story.now_ns + 10 * TICK_NS
        story.scan([sighting(10, start_ns=born_ns - ticks * TICK_NS)])
        assert story.late_fork(1, 10, at_ns=born_ns) is story.node(10)
        assert len(list(story.table.owners(10))) == 1

    def test_a_fork_of_one_that_came_and_went_before(self) -> None:
        story = Story()
        born_ns = story.now_ns
        story.wait(3)
        story.scan([sighting(10, start_ns=born_ns + 2 * SECOND_NS, comm=b"new")])
        assert story.late_fork(5, 10, at_ns=born_ns) is None
        assert story.node(10).ppid == 1
        assert story.exit(10, at_ns=born_ns + SECOND_NS) is None
        assert not story.node(10).exit_ns

    def test_the_exit_of_the_former_owner_in_the_same_tick(self) -> None:
        """/proc rounds the start down, so the exit of the one before may seem to come after it."""
        story = Story()
        born_ns = story.now_ns + 10 * TICK_NS + 5
        story.wait(2)
        story.scan([sighting(10, start_ns=born_ns, ppid=5)], began_ns=born_ns - 100)
        node = story.node(10)
        story.exit(10, at_ns=born_ns - 2)
        assert story.late_fork(5, 10, at_ns=born_ns) is node
        assert (node.exit_ns, node.exit_status, node.start_ns) == (0, None, born_ns)

    def test_an_exit_after_the_scan(self) -> None:
        story = Story()
        story.scan([sighting(10, start_ns=SECOND_NS)])
        story.exit(10, status=256)
        assert (story.node(10).exit_ns, story.node(10).exit_status) == (story.now_ns, 256)

    def test_an_exit_that_the_scan_had_noticed_gives_the_status(self) -> None:
        story = Story()
        node = story.fork(1, 10)
        ended_ns = story.now_ns + 1
        story.scan([])
        assert story.exit(10, status=256, at_ns=ended_ns) is node
        assert node.exit_status == 256
        assert story.table.dead == 1

    def test_an_exit_that_the_scan_had_noticed_gives_the_time(self) -> None:
        story = Story()
        node = story.fork(1, 10)
        ended_ns = story.now_ns + 1
        story.wait(10)
        story.scan([])
        story.exit(10, status=256, at_ns=ended_ns)
        assert story.view.describe(node).exit_time_ns == ended_ns

    def test_a_child_forked_while_the_scan_ran_by_a_parent_that_ended_then(self) -> None:
        story, _ = shown_story()
        story.fork(1, 10)
        began_ns = story.now_ns + 1
        story.wait(1)
        born_ns = began_ns + 1000
        story.scan([], began_ns=began_ns)  # 10 had ended when its turn came
        child = story.late_fork(10, 11, at_ns=born_ns)
        story.exit(10, at_ns=born_ns + 1000)
        assert lineage(child) == [11, 10]

    def test_an_exec_after_the_scan(self) -> None:
        story, reader = shown_story()
        reader.show(sighting(10, start_ns=SECOND_NS, comm=b"sh"))
        story.scan(reader.shown.values())
        reader.show(sighting(10, start_ns=SECOND_NS, comm=b"ls"))
        assert story.exec(10) is story.node(10)
        assert (story.node(10).cmd, story.node(10).source) == ("ls", Source.EXEC)

    def test_a_fork_that_came_after_the_scan_is_another_process(self) -> None:
        story = Story()
        story.scan([sighting(10, start_ns=SECOND_NS, comm=b"old")])
        former = story.node(10)
        node = story.fork(5, 10)
        assert node is not former
        assert former.exit_ns == node.start_ns
        assert node.cmd == ""


class TestFullName:
    """What the kernel cut of a name, where the program's file has it whole."""

    CUT, FULL = b"victoria-metric", b"victoria-metrics-prod"

    def told(self) -> tuple[Story, FakeReader]:
        story, reader = shown_story()
        born = story.fork(1, 10)
        reader.show(sighting(10, start_ns=born.start_ns, comm=self.CUT, full_name=self.FULL))
        story.exec(10)
        assert born.full_name == "victoria-metrics-prod"
        return story, reader

    def test_is_inherited_with_the_name(self) -> None:
        story, _ = self.told()
        child = story.fork(10, 11)
        assert (child.cmd, child.full_name) == ("victoria-metric", "victoria-metrics-prod")

    def test_is_not_inherited_from_a_thread_of_another_name(self) -> None:
        story, _ = self.told()
        for tid in (20, 21):
            story.thread(10, tid)
        story.comm(10, b"pool-1", tid=20)
        assert (story.fork(10, 11, parent_tid=20).full_name, story.node(11).cmd) == (None, "pool-1")
        assert story.fork(10, 12, parent_tid=21).full_name == "victoria-metrics-prod"

    def test_goes_with_a_rename(self) -> None:
        story, _ = self.told()
        child = story.fork(10, 11)
        story.comm(10, b"worker")
        assert (story.node(10).full_name, child.full_name) == (None, "victoria-metrics-prod")
        assert story.fork(10, 12).full_name is None

    def test_goes_with_an_exec_that_nobody_could_read(self) -> None:
        story, reader = self.told()
        del reader.shown[10]
        story.exec(10)
        assert story.node(10).full_name is None

    @pytest.mark.parametrize("full_name", [None, b"victoria-metrics-test"])
    def test_is_the_next_programs_after_an_exec(self, full_name: bytes | None) -> None:
        story, reader = self.told()
        reader.show(sighting(10, start_ns=story.node(10).start_ns, comm=self.CUT, full_name=full_name))
        story.exec(10)
        assert story.node(10).full_name == (full_name and full_name.decode())

    def test_is_taken_by_a_scan(self) -> None:
        story = Story()
        shown = sighting(10, start_ns=BEGINNING_NS, comm=self.CUT, full_name=self.FULL)
        story.scan([shown])
        assert story.node(10).full_name == "victoria-metrics-prod"
        story.comm(10, b"worker")
        story.scan([sighting(10, start_ns=BEGINNING_NS, comm=b"worker")])
        assert story.node(10).full_name is None

    def test_of_one_whose_fork_was_lost(self) -> None:
        story, reader = shown_story()
        reader.show(sighting(10, start_ns=BEGINNING_NS, comm=self.CUT, full_name=self.FULL))
        story.exec(10)
        assert story.node(10).full_name == "victoria-metrics-prod"

    def test_of_any_bytes(self) -> None:
        story = Story()
        story.scan([sighting(10, start_ns=BEGINNING_NS, comm=b"\xff" * 15, full_name=b"\xff" * 16)])
        assert story.node(10).full_name == "\udcff" * 16


class TestThreadsUntold:
    """While births and ends of a process's threads are filtered, /proc says whether any is left."""

    def untold(self, *, tids: tuple[int, ...], state: str = "Z") -> tuple[Story, FakeReader]:
        story, reader = shown_story()
        born = story.fork(1, 10)
        reader.show(sighting(10, start_ns=born.start_ns, state=state, tids=tids))
        story.tree.threads_untold = lambda pid: pid == 10
        return story, reader

    def test_the_leader_exits_before_others(self) -> None:
        story, reader = self.untold(tids=(11, 12))
        assert story.exit(10, status=256) is None
        assert not story.node(10).exit_ns
        story.tree.threads_untold = None  # the filter is gone
        assert story.exit(10, tid=11) is None
        del reader.shown[10]
        ended = story.exit(10, tid=12, status=9)
        assert ended is story.node(10)
        assert ended is not None
        assert ended.exit_status == 9

    @pytest.mark.parametrize("is_shown", [True, False], ids=["a zombie", "gone"])
    def test_the_leader_is_the_last(self, is_shown: bool) -> None:
        story, reader = self.untold(tids=())
        story.thread(10, 11)  # told before; its end was not
        if not is_shown:
            del reader.shown[10]
        ended = story.exit(10, status=256)
        assert ended is story.node(10)
        assert ended is not None
        assert ended.exit_status == 256

    def test_only_of_those_that_are_filtered_it_is_read(self) -> None:
        story, reader = self.untold(tids=(11,))
        story.fork(1, 20)
        reader.asked.clear()
        assert story.exit(20) is story.node(20)
        assert reader.asked == []

    def test_a_scan_sees_the_end_of_those_that_nobody_told_of(self) -> None:
        story, reader = self.untold(tids=(11,))
        story.exit(10)
        story.wait(1)
        story.scan([])
        assert (story.node(10).exit_ns, story.node(10).exit_status) == (story.now_ns, None)
        del reader.shown[10]
        again = story.fork(1, 10)
        story.tree.threads_untold = None
        assert story.exit(10) is again  # nothing is left of the former one's threads


@pytest.mark.parametrize(
    ("ticks", "is_same"), [(-3, False), (-2, True), (-1, True), (0, True), (1, True), (2, False)]
)
def test_the_tolerance_between_an_event_and_proc(ticks: int, is_same: bool) -> None:
    known_ns = 500 * TICK_NS + TICK_NS // 3
    assert is_same_start(known_ns, (500 + ticks) * TICK_NS) is is_same
