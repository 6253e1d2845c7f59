"""service/protocol.py and service/answers.py: what is asked, what is answered, and what is neither."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache import query
from proc_cache.engine.stats import CacheStats
from proc_cache.errors import (
    EngineRefusedError,
    EngineUnavailableError,
    MalformedFrameError,
    NobodyFoundError,
)
from proc_cache.lineage import lineages
from proc_cache.record import Record
from proc_cache.render.chain import walk_text
from proc_cache.selection import Selection, Target
from proc_cache.service import facts, protocol
from proc_cache.service.answers import Answers, refusal
from proc_cache.service.encoding import encode
from proc_cache.service.facts import ToldUsers
from proc_cache.service.protocol import (
    CHAIN,
    DESCENT,
    END,
    LINEAGES,
    OUTLINES,
    SNAPSHOT,
    STATS,
    VERSION,
    Request,
    frame,
    pack,
)
from proc_cache.times import Moment
from tests.helpers.calling import frames
from tests.helpers.story import Story
from tests.helpers.told import a_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = protocol.LENGTH.size
NARROW = Selection(
    "sh", "alice", Target(5, Moment(1, 2)), True, Moment(3, 4), Target(6), 2_000_000_000, True, 1, 2
)


def _with(**changed: Any) -> tuple[Any, ...]:
    """The shape of a selection, with these fields in it."""
    return tuple(
        changed.get(field, value) for field, value in zip(Selection._fields, pack(Selection()), strict=True)
    )


NO_SELECTIONS = [
    _with(cmd=5),
    _with(cmd="\ud800"),
    _with(under=5),
    _with(under="\ud800"),
    _with(under=(5,)),
    _with(under=("make", None)),
    _with(failed=None),
    _with(failed=1),
    _with(longer_than_ns=True),
    _with(longer_than_ns="1s"),
    _with(shorter_than_ns=True),
    _with(shorter_than_ns=(1,)),
    (*pack(Selection()), "(a+)+$"),
]


def request(kind: str, *arguments: object, pid: int = 7) -> Request:
    return protocol.read_request(protocol.write_request(pid, kind, *arguments)[HEAD:])


def receiving(*values: Any) -> Callable[[], bytes]:
    """An answer of these values."""
    return frames(iter([frame(value) for value in values]))


class TestRequests:
    def test_come_back(self) -> None:
        asked = request(CHAIN, 500, Moment(1, 2), pid=42)
        assert asked == Request(VERSION, 42, CHAIN, (500, (1, 2)))
        assert protocol.read_moment(asked.arguments[1]) == Moment(1, 2)

    @pytest.mark.parametrize(
        "selection", [Selection(), NARROW, Selection(under="\udcff|")], ids=["all", "narrow", "under a name"]
    )
    def test_a_selection_comes_back(self, selection: Selection) -> None:
        (argument,) = request(SNAPSHOT, selection).arguments
        assert protocol.read_selection(argument) == selection

    def test_the_length_stands_before_it(self) -> None:
        data = protocol.write_request(7, STATS)
        assert protocol.LENGTH.unpack(data[:HEAD]) == (len(data) - HEAD,)

    def test_the_longest_that_a_command_line_gives_fits(self) -> None:
        longest = Selection("x" * 4096, "y" * 4096, "z" * 4096, True, Moment(0, 1), Target(1), 1, True, 1, 1)
        assert len(protocol.write_request(7, SNAPSHOT, longest)) <= protocol.REQUEST_MAX

    @pytest.mark.parametrize(
        "value",
        [
            None,
            5,
            (),
            (VERSION,),
            (VERSION, 7),
            (VERSION, 7, CHAIN),
            (VERSION, 7, CHAIN, (), None),
            (VERSION, 7, 5, ()),
            (VERSION, 7, b"chain", ()),
            (VERSION, 7, CHAIN, None),
            (VERSION, 7, CHAIN, "500"),
            (VERSION, None, CHAIN, ()),
            (VERSION, True, CHAIN, ()),
            (True, 7, CHAIN, ()),
            ("1", 7, CHAIN, ()),
        ],
        ids=repr,
    )
    def test_is_no_request(self, value: Any) -> None:
        with pytest.raises(MalformedFrameError):
            protocol.read_request(encode(value))

    @pytest.mark.parametrize("rest", [(), ("another", "shape"), (CHAIN, (1, None))], ids=repr)
    def test_another_version_is_read_as_far_as_every_version_has_it(self, rest: tuple[Any, ...]) -> None:
        asked = protocol.read_request(encode((VERSION + 1, 7, *rest)))
        assert (asked.version, asked.client_pid) == (VERSION + 1, 7)

    @pytest.mark.parametrize("value", [-1, True, None, "5", b"5", (5,)], ids=repr)
    def test_is_no_pid(self, value: Any) -> None:
        with pytest.raises(MalformedFrameError):
            protocol.read_pid(value)

    @pytest.mark.parametrize("value", [None, 5, b"sh", ("sh",)], ids=repr)
    def test_is_no_text(self, value: Any) -> None:
        with pytest.raises(MalformedFrameError):
            protocol.read_text(value)

    @pytest.mark.parametrize("value", [5, "now", (), (1,), (1, 2, 3), (1, None), (True, 2), ("1", 2)], ids=repr)
    def test_is_no_moment(self, value: Any) -> None:
        with pytest.raises(MalformedFrameError):
            protocol.read_moment(value)

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            (0, 5),
            (0, b"sh"),
            (1, ("alice",)),
            (2, 5),
            (2, (5,)),
            (2, (-5, None)),
            (2, (True, None)),
            (2, (5, 6)),
            (2, (5, (6,))),
            (3, 1),
            (3, None),
            (4, (1, 2, 3)),
            (4, "now"),
            (5, (None, None)),
            (6, None),
            (6, True),
            (6, "2s"),
        ],
    )
    def test_is_no_selection(self, place: int, value: Any) -> None:
        fields = list(protocol.pack(NARROW))
        fields[place] = value
        with pytest.raises(MalformedFrameError):
            protocol.read_selection(tuple(fields))

    def test_a_selection_has_all_its_fields(self) -> None:
        fields = protocol.pack(NARROW)
        for value in (fields[:-1], (*fields, None), (), None, "all"):
            with pytest.raises(MalformedFrameError):
                protocol.read_selection(value)


class TestReadAnswer:
    def test_ok(self) -> None:
        told = (facts.own(a_node(cmd="\udcff|;", cmdline=b"\xff\0\0", uid=None)), 7, "\udcfe", 5)
        head, processes = protocol.read_answer(receiving(("ok", 1, "x"), told, END))
        assert head == (1, "x")
        assert list(processes) == [told]

    def test_processes_are_given_as_they_come(self) -> None:
        first = (facts.own(a_node()), None, None, 5)

        def fed() -> Iterator[bytes]:
            yield frame(("ok",))
            yield frame(first)
            raise AssertionError("it was read ahead")

        _, processes = protocol.read_answer(frames(fed()))
        assert next(processes) == first

    @pytest.mark.parametrize("may_exist", [True, False])
    def test_nobody(self, may_exist: bool) -> None:
        with pytest.raises(NobodyFoundError, match="no process 5") as caught:
            protocol.read_answer(receiving(("nobody", "no process 5", may_exist)))
        assert caught.value.may_exist is may_exist

    def test_refused(self) -> None:
        with pytest.raises(EngineRefusedError, match="not you"):
            protocol.read_answer(receiving(("refused", "not you")))
        with pytest.raises(EngineRefusedError, match="not you"):
            protocol.read_answer(frames(iter([refusal("not you")])))

    @pytest.mark.parametrize("head", [("nobody",), ("refused",), ("what",), (), None, 5, "ok", END], ids=repr)
    def test_is_no_answer(self, head: Any) -> None:
        with pytest.raises(EngineUnavailableError):
            protocol.read_answer(receiving(head))

    @pytest.mark.parametrize("value", [None, 5, (), ("end", 1), (1, 2, 3)], ids=repr)
    def test_is_no_process(self, value: Any) -> None:
        _, told = protocol.read_answer(receiving(("ok",), value))
        with pytest.raises(EngineUnavailableError):
            facts.read_described(next(told), ToldUsers())

    @pytest.mark.parametrize(
        "value", [None, (), END[:0], (1, None, True), (1, None, True, None), (1,) * 5], ids=repr
    )
    def test_is_nothing_in_its_place(self, value: Any) -> None:
        _, told = protocol.read_answer(receiving(("ok",), value))
        with pytest.raises(EngineUnavailableError):
            facts.read_placed(next(told), ToldUsers())

    def test_when_the_machine_booted_is_what_the_engine_says(self) -> None:
        told = (facts.own(a_node()), None, None, 5)
        assert facts.read_described(told, ToldUsers()).booted_ns == 5

    def test_a_process_of_another_version_says_what_to_do(self) -> None:
        longer = ((*facts.own(a_node()), "new"), None, None, 5)
        with pytest.raises(EngineUnavailableError, match="restart"):
            facts.read_described(longer, ToldUsers())


# --- answers ------------------------------------------------------------------------------------------------


class Figures(Record):
    forks: int
    is_exact: bool
    ratio: float
    caches: tuple[CacheStats, ...]


@pytest.fixture
def story() -> Story:
    """PID 1, a shell 10 of alice that forked 11, and 11 has exited with 3."""
    story = Story()
    story.fork(0, 1)
    story.comm(1, b"systemd")
    story.fork(1, 10)
    story.comm(10, b"shell")
    story.uid(10, 1000)
    story.fork(10, 11)
    story.comm(11, b"\xff\xfe")
    story.exit(11, status=3 << 8)
    story.view.since_ns = story.now_ns
    return story


@pytest.fixture
def answers(story: Story) -> Answers:
    figures = [Figures(5, True, 0.5, ()), Figures(7, False, 0.5, ())]
    return Answers(story.view, lambda: figures[:1], [])


def answered(answers: Answers, asked: Request) -> tuple[tuple[Any, ...], list[Any]]:
    """Put an answer together as the client does, with the users of the story."""
    head, told = protocol.read_answer(frames(answers.to(asked)))
    users = ToldUsers(answers._view.users)
    return head, [facts.read_described(value, users) for value in told]


class TestAnswers:
    def test_a_chain_is_the_engines_own(self, story: Story, answers: Answers) -> None:
        head, links = answered(answers, request(CHAIN, 11, None))
        chain = protocol.read_chain(head, links)
        assert chain == query.chain(story.view, 11)
        assert [link.cmd for link in chain.links] == ["\udcff\udcfe", "shell", "systemd"]
        assert (chain.links[0].exit_code, chain.links[1].user) == (3, "alice")

    def test_a_chain_of_nobody_has_no_links_and_a_reason(self, story: Story, answers: Answers) -> None:
        head, links = answered(answers, request(CHAIN, 99, None))
        chain = protocol.read_chain(head, links)
        assert chain == query.chain(story.view, 99)
        assert (chain.complete, chain.links, chain.missing_pid) == (False, (), 99)
        assert chain.reason

    def test_outlines_are_the_engines_own(self, story: Story, answers: Answers) -> None:
        targets: tuple[Any, ...] = (11, 10, 99, (11, (0, 1 << 62)), 11, 1)
        _, told = protocol.read_answer(frames(answers.to(request(OUTLINES, targets))))
        reading = facts.OutlinesRead()
        outlines = [outline for value in told for outline in reading.read(value)]
        users = ToldUsers(answers._view.users)
        for outline, target in zip(outlines, targets, strict=True):
            pid, moment = (target, None) if isinstance(target, int) else (target[0], Moment(*target[1]))
            own = query.outline(story.view, pid, moment)
            assert outline.chain == own.chain
            assert walk_text(users, outline.walked) == walk_text(story.view, own.walked)

    def test_each_process_is_told_once(self, answers: Answers) -> None:
        _, told = protocol.read_answer(frames(answers.to(request(OUTLINES, tuple([11, 10, 1] * 33)))))
        assert [pid for nodes, _ in told for pid, *_ in nodes] == [1, 10, 11]

    @pytest.mark.parametrize("is_strict", [True, False])
    @pytest.mark.parametrize("cmd", ["systemd", "shell", "\udcff\udcfe", "nobody"])
    def test_a_descent_is_the_engines_own(self, story: Story, answers: Answers, cmd: str, is_strict: bool) -> None:
        (verdict, chain_head), links = answered(answers, request(DESCENT, 11, cmd, is_strict, None))
        descent = query.Verdict(*verdict).of(protocol.read_chain(chain_head, links), cmd)
        assert descent == query.descent(story.view, 11, cmd, is_strict=is_strict)
        assert descent.descendant is (cmd in ("systemd", "shell") or (cmd == "\udcff\udcfe" and not is_strict))

    @pytest.mark.parametrize(
        ("selection", "pids"),
        [
            (Selection(), {1, 10}),
            (Selection(with_dead=True), {1, 10, 11}),
            (Selection(cmd="shell"), {10}),
            (Selection(user="alice"), {10}),
            (Selection(user="1000"), {10}),
            (Selection(under=Target(10), with_dead=True), {10, 11}),
            (Selection(cmd="none"), set()),
            (Selection(around=Target(10), within_ns=0), {10}),
            (Selection(under="shell", with_dead=True), {10, 11}),
            (Selection(failed=True, with_dead=True), {11}),
            (Selection(longer_than_ns=0), {1, 10}),
            (Selection(shorter_than_ns=10**12, with_dead=True), {11}),
        ],
        ids=repr,
    )
    def test_a_snapshot_is_of_the_selected(self, answers: Answers, selection: Selection, pids: set[int]) -> None:
        head, processes = answered(answers, request(SNAPSHOT, selection))
        assert head == ()
        assert {process.pid for process in processes} == pids
        assert len(processes) == len(pids)

    @pytest.mark.parametrize(
        "selection",
        [
            Selection(under=Target(99)),
            Selection(around=Target(99)),
            Selection(under=Target(10, Moment(0, 1))),
            Selection(under="nobody"),
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("kind", [SNAPSHOT, LINEAGES])
    def test_a_snapshot_around_nobody(self, answers: Answers, kind: str, selection: Selection) -> None:
        with pytest.raises(NobodyFoundError) as caught:
            answered(answers, request(kind, selection))
        assert caught.value.may_exist is (selection.under == Target(10, Moment(0, 1)))

    @pytest.mark.parametrize(
        "selection",
        [Selection(cmd="shell"), Selection(under="shell", with_dead=True), Selection(cmd="x")],
        ids=repr,
    )
    def test_lineages_are_the_engines_own(self, story: Story, answers: Answers, selection: Selection) -> None:
        _, told = protocol.read_answer(frames(answers.to(request(LINEAGES, selection))))
        placed = [facts.read_placed(value, ToldUsers(story.view.users)) for value in told]
        assert placed == list(lineages(story.view, selection))

    def test_a_search_for_a_name_is_made_in_steps(self, story: Story, answers: Answers) -> None:
        """Between two steps the server looks for execs: a name that is read late is lost."""
        for pid in range(100, 200):
            story.fork(1, pid)
        pieces = list(answers.to(request(SNAPSHOT, Selection(under="nobody"))))
        assert len(pieces) > 100
        assert not any(pieces[:-1])

    def test_figures_are_the_whole_numbers(self, answers: Answers) -> None:
        (names, values), rest = answered(answers, request(STATS))
        assert dict(zip(names, values, strict=True)) == {"forks": 5, "is_exact": True}
        assert rest == []

    def test_another_version_is_refused_with_both(self, answers: Answers) -> None:
        with pytest.raises(EngineRefusedError, match=f"{VERSION}, not 99.*restart"):
            answered(answers, protocol.read_request(encode((99, 7, "whatever"))))

    @pytest.mark.parametrize(
        ("kind", "arguments"),
        [
            ("", ()),
            ("exec", (1,)),
            ("__init__", ()),
            ("_stats", ()),
            (CHAIN, ()),
            (CHAIN, (1,)),
            (CHAIN, (1, None, None)),
            (CHAIN, ("1", None)),
            (CHAIN, (-1, None)),
            (CHAIN, (None, None)),
            (CHAIN, (1, 5)),
            (DESCENT, (1, "sh", True)),
            (DESCENT, (1, None, True, None)),
            (DESCENT, (1, b"sh", True, None)),
            (SNAPSHOT, ()),
            (SNAPSHOT, (None,)),
            (SNAPSHOT, ((),)),
            (SNAPSHOT, ((None,) * 7,)),
            (SNAPSHOT, ((None,) * len(Selection._fields),)),
            (LINEAGES, ()),
            (LINEAGES, (None,)),
            *((kind, (shape,)) for kind in (SNAPSHOT, LINEAGES) for shape in NO_SELECTIONS),
            (STATS, (1,)),
            (OUTLINES, ()),
            (OUTLINES, (5,)),
            (OUTLINES, (("5",),)),
            (OUTLINES, ((-5,),)),
            (OUTLINES, ((True,),)),
            (OUTLINES, ((None,),)),
            (OUTLINES, (((5, 6),),)),
            (OUTLINES, (((5, (1,)),),)),
            (OUTLINES, ((5,) * 101,)),
        ],
        ids=repr,
    )
    def test_is_no_question(self, answers: Answers, kind: str, arguments: tuple[Any, ...]) -> None:
        with pytest.raises(MalformedFrameError):
            list(answers.to(Request(VERSION, 7, kind, arguments)))

    @pytest.mark.parametrize("pid", [0, 1 << 31, 1 << 64, 10**37])
    def test_a_pid_that_nobody_can_have(self, answers: Answers, pid: int) -> None:
        head, links = answered(answers, request(CHAIN, pid, None))
        assert links == []
        assert head[1] is False  # complete

    @pytest.mark.parametrize("moment", [(0, 0), (10**37, 10**37), (-(10**36), 10**37), (5, -5)], ids=repr)
    def test_a_moment_that_nobody_means(self, answers: Answers, moment: tuple[int, int]) -> None:
        for kind, arguments in ((CHAIN, (10, moment)), (DESCENT, (10, "sh", False, moment))):
            answered(answers, Request(VERSION, 7, kind, arguments))

    @pytest.mark.parametrize("name", ["\ud800", "x\udc7f", "\udfff" * 20], ids=ascii)
    def test_a_name_that_no_process_can_have(self, answers: Answers, name: str) -> None:
        """No command line gives it; whoever writes to the socket does."""
        for asked in (request(DESCENT, 10, name, False, None), request(SNAPSHOT, Selection(cmd=name))):
            with suppress(MalformedFrameError):
                list(answers.to(asked))
