"""Processes as a stream tells them: any facts that a node can have, and what a client is sent of them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from proc_cache.engine.stats import CacheStats, Flood, Stats
from proc_cache.events import KINDS
from proc_cache.process import Node, Source, pack_cost
from proc_cache.query import Walk
from proc_cache.service.client import EngineClient
from proc_cache.service.facts import Told
from proc_cache.service.following import Following

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=20)  # lone surrogates included
NUMBER = st.integers(-(1 << 70), 1 << 70)
OPTIONAL = st.none() | NUMBER
SOURCES = st.sampled_from([value for name, value in vars(Source).items() if name.isupper()])
COSTS = st.none() | st.builds(pack_cost, NUMBER, NUMBER, NUMBER, NUMBER)
FIELDS = {
    "pid": NUMBER,
    "start_ns": NUMBER,
    "ppid": OPTIONAL,
    "ppid_source": SOURCES,
    "adopter_pid": OPTIONAL,
    "cmd": ALL_TEXT,
    "source": SOURCES,
    "former": st.lists(ALL_TEXT, max_size=3).map(tuple),
    "cmdline": st.none() | st.binary(max_size=30),
    "uid": OPTIONAL | ALL_TEXT,
    "birth_uid": OPTIONAL | ALL_TEXT,
    "session": OPTIONAL,
    "exit_ns": NUMBER,
    "exit_status": OPTIONAL,
    "left_out": NUMBER,
    "cost": COSTS,
    "full_name": st.none() | ALL_TEXT,
    "place": st.none() | st.tuples(*[st.none() | ALL_TEXT] * 3),
}


def a_node(pid: int = 500, parent: Node | None = None, **facts: Any) -> Node:
    """A living shell of root that was seen from its birth, unless told otherwise."""
    node = Node(pid, 1_000_000_000, 0, Source.FORK, parent, "sh", Source.EXEC, 0)
    if parent is not None:
        node.ppid = parent.pid
    for name, value in facts.items():
        setattr(node, name, value)
    return node


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """Draw any node, without its family."""
    return a_node(**{name: draw(values) for name, values in FIELDS.items()})


def facts_of(node: Node) -> dict[str, Any]:
    """All of a node that is told of the process itself."""
    return {name: getattr(node, name) for name in FIELDS}


def told_of(node: Node, kind: str = "exec", time_ns: int = 2_000_000_000, adopter: str | None = None) -> Told:
    """An event as a client has it, with the ancestors that the node has."""
    family = []
    current: Node | None = node
    while current is not None:
        family.append(current)
        current = current.parent
    return Told(KINDS[kind], time_ns, Walk(tuple(family), None, None), adopter)


def some_stats(**changed: Any) -> Stats:
    """Counters that are all different."""
    fields: dict[str, Any] = {name: 100 + number for number, name in enumerate(Stats._fields)}
    caches = (CacheStats("processes", 1, 2, 3, 4, 5, 6), CacheStats("users", 7, 8, 9, 10, 11, 12))
    fields |= {"lost": 0, "lost_is_exact": True, "no_records": None, "priority": "fifo", "caches": caches}
    fields["floods"] = (
        Flood("comm", 5, "evil\x1b\udcff", 1000, 9000, 1),
        Flood("thread", None, None, None, 6000, 2),
    )
    return Stats(**{**fields, **changed})


class FarEnd:
    """A client of which the other end is ours: what is sent is what it is told."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.socket = theirs
        self.following = Following(EngineClient(ours, "/path/of/the/socket"))

    def __enter__(self) -> FarEnd:
        return self

    def __exit__(self, *_: object) -> None:
        self.following.close()
        self.socket.close()

    def take(self, data: bytes) -> Iterator[Any]:
        """Send this, and give what the client has taken then."""
        self.socket.sendall(data)
        return self.following.take(1.0)
