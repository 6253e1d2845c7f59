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

    The two are read one after the other; without this every answer would move by that microsecond.
    """

    def __init__(self, later: int, earlier: int) -> None:
        self._clocks = later, earlier
        self._ns: int | None = None

    def ns(self) -> int:
        later, earlier = self._clocks
        now_ns = time.clock_gettime_ns(later) - time.clock_gettime_ns(earlier)
        if self._ns is None or abs(now_ns - self._ns) > _PARTED_NS:
            self._ns = now_ns
        return self._ns


_PARTED_NS = 1_000_000
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
