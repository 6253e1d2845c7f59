"""Storms of programs that exit at once; each writes down what it made, and a listener can be judged by that."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from .sources import PROGRAM, RECEIVER, STORM

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = 64
PROBE = "pcsprobe"
NOBODY_UID = 65534
CORES = os.cpu_count() or 1
ONE_CPU = ("taskset", "-c", "0")
_NUMBERS_APART = 1_000_000  # between the arguments of two spawners
_OVERTIME_S = 60  # how much longer than it was told a starved storm may take
_AS_ROOT, _AS_NOBODY, _IN_TURN = range(3)
_MADE = struct.Struct("=iiiiiiqq")


class StormError(Exception):
    """A storm did not go as it should, and what it made cannot be compared."""


class Made(NamedTuple):
    """One program as the spawner wrote it down; it ran within these two times (CLOCK_REALTIME)."""

    pid: int
    name: str
    argument: str
    uid: int
    from_ns: int
    until_ns: int


class Outcome(NamedTuple):
    """What a storm has made: programs that were run, or (without exec) only processes."""

    made: list[Made]
    processes: int
    lasted_s: float


class Limits(NamedTuple):
    """A storm ends with the first of the two; a flooded or starved one does not reach its execs."""

    execs: int
    seconds: float


@dataclass(frozen=True)
class Storm:
    """Some spawners, and what runs beside them."""

    name: str
    what: str
    spawners: int = 1
    interval_ns: int = 0
    beside: tuple[str, ...] = ()  # modes of the C program that run until they are killed
    is_pinned: bool = False  # on one CPU, together with the listener
    has_exec: bool = True

    @property
    def is_flooded(self) -> bool:
        """Whether something beside it sends messages as fast as it can."""
        return any(mode.startswith("flood-") for mode in self.beside)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before each command of it, and of the listener."""
        return ONE_CPU if self.is_pinned else ()


STORMS = {
    storm.name: storm
    for storm in (
        Storm("paced", "one spawner, 400 execs a second", interval_ns=2_500_000),
        Storm("one", "one spawner at full speed"),
        Storm("two", "two spawners at full speed", spawners=2),
        Storm("eight", "eight spawners at full speed", spawners=8),
        Storm("two-busy", "two spawners beside two busy loops", spawners=2, beside=("busy", "busy")),
        Storm("one-cpu", "two spawners and the listener on one CPU", spawners=2, is_pinned=True),
        Storm("flood-vfork", "one spawner beside vfork and _exit at full speed", beside=("flood-vfork",)),
        Storm("flood-rename", "one spawner beside prctl(PR_SET_NAME) at full speed", beside=("flood-rename",)),
        Storm(
            "flood-thread", "one spawner beside threads made and joined at full speed", beside=("flood-thread",)
        ),
        Storm("kernel-max", "vfork and _exit, no exec, on every core", spawners=CORES, has_exec=False),
    )
}


class Workshop:
    """The compiled programs, in a directory that everybody may read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.storm = self._compile("storm", STORM)
        self.receiver = self._compile("receiver", RECEIVER)
        self.probe = self._compile(PROBE, PROGRAM, "-DLIVES_US=20000")
        program = self._compile("program", PROGRAM)
        self.programs = directory / "programs"
        self.programs.mkdir()
        for number in range(PROGRAMS):
            # The kernel names a program by the path it is run by: links are enough.
            os.link(program, self.programs / _program_name(number))

    def _compile(self, name: str, text: str, *flags: str) -> Path:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise SystemExit("needs a C compiler: `apt-get install gcc`")
        source, program = self.directory / f"{name}.c", self.directory / name
        source.write_text(text)
        command = [compiler, "-O2", "-Wall", "-static", "-pthread", *flags, "-o", str(program), str(source)]
        subprocess.run(command, check=True)
        return program

    def run_probe(self, token: str) -> int:
        """Run a program that lives long enough to be named; give its pid."""
        with subprocess.Popen([PROBE, token], executable=self.probe) as probe:
            probe.wait()
        return probe.pid


def run(storm: Storm, workshop: Workshop, limits: Limits) -> Outcome:
    """Let a storm pass, and read what it wrote down. Raises StormError."""
    logs = [workshop.directory / f"made-{number}" for number in range(storm.spawners)]
    with ExitStack() as stack:
        inlet, outlet = os.pipe()
        gate, opener = stack.enter_context(os.fdopen(inlet, "rb")), stack.enter_context(os.fdopen(outlet, "wb"))
        commands = [[mode] for mode in storm.beside]
        commands += [_spawner(storm, number, workshop, log, limits) for number, log in enumerate(logs)]
        processes = [
            stack.enter_context(_started([*storm.prefix, str(workshop.storm), *command], gate))
            for command in commands
        ]
        opener.close()  # they all begin
        deadline = time.monotonic() + limits.seconds + _OVERTIME_S
        for process in processes[len(storm.beside) :]:
            try:
                status = process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise StormError(f"it did not end in {_OVERTIME_S} s more than it was given") from None
            if status:
                raise StormError(f"a spawner ended with {status}")
    outcome = _read_counts(logs) if not storm.has_exec else _read_made(logs)
    for log in logs:
        log.unlink()
    return outcome


@contextmanager
def _started(command: list[str], stdin: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=stdin)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _spawner(storm: Storm, number: int, workshop: Workshop, log: Path, limits: Limits) -> list[str]:
    if not storm.has_exec:
        return ["fork", str(log), str(limits.seconds)]
    who = _IN_TURN if storm.spawners == 1 else (_AS_ROOT, _AS_NOBODY)[number % 2]
    # Not a multiple of the programs: two spawners run different ones at a time.
    first = number * (_NUMBERS_APART + 17)
    count = limits.execs // storm.spawners
    return [
        *("exec", str(log), str(limits.seconds), str(workshop.programs)),
        *(str(value) for value in (first, count, storm.interval_ns, who)),
    ]


def _program_name(number: int) -> str:
    return f"pcs{number:02}"


def argument_of(number: int) -> str:
    """Give what the C program calls the argument of that number."""
    return f"n{number:07}-0123456789abcdefghijklmnopqrstuvwxyz0123"


def _read_made(logs: list[Path]) -> Outcome:
    made = []
    for log in logs:
        for pid, program, number, uid, status, _, from_ns, until_ns in _MADE.iter_unpack(log.read_bytes()):
            if status:
                raise StormError(f"a program of the storm ended with {status}")
            made.append(Made(pid, _program_name(program), argument_of(number), uid, from_ns, until_ns))
    lasted_ns = max(one.until_ns for one in made) - min(one.from_ns for one in made)
    return Outcome(made, len(made), lasted_ns / 1e9)


def _read_counts(logs: list[Path]) -> Outcome:
    counts = [log.read_text().split() for log in logs]
    return Outcome([], sum(int(count) for count, _ in counts), max(float(lasted) for _, lasted in counts))


@contextmanager
def workshop_in(directory: Path) -> Iterator[Workshop]:
    """Compile everything into a directory, which is gone afterwards."""
    directory.chmod(0o755)  # programs run as nobody too
    try:
        yield Workshop(directory)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(directory)
