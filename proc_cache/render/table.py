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

_PLACE_HEADINGS = ("UNIT", "CONTAINER", "TTY", "SESSION")
_NONE = "-"
_RIGHT = 2  # the first columns are numbers


def draw_table(processes: Sequence[Process], style: Style, *, is_wide: bool = False) -> Iterator[str]:
    """Give the lines of the table, its heading first; the pids in namespaces are shown where they were read."""
    with_ns = any(process.ns_pids is not None for process in processes)
    headings = (
        *("PID", "PPID", "USER", "STARTED"),
        *(("NSPID",) if with_ns else ()),
        *(_PLACE_HEADINGS if is_wide else ()),
        *("CMD", "CMDLINE"),
    )
    rows = [_row(process, is_wide=is_wide, with_ns=with_ns) for process in processes]
    widths = [max(map(columns, column)) for column in zip(headings, *rows, strict=True)]
    yield style(BOLD, _line(headings, widths, style))
    for row in rows:
        yield _line(row, widths, style)


def _row(process: Process, *, is_wide: bool, with_ns: bool) -> tuple[str, ...]:
    cmdline = command_line(process)
    if not process.is_alive:
        cmdline = f"[{ending_and_run_time(process)}] {cmdline}".rstrip()
    return (
        str(process.pid),
        UNKNOWN if process.ppid is None else str(process.ppid),
        UNKNOWN if process.user is None else escape(process.user),
        UNKNOWN if process.start_time_ns is None else clock(process.start_time_ns, process.booted_ns)[:8],
        *((_ns_pids(process),) if with_ns else ()),
        *(_place(process) if is_wide else ()),
        UNKNOWN if process.cmd is None else escape(process.cmd),
        cmdline,
    )


def _ns_pids(process: Process) -> str:
    """Write the pids inside: of one that is in no namespace but ours there is none."""
    if not process.ns_pids:
        return UNKNOWN
    return "/".join(map(str, process.ns_pids[1:])) or _NONE


def _place(process: Process) -> tuple[str, ...]:
    words = process.unit, process.container, process.tty
    session = _NONE if process.session == 0 else UNKNOWN if process.session is None else str(process.session)
    return *(UNKNOWN if word is None else escape(word) or _NONE for word in words), session


def _line(cells: Sequence[str], widths: Sequence[int], style: Style) -> str:
    padded = [
        (cell.rjust(width) if index < _RIGHT else cell + " " * (width - columns(cell)))
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return style.cut("  ".join(padded).rstrip(), 0)
