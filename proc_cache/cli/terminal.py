"""Where answers go: results to stdout, everything else to stderr, one line each."""

from __future__ import annotations

import os
import sys

from ..render.escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from ..render.style import Style


def is_terminal() -> bool:
    """Tell whether results are read by a person on a screen that can draw."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def style(stream: TextIO | None = None) -> Style:
    """Colour and width of the terminal at stdout, or a stream; no colour under NO_COLOR (https://no-color.org)."""
    from ..render.style import PLAIN, Style

    stream = stream or sys.stdout
    if not stream.isatty():
        return PLAIN
    width = os.get_terminal_size(stream.fileno()).columns or None  # 0: a terminal that has not said
    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    return Style(is_coloured=not is_dumb and not os.environ.get("NO_COLOR"), width=width)


def write(text: str) -> None:
    """Write a result, with its newline."""
    sys.stdout.write(f"{text}\n")


def write_lines(lines: Iterable[str]) -> None:
    """Write a result of several lines."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


def flush() -> None:
    """Hand over what was written: whoever reads us may be waiting for it."""
    sys.stdout.flush()


def tell(message: str) -> None:
    """Say something beside the results: one line on stderr, whatever is in it."""
    sys.stderr.write(f"proc-cache: {escape(message)}\n")
    sys.stderr.flush()


def abandon_stdout() -> None:
    """Nobody reads it, or it is full: let what is still to be flushed go nowhere instead of failing again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
