"""Keys as a terminal sends them: characters, and the sequences of those that have none."""

from __future__ import annotations

ESC = b"\x1b"
_CONTROLS = {
    0x03: "ctrl-c",
    0x04: "ctrl-d",
    0x08: "backspace",
    0x09: "tab",
    0x0A: "enter",
    0x0C: "ctrl-l",
    0x0D: "enter",
    0x15: "ctrl-u",
    0x17: "ctrl-w",
    0x7F: "backspace",
}
_FINALS = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end", "M": "enter"}
_TILDES = {"1": "home", "3": "delete", "4": "end", "5": "page-up", "6": "page-down", "7": "home", "8": "end"}
_SEQUENCE_MAX = 32  # bytes; what is longer is none


def decode(data: bytes) -> tuple[list[str], bytes]:
    """Give the keys, and what may be the beginning of another one. Others are left out."""
    keys: list[str] = []
    at = 0
    while at < len(data):
        key, end = _next_key(data, at)
        if end is None:
            return keys, data[at:]
        if key:
            keys.append(key)
        at = end
    return keys, b""


def decode_rest(data: bytes) -> list[str]:
    """Give the keys of what `decode` left, where nothing has come since: an Esc alone."""
    if not data.startswith(ESC):
        return []
    keys, rest = decode(data[1:])
    return ["esc", *keys, *decode_rest(rest)]


def _next_key(data: bytes, at: int) -> tuple[str, int | None]:
    """Give the key that begins here, and where it ends; None where that is not known yet."""
    byte = data[at]
    if byte == ESC[0]:
        return _escape_sequence(data, at)
    if byte < 0x20 or byte == 0x7F:
        return _CONTROLS.get(byte, ""), at + 1
    return _character(data, at)


def _character(data: bytes, at: int) -> tuple[str, int | None]:
    """Read a character of UTF-8; of bytes that are none, one is passed over."""
    byte = data[at]
    length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    found = data[at : at + length]
    if 0x80 <= byte < 0xC2 or byte > 0xF4 or any(not 0x80 <= other < 0xC0 for other in found[1:]):
        return "", at + 1
    if len(found) < length:
        return "", None
    try:
        text = found.decode()
    except UnicodeDecodeError:
        return "", at + 1
    return (text if text.isprintable() else ""), at + length


def _escape_sequence(data: bytes, at: int) -> tuple[str, int | None]:
    """Read ESC [ parameters final, or ESC O final (ECMA-48, and what xterm sends)."""
    if at + 1 == len(data):
        return "", None
    if data[at + 1] not in b"[O":
        return "esc", at + 1
    end = at + 2
    while end < len(data) and 0x20 <= data[end] < 0x40:
        end += 1
    if end - at > _SEQUENCE_MAX:
        return "", end
    if end == len(data):
        return "", None
    parameters, final = data[at + 2 : end].decode("ascii"), chr(data[end])
    if final == "~":
        return _TILDES.get(parameters.partition(";")[0], ""), end + 1
    return _FINALS.get(final, ""), end + 1
