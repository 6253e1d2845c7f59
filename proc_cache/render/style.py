"""Colour, where there is a terminal that wants it: SGR sequences (ECMA-48) around text that is already safe."""

from __future__ import annotations

BOLD = "1"
DIM = "2"
RED = "31"


class Style:
    """Puts text into a style, or leaves it plain."""

    def __init__(self, *, is_coloured: bool) -> None:
        self.is_coloured = is_coloured

    def __call__(self, sgr: str, text: str) -> str:
        """Give the text in this style."""
        return f"\x1b[{sgr}m{text}\x1b[0m" if self.is_coloured and text else text


PLAIN = Style(is_coloured=False)
