"""How a line may look: colour where a terminal wants it, and its width where there is one.

Colours are SGR sequences (ECMA-48) around text that is already safe.
"""

from __future__ import annotations

from unicodedata import combining, east_asian_width

BOLD = "1"
DIM = "2"
RED = "31"


class Style:
    """Puts text into a style, or leaves it plain; cuts it to a screen's width, or leaves it whole."""

    def __init__(self, *, is_coloured: bool, width: int | None = None) -> None:
        self.is_coloured = is_coloured
        self.width = width

    def __call__(self, sgr: str, text: str) -> str:
        """Give the text in this style."""
        return f"\x1b[{sgr}m{text}\x1b[0m" if self.is_coloured and text else text

    def cut(self, text: str, used: int) -> str:
        """Give as much of the text as fits behind `used` columns; the last column says that it was cut."""
        if self.width is None:
            return text
        room = self.width - used
        if columns(text) <= room:
            return text
        kept = ""
        for char in text:
            if columns(kept) + columns(char) >= room:
                break
            kept += char
        return f"{kept}…" if room > 0 else ""


def columns(text: str) -> int:
    """Count the columns of a terminal that text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


PLAIN = Style(is_coloured=False)
