"""Random stories, recorded: the file knows what an engine that forgets nothing knows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proc_cache import query
from proc_cache.process import Node, Process, Source, pack_cost
from proc_cache.selection import Selection, Target, select
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.recording import RecordedStory, table
from tests.helpers.story import SECOND_NS, Story

IDS = range(2, 8)
NAMES = st.sampled_from([b"sh", b"ls", b"", b"\xff;|", b"worker"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fork", "fork", "fork", "exec", "comm", "uid", "sid", "exit", "exit", "loss", "flush"]),
        st.integers(0, 1000),
        st.integers(0, 1000),
        NAMES,
    ),
    max_size=60,
)


class Telling:
    """Tells two stories the same things: one is recorded and may forget, one forgets nothing."""

    def __init__(self, capacity: int) -> None:
        self.reader = FakeReader([sighting(1, ppid=0, start_ns=SECOND_NS, comm=b"init")])
        self.stories = [Story(capacity=limit, reader=self.reader) for limit in (capacity, 10_000)]
        self.alive = {1: 1}  # pid -> ppid
        self.seq = 0
        for story in self.stories:
            story.scan(list(self.reader.shown.values()))

    def step(self, kind: str, one: int, two: int, name: bytes) -> None:
        mortal = sorted(set(self.alive) - {1})
        free = [pid for pid in IDS if pid not in self.alive]
        if kind == "fork" and free:
            parent, pid = sorted(self.alive)[one % len(self.alive)], free[two % len(free)]
            for story in self.stories:
                story.fork(parent, pid)
            self.alive[pid] = parent
        elif kind == "loss":
            for story in self.stories:
                story.ledger.last[0] = (0, 0, story.now_ns)
                story.wait(1)
                story.ledger.gap((one % 5 + 1, 0, story.now_ns), 0)
        elif mortal and kind != "flush":
            self.change(kind, mortal[one % len(mortal)], two, name)

    def change(self, kind: str, pid: int, two: int, name: bytes) -> None:
        for story in self.stories:
            node = story.node(pid)
            if kind == "exec":
                ppid = self.alive[pid] if self.alive[pid] in self.alive else 1
                if two % 3:  # else it is gone before it can be read
                    self.reader.show(
                        sighting(pid, ppid=ppid, start_ns=node.start_ns, comm=name, uid=two % 2 * 1000)
                    )
                story.exec(pid)
                self.reader.shown.pop(pid, None)
            elif kind == "comm":
                story.comm(pid, name)
            elif kind == "uid":
                story.uid(pid, two % 2 * 1000)
            elif kind == "sid":
                story.sid(pid)
            elif kind == "exit":
                if two % 3:
                    leave_record(node, two, name)
                story.exit(pid, status=two % 256 << 8, parent=self.alive[pid] if two % 2 else 1)
        if kind == "exit":
            del self.alive[pid]


def leave_record(node: Node, figure: int, name: bytes) -> None:
    """Do what an exit record does: it is applied to whom the engine has, here before the Exit, which marks it."""
    node.cost = pack_cost(figure, (1 << 63) - 1 - figure, 0, figure)
    if node.source == Source.UNREAD:
        node.cmd, node.source = name.decode("utf-8", "surrogateescape"), Source.EXIT_RECORD
    if figure % 2:
        node.full_name = node.cmd * 20


# The last exec of each that was named by its exit record.
NAMED = """
FROM process JOIN exec ON exec.process = process.id WHERE process.source = 'exit_record'
AND time_ns = (SELECT max(time_ns) FROM exec WHERE process = process.id)
"""


def facts(process: Process) -> dict[str, Any]:
    found = {field: getattr(process, field) for field in Process._fields}
    del found["generations_left_out"]  # memory leaves some out, the file none
    return found


@given(STEPS, st.sampled_from([0, 1, 4, 1000]), st.integers(0, 20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_file_answers_as_one_that_forgets_nothing(
    steps: list[tuple[str, int, int, bytes]], capacity: int, late: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        telling = Telling(capacity)
        recorded, reference = telling.stories
        with RecordedStory(recorded, Path(directory, "history")) as recording:
            for kind, one, two, name in steps:
                telling.step(kind, one, two, name)
                if kind == "flush":
                    recording.flush()
            for story in telling.stories:
                story.wait(late)
        reference.view.reader = None
        with recording.view() as view:
            for pid in (1, *IDS):
                known, found = query.chain(reference.view, pid), query.chain(view, pid)
                assert list(map(facts, found.links)) == list(map(facts, known.links))
                assert (found.complete, found.lost_events, found.missing_pid, found.notes) == (
                    known.complete,
                    known.lost_events,
                    known.missing_pid,
                    known.notes,
                )
                for is_strict in (False, True):
                    for cmd in ("sh", "init", "\udcff;|"):
                        verdicts = [
                            query.descent(each, pid, cmd, is_strict=is_strict) for each in (reference.view, view)
                        ]
                        assert verdicts[0].descendant == verdicts[1].descendant
            named = table(Path(directory, "history"), "process.cmd, exec.cmd, exec.source", NAMED)
            assert all(told == [last, "exit_record"] for last, *told in named)
            for selection in (Selection(), Selection(with_dead=True), Selection(with_dead=True, under=Target(1))):
                listed = [
                    sorted(
                        (facts(each.describe(node, is_fresh=False)) for node in select(each, selection)), key=str
                    )
                    for each in (reference.view, view)
                ]
                assert listed[0] == listed[1]
