"""service/encoding.py: what each value looks like, and what is no value."""

from __future__ import annotations

from typing import Any

import pytest

from proc_cache.errors import MalformedFrameError
from proc_cache.service.encoding import DEPTH_MAX, decode, encode

WRITTEN = [
    (None, b"n"),
    (True, b"t"),
    (False, b"f"),
    (0, b"i0;"),
    (1, b"i1;"),
    (-5, b"i-5;"),
    (10**37, b"i1" + b"0" * 37 + b";"),
    ("", b"s0:"),
    ("abc", b"s3:abc"),
    ("é", b"s2:\xc3\xa9"),
    ("\udcff", b"s3:\xed\xb3\xbf"),
    ("\ud83d\ude00", b"s6:\xed\xa0\xbd\xed\xb8\x80"),
    (b"", b"b0:"),
    (b"\0;:\xff", b"b4:\0;:\xff"),
    ((), b"l0:"),
    ((None, (1, "x"), b"y"), b"l3:nl2:i1;s1:xb1:y"),
]


def nested(depth: int) -> tuple[Any, ...]:
    """Tuples in tuples, so many of them."""
    value: tuple[Any, ...] = ()
    for _ in range(depth - 1):
        value = (value,)
    return value


@pytest.mark.parametrize(("value", "data"), WRITTEN, ids=[repr(data) for _, data in WRITTEN])
def test_is_written_so_and_read_back(value: Any, data: bytes) -> None:
    assert encode(value) == data
    read = decode(data)
    assert read == value
    assert type(read) is type(value)  # True is no 1


@pytest.mark.parametrize("value", [1.5, [1], {"a": 1}, {1}, bytearray(b"x"), object()], ids=repr)
def test_other_values_are_not_written(value: Any) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        encode(value)
    with pytest.raises(TypeError):
        encode((1, (value,)))


def test_is_as_deep_as_it_may_be() -> None:
    assert decode(encode(nested(DEPTH_MAX))) == nested(DEPTH_MAX)
    with pytest.raises(MalformedFrameError, match="deep"):
        decode(encode(nested(DEPTH_MAX + 1)))


def test_a_tower_of_tuples_is_refused_before_the_stack_is_full() -> None:
    with pytest.raises(MalformedFrameError, match="deep"):
        decode(b"l1:" * 100_000 + b"n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"N",
        b"i",
        b"i;",
        b"i5",
        b"i--5;",
        b"i1.5;",
        b"i0x10;",
        b"i" + b"9" * 10_000 + b";",
        b"s",
        b"s3",
        b"s3:",
        b"s3:ab",
        b"s-1:",
        b"s99999999999999999999999999:abc",
        b"s1:\xff",
        b"s2:\xc3(",
        b"sx:abc",
        b"b4:abc",
        b"b-1:abc",
        b"l",
        b"l1:",
        b"l2:n",
        b"l-1:",
        b"l1000000000:nnnn",
        b"l1:x",
        b"l1:s3:ab",
        b"\xff\xff\xff\xff",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_is_no_value(data: bytes) -> None:
    with pytest.raises(MalformedFrameError) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"nn", b"i5;x", b"s1:ab", b"l1:nn", b"l0: "], ids=repr)
def test_nothing_may_follow(data: bytes) -> None:
    with pytest.raises(MalformedFrameError, match="1 bytes too many"):
        decode(data)


def test_a_length_cannot_claim_more_than_is_there() -> None:
    """Otherwise a frame of a few bytes could ask for any amount of memory, or of time."""
    with pytest.raises(MalformedFrameError, match="too long"):
        decode(b"l999999999999:" + b"n" * 100)
