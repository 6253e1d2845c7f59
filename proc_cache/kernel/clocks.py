"""The only module that reads a clock, and the units they speak.

The kernel stamps connector messages with CLOCK_MONOTONIC and process starts with CLOCK_BOOTTIME; the two
part when the machine is suspended (clock_gettime(2)). Inside, every time is CLOCK_BOOTTIME in nanoseconds.
"""

from __future__ import annotations

import os
import time

_NS = 1_000_000_000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")  # the unit of `starttime` in /proc/PID/stat, proc(5)
TICK_NS = _NS // TICKS_PER_SECOND


def ticks_to_ns(ticks: int) -> int:
    """Convert clock ticks since boot to nanoseconds since boot."""
    return ticks * _NS // TICKS_PER_SECOND


def boottime_ns() -> int:
    """Nanoseconds since boot, suspended time included (CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class _Offset:
    """What lies between two clocks: read again at each call, changed only when the clocks really part.

    They are read one after the other. A reading that took long (another task ran in between) proves nothing.
    """

    def __init__(self, later: int, earlier: int) -> None:
        self._clocks = later, earlier
        self._ns: int | None = None

    def ns(self) -> int:
        now_ns, doubt_ns = self._read()
        if self._ns is None:
            # The first one is used until the clocks part: the surest of some.
            now_ns, doubt_ns = min((self._read() for _ in range(_FIRST_READINGS)), key=lambda reading: reading[1])
            self._ns = now_ns
        elif abs(now_ns - self._ns) > _PARTED_NS and doubt_ns < _SURE_NS:
            self._ns = now_ns
        return self._ns

    def _read(self) -> tuple[int, int]:
        """Give what lies between, and by how much that can be wrong."""
        later, earlier = self._clocks
        before_ns = time.clock_gettime_ns(earlier)
        later_ns = time.clock_gettime_ns(later)
        after_ns = time.clock_gettime_ns(earlier)
        return later_ns - (before_ns + after_ns) // 2, after_ns - before_ns


_PARTED_NS = 1_000_000
_SURE_NS = 100_000
_FIRST_READINGS = 20
_boottime_after_monotonic = _Offset(time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC)
_wall_after_boottime = _Offset(time.CLOCK_REALTIME, time.CLOCK_BOOTTIME)


def monotonic_to_boottime_ns() -> int:
    """What to add to a CLOCK_MONOTONIC time of now to get CLOCK_BOOTTIME; it changes with each suspend."""
    return _boottime_after_monotonic.ns()


def boot_wall_ns() -> int:
    """When the machine booted, in nanoseconds since the epoch, by the wall clock as it is set now."""
    return _wall_after_boottime.ns()


def monotonic_s() -> float:
    """Seconds of CLOCK_MONOTONIC, to measure spans with."""
    return time.monotonic()


def thread_cpu_s() -> float:
    """Seconds of CPU that the calling thread has used (CLOCK_THREAD_CPUTIME_ID)."""
    return time.thread_time()


def wall_ns() -> int:
    """Nanoseconds since the epoch, as the wall clock is set now (CLOCK_REALTIME)."""
    return time.time_ns()


def pause(seconds: float) -> None:
    """Do nothing for a while."""
    time.sleep(seconds)


def deadline_s(seconds: float) -> float:
    """A moment that lies `seconds` ahead, for `left_s`."""
    return time.monotonic() + seconds


def left_s(deadline: float) -> float:
    """Seconds until the deadline, 0 when it has passed."""
    return max(0.0, deadline - time.monotonic())
