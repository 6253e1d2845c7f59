"""`watch [-- COMMAND...]`: processes as they are born, run programs and end.

It draws and writes only. An engine captures, in a process of its own: one that runs already, else a child.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import EngineHungUpError, EngineUnavailableError
from ..events import KINDS, Exec, Exit, Fork
from ..kernel.clocks import deadline_s, left_s
from ..selection import Selection
from ..service.client import EngineClient
from . import command, exit_status
from .child import EngineChild
from .lines import Lines
from .searched import searched
from .signals import TerminatedError, unwind_on_sighup
from .terminal import is_terminal, tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..service.following import Following
    from .capture import CaptureOptions
    from .pattern import NamePattern
    from .searched import Searched

_TICK_S = 0.25


class WatchOptions:
    """What to show, how, and for how long; `capture` is how, where an engine is started for it."""

    __slots__ = (
        "capture",
        "command",
        "count",
        "duration_s",
        "events",
        "form",
        "needs_own_engine",
        "pattern",
        "selection",
    )

    def __init__(  # noqa: PLR0913
        self,
        *,
        form: str | None,
        events: frozenset[type],
        selection: Selection,
        count: int | None,
        duration_s: float | None,
        command: Sequence[str],
        capture: CaptureOptions,
        needs_own_engine: bool = False,
        pattern: NamePattern | None = None,
    ) -> None:
        self.form = _drawable(form or _default_form(command))
        self.events = events or frozenset((Fork, Exec, Exit))
        if selection.is_about_ends:
            self.events &= {Exit}  # what has not ended cannot match
        self.selection = selection
        self.pattern = pattern
        self.count = count
        self.duration_s = duration_s
        self.command = list(command)
        self.capture = capture
        self.needs_own_engine = needs_own_engine

    @property
    def is_narrowed(self) -> bool:
        """Tell whether some processes are not asked for."""
        return self.selection != Selection() or self.pattern is not None

    @property
    def event_names(self) -> tuple[str, ...]:
        """The kinds of event that are asked for, by name."""
        return tuple(name for name, kind in KINDS.items() if kind in self.events)


def _default_form(command: Sequence[str]) -> str:
    """Give the form for where stdout goes: a screen that can be drawn on, or not."""
    if command:
        return "tree" if sys.stdout.isatty() else "lines"
    return "live" if is_terminal() else "lines"


def _drawable(form: str) -> str:
    """Give lines instead of a view where there is no screen."""
    return "lines" if form == "live" and not is_terminal() else form


def check_form(form: str | None, command: Sequence[str]) -> None:
    """Raise ValueError where that form cannot be had."""
    if form == "tree" and not command:
        raise ValueError(f"{form} is the closing tree of a command; give -- COMMAND too, or --format ndjson")
    if form == "live" and command:
        raise ValueError("the screen is the command's own; give tree, lines, json, ndjson or ecs")


def parse_events(words: str) -> frozenset[type]:
    """Read a list of event names, separated by commas. Raises ValueError with what can be given."""
    names = [word.strip() for word in words.split(",") if word.strip()]
    for name in names:
        if name not in KINDS:
            raise ValueError(f"{name!r} is no event; give some of {','.join(KINDS)}")
    if words and not names:
        raise ValueError(f"no event is named; give some of {','.join(KINDS)}")
    return frozenset(KINDS[name] for name in names)


def run(options: WatchOptions) -> int:
    """Watch until the count, the time or the command is over, or the user ends it. Raises NobodyFoundError."""
    unwind_on_sighup()
    try:
        with _engine(options) as client:
            if options.command:
                return command.run(client, options)
            return _follow(client, options)
    except EngineHungUpError as error:
        tell(f"the watch is over, for {error}; run it again")
        return exit_status.UNAVAILABLE
    except EngineUnavailableError as error:
        tell(f"cannot watch: {error}")
        return exit_status.UNAVAILABLE
    except (KeyboardInterrupt, TerminatedError):
        if options.command:
            raise  # before it could be run: whoever looks at the status must not take it for done
        return exit_status.ANSWERED  # the usual end of a stream


@contextmanager
def _engine(options: WatchOptions) -> Iterator[EngineClient]:
    """Give a running engine, or one that ends with this."""
    running = None if options.needs_own_engine else _running_engine()
    if running is not None:
        try:
            yield running
        finally:
            running.close()
        return
    child = EngineChild(options.capture, is_quiet=options.form == "live")
    try:
        child.wait_until_ready()
        yield child.client
    finally:
        child.close()


def _running_engine() -> EngineClient | None:
    """Give the engine that runs, if it can be asked for a stream."""
    try:
        client = EngineClient.connect()
        if client is not None:
            client.stats()
    except EngineUnavailableError as error:
        tell(f"{error}; starting an engine for this watch")
        return None
    return client


def _follow(client: EngineClient, options: WatchOptions) -> int:
    deadline = deadline_s(options.duration_s) if options.duration_s is not None else None
    if options.form == "live":
        from . import live

        with client.pictures(options.selection) as following:
            live.run(following, options.pattern, deadline)
    else:
        is_whole = options.form == "ecs"
        with (
            client.events(options.event_names, options.selection, is_whole=is_whole) as following,
            Lines(options.form, options.count) as lines,
        ):
            _show(searched(following, options.pattern), lines, deadline)
    return exit_status.ANSWERED


def _show(following: Following | Searched, lines: Lines, deadline: float | None) -> None:
    while not lines.is_done and (deadline is None or left_s(deadline)):
        timeout_s = _TICK_S if deadline is None else min(_TICK_S, left_s(deadline))
        lines.show(following.take(timeout_s))
