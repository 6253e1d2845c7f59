"""Python's garbage collector, made to fit a process that holds many nodes for long.

Nodes point up only, to their parents, so that reference counting frees every one of them. The collector would
walk through them again and again for nothing: 10 to 20 % of what an event costs, and pauses that grow with
the tree. So it runs when nothing else is to be done.
"""

from __future__ import annotations

import gc

from ..kernel.clocks import monotonic_s

_EVERY_S = 5.0


class IdleCollector:
    """Collects the young generation in idle moments; made once, after start-up, by who owns the process."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()  # modules and the first scan stay for good
        gc.disable()
        self._last_s = monotonic_s()

    def idle(self) -> None:
        """Collect, unless it was done just now."""
        now_s = monotonic_s()
        if now_s - self._last_s > _EVERY_S:
            self._last_s = now_s
            gc.collect(0)
