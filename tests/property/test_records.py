"""Random lives, and the kernel's records of their ends, read late and in any mixture with the events.

The model is the truth: who lived when, with which threads, and what each thread left. Events and records are two
queues, each in the kernel's order, of which one is read now and then, or the other. At the end each process has
its own record and no other, though few pids are reused all the time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proc_cache.engine.records import ExitRecords
from proc_cache.process import Source, is_name_certain, unpack_cost
from tests.helpers.ends import ending
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import Story, is_sound

if TYPE_CHECKING:
    from collections.abc import Callable

    from proc_cache.kernel.exit_record import ExitRecord
    from proc_cache.process import Node

PIDS = range(2, 6)
TIDS = range(10, 16)
US_NS = 1000
MS_NS = 1_000_000
STEPS = st.integers(20 * US_NS, 40 * MS_NS)  # between two things that happen
DELAYS = st.integers(0, MS_NS)  # from a record to the Exit of the same thread
NAMES = st.sampled_from([b"sh", b"ls", b"cc", b"\xff", b"cat"])


class Life:
    """One process as it really is; a thread is a number and when it began."""

    def __init__(self, pid: int, start_ns: int, name: bytes) -> None:
        self.pid = pid
        self.start_ns = start_ns
        self.name = name
        self.threads: dict[int, int] = {}
        self.has_leader = True
        self.is_over = False
        self.bytes_read = self.cpu_us = 0
        self.node: Node | None = None  # once its Fork was applied


class Ends(RuleBasedStateMachine):
    """Each rule lets one thing happen; what the kernel sends of it waits in two queues."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = FakeReader()
        self.story = Story(reader=self.reader)
        self.records = ExitRecords(self.story.tree, lambda _: False)
        self.lives: list[Life] = []
        self.events: deque[Callable[[], object]] = deque()
        self.untaken: deque[ExitRecord] = deque()

    # --- what can happen --------------------------------------------------------------------------------

    @precondition(lambda self: self.free_pids())
    @rule(data=st.data(), step=STEPS, name=NAMES)
    def fork(self, data: st.DataObject, step: int, name: bytes) -> None:
        self.story.now_ns += step
        life = Life(data.draw(st.sampled_from(self.free_pids())), self.story.now_ns, name)
        self.lives.append(life)

        def told(at_ns: int = self.story.now_ns + US_NS) -> None:
            life.node = self.story.fork(1, life.pid, at_ns=at_ns)

        self.events.append(told)

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), step=STEPS)
    def thread(self, data: st.DataObject, step: int) -> None:
        life, tid = data.draw(st.sampled_from(self.alive())), data.draw(st.sampled_from(self.free_tids()))
        self.story.now_ns += step
        life.threads[tid] = self.story.now_ns
        self.events.append(lambda: self.story.thread(life.pid, tid))

    @precondition(lambda self: self.with_leader())
    @rule(data=st.data(), step=STEPS, name=NAMES)
    def exec(self, data: st.DataObject, step: int, name: bytes) -> None:
        """By the leader: the other threads end, each with its record."""
        life = data.draw(st.sampled_from(self.with_leader()))
        self.story.now_ns += step
        for tid in list(life.threads):
            self.end_thread(life, tid, 0)
        self.run(life, name)

    @precondition(lambda self: self.with_threads())
    @rule(data=st.data(), step=STEPS, name=NAMES)
    def exec_from_a_thread(self, data: st.DataObject, step: int, name: bytes) -> None:
        """All others end, the leader too; who called execve(2) takes its tid and its start over."""
        life = data.draw(st.sampled_from(self.with_threads()))
        caller = data.draw(st.sampled_from(sorted(life.threads)))
        self.story.now_ns += step
        for tid in [tid for tid in life.threads if tid != caller]:
            self.end_thread(life, tid, 0)
        if life.has_leader:
            self.end_thread(life, life.pid, 0)
        life.threads.clear()
        life.has_leader = True
        self.run(life, name)

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), step=STEPS, delay=DELAYS)
    def thread_ends(self, data: st.DataObject, step: int, delay: int) -> None:
        """Of all threads any one, the leader as well; with the last the process."""
        life = data.draw(st.sampled_from(self.alive()))
        tid = data.draw(st.sampled_from([*life.threads, *([life.pid] if life.has_leader else [])]))
        self.story.now_ns += step
        self.end_thread(life, tid, delay)

    # --- what is read -----------------------------------------------------------------------------------

    @precondition(lambda self: self.events)
    @rule(count=st.integers(1, 12))
    def read_events(self, count: int) -> None:
        for _ in range(min(count, len(self.events))):
            self.events.popleft()()
        if not self.events:
            self.records.catch_up(self.story.now_ns)

    @precondition(lambda self: self.untaken)
    @rule(count=st.integers(1, 12))
    def read_records(self, count: int) -> None:
        for _ in range(min(count, len(self.untaken))):
            self.records.apply(self.untaken.popleft())

    def teardown(self) -> None:
        self.story.now_ns += MS_NS
        for _ in range(2):
            self.read_events(len(self.events) or 1)
            self.read_records(len(self.untaken) or 1)
            self.story.now_ns += MS_NS
            self.records.catch_up(self.story.now_ns)
        for life in self.lives:
            assert life.node is not None
            if life.is_over:
                self.has_its_own(life, life.node)
            else:
                assert life.node.cost is None, "a record of one that lives"
        assert (self.records.unmatched, self.records.has_early) == (0, False)
        assert self.records.applied == sum(life.is_over for life in self.lives)
        assert not self.records._parts.keys() - {life.pid for life in self.alive()}

    @invariant()
    def nothing_is_said_of_the_living(self) -> None:
        for life in self.lives:
            assert life.is_over or life.node is None or life.node.cost is None

    @invariant()
    def the_books_agree(self) -> None:
        assert is_sound(self.story.table)

    # --- the model --------------------------------------------------------------------------------------

    @staticmethod
    def has_its_own(life: Life, node: Node) -> None:
        cost = unpack_cost(node.cost)
        assert cost is not None, f"{node} has no record"
        assert (cost.read_bytes, cost.cpu_us) == (life.bytes_read, life.cpu_us), node
        assert is_name_certain(node), node
        assert node.cmd.encode("utf-8", "surrogateescape") == life.name, node

    def run(self, life: Life, name: bytes) -> None:
        life.name = name

        def told() -> None:
            """Its name is read where it lives still, and has run nothing else since."""
            self.reader.shown.clear()
            if not life.is_over and life.has_leader:
                self.reader.show(sighting(life.pid, start_ns=life.start_ns, comm=life.name))
            self.story.exec(life.pid)
            assert life.node is not None
            if self.reader.shown:
                assert life.node.source == Source.EXEC
            self.reader.shown.clear()

        self.events.append(told)

    def end_thread(self, life: Life, tid: int, delay: int) -> None:
        began_ns = life.start_ns if tid == life.pid else life.threads.pop(tid)
        life.has_leader = life.has_leader and tid != life.pid
        life.is_over = not life.threads and not life.has_leader
        used = 1 + len(self.lives) * 7
        life.bytes_read += used
        life.cpu_us += used
        self.untaken.append(
            ending(
                tid,
                pid=life.pid,
                lived_ns=self.story.now_ns - began_ns,
                cmd=life.name if tid == life.pid else b"worker",
                read_bytes=used,
                cpu_us=used,
                is_last=life.is_over,
                group_cpu_us=life.cpu_us,
            )
        )
        at_ns = self.story.now_ns + delay
        self.story.now_ns += delay
        self.events.append(lambda: self.story.exit(life.pid, tid=tid, at_ns=at_ns))

    def alive(self) -> list[Life]:
        return [life for life in self.lives if not life.is_over]

    def with_leader(self) -> list[Life]:
        return [life for life in self.alive() if life.has_leader]

    def with_threads(self) -> list[Life]:
        return [life for life in self.alive() if life.threads]

    def free_pids(self) -> list[int]:
        used = {life.pid for life in self.alive()}
        return [pid for pid in PIDS if pid not in used]

    def free_tids(self) -> list[int]:
        used = {tid for life in self.alive() for tid in life.threads}
        return [tid for tid in (*TIDS, *range(100, 200)) if tid not in used][:1]


TestEnds = Ends.TestCase
TestEnds.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
