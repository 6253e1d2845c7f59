"""render/terminals.py: the numbers of a terminal's device."""

from __future__ import annotations

import os

import pytest

from proc_cache.render.terminals import terminal_fields


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("tty1", (4, 1)), ("ttyS0", (4, 64)), ("pts/0", (136, 0)), ("pts/300", (137, 44)), ("console", (5, 1))],
)
def test_devices(name: str, numbers: tuple[int, int]) -> None:
    major, minor = numbers
    assert terminal_fields(name) == {"interactive": True, "tty": {"char_device": {"major": major, "minor": minor}}}


def test_a_real_one_has_the_numbers_of_its_file() -> None:
    controller, terminal = os.openpty()
    try:
        path = os.ttyname(terminal)
        device = os.stat(path).st_rdev
    finally:
        os.close(controller)
        os.close(terminal)
    told = terminal_fields(path.removeprefix("/dev/"))["tty"]["char_device"]
    assert (told["major"], told["minor"]) == (os.major(device), os.minor(device))


def test_none_unknown_and_of_an_unknown_kind() -> None:
    assert terminal_fields("") == {"interactive": False}
    assert terminal_fields(None) == {}
    assert terminal_fields("hvc0") == {"interactive": True}
