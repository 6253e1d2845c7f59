"""Random lives of processes against a naive model: what must always hold, whatever happens.

The model is the truth: every process that ever was, never evicted. The tree is told by events, in the order of
the kernel and without a loss, with scans in between; few ids, so that they are reused all the time.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proc_cache import query
from proc_cache.process import Node, is_name_certain
from proc_cache.selection import is_under
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import SECOND_NS, Story, is_sound

IDS = range(2, 10)
TTL_S = 12
CAPACITIES = (0, 1, 4, 20, 1000)
NAMES = st.sampled_from([b"sh", b"ls", b"", b"\xff", b"worker"])
INIT_NAME = b"init"


class Life:
    """One process as it really is."""

    def __init__(self, pid: int, start_ns: int, parent: Life | None, name: bytes, uid: int) -> None:
        self.pid = pid
        self.start_ns = start_ns
        self.parent = parent
        self.name = name
        self.uid = self.birth_uid = uid
        self.threads: dict[int, bytes] = {}  # beside the leader
        self.leader_status: int | None = None  # of a leader that has exited
        self.exit_ns = 0
        self.status: int | None = None
        self.is_name_told = True  # whether the tree had a chance to know it

    def __repr__(self) -> str:
        return f"<Life {self.pid} start={self.start_ns} exit={self.exit_ns}>"

    def ancestors(self) -> list[Life]:
        found = []
        life = self.parent
        while life is not None:
            found.append(life)
            life = life.parent
        return found


class Lives(RuleBasedStateMachine):
    """Each rule does one thing to the model, and tells the tree what the kernel would."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = FakeReader()
        self.story = Story(reader=self.reader)
        self.lives: list[Life] = []
        self.by_key: dict[tuple[int, int], Life] = {}

    @initialize(capacity=st.sampled_from(CAPACITIES))
    def begin(self, capacity: int) -> None:
        self.capacity = capacity
        self.story = Story(capacity=capacity, ttl_s=TTL_S, reader=self.reader)
        self.lives, self.by_key = [], {}
        self.enter(Life(1, 0, None, INIT_NAME, 0))
        self.story.scan([sighting(1, ppid=0, start_ns=0, comm=INIT_NAME)])

    # --- what can happen --------------------------------------------------------------------------------

    @precondition(lambda self: self.free_ids())
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(self.free_ids()))
        parent = data.draw(st.sampled_from(self.alive()))
        tids = [*parent.threads, *([parent.pid] if parent.leader_status is None else [])]
        tid = data.draw(st.sampled_from(tids))
        self.show_truth()
        self.story.fork(parent.pid, pid, parent_tid=tid)
        life = Life(pid, self.story.now_ns, parent, parent.threads.get(tid, parent.name), parent.uid)
        life.is_name_told = parent.is_name_told
        self.enter(life)

    @precondition(lambda self: len(self.free_ids()) > 1)
    @rule(data=st.data(), generations=st.integers(2, 30))
    def ladder(self, data: st.DataObject, generations: int) -> None:
        """Each generation forks one child and dies; two ids are enough for it."""
        able = [life for life in self.alive() if life.leader_status is None]
        tip = data.draw(st.sampled_from(able))
        for number in range(generations):
            pid = self.free_ids()[0]
            self.show_truth()
            self.story.fork(tip.pid, pid)
            child = Life(pid, self.story.now_ns, tip, tip.name, tip.uid)
            child.is_name_told = tip.is_name_told
            self.enter(child)
            if number and not tip.threads:
                self.story.exit(tip.pid, parent=self.present_parent(tip))
                tip.leader_status = 0
                self.end_if_empty(tip, 0)
            tip = child

    @precondition(lambda self: self.free_ids() and self.mortal())
    @rule(data=st.data())
    def thread(self, data: st.DataObject) -> None:
        # A thread begins with its creator's name: here always the leader's, and where the tree knows it.
        able = [life for life in self.mortal() if life.leader_status is None and life.is_name_told]
        if not able:
            return
        life = data.draw(st.sampled_from(able))
        tid = data.draw(st.sampled_from(self.free_ids()))
        life.threads[tid] = life.name
        self.story.thread(life.pid, tid)

    @precondition(lambda self: self.mortal())
    @rule(data=st.data(), status=st.sampled_from([0, 256, 9, 0x8B]))
    def leader_exits(self, data: st.DataObject, status: int) -> None:
        able = [life for life in self.mortal() if life.leader_status is None]
        if not able:
            return
        life = data.draw(st.sampled_from(able))
        self.story.exit(life.pid, status=status, parent=self.present_parent(life))
        life.leader_status = status
        self.end_if_empty(life, status)

    @precondition(lambda self: self.with_threads())
    @rule(data=st.data())
    def thread_exits(self, data: st.DataObject) -> None:
        life = data.draw(st.sampled_from(self.with_threads()))
        tid = data.draw(st.sampled_from(sorted(life.threads)))
        del life.threads[tid]
        self.story.exit(life.pid, tid=tid, status=1, parent=self.present_parent(life))
        self.end_if_empty(life, 1)

    @rule(data=st.data(), name=NAMES, uid=st.sampled_from([0, 1000]), is_readable=st.booleans())
    def exec(self, data: st.DataObject, name: bytes, uid: int, is_readable: bool) -> None:
        life = data.draw(st.sampled_from([life for life in self.alive() if life.leader_status is None]))
        for tid in life.threads:
            self.story.exit(life.pid, tid=tid)
        self.run(life, name, uid if is_readable else life.uid, is_readable)

    @precondition(lambda self: self.with_threads())
    @rule(data=st.data(), name=NAMES, is_readable=st.booleans())
    def exec_from_a_thread(self, data: st.DataObject, name: bytes, is_readable: bool) -> None:
        life = data.draw(st.sampled_from(self.with_threads()))
        caller = data.draw(st.sampled_from(sorted(life.threads)))
        for tid in life.threads:
            if tid != caller:
                self.story.exit(life.pid, tid=tid)
        if life.leader_status is None:
            self.story.exit(life.pid)
        life.leader_status = None
        self.run(life, name, life.uid, is_readable)

    @rule(data=st.data(), name=NAMES)
    def rename(self, data: st.DataObject, name: bytes) -> None:
        life = data.draw(st.sampled_from(self.alive()))
        tids = [*life.threads, *([life.pid] if life.leader_status is None else [])]
        tid = data.draw(st.sampled_from(tids))
        self.story.comm(life.pid, name, tid=tid)
        if tid == life.pid:
            life.name, life.is_name_told = name, True
        else:
            life.threads[tid] = name

    @rule(data=st.data(), uid=st.sampled_from([0, 1000, 1001]))
    def change_user(self, data: st.DataObject, uid: int) -> None:
        life = data.draw(st.sampled_from([life for life in self.alive() if life.leader_status is None]))
        self.story.uid(life.pid, uid)
        life.uid = uid

    @rule(seconds=st.integers(1, TTL_S + 1))
    def time_passes(self, seconds: int) -> None:
        self.story.wait(seconds)
        self.story.table.expire()
        oldest_ns = self.story.now_ns - TTL_S * SECOND_NS
        for node in self.story.table.nodes():
            assert not node.exit_ns or node.children or node.exit_ns >= oldest_ns, f"{node} should have expired"

    @rule()
    def scan(self) -> None:
        self.show_truth()
        self.story.scan(list(self.reader.see_all()), began_ns=self.story.now_ns + 1)
        for life in self.alive():
            life.is_name_told = True

    @rule(cmd=st.sampled_from(["sh", "init", "nobody"]))
    def look(self, cmd: str) -> None:
        def state() -> list[object]:
            table = self.story.table
            return [
                list(table.newest),
                [(node, *(getattr(node, slot) for slot in Node.__slots__)) for node in table.nodes()],
                list(table._queue),
                (table.dead, table.expired, table.evicted),
            ]

        before = state()
        view = self.story.view
        for node in list(self.story.table.nodes()):
            query.chain(view, node.pid)
            view.describe(node)
            is_under(view, node, next(self.story.table.nodes()))
            self.answer_is_true(node, cmd)
        query.chain(view, max(IDS) + 1)
        assert state() == before, "looking changed something"

    # --- the model --------------------------------------------------------------------------------------

    def enter(self, life: Life) -> None:
        self.lives.append(life)
        assert (life.pid, life.start_ns) not in self.by_key
        self.by_key[life.pid, life.start_ns] = life

    def alive(self) -> list[Life]:
        return [life for life in self.lives if not life.exit_ns]

    def mortal(self) -> list[Life]:
        return [life for life in self.alive() if life.pid != 1]

    def with_threads(self) -> list[Life]:
        return [life for life in self.alive() if life.threads]

    def free_ids(self) -> list[int]:
        used = {life.pid for life in self.alive()}.union(*(life.threads for life in self.alive()))
        return [number for number in IDS if number not in used]

    @staticmethod
    def present_parent(life: Life) -> int:
        assert life.parent is not None
        return 1 if life.parent.exit_ns else life.parent.pid

    def end_if_empty(self, life: Life, last_status: int) -> None:
        """The status is the one of the last thread, as wait(2) gives it."""
        if life.leader_status is not None and not life.threads and life.pid != 1:
            life.exit_ns, life.status = self.story.now_ns, last_status

    def run(self, life: Life, name: bytes, uid: int, is_readable: bool) -> None:
        life.threads = {}
        life.name, life.uid, life.is_name_told = name, uid, is_readable
        self.show_truth()
        if not is_readable:
            del self.reader.shown[life.pid]
        self.story.exec(life.pid)

    def show_truth(self) -> None:
        self.reader.shown.clear()
        self.reader.thread_names.clear()
        for life in self.alive():
            ppid = 0 if life.parent is None else self.present_parent(life)
            state = "S" if life.leader_status is None else "Z"
            tids = tuple(life.threads)
            shown = sighting(
                life.pid, ppid=ppid, start_ns=life.start_ns, comm=life.name, uid=life.uid, state=state, tids=tids
            )
            self.reader.show(shown)
            for tid, name in life.threads.items():
                self.reader.thread_names[tid] = name.decode("utf-8", "surrogateescape")

    def life_of(self, node: Node) -> Life:
        return self.by_key[node.pid, node.start_ns]

    def answer_is_true(self, node: Node, cmd: str) -> None:
        """A yes or a no is the truth; "cannot tell" never lies."""
        if self.story.table.newest[node.pid] is not node:
            return
        descent = query.descent(self.story.view, node.pid, cmd)
        life = self.life_of(node)
        truth = any(one.name == cmd.encode() for one in [life, *life.ancestors()])
        assert descent.descendant in (None, truth), f"{descent.descendant} of {node}, {cmd!r}: {descent.reason}"

    # --- what must always hold --------------------------------------------------------------------------

    @invariant()
    def the_living_are_all_there(self) -> None:
        for life in self.alive():
            node = self.story.table.newest.get(life.pid)
            assert node is not None, f"{life} lives and was evicted"
            assert (node.start_ns, node.exit_ns) == (life.start_ns, 0)

    @invariant()
    def what_is_retained_is_true(self) -> None:
        for node in self.story.table.nodes():
            life = self.life_of(node)
            assert (node.exit_ns, node.exit_status) == (life.exit_ns, life.status), node
            assert node.ppid == (0 if life.parent is None else life.parent.pid), "the birth parent changed"
            assert (node.uid, node.birth_uid) == (life.uid, life.birth_uid), node
            if is_name_certain(node):
                assert node.cmd.encode("utf-8", "surrogateescape") == life.name, node
            else:
                assert not life.is_name_told, f"{node} could be named"

    @invariant()
    def every_chain_can_be_finished(self) -> None:
        for node in self.story.table.nodes():
            expected = [self.life_of(node), *self.life_of(node).ancestors()]
            place = 0
            link: Node | None = node
            while link is not None:
                assert self.life_of(link) is expected[place], f"{link} in the chain of {node}"
                place += 1 + link.left_out
                link = link.parent
            assert place == len(expected), f"the chain of {node} ends early"

    @invariant()
    def the_books_agree(self) -> None:
        assert is_sound(self.story.table)

    @invariant()
    def room_bounds_the_dead(self) -> None:
        table = self.story.table
        dead_leaves = [node for node in table.nodes() if node.exit_ns and not node.children]
        assert len(dead_leaves) <= table.params.capacity

    @invariant()
    def nothing_goes_before_its_time(self) -> None:
        if self.story.table.params.capacity < max(CAPACITIES):
            return
        retained = {(node.pid, node.start_ns) for node in self.story.table.nodes()}
        for life in self.lives:
            if life.exit_ns >= self.story.now_ns - TTL_S * SECOND_NS:
                assert (life.pid, life.start_ns) in retained, f"{life} went too early"


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
