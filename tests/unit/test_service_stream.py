"""service/stream.py: frames of a stream, and what is none."""

from __future__ import annotations

import marshal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache.errors import EngineUnavailableError, MalformedFrameError
from proc_cache.events import KINDS
from proc_cache.service import protocol
from proc_cache.service.protocol import frame, read_frame
from proc_cache.service.stream import read_kinds
from tests.helpers.told import ALL_TEXT, NUMBER

HEAD = protocol.LENGTH.size
LEAVES = st.none() | st.booleans() | NUMBER | ALL_TEXT | st.binary(max_size=20)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=10)
TUPLES = st.lists(VALUES, min_size=1, max_size=5).map(tuple)


def is_same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if isinstance(left, tuple):
        return type(right) is tuple and len(left) == len(right) and all(map(is_same, left, right))
    return type(left) is type(right) and bool(left == right)


@given(TUPLES)
def test_what_is_written_comes_back(value: tuple[Any, ...]) -> None:
    data = frame(value)
    assert protocol.LENGTH.unpack(data[:HEAD]) == (len(data) - HEAD,)
    assert is_same(read_frame(data[HEAD:]), value)


@given(TUPLES, st.data())
def test_what_is_cut_off_is_no_frame(value: tuple[Any, ...], draw: st.DataObject) -> None:
    data = frame(value)[HEAD:]
    with pytest.raises(EngineUnavailableError, match="cannot be read"):
        read_frame(data[: draw.draw(st.integers(0, len(data) - 1))])


@given(LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(ALL_TEXT, LEAVES, max_size=2) | st.just(()))
def test_another_value_is_none(value: Any) -> None:
    with pytest.raises(EngineUnavailableError, match="cannot be read"):
        read_frame(marshal.dumps(value, 2))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"?", b"\xff\xff\xff", b"HTTP/1.1 400", b"(\2\0\0\0i\1", b"u\3\0\0\0\xff\xff\xff", b"r\7\0\0\0"],
    ids=repr,
)
def test_garbage_is_none(data: bytes) -> None:
    with pytest.raises(EngineUnavailableError, match="cannot be read"):
        read_frame(data)


# --- kinds ------------------------------------------------------------------------------------------------


@given(st.sets(st.sampled_from(list(KINDS))))
def test_kinds_are_read_by_name(names: set[str]) -> None:
    assert read_kinds(tuple(names)) == {KINDS[name] for name in names}


@pytest.mark.parametrize(
    "value",
    [
        "fork",
        b"fork",
        None,
        5,
        ("ptrace",),
        ("fork", "gid"),
        ("fork", None),
        (b"fork",),
        (("fork",),),
        ("",),
        ([],),
    ],
    ids=repr,
)
def test_what_are_no_kinds(value: Any) -> None:
    with pytest.raises(MalformedFrameError):
        read_kinds(value)
