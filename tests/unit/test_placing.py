"""engine/placing.py: which place a process has, what is read for it, and when."""

from __future__ import annotations

import gc
import weakref

import pytest

from proc_cache.engine.placing import AT_ONCE, QUEUE_MAX, SETTLE_NS, SHARED_MAX
from proc_cache.errors import ProcessHiddenError
from proc_cache.kernel import places
from proc_cache.process import Node
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import Story

SSH = b"0::/system.slice/ssh.service\n"
CRON = b"0::/system.slice/cron.service\n"
PTS_3, PTS_4 = 136 << 8 | 3, 136 << 8 | 4


class Stage(Story):
    """A story in which somebody reads; a shell of ssh on pts/3 is there."""

    def __init__(self) -> None:
        self.shown = FakeReader()
        super().__init__(reader=self.shown)
        self.places = self.tree.places
        self.places.is_reading = True
        self.shell = self.fork(1, 100)
        self.runs(self.shell, SSH, PTS_3)

    def runs(self, node: Node, cgroup: bytes, tty_nr: int = 0) -> None:
        """It runs a program, and all that is due is read."""
        self.show(node, cgroup, tty_nr)
        self.exec(node.pid)
        self.read()

    def show(self, node: Node, cgroup: bytes, tty_nr: int = 0, *, start_ns: int | None = None) -> None:
        start_ns = node.start_ns if start_ns is None else start_ns
        self.shown.show(sighting(node.pid, start_ns=start_ns, tty_nr=tty_nr))
        self.shown.cgroups[node.pid] = cgroup

    def read(self) -> None:
        self.wait(1)
        while self.places.rest_s() == 0:
            self.places.read_some()

    def asked_since(self) -> list[int]:
        """Whose cgroup was read since the last call."""
        asked, self.shown.asked_for_cgroups = self.shown.asked_for_cgroups, []
        return asked


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_what_is_read_is_known(stage: Stage) -> None:
    assert stage.shell.place == ("ssh.service", "", "pts/3")


def test_a_child_has_its_parents(stage: Stage) -> None:
    child = stage.fork(100, 101)
    assert child.place is stage.shell.place


def test_one_of_which_nothing_is_known_has_none() -> None:
    assert Story().fork(7, 8).place is None


def test_those_of_one_place_share_it(stage: Stage) -> None:
    other = stage.fork(1, 200)
    stage.runs(other, SSH, PTS_3)
    assert other.place is stage.shell.place


def test_one_that_is_moved_has_its_own_once_it_has_run_a_program(stage: Stage) -> None:
    job = stage.fork(100, 101)
    stage.runs(job, CRON)
    assert job.place == ("cron.service", "", "")
    assert stage.fork(101, 102).place is job.place


def test_an_exec_reads_the_terminal_at_once_and_no_cgroup(stage: Stage) -> None:
    stage.asked_since()
    child = stage.fork(100, 101)
    stage.show(child, CRON, PTS_4)
    stage.exec(101)
    assert child.place == ("ssh.service", "", "pts/4")
    stage.places.read_some()
    assert stage.asked_since() == []
    stage.now_ns += SETTLE_NS
    stage.places.read_some()
    assert stage.asked_since() == [101, 100], "the one that has moved, and who may have moved before"
    assert child.place == ("cron.service", "", "pts/4")


def test_when_the_next_is_due_is_told(stage: Stage) -> None:
    assert stage.places.rest_s() is None
    child = stage.fork(100, 101)
    stage.show(child, CRON)
    stage.exec(101)
    assert stage.places.rest_s() == pytest.approx(SETTLE_NS / 1e9)
    stage.wait(5)
    assert stage.places.rest_s() == 0


def test_one_that_has_ended_is_not_looked_for(stage: Stage) -> None:
    child = stage.fork(100, 101)
    stage.show(child, CRON)
    stage.exec(101)
    stage.exit(101)
    stage.asked_since()
    stage.read()
    assert stage.asked_since() == []
    assert child.place is not None
    assert child.place[0] == "ssh.service"


def test_a_new_owner_of_the_pid_is_not_taken_for_it(stage: Stage) -> None:
    child = stage.fork(100, 101)
    stage.show(child, SSH)
    stage.exec(101)
    stage.show(child, CRON, start_ns=child.start_ns + 1_000_000_000)
    stage.read()
    assert child.place is not None
    assert child.place[0] == "ssh.service"


@pytest.mark.parametrize("how", ["hidden", "gone", "no descriptor"])
def test_one_that_cannot_be_read_keeps_what_it_has(
    stage: Stage, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = stage.fork(100, 101)
    stage.show(child, CRON)
    stage.exec(101)
    if how == "hidden":
        stage.shown.hidden.add(101)
    elif how == "gone":
        del stage.shown.shown[101]
    else:
        monkeypatch.setattr(stage.shown, "cgroup", _fail)
    stage.read()
    assert child.place is not None
    assert child.place[0] == "ssh.service"


def _fail(pid: int) -> bytes:
    raise OSError(24, f"Too many open files, {pid}")


def test_a_new_session_has_no_terminal(stage: Stage) -> None:
    child = stage.fork(100, 101)
    stage.sid(101)
    assert child.place == ("ssh.service", "", "")


@pytest.mark.parametrize("kind", ["uid", "sid"])
def test_a_new_user_or_session_is_a_reason_to_look(stage: Stage, kind: str) -> None:
    child = stage.fork(100, 101)
    stage.show(child, CRON)
    if kind == "uid":
        stage.uid(101, 1000)
    else:
        stage.sid(101)
    stage.read()
    assert child.place == ("cron.service", "", "")


def test_where_one_has_moved_its_parent_is_looked_at_too(stage: Stage) -> None:
    """PAM moves sshd's process of a session; what it runs then is the first to be noticed."""
    stage.fork(100, 101)
    stage.show(stage.shell, CRON)
    shell = stage.fork(101, 102)
    for pid in (101, 102):
        stage.show(stage.node(pid), CRON)
    stage.exec(102)
    stage.read()
    assert [stage.node(pid).place for pid in (100, 101, 102)] == [shell.place and ("cron.service", "", "")] * 3


def test_the_history_is_told(stage: Stage) -> None:
    marked = []

    class Recorder:
        def mark(self, node: Node) -> None:
            marked.append(node.pid)

        def became(self, node: Node, time_ns: int) -> None: ...

        def keep(self, nodes: list[Node]) -> None: ...

    child = stage.fork(100, 101)
    stage.show(child, CRON)
    stage.exec(101)
    stage.table.recorder = Recorder()
    stage.read()
    assert marked == [101]


# --- scans --------------------------------------------------------------------------------------------------


def test_what_a_scan_finds_is_read_later() -> None:
    stage = Stage()
    stage.asked_since()
    stage.shown.cgroups[300] = CRON
    stage.shown.show(sighting(300, start_ns=stage.now_ns, tty_nr=PTS_4))
    stage.scan([stage.shown.shown[300], stage.shown.shown[100]], is_whole=False)
    assert stage.node(300).place == (None, None, "pts/4")
    assert stage.asked_since() == []
    stage.read()
    assert stage.node(300).place == ("cron.service", "", "pts/4")
    assert stage.asked_since() == [300], "of the shell all is known"


def test_a_few_are_read_at_once() -> None:
    stage = Stage()
    stage.asked_since()
    stage.scan([sighting(pid, start_ns=1) for pid in range(300, 340)], is_whole=False)
    stage.shown.shown |= {pid: sighting(pid, start_ns=1) for pid in range(300, 340)}
    stage.places.read_some()
    assert len(stage.asked_since()) == AT_ONCE


def test_without_anybody_who_reads_nothing_is_kept() -> None:
    story = Story(reader=FakeReader([sighting(300, start_ns=1)]))
    story.scan([sighting(300, start_ns=1)])
    story.exec(300)
    assert story.tree.places.rest_s() is None


# --- bounds -------------------------------------------------------------------------------------------------


def test_the_queue_is_bounded(stage: Stage) -> None:
    stage.asked_since()
    for pid in range(1000, 1000 + 2 * QUEUE_MAX):
        stage.show(stage.fork(100, pid), SSH)
        stage.exec(pid)
    stage.read()
    assert len(stage.asked_since()) == QUEUE_MAX


def test_what_is_shared_is_bounded(stage: Stage) -> None:
    child = stage.fork(100, 101)
    for number in range(2 * SHARED_MAX + 10):
        stage.places.take_tty(child, number)
        places.place_of(b"0::/%d.service\n" % number, number)
    for cache in (stage.places._shared, places._places, stage.places._ttys):
        assert len(cache) <= SHARED_MAX


def test_the_ended_are_let_go_of(stage: Stage) -> None:
    class Watched(Node):
        __slots__ = ("__weakref__",)

    node = Watched(7, 1, 1, "fork", None, "x", "exec", 0)
    node.exit_ns = 5
    stage.places.ask_later(node, stage.now_ns)
    seen = weakref.ref(node)
    del node
    stage.read()
    gc.collect()
    assert seen() is None


# --- answers ------------------------------------------------------------------------------------------------


class TestView:
    def test_it_reads_what_is_not_known_only_where_it_is_told_to(self) -> None:
        stage = Stage()
        child = stage.fork(1, 300)
        stage.show(child, CRON, PTS_4)
        assert stage.view.describe(child).unit is None
        stage.view.reads_places = True
        told = stage.view.describe(child)
        assert (told.unit, told.container, told.tty) == ("cron.service", "", "pts/4")
        assert child.place is None, "looking changes nothing"

    def test_what_is_known_is_not_read_again(self) -> None:
        stage = Stage()
        stage.view.reads_places = True
        stage.asked_since()
        assert stage.view.describe(stage.shell).unit == "ssh.service"
        assert stage.asked_since() == []

    def test_the_dead_are_not_looked_for(self) -> None:
        stage = Stage()
        stage.view.reads_places = True
        child = stage.fork(1, 300)
        stage.show(child, CRON)
        stage.exit(300)
        assert stage.view.describe(child).unit is None

    def test_a_hidden_one_is_not_known(self) -> None:
        stage = Stage()
        stage.view.reads_places = True
        child = stage.fork(1, 300)
        stage.shown.hidden.add(300)
        with pytest.raises(ProcessHiddenError):
            stage.shown.cgroup(300)
        assert stage.view.describe(child, is_fresh=False).unit is None
