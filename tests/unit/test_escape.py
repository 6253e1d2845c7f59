"""render/escape.py: names on their way to a screen or a line."""

from __future__ import annotations

import pytest

from proc_cache.render.escape import escape, escape_chain, unescape


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("sh", "sh"),
        ("", ""),
        ("naïve ☃ 日本", "naïve ☃ 日本"),
        ("a b", "a b"),
        ("back\\slash", r"back\x5cslash"),
        ("\x1b[2J", r"\x1b[2J"),
        ("two\nlines\r", r"two\x0alines\x0d"),
        ("\x7f", r"\x7f"),
        ("\x9b2J", r"\u009b2J"),  # CSI of C1
        ("\udcff\udc80", r"\xff\x80"),  # bytes that are no UTF-8
        ("\u202egnp", r"\u202egnp"),  # right-to-left override
        ("\u2066\u2069\u200b\u2028\ufeff", r"\u2066\u2069\u200b\u2028\ufeff"),
        ("\U000e0041", r"\U000e0041"),  # a tag
        ("\ud800", r"\ud800"),
        ("\xa0", r"\u00a0"),
        ("x|y;z", "x|y;z"),
        ("ad\u3164min\ufe0f\u034f\u2800", r"ad\u3164min\ufe0f\u034f\u2800"),  # printable, and not to be seen
        ("\U000e0101", r"\U000e0101"),
        ("e\u0301te\u0301", "e\u0301te\u0301"),  # drawn over its own letter
        ("\u0338x", r"\u0338x"),  # drawn over what stands before the name
        ("a" + 4 * "\u0300", "a" + 4 * "\u0300"),
        ("a" + 6 * "\u0300" + "b", "a" + 4 * "\u0300" + 2 * r"\u0300" + "b"),  # over the lines above
    ],
)
def test_escape(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert unescape(escaped) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("sh", "sh"),
        ("x|y;z", r"x\x7cy\x3bz"),
        ("unknown", r"\x75nknown"),
        ("unknown ", "unknown "),
        ("what?", r"what\x3f"),
        ("??", r"?\x3f"),
        ("?x", "?x"),
        ("|?", r"\x7c\x3f"),
    ],
)
def test_escape_chain(text: str, escaped: str) -> None:
    assert escape_chain(text) == escaped
    assert unescape(escaped) == text


@pytest.mark.parametrize("text", ["\\", "\\q41", "\\xzz", "\\x"])
def test_unescape_of_what_nobody_escaped(text: str) -> None:
    with pytest.raises(ValueError):
        unescape(text)
