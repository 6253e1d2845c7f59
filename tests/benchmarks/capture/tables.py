"""The tables of the capture benchmark: a row for each listener, medians of its runs."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .lineup import NO_LISTENER, RECEIVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .accounts import Usage
    from .judge import Score
    from .storms import Storm

UNKNOWN = "-"
_MESSAGES_OF_A_FORK = 2  # vfork and _exit: a FORK and an EXIT
_RIGHT = ("named right %", "once exited %", "wrong %", "argv right %", "uid right %")
_EXEC_COLUMNS = ("listener", "execs", *_RIGHT, "lost", "CPU us/exec", "rate")
_MESSAGE_COLUMNS = ("listener", "messages", "lost", "lost %", "CPU us/message", f"x {RECEIVER}", "rate")
NOTES = """\
Right: by the exec itself, or once the process has exited; users and arguments: by the last word on each. Wrong:
named at its exec, but as another. Lost: messages that the kernel dropped at the listener's sockets
(/proc/net/netlink), and its own count, where it has one, in brackets. CPU: of all processes of the listener, but
not of its terminal or reader; of a message, of those that it received. Rate: of the storm, against the same storm
with no listener in the same round.
`*`: it had not come to the end of its queue after 20 s.
`!`: something else was using the machine before or after a run."""


@dataclass(frozen=True)
class Result:
    """One storm with one listener, once."""

    storm: str
    listener: str
    run: int
    processes: int  # or execs
    lasted_s: float
    score: Score | None
    dropped: int
    dropped_exit_records: int
    own_lost: int | None
    usage: list[Usage]
    terminal_us: int
    is_drained: bool
    was_quiet: bool  # before it and after it

    @property
    def rate(self) -> float:
        return self.processes / self.lasted_s

    @property
    def cpu_us(self) -> int:
        return sum(one.cpu_us for one in self.usage)

    @property
    def us_an_exec(self) -> float:
        return self.cpu_us / self.processes

    @property
    def messages(self) -> int:
        return self.processes * _MESSAGES_OF_A_FORK

    @property
    def us_a_message(self) -> float | None:
        """Give the cost of those that it received; None where more were dropped than this storm made."""
        received = self.messages - self.dropped
        return self.cpu_us / received if received > 0 else None


def machine() -> str:
    """Say on what this was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, Python {platform.python_version()}"


def table(storm: Storm, results: list[Result]) -> str:
    """Draw the table of one storm."""
    rows = _exec_rows(results) if storm.has_exec else _message_rows(results)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_row(row, widths) for row in (rows[0], rule, *rows[1:])]
    return f"### {storm.name}: {storm.what}\n\n" + "\n".join(lines) + "\n"


def _row(cells: list[str], widths: list[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return " | ".join(["| " + cells[0].ljust(widths[0]), *padded[1:]]) + " |"


def _by_listener(results: list[Result]) -> dict[str, list[Result]]:
    names = list(dict.fromkeys(result.listener for result in results))
    return {name: [result for result in results if result.listener == name] for name in names}


def _exec_rows(results: list[Result]) -> list[list[str]]:
    rows = [[*_EXEC_COLUMNS]]
    for name, runs in _by_listener(results).items():
        scores = [run.score for run in runs if run.score is not None]
        rows.append(
            [
                _name(name, runs),
                _whole(run.processes for run in runs),
                _percent(score.named for score in scores),
                _percent(score.named_once_exited for score in scores),
                _percent(score.wrong for score in scores),
                _percent(score.argument for score in scores),
                _percent(score.uid for score in scores),
                _lost(name, runs),
                UNKNOWN if name == NO_LISTENER else _median(lambda run: run.us_an_exec, runs, ".0f"),
                _rate(runs, results),
            ]
        )
    return rows


def _message_rows(results: list[Result]) -> list[list[str]]:
    rows = [[*_MESSAGE_COLUMNS]]
    floor = _us_a_message([run for run in results if run.listener == RECEIVER])
    for name, runs in _by_listener(results).items():
        us = _us_a_message(runs) if name != NO_LISTENER else None
        rows.append(
            [
                _name(name, runs),
                _whole(run.messages for run in runs),
                _lost(name, runs),
                UNKNOWN if name == NO_LISTENER else _percent(100 * run.dropped / run.messages for run in runs),
                f"{us:.1f}" if us else UNKNOWN,
                f"{us / floor:.1f}" if us and floor else UNKNOWN,
                _rate(runs, results),
            ]
        )
    return rows


def _us_a_message(runs: list[Result]) -> float | None:
    known = [us for run in runs if (us := run.us_a_message)]
    return statistics.median(known) if known else None


def _name(name: str, runs: list[Result]) -> str:
    marks = ["*"] * (not all(run.is_drained for run in runs)) + ["!"] * (not all(run.was_quiet for run in runs))
    return " ".join([name, *marks])


def _median(value: Callable[[Result], float], runs: list[Result], form: str) -> str:
    return format(statistics.median(map(value, runs)), form)


def _whole(values: Iterable[int]) -> str:
    return f"{statistics.median(values):,.0f}"


def _percent(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return UNKNOWN
    median = statistics.median(known)
    return f"{median:.1f}" if median in (0, 100) or 0.05 <= median < 99.95 else f"{median:.2f}"


def _lost(name: str, runs: list[Result]) -> str:
    if name == NO_LISTENER:
        return UNKNOWN
    own = [run.own_lost for run in runs if run.own_lost is not None]
    counted = f" ({_whole(own)})" if own else ""
    return _whole(run.dropped for run in runs) + counted


def _rate(runs: list[Result], results: list[Result]) -> str:
    """Compare with the storm alone in the same round; the storm alone tells its rate itself."""
    if runs[0].listener == NO_LISTENER:
        return f"{statistics.median(run.rate for run in runs):,.0f}/s"
    alone = {run.run: run.rate for run in results if run.listener == NO_LISTENER}
    shares = [run.rate / alone[run.run] for run in runs if run.run in alone]
    return f"{statistics.median(shares):.2f}" if shares else UNKNOWN
