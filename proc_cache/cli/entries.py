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
