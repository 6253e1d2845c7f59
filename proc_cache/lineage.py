"""What was asked for, and who started it: all that is above, for a tree that nobody has to guess at."""

from __future__ import annotations

from .record import Record
from .selection import Chooser, candidates, check_top

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .process import Node, Process
    from .query import View
    from .selection import Listing, Selection

    Identity = tuple[int, int, int]
    # A process, its place, that of its birth parent, and whether it was asked for, as in `Placed`.
    Place = tuple[Node, int, int | None, bool]


class Placed(Record):
    """A process of such a tree: its place, a number of its own, and that of its birth parent."""

    place: int
    above: int | None  # None: it has no parent, or that one is not known
    is_asked: bool  # false: it is there because it is above one that was
    process: Process


def lineages(view: Listing, selection: Selection) -> Iterator[Placed]:
    """Give what was asked for, then what is above it, each once. Raises NobodyFoundError before the first."""
    chooser = Chooser(view, selection)
    check_top(view, selection)
    steps = lineage_steps(view, selection, chooser)
    return (_freeze(view, *step) for step in steps if step is not None)


def _freeze(view: View, node: Node, place: int, above: int | None, is_asked: bool) -> Placed:
    return Placed(place, above, is_asked, view.describe(node, is_fresh=False))


def lineage_steps(view: Listing, selection: Selection, chooser: Chooser) -> Iterator[Place | None]:
    """Do what `lineages` does step by step, for who has other things to do between two; None found nothing."""
    places: dict[Identity, int] = {}
    above: dict[int, int | None] = {}
    unasked: dict[int, Node] = {}
    for node in candidates(view, selection):
        if not chooser.has(node):
            yield None
            continue
        for number, one in _new_places(view, node, places, above):
            unasked[number] = one
        number = places[node.identity()]
        unasked.pop(number, None)
        yield node, number, above[number], True
    for number, node in unasked.items():
        yield node, number, above[number], False


def _new_places(
    view: View, node: Node, places: dict[Identity, int], above: dict[int, int | None]
) -> Iterator[tuple[int, Node]]:
    """Give a place to a process, and to each above it, up to the first that has one."""
    current: Node | None = node
    while current is not None and current.identity() not in places:
        number = places[current.identity()] = len(places)
        yield number, current
        parent = view.parent(current)
        # Where the parent has no place yet, the next round gives it this one.
        above[number] = None if parent is None else places.get(parent.identity(), len(places))
        current = parent
