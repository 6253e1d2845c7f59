"""history/writer.py: what becomes of the journal's messages in the file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proc_cache import query
from proc_cache.history import bounds as bounds_module
from proc_cache.history import writer as writer_module
from proc_cache.history.bounds import Bounds
from proc_cache.history.schema import open_for_writing
from proc_cache.kernel.clocks import TICK_NS
from proc_cache.process import Place, Source, pack_cost
from tests.helpers.processes import wait_until
from tests.helpers.recording import (
    BOOTED_NS,
    OTHER_BOOT_ID,
    SECOND_NS,
    Writing,
    begin,
    exec_row,
    frame,
    record,
    row,
    rows,
    table,
    unread_row,
    view_of,
)

WHOLE_STEP = bounds_module.STEP
FACTS = (
    "pid, start_ns, ppid, ppid_source, adopter_pid, cmd, source, former, cmdline, uid, user, birth_user, "
    "session, exit_ns, exit_status, cpu_us, max_rss_bytes, read_bytes, write_bytes, full_name"
)
COST = "cpu_us, max_rss_bytes, read_bytes, write_bytes"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.01)
    monkeypatch.setattr(writer_module, "COMMIT_S", 0.01)


def wall(time_s: float) -> int:
    return BOOTED_NS + round(time_s * SECOND_NS)


# --- one recording ----------------------------------------------------------------------------------------


class TestRows:
    def test_each_fact_is_in_its_column(self, path: Path) -> None:
        told = row(
            7,
            10,
            150,
            ppid=5,
            adopter_pid=1,
            cmd=b"ba\xffsh",
            former=b"sh\0x|;\0",
            cmdline=b"bash\0-c\0",
            uid=1000,
            user=b"alice",
            birth_user=b"root",
            session=9,
            exit_s=160.5,
            status=256,
            cost=pack_cost(21, 22, 23, 24),
            full_name=b"ba\xffsh-and-longer",
        )
        record(path, begin(), rows(told))
        assert table(path, FACTS) == [
            (
                *(10, wall(150), 5, "fork", 1, b"ba\xffsh", "exec", b"sh\0x|;\0", b"bash\0-c\0"),
                *(1000, b"alice", b"root", 9, wall(160.5), 256, 21, 22, 23, 24, b"ba\xffsh-and-longer"),
            )
        ]

    def test_what_is_not_known_is_null(self, path: Path) -> None:
        told = row(
            7, 10, 0, ppid=None, ppid_source=Source.EXIT, cmd=b"", source=Source.EXIT, uid=None, session=None
        )
        record(path, begin(), rows(told))
        assert table(path, "start_ns, ppid, parent, adopter_pid, former, cmdline, uid, session, exit_ns") == [
            (0, None, None, None, None, None, None, None, None)
        ]
        assert table(path, f"{COST}, full_name") == [(None,) * 5]

    def test_a_process_that_changed_is_one_row(self, path: Path) -> None:
        record(
            path,
            begin(),
            rows(row(7, 10, 150, cmd=b"sh", source=Source.INHERITED)),
            rows(row(7, 10, 150, cmd=b"ls", former=b"sh\0")),
            rows(row(7, 10, 150, cmd=b"ls", former=b"sh\0", exit_s=151, status=9)),
        )
        assert table(path, "pid, cmd, former, exit_ns, exit_status") == [(10, b"ls", b"sh\0", wall(151), 9)]

    def test_an_end_that_was_none_is_taken_back(self, path: Path) -> None:
        record(path, begin(), rows(row(7, 10, 150, exit_s=151)), rows(row(7, 10, 150)))
        assert table(path, "exit_ns, exit_status") == [(None, None)]

    def test_children_point_at_the_row_of_their_parent(self, path: Path) -> None:
        record(path, begin(), rows(row(2, 11, 151, ppid=10, parent=1)), rows(row(1, 10, 150)))
        ids = dict(table(path, "pid, id"))
        assert table(path, "pid, parent") == [(10, None), (11, ids[10])]

    def test_a_link_that_was_cut_in_memory_stays_in_the_file(self, path: Path) -> None:
        """Of a ladder the middle is left out: what is written later of its rungs has no parent any more."""
        record(
            path,
            begin(),
            rows(row(1, 10, 150), row(2, 11, 151, ppid=10, parent=1)),
            rows(row(2, 11, 151, ppid=10)),
        )
        assert [parent is not None for (parent,) in table(path, "parent")] == [False, True]

    def test_the_first_fork_refines_what_a_scan_had_found(self, path: Path) -> None:
        scanned = row(1, 10, 150, ppid=1, ppid_source=Source.SNAPSHOT)
        record(path, begin(), rows(scanned), rows(row(1, 10, 150.003, ppid=5, adopter_pid=1)))
        assert table(path, "start_ns, ppid, ppid_source, adopter_pid") == [(wall(150.003), 5, "fork", 1)]

    def test_a_cost_that_comes_later_fills_the_row(self, path: Path) -> None:
        ended = row(7, 10, 150, exit_s=151)
        record(path, begin(), rows(ended), rows(row(7, 10, 150, exit_s=151, cost=pack_cost(1, 0, 3, 4))))
        assert table(path, f"pid, {COST}") == [(10, 1, 0, 3, 4)]

    def test_no_later_row_unwrites_a_cost(self, path: Path) -> None:
        cost = pack_cost(1, 0, 3, 4)
        record(path, begin(), rows(row(7, 10, 150, exit_s=151, cost=cost)), rows(row(7, 10, 150, exit_s=151)))
        assert table(path, COST) == [(1, 0, 3, 4)]

    def test_a_cost_beyond_what_the_file_can_hold_is_the_most_it_can(self, path: Path) -> None:
        most = (1 << 63) - 1
        record(path, begin(), rows(row(7, 10, 150, cost=pack_cost(most - 1, most, most + 1, (1 << 64) - 1))))
        assert table(path, COST) == [(most - 1, most, most, most)]

    def test_a_full_name_goes_with_the_name_that_it_is_of(self, path: Path) -> None:
        record(
            path,
            begin(),
            rows(row(7, 10, 150, cmd=b"fifteen-letters", full_name=b"fifteen-letters-and-more")),
            rows(row(7, 10, 150, cmd=b"ls", former=b"fifteen-letters\0")),
        )
        assert table(path, "cmd, full_name") == [(b"ls", None)]

    def test_a_place_that_a_later_recording_has_not_read_yet_stays(self, path: Path) -> None:
        places: list[Place | None] = [None, ("a.service", "", "pts/3"), (None, None, ""), None]
        told = [rows(row(7, 10, 150, place=place)) for place in places]
        record(path, begin(), told[0])
        assert table(path, "unit, container, tty") == [(None, None, None)]
        record(path, begin(), *told)
        assert table(path, "unit, container, tty", "FROM process ORDER BY id DESC LIMIT 1") == [
            (b"a.service", b"", b"")
        ]

    def test_execs_are_kept_each_once(self, path: Path) -> None:
        one, two = exec_row(7, 150.1, b"bash"), exec_row(7, 150.2, b"ls")
        record(path, begin(), rows(row(7, 10, 150), execs=[one]), rows(execs=[one, two]))
        (number,) = table(path, "id")[0]
        assert table(path, "process, time_ns, cmd, source, cmdline, user", "FROM exec ORDER BY time_ns") == [
            (number, wall(150.1), b"bash", "exec", b"bash\0", b"root"),
            (number, wall(150.2), b"ls", "exec", b"ls\0", b"root"),
        ]

    def test_how_far_it_has_come_and_what_is_missing(self, path: Path) -> None:
        record(path, begin(began_ns=100 * SECOND_NS, pid=77), rows(until_s=120), rows(until_s=130, missed=5))
        recordings = table(path, "pid, began_ns, until_ns, missed", "FROM recording")
        assert recordings == [(77, wall(100), wall(130), 5)]

    def test_losses_are_what_was_told_last(self, path: Path) -> None:
        first, second = (110 * SECOND_NS, 111 * SECOND_NS, 3), (120 * SECOND_NS, 121 * SECOND_NS, 4)
        record(path, begin(), rows(losses=[first]), rows(), rows(losses=[first, second]))
        assert table(path, "start_ns, end_ns, lost", "FROM loss") == [
            (wall(110), wall(111), 3),
            (wall(120), wall(121), 4),
        ]

    def test_nothing_but_a_beginning_is_a_recording_too(self, path: Path) -> None:
        assert record(path, begin()) == []
        assert len(table(path, "id", "FROM recording")) == 1

    def test_half_a_message_is_left_out(self, path: Path) -> None:
        """The engine was killed in the middle of sending."""
        with Writing(path) as writing:
            writing.send(begin(), rows(row(1, 10, 150)))
            writing.sock.sendall(b"\0\0\1\0half")
            writing.hang_up()
        assert table(path, "pid") == [(10,)]

    def test_it_is_written_within_half_a_second_without_an_end(self, path: Path) -> None:
        with Writing(path) as writing:
            writing.send(begin(), rows(row(1, 10, 150)))
            wait_until(lambda: path.exists() and table(path, "1", "FROM sqlite_schema"), "the file is made")
            wait_until(lambda: table(path, "pid") == [(10,)], "the row is there", 1)

    def test_a_reader_in_the_middle_of_a_read_does_not_stop_it(self, path: Path) -> None:
        record(path, begin(), rows(row(1, 10, 150)))
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM process").fetchone() == (1,)
            assert record(path, begin(), rows(*(row(n, n, 150) for n in range(100, 200)))) == []
            assert reader.execute("SELECT count(*) FROM process").fetchone() == (1,)
            reader.execute("COMMIT")
            assert reader.execute("SELECT count(*) FROM process").fetchone() == (101,)


class TestNamedByItsExitRecord:
    """A program that was gone before its name was read: its exit record comes after the exec was written."""

    BEFORE = row(7, 10, 150, cmd=b"sh", source=Source.UNREAD, exit_s=152)
    NAMED = row(7, 10, 150, cmd=b"ls", source=Source.EXIT_RECORD, user=b"alice", exit_s=152)

    def execs(self, path: Path) -> list[tuple[Any, ...]]:
        return table(path, "cmd, source", "FROM exec ORDER BY time_ns")

    @pytest.mark.parametrize(
        "messages",
        [
            [rows(BEFORE, execs=[unread_row(7, 151, b"sh")]), rows(NAMED)],
            [rows(BEFORE), rows(execs=[unread_row(7, 151, b"sh")]), rows(NAMED), rows(NAMED)],
            [rows(NAMED, execs=[unread_row(7, 151, b"sh")])],
        ],
        ids=["later", "twice", "at once"],
    )
    def test_its_exec_has_that_name(self, path: Path, messages: list[Any]) -> None:
        record(path, begin(), *messages)
        assert self.execs(path) == [(b"ls", "exit_record")]

    def test_only_the_last_one(self, path: Path) -> None:
        execs = [unread_row(7, 151, b"sh"), exec_row(7, 151.1, b"env"), unread_row(7, 151.2, b"env")]
        others = [unread_row(8, 151.3, b"sh")]
        record(path, begin(), rows(self.NAMED, row(8, 11, 150), execs=[*execs, *others]))
        assert self.execs(path) == [
            (b"sh", "unread"),
            (b"env", "exec"),
            (b"ls", "exit_record"),
            (b"sh", "unread"),
        ]

    def test_a_name_that_was_read_stays(self, path: Path) -> None:
        """The record's name is one that the program gave itself."""
        record(path, begin(), rows(self.NAMED, execs=[unread_row(7, 151, b"sh"), exec_row(7, 151.1, b"worker")]))
        assert self.execs(path) == [(b"sh", "unread"), (b"worker", "exec")]

    def test_without_an_exit_record_it_stays_unread(self, path: Path) -> None:
        renamed = row(7, 10, 150, cmd=b"worker", source=Source.COMM, exit_s=152)
        record(path, begin(), rows(renamed, execs=[unread_row(7, 151, b"sh")]))
        assert self.execs(path) == [(b"sh", "unread")]

    @pytest.mark.parametrize(("user", "told"), [(b"", b"alice"), (b"root", b"root")])
    def test_its_user_is_told_where_it_was_not_known(self, path: Path, user: bytes, told: bytes) -> None:
        record(path, begin(), rows(self.NAMED, execs=[unread_row(7, 151, b"", user=user)]))
        assert table(path, "user", "FROM exec") == [(told,)]

    def test_what_an_earlier_recording_saw_it_run_need_not_be_the_last(self, path: Path) -> None:
        record(path, begin(), rows(row(7, 10, 150, source=Source.UNREAD), execs=[unread_row(7, 151, b"sh")]))
        seen = row(1, 10, 150, ppid_source=Source.SNAPSHOT, cmd=b"ls", source=Source.EXIT_RECORD, exit_s=302)
        record(path, begin(began_ns=300 * SECOND_NS), rows(seen))
        assert self.execs(path) == [(b"sh", "unread")]

    def test_what_this_recording_saw_it_run_is(self, path: Path) -> None:
        record(path, begin(), rows(row(7, 10, 150, source=Source.UNREAD), execs=[unread_row(7, 151, b"sh")]))
        seen = row(1, 10, 150, ppid_source=Source.SNAPSHOT, cmd=b"ls", source=Source.EXIT_RECORD, exit_s=302)
        record(path, begin(began_ns=300 * SECOND_NS), rows(seen, execs=[unread_row(1, 301, b"sh")]))
        assert table(path, "pid") == [(10,)]
        assert self.execs(path) == [(b"sh", "unread"), (b"ls", "exit_record")]


# --- several recordings -----------------------------------------------------------------------------------


class TestSameBoot:
    FORKED = row(1, 10, 150.003, ppid=5, cmd=b"bash", former=b"sh\0", user=b"alice", birth_user=b"root")

    def seen_again(self, **facts: Any) -> tuple[Any, ...]:
        return row(
            1,
            10,
            150,
            **{"ppid": 5, "ppid_source": Source.SNAPSHOT, "source": Source.SNAPSHOT, "cmd": b"bash", **facts},
        )

    def again(self, path: Path, *processes: tuple[Any, ...], is_settled: bool = True) -> None:
        record(path, begin(), rows(self.FORKED))
        # It wrote another process first: the numbers of two recordings have nothing to do with each other.
        record(path, begin(began_ns=300 * SECOND_NS), rows(*processes, until_s=310, is_settled=is_settled))

    @pytest.mark.parametrize("ticks", [-2, -1, 0, 1, 2])
    def test_it_is_recognised_by_pid_and_start(self, path: Path, ticks: int) -> None:
        start_s = 150.003 + ticks * TICK_NS / SECOND_NS
        self.again(path, row(9, 10, start_s, ppid=5, ppid_source=Source.SNAPSHOT))
        assert table(path, "pid") == [(10,)]

    def test_another_start_is_another_process(self, path: Path) -> None:
        self.again(path, row(9, 10, 150.003 + 4 * TICK_NS / SECOND_NS, ppid=5, ppid_source=Source.SNAPSHOT))
        assert table(path, "pid, exit_ns IS NULL", "FROM process ORDER BY start_ns") == [(10, 0), (10, 1)]

    def test_what_its_fork_told_stays(self, path: Path) -> None:
        self.again(path, self.seen_again(ppid=1, birth_user=b"alice"))
        assert table(path, "start_ns, ppid, ppid_source, adopter_pid, birth_user") == [
            (wall(150.003), 5, "fork", 1, b"root")
        ]

    def test_the_parent_that_its_fork_told_stays(self, path: Path) -> None:
        record(path, begin(), rows(row(1, 5, 140), row(2, 10, 150.003, ppid=5, parent=1)))
        init = row(1, 1, 0.1, ppid=0, ppid_source=Source.SNAPSHOT)
        record(
            path,
            begin(began_ns=300 * SECOND_NS),
            rows(init, row(2, 10, 150, ppid=1, ppid_source="snapshot", parent=1)),
        )
        ids = dict(table(path, "pid, id"))
        assert table(path, "ppid, parent", "FROM process WHERE pid = 10") == [(5, ids[5])]

    def test_its_former_names_stay(self, path: Path) -> None:
        self.again(path, self.seen_again())
        assert table(path, "cmd, former") == [(b"bash", b"sh\0")]

    def test_its_former_names_stay_before_those_it_has_later(self, path: Path) -> None:
        self.again(path, self.seen_again(), self.seen_again(cmd=b"python", source=Source.EXEC, former=b"bash\0"))
        assert table(path, "cmd, former") == [(b"python", b"sh\0bash\0")]

    def test_what_is_new_of_it_is_taken(self, path: Path) -> None:
        self.again(path, self.seen_again(user=b"bob", exit_s=301, status=256))
        assert table(path, "user, exit_ns, exit_status") == [(b"bob", wall(301), 256)]

    def test_what_it_cost_is_told_by_the_recording_of_its_end(self, path: Path) -> None:
        self.again(path, self.seen_again(exit_s=301, cost=pack_cost(1, 2, 3, 4)))
        assert table(path, COST) == [(1, 2, 3, 4)]

    def test_what_was_not_found_again_ended_in_between(self, path: Path) -> None:
        self.again(path, row(1, 11, 160))
        assert table(path, "pid, exit_ns, exit_status") == [(10, wall(300), None), (11, None, None)]

    def test_nobody_has_ended_before_all_is_written_that_lives(self, path: Path) -> None:
        self.again(path, row(1, 11, 160), is_settled=False)
        assert table(path, "pid, exit_ns") == [(10, None), (11, None)]

    def test_what_was_found_is_not_closed_later(self, path: Path) -> None:
        record(path, begin(), rows(self.FORKED))
        record(
            path,
            begin(began_ns=300 * SECOND_NS),
            rows(self.seen_again()),
            rows(is_settled=True),
        )
        assert table(path, "exit_ns") == [(None,)]

    def test_a_pid_that_is_used_again_is_another_process(self, path: Path) -> None:
        self.again(path, row(1, 10, 250))
        assert table(path, "start_ns, exit_ns") == [(wall(150.003), wall(300)), (wall(250), None)]

    def test_two_that_lived_with_one_pid_are_both_closed(self, path: Path) -> None:
        """The end of the first one is not in the file: it was missed, with a full disk say."""
        record(path, begin(), rows(row(1, 10, 150), row(2, 10, 170)))
        record(path, begin(began_ns=300 * SECOND_NS), rows(is_settled=True))
        assert table(path, "exit_ns") == [(wall(300),), (wall(300),)]

    def test_children_of_it_point_at_the_one_row(self, path: Path) -> None:
        record(path, begin(), rows(row(5, 10, 150)))
        record(path, begin(began_ns=300 * SECOND_NS), rows(row(1, 10, 150), row(2, 11, 301, ppid=10, parent=1)))
        (number,) = table(path, "id", "FROM process WHERE pid = 10")[0]
        assert table(path, "parent", "FROM process WHERE pid = 11") == [(number,)]

    def test_its_boot_is_when_the_first_recording_said(self, path: Path) -> None:
        """The clock was set in between: the times of one boot stay comparable."""
        record(path, begin(), rows(row(1, 10, 150)))
        later = begin(booted_ns=BOOTED_NS + 3600 * SECOND_NS, began_ns=300 * SECOND_NS)
        record(path, later, rows(row(1, 10, 150), row(2, 11, 301)))
        assert table(path, "pid, start_ns") == [(10, wall(150)), (11, wall(301))]


def test_two_recordings_at_once_are_refused_or_one(path: Path) -> None:
    """`serve --record FILE` and `watch --record FILE`: nothing refuses the second one."""
    with Writing(path) as one, Writing(path) as two:
        one.send(begin(), rows(row(1, 1, 0.1, ppid=0)))
        wait_until(lambda: TestFailure.has(path, 1), "the first one writes")
        two.send(begin(pid=4001), rows(row(1, 1, 0.1, ppid=0), is_settled=True))
        wait_until(lambda: len(table(path, "id", "FROM recording")) == 2 or two.said, "the second one has begun")
        one.send(rows(row(2, 10, 150)))
        two.send(rows(row(2, 10, 150)))
    assert table(path, "pid") == [(1,), (10,)]


class TestAnotherBoot:
    LATER_NS = BOOTED_NS + 86400 * SECOND_NS

    def reboot(self, path: Path, *processes: tuple[Any, ...]) -> None:
        record(
            path, begin(), rows(row(1, 1, 0.1, ppid=0), row(2, 10, 150), row(3, 11, 150, exit_s=160), until_s=200)
        )
        later = begin(boot_id=OTHER_BOOT_ID, booted_ns=self.LATER_NS, began_ns=20 * SECOND_NS)
        record(path, later, rows(*processes, until_s=40))

    def test_the_living_of_the_former_boot_have_ended_with_their_recording(self, path: Path) -> None:
        self.reboot(path, row(1, 1, 0.1, ppid=0))
        ends = table(path, "pid, exit_ns, exit_status", "FROM process WHERE boot = 1 ORDER BY pid")
        assert ends == [(1, wall(200), None), (10, wall(200), None), (11, wall(160), 0)]
        assert table(path, "exit_ns", "FROM process WHERE boot = 2") == [(None,)]

    def test_the_same_pid_and_start_is_another_process(self, path: Path) -> None:
        self.reboot(path, row(1, 1, 0.1, ppid=0), row(2, 10, 150))
        assert table(path, "pid, start_ns", "FROM process WHERE pid = 10") == [
            (10, wall(150)),
            (10, self.LATER_NS + 150 * SECOND_NS),
        ]


# --- a file that cannot be written ------------------------------------------------------------------------


class Refusing:
    """A database that refuses to do some things, while `why` is set."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    why: sqlite3.Error | None = None
    what = "COMMIT"
    after = 0  # so many of these are done first
    refused = 0

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if statement.startswith(Refusing.what) and Refusing.why is not None:
            if not Refusing.after:
                Refusing.refused += 1
                raise Refusing.why
            Refusing.after -= 1
        return self._database.execute(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, impatient: None) -> Iterator[Callable[..., None]]:
    monkeypatch.setattr(writer_module, "open_for_writing", lambda path: Refusing(open_for_writing(path)))
    Refusing.why, Refusing.after, Refusing.refused = None, 0, 0

    def begin_to(*, what: str = "COMMIT", after: int = 0, why: sqlite3.Error | None = None) -> None:
        Refusing.what, Refusing.after = what, after
        Refusing.why = why or sqlite3.OperationalError("database or disk is full")

    yield begin_to
    Refusing.why = None


class TestFailure:
    def recording(self, path: Path) -> Writing:
        writing = Writing(path)
        writing.send(begin(), rows(row(1, 10, 150)))
        wait_until(lambda: path.exists() and self.has(path, 10), "the first row is written", 4)
        return writing

    @staticmethod
    def has(path: Path, pid: int) -> bool:
        try:
            return (pid,) in table(path, "pid")
        except sqlite3.OperationalError:
            return False

    @staticmethod
    def has_horizon(path: Path) -> bool:
        try:
            return bool(table(path, "1", "FROM horizon"))
        except sqlite3.OperationalError:
            return False

    @pytest.mark.parametrize("what", ["COMMIT", "BEGIN", "UPDATE recording"])
    def test_it_is_told_once_and_recovers(self, path: Path, refuse: Callable[..., None], what: str) -> None:
        with self.recording(path) as writing:
            refuse(what=what)
            writing.send(rows(row(2, 11, 151, ppid=10, parent=1)))
            writing.wait_for_word("error")
            wait_until(lambda: Refusing.refused > 5, "it tries again and again", 4)
            writing.send(rows(row(3, 12, 152)))
            Refusing.why = None
            assert writing.wait_for_word("again") == "again 0"
            said = writing.said
        assert said == [f"error {path}: database or disk is full", "again 0"]
        assert table(path, "pid") == [(10,), (11,), (12,)], "nothing is missing: it was kept meanwhile"

    def test_a_second_failure_is_told_again(self, path: Path, refuse: Callable[..., None]) -> None:
        with self.recording(path) as writing:
            for number in (2, 3):
                refuse()
                writing.send(rows(row(number, 20 + number, 151)))
                wait_until(lambda: len(writing.said) % 2, "it tells")
                Refusing.why = None
                wait_until(lambda: not len(writing.said) % 2, "it recovers")
            words = [line.split()[0] for line in writing.said]
        assert words == ["error", "again", "error", "again"]

    def test_it_does_not_try_all_the_time(
        self, path: Path, refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with self.recording(path) as writing:
            monkeypatch.setattr(writer_module, "RETRY_S", 60)
            refuse()
            for number in range(2, 102):
                writing.send(rows(row(number, number, 151)))
            writing.wait_for_word("error")
            writing.send(*(rows(row(number, number, 151)) for number in range(102, 202)))
            assert Refusing.refused == 1

    def test_what_waits_is_bounded_and_what_goes_is_counted(
        self, path: Path, refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer_module, "WAITING_MAX", 10)
        with self.recording(path) as writing:
            refuse()
            for first in range(100, 200, 4):
                writing.send(rows(*(row(number, number, 151) for number in range(first, first + 4))))
            writing.wait_for_word("error")
            wait_until(lambda: writing.writer._missed == 92, f"92 of 100 are dropped: {writing.writer._missed}")
            Refusing.why = None
            assert writing.wait_for_word("missed") == "missed 92"
            assert writing.wait_for_word("again") == "again 92"
        assert table(path, "pid") == [(10,), *((pid,) for pid in range(192, 200))], "the newest are kept"
        assert table(path, "missed", "FROM recording") == [(92,)]

    def test_missed_by_both_sides_are_added(
        self, path: Path, refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer_module, "WAITING_MAX", 1)
        with self.recording(path) as writing:
            refuse()
            writing.send(rows(row(2, 11, 151), row(3, 12, 151)), rows(missed=40))
            wait_until(lambda: writing.writer._missed == 2, "both are dropped")
            Refusing.why = None
            writing.wait_for_word("missed")
        assert table(path, "missed", "FROM recording") == [(42,)]

    def test_messages_of_no_process_are_bounded_too(
        self, path: Path, refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An idle engine sends five a second, and a disk can be full for weeks."""
        monkeypatch.setattr(writer_module, "MESSAGES_MAX", 50)
        with self.recording(path) as writing:
            refuse()
            for _ in range(500):
                writing.send(rows())
            writing.send(rows(row(2, 11, 151)))
            wait_until(lambda: writing.writer._rows == 1, "all has come")
            assert len(writing.writer._waiting) < 100

    def test_losses_outlive_the_dropping(
        self, path: Path, refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer_module, "WAITING_MAX", 1)
        with self.recording(path) as writing:
            refuse()
            writing.send(rows(row(2, 11, 151), losses=[(110 * SECOND_NS, 120 * SECOND_NS, 7)]))
            writing.wait_for_word("error")
            writing.send(rows(row(3, 12, 152)), rows(row(4, 13, 152)))
            wait_until(lambda: writing.writer._missed == 2, "the first ones are dropped")
            Refusing.why = None
            writing.wait_for_word("again")
        assert table(path, "lost", "FROM loss") == [(7,)]

    def test_the_gone_are_closed_in_spite_of_the_dropping(
        self, path: Path, refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record(path, begin(), rows(row(1, 9, 140)))
        monkeypatch.setattr(writer_module, "WAITING_MAX", 1)
        with self.recording(path) as writing:
            refuse()
            writing.send(rows(row(2, 11, 151), is_settled=True))
            writing.wait_for_word("error")
            writing.send(rows(row(3, 12, 152)), rows(row(4, 13, 152)))
            wait_until(lambda: writing.writer._missed == 2, "the first ones are dropped")
            Refusing.why = None
            writing.wait_for_word("again")
        assert table(path, "exit_ns IS NULL", "FROM process WHERE pid = 9") == [(0,)]

    def test_what_cannot_be_written_at_the_end_is_counted(self, path: Path, refuse: Callable[..., None]) -> None:
        with self.recording(path) as writing:
            refuse()
            writing.send(rows(row(2, 11, 151), row(3, 12, 151)))
            writing.wait_for_word("error")
            writing.hang_up()
            said = writing.said
        assert said[-1] == "missed 2"

    def test_a_failure_at_the_very_beginning(self, path: Path, refuse: Callable[..., None]) -> None:
        refuse()
        with Writing(path) as writing:
            writing.send(begin(), rows(row(1, 10, 150)))
            writing.wait_for_word("error")
            Refusing.why = None
            writing.wait_for_word("again")
        assert table(path, "pid", "FROM process JOIN boot ON boot.id = process.boot") == [(10,)]
        assert len(table(path, "id", "FROM recording")) == 1

    def test_a_directory_that_is_not_there_yet(self, tmp_path: Path, impatient: None) -> None:
        path = tmp_path / "missing" / "history"
        with Writing(path) as writing:
            writing.send(begin(), rows(row(1, 10, 150)))
            assert writing.wait_for_word("error") == f"error {path}: No such file or directory"
            path.parent.mkdir()
            writing.wait_for_word("again")
        assert table(path, "pid") == [(10,)]

    def test_another_file_that_came_meanwhile_is_not_touched(self, tmp_path: Path, impatient: None) -> None:
        path = tmp_path / "missing" / "history"
        with Writing(path) as writing:
            writing.send(begin(), rows(row(1, 10, 150)))
            writing.wait_for_word("error")
            path.parent.mkdir()
            path.write_text("of somebody else\n" * 100)
            writing.hang_up()
        assert path.read_text() == "of somebody else\n" * 100

    def test_somebody_holds_the_file(self, path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
        with self.recording(path) as writing:
            assert writing.writer._database is not None
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                writing.send(rows(row(2, 11, 151)))
                wait_until(lambda: writing.writer._rows == 1, "it has come")
                other.execute("COMMIT")
            wait_until(lambda: self.has(path, 11), "it is written", 6)
            assert writing.said == []


# --- bounds -----------------------------------------------------------------------------------------------


@pytest.fixture
def quick_bounds(monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    monkeypatch.setattr(writer_module, "PRUNE_S", 0.02)


def ago(seconds: float) -> float:
    """A time that lies so far back, in seconds since the boot of these histories."""
    return time.time() - BOOTED_NS / SECOND_NS - seconds


@pytest.mark.usefixtures("quick_bounds")
class TestKeep:
    KEEP = Bounds(keep_ns=1000 * SECOND_NS)

    def kept(self, path: Path, *processes: tuple[Any, ...], deadline_s: float = 5) -> list[int]:
        last = row(999_999, 999_999, ago(0))
        with Writing(path, self.KEEP) as writing:
            writing.send(begin(began_ns=int(ago(5000) * SECOND_NS)), rows(*processes, last))
            goal = int(ago(1000) * SECOND_NS) + BOOTED_NS

            def is_done() -> bool:
                writing.send(rows())
                return bool(
                    TestFailure.has(path, 999_999)
                    and not table(
                        path,
                        "1",
                        f"FROM process AS old WHERE exit_ns < {goal} "
                        "AND NOT EXISTS (SELECT 1 FROM process WHERE parent = old.id)",
                    )
                )

            wait_until(is_done, "what is too old is removed", deadline_s)
        return [pid for (pid,) in table(path, "pid") if pid != 999_999]

    def test_what_ended_before_is_removed(self, path: Path) -> None:
        old, young = ago(1100), ago(900)
        processes = [row(1, 10, old - 1, exit_s=old), row(2, 11, old - 1, exit_s=young), row(3, 12, old - 1)]
        assert self.kept(path, *processes) == [11, 12]

    def test_a_whole_old_chain_goes(self, path: Path) -> None:
        old = ago(1100)
        ladder = [row(n, n, old - 1, parent=n - 1 if n > 1 else None, exit_s=old) for n in range(1, 20)]
        assert self.kept(path, *ladder) == []

    def test_a_long_old_ladder_goes_too(self, path: Path) -> None:
        """One generation in a step, and a step every PRUNE_S, would take two days for 20,000."""
        old = ago(1100)
        ladder = [row(n, n, old - 1, parent=n - 1 if n > 1 else None, exit_s=old) for n in range(1, 2000)]
        assert self.kept(path, *ladder, deadline_s=2) == []

    def test_ancestors_of_what_is_kept_are_kept(self, path: Path) -> None:
        old, young = ago(1100), ago(900)
        ladder = [
            row(n, n, old - 1, ppid=n - 1, parent=n - 1 if n > 1 else None, exit_s=old) for n in range(1, 20)
        ]
        leaf = row(20, 20, old - 1, ppid=19, parent=19, exit_s=young)
        stray = row(21, 21, old - 1, ppid=19, parent=19, exit_s=old)
        assert self.kept(path, *ladder, leaf, stray) == list(range(1, 21))
        with view_of(path) as view:
            assert [link.pid for link in query.chain(view, 20).links] == list(range(20, 0, -1))

    def test_their_execs_go_with_them(self, path: Path) -> None:
        old = ago(1100)
        with Writing(path, self.KEEP) as writing:
            writing.send(
                begin(),
                rows(
                    row(1, 10, old - 1, exit_s=old),
                    row(2, 11, old - 1),
                    execs=[exec_row(1, old, b"a"), exec_row(2, old, b"b")],
                ),
            )
            wait_until(lambda: TestFailure.has(path, 11), "it is written")

            def is_done() -> bool:
                writing.send(rows())
                return not TestFailure.has(path, 10)

            wait_until(is_done, "what is too old is removed", 5)
        assert table(path, "cmd", "FROM exec") == [(b"b",)]

    def test_the_horizon_is_the_newest_end_that_went(self, path: Path) -> None:
        self.kept(path, row(1, 10, 1, exit_s=50), row(2, 11, 1, exit_s=70), row(3, 12, 1, exit_s=60))
        assert table(path, "removed_ns", "FROM horizon") == [(wall(70),)]

    def test_nothing_is_removed_without_a_bound(self, path: Path) -> None:
        with Writing(path) as writing:
            writing.send(begin(), rows(row(1, 10, 1, exit_s=2)))
            wait_until(lambda: TestFailure.has(path, 10), "it is written")
            writing.send(rows(row(2, 11, 1)))
            wait_until(lambda: TestFailure.has(path, 11), "more is written")
        assert table(path, "pid") == [(10,), (11,)]
        assert table(path, "removed_ns", "FROM horizon") == []


@pytest.mark.usefixtures("quick_bounds")
class TestMaxSize:
    SIZE = 400 << 10
    BATCH = 200
    BATCHES = 40  # at some 100 bytes a process, indexes included: twice the size and more

    @pytest.fixture(autouse=True)
    def small_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounds_module, "STEP", 512)

    def used(self, path: Path) -> int:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            pages, free, size = (
                database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * size)

    def batch(self, index: int, **facts: Any) -> Any:
        numbers = range(1 + index * self.BATCH, 1 + (index + 1) * self.BATCH)
        processes = [
            row(n, n, n, exit_s=n + 0.5, cmdline=b"x" * 60, **{k: f(n) for k, f in facts.items()}) for n in numbers
        ]
        return rows(*processes, until_s=numbers[-1])

    def test_the_used_size_stays_below_under_continued_writing(self, path: Path) -> None:
        largest = 0
        record(path.with_name("unbounded"), begin(), *(self.batch(index) for index in range(self.BATCHES)))
        assert self.used(path.with_name("unbounded")) > 2 * self.SIZE, "there is something to remove"
        with Writing(path, Bounds(max_bytes=self.SIZE)) as writing:
            writing.send(begin())
            for index in range(self.BATCHES):
                writing.send(self.batch(index))
                last = (index + 1) * self.BATCH
                wait_until(lambda last=last: TestFailure.has(path, last), "the batch is written", 4)  # type: ignore[misc]
                largest = max(largest, self.used(path))
            assert writing.said == []
        assert largest <= self.SIZE + self.BATCH * 300, "one batch is written before a look at the size"
        pids = [pid for (pid,) in table(path, "pid", "FROM process ORDER BY pid")]
        assert pids == list(range(pids[0], self.BATCH * self.BATCHES + 1)), "the oldest went, and nobody else"
        assert len(pids) > self.BATCH, "and not all of them"
        assert table(path, "removed_ns", "FROM horizon") == [(wall(pids[0] - 1 + 0.5),)]
        assert self.used(path) <= self.SIZE
        assert path.stat().st_size <= 1.3 * self.SIZE

    def test_leaves_go_before_the_ancestors_of_others(self, path: Path) -> None:
        """All are children of the first, which ended first of all: it stays."""
        parent = row(1_000_000, 1_000_000, 0.1, exit_s=0.2)
        with Writing(path, Bounds(max_bytes=self.SIZE)) as writing:
            writing.send(begin(), rows(parent))
            for index in range(self.BATCHES):
                writing.send(self.batch(index, parent=lambda _: 1_000_000, ppid=lambda _: 1_000_000))
                last = (index + 1) * self.BATCH
                wait_until(lambda last=last: TestFailure.has(path, last), "the batch is written", 4)  # type: ignore[misc]
        assert TestFailure.has(path, 1_000_000)
        assert not TestFailure.has(path, 1)

    def ladder(self, *tip: tuple[Any, ...]) -> Any:
        last = self.BATCH * self.BATCHES
        return rows(
            *tip,
            *(
                row(n, n, n, ppid=n - 1, parent=n - 1 or None, cmdline=b"x" * 60, exit_s=n + 0.5)
                for n in range(1, last + 1)
            ),
        )

    def wait_until_in_bound(self, writing: Writing, path: Path) -> None:
        wait_until(lambda: TestFailure.has(path, self.BATCH * self.BATCHES), "all is written", 4)

        def is_done() -> bool:
            writing.send(rows())
            return self.used(path) <= self.SIZE

        wait_until(is_done, "it is within its bound", 3)

    def test_a_ladder_of_ancestors_alone_ends_in_bound_too(self, path: Path) -> None:
        last = self.BATCH * self.BATCHES
        with Writing(path, Bounds(max_bytes=self.SIZE)) as writing:
            writing.send(begin(), self.ladder(row(last + 1, last + 1, last + 1, ppid=last, parent=last)))
            self.wait_until_in_bound(writing, path)
        assert TestFailure.has(path, last + 1), "the living tip is there"
        with view_of(path) as view:
            chain = query.chain(view, last + 1)
        assert 100 < len(chain.links) < last
        assert (chain.complete, chain.missing_pid) == (False, last + 1 - len(chain.links))

    def test_a_ladder_that_has_ended_ends_in_bound_too(self, path: Path) -> None:
        with Writing(path, Bounds(max_bytes=self.SIZE)) as writing:
            writing.send(begin(), self.ladder())
            self.wait_until_in_bound(writing, path)

    def test_no_more_is_removed_than_has_to_be(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounds_module, "STEP", WHOLE_STEP)
        with Writing(path, Bounds(max_bytes=self.SIZE)) as writing:
            numbers = range(1, self.BATCH * self.BATCHES)
            writing.send(begin(), rows(*(row(n, n, n, cmdline=b"x" * 60, exit_s=n + 0.5) for n in numbers)))

            def is_done() -> bool:
                writing.send(rows())
                return bool(TestFailure.has_horizon(path)) and self.used(path) <= self.SIZE

            wait_until(is_done, "it is within its bound", 4)
        assert len(table(path, "id")) > self.BATCH

    def test_the_living_are_not_removed(self, path: Path) -> None:
        with Writing(path, Bounds(max_bytes=1)) as writing:
            writing.send(begin(), rows(row(1, 10, 150), row(2, 11, 150, exit_s=151)))
            wait_until(lambda: TestFailure.has(path, 10), "it is written")

            def is_done() -> bool:
                writing.send(rows())
                return not TestFailure.has(path, 11)

            wait_until(is_done, "the dead one is removed", 4)
            assert writing.said == []
        assert table(path, "pid") == [(10,)]


# --- its process ------------------------------------------------------------------------------------------


def test_it_ends_with_the_engine_and_leaves_no_log(path: Path) -> None:
    """A real writer process: it holds nothing of ours but its socket, and ends when that is hung up."""
    sock = writer_module.start(str(path), Bounds())
    sock.sendall(b"".join(map(frame, (begin(), rows(row(1, 10, 150))))))
    sock.close()
    _, status = os.waitpid(-1, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert table(path, "pid") == [(10,)]
