"""cli/namespaces.py: pids inside, of the living alone, and of the same process alone."""

from __future__ import annotations

import pytest

from proc_cache.cli.namespaces import with_ns_pids
from proc_cache.kernel.procfs import parse_ns_pids
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.frozen import SECOND_NS, ended, process


class Inside(FakeReader):
    def ns_pids(self, pid: int) -> tuple[int, ...]:
        self.see(pid)
        return (pid, 1)


def test_of_the_living() -> None:
    reader = Inside([sighting(10, start_ns=SECOND_NS)])
    told = with_ns_pids(process(10), reader)
    assert told.ns_pids == (10, 1)
    assert told == process(10, ns_pids=(10, 1))


def test_a_new_owner_of_the_pid_is_not_asked_for_it() -> None:
    assert with_ns_pids(process(10), Inside([sighting(10, start_ns=5 * SECOND_NS)])).ns_pids == ()


def test_of_the_dead_nothing_is_read() -> None:
    reader = Inside()
    assert with_ns_pids(ended(10, 0), reader).ns_pids == ()
    assert with_ns_pids(process(10, is_alive=None), reader).ns_pids == ()
    assert reader.asked == []


def test_one_that_is_gone_or_hidden() -> None:
    reader = Inside()
    assert with_ns_pids(process(10), reader).ns_pids == ()
    reader.hidden.add(10)
    assert with_ns_pids(process(10), reader).ns_pids == ()


@pytest.mark.parametrize(
    ("status", "ns_pids"),
    [
        (b"Name:\tsh\nPid:\t9\nNSpid:\t9\t4\t1\nNSpgid:\t9\t4\t1\n", (9, 4, 1)),
        (b"Name:\tsh\nPid:\t9\nNSpid:\t9\n", (9,)),
        (b"Name:\tsh\\nNSpid:\\t5\nPid:\t9\n", ()),
        (b"Name:\tsh\nNSpid:\t9\t4", ()),
        (b"", ()),
    ],
)
def test_status(status: bytes, ns_pids: tuple[int, ...]) -> None:
    assert parse_ns_pids(status) == ns_pids
