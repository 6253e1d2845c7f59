"""render/table.py and render/times.py: rows, and moments in words."""

from __future__ import annotations

import time

import pytest

from proc_cache.render.style import PLAIN, Style
from proc_cache.render.table import draw_table
from proc_cache.times import clock, duration, rfc3339
from tests.helpers.frozen import BOOT_WALL_NS, SECOND_NS, ended, process
from tests.helpers.story import Story


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_a_table() -> None:
    rows = [
        process(1, 0, cmd="systemd", cmdline=(b"/sbin/init",)),
        process(12345, 1, user=None, cmd=None, start_time_ns=None),
        ended(7, 9, ppid=12345, user="a_long_user"),
        process(8, cmd="x\ny", uid=5, user="日本"),
    ]
    assert list(draw_table(rows, PLAIN)) == [
        "  PID   PPID  USER         STARTED   CMD      CMDLINE",
        "    1      0  root         22:13:21  systemd  /sbin/init",
        "12345      1  unknown      unknown   unknown",
        "    7  12345  a_long_user  22:13:21  sh       [signal 9 after 2s]",
        "    8      1  日本         22:13:21  x\\x0ay",
    ]


def test_an_unknown_parent_is_no_number() -> None:
    story = Story()
    story.exit(8)
    unseen = story.view.describe(story.node(8))
    assert list(draw_table([unseen], PLAIN))[1].split()[:2] == ["8", "unknown"]


def test_nothing_is_cut_without_a_screen() -> None:
    argument = b"x" * 5000
    assert argument.decode() in list(draw_table([process(8, cmdline=(argument,))], PLAIN))[1]
    cut = list(draw_table([process(8, cmdline=(argument,))], Style(is_coloured=False, width=80)))
    assert max(map(len, cut)) == 80


def test_no_processes() -> None:
    assert len(list(draw_table([], PLAIN))) == 1


def test_rfc3339() -> None:
    assert rfc3339(None, BOOT_WALL_NS) is None
    assert rfc3339(0, BOOT_WALL_NS) == "2023-11-14T22:13:20.000000Z"
    assert rfc3339(1_234_567, BOOT_WALL_NS) == "2023-11-14T22:13:20.001234Z"


def test_clock() -> None:
    assert clock(61 * SECOND_NS + 5_999_999, BOOT_WALL_NS) == "22:14:21.005"


@pytest.mark.parametrize(
    ("span_ns", "text"),
    [
        (0, "0ms"),
        (3_000_000, "3ms"),
        (300_000_000, "0.3s"),
        (59 * SECOND_NS, "59s"),
        (250 * SECOND_NS, "4m10s"),
        (7500 * SECOND_NS, "2h05m"),
        (273_600 * SECOND_NS, "3d04h"),
    ],
)
def test_duration(span_ns: int, text: str) -> None:
    assert duration(span_ns) == text


class TestWide:
    def test_where_it_belongs(self) -> None:
        rows = [
            process(1, 0, unit="init.scope", container="", tty="", session=0),
            process(9, unit="a\x1b[31m.service", container="docker:3f2a0123abcd", tty="pts/3", session=7),
            process(10, session=None),
        ]
        assert list(draw_table(rows, PLAIN, is_wide=True)) == [
            "PID  PPID  USER  STARTED   UNIT               CONTAINER            TTY      SESSION  CMD  CMDLINE",
            "  1     0  root  22:13:21  init.scope         -                    -        -        sh",
            "  9     1  root  22:13:21  a\\x1b[31m.service  docker:3f2a0123abcd  pts/3    7        sh",
            " 10     1  root  22:13:21  unknown            unknown              unknown  unknown  sh",
        ]

    def test_pids_in_a_namespace_where_they_were_read(self) -> None:
        rows = [process(1, 0, ns_pids=(1,)), process(9, ns_pids=(9, 4, 1)), ended(10, 0, ns_pids=())]
        lines = list(draw_table(rows, PLAIN))
        assert lines[0].split() == ["PID", "PPID", "USER", "STARTED", "NSPID", "CMD", "CMDLINE"]
        assert [line.split()[4] for line in lines[1:]] == ["-", "4/1", "unknown"]
