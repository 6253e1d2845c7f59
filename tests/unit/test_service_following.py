"""service/following.py: the client's end of a stream, from bytes to what a command shows."""

from __future__ import annotations

import marshal
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache.errors import EngineHungUpError, EngineUnavailableError
from proc_cache.events import KINDS, Exec
from proc_cache.process import Node, Source
from proc_cache.service import facts, protocol
from proc_cache.service.facts import Told, ToldUsers
from proc_cache.service.following import ChildEnded, Missed
from proc_cache.service.picture import Picture, Spawner
from proc_cache.service.protocol import frame, pack
from proc_cache.service.stream import DROPPED, ENDED, LOST, PICTURE
from tests.helpers.told import ALL_TEXT, NUMBER, OPTIONAL, FarEnd, a_node, facts_of, nodes, some_stats, told_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAVES = st.none() | st.booleans() | NUMBER | ALL_TEXT | st.binary(max_size=5)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=20)
WORDS = st.sampled_from([*KINDS, DROPPED, LOST, ENDED, PICTURE])
# Near to what is told: a word, and what may stand behind it.
ALMOST = st.builds(
    lambda word, rest: (word, *rest),
    WORDS | LEAVES,
    st.lists(VALUES | st.just(facts.own(a_node())) | st.just(()), max_size=6),
)


@pytest.fixture
def end() -> Iterator[FarEnd]:
    with FarEnd() as end:
        yield end


SPAWNER = (7, "sh\udcff", True, 9, None, 3, "ls", 2, 5)


def event(node: Node, kind: str = "exec", **more: Any) -> tuple[Any, ...]:
    above = more.get("above", ())
    return (kind, 5, facts.own(node), tuple(map(facts.ancestor, above)), more.get("missing"), more.get("adopter"))


def a_picture(programs: int = 2) -> tuple[Any, ...]:
    nodes = tuple((1 + number, 0, None, facts.own(a_node(number))) for number in range(programs))
    rows = tuple((1 + number, 100 + number) for number in range(programs))
    return (PICTURE, (pack(some_stats()), (1, 2, 3)), nodes, rows, (SPAWNER,), "cron")


# --- pieces -----------------------------------------------------------------------------------------------


@given(nodes(), st.sampled_from(list(KINDS)), NUMBER, OPTIONAL, st.none() | ALL_TEXT)
def test_an_event_comes_back(
    node: Node, kind: str, time_ns: int, missing_pid: int | None, adopter: str | None
) -> None:
    above = a_node(7)
    with FarEnd() as end:
        value = (kind, time_ns, facts.own(node), (facts.ancestor(above),), missing_pid, adopter)
        (told,) = end.take(frame(value))
    assert isinstance(told, Told)
    assert (told.kind, told.time_ns, told.adopter) == (KINDS[kind], time_ns, adopter)
    assert (told.walked.missing_pid, told.walked.nodes[1].pid) == (missing_pid, 7)
    assert facts_of(told.node) == facts_of(node)


def test_what_is_missing_and_who_ended_come_back(end: FarEnd) -> None:
    data = b"".join(map(frame, ((DROPPED, 5), (LOST, 1 << 40), (ENDED, 77))))
    assert list(end.take(data)) == [Missed(5, False), Missed(1 << 40, True), ChildEnded(77)]


def test_a_picture_comes_back(end: FarEnd) -> None:
    (picture,) = end.take(frame(a_picture()))
    assert isinstance(picture, Picture)
    assert picture.stats == some_stats()
    assert (picture.spawners, picture.text) == ((Spawner(*SPAWNER),), "cron")
    assert [(each.kind, each.time_ns, each.node.pid) for each in picture.programs] == [
        (Exec, 100, 0),
        (Exec, 101, 1),
    ]


# --- pieces in pieces -------------------------------------------------------------------------------------


def test_frames_that_are_split_anywhere(end: FarEnd) -> None:
    values = [event(a_node(500)), (DROPPED, 5), event(a_node(501, cmdline=b"x" * 100), "exit"), (ENDED, 9)]
    data = b"".join(map(frame, values))
    for place in range(1, len(data)):
        taken = [*end.take(data[:place]), *end.take(data[place:])]
        assert [type(piece) for piece in taken] == [Told, Missed, Told, ChildEnded], place


def test_byte_by_byte(end: FarEnd) -> None:
    data = frame(event(a_node())) + frame((LOST, 3))
    taken = [piece for place in range(len(data)) for piece in end.take(data[place : place + 1])]
    assert [type(piece) for piece in taken] == [Told, Missed]


def test_the_longest_arguments_pass(end: FarEnd) -> None:
    """Longer than a client receives at once."""
    data = frame(event(a_node(cmdline=b"x" * (1 << 17))))
    taken: list[Any] = []
    for place in range(0, len(data), 5000):
        taken += end.take(data[place : place + 5000])
    (told,) = taken
    assert len(told.node.cmdline) == 1 << 17


def test_where_nothing_comes_it_waits_no_longer_than_told(end: FarEnd) -> None:
    assert list(end.following.take(0.01)) == []


def test_it_can_be_waited_for_with_others(end: FarEnd) -> None:
    assert os.readlink(f"/proc/self/fd/{end.following.fileno()}").startswith("socket:")


# --- what is no stream ------------------------------------------------------------------------------------


def test_the_end_of_the_engine_is_told(end: FarEnd) -> None:
    end.socket.close()
    with pytest.raises(EngineHungUpError, match="hung up"):
        list(end.following.take(1.0))


def test_what_came_before_its_end_is_given_first(end: FarEnd) -> None:
    end.socket.sendall(frame((ENDED, 7)))
    end.socket.close()
    assert list(end.following.take(1.0)) == [ChildEnded(7)]
    with pytest.raises(EngineHungUpError):
        list(end.following.take(1.0))


@given(ALMOST)
def test_another_shape_is_another_version(value: tuple[Any, ...]) -> None:
    with FarEnd() as end:
        try:
            (piece,) = end.take(frame(value))
        except EngineUnavailableError:
            return
    assert isinstance(piece, (Told, Missed, ChildEnded, Picture))


@pytest.mark.parametrize(
    "value",
    [
        ("what",),
        ("ptrace", 1, 2),
        (5,),
        (None, None),
        ((), 5),
        ("exec",),
        ("exec", 5, (), (), None, None),
        ("exec", 5, None, (), None, None),
        ("exec", 5, 7, (), None, None),
        ("exec", 5, facts.own(a_node()), None, None, None),
        ("exec", 5, facts.own(a_node()), (5,), None, None),
        ("exec", 5, facts.own(a_node()), ((1, 2),), None, None),
        ("exec", 5, facts.own(a_node())[:-1], (), None, None),
        event(a_node())[:-1],
        (*event(a_node()), None),
        (DROPPED,),
        (LOST,),
        (ENDED,),
        (PICTURE,),
        (PICTURE, (), (), (), (), ""),
        (PICTURE, ((),), (), (), (), ""),
        (PICTURE, (pack(some_stats())[:-1],), (), (), (), ""),
        (PICTURE, ((*pack(some_stats()), 1),), (), (), (), ""),
        a_picture()[:-1],
        (*a_picture(), 1),
        (*a_picture()[:2], ((1, 2),), (), (), ""),
        (*a_picture()[:2], (5,), (), (), ""),
        (*a_picture()[:2], (), ((1, 2),), (), ""),
        (*a_picture()[:4], ((1, 2),), ""),
        (*a_picture()[:2], ((1, 5, None, facts.own(a_node(1))),), ((1, 2),), (), ""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_not_told_by_this_version(end: FarEnd, value: tuple[Any, ...]) -> None:
    with pytest.raises(EngineUnavailableError, match="restart it with this version"):
        list(end.take(frame(value)))


@pytest.mark.parametrize(
    "data",
    [
        protocol.LENGTH.pack(protocol.FRAME_MAX + 1),
        protocol.LENGTH.pack(3) + b"\xff\xff\xff",
        protocol.LENGTH.pack(0),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=repr,
)
def test_garbage_is_no_engine(end: FarEnd, data: bytes) -> None:
    with pytest.raises(EngineUnavailableError):
        list(end.take(data))


def test_a_list_is_no_stream(end: FarEnd) -> None:
    content = marshal.dumps(["exec"], 2)
    with pytest.raises(EngineUnavailableError):
        list(end.take(protocol.LENGTH.pack(len(content)) + content))


# --- names of users ---------------------------------------------------------------------------------------


class TestToldUsers:
    def test_users_are_named_here(self) -> None:
        process = told_of(a_node(uid=0, birth_uid=65534)).freeze(ToldUsers())
        assert (process.user, process.birth_user, process.uid) == ("root", "nobody", 0)

    def test_a_user_that_is_not_known_has_a_number_or_nothing(self) -> None:
        view = ToldUsers()
        assert view.user(a_node(uid=None)) is None
        assert view.user(a_node(uid="alice")) == "alice"

    @pytest.mark.parametrize(("adopter_pid", "expected"), [(None, (1, None)), (77, (77, "subreaper"))])
    def test_the_present_parent_is_the_one_that_was_told(
        self, adopter_pid: int | None, expected: tuple[int, str | None]
    ) -> None:
        node = a_node(parent=a_node(1), adopter_pid=adopter_pid, exit_ns=5, exit_status=0)
        process = told_of(node, "exit", adopter="subreaper" if adopter_pid else None).freeze(ToldUsers())
        assert (process.ppid, process.current_ppid, process.current_parent) == (1, *expected)

    @pytest.mark.parametrize("exit_ns", [0, 5])
    def test_it_lives_where_no_end_was_told(self, exit_ns: int) -> None:
        process = told_of(a_node(exit_ns=exit_ns, exit_status=0 if exit_ns else None)).freeze(ToldUsers())
        assert (process.is_alive, process.exit_time_ns) == (not exit_ns, exit_ns or None)

    def test_a_name_that_is_not_known_is_none(self) -> None:
        assert told_of(a_node(cmd="", source=Source.FORK)).freeze(ToldUsers()).cmd is None
        assert told_of(a_node(cmd="", source=Source.COMM)).freeze(ToldUsers()).cmd == ""
