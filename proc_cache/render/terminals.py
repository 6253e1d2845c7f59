"""Terminals by the numbers of their devices (Documentation/admin-guide/devices.txt), which is how ECS has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .jsonlines import Object

_CONSOLE = (5, 1)
_TTY_MAJOR, _SERIAL_FROM = 4, 64
_PTS_MAJOR, _PTS_OF_A_MAJOR = 136, 256  # Unix98 ptys: 136 to 143


def terminal_fields(name: str | None) -> Object:
    """Give what a document says of a terminal, named as in /dev; "" is none, and of None nothing is known."""
    if name is None:
        return {}
    device = _device(name)
    if device is None:
        return {"interactive": bool(name)}
    major, minor = device
    return {"interactive": True, "tty": {"char_device": {"major": major, "minor": minor}}}


def _device(name: str) -> tuple[int, int] | None:
    if name == "console":
        return _CONSOLE
    kind = name.rstrip("0123456789")
    number = name[len(kind) :]
    if not number:
        return None
    if kind == "pts/":
        return _PTS_MAJOR + int(number) // _PTS_OF_A_MAJOR, int(number) % _PTS_OF_A_MAJOR
    if kind == "ttyS":
        return _TTY_MAJOR, _SERIAL_FROM + int(number)
    return (_TTY_MAJOR, int(number)) if kind == "tty" else None
