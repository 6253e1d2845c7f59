"""cli/pattern.py and cli/searched.py: names are searched at the end of who asks."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import proc_cache
from proc_cache.cli.pattern import NamePattern
from proc_cache.cli.searched import searched
from proc_cache.process import Source
from proc_cache.service.following import ChildEnded, Missed
from proc_cache.service.picture import Picture, Spawner
from tests.helpers import frozen
from tests.helpers.told import a_node, some_stats, told_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proc_cache.service.following import Piece

NAMES = [
    ("cc1", "sh", None, False),
    ("cc1", "cc1", None, True),
    ("c.1", "xcc1plus", None, True),  # anywhere
    ("^cc1$", "cc1plus", None, False),
    ("(?i)CC1", "cc1", None, True),
    ("^$", "", None, True),
    ("prod$", "victoria-metric", "victoria-metrics-prod", True),
    ("metric$", "victoria-metric", "victoria-metrics-prod", False),  # the kernel cut it there, nobody called it so
    ("\udcff", "a\udcffb", None, True),
    (r"\n", "a\nb", None, True),
]


@pytest.mark.parametrize(("pattern", "cmd", "full_name", "is_in"), NAMES)
def test_the_name_is_searched(pattern: str, cmd: str, full_name: str | None, is_in: bool) -> None:
    wanted = NamePattern(pattern)
    assert wanted.is_in(frozen.process(10, cmd=cmd, full_name=full_name)) is is_in
    assert wanted.is_in_node(a_node(10, cmd=cmd, full_name=full_name)) is is_in


def test_a_name_that_is_not_known_is_none() -> None:
    """Nor is it the word for that."""
    for pattern in ("", ".*", "unknown"):
        wanted = NamePattern(pattern or "^")
        assert not wanted.is_in(frozen.process(10, cmd=None))
        assert not wanted.is_in_node(a_node(10, cmd="", source=Source.FORK))


@pytest.mark.parametrize(
    "pattern", ["(", "[", "*", "a{2,1}", "(?P<x>a)(?P<x>b)", "\\", "(" * 5000, "a{99999999999}", "(?z)"]
)
def test_what_is_no_pattern_is_said_in_one_line(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no regular expression: ") as caught:
        NamePattern(pattern)
    assert len(str(caught.value).splitlines()) == 1


def test_an_empty_pattern_is_none() -> None:
    with pytest.raises(ValueError, match="empty"):
        NamePattern("")


def test_what_python_warns_of_is_not_the_users_affair() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NamePattern("[[a]").is_in(frozen.process(10, cmd="a"))


class Stream:
    """Stands for a `Following`."""

    def __init__(self, *pieces: Piece) -> None:
        self.pieces = pieces

    def take(self, timeout_s: float) -> Iterator[Piece]:
        assert timeout_s == 0.5
        return iter(self.pieces)


def test_a_stream_without_the_others() -> None:
    shell, compiler = told_of(a_node(500)), told_of(a_node(501, cmd="cc1"))
    others: list[Any] = [Missed(3, True), ChildEnded(7)]
    stream: Any = Stream(shell, *others, compiler)
    assert list(searched(stream, NamePattern("^cc")).take(0.5)) == [*others, compiler]
    assert searched(stream, None) is stream


def test_a_picture_without_the_others() -> None:
    shell, compiler = told_of(a_node(500)), told_of(a_node(501, cmd="cc1"))
    picture = Picture(some_stats(), (shell, compiler), (Spawner(1, "init", True, 5, None, 0, None, 0, 0),))
    stream: Any = Stream(picture)
    (told,) = searched(stream, NamePattern("^cc")).take(0.5)
    assert isinstance(told, Picture)
    assert told == Picture(picture.stats, (compiler,), picture.spawners)


def test_no_engine_searches_a_name() -> None:
    """Some patterns take forever, and an engine runs at real-time priority."""
    package = Path(proc_cache.__file__).parent
    for path in [*package.rglob("engine/*.py"), *package.rglob("service/*.py"), *package.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert "re" not in [alias.name for alias in node.names], path
            if isinstance(node, ast.ImportFrom):
                assert node.module != "re", path
