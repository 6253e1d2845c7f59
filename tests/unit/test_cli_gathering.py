"""cli/gathering.py and cli/watch.py: what is said beside the tree of a command, and what is never said."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache.cli import watch
from proc_cache.cli.capture import CaptureOptions
from proc_cache.cli.gathering import Gathering
from proc_cache.cli.signals import TerminatedError
from proc_cache.process import CacheParams
from proc_cache.render.style import PLAIN
from proc_cache.selection import Selection
from proc_cache.service.following import ChildEnded, Missed
from tests.helpers.processes import Forked, start_ticks_of
from tests.helpers.told import a_node, told_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proc_cache.process import Node


def options(**changed: Any) -> watch.WatchOptions:
    told: dict[str, Any] = {
        "form": "tree",
        "events": frozenset(),
        "selection": Selection(),
        "count": None,
        "duration_s": None,
        "command": ["make"],
        "capture": CaptureOptions(CacheParams(1, 1)),
    }
    return watch.WatchOptions(**{**told, **changed})


def child(pid: int = 500, **facts: Any) -> Node:
    return a_node(pid, a_node(os.getpid()), **facts)


def lines(gathering: Gathering) -> list[str]:
    return list(gathering.lines(PLAIN, 1_000_000_000))


def test_nothing_is_missing() -> None:
    gathering = Gathering(options())
    gathering.show([told_of(child(), "fork"), ChildEnded(7), told_of(child(exit_ns=5, exit_status=0), "exit")])
    assert not any(line.startswith("note:") for line in lines(gathering))


def test_what_is_missing_is_told_by_its_cause() -> None:
    gathering = Gathering(options())
    gathering.show([Missed(1234, True), Missed(5, False), Missed(6, False)])
    assert lines(gathering)[1:3] == [
        "note: 1,234 messages of the kernel were lost; processes or ends may be missing",
        "note: 11 events came faster than they were read; processes or ends may be missing",
    ]


def test_a_filter_is_told() -> None:
    gathering = Gathering(options(selection=Selection(cmd="cc1")))
    assert lines(gathering)[1].startswith("note: only what was asked for is counted")


@pytest.mark.parametrize("kinds", ["exec", "fork,exec,exit"])
def test_a_count_is_of_the_events_that_are_asked_for(kinds: str) -> None:
    gathering = Gathering(options(count=2, events=watch.parse_events(kinds)))
    for pid in range(500, 510):
        gathering.show([told_of(child(pid), "fork"), told_of(child(pid), "exec")])
    assert gathering.family.count == (2 if kinds == "exec" else 1)
    assert gathering.is_done


def test_who_is_there_still_runs_and_who_is_not_has_ended_unseen() -> None:
    gathering = Gathering(options())
    with Forked() as forked:
        ticks = os.sysconf("SC_CLK_TCK")
        start_ns = start_ticks_of(forked.pid) * 1_000_000_000 // ticks
        living = child(forked.pid, start_ns=start_ns)
        other = child(forked.pid, start_ns=start_ns - 10_000_000_000)
        gathering.show([told_of(other, "exec"), told_of(living, "exec"), told_of(child(4_194_305), "exec")])
        assert gathering.look_for_the_living()
        states = [(member.is_running(), member.is_end_unseen) for member in gathering.family.members()]
    assert sorted(states) == [(False, True), (False, True), (True, False)]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, TerminatedError])
def test_an_end_before_the_command_could_run_is_no_success(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    @contextmanager
    def interrupted(_: watch.WatchOptions) -> Iterator[None]:
        raise kind
        yield

    monkeypatch.setattr(watch, "_engine", interrupted)
    monkeypatch.setattr(watch, "unwind_on_sighup", lambda: None)
    with pytest.raises(kind):
        watch.run(options())
    assert watch.run(options(command=[], form="lines")) == 0


@pytest.mark.parametrize(("form", "command"), [("tree", []), ("live", ["make"])], ids=["tree", "live"])
def test_forms_that_do_not_fit(form: str, command: list[str]) -> None:
    with pytest.raises(ValueError, match="give"):
        watch.check_form(form, command)
