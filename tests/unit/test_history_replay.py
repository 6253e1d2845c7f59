"""history/replay.py: the events of a history, as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proc_cache.events import Event, Exec, Exit, Fork
from proc_cache.history import reader as reader_module
from proc_cache.history.replay import Happening, replay
from proc_cache.kernel.clocks import boot_wall_ns
from proc_cache.process import Cost, Process, Source, pack_cost
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.recording import (
    OTHER_BOOT_ID,
    SECOND_NS,
    RecordedStory,
    begin,
    exec_row,
    record,
    row,
    rows,
    table,
    view_of,
)
from tests.helpers.story import Story

# What is kept of a process once, as it was last.
KEPT_ONCE = {"uid", "session"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history"


class Scene:
    """Tells a story, and writes down each event with the process as it was shown then."""

    def __init__(self) -> None:
        self.reader = FakeReader([sighting(1, ppid=0, start_ns=SECOND_NS, comm=b"init")])
        self.story = Story(reader=self.reader)
        self.story.scan(list(self.reader.shown.values()))
        self.shown: list[tuple[type[Event], int, Process]] = []

    def fork(self, parent: int, pid: int) -> None:
        self.note(Fork, self.story.fork(parent, pid))

    def exec(self, pid: int, name: bytes, *, uid: int = 0) -> None:
        node = self.story.node(pid)
        seen = sighting(
            pid, ppid=node.ppid or 0, start_ns=node.start_ns, comm=name, uid=uid, cmdline=name + b"\0-x\0"
        )
        self.reader.show(seen)
        self.note(Exec, self.story.exec(pid))

    def unread_exec(self, pid: int) -> None:
        self.reader.shown.pop(pid, None)
        self.note(Exec, self.story.exec(pid))

    def exit(self, pid: int, status: int, *, parent: int = 1) -> None:
        self.reader.shown.pop(pid, None)
        node = self.story.node(pid)
        node.cost = pack_cost(pid, 2, 3, 4)
        self.note(Exit, self.story.exit(pid, status=status, parent=parent))

    def name(self, pid: int, name: str) -> None:
        """Its exit record comes, when all that was told before is in the file."""
        node = self.story.node(pid)
        node.cmd, node.source, node.cost = name, Source.EXIT_RECORD, pack_cost(1, 2, 3, 4)
        assert self.story.table.recorder is not None
        self.story.table.recorder.mark(node)

    def note(self, kind: type[Event], node: Any) -> None:
        self.shown.append((kind, self.story.now_ns, self.story.view.describe(node, is_fresh=False)))

    def play(self) -> None:
        """Forks, several execs in one pid, exits, and one pid twice."""
        self.fork(1, 10)
        self.exec(10, b"sh")
        self.fork(10, 11)
        self.exec(11, b"bash")
        self.exec(11, b"python", uid=1000)
        self.exit(10, 3 << 8)
        self.exec(11, b"ls", uid=1000)
        self.exit(11, 9)
        self.fork(1, 11)
        self.exec(11, b"cat")
        self.unread_exec(11)


def recorded_scene(path: Path) -> tuple[Scene, RecordedStory]:
    scene = Scene()
    with RecordedStory(scene.story, path) as recorded:
        scene.play()
    return scene, recorded


def played(recorded: RecordedStory) -> list[Happening]:
    with recorded.view() as view:
        return list(replay(view))


def test_the_same_events_in_the_order_of_their_times(path: Path) -> None:
    scene, recorded = recorded_scene(path)
    happenings = played(recorded)
    assert [(each.kind, each.time_ns, each.process.pid) for each in happenings] == [
        (kind, time_ns, process.pid) for kind, time_ns, process in scene.shown
    ]
    for each in happenings:
        assert each.node.pid == each.process.pid


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(
            field,
        )
        if field == "former_cmds"
        else field
        for field in Process._fields
        if field not in KEPT_ONCE and field != "cmdline"
    ],
)
def test_each_is_shown_as_it_was_then(path: Path, field: str) -> None:
    scene, recorded = recorded_scene(path)
    shown = [getattr(process, field) for _, _, process in scene.shown]
    assert [getattr(each.process, field) for each in played(recorded)] == shown


def test_the_arguments_of_an_exec_are_those_of_then(path: Path) -> None:
    scene, recorded = recorded_scene(path)
    of_execs = [process.cmdline for kind, _, process in scene.shown if kind is Exec]
    assert [each.process.cmdline for each in played(recorded) if each.kind is Exec] == of_execs


def test_the_uid_is_the_users(path: Path) -> None:
    scene, recorded = recorded_scene(path)
    told = [each.process.uid for each in played(recorded)]
    was = [process.uid for _, _, process in scene.shown]
    assert all(uid in (right, None) for uid, right in zip(told, was, strict=True)), (told, was)
    assert any(uid is not None for uid in told)
    assert None in told, "no user changes in this story"


def test_a_name_that_was_not_known_at_birth_is_not_made_up(path: Path) -> None:
    scene = Scene()
    with RecordedStory(scene.story, path) as recorded:
        scene.fork(77, 10)  # of nobody that is known
        scene.exec(10, b"ls")
    assert scene.shown[0][2].cmd is None
    assert played(recorded)[0].process.cmd is None


def test_the_cost_is_told_at_the_end_and_not_before(path: Path) -> None:
    scene = Scene()
    with RecordedStory(scene.story, path) as recorded:
        scene.fork(1, 10)
        scene.exec(10, b"ls")
        scene.exit(10, 0)
    assert [each.process.cost for each in played(recorded)] == [None, None, Cost(10, 2, 3, 4)]


def test_an_exec_has_the_name_that_its_exit_record_brought(path: Path) -> None:
    scene = Scene()
    with RecordedStory(scene.story, path) as recorded:
        scene.fork(1, 10)
        scene.unread_exec(10)
        scene.exec(10, b"env")
        scene.unread_exec(10)
        scene.exit(10, 0)
        scene.story.wait(5)
        recorded.flush()
        scene.name(10, "ls")
    happenings = played(recorded)
    assert [(each.kind, each.process.cmd, each.process.source) for each in happenings] == [
        (Fork, "init", "inherited"),
        (Exec, "init", "unread"),
        (Exec, "env", "exec"),
        (Exec, "ls", "exit_record"),
        (Exit, "ls", "exit_record"),
    ]
    assert [each.process.cost for each in happenings[:-1]] == [None] * 4
    assert table(path, "cmd, source", "FROM exec ORDER BY time_ns")[2] == (b"ls", "exit_record")


def test_an_exec_of_whom_nothing_is_known_has_no_name_until_its_exit_record_brings_one(path: Path) -> None:
    scene = Scene()
    with RecordedStory(scene.story, path) as recorded:
        scene.unread_exec(10)
        scene.unread_exec(11)
        scene.exit(11, 0)
        scene.name(11, "")
    shown = [(each.kind, each.process.cmd) for each in played(recorded)]
    assert shown == [(Exec, None), (Exec, ""), (Exit, "")]
    assert scene.shown[0][2].cmd is None


CUT, WHOLE = b"fifteen-letters", "fifteen-letters-and-more"


def test_a_full_name_is_told_of_the_name_that_it_is_of(path: Path) -> None:
    process = row(1, 10, 150, cmd=CUT, former=b"sh\0" + CUT + b"\0", exit_s=152, full_name=WHOLE.encode())
    execs = [exec_row(1, 151, CUT), exec_row(1, 151.1, CUT)]  # the first of another file, `fifteen-letters-or-so`
    record(path, begin(), rows(process, execs=execs))
    with view_of(path) as view:
        told = [(each.kind, each.process.full_name) for each in replay(view)]
    assert told == [(Fork, None), (Exec, None), (Exec, WHOLE), (Exit, WHOLE)]


def test_a_full_name_is_not_told_of_another_name(path: Path) -> None:
    """What it ran after that exec is missing in the file."""
    process = row(1, 10, 150, cmd=CUT, former=b"init\0", exit_s=152, full_name=WHOLE.encode())
    record(path, begin(), rows(process, execs=[exec_row(1, 151, b"sh")]))
    with view_of(path) as view:
        told = [(each.kind, each.process.full_name) for each in replay(view)]
    assert told == [(Fork, None), (Exec, None), (Exit, WHOLE)]


def test_one_that_ran_nothing_since_its_birth_was_born_with_its_full_name(path: Path) -> None:
    born = row(1, 10, 150, cmd=CUT, source=Source.INHERITED, full_name=WHOLE.encode())
    record(path, begin(), rows(born))
    with view_of(path) as view:
        assert [(each.process.cmd, each.process.full_name) for each in replay(view)] == [(CUT.decode(), WHOLE)]


def test_an_exit_tells_its_status_and_the_present_parent(path: Path) -> None:
    scene = Scene()
    with RecordedStory(scene.story, path) as recorded:
        scene.fork(1, 10)
        scene.fork(10, 11)
        scene.exit(11, 0x8B, parent=1)
    *_, last = played(recorded)
    assert last.kind is Exit
    assert (last.process.exit_status, last.process.current_ppid) == (0x8B, 1)


def test_what_was_there_at_the_beginning_has_no_fork_and_an_end_that_was_noticed_no_exit(path: Path) -> None:
    record(
        path,
        begin(),
        rows(row(1, 10, 50, ppid_source=Source.SNAPSHOT), row(2, 11, 60, ppid_source=Source.SNAPSHOT, exit_s=110)),
    )
    record(path, begin(began_ns=300 * SECOND_NS), rows(is_settled=True))
    with view_of(path) as view:
        assert [(each.kind, each.process.pid) for each in replay(view)] == [(Exit, 11)]


def test_boots_follow_each_other(path: Path) -> None:
    booted_ns = boot_wall_ns()
    later_ns = booted_ns + 500 * SECOND_NS
    record(path, begin(booted_ns=later_ns, boot_id=OTHER_BOOT_ID), rows(row(1, 10, 1, exit_s=2)))
    record(path, begin(booted_ns=booted_ns), rows(row(1, 10, 400, exit_s=401)))
    with view_of(path) as view:
        happenings = list(replay(view))
    assert [(each.kind, each.time_ns, each.node.booted_ns) for each in happenings] == [
        (Fork, 400 * SECOND_NS, booted_ns),
        (Exit, 401 * SECOND_NS, booted_ns),
        (Fork, 1 * SECOND_NS, later_ns),
        (Exit, 2 * SECOND_NS, later_ns),
    ]


def test_fork_exec_and_exit_of_one_moment_are_in_this_order(path: Path) -> None:
    record(path, begin(), rows(row(1, 10, 150, exit_s=150), execs=[exec_row(1, 150, b"ls")]))
    with view_of(path) as view:
        assert [each.kind for each in replay(view)] == [Fork, Exec, Exit]


def test_an_exec_of_nobody_in_the_file_is_left_out(path: Path) -> None:
    record(path, begin(), rows(execs=[exec_row(1, 150, b"ls")]))
    with view_of(path) as view:
        assert list(replay(view)) == []


def test_a_long_replay_does_not_keep_what_it_has_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, recorded = recorded_scene(path)
    whole = [(each.time_ns, each.process) for each in played(recorded)]
    monkeypatch.setattr(reader_module, "_NODES_MAX", 0)
    with recorded.view() as view:
        again, held = [], []
        for each in replay(view):
            again.append((each.time_ns, each.process))
            held.append(len(view._nodes))
    assert again == whole
    assert max(held) <= 2, "a step reads its own process, and who adopted it"
