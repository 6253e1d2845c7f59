"""The live view: the newest chains, rates, top spawners and the caches, drawn with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..record import Record
from ..times import duration
from .chain import UNKNOWN
from .escape import escape
from .figures import flood_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from ..engine.stats import Stats

    Spawner = tuple[int, str | None, int]  # pid, name, how many it started


class LiveRow(Record):
    """One program in the list: since when it runs, the text of its chain, and how it went; escaped already."""

    started: str
    chain: str
    ending: str
    is_failed: bool


class LiveScreen:
    """Draws rows and statistics; knows nothing of engines. Everything it is given is escaped already."""

    def __init__(self, *, is_coloured: bool = True) -> None:
        self._console = Console()
        if not is_coloured:
            self._console.no_color = True
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

    def draw(self, stats: Stats, rates: str, rows: Sequence[LiveRow], spawners: Sequence[Spawner]) -> None:
        """Draw one frame, as tall as the screen."""
        height = self._console.size.height
        top = Group(
            _headline(stats, rates), _capture_line(stats), _cache_table(stats), _spawner_line(spawners), Text()
        )
        used = 7 + len(stats.caches)
        self._live.update(Group(top, _row_table(rows, max(1, height - used))), refresh=True)


def _headline(stats: Stats, rates: str) -> Text:
    least = "" if stats.lost_is_exact else ">="
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"lost {least}{stats.lost}", style="bold red" if stats.lost else "dim")
    line.append(f"   {rates}   alive {stats.alive}   dead {stats.dead}")
    line.append(f"   overruns {stats.overruns}   buffer {stats.receive_buffer_bytes >> 20} MiB", style="dim")
    return line


def _capture_line(stats: Stats) -> Text:
    """Write how the capture is done: its priority, its exit records, its longest pause, and floods if any."""
    parts = [f"priority {stats.priority or 'ordinary'}"]
    if stats.steps_back:
        parts.append(f"given up {stats.steps_back} times")
    parts.append(f"exit records {stats.records}" if stats.no_records is None else f"none: {stats.no_records}")
    if stats.records_lost:
        parts.append(f"lost {stats.records_lost}")
    parts.append(f"longest pause {duration(stats.longest_pause_ns)}")
    line = Text("   ".join(parts), style="dim", no_wrap=True, overflow="ellipsis")
    if stats.floods:
        line.append(f"   {flood_text(stats)}", style="red")
    return line


def _cache_table(stats: Stats) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("cache", "size", "capacity", "hits", "misses", "expired", "evicted"):
        table.add_column(heading, justify="left" if heading == "cache" else "right", no_wrap=True)
    for cache in stats.caches:
        figures = (cache.size, cache.capacity, cache.hits, cache.misses, cache.expired, cache.evicted)
        table.add_row(cache.name, *map(str, figures))
    return table


def _spawner_line(spawners: Sequence[Spawner]) -> Text:
    named = (f"{count} by {pid} {escape(name or UNKNOWN)}" for pid, name, count in spawners[:4])
    return Text("top spawners: " + (", ".join(named) or "none yet"), no_wrap=True, overflow="ellipsis")


def _row_table(rows: Sequence[LiveRow], count: int) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    table.add_column(width=12, style="dim", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    for row in rows[:count]:
        table.add_row(
            Text(row.started),
            Text(row.chain, style="dim" if row.ending and not row.is_failed else ""),
            Text(row.ending, style="red" if row.is_failed else "dim"),
        )
    return table
