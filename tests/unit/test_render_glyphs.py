"""render/glyphs.py and spans.py: what is drawn with, measured in columns, and cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from proc_cache.render.glyphs import ASCII, UNICODE, Glyphs, glyphs_for, sparkline
from proc_cache.render.spans import cell, cut, fitting, padded, plain, width, with_background

TEXT = st.text(alphabet=st.characters(exclude_categories=["C", "M", "Zl", "Zp"]), max_size=30)
LINES = st.lists(st.tuples(TEXT, st.sampled_from(["", "dim", "red"])), max_size=5)


@pytest.mark.parametrize(
    ("encoding", "glyphs"),
    [
        ("utf-8", UNICODE),
        ("UTF-8", UNICODE),
        ("utf8", UNICODE),
        ("ascii", ASCII),
        ("latin-1", ASCII),
        (None, ASCII),
        ("no-such-encoding", ASCII),
    ],
)
def test_what_the_encoding_has(encoding: str | None, glyphs: Glyphs) -> None:
    assert glyphs_for(encoding) is glyphs


def test_glyphs_have_the_widths_they_say() -> None:
    for glyphs in (UNICODE, ASCII):
        marks = (
            *glyphs.bars,
            glyphs.failed,
            glyphs.ended,
            glyphs.running,
            glyphs.selected,
            glyphs.dot,
            glyphs.more,
        )
        assert {cell_len(mark) for mark in marks} == {1}
        assert {cell_len(mark) for mark in (glyphs.child, glyphs.last_child, glyphs.beside, glyphs.step)} == {3}
    assert all(str(getattr(ASCII, field)).isascii() for field in ASCII._fields)


def test_names_are_safe_and_can_be_written() -> None:
    assert UNICODE.name("é漢\x1b") == r"é漢\x1b"
    assert ASCII.name("é漢\x1b") == r"\xe9\u6f22\x1b"


@pytest.mark.parametrize(
    ("values", "columns", "most", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, 7, "▁▂▃▄▅▆▇█"),
        ([0, 0.001, 7], 3, 7, "▁▂█"),  # little is more than nothing
        ([7, 99], 2, 7, "██"),
        ([0, 0], 2, 0, "▁▁"),
        ([7], 3, 7, "  █"),
        ([0, 7, 7, 7], 2, 7, "▅█"),
        ([1, 2, 3], 0, 7, ""),
        ([], 5, 7, ""),
    ],
)
def test_sparklines(values: list[float], columns: int, most: float, drawn: str) -> None:
    assert sparkline(values, columns, most, UNICODE) == drawn


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=100), st.integers(1, 120))
def test_a_sparkline_has_its_width(values: list[float], columns: int) -> None:
    assert len(sparkline(values, columns, max(values), ASCII)) == columns


@given(LINES, st.integers(0, 40))
def test_nothing_is_wider_than_it_may_be(line: list[tuple[str, str]], columns: int) -> None:
    short = cut(line, columns, "…")
    assert cell_len(plain(short)) == width(short) <= columns
    assert cell_len(plain(padded(line, columns, "…"))) == columns or not columns
    if width(line) <= columns:
        assert short == line
    elif columns:
        assert plain(short).endswith("…")


@given(TEXT, st.integers(1, 40), st.booleans())
def test_a_cell_has_its_width(text: str, columns: int, is_right: bool) -> None:
    assert cell_len(cell(text, columns, "…", is_right=is_right)) == columns


def test_what_has_no_room_is_left_out() -> None:
    pieces = [[("first", "")], [("a long second", "")], [("third", "")], []]
    assert plain(fitting(pieces, 13)) == "first   third"
    assert plain(fitting(pieces, 3)) == ""


def test_a_background_is_behind_what_has_none() -> None:
    assert with_background([("a", "red"), ("b", "black on white"), ("c", "")], "on blue") == [
        ("a", "red on blue"),
        ("b", "black on white"),
        ("c", "on blue"),
    ]
