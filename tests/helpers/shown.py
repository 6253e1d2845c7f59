"""Output as a page shows it, against what came: the numbers of another day match, where they mean the same.

- `…` stands for anything within a line; a line that is `…` alone for any lines, or none.
- A number of three digits or more (a PID) stands for any number, but for the same one wherever the page has it, in
  commands too. Numbers of one or two digits (statuses, counts, PID 1) are what they are; so is all that `echo $?`
  says.
- Times, spans (`3.2ms`), sizes (`1.1 MiB`) and numbers with a point stand for any of their kind. A command that
  names a time which was shown means the one that came.
- Where there are several spaces there may be more or fewer; so before a number, a heading or a `└─` that begins a
  line: what is shown may hang deeper in the tree of another machine.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS = {
    "any": r"…",
    "date": r"\b\d{4}-\d\d-\d\d(?=[T ]\d)",
    "time": r"(?<![\d:])\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?",
    "span": r"(?<![\w.])(?:\d+(?:\.\d+)?(?:e-\d+)?(?:us|ms|s)|\d+m\d\ds|\d+h\d\dm)\b",
    "size": r"\b\d+(?:\.\d+)? [KMG]?i?B\b",
    "decimal": r"\b\d+\.\d+\b",
    "number": r"\b\d{3,}\b",
    "indent": r"^ +(?=[\dA-Z])",
    "branch": r"^ *└─ ",
    "spaces": r"  +",
}
_TOKEN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _KINDS.items()))
_MATCHES = {
    "any": r".*?",
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?",
    "span": r"(?:[\d.]+(?:e-\d+)?(?:us|ms|s)|\d+m\d\ds|\d+h\d\dm)",
    "size": r"\d+(?:\.\d+)? [KMG]?i?B",
    "decimal": r"\d+(?:\.\d+)?",
    "number": r"\d+",
    "indent": r" *",
    "branch": r" *└─ ",
    "spaces": r" +",
}
_BOUND = ("date", "time", "number")


class Meanings:
    """What the numbers and times of a page are today."""

    def __init__(self) -> None:
        self._today: dict[str, str] = {}

    def translate(self, command: str) -> str:
        """Give a command with what was shown before put in as it came."""

        def today(token: re.Match[str]) -> str:
            return self._today.get(token[0], token[0]) if token.lastgroup in _BOUND else token[0]

        return _TOKEN.sub(today, command)

    def take_over(self, shown: Sequence[str], came: str, *, is_exact: bool = False) -> bool:
        """Tell whether this is what was shown, and remember what it means by its numbers."""
        if is_exact:
            return "".join(f"{line}\n" for line in shown) == came
        names: dict[str, str] = {}
        match = re.fullmatch("".join(self._line(line, names) for line in shown), came)
        if match is None:
            return False
        self._today.update((text, match[name]) for text, name in names.items())
        return True

    def _line(self, line: str, names: dict[str, str]) -> str:
        if line == "…":
            return r"(?:.*\n)*?"
        parts, end = [], 0
        for token in _TOKEN.finditer(line):
            parts += [re.escape(line[end : token.start()]), self._part(token, names)]
            end = token.end()
        return "".join([*parts, re.escape(line[end:]), r"\n"])

    def _part(self, token: re.Match[str], names: dict[str, str]) -> str:
        kind, text = str(token.lastgroup), token[0]
        if kind not in _BOUND:
            return _MATCHES[kind]
        if kind == "number" and text in self._today:
            return rf"(?<!\d){re.escape(self._today[text])}(?!\d)"
        if kind == "number" and text in names:
            return f"(?P={names[text]})"
        if text in names:  # two that were shown alike are not always alike
            return _MATCHES[kind]
        names[text] = f"n{len(names)}"
        return f"(?P<{names[text]}>{_MATCHES[kind]})"
