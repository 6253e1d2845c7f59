"""Lines of a screen as pieces of text, each with its style in rich's words: cheap to make, measured, and cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    Span = tuple[str, str]  # text, style
    Line = list[Span]


def columns_of(text: str) -> int:
    """Count the columns that text takes."""
    return len(text) if text.isascii() else cell_len(text)


def width(line: Line) -> int:
    """Count the columns that a line takes."""
    return sum(columns_of(text) for text, _ in line)


def plain(line: Line) -> str:
    """Give the text alone."""
    return "".join(text for text, _ in line)


def cut(line: Line, columns: int, more: str) -> Line:
    """Give as much of a line as fits; the last column says that it was cut."""
    if width(line) <= columns:
        return line
    kept: Line = []
    room = columns - len(more)
    if room < 0:
        return []
    for text, style in line:
        taken = columns_of(text)
        if taken > room:
            kept.append((fit_text(text, room), style))
            break
        kept.append((text, style))
        room -= taken
    return [*kept, (more, "dim")]


def fit_text(text: str, columns: int) -> str:
    """Give text in exactly so many columns: cut, or filled up with spaces."""
    return text[:columns].ljust(columns) if text.isascii() else set_cell_size(text, columns)


def cell(text: str, columns: int, more: str, *, is_right: bool = False) -> str:
    """Give text as a column of a table: filled up with spaces, or cut with a mark."""
    taken = columns_of(text)
    if taken > columns:
        return fit_text(text, columns - len(more)) + more if columns >= len(more) else ""
    fill = " " * (columns - taken)
    return fill + text if is_right else text + fill


def padded(line: Line, columns: int, more: str) -> Line:
    """Give a line in exactly so many columns."""
    line = cut(line, columns, more)
    fill = columns - width(line)
    return [*line, (" " * fill, "")] if fill > 0 else line


def with_background(line: Line, style: str) -> Line:
    """Put a style behind those that are there, where they have no background of their own."""
    return [(text, own if " on " in own else f"{own} {style}".strip()) for text, own in line]


def fitting(pieces: Sequence[Line], columns: int, gap: str = "   ") -> Line:
    """Put pieces on one line, the most important first: one that has no room any more is left out."""
    line: Line = []
    used = 0
    for piece in pieces:
        taken = width(piece) + (len(gap) if line else 0)
        if piece and used + taken <= columns:
            if line:
                line.append((gap, ""))
            line += piece
            used += taken
    return line
