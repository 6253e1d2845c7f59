"""`watch [-- COMMAND...]`: processes as they are born, run programs and end."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from .. import query
from ..errors import ConnectorUnavailableError
from ..events import Exec, Exit, Fork
from ..kernel.clocks import deadline_s, left_s, monotonic_to_boottime_ns
from ..render import jsonlines
from ..render.chain import walk_text
from ..render.events import EVENT_NAMES, event_line, event_object
from ..selection import Chooser
from . import exit_status
from .capture import Capture, CaptureOptions
from .forwarding import SignalForwarding
from .signals import TerminatedError
from .terminal import abandon_stdout, flush, is_terminal, tell, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..engine.core import Engine
    from ..events import Event
    from ..process import Node, Process
    from ..selection import Selection

_TICK_S = 0.25
_LAST_WORDS_S = 1.0  # how long to wait for the events of a command that has ended


class WatchOptions:
    """What to show, how, and for how long."""

    __slots__ = ("capture", "command", "count", "duration_s", "events", "form", "selection")

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
    ) -> None:
        self.form = "live" if is_live(form, command) else form or "lines"
        self.events = events or frozenset((Fork, Exec, Exit))
        self.selection = selection
        self.count = count
        self.duration_s = duration_s
        self.command = list(command)
        self.capture = capture


def is_live(form: str | None, command: Sequence[str] | None) -> bool:
    """Tell whether the screen is to be drawn on, for these options and where stdout goes."""
    return form == "live" or (form is None and is_terminal() and not command)


def parse_events(words: str) -> frozenset[type]:
    """Read a list of event names, separated by commas. Raises ValueError with what can be given."""
    kinds = {name: kind for kind, name in EVENT_NAMES.items()}
    names = [word.strip() for word in words.split(",") if word.strip()]
    for name in names:
        if name not in kinds:
            raise ValueError(f"{name!r} is no event; give some of {','.join(kinds)}")
    return frozenset(kinds[name] for name in names)


def run(options: WatchOptions) -> int:
    """Watch until the count, the time or the command is over, or the user ends it. Raises NobodyFoundError."""
    capture = Capture(options.capture)
    try:
        with capture:
            return _watch(capture, options)
    except ConnectorUnavailableError as error:
        tell(f"cannot watch: {error}")
        return exit_status.UNAVAILABLE
    except (KeyboardInterrupt, TerminatedError):
        return exit_status.ANSWERED  # the usual end of a stream
    finally:
        capture.tell_missed()


def _watch(capture: Capture, options: WatchOptions) -> int:
    chooser = Chooser(capture.engine.view, options.selection)
    try:
        if options.command:
            return _run_command(capture, options, chooser)
        return _follow(capture, options, chooser)
    finally:
        capture.tell_losses()


def _follow(capture: Capture, options: WatchOptions, chooser: Chooser) -> int:
    if options.form == "live":
        from .live import LiveView

        with LiveView(capture.engine, chooser) as view:
            _pump(capture, options, view)
    else:
        _pump(capture, options, _Lines(capture.engine, options, chooser))
    return exit_status.ANSWERED


def _pump(capture: Capture, options: WatchOptions, shown: Shown) -> None:
    deadline = deadline_s(options.duration_s) if options.duration_s is not None else None
    shown.refresh()
    while not shown.is_done and (deadline is None or left_s(deadline)):
        capture.turn(_TICK_S if deadline is None else min(_TICK_S, left_s(deadline)))
        shown.refresh()


def _run_command(capture: Capture, options: WatchOptions, chooser: Chooser) -> int:
    """Run the command with its output on our stderr: stdout has the events, and nothing else."""
    lines = _Lines(capture.engine, options, chooser)
    with SignalForwarding() as forwarding:
        try:
            child = _spawn(capture, options.command)
        except OSError as error:
            tell(f"cannot run {options.command[0]}: {error.strerror}")
            return exit_status.USAGE
        forwarding.to(child)
        end = deadline_s(options.duration_s) if options.duration_s is not None else None
        while child.poll() is None:
            capture.turn(_TICK_S / 5)
            lines.refresh_unless_closed()
            lines.is_done = lines.is_done or (end is not None and not left_s(end))
        last = deadline_s(_LAST_WORDS_S)
        while not lines.is_root_gone and left_s(last):
            capture.turn(left_s(last))
        lines.refresh_unless_closed()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _spawn(capture: Capture, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the command in another thread, for it may be over before Popen returns; meanwhile events are read.

    Its output goes to our stderr. Raises what Popen raises.
    """
    with ThreadPoolExecutor(max_workers=1) as starter:
        started = starter.submit(subprocess.Popen, command, stdout=2)
        while not started.done():
            capture.turn(_TICK_S / 50)
        return started.result()


class Shown(Protocol):
    """What shows events: told of each by the engine, and now and then given time to draw."""

    is_done: bool

    def refresh(self) -> None:
        """Show what has come since."""


class _Lines:
    """A line, or an object, for each event that was asked for.

    Events are set aside as they come and written when the kernel's queue is empty, and before each line the
    queue is looked at again: what is written late can wait, a name that is read late is lost.
    """

    def __init__(self, engine: Engine, options: WatchOptions, chooser: Chooser) -> None:
        self._engine = engine
        self._chooser = chooser
        self._view = engine.view
        self._options = options
        self._left = options.count
        self._pending: deque[tuple[Event, Node, Process]] = deque()
        self._lost = 0
        self.is_done = False
        self._is_narrowed = bool(options.command)
        self._root_pid: int | None = None  # of the command: the first child we have after this
        self.is_root_gone = False
        engine.observer = self._observe

    def refresh(self) -> None:
        """Write what was set aside."""
        to_boottime_ns = monotonic_to_boottime_ns()
        while self._pending and not self.is_done:
            self._engine.pump(0)
            event, node, process = self._pending.popleft()
            self._write(event, event.timestamp_ns + to_boottime_ns, node, process)
        flush()
        if self._engine.ledger.lost > self._lost:
            tell(f"{self._engine.ledger.lost - self._lost} messages of the kernel were lost here")
            self._lost = self._engine.ledger.lost

    def refresh_unless_closed(self) -> None:
        """The same beside a command, which goes on when nobody reads us any more."""
        try:
            self.refresh()
        except BrokenPipeError:
            self.is_done = True
            abandon_stdout()

    def _observe(self, event: Event, node: Node) -> None:
        if self._is_narrowed:
            if self._root_pid is None and isinstance(event, Fork) and node.ppid == os.getpid():
                self._root_pid = node.pid
            if node.pid == self._root_pid and isinstance(event, Exit):
                self.is_root_gone = True
            if not self._is_of_command(node):
                return
        if not self.is_done and type(event) in self._options.events and self._chooser.has(node):
            self._pending.append((event, node, self._view.describe(node, is_fresh=False)))

    def _is_of_command(self, node: Node) -> bool:
        current: Node | None = node
        while current is not None:
            if current.pid == self._root_pid and current.ppid == os.getpid():
                return True
            current = current.parent
        return False

    def _write(self, event: Event, time_ns: int, node: Node, process: Process) -> None:
        ancestors = query.walk_from(self._view, node)
        chain = walk_text(self._view, ancestors, itself=process)
        if self._options.form == "ndjson":
            write(jsonlines.line(event_object(event, time_ns, process, chain)))
        else:
            write(event_line(event, time_ns, process, chain))
        if self._left is not None:
            self._left -= 1
            self.is_done = self._left <= 0
