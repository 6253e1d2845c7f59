"""history/replay.py: the events of a history, as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proc_cache.events import Event, Exec, Exit, Fork
from proc_cache.history import reader as reader_module
from proc_cache.history.replay import Happening, replay
from proc_cache.kernel.clocks import boot_wall_ns
from proc_cache.process import Process, Source
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

    def exit(self, pid: int, status: int, *, parent: int = 1) -> None:
        self.reader.shown.pop(pid, None)
        self.note(Exit, self.story.exit(pid, status=status, parent=parent))

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
    assert [(type(each.event), each.time_ns, each.process.pid) for each in happenings] == [
        (kind, time_ns, process.pid) for kind, time_ns, process in scene.shown
    ]
    for each in happenings:
        assert each.event.timestamp_ns == each.time_ns
        assert isinstance(each.event, Fork | Exec | Exit)
        pid = each.event.child_pid if isinstance(each.event, Fork) else each.event.pid
        assert pid == each.node.pid == each.process.pid


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
    assert [each.process.cmdline for each in played(recorded) if isinstance(each.event, Exec)] == of_execs


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


def test_an_exit_tells_its_status_and_the_present_parent(path: Path) -> None:
    scene = Scene()
    with RecordedStory(scene.story, path) as recorded:
        scene.fork(1, 10)
        scene.fork(10, 11)
        scene.exit(11, 0x8B, parent=1)
    *_, last = played(recorded)
    assert isinstance(last.event, Exit)
    assert (last.event.status, last.event.parent_pid) == (0x8B, 1)


def test_what_was_there_at_the_beginning_has_no_fork_and_an_end_that_was_noticed_no_exit(path: Path) -> None:
    record(
        path,
        begin(),
        rows(row(1, 10, 50, ppid_source=Source.SNAPSHOT), row(2, 11, 60, ppid_source=Source.SNAPSHOT, exit_s=110)),
    )
    record(path, begin(began_ns=300 * SECOND_NS), rows(is_settled=True))
    with view_of(path) as view:
        assert [(type(each.event), each.process.pid) for each in replay(view)] == [(Exit, 11)]


def test_boots_follow_each_other(path: Path) -> None:
    booted_ns = boot_wall_ns()
    later_ns = booted_ns + 500 * SECOND_NS
    record(path, begin(booted_ns=later_ns, boot_id=OTHER_BOOT_ID), rows(row(1, 10, 1, exit_s=2)))
    record(path, begin(booted_ns=booted_ns), rows(row(1, 10, 400, exit_s=401)))
    with view_of(path) as view:
        happenings = list(replay(view))
    assert [(type(each.event), each.time_ns, each.node.booted_ns) for each in happenings] == [
        (Fork, 400 * SECOND_NS, booted_ns),
        (Exit, 401 * SECOND_NS, booted_ns),
        (Fork, 1 * SECOND_NS, later_ns),
        (Exit, 2 * SECOND_NS, later_ns),
    ]


def test_fork_exec_and_exit_of_one_moment_are_in_this_order(path: Path) -> None:
    record(path, begin(), rows(row(1, 10, 150, exit_s=150), execs=[exec_row(1, 150, b"ls")]))
    with view_of(path) as view:
        assert [type(each.event) for each in replay(view)] == [Fork, Exec, Exit]


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
