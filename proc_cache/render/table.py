"""Processes as a table: as wide as its contents, for nothing is cut to a screen that may not be there."""

from __future__ import annotations

from ..times import clock
from .chain import UNKNOWN
from .escape import escape
from .style import BOLD, Style, columns
from .tree import command_line, ending_and_run_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..process import Process

_HEADINGS = ("PID", "PPID", "USER", "STARTED", "CMD", "CMDLINE")
_RIGHT = 2  # the first columns are numbers


def draw_table(processes: Sequence[Process], style: Style) -> Iterator[str]:
    """Give the lines of the table, its heading first."""
    rows = [_row(process) for process in processes]
    widths = [max(map(columns, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    yield style(BOLD, _line(_HEADINGS, widths, style))
    for row in rows:
        yield _line(row, widths, style)


def _row(process: Process) -> tuple[str, ...]:
    cmdline = command_line(process)
    if not process.is_alive:
        cmdline = f"[{ending_and_run_time(process)}] {cmdline}".rstrip()
    return (
        str(process.pid),
        UNKNOWN if process.ppid is None else str(process.ppid),
        UNKNOWN if process.user is None else escape(process.user),
        UNKNOWN if process.start_time_ns is None else clock(process.start_time_ns, process.booted_ns)[:8],
        UNKNOWN if process.cmd is None else escape(process.cmd),
        cmdline,
    )


def _line(cells: Sequence[str], widths: Sequence[int], style: Style) -> str:
    padded = [
        (cell.rjust(width) if index < _RIGHT else cell + " " * (width - columns(cell)))
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return style.cut("  ".join(padded).rstrip(), 0)
