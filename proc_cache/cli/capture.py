"""An engine that listens, answers other commands and, if wanted, records: what `serve` and `watch` run."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..engine.collector import IdleCollector
from ..engine.core import Engine
from ..engine.intake import BATCH_S
from ..errors import EngineRunningError, EngineUnavailableError
from ..kernel.clocks import deadline_s, left_s
from ..kernel.priority import Priority
from ..record import Record
from ..render.figures import flood_text, loss_text
from ..service.listening import Listener
from ..service.server import Server
from .signals import unwind_on_sighup
from .terminal import tell

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from ..history.bounds import Bounds
    from ..history.journal import Journal
    from ..process import CacheParams

_LAST_LOOKS_S = 0.5  # at the end, for what the kernel has sent by then


class CaptureOptions(Record):
    """How to capture: what to retain, how to be scheduled, whom to answer, where to record."""

    retention: CacheParams
    may_be_realtime: bool = True
    group: int | None = None  # whose members may ask, besides the owner
    must_answer: bool = False  # not to go on without a socket
    record: str | None = None  # a file
    bounds: Bounds | None = None  # of that file


class Capture:
    """Use it in a `with` block: it is listening from its beginning to its end, then call `turn()` again and again.

    `owner` leads to whom it runs for, alone; `say` is called with what the user has to know. Entering raises
    ConnectorUnavailableError, EngineRunningError, EngineUnavailableError and NotAHistoryError.
    """

    def __init__(
        self, options: CaptureOptions, owner: socket.socket | None = None, say: Callable[[str], None] = tell
    ) -> None:
        self._options = options
        self._owner = owner
        self._say = say
        self._stack = ExitStack()
        self.engine = Engine(options.retention)
        self.journal: Journal | None = None
        self._has_more_to_record = False
        self.server: Server

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        options, engine = self._options, self.engine
        unwind_on_sighup()  # or the socket would stay behind
        listener = self._listen()
        if listener is not None:
            self._stack.callback(listener.close)
        if options.record is not None:
            self._start_recording(options.record)  # before anything large is in memory: it forks
        collector = IdleCollector()  # before it listens: a first collection takes tens of milliseconds
        self._stack.callback(
            engine.close
        )  # around its start too: a Ctrl-C there must not leave the kernel sending
        engine.start()
        self._stack.callback(self._take_the_rest)
        if self.journal is not None:
            self.journal.begin(list(engine.table.nodes()))
        engine.intake.when_idle = collector.idle
        engine.intake.priority = Priority(may_be_realtime=options.may_be_realtime)
        if self.journal is not None:
            engine.intake.before_chores = self._record
            self.journal.pause = engine.intake.glance
        self.server = self._stack.enter_context(Server(engine, listener, self._owner))

    def _listen(self) -> Listener | None:
        try:
            return Listener.open(self._options.group)
        except (EngineRunningError, EngineUnavailableError):
            if self._options.must_answer:
                raise
            return None

    def _start_recording(self, path: str) -> None:
        from ..history import writer
        from ..history.bounds import Bounds
        from ..history.journal import Journal

        bounds = self._options.bounds or Bounds()
        self.journal = Journal(writer.start(path, bounds), self.engine.view, self.engine.ledger, self._say)
        self.engine.table.recorder = self.journal
        self._stack.callback(self.journal.finish)

    def _record(self) -> None:
        if self.journal is not None:
            self._has_more_to_record = self.journal.flush()

    def _take_the_rest(self) -> None:
        """Apply what the kernel had sent when the end came: the history, and its last word, have that too."""
        end_s = deadline_s(_LAST_LOOKS_S)
        while self.engine.pump(0) and left_s(end_s):
            pass

    def turn(self, timeout_s: float) -> None:
        """Apply what the kernel has sent, and answer who asks; wait at most so long for either."""
        self.server.turn(min(timeout_s, BATCH_S) if self._has_more_to_record else timeout_s)

    def tell_losses(self) -> None:
        """Say what was missed, and who flooded the kernel with events, if anything was, and anybody."""
        stats = self.engine.stats()
        if stats.lost or stats.overruns:
            self._say(loss_text(stats))
        if stats.floods:
            self._say(flood_text(stats))

    def tell_missed(self) -> None:
        """Say what the history lacks, if anything; after the end, for only then all is written."""
        if self.journal is not None and (missed := self.journal.stats().missed):
            self._say(f"{missed} processes are missing from the history")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
