"""Real processes whose names and arguments mean harm, and what may stand in what is written of them."""

from __future__ import annotations

import os
import re
import subprocess
import unicodedata
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from .processes import comm_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a file can be called (no NUL, no slash), by what it tries; the kernel keeps 15 bytes of each.
NAMES: dict[str, bytes] = {
    "clears the screen": b"\x1b[2J\x1b[H\x1bc",
    "sets a title": b"\x1b]0;pwned\x07",
    "writes the clipboard": b"\x1b]52;c;eA==\x07",
    "links": b"\x1b]8;;x:y\x1b\\z",
    "asks the terminal": b"\x1b[6n\x1b[c\x05",
    "colours": b"\x1b[31;5mred",
    "rich markup": b"[bold red]x",
    "a rich link": b"[link=x:y]z",
    "an emoji of rich": b":skull:",
    "forges a line": b"a\n1|init|root",
    "returns": b"sshd\r1|init",
    "forges a link": b"x|root;1|init",
    "forges a stat": b"a) R 1 (b",
    "reverses": "\u202egnp.exe".encode(),
    "isolates": "\u2066a\u2069".encode(),
    "is not to be seen": "ad\u200bmin".encode(),
    "is blank": "\u3164\u2800".encode(),
    "covers": "\u0338".encode() + b"a" + "\u0300\u0301".encode(),
    "breaks a line": "a\u2028b\u0085".encode(),
    "a CSI of C1": "\u009b31m".encode(),
    "a CSI of one byte": b"\x9b31m",
    "is no UTF-8": b"\xff\xfe\x80sh",
    "half of a pair": b"\xed\xa0\x80",
    "is escaped already": b"\\x1b[31m",
    "JSON": b'","pid":1,"a":"',
    "unknown": b"unknown",
    "is in doubt": b"sh?",
    "left out": b"...5 left out...",
    "is blank space": b" \t ",
    "an option": b"--help",
    "rubs out": b"x\x08\x08\x7f\x0b\x0c",
    "wide": "\U0001f480\u4e2d".encode(),
}
ARGUMENTS = (
    b"\x1b]8;;http://x/\x1b\\here\x1b]8;;\x1b\\",
    b"\x1b]52;c;cm0gLXJmIH4=\x07",
    b"\x1bP+q544e\x1b\\\x1b_Gx\x1b\\",
    b"[red]not red[/red] [link=http://x/]y[/link]",
    b"two\nlines\r\n",
    b"",
    "\u202e\u2066\u200b\ufeff".encode(),
    b"\xff\xc3\x28",
)
_HARMFUL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_OUR_SGR = re.compile(r"\x1b\[(0|1|2|31)m")


def argv_of(name: bytes) -> list[bytes]:
    return [name, b"-c", b"read stay", *ARGUMENTS]


class Animal:
    """One of them, alive."""

    def __init__(self, name: bytes, process: subprocess.Popen[bytes]) -> None:
        self.name = name[:15]  # as the kernel keeps it
        self.argv = argv_of(name)
        self.process = process
        self.pid = process.pid

    def runs(self) -> bool:
        return comm_of(self.pid) == self.name

    @property
    def text(self) -> str:
        return os.fsdecode(self.name)


def cage(directory: Path) -> list[bytes]:
    """A program of each name, a shell each; gives their paths."""
    paths = []
    for name in NAMES.values():
        path = os.path.join(os.fsencode(directory), name)
        os.symlink("/bin/sh", path)
        paths.append(path)
    return paths


@contextmanager
def zoo(directory: Path) -> Iterator[list[Animal]]:
    """All of them, until the end of the block."""
    with ExitStack() as stack:
        animals = []
        for path in cage(directory):
            name = os.path.basename(path)
            process = stack.enter_context(
                subprocess.Popen(argv_of(name), executable=path, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            )
            stack.callback(process.kill)
            animals.append(Animal(name, process))
        for animal in animals:
            wait_until(animal.runs, f"{animal.name!r} runs")
        yield animals


def assert_harmless(raw: bytes, *, is_coloured: bool = False) -> list[str]:
    """Only what can be printed, line by line, and our own colours where they were asked for; gives the lines."""
    text = raw.decode()  # strictly
    assert not text or text.endswith("\n")
    lines = text.split("\n")[:-1]
    for line in lines:
        plain = _OUR_SGR.sub("", line) if is_coloured else line
        for char in plain:
            assert unicodedata.category(char) not in _HARMFUL, f"{char!r} in {line!r}"
            assert unicodedata.bidirectional(char) not in _BIDI, f"{char!r} in {line!r}"
        assert plain.isprintable()
    return lines
