"""render/live_tree.py: the newest programs below who started them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from proc_cache.query import Walk
from proc_cache.render.glyphs import UNICODE
from proc_cache.render.live_tree import tree_lines
from proc_cache.service.facts import Told
from tests.helpers.frames import family, program
from tests.helpers.told import a_node

if TYPE_CHECKING:
    from proc_cache.process import Node


def shape(programs: list[Told], room: int = 100) -> list[str]:
    """Each line: branches, who shares it, the process; a program has a star."""
    return [
        line.branch + "/".join(node.cmd for node in (*line.above, line.node)) + ("*" if line.told else "")
        for line in tree_lines(programs, room, UNICODE)
    ]


def test_one_that_is_alone_has_its_chain_on_one_line() -> None:
    assert shape([program(family("systemd", "cron", "sh", "run-parts")[-1])]) == ["systemd/cron/sh/run-parts*"]


def test_siblings_stand_below_who_started_them_the_newest_first() -> None:
    _, agent, shell = family("systemd", "agent", "sh")
    greps = [a_node(10 + number, shell, cmd=f"grep-{number}") for number in range(3)]
    other = a_node(20, agent, cmd="git")
    assert shape([program(node) for node in (greps[2], other, greps[1], greps[0])]) == [
        "systemd/agent",
        "├─ sh",
        "│  ├─ grep-2*",
        "│  ├─ grep-1*",
        "│  └─ grep-0*",
        "└─ git*",
    ]


@pytest.mark.parametrize("is_parent_newer", [True, False])
def test_a_program_that_started_another_has_a_line_of_its_own(is_parent_newer: bool) -> None:
    _, shell, child = family("systemd", "sh", "ls")
    programs = [program(shell), program(child)]
    assert shape(programs if is_parent_newer else programs[::-1]) == ["systemd/sh*", "└─ ls*"]


def test_processes_without_a_common_ancestor() -> None:
    assert shape(
        [program(family("systemd", "sh")[-1]), program(family("kthreadd", "kworker", first_pid=2)[-1])]
    ) == [
        "systemd/sh*",
        "kthreadd/kworker*",
    ]


def test_a_parent_that_is_not_known_stands_at_its_root() -> None:
    first, second = family("sh", "ls", first_pid=10)
    (line,) = tree_lines([Told(object, 1, Walk((second, first), None, 77), None)], 10, UNICODE)
    assert (line.missing_pid, line.walked.nodes, line.walked.missing_pid) == (77, (second, first), 77)


def test_each_line_knows_the_chain_of_its_process() -> None:
    _, shell, child = family("systemd", "sh", "ls")
    lines = tree_lines([program(child), program(shell)], 10, UNICODE)
    assert [[node.cmd for node in line.walked.nodes] for line in lines] == [
        ["sh", "systemd"],
        ["ls", "sh", "systemd"],
    ]


def test_a_deep_ladder_is_drawn() -> None:
    nodes = family(*(f"rung-{number}" for number in range(3000)))
    lines = tree_lines([program(node) for node in reversed(nodes[::2])], 10_000, UNICODE)
    assert len(lines) == 1500
    assert max(len(line.branch) for line in lines) < 60


@pytest.mark.parametrize("seed", range(30))
def test_it_has_as_many_of_the_newest_as_there_is_room_for(seed: int) -> None:
    chance = random.Random(seed)
    nodes: list[Node] = [a_node(1)]
    for pid in range(2, 60):
        nodes.append(a_node(pid, chance.choice(nodes[-8:])))
    programs = [program(node) for node in chance.sample(nodes, 30)]
    for room in (0, 1, 2, 5, 17, 100):
        lines = tree_lines(programs, room, UNICODE)
        assert len(lines) <= room
        shown = [line.told for line in lines if line.told]
        assert {id(told) for told in shown} == {id(told) for told in programs[: len(shown)]}  # the newest
        if len(shown) < len(programs):  # and no more had room
            assert len(tree_lines(programs[: len(shown) + 1], 1000, UNICODE)) > room
