"""`watch [-- COMMAND...]`: processes as they are born, run programs and end.

It draws and writes only. An engine captures, in a process of its own: one that runs already, else a child.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import EngineHungUpError, EngineUnavailableError
from ..events import KINDS, Exec, Exit, Fork
from ..kernel.clocks import deadline_s, left_s
from ..service.client import EngineClient
from . import exit_status
from .child import EngineChild
from .forwarding import SignalForwarding
from .lines import Lines
from .signals import TerminatedError, unwind_on_sighup
from .terminal import abandon_stdout, is_terminal, tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..selection import Selection
    from ..service.following import Following
    from .capture import CaptureOptions
    from .live import LiveView

_TICK_S = 0.25
_LAST_WORDS_S = 1.0  # how long to wait for the events of a command that has ended


class WatchOptions:
    """What to show, how, and for how long; `capture` is how, where an engine is started for it."""

    __slots__ = ("capture", "command", "count", "duration_s", "events", "form", "needs_own_engine", "selection")

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
    ) -> None:
        self.form = "live" if is_live(form, command) else form or "lines"
        self.events = events or frozenset((Fork, Exec, Exit))
        self.selection = selection
        self.count = count
        self.duration_s = duration_s
        self.command = list(command)
        self.capture = capture
        self.needs_own_engine = needs_own_engine

    @property
    def event_names(self) -> tuple[str, ...]:
        """The kinds of event that are asked for, by name."""
        return tuple(name for name, kind in KINDS.items() if kind in self.events)


def is_live(form: str | None, command: Sequence[str] | None) -> bool:
    """Tell whether the screen is to be drawn on, for these options and where stdout goes."""
    return form == "live" or (form is None and is_terminal() and not command)


def parse_events(words: str) -> frozenset[type]:
    """Read a list of event names, separated by commas. Raises ValueError with what can be given."""
    names = [word.strip() for word in words.split(",") if word.strip()]
    for name in names:
        if name not in KINDS:
            raise ValueError(f"{name!r} is no event; give some of {','.join(KINDS)}")
    if not names:
        raise ValueError(f"no event is named; give some of {','.join(KINDS)}")
    return frozenset(KINDS[name] for name in names)


def run(options: WatchOptions) -> int:
    """Watch until the count, the time or the command is over, or the user ends it. Raises NobodyFoundError."""
    unwind_on_sighup()
    try:
        with _engine(options) as client:
            if options.command:
                return _run_command(client, options)
            return _follow(client, options)
    except EngineHungUpError as error:
        tell(f"the watch is over, for {error}; run it again")
        return exit_status.UNAVAILABLE
    except EngineUnavailableError as error:
        tell(f"cannot watch: {error}")
        return exit_status.UNAVAILABLE
    except (KeyboardInterrupt, TerminatedError):
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
        from .live import LiveView

        with client.pictures(options.selection) as following, LiveView() as view:
            _show(following, view, deadline)
    else:
        is_whole = options.form == "ecs"
        with (
            client.events(options.event_names, options.selection, is_whole=is_whole) as following,
            Lines(options.form, options.count) as lines,
        ):
            _show(following, lines, deadline)
    return exit_status.ANSWERED


def _show(following: Following, shown: Lines | LiveView, deadline: float | None) -> None:
    while not shown.is_done and (deadline is None or left_s(deadline)):
        timeout_s = _TICK_S if deadline is None else min(_TICK_S, left_s(deadline))
        shown.show(following.take(timeout_s))


def _run_command(client: EngineClient, options: WatchOptions) -> int:
    """Run the command with its output on our stderr: stdout has the events, and nothing else."""
    me, is_whole = os.getpid(), options.form == "ecs"
    with (
        client.events(options.event_names, options.selection, children_of=me, is_whole=is_whole) as following,
        Lines(options.form, options.count) as lines,
        SignalForwarding() as forwarding,
    ):
        try:
            child = subprocess.Popen(options.command, stdout=2)
        except OSError as error:
            tell(f"cannot run {options.command[0]}: {error.strerror}")
            return exit_status.USAGE
        forwarding.to(child)
        end = deadline_s(options.duration_s) if options.duration_s is not None else None
        is_told = True
        while is_told and child.poll() is None:
            is_told = _show_unless_closed(lines, following, _TICK_S / 5)
            lines.is_done = lines.is_done or (end is not None and not left_s(end))
        child.wait()
        last = deadline_s(_LAST_WORDS_S)
        while is_told and child.pid not in lines.ended_children and left_s(last):
            is_told = _show_unless_closed(lines, following, left_s(last))
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _show_unless_closed(lines: Lines, following: Following, timeout_s: float) -> bool:
    """Show beside a command, which goes on when nobody reads us any more; false where the engine has ended."""
    try:
        lines.show(following.take(timeout_s))
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            tell(f"{error.strerror}: the command goes on, and nothing more is told of it")
        lines.is_done = True
        abandon_stdout()
    except EngineUnavailableError as error:
        tell(f"{error}; the command goes on, and nothing more is told of it")
        return False
    return True
