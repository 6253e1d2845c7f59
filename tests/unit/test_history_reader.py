"""history/reader.py: a file answers as the engine did, and says what it cannot know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proc_cache import query
from proc_cache.errors import NobodyFoundError
from proc_cache.kernel.clocks import boot_wall_ns
from proc_cache.process import Cost, Process, Source, pack_cost
from proc_cache.selection import Selection, Target, select
from proc_cache.times import Moment
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.recording import (
    BOOTED_NS,
    OTHER_BOOT_ID,
    SECOND_NS,
    RecordedStory,
    begin,
    record,
    row,
    rows,
    view_of,
)
from tests.helpers.story import Story

LATER_NS = BOOTED_NS + 86400 * SECOND_NS

THIS_BOOT = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history"


def at(time_s: float, booted_ns: int = BOOTED_NS) -> Moment:
    time_ns = booted_ns + round(time_s * SECOND_NS)
    return Moment(time_ns, time_ns)


def fields(process: Process) -> dict[str, Any]:
    return {field: getattr(process, field) for field in Process._fields}


def told_story() -> Story:
    """deploy.sh starts a shell that becomes python and a subreaper's child; most of it ends."""
    reader = FakeReader([sighting(1, ppid=0, start_ns=SECOND_NS, comm=b"systemd", cmdline=b"/sbin/init\0")])
    story = Story(reader=reader)
    story.scan(list(reader.shown.values()))

    def become(pid: int, name: bytes, ppid: int, uid: int) -> None:
        start_ns = story.node(pid).start_ns
        reader.show(
            sighting(pid, ppid=ppid, start_ns=start_ns, comm=name, uid=uid, cmdline=name + b"\0-x\0\xff\0")
        )
        story.exec(pid)

    story.fork(1, 10)
    become(10, b"deploy.sh", 1, 1000)
    story.fork(10, 11)
    become(11, b"bash", 10, 1000)
    become(11, b"python", 10, 1001)
    story.comm(11, b"wor\xffker")
    story.sid(11)
    story.fork(11, 12)
    story.uid(12, 0)
    story.exit(10, status=3 << 8)
    story.node(10).cost = pack_cost(1_500_000, 64 << 20, 4096, (1 << 63) - 1)
    story.exit(12, status=0x8B, parent=11)
    story.node(12).cost = pack_cost(0, 0, 0, 0)
    story.fork(11, 12)  # the same pid once more
    story.exit(12, status=0, parent=1)
    story.fork(77, 13)  # of nobody that is known
    story.exit(11, status=9, parent=1)
    story.exit(14, status=1)  # nothing else is known of it
    story.node(14).cost = pack_cost(1, 2, 3, 4)
    story.fork(1, 15)
    story.node(15).full_name = "systemd-journal\udcffd"
    del reader.shown[10], reader.shown[11]
    story.view.reader = None
    return story


PIDS = (1, 10, 11, 12, 13, 14, 15)


class TestLikeTheEngine:
    @pytest.mark.parametrize("is_late", [False, True], ids=["from the beginning", "begun at the end"])
    def test_chains_field_by_field(self, path: Path, is_late: bool) -> None:
        story = told_story()
        with RecordedStory(story, path) as recorded:
            if not is_late:
                story.wait(5)
                recorded.flush()
        for pid in PIDS:
            of_engine = query.chain(story.view, pid)
            with recorded.view() as view:
                of_file = query.chain(view, pid)
            assert list(map(fields, of_file.links)) == list(map(fields, of_engine.links))
            assert of_file.notes == of_engine.notes
            for field in ("pid", "complete", "lost_events", "missing_pid", "may_exist"):
                assert getattr(of_file, field) == getattr(of_engine, field), field
            assert (of_file.reason is None) == (of_engine.reason is None)

    @pytest.mark.parametrize("name", ["deploy.sh", "systemd", "bash", "wor\udcffker", "nobody"])
    @pytest.mark.parametrize("is_strict", [False, True])
    def test_descents(self, path: Path, name: str, is_strict: bool) -> None:
        story = told_story()
        with RecordedStory(story, path) as recorded:
            pass
        for pid in PIDS:
            of_engine = query.descent(story.view, pid, name, is_strict=is_strict)
            with recorded.view() as view:
                of_file = query.descent(view, pid, name, is_strict=is_strict)
            assert (of_file.descendant, of_file.matched_by) == (of_engine.descendant, of_engine.matched_by)
            assert of_file.match == of_engine.match

    @pytest.mark.parametrize(
        "selection",
        [
            Selection(),
            Selection(with_dead=True),
            Selection(with_dead=True, cmd="deploy.sh"),
            Selection(with_dead=True, user="alice"),
            Selection(with_dead=True, user="1001"),
            Selection(with_dead=True, under=Target(10)),
            Selection(around=Target(12), within_ns=3 * SECOND_NS),
            Selection(with_dead=True, under="deploy.sh"),
            Selection(with_dead=True, failed=True),
            Selection(with_dead=True, shorter_than_ns=100 * SECOND_NS),
            Selection(longer_than_ns=5 * SECOND_NS),
        ],
        ids=["living", "dead", "cmd", "user", "uid", "under", "around", "name", "failed", "shorter", "longer"],
    )
    def test_selections(self, path: Path, selection: Selection) -> None:
        story = told_story()
        with RecordedStory(story, path) as recorded:
            pass
        of_engine = {story.view.describe(node, is_fresh=False) for node in select(story.view, selection)}
        with recorded.view() as view:
            of_file = [view.describe(node, is_fresh=False) for node in select(view, selection)]
        assert of_engine
        assert len(of_file) == len(of_engine)
        assert set(of_file) == of_engine

    def test_every_moment(self, path: Path) -> None:
        story = told_story()
        with RecordedStory(story, path) as recorded:
            pass
        with recorded.view() as view:
            for seconds in range(1000, story.now_ns // SECOND_NS + 1):
                moment = at(seconds + 0.5 - 1, boot_wall_ns())
                for pid in PIDS:
                    engines, files = story.view.find(pid, moment), view.find(pid, moment)
                    assert (engines and engines.start_ns) == (files and files.start_ns), (pid, seconds)
                listed = [
                    sorted((n.pid, n.start_ns) for n in v.nodes(moment, with_dead=False))
                    for v in (story.view, view)
                ]
                assert listed[0] == listed[1]

    def test_what_its_exit_record_brings_when_all_else_is_written(self, path: Path) -> None:
        story = Story()
        with RecordedStory(story, path) as recorded:
            node = story.fork(1, 10)
            story.exec(10)
            story.exit(10)
            story.wait(5)
            recorded.flush()
            node.cmd, node.source, node.cost = "ls", Source.EXIT_RECORD, pack_cost(1, 2, 3, 4)
            recorded.journal.mark(node)
        with recorded.view() as view:
            of_file = query.chain(view, 10).links[0]
        assert fields(of_file) == fields(query.chain(story.view, 10).links[0])
        assert (of_file.cmd, of_file.source, of_file.cost) == ("ls", "exit_record", Cost(1, 2, 3, 4))

    @pytest.mark.parametrize("full_name", [None, "", "a" * 200, "caf\u00e9", "\udcff\n"])
    def test_full_names(self, path: Path, full_name: str | None) -> None:
        story = Story()
        with RecordedStory(story, path) as recorded:
            story.fork(1, 10).full_name = full_name
        with recorded.view() as view:
            assert query.chain(view, 10).links[0].full_name == full_name

    def test_a_loss_is_told_of_whose_life_it_touches(self, path: Path) -> None:
        story = Story()
        story.fork(1, 10)
        story.exit(10)
        with RecordedStory(story, path) as recorded:
            story.ledger.last[0] = (1, 0, story.now_ns + SECOND_NS)
            story.ledger.gap((5, 0, story.now_ns + 2 * SECOND_NS), 0)
            story.wait(3)
            story.fork(1, 11)
            story.now_ns -= 3 * SECOND_NS
            story.fork(1, 12)
        with recorded.view() as view:
            losses = [query.chain(view, pid).lost_events for pid in (10, 11, 12)]
        assert losses == [query.chain(story.view, pid).lost_events for pid in (10, 11, 12)] == [0, 0, 3]

    def test_a_ladder_is_whole_in_the_file(self, path: Path) -> None:
        story = Story()
        last = 1500
        with RecordedStory(story, path) as recorded:
            for pid in range(2, last):
                story.fork(pid - 1, pid)
                if pid > 2:
                    story.exit(pid - 1, status=pid % 7 << 8)
                recorded.flush()
        assert query.chain(story.view, last - 1).reason is not None
        with recorded.view() as view:
            chain = query.chain(view, last - 1)
        assert [link.pid for link in chain.links] == list(range(last - 1, 1, -1))
        assert all(link.exit_status == (link.pid + 1) % 7 << 8 for link in chain.links[1:])

    def test_the_newest_owner_whose_start_is_not_known(self, path: Path) -> None:
        story = Story()
        with RecordedStory(story, path) as recorded:
            story.fork(1, 10)
            story.exit(10, status=0)
            story.exec(10)  # its Fork was lost, and it was gone before it could be read
            story.exit(10, status=256)
        with recorded.view() as view:
            node = view.find(10)
            assert node is not None
            assert story.node(10).exit_status == 256
            assert node.exit_status == 256


class TestOwners:
    def make(self, path: Path) -> None:
        record(
            path,
            begin(began_ns=50 * SECOND_NS),
            rows(
                row(1, 1, 0.1, ppid=0, cmd=b"init"),
                row(2, 500, 100, cmd=b"first", exit_s=110),
                row(3, 500, 120, cmd=b"second", exit_s=130),
                row(4, 500, 140, cmd=b"third"),
                row(5, 600, 121, ppid=500, cmd=b"child", exit_s=122),
                until_s=200,
            ),
        )
        record(
            path,
            begin(boot_id=OTHER_BOOT_ID, booted_ns=LATER_NS, began_ns=50 * SECOND_NS),
            rows(
                row(1, 1, 0.1, ppid=0, cmd=b"newinit"),
                row(2, 500, 100, cmd=b"rebooted", exit_s=110),
                row(3, 700, 150, ppid=500, cmd=b"orphan"),
                until_s=200,
            ),
        )

    def name(self, path: Path, pid: int, moment: Moment | None = None) -> str | None:
        with view_of(path) as view:
            node = view.find(pid, moment)
            return None if node is None else node.cmd

    @pytest.mark.parametrize(
        ("time_s", "name"),
        [
            (99.9, None),
            (100, "first"),
            (110, "first"),
            (115, None),
            (120, "second"),
            (130, "second"),
            (199, "third"),
            (201, None),
        ],
    )
    def test_who_it_was_then(self, path: Path, time_s: float, name: str | None) -> None:
        self.make(path)
        assert self.name(path, 500, at(time_s)) == name

    def test_who_it_was_in_the_next_boot(self, path: Path) -> None:
        self.make(path)
        assert self.name(path, 500, at(105, LATER_NS)) == "rebooted"
        assert self.name(path, 500, at(120, LATER_NS)) is None

    def test_a_wide_moment_gives_the_newest_and_names_the_others(self, path: Path) -> None:
        self.make(path)
        with view_of(path) as view:
            chain = query.chain(view, 500, Moment(at(100).from_ns, at(125).until_ns))
        assert chain.links[0].cmd == "second"
        assert "(first)" in chain.notes[0]
        assert "third" not in chain.notes[0]

    def test_a_bare_pid_is_the_newest_of_all_boots(self, path: Path) -> None:
        self.make(path)
        with view_of(path) as view:
            chain = query.chain(view, 500)
        assert [link.cmd for link in chain.links] == ["rebooted", "newinit"]
        assert all(f"({name})" in chain.notes[0] for name in ("first", "second", "third"))

    def test_the_others_are_named_as_they_can_be_asked_for(self, path: Path) -> None:
        """Each PID@TIME of the note finds whom the note says."""
        import re

        from proc_cache.times import parse_moment

        self.make(path)
        with view_of(path) as view:
            (note,) = query.chain(view, 500).notes
            for when, name in re.findall(r"500@(\S+) \((\w+)\)", note):
                node = view.find(500, parse_moment(when, LATER_NS))
                assert node is not None, (when, name)
                assert node.cmd == name

    def test_a_parent_is_the_owner_of_the_pid_at_the_birth(self, path: Path) -> None:
        self.make(path)
        with view_of(path) as view:
            assert [link.cmd for link in query.chain(view, 600).links] == ["child", "second", "init"]

    def test_a_parent_is_of_the_same_boot(self, path: Path) -> None:
        self.make(path)
        with view_of(path) as view:
            chain = query.chain(view, 700)
        assert [link.cmd for link in chain.links] == ["orphan"]
        assert (chain.complete, chain.missing_pid) == (False, 500)

    def test_everybody_at_a_moment(self, path: Path) -> None:
        self.make(path)
        with view_of(path) as view:
            then = sorted(node.cmd for node in view.nodes(at(121.5), with_dead=False))
            later = sorted(node.cmd for node in view.nodes(at(160, LATER_NS), with_dead=False))
        assert (then, later) == (["child", "init", "second"], ["newinit", "orphan"])

    def test_who_started_near_it_is_of_the_same_boot(self, path: Path) -> None:
        self.make(path)
        with view_of(path) as view:
            near = [node.cmd for node in select(view, Selection(around=Target(500), within_ns=2 * SECOND_NS))]
        assert near == ["rebooted"]

    def test_who_is_under_it_is_of_the_same_boot(self, path: Path) -> None:
        self.make(path)
        with view_of(path) as view:
            under = {node.cmd for node in select(view, Selection(under=Target(1), with_dead=True))}
        assert under == {"newinit", "rebooted"}


class TestMisses:
    def make(self, path: Path, *messages: Any) -> None:
        record(path, begin(), rows(row(1, 10, 150), until_s=200), *messages)

    def explain(self, path: Path, pid: int, moment: Moment | None = None) -> query.Miss:
        with view_of(path) as view:
            assert view.find(pid, moment) is None
            return view.explain_miss(pid, moment)

    def test_never_seen(self, path: Path) -> None:
        self.make(path)
        miss = self.explain(path, 11)
        assert not miss.may_exist
        assert miss.reason.startswith("nobody was 11: this history covers ")

    @pytest.mark.parametrize("time_s", [99, 201])
    def test_not_recorded_at_that_time(self, path: Path, time_s: float) -> None:
        self.make(path)
        miss = self.explain(path, 10, at(time_s))
        assert miss.may_exist
        assert "nothing was recorded at that time" in miss.reason

    def test_not_recorded_between_two_recordings(self, path: Path) -> None:
        self.make(path)
        record(path, begin(began_ns=300 * SECOND_NS), rows(row(1, 11, 301), until_s=400))
        assert "nothing was recorded" in self.explain(path, 11, at(250)).reason
        assert not self.explain(path, 11, at(170)).may_exist

    def test_removed_to_stay_in_bounds(self, path: Path) -> None:
        self.make(path)
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(path)) as database, database:
            database.execute("INSERT INTO horizon VALUES (?)", (at(160).from_ns,))
        for moment in (None, at(155)):
            miss = self.explain(path, 11, moment)
            assert miss.may_exist
            assert "may have been removed (see --keep and --max-size)" in miss.reason
        assert not self.explain(path, 11, at(170)).may_exist

    @pytest.mark.parametrize(
        "facts", [{"losses": [(110 * SECOND_NS, 120 * SECOND_NS, 3)]}, {"missed": 3}], ids=["lost", "missed"]
    )
    def test_perhaps_among_those_that_are_missing(self, path: Path, facts: dict[str, Any]) -> None:
        self.make(path, rows(**facts))
        miss = self.explain(path, 11)
        assert miss.may_exist
        assert "3 events or processes are missing" in miss.reason

    def test_nothing_is_recorded_yet(self, path: Path) -> None:
        from proc_cache.history.schema import open_for_writing

        open_for_writing(str(path)).close()
        assert self.explain(path, 11).may_exist

    @pytest.mark.parametrize("pid", [-1, 0, 1 << 62, 1 << 63, 10**30])
    def test_numbers_that_no_pid_has(self, path: Path, pid: int) -> None:
        self.make(path)
        assert not self.explain(path, pid).may_exist

    def test_moments_beyond_what_the_file_can_hold(self, path: Path) -> None:
        self.make(path)
        assert self.explain(path, 10, Moment(10**30, 10**30)).may_exist

    def test_a_selection_that_begins_with_nobody(self, path: Path) -> None:
        self.make(path)
        with view_of(path) as view, pytest.raises(NobodyFoundError, match="nobody was 11"):
            select(view, Selection(under=Target(11)))

    @pytest.mark.parametrize(
        ("facts", "may_exist"),
        [({}, False), ({"losses": [(110 * SECOND_NS, 120 * SECOND_NS, 3)]}, True), ({"missed": 3}, True)],
        ids=["all", "lost", "missed"],
    )
    def test_a_selection_that_begins_with_a_name_of_nobody(
        self, path: Path, facts: dict[str, Any], may_exist: bool
    ) -> None:
        self.make(path, rows(**facts))
        with (
            view_of(path) as view,
            pytest.raises(NobodyFoundError, match="named 'make' is in this history") as caught,
        ):
            select(view, Selection(under="make"))
        assert caught.value.may_exist is may_exist


class TestUntil:
    def test_its_end_or_that_of_the_recording_of_its_boot(self, path: Path) -> None:
        """One that lived when a recording ended ran for so long, and nobody knows whether for longer."""
        ended, living = row(1, 10, 101, exit_s=105), row(2, 11, 102)
        record(path, begin(), rows(ended, living, until_s=150))
        with view_of(path) as view:
            until = {node.pid: view.until_ns(node) for node in view.nodes(None, with_dead=True)}
            assert until == {10: 105 * SECOND_NS, 11: 150 * SECOND_NS}
            for span_s, pids in ((3, {10, 11}), (4, {11}), (48, set())):
                selection = Selection(with_dead=True, longer_than_ns=span_s * SECOND_NS)
                assert {node.pid for node in select(view, selection)} == pids


class TestIsAlive:
    def alive(self, path: Path, now_s: float, booted_ns: int = BOOTED_NS) -> bool | None:
        with view_of(path, now_s=now_s, booted_ns=booted_ns) as view:
            node = view.find(10)
            assert node is not None
            return view.describe(node).is_alive

    def test_while_it_is_recorded(self, path: Path) -> None:
        record(path, begin(), rows(row(1, 10, 150), until_s=200))
        assert self.alive(path, 201) is True

    def test_not_known_when_the_recording_is_over(self, path: Path) -> None:
        record(path, begin(), rows(row(1, 10, 150), until_s=200))
        assert self.alive(path, 210) is None

    def test_not_when_its_end_was_seen(self, path: Path) -> None:
        record(path, begin(), rows(row(1, 10, 150, exit_s=160), until_s=200))
        assert self.alive(path, 201) is False

    def test_not_when_another_boot_was_recorded_since(self, path: Path) -> None:
        record(path, begin(), rows(row(1, 10, 150), until_s=200))
        record(path, begin(boot_id=OTHER_BOOT_ID, booted_ns=LATER_NS), rows(row(1, 11, 150), until_s=200))
        assert self.alive(path, 201, LATER_NS) is False

    def test_never_said_of_the_living_of_another_boot(self, path: Path) -> None:
        """The file of another machine, or from before a quick reboot: `boot_id` tells."""
        record(path, begin(boot_id=OTHER_BOOT_ID), rows(row(1, 10, 150), until_s=200))
        assert self.alive(path, 201) is None

    def test_an_end_that_was_noticed_only_has_no_time(self, path: Path) -> None:
        record(path, begin(), rows(row(1, 10, 150), until_s=200))
        record(path, begin(began_ns=300 * SECOND_NS), rows(is_settled=True, until_s=310))
        with view_of(path) as view:
            node = view.find(10)
            assert node is not None
            process = view.describe(node)
        assert (process.is_alive, process.exit_time_ns, process.exit_status) == (False, None, None)
