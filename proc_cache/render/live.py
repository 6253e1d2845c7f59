"""The live view: the newest chains, rates, top spawners and the caches, drawn with rich."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .chain import UNKNOWN
from .escape import escape

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ..engine.stats import Stats

REFRESH_PER_SECOND = 4
ROWS_KEPT = 200


class LiveRow:
    """One process in the list: the text of its chain, and how it goes."""

    __slots__ = ("chain", "ending", "is_failed", "started")

    def __init__(self, started: str, chain: str) -> None:
        self.started = started
        self.chain = chain
        self.ending = ""
        self.is_failed = False


class LiveScreen:
    """Draws rows and statistics; knows nothing of engines. Everything it is given is escaped already."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def draw(self, stats: Stats, rates: str, rows: deque[LiveRow], spawners: Counter[tuple[int, str]]) -> None:
        """Draw one frame, as tall as the screen."""
        height = self._console.size.height
        top = Group(_headline(stats, rates), _cache_table(stats), _spawner_line(spawners), Text())
        used = 6 + len(stats.caches)
        self._live.update(Group(top, _row_table(rows, max(1, height - used))), refresh=True)


def _headline(stats: Stats, rates: str) -> Text:
    least = "" if stats.lost_is_exact else ">="
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"lost {least}{stats.lost}", style="bold red" if stats.lost else "dim")
    line.append(f"   {rates}   alive {stats.alive}   dead {stats.dead}")
    line.append(f"   overruns {stats.overruns}   buffer {stats.receive_buffer_bytes >> 20} MiB", style="dim")
    return line


def _cache_table(stats: Stats) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("cache", "size", "capacity", "hits", "misses", "expired", "evicted"):
        table.add_column(heading, justify="left" if heading == "cache" else "right", no_wrap=True)
    for cache in stats.caches:
        figures = (cache.size, cache.capacity, cache.hits, cache.misses, cache.expired, cache.evicted)
        table.add_row(cache.name, *map(str, figures))
    return table


def _spawner_line(spawners: Counter[tuple[int, str]]) -> Text:
    named = (f"{count} by {pid} {escape(name) or UNKNOWN}" for (pid, name), count in spawners.most_common(4))
    return Text("top spawners: " + (", ".join(named) or "none yet"), no_wrap=True, overflow="ellipsis")


def _row_table(rows: deque[LiveRow], count: int) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    table.add_column(width=12, style="dim", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    for row in list(rows)[:count]:
        table.add_row(
            Text(row.started),
            Text(row.chain, style="dim" if row.ending and not row.is_failed else ""),
            Text(row.ending, style="red" if row.is_failed else "dim"),
        )
    return table
