"""The live form of `watch`: draws the pictures that an engine sends."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..kernel.clocks import boot_wall_ns, monotonic_s
from ..render.chain import walk_text
from ..render.live import LiveRow, LiveScreen
from ..render.tree import ending_and_run_time
from ..service.facts import ToldUsers
from ..service.following import Picture
from ..times import clock
from .terminal import is_coloured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from ..engine.stats import Stats
    from ..service.facts import Told
    from ..service.following import Piece

_RATE_SPAN_S = 5.0


class LiveView:
    """Shows the newest programs, a row each, until the user ends it."""

    is_done = False

    def __init__(self) -> None:
        self._users = ToldUsers()
        self._screen = LiveScreen(is_coloured=is_coloured())
        self._past: deque[tuple[float, Stats]] = deque()

    def __enter__(self) -> Self:
        self._screen.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.__exit__(kind, error, trace)

    def show(self, pieces: Iterator[Piece]) -> None:
        """Draw the newest picture among them."""
        pictures = [piece for piece in pieces if isinstance(piece, Picture)]
        if pictures:
            picture = pictures[-1]
            rows = [self._row(program) for program in picture.programs]
            self._screen.draw(picture.stats, self._rates(picture.stats), rows, picture.spawners)

    def _row(self, program: Told) -> LiveRow:
        process = program.freeze(self._users)
        return LiveRow(
            started=clock(program.time_ns, boot_wall_ns()),
            chain=walk_text(self._users, program.walked),
            ending="" if process.is_alive else ending_and_run_time(process),
            is_failed=bool(process.exit_status),
        )

    def _rates(self, stats: Stats) -> str:
        now_s = monotonic_s()
        self._past.append((now_s, stats))
        while len(self._past) > 2 and self._past[1][0] < now_s - _RATE_SPAN_S:
            self._past.popleft()
        then_s, then = self._past[0]
        seconds = max(now_s - then_s, 1.0)
        counts = (
            ("fork", stats.forks - then.forks),
            ("exec", stats.execs - then.execs),
            ("exit", stats.exits - then.exits),
        )
        return "  ".join(f"{name} {count / seconds:.1f}/s" for name, count in counts)
