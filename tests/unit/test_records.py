"""engine/records.py: what the kernel's exit records add to what is known, and whose each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from proc_cache.engine import records as records_module
from proc_cache.engine.records import ExitRecords
from proc_cache.process import Cost, Node, Source, is_name_certain, unpack_cost
from tests.helpers.ends import ending, lived_ns
from tests.helpers.exit_records import FAMILY, last_of_several, record
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import SECOND_NS, Story, lineage

if TYPE_CHECKING:
    from typing import Any

MS_NS = 1_000_000
PATIENCE_NS = 3 * SECOND_NS  # after so long no Exit is waited for


class Ledger:
    """A story whose processes leave records. `tell` reads one after all messages that were sent before it."""

    def __init__(self, story: Story | None = None) -> None:
        self.story = story or Story(reader=FakeReader())
        self.missing_renames_of: set[int] = set()
        self.records = ExitRecords(self.story.tree, lambda node: node.pid in self.missing_renames_of)

    def tell(self, tid: int, **fields: Any) -> None:
        self.records.apply(ending(tid, **fields))

    def tell_of(self, node: Node, **fields: Any) -> None:
        """The record of a process of one thread that has ended, as long as it lived."""
        self.tell(node.pid, **{"lived_ns": lived_ns(node), **fields})

    def give_up(self) -> None:
        """Let so much time pass that no Exit is to come any more."""
        self.story.now_ns += PATIENCE_NS
        self.records.catch_up(self.story.now_ns)

    def show(self, node: Node, comm: bytes, **facts: Any) -> None:
        assert isinstance(self.story.reader, FakeReader)
        self.story.reader.show(sighting(node.pid, start_ns=node.start_ns, comm=comm, **facts))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def cost_of(node: Node) -> Cost:
    cost = unpack_cost(node.cost)
    assert cost is not None
    return cost


def test_the_helper_makes_what_the_decoder_gives() -> None:
    from proc_cache.kernel.exit_record import decode

    (of_bytes,) = decode(record(10, ac_comm=b"last", ac_etime=5, ac_ppid=1), FAMILY)
    assert of_bytes == ending(10, lived_ns=5000)
    (of_bytes,) = decode(record(11, pid=10, is_last=False, ac_comm=b"last", ac_etime=5, ac_ppid=1), FAMILY)
    assert of_bytes == ending(11, pid=10, lived_ns=5000, is_last=False)
    group = {"cpu_run_virtual_total": 9000}
    (of_bytes,) = decode(last_of_several(11, 10, group=group, ac_comm=b"last", ac_etime=5, ac_ppid=1), FAMILY)
    assert of_bytes == ending(11, pid=10, lived_ns=5000, group_cpu_us=9)


class TestName:
    def test_of_an_exec_that_nobody_could_read(self, ledger: Ledger) -> None:
        node = ledger.story.fork(1, 10)
        ledger.story.comm(10, b"sh")
        ledger.story.exec(10)
        assert ledger.story.exit(10) is node
        assert (node.source, is_name_certain(node)) == (Source.UNREAD, False)
        ledger.tell_of(node, cmd=b"ls")
        assert (node.cmd, node.source, is_name_certain(node)) == ("ls", Source.EXIT_RECORD, True)
        assert ledger.records.applied == 1

    def test_of_one_whose_parent_is_not_known(self, ledger: Ledger) -> None:
        node = ledger.story.fork(99, 10)
        ledger.story.exit(10)
        assert node.source == Source.FORK
        ledger.tell_of(node, cmd=b"ls")
        assert (node.cmd, node.source) == ("ls", Source.EXIT_RECORD)

    def test_that_only_its_exit_told_of(self, ledger: Ledger) -> None:
        node = ledger.story.exit(10, status=256)
        assert node is not None
        assert node.source == Source.EXIT
        ledger.tell(10, lived_ns=SECOND_NS, cmd=b"ls", ppid=7, uid=1000, status=256)
        assert (node.cmd, node.source, node.uid, node.birth_uid) == ("ls", Source.EXIT_RECORD, 1000, 1000)
        assert (node.start_ns, node.ppid, node.ppid_source) == (node.exit_ns - SECOND_NS, 7, Source.EXIT_RECORD)

    def test_that_was_read_at_its_exec_stays(self, ledger: Ledger) -> None:
        node = ledger.story.fork(1, 10)
        ledger.show(node, b"a-very-long-nam", full_name=b"a-very-long-name", cmdline=b"x\0")
        ledger.story.exec(10)
        ledger.story.exit(10)
        ledger.tell_of(node, cmd=b"other")
        assert (node.cmd, node.source) == ("a-very-long-nam", Source.EXEC)
        assert (node.full_name, node.cmdline) == ("a-very-long-name", b"x\0")
        assert node.cost is not None

    def test_that_it_gave_itself_stays(self, ledger: Ledger) -> None:
        node = ledger.story.fork(1, 10)
        ledger.story.comm(10, b"worker")
        ledger.story.exit(10)
        ledger.tell_of(node, cmd=b"other")
        assert (node.cmd, node.source) == ("worker", Source.COMM)

    def test_that_a_scan_showed_stays(self, ledger: Ledger) -> None:
        ledger.story.scan([sighting(10, start_ns=SECOND_NS, comm=b"old")])
        node = ledger.story.node(10)
        ledger.story.exit(10)
        ledger.tell_of(node, cmd=b"other")
        assert (node.cmd, node.source) == ("old", Source.SNAPSHOT)

    @pytest.mark.parametrize("is_read", [True, False])
    def test_of_one_whose_renames_may_be_missing(self, ledger: Ledger, is_read: bool) -> None:
        node = ledger.story.fork(1, 10)
        ledger.show(node, b"a-very-long-nam", full_name=b"a-very-long-name")
        ledger.story.exec(10)
        ledger.story.exit(10)
        ledger.missing_renames_of.add(10)
        ledger.tell_of(node, cmd=b"a-very-long-nam" if is_read else b"renamed")
        if is_read:  # it was not renamed: what is known beside the name is true still
            assert (node.cmd, node.source, node.full_name) == ("a-very-long-nam", Source.EXEC, "a-very-long-name")
        else:
            assert (node.cmd, node.source, node.full_name) == ("renamed", Source.EXIT_RECORD, None)

    def test_that_it_was_born_with_gives_way_to_its_last(self, ledger: Ledger) -> None:
        """Its exec was lost: the one of its parent is not its own."""
        ledger.story.fork(1, 10)
        ledger.story.comm(10, b"sh")
        same, other = ledger.story.fork(10, 11), ledger.story.fork(10, 12)
        for node in (same, other):
            ledger.story.exit(node.pid)
        ledger.tell_of(same, cmd=b"sh")
        ledger.tell_of(other, cmd=b"ls")
        assert (same.cmd, same.source) == ("sh", Source.INHERITED)
        assert (other.cmd, other.source) == ("ls", Source.EXIT_RECORD)

    def test_of_any_bytes(self, ledger: Ledger) -> None:
        node = ledger.story.fork(99, 10)
        ledger.story.exit(10)
        ledger.tell_of(node, cmd=b"\xff)\n")
        assert node.cmd == "\udcff)\n"

    def test_a_child_of_it_that_is_told_late_has_it_not_for_certain(self, ledger: Ledger) -> None:
        """It is the parent's last name; whether that was its name when it forked is not known."""
        node = ledger.story.fork(99, 10)
        born_ns = ledger.story.now_ns + 1
        ledger.story.exit(10)
        ledger.tell_of(node, cmd=b"last")
        child = ledger.story.late_fork(10, 11, at_ns=born_ns)
        assert child is not None
        assert (child.cmd, is_name_certain(child)) == ("last", False)


class TestFacts:
    def test_that_are_known_stay(self, ledger: Ledger) -> None:
        ledger.story.fork(1, 10)
        ledger.story.uid(10, 1000)
        node = ledger.story.fork(10, 11)
        start_ns = node.start_ns
        ledger.story.exit(11, status=256)
        ended_ns = node.exit_ns
        ledger.tell_of(node, ppid=1, uid=0, status=9)
        assert (node.ppid, node.ppid_source, node.uid, node.birth_uid) == (10, Source.FORK, 1000, 1000)
        assert (node.start_ns, node.exit_ns, node.exit_status) == (start_ns, ended_ns, 256)

    def test_a_parent_that_only_the_record_names_is_linked(self, ledger: Ledger) -> None:
        ledger.story.fork(1, 7)
        node = ledger.story.exit(10)
        assert node is not None
        assert node.parent is None
        ledger.tell(10, lived_ns=MS_NS, ppid=7)
        assert lineage(node) == [10, 7]

    def test_of_a_thread_say_nothing_of_the_start(self, ledger: Ledger) -> None:
        node = ledger.story.exit(10)
        assert node is not None
        ledger.tell(11, pid=10, lived_ns=MS_NS, cmd=b"worker")
        assert (node.start_ns, node.cost is not None) == (0, True)

    def test_are_written_to_the_history(self, ledger: Ledger) -> None:
        class Recorder:
            def __init__(self) -> None:
                self.marked: list[Node] = []

            def mark(self, node: Node) -> None:
                self.marked.append(node)

            def became(self, node: Node, time_ns: int) -> None: ...

            def keep(self, nodes: list[Node]) -> None: ...

        node = ledger.story.fork(1, 10)
        ledger.story.exit(10)
        recorder = ledger.story.table.recorder = Recorder()
        ledger.tell_of(node)
        assert recorder.marked == [node]


class TestCost:
    FIGURES: ClassVar = {"cpu_us": 5000, "max_rss_bytes": 1 << 20, "read_bytes": 4096, "write_bytes": 8192}

    def test_of_one_thread(self, ledger: Ledger) -> None:
        node = ledger.story.fork(1, 10)
        ledger.story.exit(10)
        ledger.tell_of(node, **self.FIGURES)
        assert cost_of(node) == Cost(5000, 1 << 20, 4096, 8192)

    def test_of_several_is_the_sum_of_bytes_and_the_kernels_sum_of_cpu(self, ledger: Ledger) -> None:
        story = ledger.story
        node = story.fork(1, 10)
        story.thread(10, 11)
        story.thread(10, 12)
        for tid in (12, 11):
            story.exit(10, tid=tid)
            ledger.tell(tid, pid=10, lived_ns=MS_NS, is_last=False, cmd=b"worker", **self.FIGURES)
        assert node.cost is None
        story.exit(10)
        ledger.tell_of(node, cmd=b"leader", group_cpu_us=15_500, **self.FIGURES)
        assert cost_of(node) == Cost(15_500, 1 << 20, 3 * 4096, 3 * 8192)
        assert node.cmd == "leader"

    def test_of_several_where_the_kernel_gives_no_sum_of_cpu(self, ledger: Ledger) -> None:
        """Without CONFIG_TASK_DELAY_ACCT the group's figure is the last thread's."""
        node = ledger.story.fork(1, 10)
        ledger.tell(11, pid=10, lived_ns=MS_NS, is_last=False, cpu_us=7000)
        ledger.story.exit(10)
        ledger.tell_of(node, cpu_us=2000)
        assert cost_of(node).cpu_us == 9000

    @pytest.mark.parametrize("more_s", [0, 1, 60])
    def test_of_one_whose_leader_ended_first(self, ledger: Ledger, more_s: int) -> None:
        """Its name is the leader's; it may go on without it for long."""
        story = ledger.story
        node = story.fork(99, 10)
        story.thread(10, 11)
        story.exit(10, status=256)
        leader_ns = story.now_ns - node.start_ns
        ledger.tell(10, lived_ns=leader_ns, is_last=False, cmd=b"leader", status=256, **self.FIGURES)
        story.wait(more_s)
        assert story.exit(10, tid=11, status=9) is node
        ledger.tell(
            11, pid=10, lived_ns=more_s * SECOND_NS, cmd=b"worker", status=9, group_cpu_us=10_000, **self.FIGURES
        )
        assert cost_of(node) == Cost(10_000, 1 << 20, 2 * 4096, 2 * 8192)
        assert (node.cmd, node.exit_status) == ("leader", 9)

    def test_after_an_exec_by_another_thread_is_of_the_process_from_its_birth(self, ledger: Ledger) -> None:
        """Two records with tid == pid: of the leader that was replaced, and of the end."""
        story = ledger.story
        node = story.fork(1, 10)
        story.thread(10, 11)
        story.exit(10)
        replaced_ns = story.now_ns - node.start_ns
        ledger.tell(10, lived_ns=replaced_ns, is_last=False, cmd=b"old", **self.FIGURES)
        story.exec(10)
        story.exit(10, status=256)
        ledger.tell_of(node, cmd=b"new", status=256, **self.FIGURES)
        assert (node.cmd, node.exit_status) == ("new", 256)
        assert cost_of(node) == Cost(10_000, 1 << 20, 2 * 4096, 2 * 8192)
        assert ledger.records.applied == 1

    def test_where_the_leaders_record_was_lost_its_name_is_not_another_threads(self, ledger: Ledger) -> None:
        node = ledger.story.fork(99, 10)
        ledger.story.exit(10)
        ledger.tell(11, pid=10, lived_ns=MS_NS, cmd=b"worker")
        assert node.cost is not None
        assert (node.cmd, is_name_certain(node)) == ("", False)

    def test_what_threads_left_is_not_the_next_owners(self, ledger: Ledger) -> None:
        """Of a process whose last record was lost."""
        story = ledger.story
        story.fork(1, 10)
        ledger.tell(11, pid=10, lived_ns=MS_NS, is_last=False, cmd=b"worker", **self.FIGURES)
        story.wait(5)
        story.exit(10)
        node = story.fork(1, 10)
        story.exit(10)
        ledger.tell_of(node, **self.FIGURES)
        assert cost_of(node) == Cost(5000, 1 << 20, 4096, 8192)

    def test_before_linux_5_19_is_the_leaders(self, ledger: Ledger) -> None:
        node = ledger.story.fork(1, 10)
        ledger.story.exit(10)
        ledger.tell_of(node, is_last=None, **self.FIGURES)
        assert cost_of(node) == Cost(5000, 1 << 20, 4096, 8192)


class TestOwner:
    def test_is_the_former_one_where_the_pid_was_reused_meanwhile(self, ledger: Ledger) -> None:
        former = ledger.story.fork(1, 10)
        ledger.story.exit(10)
        newest = ledger.story.fork(1, 10)
        ledger.story.wait(60)
        ledger.tell_of(former, cpu_us=1)
        assert (cost_of(former).cpu_us, newest.cost) == (1, None)

    def test_of_two_that_have_ended_each_has_its_own(self, ledger: Ledger) -> None:
        story = ledger.story
        owners = []
        for seconds in (1, 5):
            owners.append(story.fork(1, 10))
            story.wait(seconds)
            story.exit(10)
        for number, node in enumerate(owners):
            ledger.tell_of(node, cpu_us=number + 1)
        assert [cost_of(node).cpu_us for node in owners] == [1, 2]

    def test_of_two_that_lived_alike_the_first_record_is_the_first_ones(self, ledger: Ledger) -> None:
        story = ledger.story
        owners = []
        for _ in range(2):
            owners.append(story.fork(1, 10))
            story.exit(10)
        for number, node in enumerate(owners):
            ledger.tell_of(node, cpu_us=number + 1)
        assert [cost_of(node).cpu_us for node in owners] == [1, 2]

    @pytest.mark.parametrize("lost", [0, 1, 2])
    def test_where_a_record_was_lost_the_others_have_theirs(self, ledger: Ledger, lost: int) -> None:
        story = ledger.story
        owners = []
        for tenths in (1, 5, 9):
            born_ns = story.now_ns + SECOND_NS
            owners.append(story.fork(1, 10))
            story.exit(10, at_ns=born_ns + tenths * SECOND_NS // 10)
        for number, node in enumerate(owners):
            if number != lost:
                ledger.tell_of(node, cpu_us=number)
        assert [node.cost is None for node in owners] == [number == lost for number in range(3)]
        assert [cost_of(node).cpu_us for node in owners if node.cost is not None] == [
            n for n in range(3) if n != lost
        ]

    def test_has_not_lived_for_a_shorter_time(self, ledger: Ledger) -> None:
        node = ledger.story.fork(1, 10)
        ledger.story.exit(10)
        ledger.tell(10, lived_ns=lived_ns(node) + 100 * MS_NS)
        ledger.give_up()
        assert (node.cost, ledger.records.unmatched) == (None, 1)

    def test_may_be_known_with_a_start_in_ticks(self, ledger: Ledger) -> None:
        born_ns = 5 * SECOND_NS + 9_999_999
        ledger.story.scan([sighting(10, start_ns=born_ns)])
        node = ledger.story.node(10)
        assert node.start_ns < born_ns
        ledger.story.exit(10)
        ledger.tell(10, lived_ns=node.exit_ns - born_ns)
        assert node.cost is not None

    def test_may_have_lived_while_the_machine_slept(self, ledger: Ledger) -> None:
        """A record's time is CLOCK_MONOTONIC, which stood still meanwhile."""
        story = ledger.story
        node = story.fork(1, 10)
        slept_ns = 8 * 3600 * SECOND_NS
        story.tree.to_boottime_ns += slept_ns
        story.exit(10)
        assert lived_ns(node) > slept_ns
        ledger.tell(10, lived_ns=lived_ns(node) - slept_ns)
        assert node.cost is not None

    def test_that_is_not_known_is_counted(self, ledger: Ledger) -> None:
        ledger.tell(10, lived_ns=MS_NS)
        assert ledger.records.unmatched == 0  # its messages may be waiting to be read
        ledger.give_up()
        assert (ledger.records.applied, ledger.records.unmatched) == (0, 1)
        assert not ledger.records.has_early


class TestOrder:
    """The records are read from another socket than the events: either may be ahead."""

    def test_a_record_before_the_fork(self, ledger: Ledger) -> None:
        ledger.tell(10, lived_ns=SECOND_NS, cmd=b"ls")
        node = ledger.story.fork(99, 10)
        ledger.story.exit(10)
        assert node.cost is None
        ledger.records.catch_up(ledger.story.now_ns)
        assert (node.cmd, node.source, node.cost is not None) == ("ls", Source.EXIT_RECORD, True)
        assert (ledger.records.applied, ledger.records.unmatched) == (1, 0)

    def test_a_record_between_fork_and_exec(self, ledger: Ledger) -> None:
        """What is applied too early would be the name before the exec that is told afterwards."""
        node = ledger.story.fork(99, 10)
        ledger.tell(10, lived_ns=2 * SECOND_NS, cmd=b"ls")
        ledger.story.exec(10)
        ledger.story.exit(10)
        ledger.records.catch_up(ledger.story.now_ns)
        assert (node.cmd, node.source) == ("ls", Source.EXIT_RECORD)

    def test_records_of_two_owners_before_either_exit(self, ledger: Ledger) -> None:
        story = ledger.story
        ledger.tell(10, lived_ns=MS_NS, cmd=b"first")
        ledger.tell(10, lived_ns=MS_NS, cmd=b"second")
        began_ns = story.now_ns
        first = story.fork(99, 10, at_ns=began_ns)
        story.exit(10, at_ns=began_ns + MS_NS)
        second = story.fork(99, 10, at_ns=began_ns + 2 * MS_NS)
        ledger.records.catch_up(began_ns + 1)
        assert (first.cmd, second.cmd) == ("first", "")
        story.exit(10, at_ns=began_ns + 3 * MS_NS)
        ledger.records.catch_up(began_ns + 2)
        assert (first.cmd, second.cmd) == ("first", "second")

    def test_of_threads_before_the_fork(self, ledger: Ledger) -> None:
        read_ns = ledger.story.now_ns
        ledger.tell(11, pid=10, lived_ns=MS_NS, is_last=False, read_bytes=1)
        ledger.tell(10, lived_ns=2 * MS_NS, read_bytes=2)
        node = ledger.story.fork(1, 10, at_ns=read_ns - 3 * MS_NS)
        ledger.story.exit(10, at_ns=read_ns - MS_NS)
        ledger.records.catch_up(read_ns)
        assert cost_of(node).read_bytes == 3

    def test_one_that_came_early_is_tried_once_for_what_was_read_meanwhile(self, ledger: Ledger) -> None:
        ledger.tell(10, lived_ns=SECOND_NS)
        read_ns = ledger.story.now_ns
        ledger.records.catch_up(read_ns)
        node = ledger.story.fork(1, 10)
        ledger.story.exit(10)
        ledger.records.catch_up(read_ns)  # the queue was never found empty since: that would cost too much
        assert node.cost is None
        ledger.records.catch_up(ledger.story.now_ns)
        assert node.cost is not None


class TestEndThatNobodyTold:
    """The Exit was lost; a scan has noticed that the process is gone."""

    def test_before_the_record(self, ledger: Ledger) -> None:
        node = ledger.story.fork(1, 10)
        ended_ns = ledger.story.now_ns + MS_NS
        ledger.story.now_ns += MS_NS
        ledger.story.scan([])
        assert (node.exit_ns > ended_ns, node.exit_status) == (True, None)
        ledger.tell(10, lived_ns=MS_NS, status=256)
        assert (node.exit_status, node.exit_ns) == (256, ended_ns)

    @pytest.mark.parametrize("is_told", [True, False])
    def test_after_the_record(self, ledger: Ledger, is_told: bool) -> None:
        node = ledger.story.fork(1, 10)
        ended_ns = ledger.story.now_ns + MS_NS
        ledger.tell(10, lived_ns=MS_NS, status=256)
        ledger.story.now_ns += SECOND_NS
        if is_told:  # very late, after all
            ledger.story.exit(10, status=256, at_ns=ended_ns)
        else:
            ledger.story.scan([])
        ledger.records.catch_up(ledger.story.now_ns)
        ledger.records.settle()
        assert (node.exit_status, node.exit_ns, node.cost is not None) == (256, ended_ns, True)

    def test_long_after_the_record(self, ledger: Ledger) -> None:
        node = ledger.story.fork(1, 10)
        ended_ns = ledger.story.now_ns + MS_NS
        ledger.story.now_ns = ended_ns
        ledger.tell(10, lived_ns=MS_NS, status=256, cpu_us=7)
        ledger.story.now_ns += SECOND_NS
        ledger.give_up()
        ledger.story.wait(60)
        ledger.story.scan([])
        ledger.records.catch_up(ledger.story.now_ns)
        ledger.records.settle()
        assert (node.exit_status, node.exit_ns, cost_of(node).cpu_us) == (256, ended_ns, 7)

    def test_of_one_that_lives_says_nothing(self, ledger: Ledger) -> None:
        node = ledger.story.fork(1, 10)
        ledger.records.settle()
        assert (node.exit_ns, node.exit_status) == (0, None)


class TestBounds:
    def test_of_what_threads_left(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(records_module, "_PARTS_MAX", 8)
        for pid in range(100, 200):
            ledger.tell(1, pid=pid, lived_ns=MS_NS, is_last=False)
            assert len(ledger.records._parts) <= 8

    def test_of_what_came_early(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(records_module, "_EARLY_MAX", 8)
        for pid in range(100, 200):
            ledger.tell(pid, lived_ns=MS_NS)
            assert len(ledger.records._early) <= 8
        ledger.give_up()
        assert ledger.records.unmatched == 100

    def test_of_ends_that_are_not_told(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(records_module, "_UNTOLD_MAX", 8)
        nodes = [ledger.story.fork(1, pid) for pid in range(100, 120)]
        for node in nodes:
            ledger.tell(node.pid, lived_ns=ledger.story.now_ns - node.start_ns)
        ledger.give_up()
        assert len(ledger.records._untold) <= 8
        for node in nodes:
            ledger.story.exit(node.pid)
        ledger.records.settle()
        assert not ledger.records._untold
