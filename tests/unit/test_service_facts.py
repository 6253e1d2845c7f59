"""service/facts.py: a process on its way through a stream, whole, and as it was at the event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache.errors import EngineUnavailableError
from proc_cache.events import Fork
from proc_cache.process import Node, _Rare, is_cmdline_cut, known_name, pack_cost
from proc_cache.service import facts
from proc_cache.service.protocol import frame, read_frame
from tests.helpers.told import FIELDS, OPTIONAL, a_node, facts_of, nodes

HEAD = 4


def through(value: tuple[Any, ...]) -> Any:
    """What the other end reads."""
    return read_frame(frame(value)[HEAD:])


@given(nodes())
def test_every_fact_comes_back(node: Node) -> None:
    walked = facts.WalksRead().read(through(facts.own(node)), (), None)
    (read,) = walked.nodes
    assert facts_of(read) == facts_of(node)
    assert {name: type(value) for name, value in facts_of(read).items()} == {
        name: type(value) for name, value in facts_of(node).items()
    }


@given(st.lists(nodes(), min_size=1, max_size=4), OPTIONAL)
def test_a_family_comes_back(family: list[Node], missing_pid: int | None) -> None:
    node, *above = family
    told = through((facts.own(node), tuple(map(facts.ancestor, above)), missing_pid))
    walked = facts.WalksRead().read(*told)
    assert walked.missing_pid == missing_pid
    assert facts_of(walked.nodes[0]) == facts_of(node)
    for read, sent in zip(walked.nodes, family, strict=True):
        assert (read.pid, read.ppid, read.uid, read.left_out) == (sent.pid, sent.ppid, sent.uid, sent.left_out)
        assert (known_name(read), read.source) == (known_name(sent), sent.source)
        assert (read.ppid_source, read.place) == (sent.ppid_source, sent.place)
    assert [read.parent for read in walked.nodes] == [*walked.nodes[1:], None]


@given(nodes())
def test_before_its_end_nothing_of_the_end_is_known(node: Node) -> None:
    (read,) = facts.WalksRead().read(facts.own_before_its_end(node), (), None).nodes
    of_the_end = {"adopter_pid": None, "exit_ns": 0, "exit_status": None, "cost": None}
    assert facts_of(read) == facts_of(node) | of_the_end


def test_facts_are_those_of_the_moment() -> None:
    node = a_node(cmd="sh")
    told = facts.own(node)
    node.cmd, node.exit_ns, node.uid, node.cost = "later", 5, 1000, pack_cost(1, 2, 3, 4)
    (read,) = facts.WalksRead().read(told, (), None).nodes
    assert (read.cmd, read.exit_ns, read.uid, read.cost) == ("sh", 0, 0, None)


@pytest.mark.parametrize("size", [0, 9, 10, 50, 100_000])
def test_of_arguments_so_much_is_told(size: int) -> None:
    (read,) = facts.WalksRead().read(facts.own(a_node(cmdline=b"x" * size), 10), (), None).nodes
    assert read.cmdline is not None
    assert len(read.cmdline) <= 20
    assert is_cmdline_cut(read.cmdline) == (size > 20)


@pytest.mark.parametrize("change", [-1, 1])
def test_another_number_of_facts_is_another_version(change: int) -> None:
    own, above = facts.own(a_node()), facts.ancestor(a_node())
    for told, ancestors in ((_other(own, change), (above,)), (own, (above, _other(above, change)))):
        with pytest.raises(EngineUnavailableError, match="restart it"):
            facts.WalksRead().read(told, ancestors, None)


def _other(told: tuple[Any, ...], change: int) -> tuple[Any, ...]:
    return told[:change] if change < 0 else (*told, None)


def test_each_fact_of_a_node_is_told_or_of_the_engine_alone() -> None:
    """What is added to a node has to be told too, or named here."""
    of_the_engine = {"children", "parent", "previous", "rare", "recorded_as"}
    assert set(Node.__slots__) | set(_Rare.__slots__) == set(FIELDS) | of_the_engine


@given(st.lists(nodes(), min_size=2, max_size=4))
def test_an_ancestor_can_be_told_whole(family: list[Node]) -> None:
    node, *above = family
    walked = facts.WalksRead().read(*through((facts.own(node), tuple(map(facts.own, above)), None)))
    assert [facts_of(read) for read in walked.nodes] == [facts_of(sent) for sent in family]
    assert [read.parent for read in walked.nodes] == [*walked.nodes[1:], None]


@given(st.lists(st.lists(nodes(), min_size=1, max_size=3), min_size=2, max_size=4))
def test_who_is_told_with_the_same_ancestors_has_the_same_above_it(families: list[list[Node]]) -> None:
    reading = facts.WalksRead()
    for family in [*families, *families]:
        told = through((facts.own(family[0]), tuple(map(facts.ancestor, family[1:])), None))
        walked, alone = reading.read(*told), facts.WalksRead().read(*told)
        assert [facts_of(read) for read in walked.nodes] == [facts_of(read) for read in alone.nodes]
        again = reading.read(*told)
        assert again.nodes[0] is not walked.nodes[0]
        assert all(first is second for first, second in zip(again.nodes[1:], walked.nodes[1:], strict=True))


def test_whose_ancestors_differ_in_one_fact_or_in_who_is_missing_has_others_above_it() -> None:
    reading, own = facts.WalksRead(), facts.own(a_node())
    above = facts.ancestor(a_node(cmd="sh"))
    first = reading.read(own, (above,), 5)
    renamed = reading.read(own, (facts.ancestor(a_node(cmd="bash")),), 5)
    assert (first.nodes[1].cmd, renamed.nodes[1].cmd) == ("sh", "bash")
    assert reading.read(own, (above,), None).nodes[1] is not first.nodes[1]


@given(st.lists(st.lists(nodes(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_links_of_walks_that_share_ancestors_are_frozen_as_alone(families: list[list[Node]]) -> None:
    users, reading = facts.ToldUsers(), facts.WalksRead()
    frozen = facts.LinksFrozen(users)
    for family in [*families, *families]:
        walked = reading.read(*through((facts.own(family[0]), tuple(map(facts.ancestor, family[1:])), None)))
        told = facts.Told(Fork, 5, walked, "adopter")
        above = [users.freeze_as_told(node) for node in walked.nodes[1:]]
        assert frozen.links(told) == [users.freeze_as_told(walked.nodes[0], "adopter"), *above]
