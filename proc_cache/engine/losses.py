"""Messages that were lost: how many, proven by the sequence of each CPU, and when.

`cn_msg.seq` counts the messages of one CPU (mod 2^32, drivers/connector/cn_proc.c). A gap is the exact number
lost on that CPU, seen at that CPU's next message.

While a filter drops a flood in the kernel (engine/floods.py), gaps are made by it too, and prove nothing. Then the
socket's own counter is the measure, which counts what found no room and nothing else; until every CPU has been
heard again after the filter's end, for only its next message shows the gap.
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
        self.is_filtered = False  # gaps prove nothing now
        self._in_gaps = 0  # missing while that is so, by the gaps
        self._lost_in_gaps = 0  # of these, what was lost by the socket's counter
        self._unheard: set[int] = set()  # CPUs that have said nothing since the filter's end
        self._ended_ns = 0  # which was then (CLOCK_MONOTONIC)
        self._drops = 0  # the socket's counter, as far as it is accounted for
        self._counted_ns = 0

    @property
    def filtered(self) -> int:
        """How many messages a filter dropped, as far as gaps have shown it."""
        return max(0, self._in_gaps - self._lost_in_gaps)

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
        if self.is_filtered:
            self._in_gaps += lost
            return 0
        self.lost += lost
        self._remember(last[2] + to_boottime_ns, timestamp_ns + to_boottime_ns, lost)
        return lost

    def lost_between(self, start_ns: int, end_ns: int) -> int:
        """How many messages are missing from the windows that touch this span."""
        return sum(w.lost for w in self.windows if w.start_ns <= end_ns and w.end_ns >= start_ns)

    # --- while a filter drops a flood -------------------------------------------------------------------

    def begin_filter(self, drops: int, now_ns: int) -> None:
        """A filter drops messages from now on; `drops` is the socket's counter of lost ones."""
        if self.is_filtered:
            self._unheard.clear()
            return
        self.is_filtered = True
        self._counted_ns = now_ns
        # What was lost just before shows as a gap that proves nothing any more: it is counted here.
        self._drops = min(drops, self.lost)

    def end_filter(self, ended_ns: int) -> None:
        """The filter is gone since then (CLOCK_MONOTONIC); gaps prove something once each CPU has been heard.

        What was sent before and waits in the queue does not count: behind it there may be more that was filtered.
        """
        self._unheard = set(self.last)
        self._ended_ns = ended_ns
        self.is_filtered = bool(self._unheard)

    def count_drops(self, drops: int, now_ns: int) -> int:
        """Take in the socket's counter while gaps prove nothing; returns how many were lost since last time."""
        lost = (drops - self._drops) & SEQ_MASK
        if 0 < lost < _BACKWARDS:
            self._drops = drops
            self.lost += lost
            self._lost_in_gaps += lost
            if self._unheard:  # a gap that shows it may come when gaps prove something again
                self.is_exact = False
            self._remember(self._counted_ns, now_ns, lost)
        else:
            lost = 0
        self._counted_ns = now_ns
        self._hear()
        return lost

    def _hear(self) -> None:
        if not self._unheard:
            return
        last = self.last
        self._unheard = {cpu for cpu in self._unheard if last[cpu][2] <= self._ended_ns}
        if not self._unheard:
            self.is_filtered = False

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
