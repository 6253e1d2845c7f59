"""Whether two sightings are of one process, and whether one process can be another's parent: by their starts.

Events carry nanoseconds, /proc clock ticks: they are compared in ticks, with a tolerance. A start of 0 is not
known, and rules nothing out.
"""

from __future__ import annotations

from ..kernel.clocks import TICK_NS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..process import Node

# A Fork is stamped up to a moment after the start that /proc shows, which is rounded down to a tick.
_EARLIER_TICKS = 2
_LATER_TICKS = 1


def is_same_start(known_ns: int, shown_ns: int) -> bool:
    """Tell whether a start taken from an event can be the one that /proc shows (both CLOCK_BOOTTIME)."""
    ticks = shown_ns // TICK_NS - known_ns // TICK_NS
    return -_EARLIER_TICKS <= ticks <= _LATER_TICKS


def can_be_parent(parent: Node, child: Node) -> bool:
    """Tell whether a process was there when another one started, so that its pid meant it then."""
    if parent is child:
        return False
    if not child.start_ns or not parent.start_ns:
        return True
    if parent.start_ns > child.start_ns + TICK_NS:
        return False
    return not parent.exit_ns or parent.exit_ns >= child.start_ns
