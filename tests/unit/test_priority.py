"""kernel/priority.py: real time only while this thread behaves, and what it steps back to."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

import pytest

from proc_cache.kernel import priority
from proc_cache.kernel.priority import (
    BEST_NICE,
    NICE,
    ORDINARY,
    QUIET_WINDOWS,
    REALTIME,
    SLICE,
    SLICE_NS,
    WINDOW_S,
    Priority,
)

FLOOD, PROGRAMS = (1000, 0), (1000, 250)  # messages and execs in a window


class Machine:
    """What the kernel was asked for; which policies and nice values it grants, and the clocks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        self.cpu_s = 1.0
        self.granted = {(os.SCHED_FIFO, 0), (os.SCHED_OTHER, BEST_NICE), (os.SCHED_OTHER, 5)}
        self.asked: list[tuple[int, int, int, int]] = []
        self.messages = self.execs = 0
        monkeypatch.setattr(priority, "monotonic_s", lambda: self.now_s)
        monkeypatch.setattr(priority, "thread_cpu_s", lambda: self.cpu_s)
        monkeypatch.setattr(priority, "_set_scheduling", self._set)
        monkeypatch.setattr(os, "getpriority", lambda *_: 5)

    def _set(self, policy: int, nice: int, level: int, slice_ns: int) -> bool:
        self.asked.append((policy, nice, level, slice_ns))
        return (policy, nice) in self.granted

    def window(self, place: Priority, share: float, sent: tuple[int, int] = PROGRAMS) -> str:
        """Let a window pass in which this share of a CPU was used for so many messages and execs."""
        self.now_s += WINDOW_S
        self.cpu_s += share * WINDOW_S
        self.messages += sent[0]
        self.execs += sent[1]
        place.adjust(self.messages, self.execs)
        return place.rung


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


class TestRungs:
    def test_real_time_where_it_may_be(self, machine: Machine) -> None:
        assert Priority(may_be_realtime=True).rung == REALTIME
        assert machine.asked == [(os.SCHED_FIFO, 0, 1, 0)]

    @pytest.mark.parametrize("may_be_realtime", [True, False])
    def test_the_best_nice_value_where_it_may_not_be(self, machine: Machine, may_be_realtime: bool) -> None:
        machine.granted.discard((os.SCHED_FIFO, 0))
        assert Priority(may_be_realtime=may_be_realtime).rung == NICE
        assert machine.asked[-1] == (os.SCHED_OTHER, BEST_NICE, 0, SLICE_NS)
        assert ((os.SCHED_FIFO, 0, 1, 0) in machine.asked) is may_be_realtime

    def test_a_short_slice_with_the_nice_value_it_has(self, machine: Machine) -> None:
        machine.granted = {(os.SCHED_OTHER, 5)}
        assert Priority(may_be_realtime=True).rung == SLICE
        assert machine.asked[-1] == (os.SCHED_OTHER, 5, 0, SLICE_NS)

    def test_nothing_at_all(self, machine: Machine) -> None:
        machine.granted.clear()
        assert Priority(may_be_realtime=True).rung == ORDINARY


class TestSteppingBack:
    @pytest.mark.parametrize(
        ("share", "sent", "rung"),
        [
            (0.3, FLOOD, REALTIME),
            (0.5, FLOOD, NICE),
            (0.5, PROGRAMS, REALTIME),
            (0.8, PROGRAMS, REALTIME),
            (0.95, PROGRAMS, NICE),
            (0.95, FLOOD, NICE),
        ],
    )
    def test_by_what_it_is_busy_with(
        self, machine: Machine, share: float, sent: tuple[int, int], rung: str
    ) -> None:
        place = Priority(may_be_realtime=True)
        assert machine.window(place, share, sent) == rung
        assert place.steps_back == (rung != REALTIME)

    def test_a_window_is_judged_by_itself(self, machine: Machine) -> None:
        """Programs of long ago do not excuse a flood of now."""
        place = Priority(may_be_realtime=True)
        for _ in range(100):
            assert machine.window(place, 0.3, (10_000, 2500)) == REALTIME
        assert machine.window(place, 0.5, FLOOD) == NICE

    def test_not_before_a_window_is_over(self, machine: Machine) -> None:
        place = Priority(may_be_realtime=True)
        machine.now_s += WINDOW_S * 0.9
        machine.cpu_s += WINDOW_S * 0.9
        place.adjust(1000, 0)
        assert place.rung == REALTIME

    def test_one_who_never_was_real_time_stays_as_it_is(self, machine: Machine) -> None:
        place = Priority(may_be_realtime=False)
        asked = len(machine.asked)
        for _ in range(2 * QUIET_WINDOWS):
            assert machine.window(place, 1.0, FLOOD) == NICE
            assert machine.window(place, 0.0) == NICE
        assert (len(machine.asked), place.steps_back) == (asked, 0)


class TestSteppingUp:
    @pytest.fixture
    def place(self, machine: Machine) -> Priority:
        stepped_back = Priority(may_be_realtime=True)
        assert machine.window(stepped_back, 1.0, FLOOD) == NICE
        return stepped_back

    def test_after_a_quiet_time(self, machine: Machine, place: Priority) -> None:
        rungs = [machine.window(place, 0.1) for _ in range(QUIET_WINDOWS)]
        assert rungs == [NICE] * (QUIET_WINDOWS - 1) + [REALTIME]
        assert place.steps_back == 1

    def test_the_quiet_time_is_of_one_piece(self, machine: Machine, place: Priority) -> None:
        for _ in range(5):
            for _ in range(QUIET_WINDOWS - 1):
                assert machine.window(place, 0.1) == NICE
            assert machine.window(place, 0.5) == NICE

    def test_only_where_it_is_granted_still(self, machine: Machine, place: Priority) -> None:
        machine.granted.discard((os.SCHED_FIFO, 0))
        for _ in range(2 * QUIET_WINDOWS):
            assert machine.window(place, 0.1) == NICE
        machine.granted.add((os.SCHED_FIFO, 0))
        assert machine.window(place, 0.1) == REALTIME

    def test_and_back_again(self, machine: Machine, place: Priority) -> None:
        for _ in range(QUIET_WINDOWS):
            machine.window(place, 0.1)
        assert machine.window(place, 0.95, FLOOD) == NICE
        assert place.steps_back == 2
        for _ in range(QUIET_WINDOWS - 1):
            assert machine.window(place, 0.1) == NICE  # it waits as long as before


def test_children_have_none_of_it() -> None:
    """SCHED_FLAG_RESET_ON_FORK: what this thread starts is ordinary."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        Priority(may_be_realtime=True)
        grandchild = os.fork()
        if not grandchild:
            told = f"{os.sched_getscheduler(0)} {os.getpriority(os.PRIO_PROCESS, 0)}"
            os.write(write, told.encode())
            os._exit(0)
        os.waitpid(grandchild, 0)
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    policy, nice = os.read(read, 64).split()
    os.close(read)
    assert (int(policy), int(nice)) == (os.SCHED_OTHER, max(0, os.getpriority(os.PRIO_PROCESS, 0)))


def test_a_machine_whose_call_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "vax")

    def no_call(*_: Any) -> None:
        raise AssertionError("it was called")

    monkeypatch.setattr(ctypes, "CDLL", no_call)
    assert Priority(may_be_realtime=True).rung == ORDINARY
