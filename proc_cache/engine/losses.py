"""Messages that were lost: how many, proven by the sequence of each CPU, and when.

`cn_msg.seq` counts the messages of one CPU (mod 2^32, drivers/connector/cn_proc.c). A gap is the exact number
lost on that CPU, seen at that CPU's next message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

SEQ_MASK = 0xFFFFFFFF
_BACKWARDS = 1 << 31
WINDOWS_MAX = 1024


class LossWindow:
    """Between these two times (CLOCK_BOOTTIME, ns) `lost` messages went missing."""

    __slots__ = ("end_ns", "lost", "start_ns")

    def __init__(self, start_ns: int, end_ns: int, lost: int) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.lost = lost


class LossLedger:
    """Follows the sequence of every CPU and remembers each window with a loss."""

    def __init__(self) -> None:
        # The last event of each CPU, or its fields: (seq, cpu, timestamp_ns, ...). The engine compares with it.
        self.last: dict[int, tuple[Any, ...]] = {}
        self.lost = 0
        self.overruns = 0
        self.is_exact = True  # false once a CPU was first heard of after an overrun
        self.windows: list[LossWindow] = []

    def overrun(self) -> None:
        """Note that the socket's buffer ran over; how much was lost, the sequences tell."""
        self.overruns += 1

    def gap(self, event: tuple[Any, ...], to_boottime_ns: int) -> int:
        """Account for an event that does not follow its CPU's last one; returns how many were lost between."""
        seq, cpu, timestamp_ns = event[:3]
        last = self.last.get(cpu)
        if last is None:
            self.is_exact = self.is_exact and not self.overruns
            return 0
        lost: int = (seq - last[0] - 1) & SEQ_MASK
        if lost >= _BACKWARDS:  # the counter was set back: a CPU that was taken offline
            return 0
        self.lost += lost
        self._remember(last[2] + to_boottime_ns, timestamp_ns + to_boottime_ns, lost)
        return lost

    def lost_between(self, start_ns: int, end_ns: int) -> int:
        """How many messages are missing from the windows that touch this span."""
        return sum(w.lost for w in self.windows if w.start_ns <= end_ns and w.end_ns >= start_ns)

    def _remember(self, start_ns: int, end_ns: int, lost: int) -> None:
        windows = self.windows
        if windows and windows[-1].end_ns >= start_ns:
            last = windows[-1]
            last.start_ns = min(last.start_ns, start_ns)
            last.end_ns = max(last.end_ns, end_ns)
            last.lost += lost
            return
        windows.append(LossWindow(start_ns, end_ns, lost))
        if len(windows) > WINDOWS_MAX:  # the two oldest become one: wider than the truth, never narrower
            oldest = windows.pop(0)
            windows[0].start_ns = oldest.start_ns
            windows[0].lost += oldest.lost
