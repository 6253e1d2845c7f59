"""Being scheduled soon after a message arrives: a name must be read before its process is gone.

Three rungs, best first. SCHED_FIFO at its lowest priority runs before every ordinary task (needs
CAP_SYS_NICE). A nice value of -20 with a short slice runs soon after waking (the same privilege). A short
slice alone needs none, and is honoured since Linux 6.12 (sched_setattr(2)). Children start without any.

Real time obliges: `Priority` gives it up while this thread keeps a CPU busy with anything but programs to be
named, and with those too where they leave it no rest, so that a flood of events cannot starve the machine through
its observer.
"""

from __future__ import annotations

import ctypes
import os
import platform
from struct import Struct

from .clocks import monotonic_s, thread_cpu_s

REALTIME = "realtime"
NICE = "nice"
SLICE = "slice"
ORDINARY = "ordinary"

BEST_NICE = -20
SLICE_NS = 100_000  # the least that the kernel takes (kernel/sched/syscalls.c)

# Real time is given up where this thread used more than this share of a CPU, and taken again below the last one.
BUSY_SHARE = 0.4  # in a flood: fewer execs among the messages than one in FLOOD_MESSAGES
NAMING_SHARE = 0.85  # where the programs are worth it
QUIET_SHARE = 0.4
FLOOD_MESSAGES = 12  # a program is three or four: fork, exec, exit, perhaps a session or a user
CALM_PER_S = 5_000  # messages a second below which a flood is over
WINDOW_S = 0.25
QUIET_WINDOWS = 4

_SYS_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "ppc64le": 355, "s390x": 345}
_SCHED_FLAG_RESET_ON_FORK = 1
# struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period (linux/sched/types.h)
_SCHED_ATTR = Struct("=IIQiIQQQ")


def _set_scheduling(policy: int, nice: int, priority: int, slice_ns: int) -> bool:
    """Set the calling thread's scheduling; false where that is not allowed or not known here."""
    number = _SYS_SCHED_SETATTR.get(platform.machine())
    if number is None:
        return False
    attr = _SCHED_ATTR.pack(_SCHED_ATTR.size, policy, _SCHED_FLAG_RESET_ON_FORK, nice, priority, slice_ns, 0, 0)
    return bool(ctypes.CDLL(None).syscall(number, 0, attr, 0) == 0)


class Priority:
    """The calling thread's place before others: the best that is allowed, real time only while it behaves."""

    def __init__(self, *, may_be_realtime: bool) -> None:
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._may_be_realtime = may_be_realtime and _set_scheduling(os.SCHED_FIFO, 0, 1, 0)
        self.steps_back = 0
        self.is_flooded = False
        self._quiet_windows = self._messages = self._execs = 0
        self._window_began = monotonic_s()
        self._cpu_then = thread_cpu_s()
        self.rung = REALTIME if self._may_be_realtime else self._take_ordinary()

    def adjust(self, messages: int, execs: int) -> None:
        """Step back where this thread has been busy, step up again when it is quiet; call it often.

        `messages` is how many it has received so far, `execs` how many programs were run among them.
        """
        now = monotonic_s()
        span = now - self._window_began
        if span < WINDOW_S:
            return
        cpu = thread_cpu_s()
        share = (cpu - self._cpu_then) / span
        self._note_flood(messages - self._messages, execs - self._execs, share, span)
        self._window_began, self._cpu_then = now, cpu
        self._messages, self._execs = messages, execs
        if self.rung == REALTIME:
            if self.is_flooded or share > NAMING_SHARE:
                self.steps_back += 1
                self._quiet_windows = 0
                self.rung = self._take_ordinary()
            return
        is_quiet = share < QUIET_SHARE and not self.is_flooded
        self._quiet_windows = self._quiet_windows + 1 if is_quiet else 0
        is_due = self._may_be_realtime and self._quiet_windows >= QUIET_WINDOWS
        if is_due and _set_scheduling(os.SCHED_FIFO, 0, 1, 0):
            self.rung = REALTIME

    @property
    def runs_at_once(self) -> bool:
        """Whether it runs as soon as it is woken, whatever else does."""
        return self.rung == REALTIME

    def _note_flood(self, messages: int, execs: int, share: float, span_s: float) -> None:
        """Tell whether a flood begins, goes on, or is over."""
        is_of_programs = execs * FLOOD_MESSAGES >= messages
        is_much = messages > CALM_PER_S * span_s if self.is_flooded else share > BUSY_SHARE
        self.is_flooded = is_much and not is_of_programs

    def _take_ordinary(self) -> str:
        if _set_scheduling(os.SCHED_OTHER, BEST_NICE, 0, SLICE_NS):
            return NICE
        if _set_scheduling(os.SCHED_OTHER, self._nice, 0, SLICE_NS):
            return SLICE
        return ORDINARY
