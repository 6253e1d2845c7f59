"""Options that are more than words: spans of time, sizes, times, groups. Each raises what Typer tells the user."""

from __future__ import annotations

from grp import getgrnam
from pwd import getpwnam

import typer

from ..kernel.clocks import wall_ns
from ..selection import Target
from ..times import Moment, parse_moment, parse_span
from .pattern import NamePattern
from .targets import read_target

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def span(text: str) -> int:
    """Read a span of time; returns nanoseconds."""
    try:
        return parse_span(text)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(str(error)) from error


def size(text: str) -> int:
    """Read a size, `500M` or `1G`; a bare number is bytes."""
    unit = _UNITS.get(text[-1:].upper(), 1)
    number = text[:-1] if unit > 1 else text
    if not (number.isascii() and number.isdecimal()) or not int(number):
        raise typer.BadParameter(f"{text!r} is no size; give 500M or 1G")
    return int(number) * unit


def moment(text: str) -> Moment:
    """Read a time."""
    try:
        return parse_moment(text, wall_ns())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def target(text: str) -> Target:
    """Read PID or PID@TIME."""
    try:
        return read_target(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def top(text: str) -> Target | str:
    """Read what others are to be under: PID or PID@TIME, or else a name."""
    return target(text) if text.partition("@")[0].isdecimal() else word(text)


def word(text: str) -> str:
    """Read a name, of which some is needed."""
    if not text:
        raise typer.BadParameter("it is empty; give a name")
    return text


def pattern(text: str) -> NamePattern:
    """Read a regular expression for names."""
    try:
        return NamePattern(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def group(name: str) -> int:
    """Look a group up; returns its id."""
    try:
        return getgrnam(name).gr_gid
    except KeyError:
        raise typer.BadParameter(f"there is no group {name!r}; `getent group` lists them") from None


def check_user(name: str) -> None:
    """Refuse the name of a user that is none on this machine: nobody's process would match."""
    if name.isdecimal():
        return
    try:
        getpwnam(name)
    except (KeyError, ValueError):
        raise typer.BadParameter(
            f"there is no user {name!r}; `getent passwd` lists them, and a uid will do", param_hint="--user"
        ) from None
