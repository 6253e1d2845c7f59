"""What an engine counts, in words: for the end of a stream, the status of a service, a line of the screen."""

from __future__ import annotations

from .chain import UNKNOWN
from .escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.stats import Stats


def loss_text(stats: Stats) -> str:
    """Say how many messages were lost."""
    return (
        f"{'' if stats.lost_is_exact else 'at least '}{stats.lost} messages of the kernel were lost, "
        f"in {stats.overruns} overruns of the buffer; {stats.scans - 1} scans of /proc repaired the tree"
    )


def flood_text(stats: Stats) -> str:
    """Say who flooded the kernel with events of a kind, the newest such one, and what was done about it."""
    flood = stats.floods[-1]
    whose = "many" if flood.pid is None else f"{flood.pid} {escape(flood.cmd or UNKNOWN)}"
    return f"flood of {flood.kind} events by {whose}, {flood.per_second}/s: {stats.filtered} left in the kernel"
