"""cli/keys.py: what a terminal sends, as keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache.cli.keys import decode, decode_rest


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"/ab c", ["/", "a", "b", " ", "c"]),
        (b"\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        (b"\x1b[5~\x1b[6~\x1b[1~\x1b[4~\x1b[3~", ["page-up", "page-down", "home", "end", "delete"]),
        (b"\x1b[1;5A", ["up"]),
        (b"\x1b[3;5~", ["delete"]),
        (b"\x1b[H\x1bOF", ["home", "end"]),
        (b"\r\n\t\x7f\x08\x03\x04", ["enter", "enter", "tab", "backspace", "backspace", "ctrl-c", "ctrl-d"]),
        (b"\x15\x17\x0c", ["ctrl-u", "ctrl-w", "ctrl-l"]),
        ("é漢🙂".encode(), ["é", "漢", "🙂"]),
        (b"\x1bq", ["esc", "q"]),
        (b"\x1b\x1b[A", ["esc", "up"]),
        (b"a\xffb", ["a", "b"]),
        (b"\x00\x01\xc2\x9bq", ["q"]),  # controls, of C1 too, are no text
        ("\u202eq".encode(), ["q"]),
        (b"\x1b[200~x\x1b[99Zq", ["x", "q"]),  # sequences that mean nothing here
    ],
    ids=repr,
)
def test_keys(data: bytes, keys: list[str]) -> None:
    assert decode(data) == (keys, b"")


@pytest.mark.parametrize(
    "data", [b"\x1b", b"\x1b[", b"\x1bO", b"\x1b[1;5", b"\xe6\xbc", b"\xf0\x9f\x99"], ids=repr
)
def test_half_a_key_waits_for_the_rest(data: bytes) -> None:
    assert decode(b"a" + data) == (["a"], data)


@pytest.mark.parametrize(
    ("data", "keys"),
    [(b"\x1b", ["esc"]), (b"\x1b[", ["esc", "["]), (b"\xe6", []), (b"", []), (b"\x1b\x1b", ["esc"] * 2)],
)
def test_where_no_rest_comes(data: bytes, keys: list[str]) -> None:
    assert decode_rest(data) == keys


def test_a_sequence_without_an_end_is_none() -> None:
    keys, rest = decode(b"\x1b[" + b"1" * 100 + b"q")
    assert rest == b""
    assert keys[-1] == "q"


@given(st.binary())
def test_any_bytes_are_keys_or_the_beginning_of_one(data: bytes) -> None:
    keys, rest = decode(data)
    assert data.endswith(rest)
    assert len(rest) <= 40
    assert all(key.isprintable() and key for key in keys + decode_rest(rest))


@given(st.text(alphabet=st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"])))
def test_text_comes_back_however_it_is_cut(text: str) -> None:
    keys, pending = [], b""
    for byte in text.encode():
        new, pending = decode(pending + bytes([byte]))
        keys += new
    assert "".join(keys) == text
    assert pending == b""
