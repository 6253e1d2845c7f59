"""service/spawners.py: who starts most, the dead between counted, each birth once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from proc_cache.process import Source
from proc_cache.service import spawners
from proc_cache.service.spawners import Spawners
from tests.helpers.story import SECOND_NS
from tests.helpers.told import a_node

if TYPE_CHECKING:
    from proc_cache.process import Node

NOW_NS = 1000 * SECOND_NS


class World:
    """Processes that fork, run programs and end, at a time moved by hand."""

    def __init__(self) -> None:
        self.now_ns = NOW_NS
        self.counted = Spawners()
        self.pid = 100
        self.init = a_node(1, cmd="systemd", start_ns=1)

    def start(self, parent: Node, name: str, *, ran: bool = True) -> Node:
        self.pid += 1
        node = a_node(self.pid, parent, cmd=name, start_ns=self.now_ns)
        self.counted.born(node)
        if ran:
            self.counted.ran(node)
        return node

    def end(self, node: Node) -> None:
        node.exit_ns = self.now_ns

    def told(self) -> tuple[spawners.Told, ...]:
        pieces = list(self.counted.digest(self.now_ns))
        assert all(piece is None for piece in pieces[:-1])
        assert pieces[-1] is not None
        return pieces[-1]


@pytest.fixture
def world() -> World:
    return World()


def test_the_dead_between_are_counted_under_who_lasts(world: World) -> None:
    """3,666 ast-grep, started by 94 short-lived sh, all under 1204 agent."""
    agent = world.start(world.start(world.init, "sshd"), "agent")
    world.now_ns += 100 * SECOND_NS
    for _ in range(94):
        shell = world.start(agent, "sh")
        for _ in range(39):
            world.end(world.start(shell, "ast-grep"))
        world.end(shell)
    first = world.told()[0]
    assert first == (agent.pid, "agent", True, 94 * 40, "ast-grep", 94 * 39, "sh", 94, 94 * 39)
    assert world.told()[0] == first  # what is folded is counted once
    assert len(world.counted._tallies) < 6


def test_each_birth_is_on_one_line(world: World) -> None:
    services = [world.start(world.init, name) for name in ("cron", "sshd", "dockerd")]
    world.now_ns += 100 * SECOND_NS
    for number, service in enumerate(services):
        for _ in range(10 * (number + 1)):
            world.end(world.start(service, f"child-{number}"))
    told = world.told()
    assert [(name, births) for _, name, _, births, *_ in told] == [
        ("dockerd", 30),
        ("sshd", 20),
        ("cron", 10),
        ("systemd", 3),
    ]
    assert told[0][6:] == (None, 0, 0)  # it started them itself


def test_of_those_that_live_the_deepest_that_has_most_of_it(world: World) -> None:
    """Though it has just been started."""
    shell = world.start(world.init, "bash")
    world.now_ns += 100 * SECOND_NS
    make = world.start(shell, "make")
    for _ in range(50):
        world.end(world.start(make, "cc1"))
    assert world.told()[0][:4] == (make.pid, "make", True, 50)
    world.end(make)  # it lived for a moment: who started it answers
    assert world.told()[0][:4] == (shell.pid, "bash", True, 51)
    assert world.told()[0][6:] == ("make", 1, 50)


def test_who_lasted_is_named_after_its_end(world: World) -> None:
    make = world.start(world.start(world.init, "bash"), "make")
    for _ in range(50):
        world.end(world.start(make, "cc1"))
    world.now_ns += 100 * SECOND_NS
    world.end(make)
    assert world.told()[0][:4] == (make.pid, "make", False, 50)


def test_a_program_is_named_by_its_exit_record(world: World) -> None:
    node = world.start(world.init, "sh", ran=False)
    node.source = Source.UNREAD
    world.counted.ran(node)
    node.cmd, node.source = "true", Source.EXIT_RECORD
    lost = world.start(world.init, "sh", ran=False)
    lost.source = Source.UNREAD
    world.counted.ran(lost)
    world.counted.ran(lost)
    ((*_, program, count, _, _, _),) = world.told()
    assert (program, count) == (None, 2)
    assert world.counted._tallies[world.init].programs == {"true": 1, None: 2}


def test_a_parent_that_is_not_known(world: World) -> None:
    world.counted.born(a_node(500))
    assert world.told() == ((None, None, False, 1, None, 0, None, 0, 0),)


def test_a_ladder_takes_no_room(world: World) -> None:
    """Each generation forks one and dies."""
    node = world.init
    for _ in range(500):
        child = world.start(node, "rung")
        if node is not world.init:
            world.end(node)
        node = child
    told = world.told()
    assert sum(births for _, _, _, births, *_ in told) == 500
    assert len(world.counted._tallies) <= 3


@pytest.mark.parametrize("are_dead", [True, False])
def test_what_has_no_tally_is_counted_above(world: World, are_dead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawners, "TALLIES_MAX", 10)
    for _ in range(3):
        for _ in range(30):
            shell = world.start(world.init, "sh")
            world.start(shell, "ls")
            if are_dead:
                world.end(shell)
        assert len(world.counted._tallies) <= 10
        told = world.told()
    assert sum(births for _, _, _, births, *_ in told) == 180


def test_names_are_bounded(world: World) -> None:
    for number in range(1000):
        world.start(world.init, f"name-{number}")
    assert sum(births for _, _, _, births, *_ in world.told()) == 1000
    programs = world.counted._tallies[world.init].programs
    assert len(programs) == spawners.NAMES_MAX + 1
    assert sum(programs.values()) == 1000


def test_programs_that_wait_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawners, "RUNS_MAX", 10)
    for _ in range(20):
        world.start(world.init, "sh")
    assert world.told()[0][3:6] == (20, "sh", 10)


def test_it_is_done_in_pieces(world: World) -> None:
    shells = [world.start(world.init, "sh") for _ in range(1000)]
    for shell in shells:
        world.start(shell, "ls")
    assert len(list(world.counted.digest(world.now_ns))) > 1000 // 64


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_between_two_pieces_each_birth_is_counted_once(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawners, "_PIECE", 1)
    monkeypatch.setattr(spawners, "TALLIES_MAX", 40)
    chance = random.Random(seed)
    living, births = [world.init], 0
    for _ in range(20):
        for _ in world.counted.digest(world.now_ns):
            for _ in range(chance.randrange(4) == 0):
                living.append(world.start(chance.choice(living[-20:]), chance.choice(["sh", "ls"])))
                births += 1
            while len(living) > chance.randrange(5, 60):
                world.end(living.pop(chance.randrange(1, len(living))))
            world.now_ns += chance.randrange(SECOND_NS)
    assert births > 100
    told = world.told()
    assert sum(births for _, _, _, births, *_ in told) == births
    assert all(between <= births for _, _, _, births, _, _, _, _, between in told)
