"""What each listener of the proc connector knows of programs that exit at once, and what it costs.

    python -m tests.benchmarks.capture [--storms paced,two,...] [--listeners extrace,...] [--runs N]
                                       [--execs N] [--seconds S] [--json]

Each storm runs once for each listener in turn, and once with none, --runs times; a table has the medians. A storm
writes down what it made, and what a listener told is compared with that. As root, with a C compiler; tmux for the
live view; extrace and forkstat where they are installed. `--json` has each run by itself, and the CPU of each
process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .accounts import CONNECTOR, GENERIC, drops_of, is_quiet, usage_of, used_since, wait_until_quiet
from .judge import judge
from .lineup import ENGINE, LINEUP, NO_LISTENER, RECEIVER, Kind, why_not
from .listeners import NotReadyError, Place
from .storms import STORMS, Limits, Storm, StormError, Workshop, run, workshop_in
from .tables import NOTES, Result, machine, table

if TYPE_CHECKING:
    from typing import NoReturn

EXECS = 6000
SECONDS = 4.0
_KNOWING_NOTHING = (NO_LISTENER, ENGINE, RECEIVER)  # or who is not asked for it
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def measure(storm: Storm, kind: Kind, workshop: Workshop, limits: Limits, number: int) -> Result:
    """Let one storm pass before one listener. Raises NotReadyError, StormError and sqlite3.Error."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=workshop.directory) as name:
        was_quiet = wait_until_quiet()
        listener = kind.make(Place(Path(name), workshop, storm.prefix))
        try:
            listener.start()
            listener.wait_until_ready()
            pids = listener.processes()
            usage, terminal_us, drops = usage_of(pids), listener.terminal_us(), drops_of(pids)
            outcome = run(storm, workshop, limits)
            is_drained = listener.drain()
            pids = listener.processes()
            spent = used_since(usage, usage_of(pids))
            terminal_us = listener.terminal_us() - terminal_us
            dropped = Counter(drops_of(pids))
            dropped.subtract(drops)
            listener.stop()
            told = listener.told()
        finally:
            listener.close()
    return Result(
        storm=storm.name,
        listener=kind.name,
        run=number,
        processes=outcome.processes,
        lasted_s=outcome.lasted_s,
        score=judge(outcome.made, told) if outcome.made and kind.name not in _KNOWING_NOTHING else None,
        dropped=dropped[CONNECTOR],
        dropped_exit_records=dropped[GENERIC],
        own_lost=told.own_lost,
        usage=spent,
        terminal_us=terminal_us,
        is_drained=is_drained,
        was_quiet=was_quiet and is_quiet(),
    )


def measure_storm(storm: Storm, kinds: list[Kind], workshop: Workshop, limits: Limits, runs: int) -> list[Result]:
    """Give each listener its turn in each round; the order turns too, lest one always comes after another."""
    results = []
    for number in range(runs):
        first = number % len(kinds)
        for kind in kinds[first:] + kinds[:first]:
            if kind.name == RECEIVER and storm.has_exec and not storm.is_flooded:
                continue
            if sys.stderr.isatty():
                print(f"{storm.name}, {kind.name}, run {number + 1} of {runs}", end="\x1b[K\r", file=sys.stderr)
            try:
                results.append(measure(storm, kind, workshop, limits, number))
            except (NotReadyError, StormError, sqlite3.Error) as error:
                print(f"{kind.name} failed in {storm.name}: {error}", file=sys.stderr)
    order = [kind.name for kind in kinds]
    return sorted(results, key=lambda result: order.index(result.listener))


def runnable(names: list[str], workshop: Workshop) -> list[Kind]:
    """Choose the listeners that can be run here, and say why the others cannot."""
    kinds = []
    for name in dict.fromkeys([NO_LISTENER, *names]):
        reason = why_not(LINEUP[name], workshop)
        if reason is None:
            kinds.append(LINEUP[name])
        else:
            print(f"{name} skipped: {reason}", file=sys.stderr)
    return kinds


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare listeners of the proc connector.",
        epilog="storms: " + ", ".join(STORMS) + "; listeners: " + ", ".join(LINEUP),
    )
    parser.add_argument("--storms", default=",".join(STORMS))
    parser.add_argument("--listeners", default=",".join(LINEUP))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--execs", type=int, default=EXECS, help="of all spawners together")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="a storm ends with the first of the two")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for option, known in (("storms", STORMS), ("listeners", LINEUP)):
        names = [name.strip() for name in getattr(given, option).split(",")]
        unknown = [name for name in names if name not in known]
        if unknown:
            parser.error(f"no such {option}: {', '.join(unknown)}; give some of {', '.join(known)}")
        setattr(given, option, names)
    return given


def end(_number: int, _frame: object) -> NoReturn:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)  # what was started is ended now, and that is not to be interrupted
    sys.exit("ended")


def main() -> None:
    given = parse_arguments()
    if os.geteuid():
        sys.exit("needs root: programs of two users are run, and the proc connector is listened to")
    for number in _ENDING:
        signal.signal(number, end)
    limits = Limits(given.execs, given.seconds)
    results = []
    with workshop_in(Path(tempfile.mkdtemp(prefix="pcb-"))) as workshop:
        kinds = runnable(given.listeners, workshop)
        if not given.json:
            print(machine())
            print(f"medians of {given.runs} runs, at most {limits.execs:,} execs or {limits.seconds} s each\n")
        for name in given.storms:
            of_storm = measure_storm(STORMS[name], kinds, workshop, limits, given.runs)
            results += of_storm
            if not given.json:
                print(table(STORMS[name], of_storm), flush=True)
    if given.json:
        json.dump({"machine": machine(), "results": [as_json(result) for result in results]}, sys.stdout, indent=1)
    else:
        print(NOTES)


def as_json(result: Result) -> dict[str, object]:
    """Write a result with names in place of the fields of tuples."""
    plain = asdict(result)
    plain["score"] = result.score and result.score._asdict()
    plain["usage"] = [one._asdict() for one in result.usage]
    return plain | {"cpu_us": result.cpu_us, "rate": result.rate}


if __name__ == "__main__":
    main()
