"""How chains were entered; whether a service has a timer is looked up here, when the answer is written."""

from __future__ import annotations

from ..entry import find_entry, steps_of, steps_of_walk
from ..kernel.units import Timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..entry import Entry
    from ..process import Node
    from ..query import Chain

_timers = Timers()


def entry_of(chain: Chain) -> Entry | None:
    """Give the entry of a chain, None where it cannot be told."""
    return find_entry(steps_of(chain.links), _timers)


def entry_kind(nodes: Sequence[Node]) -> str | None:
    """Give the word for the entry of a walk, None where it cannot be told."""
    entry = find_entry(steps_of_walk(nodes), _timers)
    return None if entry is None else entry.kind


class EntryKinds:
    """Tells the words for the entries of many walks that share ancestors, once for each way up."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[object, ...], str | None] = {}

    def kind(self, nodes: Sequence[Node]) -> str | None:
        """Give the word, as `entry_kind` does."""
        if len(nodes) == 1:
            return entry_kind(nodes)
        itself, parent = nodes[0], nodes[1]
        # What counts of the process itself (entry.py): where it belongs, and how it comes to have this parent.
        key = parent, itself.place, itself.ppid_source, itself.left_out
        if key not in self._kinds:
            self._kinds[key] = entry_kind(nodes)
        return self._kinds[key]
