"""PID, or PID@TIME, as it was typed."""

from __future__ import annotations

from ..selection import Target
from .terminal import tell

_DIGITS_MAX = 255  # NAME_MAX: longer than that, it cannot even be looked for


def read_target(word: str) -> Target:
    """Read a PID or PID@TIME. Raises ValueError with what is to be given."""
    digits, has_time, time = word.partition("@")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS_MAX):
        raise ValueError(f"{word!r} is not a PID; {_how_to_get_one(word)}")
    if not has_time:
        return Target(int(digits))
    from ..kernel.clocks import wall_ns
    from ..times import parse_moment

    try:
        return Target(int(digits), parse_moment(time, wall_ns()))
    except ValueError as error:
        raise ValueError(f"{word}: {error}") from error


def _how_to_get_one(word: str) -> str:
    """Say what prints PIDs: of this name, where it can be typed as it is."""
    if word and not word[0].isdecimal() and word.replace("-", "").replace("_", "").isalnum() and word[0] != "-":
        return f"`pgrep -x {word}` prints those of that name"
    return "give a number, as `pgrep NAME` prints them"


def parse_target(word: str) -> Target | None:
    """Read a PID or PID@TIME; says what is wrong with anything else."""
    try:
        return read_target(word)
    except ValueError as error:
        tell(str(error))
        return None
