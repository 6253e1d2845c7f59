"""process.py: what is known of a process, and how it ended."""

from __future__ import annotations

import pytest

from proc_cache.process import (
    Node,
    Process,
    Source,
    cut_cmdline,
    is_cmdline_cut,
    is_name_certain,
    known_name,
    split_cmdline,
)


def node(cmd: str, source: str) -> Node:
    return Node(10, 1, 1, Source.FORK, None, cmd, source, 0)


def process(status: int | None) -> Process:
    return Process(
        pid=10,
        ppid=1,
        ppid_source=Source.FORK,
        current_ppid=1,
        current_parent=None,
        cmd="sh",
        source=Source.EXEC,
        former_cmds=(),
        cmdline=None,
        is_cmdline_cut=False,
        uid=0,
        user="root",
        birth_user="root",
        session=1,
        booted_ns=0,
        start_time_ns=1,
        is_alive=False,
        exit_time_ns=2,
        exit_status=status,
    )


@pytest.mark.parametrize(
    ("status", "code", "signal", "is_core_dumped"),
    [
        (None, None, None, None),
        (0, 0, None, False),
        (768, 3, None, False),
        (255 << 8, 255, None, False),
        (9, None, 9, False),
        (11 | 0x80, None, 11, True),
    ],
)
def test_wait_status(
    status: int | None, code: int | None, signal: int | None, is_core_dumped: bool | None
) -> None:
    ended = process(status)
    assert (ended.exit_code, ended.signal, ended.is_core_dumped) == (code, signal, is_core_dumped)


@pytest.mark.parametrize(
    ("cmd", "source", "name", "is_certain"),
    [
        ("sh", Source.EXEC, "sh", True),
        ("", Source.COMM, "", True),  # prctl(PR_SET_NAME, "")
        ("sh", Source.INHERITED, "sh", True),
        ("sh", Source.SNAPSHOT, "sh", True),
        ("sh", Source.PROCFS, "sh", True),
        ("sh", Source.UNREAD, "sh", False),
        ("", Source.UNREAD, None, False),
        ("", Source.FORK, None, False),
        ("", Source.EXIT, None, False),
        ("sh", Source.MANUAL, "sh", True),
        ("", Source.MANUAL, None, False),
    ],
)
def test_what_is_known_of_a_name(cmd: str, source: str, name: str | None, is_certain: bool) -> None:
    assert known_name(node(cmd, source)) == name
    assert is_name_certain(node(cmd, source)) is is_certain


@pytest.mark.parametrize(
    ("cmdline", "arguments"),
    [
        (b"", []),
        (b"sh\0-c\0\0", [b"sh", b"-c", b""]),
        (b"nginx: worker", [b"nginx: worker"]),  # a title without NUL
        (b"sh\0-c", [b"sh", b"-c"]),  # cut at the limit
        (b"\0", [b""]),
    ],
)
def test_cmdline_as_arguments(cmdline: bytes, arguments: list[bytes]) -> None:
    assert split_cmdline(cmdline) == arguments
    for count in range(4):
        assert split_cmdline(cmdline, count) == arguments[:count]


def test_the_uid_at_birth_is_kept() -> None:
    born = node("sh", Source.EXEC)
    assert (born.uid, born.birth_uid) == (0, 0)
    for uid in (1000, 2000):
        born.change_uid(uid)
        assert (born.uid, born.birth_uid) == (uid, 0)
    born.change_uid(0)
    assert (born.uid, born.birth_uid) == (0, 0)


def test_a_uid_at_birth_that_is_not_known() -> None:
    found = Node(10, 0, None, Source.EXIT, None, "", Source.EXIT, None)
    assert found.birth_uid is None
    found.change_uid(1000)
    assert (found.uid, found.birth_uid) == (1000, None)
    found.birth_uid = 1000
    assert (found.uid, found.birth_uid) == (1000, 1000)


def test_what_few_have_is_apart() -> None:
    plain = node("sh", Source.EXEC)
    plain.adopter_pid = plain.full_name = None
    plain.birth_uid = plain.uid
    assert plain.rare is None
    plain.adopter_pid, plain.full_name = 1, "a-very-long-name"
    assert (plain.adopter_pid, plain.full_name, plain.birth_uid) == (1, "a-very-long-name", 0)
    plain.adopter_pid = plain.full_name = None
    assert (plain.adopter_pid, plain.full_name) == (None, None)


def test_the_repr_tells_who_it_is() -> None:
    born = node("sh", Source.EXEC)
    assert "10 'sh'" in repr(born)


@pytest.mark.parametrize(
    ("cmdline", "kept", "is_cut"),
    [
        (b"sh\0-c\0", b"sh\0-c\0", False),
        (b"x" * 20 + b"\0", b"x" * 10 + b"\0\xe2\x80\xa6", True),
        ("…\0".encode(), "…\0".encode(), False),  # an argument that is really so
        (b"x" * 13 + b"\0", b"x" * 13 + b"\0", False),  # no longer than with the mark
    ],
)
def test_what_is_too_long_is_cut_and_marked(cmdline: bytes, kept: bytes, is_cut: bool) -> None:
    limit = 10
    assert cut_cmdline(cmdline, limit) == kept
    assert is_cmdline_cut(kept) is is_cut
    assert cut_cmdline(kept, limit) == kept, "cutting twice changes nothing"
    assert split_cmdline(kept)[-1] == ("…".encode() if is_cut else split_cmdline(cmdline)[-1])
