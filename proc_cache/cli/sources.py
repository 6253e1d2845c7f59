"""Whom the query commands ask: a history, a running engine, or /proc as it is now; the answers look the same."""

from __future__ import annotations

from ..errors import EngineUnavailableError
from ..record import Record
from ..service.address import is_socket_there
from .terminal import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Protocol, TypeVar

    from ..lineage import Placed
    from ..process import Node, Process
    from ..query import Chain, Descent, Outline
    from ..selection import Selection, Target
    from ..service.client import EngineClient
    from ..times import Moment

    T = TypeVar("T")

    class Source(Protocol):
        """Answers the questions."""

        def chain(self, pid: int, moment: Moment | None = None) -> Chain:
            """Give the ancestry of a process."""

        def outlines(self, targets: Sequence[Target]) -> Iterator[Outline]:
            """Give the ancestries of some processes, without the facts of their links."""

        def user(self, node: Node) -> str | None:
            """Give the name of the user of a process of an outline."""

        def descent(self, pid: int, cmd: str, *, is_strict: bool = False, moment: Moment | None = None) -> Descent:
            """Tell whether a process, or an ancestor of it, has a name."""

        def processes(self, selection: Selection) -> Iterator[Process]:
            """Give the processes of a selection. Raises NobodyFoundError."""

        def lineages(self, selection: Selection) -> Iterator[Placed]:
            """Give them and all that is above them. Raises as `processes` does."""


class Where(Record):
    """Where to ask, as the options say."""

    may_ask_engine: bool = True
    history: str | None = None  # a file


def open_source(where: Where) -> Source:
    """Open what is to be asked. Raises HistoryError."""
    if where.history is not None:
        from ..history.reader import HistoryView
        from .views import ViewSource

        return ViewSource(HistoryView.open(where.history))
    if where.may_ask_engine and is_socket_there():
        return EngineFirst()
    return _proc_source()


def _proc_source() -> Source:
    from .views import ProcSource

    return ProcSource()


class EngineFirst:
    """Asks a running engine; where there is none, or it does not answer, /proc."""

    def __init__(self) -> None:
        from ..service.client import EngineClient

        self._proc: Source | None = None
        self._engine: EngineClient | None = None
        try:
            self._engine = EngineClient.connect()
        except EngineUnavailableError as error:
            self._give_up(error)

    def chain(self, pid: int, moment: Moment | None = None) -> Chain:
        """Give the ancestry of a process."""
        return self._ask(lambda source: source.chain(pid, moment))

    def outlines(self, targets: Sequence[Target]) -> Iterator[Outline]:
        """Give the ancestries of some processes, without the facts of their links."""
        return iter(self._ask(lambda source: list(source.outlines(targets))))

    def user(self, node: Node) -> str | None:
        """Give the name of the user of a process of an outline."""
        return self._ask(lambda source: source.user(node))

    def descent(self, pid: int, cmd: str, *, is_strict: bool = False, moment: Moment | None = None) -> Descent:
        """Tell whether a process, or an ancestor of it, has a name."""
        return self._ask(lambda source: source.descent(pid, cmd, is_strict=is_strict, moment=moment))

    def processes(self, selection: Selection) -> Iterator[Process]:
        """Give the processes of a selection. Raises NobodyFoundError, and NotRememberedError for the dead."""
        # All before the first: an engine can end in the middle of its answer.
        return iter(self._ask(lambda source: list(source.processes(selection))))

    def lineages(self, selection: Selection) -> Iterator[Placed]:
        """Give them and all that is above them. Raises as `processes` does."""
        return iter(self._ask(lambda source: list(source.lineages(selection))))

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

    def _fall_back(self) -> Source:
        if self._proc is None:
            self._proc = _proc_source()
        return self._proc
