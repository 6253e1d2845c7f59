"""service/picture_feed.py and picture.py behind a server: what a live view is told, and what it can ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from proc_cache.events import Exec
from proc_cache.selection import Selection, Target
from proc_cache.service import feeds, picture_feed, protocol
from proc_cache.service.picture import Picture, Spawner
from proc_cache.service.picture_feed import FAILED, NEWEST, RUNNING, Search
from proc_cache.service.protocol import pack
from tests.helpers.calling import Clock, Desk
from tests.helpers.streams import Happening, Viewer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk(socket_path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """It has one clock of time since boot, for the engine and for what is told."""
    assert clock.ahead_s == 0
    desk = Desk(socket_path)
    monkeypatch.setattr(picture_feed, "boottime_ns", lambda: desk.now_ns)
    yield desk.open()
    desk.close()


@pytest.fixture
def happening(desk: Desk) -> Happening:
    return Happening(desk)


def shown_next(viewer: Viewer) -> Picture:
    viewer.desk.now_ns += picture_feed.PICTURE_NS
    return viewer.picture()


def test_the_newest_program_stands_first(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        assert viewer.picture().programs == ()
        happening.fork(1, 100, 101, 102)
        times = {}
        for pid in (100, 101, 102):
            happening.exec(pid, b"sh")
            times[pid] = desk.now_ns
        programs = shown_next(viewer).programs
        assert [(each.node.pid, each.time_ns) for each in programs] == [
            (pid, times[pid]) for pid in (102, 101, 100)
        ]
        assert {each.kind for each in programs} == {Exec}
        assert [node.pid for node in programs[0].walked.nodes] == [102, 1]


def test_a_second_program_of_a_process_moves_it_up(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        happening.fork(1, 100, 101)
        happening.exec(100, b"sh")
        happening.exec(101, b"sh")
        happening.exec(100, b"ls")
        viewer.picture()
        programs = shown_next(viewer).programs
    assert [(each.node.pid, each.node.cmd) for each in programs] == [(100, "ls"), (101, "sh")]


def test_they_show_how_a_program_is_now(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        happening.fork(1, 100)
        happening.exec(100, b"sh")
        happening.exit(100, status=768)
        happening.apply()
        viewer.picture()
        (program,) = shown_next(viewer).programs
    assert (program.node.exit_status, program.node.exit_ns) == (768, desk.now_ns - picture_feed.PICTURE_NS)


def test_there_are_no_more_than_a_screen_shows(
    desk: Desk, happening: Happening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_feed, "ROWS_MAX", 3)
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(1, *range(100, 110))
        for pid in range(100, 110):
            happening.exec(pid, b"sh")
        programs = shown_next(viewer).programs
    assert [each.node.pid for each in programs] == [109, 108, 107]


def test_arguments_are_told_as_far_as_they_are_shown(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(1, 100)
        happening.exec(100, b"sh", cmdline=b"x" * 100_000)
        (program,) = shown_next(viewer).programs
    assert program.node.cmdline is not None
    assert len(program.node.cmdline) < 2 * feeds.ARGUMENTS_SHOWN_BYTES


def test_who_starts_most_is_told_each_second(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(1, 100)
        desk.now_ns += 10 * picture_feed.SPAWNERS_NS
        happening.fork(100, *range(200, 205))
        happening.exec(201, b"ls")
        first = shown_next(viewer).spawners
        happening.fork(100, 205)
        assert shown_next(viewer).spawners == first
        desk.now_ns += picture_feed.SPAWNERS_NS
        second = shown_next(viewer).spawners
    assert first[0] == Spawner(100, "systemd", True, 5, "ls", 1, None, 0, 0)
    assert [(each.pid, each.births) for each in second] == [(100, 6), (1, 1)]


def test_one_comes_at_a_time(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(1, 100)
        happening.exec(100, b"sh")
        desk.now_ns += picture_feed.PICTURE_NS // 2
        assert viewer.is_told_nothing()
        desk.now_ns += picture_feed.PICTURE_NS
        assert len(viewer.picture().programs) == 1
        assert viewer.is_told_nothing()


def test_who_was_away_gets_one_not_all(desk: Desk) -> None:
    with Viewer(desk) as viewer:
        viewer.picture()
        desk.now_ns += 100 * picture_feed.PICTURE_NS
        viewer.picture()
        assert viewer.is_told_nothing()


def test_of_the_processes_that_were_asked_for(desk: Desk, happening: Happening) -> None:
    happening.fork(1, 50, 60)
    happening.apply()
    with Viewer(desk, selection=Selection(under=Target(50))) as viewer:
        viewer.picture()
        happening.fork(50, 51)
        happening.fork(60, 61)
        happening.exec(51, b"sh")
        happening.exec(61, b"sh")
        desk.now_ns += picture_feed.SPAWNERS_NS
        picture = shown_next(viewer)
    assert [each.node.pid for each in picture.programs] == [51]
    assert [(each.pid, each.births) for each in picture.spawners] == [(50, 1)]


def test_of_those_that_ended_so(desk: Desk, happening: Happening) -> None:
    """They are shown, and counted, when they have ended, not when they begin."""
    with Viewer(desk, selection=Selection(failed=True)) as viewer:
        viewer.picture()
        happening.fork(1, 100)
        started_ns = desk.now_ns
        happening.fork(1, 101)
        happening.exec(100, b"false")
        happening.exec(101, b"true")
        assert shown_next(viewer).programs == ()
        happening.exit(101)
        happening.exit(100, status=256)
        happening.apply()
        desk.now_ns += picture_feed.SPAWNERS_NS
        picture = shown_next(viewer)
    assert [(each.node.pid, each.time_ns) for each in picture.programs] == [(100, started_ns)]
    assert [(each.pid, each.births) for each in picture.spawners] == [(1, 1)]


def test_the_counters_are_the_engines(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(1, 100, 101)
        happening.exit(100)
        happening.apply()
        assert shown_next(viewer).stats == desk.engine.stats()


# --- only what has changed --------------------------------------------------------------------------------


def changed(viewer: Viewer) -> list[int]:
    """The pids of which the next picture tells."""
    viewer.desk.now_ns += picture_feed.PICTURE_NS
    value = protocol.read_frame(viewer.call.receive())
    viewer._pictures.read(*value[1:])
    return [own[0] for _, _, _, own in value[2]]


def test_a_process_is_told_again_where_it_has_changed(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(1, 100, 101)
        happening.exec(100, b"sh")
        happening.exec(101, b"ls")
        assert changed(viewer) == [1, 101, 100]
        assert changed(viewer) == []
        happening.fork(100, 102)
        happening.exec(102, b"cat")
        happening.exit(101, status=256)
        happening.apply()
        assert changed(viewer) == [102, 101]
        programs = shown_next(viewer).programs
    assert [[node.pid for node in each.walked.nodes] for each in programs] == [[102, 100, 1], [101, 1], [100, 1]]
    assert programs[1].node.exit_status == 256


def test_who_left_the_picture_is_told_again_when_it_comes_back(
    desk: Desk, happening: Happening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_feed, "ROWS_MAX", 1)
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(1, 100, 101)
        happening.exec(100, b"sh")
        assert changed(viewer) == [1, 100]
        happening.exec(101, b"sh")
        assert changed(viewer) == [101]
        happening.exec(100, b"sh")
        assert changed(viewer) == [100]


def test_a_parent_that_is_not_known_is_told_by_its_pid(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(77, 100)
        happening.exec(100, b"sh")
        (program,) = shown_next(viewer).programs
    assert [node.pid for node in program.walked.nodes] == [100]
    assert program.walked.missing_pid == 77


def test_a_circle_has_an_end(desk: Desk, happening: Happening) -> None:
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(1, 100)
        happening.fork(100, 101)
        happening.exec(101, b"sh")
        happening.node(100).parent = happening.node(101)
        (program,) = shown_next(viewer).programs
    assert [node.pid for node in program.walked.nodes] == [101, 100]


# --- what is looked for -----------------------------------------------------------------------------------


def searched(viewer: Viewer, search: Search) -> Picture:
    """Say what is looked for; the picture that follows."""
    viewer.call.ask(protocol.SEARCH, *pack(search))
    return viewer.picture()


def pids(picture: Picture) -> list[int]:
    return [each.node.pid for each in picture.programs]


@pytest.fixture
def some(desk: Desk, happening: Happening) -> Iterator[Viewer]:
    """A shell 100 with a child 101, an editor 102 of another user, all told already."""
    with Viewer(desk) as viewer:
        viewer.picture()
        happening.fork(1, 100, 102)
        happening.exec(100, b"Bash", cmdline=b"bash\0-c\0Make it\0")
        happening.fork(100, 101)
        happening.exec(101, b"ls")
        happening.exec(102, b"vi", uid=1000)
        assert pids(shown_next(viewer)) == [102, 101, 100]
        yield viewer


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Search("bash"), [101, 100]),
        (Search("LS"), [101]),
        (Search("-c make"), [101, 100]),
        (Search("102"), [102]),
        (Search("alice", (1000,)), [102]),
        (Search("alice"), []),
        (Search("systemd"), [102, 101, 100]),
        (Search(""), [102, 101, 100]),
        (Search("no such thing"), []),
    ],
    ids=repr,
)
def test_a_filter_is_answered_at_once_and_from_then_on(
    some: Viewer, happening: Happening, wanted: Search, found: list[int]
) -> None:
    assert pids(searched(some, wanted)) == found
    happening.fork(101, 103)
    happening.exec(103, b"cat")
    is_below = 101 in found
    assert pids(shown_next(some)) == [103] * ((is_below and wanted.text != "LS") or wanted.text == "LS") + found
    assert pids(searched(some, Search())) == [103, 102, 101, 100]


def test_a_filter_finds_what_others_would_hide(
    some: Viewer, happening: Happening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_feed, "ROWS_MAX", 5)
    searched(some, Search("needle"))
    for pid in range(200, 230):
        happening.fork(1, pid)
        happening.exec(pid, b"needle" if pid == 203 else b"hay")
    assert pids(shown_next(some)) == [203]


def test_failures_come_first(some: Viewer, happening: Happening) -> None:
    happening.exit(101, status=256)
    happening.exit(102, status=0)
    happening.apply()
    assert pids(searched(some, Search(order=FAILED))) == [101, 102, 100]


def test_those_that_run_for_longest_come_first(some: Viewer, happening: Happening) -> None:
    happening.exit(101)
    happening.apply()
    assert pids(searched(some, Search(order=RUNNING))) == [100, 102, 101]


def test_ends_that_were_lost_leave_room_among_those_that_run(
    some: Viewer, happening: Happening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_feed, "RUNNING_MAX", 3)
    for pid in (100, 101, 102):
        node = happening.node(pid)
        some.desk.engine.table.retire(node, some.desk.now_ns, None)
    searched(some, Search(order=RUNNING))
    happening.fork(1, 200, 201)
    happening.exec(201, b"sh")
    happening.exec(200, b"sh")
    assert pids(shown_next(some))[:2] == [201, 200]


def test_no_more_new_ones_than_the_screen_has_room_for(some: Viewer, happening: Happening) -> None:
    searched(some, Search(rows=2))
    happening.fork(1, *range(200, 205))
    for pid in range(200, 205):
        happening.exec(pid, b"sh")
    assert pids(shown_next(some)) == [204, 203, 102, 101, 100]  # those before them stay


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("x",),
        ("x", (), NEWEST, 5, 5),
        (5, (), NEWEST, 5),
        ("x" * 201, (), NEWEST, 5),
        ("\ud800", (), NEWEST, 5),
        ("x", 5, NEWEST, 5),
        ("x", ("5",), NEWEST, 5),
        ("x", (5,) * 1001, NEWEST, 5),
        ("x", (), "upwards", 5),
        ("x", (), NEWEST, None),
        ("x", (), NEWEST, True),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_search_is_hung_up_on(desk: Desk, arguments: tuple[object, ...]) -> None:
    with Viewer(desk) as viewer:
        viewer.picture()
        viewer.call.ask(protocol.SEARCH, *arguments)
        viewer.call.wait_until_hung_up()
        assert desk.engine.messages.taps == []


def test_a_search_that_comes_in_pieces(some: Viewer) -> None:
    data = protocol.write_request(os.getpid(), protocol.SEARCH, *pack(Search("bash")))
    for place in range(len(data)):
        some.call.send(data[place : place + 1])
        some.desk.turn(2)
    assert pids(some.picture()) == [101, 100]
