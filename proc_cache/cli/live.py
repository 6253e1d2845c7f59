"""The live form of `watch`: gathers what the engine tells, and has it drawn a few times a second."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from .. import query
from ..events import Exec, Exit, Fork
from ..kernel.clocks import boot_wall_ns, boottime_ns, monotonic_to_boottime_ns
from ..process import known_name
from ..render.chain import walk_text
from ..render.live import REFRESH_PER_SECOND, ROWS_KEPT, LiveRow, LiveScreen
from ..render.tree import ending_and_run_time
from ..times import clock

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ..engine.core import Engine
    from ..events import Event
    from ..process import Node
    from ..selection import Chooser

_FRAME_NS = 1_000_000_000 // REFRESH_PER_SECOND
_RATE_SPAN_NS = 5_000_000_000


class LiveView:
    """Shows the newest processes, a row each, until the user ends it."""

    is_done = False

    def __init__(self, engine: Engine, chooser: Chooser) -> None:
        self._engine = engine
        self._chooser = chooser
        self._screen = LiveScreen()
        self._rows: deque[LiveRow] = deque(maxlen=ROWS_KEPT)
        self._row_of: dict[int, LiveRow] = {}  # by pid, of the processes that live
        self._spawners: Counter[tuple[int, str]] = Counter()
        self._recent: deque[tuple[int, type]] = deque()
        self._drawn_ns = 0

    def __enter__(self) -> Self:
        self._screen.__enter__()
        self._engine.observer = self._observe
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.observer = None
        self._screen.__exit__(kind, error, trace)

    def refresh(self) -> None:
        """Draw a frame, if it is time for one."""
        now_ns = boottime_ns()
        if now_ns - self._drawn_ns < _FRAME_NS:
            return
        self._drawn_ns = now_ns
        while self._recent and self._recent[0][0] < now_ns - _RATE_SPAN_NS:
            self._recent.popleft()
        self._screen.draw(self._engine.stats(), self._rates(), self._rows, self._spawners)

    def _rates(self) -> str:
        counts = Counter(kind for _, kind in self._recent)
        seconds = _RATE_SPAN_NS / 1e9
        return "  ".join(
            f"{name} {counts[kind] / seconds:.1f}/s"
            for kind, name in ((Fork, "fork"), (Exec, "exec"), (Exit, "exit"))
        )

    def _observe(self, event: Event, node: Node) -> None:
        kind = type(event)
        if kind not in (Fork, Exec, Exit):
            return
        time_ns = event.timestamp_ns + monotonic_to_boottime_ns()
        self._recent.append((time_ns, kind))
        if not self._chooser.has(node):
            return
        if kind is Fork:
            if node.parent is not None:
                self._spawners[node.parent.pid, known_name(node.parent) or ""] += 1
        elif kind is Exec:
            self._show(node, time_ns)
        elif (row := self._row_of.pop(node.pid, None)) is not None:
            row.ending = ending_and_run_time(self._engine.view.describe(node, is_fresh=False))
            row.is_failed = bool(node.exit_status)

    def _show(self, node: Node, time_ns: int) -> None:
        view = self._engine.view
        row = LiveRow(clock(time_ns, boot_wall_ns()), walk_text(view, query.walk_from(view, node)))
        self._rows.appendleft(row)
        self._row_of[node.pid] = row
