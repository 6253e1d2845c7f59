"""Values to bytes and back: None, bool, int, str, bytes, and tuples of them.

Every value says what it is and how long: `n` `t` `f` `i-5;` `s3:abc` `b2:xy` `l2:` and its two items. Any bytes
decode to a value or raise MalformedFrameError; nothing in them is executed. (marshal would be faster, and is
not safe with bytes from others; json takes 7 ms to import.)
"""

from __future__ import annotations

from ..errors import MalformedFrameError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Value = None | bool | int | str | bytes | tuple[Any, ...]

DEPTH_MAX = 8
_DIGITS_MAX = 400  # of a pid that a user may ask for
# A name holds lone surrogates where the kernel's bytes were no UTF-8; this carries them, and is reversible.
_SURROGATES = "surrogatepass"


def encode(value: Value) -> bytes:
    """Write a value down."""
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def _encode(value: Value, parts: list[bytes]) -> None:
    if value is None:
        parts.append(b"n")
    elif value is True or value is False:
        parts.append(b"t" if value else b"f")
    elif isinstance(value, int):
        parts.append(b"i%d;" % value)
    elif isinstance(value, str):
        data = value.encode("utf-8", _SURROGATES)
        parts.append(b"s%d:%b" % (len(data), data))
    elif isinstance(value, bytes):
        parts.append(b"b%d:%b" % (len(value), value))
    elif isinstance(value, tuple):
        parts.append(b"l%d:" % len(value))
        for item in value:
            _encode(item, parts)
    else:
        raise TypeError(f"{type(value).__name__} cannot be encoded")


def decode(data: bytes) -> Value:
    """Read a value back; it has to fill the data. Raises MalformedFrameError."""
    try:
        value, end = _decode(data, 0, 0)
    except (ValueError, IndexError) as error:
        raise MalformedFrameError(f"no value: {error}") from error
    if end != len(data):
        raise MalformedFrameError(f"{len(data) - end} bytes too many")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    kind = data[at : at + 1]
    if kind == b"n":
        return None, at + 1
    if kind == b"t":
        return True, at + 1
    if kind == b"f":
        return False, at + 1
    if kind == b"i":
        end = data.index(b";", at, at + _DIGITS_MAX)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"s", b"b"):
        return _decode_text(data, at, is_text=kind == b"s")
    if kind == b"l":
        return _decode_tuple(data, at, depth)
    raise ValueError(f"no kind of value begins with {kind!r}")


def _decode_text(data: bytes, at: int, *, is_text: bool) -> tuple[str | bytes, int]:
    length, begin = _decode_length(data, at)
    content = data[begin : begin + length]
    if len(content) != length:
        raise ValueError("it ends early")
    return (content.decode("utf-8", _SURROGATES) if is_text else content), begin + length


def _decode_tuple(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    length, at = _decode_length(data, at)
    if depth == DEPTH_MAX or length > len(data) - at:  # an item takes a byte at least
        raise ValueError("too deep, or too long for its bytes")
    items = []
    for _ in range(length):
        item, at = _decode(data, at, depth + 1)
        items.append(item)
    return tuple(items), at


def _decode_length(data: bytes, at: int) -> tuple[int, int]:
    end = data.index(b":", at, at + _DIGITS_MAX)
    length = int(data[at + 1 : end])
    if length < 0:
        raise ValueError("a length below zero")
    return length, end + 1
