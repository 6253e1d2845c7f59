"""selection.py: the same narrowing in every command."""

from __future__ import annotations

import pytest

from proc_cache.errors import NobodyFoundError
from proc_cache.process import Node, Source
from proc_cache.selection import Selection, Target, is_under, select
from tests.helpers.story import Story


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
