"""The newest programs as a tree: each below who started it, who started several drawn once.

An ancestor that stands there only for what is below it, and has one child, shares that child's line; so a program
that is alone among the newest is one line with all of its chain, and siblings stand below their parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..query import Walk
from ..record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..process import Node
    from ..service.facts import Told
    from .glyphs import Glyphs

_INDENTED_MAX = 12  # levels; deeper ones stand there too


class TreeLine(Record):
    """A line: the branches before it, ancestors that share it, its process, and its event if any."""

    branch: str
    above: tuple[Node, ...]  # from the root's side
    node: Node
    told: Told | None  # None: it stands there for what is below it
    missing_pid: int | None  # who should have come before the first of `above`
    walked: Walk  # from the process to its root


class _Place:
    """A process in the tree."""

    __slots__ = ("children", "missing_pid", "node", "told", "walked")

    def __init__(self, walked: Walk, missing_pid: int | None) -> None:
        self.node = walked.nodes[0]
        self.walked = walked
        self.missing_pid = missing_pid
        self.told: Told | None = None
        self.children: list[_Place] = []

    @property
    def has_line(self) -> bool:
        return self.told is not None or len(self.children) != 1


def tree_lines(programs: Sequence[Told], room: int, glyphs: Glyphs) -> list[TreeLine]:
    """Draw as many of the programs, the newest first, as there is room for; siblings newest first too."""
    roots: list[_Place] = []
    places: dict[int, _Place] = {}
    used = 0
    for told in programs:
        used += _added_lines(told, places)
        if used > room:
            break
        _place(told, roots, places)
    lines: list[TreeLine] = []
    # A stack, not recursion: a ladder of processes may be deeper than Python's stack.
    stack = [(root, "", "", 0) for root in reversed(roots)]
    while stack:
        place, branch, below, depth = stack.pop()
        above = []
        missing_pid = place.missing_pid
        while not place.has_line:
            above.append(place.node)
            (place,) = place.children
        lines.append(TreeLine(branch, tuple(above), place.node, place.told, missing_pid, place.walked))
        last = len(place.children) - 1
        for number in range(last, -1, -1):
            if depth >= _INDENTED_MAX:
                stack.append((place.children[number], branch, below, depth))
                continue
            mark = glyphs.last_child if number == last else glyphs.child
            under = " " * len(glyphs.beside) if number == last else glyphs.beside
            stack.append((place.children[number], below + mark, below + under, depth + 1))
    return lines


def _added_lines(told: Told, places: dict[int, _Place]) -> int:
    """Count the lines that one more program takes."""
    nodes = told.walked.nodes
    known = places.get(id(nodes[0]))
    if known is not None:  # an ancestor of one that is there: it has a line if several are below it
        return int(known.told is None and len(known.children) == 1)
    for node in nodes[1:]:
        place = places.get(id(node))
        if place is not None:
            return 1 + int(not place.has_line)  # it has two children then, and a line of its own
    return 1


def _place(told: Told, roots: list[_Place], places: dict[int, _Place]) -> None:
    nodes = told.walked.nodes
    below: _Place | None = None
    for index, node in enumerate(nodes):
        place = places.get(id(node))
        is_known = place is not None
        if place is None:
            is_root = index == len(nodes) - 1
            walked = Walk(nodes[index:], None, told.walked.missing_pid)
            place = places[id(node)] = _Place(walked, walked.missing_pid if is_root else None)
        if index == 0:
            place.told = told
        if below is not None:
            place.children.append(below)
        if is_known:
            return
        below = place
    if below is not None:
        roots.append(below)
