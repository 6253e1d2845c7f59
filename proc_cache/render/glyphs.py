"""What a screen is drawn with, where its encoding has it, and where it has ASCII alone."""

from __future__ import annotations

from itertools import pairwise

from ..record import Record
from .escape import escape


class Glyphs(Record):
    """The marks of a screen; each takes one column, those of a tree three."""

    bars: str  # from nothing to most
    child: str
    last_child: str
    beside: str
    step: str  # from a parent to its child
    failed: str
    ended: str
    running: str
    selected: str
    dot: str
    more: str  # where text is cut
    is_ascii: bool = False

    def name(self, text: str) -> str:
        """Make a name safe, and such that every character can be written."""
        safe = escape(text)
        return safe.encode("ascii", "backslashreplace").decode() if self.is_ascii else safe


UNICODE = Glyphs("▁▂▃▄▅▆▇█", "├─ ", "└─ ", "│  ", " › ", "✗", "·", "●", "▸", "·", "…")
ASCII = Glyphs("_.,-=+*#", "|- ", "`- ", "|  ", " > ", "!", ".", "*", ">", "-", "~", is_ascii=True)


def glyphs_for(encoding: str | None) -> Glyphs:
    """Give what can be written in this encoding."""
    try:
        "".join(str(getattr(UNICODE, field)) for field in UNICODE._fields).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE if (encoding or "").lower().replace("-", "") == "utf8" else ASCII


def sparkline(values: list[float], columns: int, most: float, glyphs: Glyphs) -> str:
    """Draw values as bars, the last at the right; where there are more than columns, each bar is of several."""
    if columns <= 0 or not values:
        return ""
    if len(values) > columns:
        values = _averages(values, columns)
    top = len(glyphs.bars) - 1
    bars = (glyphs.bars[min(top, -int(-value * top // most))] if most > 0 else glyphs.bars[0] for value in values)
    return "".join(bars).rjust(columns)


def _averages(values: list[float], count: int) -> list[float]:
    ends = [round(number * len(values) / count) for number in range(count + 1)]
    return [sum(values[begin:end]) / (end - begin) for begin, end in pairwise(ends)]
