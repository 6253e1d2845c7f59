"""Whether what a listener told of the programs of a storm is right."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .reports import Report, Told
    from .storms import Made

_SLACK_NS = 20_000_000  # clocks differ a little; a pid comes again after a second at the soonest


class Score(NamedTuple):
    """Shares of the programs made, in percent; None where this listener cannot tell."""

    reported: float
    named: float
    wrong: float  # of another program's name
    named_once_exited: float | None
    argument: float
    uid: float | None


def judge(made: list[Made], told: Told) -> Score:
    """Compare. Names that are right by the exec, and those that are right once the process has ended."""
    at_exec = _pair(made, [report for report in told.reports if not report.is_exit])
    at_exit = _pair(made, [report for report in told.reports if report.is_exit])
    pairs = [(one, at_exec.get(number), at_exit.get(number)) for number, one in enumerate(made)]
    return Score(
        reported=_share(first is not None for _, first, _ in pairs),
        named=_share(first is not None and first.name == one.name for one, first, _ in pairs),
        wrong=_share(first is not None and first.name not in (None, one.name) for one, first, _ in pairs),
        named_once_exited=_share(last is not None and last.name == one.name for one, _, last in pairs)
        if told.can_tell_exit
        else None,
        argument=_share(_has(one.argument, "argument", first, last) for one, first, last in pairs),
        uid=_share(_has(one.uid, "uid", first, last) for one, first, last in pairs) if told.can_tell_uid else None,
    )


def _share(answers: Iterable[bool]) -> float:
    """Give the percentage that is true."""
    counted = list(answers)
    return 100 * sum(counted) / len(counted)


def _has(expected: str | int, field: str, first: Report | None, last: Report | None) -> bool:
    """Tell whether the last word on it is right: the exit's, or the exec's where the exit has none."""
    values = [value for report in (last, first) if report and (value := getattr(report, field)) is not None]
    return bool(values) and values[0] == expected


def _pair(made: list[Made], reports: list[Report]) -> dict[int, Report]:
    """Give each program the report that is of it, by its number.

    A pid may come twice in a flood, and not every listener tells the time. Then a report belongs to the program
    that it is right about, and the others to what is left, in order: as good as it can be for the listener.
    """
    numbers_by_pid: dict[int, list[int]] = defaultdict(list)
    for number, one in enumerate(made):
        numbers_by_pid[one.pid].append(number)
    reports_by_pid: dict[int, list[Report]] = defaultdict(list)
    for report in reports:
        if report.pid in numbers_by_pid:
            reports_by_pid[report.pid].append(report)
    paired: dict[int, Report] = {}
    for pid, numbers in numbers_by_pid.items():
        _pair_one_pid(made, numbers, reports_by_pid[pid], paired)
    return paired


def _pair_one_pid(made: list[Made], numbers: list[int], reports: list[Report], paired: dict[int, Report]) -> None:
    left = list(reports)
    for is_match in (_has_argument, _has_name, _may_be):
        for number in numbers:
            if number in paired:
                continue
            found = next(
                (
                    report
                    for report in left
                    if _is_in_time(made[number], report) and is_match(made[number], report)
                ),
                None,
            )
            if found is not None:
                paired[number] = found
                left.remove(found)


def _is_in_time(one: Made, report: Report) -> bool:
    return report.time_ns is None or one.from_ns - _SLACK_NS <= report.time_ns <= one.until_ns + _SLACK_NS


def _has_argument(one: Made, report: Report) -> bool:
    return report.argument == one.argument


def _has_name(one: Made, report: Report) -> bool:
    return report.name == one.name


def _may_be(_one: Made, _report: Report) -> bool:
    return True
