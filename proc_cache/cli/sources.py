"""Whom the query commands ask: a history, a running engine, or /proc as it is now; the answers look the same."""

from __future__ import annotations

from .. import query
from ..engine.table import ProcessTable
from ..engine.view import View
from ..errors import EngineUnavailableError, NotRememberedError
from ..kernel.procfs import ProcReader
from ..kernel.users import UserNames
from ..process import CacheParams
from ..record import Record
from .terminal import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol, TypeVar

    from ..process import Process
    from ..query import Chain, Descent
    from ..selection import Listing, Selection
    from ..service.client import EngineClient
    from ..times import Moment

    T = TypeVar("T")

    class Source(Protocol):
        """Answers the questions."""

        def chain(self, pid: int, moment: Moment | None = None) -> Chain:
            """Give the ancestry of a process."""

        def descent(self, pid: int, cmd: str, *, is_strict: bool = False, moment: Moment | None = None) -> Descent:
            """Tell whether a process, or an ancestor of it, has a name."""

        def processes(self, selection: Selection) -> Iterator[Process]:
            """Give the processes of a selection. Raises NobodyFoundError."""


class Where(Record):
    """Where to ask, as the options say."""

    may_ask_engine: bool = True
    history: str | None = None  # a file


def open_source(where: Where) -> Source:
    """Open what is to be asked. Raises HistoryError."""
    if where.history is not None:
        from ..history.reader import HistoryView

        return ViewSource(HistoryView.open(where.history))
    return EngineFirst() if where.may_ask_engine else ProcSource()


class ViewSource:
    """Asks a view."""

    def __init__(self, view: Listing) -> None:
        self._view = view

    def chain(self, pid: int, moment: Moment | None = None) -> Chain:
        """Give the ancestry of a process."""
        return query.chain(self._view, pid, moment)

    def descent(self, pid: int, cmd: str, *, is_strict: bool = False, moment: Moment | None = None) -> Descent:
        """Tell whether a process, or an ancestor of it, has a name."""
        return query.descent(self._view, pid, cmd, is_strict=is_strict, moment=moment)

    def processes(self, selection: Selection) -> Iterator[Process]:
        """Give the processes of a selection. Raises NobodyFoundError."""
        from ..selection import select

        return (self._view.describe(node, is_fresh=False) for node in select(self._view, selection))


class ProcSource(ViewSource):
    """Asks /proc: a table with nothing in it, and the reader behind it."""

    def __init__(self) -> None:
        super().__init__(View(ProcessTable(CacheParams(0, 0)), ProcReader(), UserNames()))

    def processes(self, selection: Selection) -> Iterator[Process]:
        """Give the processes of a selection. Raises NobodyFoundError, and NotRememberedError for the dead."""
        from ..engine.core import Engine

        if selection.with_dead or selection.moment is not None:
            raise NotRememberedError(
                "only a running engine or a history knows the dead; start `proc-cache serve`, or give --from FILE"
            )
        engine = Engine()
        engine.scan()
        self._view = engine.view
        return super().processes(selection)


class EngineFirst:
    """Asks a running engine; where there is none, or it does not answer, /proc."""

    def __init__(self) -> None:
        from ..service.client import EngineClient

        self._proc: ProcSource | None = None
        self._engine: EngineClient | None = None
        try:
            self._engine = EngineClient.connect()
        except EngineUnavailableError as error:
            self._give_up(error)

    def chain(self, pid: int, moment: Moment | None = None) -> Chain:
        """Give the ancestry of a process."""
        return self._ask(lambda source: source.chain(pid, moment))

    def descent(self, pid: int, cmd: str, *, is_strict: bool = False, moment: Moment | None = None) -> Descent:
        """Tell whether a process, or an ancestor of it, has a name."""
        return self._ask(lambda source: source.descent(pid, cmd, is_strict=is_strict, moment=moment))

    def processes(self, selection: Selection) -> Iterator[Process]:
        """Give the processes of a selection. Raises NobodyFoundError, and NotRememberedError for the dead."""
        # All before the first: an engine can end in the middle of its answer.
        return iter(self._ask(lambda source: list(source.processes(selection))))

    def _ask(self, question: Callable[[Source], T]) -> T:
        if self._engine is not None:
            try:
                return question(self._engine)
            except EngineUnavailableError as error:
                self._give_up(error)
        return question(self._fall_back())

    def _give_up(self, error: EngineUnavailableError) -> None:
        tell(f"{error}; asking /proc instead")
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _fall_back(self) -> ProcSource:
        if self._proc is None:
            self._proc = ProcSource()
        return self._proc
