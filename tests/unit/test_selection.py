"""selection.py: the same narrowing in every command."""

from __future__ import annotations

import pytest

from proc_cache.errors import NobodyFoundError
from proc_cache.process import Node, Source
from proc_cache.selection import Chooser, Selection, Target, check_top, is_under, select
from tests.helpers.story import SECOND_NS, Story


@pytest.fixture
def story() -> Story:
    """10 -> 11 -> 12, of root, alice and a user without a name."""
    told = Story()
    for pid, uid, name in ((10, 0, b"sshd"), (11, 1000, b"bash"), (12, 1001, b"touch")):
        told.fork(pid - 1, pid)
        told.uid(pid, uid)
        told.comm(pid, name)
    return told


def chosen(story: Story, selection: Selection) -> set[int]:
    return {node.pid for node in select(story.view, selection)}


@pytest.mark.parametrize(
    ("selection", "pids"),
    [
        (Selection(), {10, 11, 12}),
        (Selection(cmd="bash"), {11}),
        (Selection(cmd="bas"), set()),
        (Selection(user="root"), {10}),
        (Selection(user="0"), {10}),
        (Selection(user="1000"), {11}),
        (Selection(user="alice"), {11}),
        (Selection(user="nobody"), set()),
        (Selection(under=Target(11)), {11, 12}),
        (Selection(cmd="touch", user="bob", under=Target(10)), {12}),
        (Selection(cmd="touch", user="alice", under=Target(10)), set()),
        (Selection(under="bash"), {11, 12}),
        (Selection(under="bash", cmd="touch"), {12}),
        (Selection(under="sshd", user="bob"), {12}),
    ],
)
def test_narrowing(story: Story, selection: Selection, pids: set[int]) -> None:
    assert chosen(story, selection) == pids


def test_a_name_that_is_the_last_known_is_shown(story: Story) -> None:
    story.exec(11)  # unread: it was bash
    assert chosen(story, Selection(cmd="bash")) == {11}
    assert chosen(story, Selection(cmd="ls")) == set()


def test_an_unknown_user_is_nobody() -> None:
    story = Story()
    story.fork(1, 10)
    assert chosen(story, Selection(user="root")) == set()
    assert chosen(story, Selection(user="unknown")) == set()


def test_under_the_dead(story: Story) -> None:
    story.exit(10)
    story.exit(11)
    assert chosen(story, Selection(under=Target(10))) == {12}
    assert chosen(story, Selection(under=Target(10), with_dead=True)) == {10, 11, 12}


def test_under_nobody(story: Story) -> None:
    with pytest.raises(NobodyFoundError, match="no process 99") as caught:
        chosen(story, Selection(under=Target(99)))
    assert not caught.value.may_exist


def test_under_ends_in_a_cycle_made_by_hand() -> None:
    story = Story()
    for pid, ppid in ((10, 11), (11, 10)):
        story.table.add(Node(pid, 0, ppid, Source.MANUAL, None, "x", Source.MANUAL, 0))
    assert not is_under(story.view, story.node(10), Node(99, 0, 0, Source.MANUAL, None, "x", Source.MANUAL, 0))
    assert is_under(story.view, story.node(10), story.node(11))


# --- under a name -----------------------------------------------------------------------------------------


def test_under_every_process_of_a_name(story: Story) -> None:
    story.fork(1, 20)
    story.comm(20, b"bash")
    story.fork(20, 21)
    assert chosen(story, Selection(under="bash")) == {11, 12, 20, 21}


def test_under_a_name_that_only_the_dead_have(story: Story) -> None:
    story.exit(11)
    assert chosen(story, Selection(under="bash")) == {12}
    assert chosen(story, Selection(under="bash", with_dead=True)) == {11, 12}


def test_under_a_name_that_nobody_has(story: Story) -> None:
    with pytest.raises(NobodyFoundError, match="no process is named 'bas' now") as caught:
        select(story.view, Selection(under="bas"))
    assert not caught.value.may_exist


def test_under_a_name_that_may_come(story: Story) -> None:
    """A stream begins all the same."""
    chooser = Chooser(story.view, Selection(under="make"))
    assert not chooser.has(story.node(12))
    story.comm(11, b"make")
    assert chooser.has(story.node(12))


def test_under_a_name_that_is_there_though_nothing_is_chosen(story: Story) -> None:
    check_top(story.view, Selection(under="bash", cmd="no-such-name"))
    assert chosen(story, Selection(under="bash", cmd="no-such-name")) == set()


@pytest.mark.parametrize(
    ("cmdline", "full_name", "is_named"),
    [
        (b"victoria-metrics-prod\0", None, True),
        (b"/bin/sh\0/usr/bin/victoria-metrics-prod\0", None, True),
        (b"x\0", "victoria-metrics-prod", True),
        (b"victoria-metrics-test\0", None, False),
    ],
)
@pytest.mark.parametrize("filters", [{"cmd": "victoria-metrics-prod"}, {"under": "victoria-metrics-prod"}])
def test_a_name_longer_than_the_kernels(
    story: Story, cmdline: bytes, full_name: str | None, is_named: bool, filters: dict[str, str]
) -> None:
    story.comm(12, b"victoria-metric")
    story.node(12).cmdline, story.node(12).full_name = cmdline, full_name
    chooser = Chooser(story.view, Selection(**filters))  # type: ignore[arg-type]
    assert [node.pid for node in story.table.nodes() if chooser.has(node)] == ([12] if is_named else [])


def test_a_name_that_the_kernel_cut_in_the_middle_of_a_character(story: Story) -> None:
    name = "fourteen-bytesä-and-more"
    story.comm(12, name.encode()[:15])
    story.node(12).cmdline = name.encode() + b"\0"
    assert chosen(story, Selection(cmd=name)) == {12}


# --- how it went ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "is_failed"), [(0, False), (3 << 8, True), (9, True), (0x8B, True), (None, False)]
)
def test_what_failed(story: Story, status: int | None, is_failed: bool) -> None:
    story.exit(12, status=status or 0)
    story.node(12).exit_status = status  # None: its end was not seen
    assert chosen(story, Selection(failed=True, with_dead=True)) == ({12} if is_failed else set())


def test_what_lives_has_not_failed(story: Story) -> None:
    assert chosen(story, Selection(failed=True)) == set()


@pytest.mark.parametrize(
    ("filters", "pids"),
    [
        ({"longer_than_ns": 100 * SECOND_NS}, {10, 11}),
        ({"longer_than_ns": 10 * SECOND_NS}, {10, 11, 12}),
        ({"longer_than_ns": 11 * SECOND_NS}, {10, 11}),
        ({"shorter_than_ns": 12 * SECOND_NS}, {12}),
        ({"shorter_than_ns": 11 * SECOND_NS}, set()),
        ({"shorter_than_ns": 1000 * SECOND_NS}, {12}),
        ({"longer_than_ns": 10 * SECOND_NS, "shorter_than_ns": 12 * SECOND_NS}, {12}),
        ({"longer_than_ns": 0, "failed": True}, {12}),
    ],
)
def test_how_long_it_ran(story: Story, filters: dict[str, int], pids: set[int]) -> None:
    """12 ran for 11 s and ended; the others live for longer than 100 s now."""
    node = story.node(12)
    story.exit(12, status=256, at_ns=node.start_ns + 11 * SECOND_NS)
    story.wait(100)
    assert chosen(story, Selection(with_dead=True, **filters)) == pids  # type: ignore[arg-type]


@pytest.mark.parametrize("filters", [{"longer_than_ns": 0}, {"shorter_than_ns": 10**18}])
def test_a_run_time_that_is_not_known_is_no_match(story: Story, filters: dict[str, int]) -> None:
    story.exit(777)  # whose birth was not seen
    story.exit(12)
    story.node(12).exit_status = None  # its end was noticed, nobody knows when it was
    found = chosen(story, Selection(with_dead=True, **filters))  # type: ignore[arg-type]
    assert not found & {777, 12}


@pytest.mark.parametrize(
    ("selection", "is_narrow", "is_about_ends", "is_about_the_dead"),
    [
        (Selection(), False, False, False),
        (Selection(with_dead=True), False, False, False),
        (Selection(cmd="x"), True, False, False),
        (Selection(user="x"), True, False, False),
        (Selection(under="x"), True, False, False),
        (Selection(around=Target(1)), True, False, False),
        (Selection(failed=True), True, True, True),
        (Selection(shorter_than_ns=0), True, True, True),
        (Selection(longer_than_ns=0), True, True, False),
    ],
    ids=repr,
)
def test_what_a_selection_is_about(
    selection: Selection, is_narrow: bool, is_about_ends: bool, is_about_the_dead: bool
) -> None:
    told = selection.is_narrow, selection.is_about_ends, selection.is_about_the_dead
    assert told == (is_narrow, is_about_ends, is_about_the_dead)
