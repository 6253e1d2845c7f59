"""What the live view shows instead of the programs: one chain with all that is known of it, and help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import chop_cells

from ..times import duration
from .spans import columns_of, cut
from .style import PLAIN
from .tree import command_line, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..process import Process
    from .glyphs import Glyphs
    from .spans import Line

_INDENTED_MAX = 12  # levels; fewer on a narrow screen
_HELP = (
    ("p, space", "pause: the programs stand still, the rates go on"),
    ("/", "filter: in names, users, pids, arguments of a process"),
    ("", "or of an ancestor; among all that happens"),
    ("s", "sort: newest, longest running, failures, by user"),
    ("t", "the newest as a tree below who started them, or a list"),
    ("j k, arrows", "select a line; the programs stand still meanwhile"),
    ("Enter, e", "the whole chain of the selected process"),
    ("Esc", "back; from a pause to what happens now"),
    ("h, ?", "this help"),
    ("q, Ctrl-C, Ctrl-D", "quit"),
    ("", ""),
    ("ran", "how long it has lived"),
    ("{running}", "runs"),
    ("{ended}", "ended well"),
    ("{failed} 3, {failed} KILL", "exit status 3; killed by that signal"),
    ("name?", "an older name: the last could not be read in time"),
    ("", ""),
    ("top spawners", "each birth counts once, for the lasting process that"),
    ("", "answers for it; the short-lived between have a number"),
)


def help_lines(glyphs: Glyphs) -> list[Line]:
    """Write what the keys do, and what the marks mean."""
    marks = {"running": glyphs.running, "ended": glyphs.ended, "failed": glyphs.failed}
    return [
        [(f"   {key.format(**marks):20}", "bold"), (meaning.format(**marks), "")] if key or meaning else []
        for key, meaning in _HELP
    ]


def chain_lines(links: Sequence[Process], missing_pid: int | None, columns: int, glyphs: Glyphs) -> list[Line]:
    """Write a chain from its root down, `links` has the process itself first, whose arguments are whole."""
    lines: list[Line] = []
    depth = 0
    if missing_pid is not None:
        lines.append([(f"  {missing_pid} unknown", "dim")])
        depth = 1
    parent: Process | None = None
    for link in reversed(links):
        if link.generations_left_out:
            lines.append(
                [(f"{_indent(depth, columns, glyphs)}{link.generations_left_out} generations left out", "dim")]
            )
            parent = None
            depth += 1
        lines += _link_lines(link, parent, depth, columns, glyphs, is_last=link is links[0])
        parent = link
        depth += 1
    return lines


def _indent(depth: int, columns: int, glyphs: Glyphs) -> str:
    depth = min(depth, _INDENTED_MAX, columns // 10)
    return "  " + ("   " * (depth - 1) + glyphs.last_child if depth else "")


def _link_lines(  # noqa: PLR0913
    link: Process, parent: Process | None, depth: int, columns: int, glyphs: Glyphs, *, is_last: bool
) -> list[Line]:
    arguments = command_line(link)
    text = describe(link, PLAIN, parent=parent, is_asked=is_last, is_dated=True).removesuffix(arguments).rstrip()
    style = "red" if link.exit_status else "" if link.is_alive or is_last else "dim"
    indent = _indent(depth, columns, glyphs)
    below = " " * (columns_of(indent) + 2)
    lines: list[Line] = []
    for number, piece in enumerate(_folded(_written(text, glyphs), columns - columns_of(below))):
        lines.append(
            [(indent if not number else below, "dim"), (piece, f"bold {style}".strip() if is_last else style)]
        )
    room = columns - columns_of(below)
    if is_last:
        lines += [[(below, ""), (piece, "cyan")] for piece in _folded(_written(arguments, glyphs), room)]
    elif arguments:
        lines.append(cut([(below, ""), (_written(arguments, glyphs), "dim")], columns, glyphs.more))
    if link.cost is not None:
        cost = link.cost
        figures = (
            f"cpu {duration(cost.cpu_us * 1000)}, at most {cost.max_rss_bytes / (1 << 20):.3g} MiB, "
            f"read {cost.read_bytes:,}, written {cost.write_bytes:,} bytes"
        )
        lines.append([(below, ""), (figures, "dim")])
    return lines


def _written(text: str, glyphs: Glyphs) -> str:
    """Give text that is escaped already in characters that can be written."""
    return text.encode("ascii", "backslashreplace").decode() if glyphs.is_ascii else text


def _folded(text: str, columns: int) -> list[str]:
    return chop_cells(text, max(8, columns)) if text else []
