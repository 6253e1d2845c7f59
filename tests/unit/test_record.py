"""record.py: frozen values with named fields."""

from __future__ import annotations

import pickle

import pytest

from proc_cache.process import CacheParams, PidNode, ProcInfo
from proc_cache.record import Record


class Point(Record):
    x: int
    y: int = 7

    @property
    def total(self) -> int:
        return self.x + self.y


class Point3(Point):
    z: int = 9


def test_fields_by_place_and_by_name() -> None:
    assert (Point(1).x, Point(1).y) == (1, 7)
    assert Point(1, y=2).total == 3
    assert Point3(1, 2).z == 9


@pytest.mark.parametrize("arguments", [(), (1, 2, 3)])
def test_wrong_numbers_of_fields(arguments: tuple[int, ...]) -> None:
    with pytest.raises(TypeError):
        Point(*arguments)


def test_unknown_field() -> None:
    with pytest.raises(TypeError):
        Point(1, w=2)  # type: ignore[call-arg]


def test_a_field_given_twice() -> None:
    with pytest.raises(TypeError):
        Point(1, x=2)  # type: ignore[misc]


def test_made_often_is_made_the_same() -> None:
    """After some calls another `__init__` takes over."""

    class Often(Record):
        a: int
        b: int = 5

    made = [(Often(1, 2), Often(b=2, a=1), Often(1)) for _ in range(50)]
    assert set(made) == {(Often(1, 2), Often(1, 2), Often(1, 5))}
    with pytest.raises(TypeError):
        Often()  # type: ignore[call-arg]


def test_records_do_not_change() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match=r"Point\.x cannot be set"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        point.other = 2
    with pytest.raises(AttributeError):
        del point.x
    assert point == Point(1)
    assert not hasattr(point, "__dict__")


def test_compared_by_content_and_kind() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(1, 3)
    assert len({Point(1, 2), Point(1, 2), Point(1, 3)}) == 2
    assert Point(1, 2) != Point3(1, 2)
    assert Point(1, 2) != (1, 2)
    assert PidNode(1, "sh", 0) != ProcInfo("sh", "root", 1, 2, 0)


def test_repr_and_pickle() -> None:
    info = ProcInfo("sh", "root", 1, 2, 3)
    assert repr(info) == "ProcInfo(cmd='sh', user='root', ppid=1, tgid=2, start_time_ns=3)"
    assert pickle.loads(pickle.dumps(info)) == info
    assert pickle.loads(pickle.dumps(Point3(1, 2, 3))) == Point3(1, 2, 3)


def test_public_records() -> None:
    assert PidNode(1, "sh").start_time_ns == 0
    assert CacheParams(capacity=3, ttl_secs=0.5) == CacheParams(3, 0.5)
