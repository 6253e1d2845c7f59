"""render/style.py: colour and width."""

from __future__ import annotations

import pytest

from proc_cache.render.style import BOLD, PLAIN, Style, columns


def test_colour() -> None:
    assert Style(is_coloured=True)(BOLD, "x") == "\x1b[1mx\x1b[0m"
    assert Style(is_coloured=True)(BOLD, "") == ""
    assert PLAIN(BOLD, "x") == "x"


@pytest.mark.parametrize(("text", "width"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("…", 1)])
def test_columns(text: str, width: int) -> None:
    assert columns(text) == width


@pytest.mark.parametrize(
    ("text", "used", "cut"),
    [
        ("abcdefghij", 0, "abcdefghij"),
        ("abcdefghijk", 0, "abcdefghi…"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 10, ""),
        ("abcdef", 99, ""),
        ("日本日本日本", 0, "日本日本…"),
        ("", 99, ""),
    ],
)
def test_cut(text: str, used: int, cut: str) -> None:
    style = Style(is_coloured=False, width=10)
    assert style.cut(text, used) == cut
    assert used + columns(style.cut(text, used)) <= max(10, used)


def test_nothing_is_cut_to_a_screen_that_is_not_there() -> None:
    assert PLAIN.cut("x" * 1000, 500) == "x" * 1000
