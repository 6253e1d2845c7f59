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


_color = "auto"


def set_color(when: str) -> None:
    """Colour "always", "never", or "auto": on a terminal that can, and not under NO_COLOR (https://no-color.org)."""
    global _color  # noqa: PLW0603  # as the streams are: there is one screen
    _color = when


def is_coloured(stream: TextIO | None = None) -> bool:
    """Tell whether what goes to stdout, or a stream, is written in colour."""
    if _color != "auto":
        return _color == "always"
    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    return (stream or sys.stdout).isatty() and not is_dumb and not os.environ.get("NO_COLOR")


def style(stream: TextIO | None = None) -> Style:
    """Colour, and the width of the terminal at stdout, or a stream; what goes elsewhere is cut to none."""
    from ..render.style import PLAIN, Style

    stream = stream or sys.stdout
    if not stream.isatty():
        return Style(is_coloured=True) if is_coloured(stream) else PLAIN
    width = os.get_terminal_size(stream.fileno()).columns or None  # 0: a terminal that has not said
    return Style(is_coloured=is_coloured(stream), width=width)


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
    """Say something beside the results: one line on stderr, whatever is in it; or nothing, where that is full."""
    try:
        sys.stderr.write(f"proc-cache: {escape(message)}\n")
        sys.stderr.flush()
    except OSError:  # full, or nobody listens: that changes no answer and no exit status
        _abandon(sys.stderr)


def abandon_stdout() -> None:
    """Nobody reads it, or it is full: let what is still to be flushed go nowhere instead of failing again."""
    _abandon(sys.stdout)


def _abandon(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
