"""history/journal.py: what is handed to the writer, when, and what happens when nobody takes it."""

from __future__ import annotations

import marshal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from proc_cache.history import journal as journal_module
from proc_cache.history.journal import LENGTH, SETTLE_NS, SLICE, Journal
from proc_cache.kernel import clocks
from proc_cache.process import Source, pack_cost
from tests.helpers.story import SECOND_NS, Story

BEGIN, ROWS = "begin", "rows"
# Places in a row.
NUMBER, PID, PARENT, CMD, SOURCE, FORMER, EXIT_NS, COST, FULL_NAME = 0, 1, 5, 7, 8, 9, 15, 17, 18


class Desk:
    """A journal of a story, and the writer's end of its socket, read by hand."""

    def __init__(self, **facts: Any) -> None:
        self.story = Story(**facts)
        ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.told: list[str] = []
        self.journal = Journal(ours, self.story.view, self.story.ledger, self.told.append)
        self.story.table.recorder = self.journal
        self._received = b""

    def messages(self) -> list[tuple[Any, ...]]:
        """What has been sent since the last look."""
        try:
            while data := self.theirs.recv(1 << 20):
                self._received += data
        except BlockingIOError:
            pass
        found = []
        while len(self._received) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._received)
            if len(self._received) < LENGTH.size + length:
                break
            found.append(marshal.loads(self._received[LENGTH.size : LENGTH.size + length]))
            self._received = self._received[LENGTH.size + length :]
        return found

    def settle(self) -> list[tuple[Any, ...]]:
        """Let a second go by, flush, and give the messages."""
        self.story.wait(1)
        self.journal.flush()
        return self.messages()

    def rows(self) -> list[tuple[Any, ...]]:
        return [row for message in self.settle() if message[0] == ROWS for row in message[2]]

    def close(self) -> None:
        self.theirs.close()
        self.journal._socket.close()


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    stories: list[Story] = []
    monkeypatch.setattr(clocks, "boottime_ns", lambda: stories[0].now_ns if stories else 1000 * SECOND_NS)
    made = Desk()
    stories.append(made.story)
    yield made
    made.close()


class TestRows:
    def test_marks_coalesce_to_one_row(self, desk: Desk) -> None:
        desk.story.fork(1, 10)
        desk.story.comm(10, b"sh")
        desk.story.uid(10, 1000)
        desk.story.exit(10, status=256)
        (row,) = desk.rows()
        assert (row[PID], row[CMD], row[EXIT_NS], row[EXIT_NS + 1]) == (
            10,
            b"sh",
            desk.story.now_ns - SECOND_NS,
            256,
        )
        assert desk.journal.stats().written == 1
        assert desk.rows() == []

    def test_what_changed_a_moment_ago_has_not_settled(self, desk: Desk) -> None:
        desk.journal.flush()
        desk.messages()
        desk.story.fork(1, 10)
        desk.story.now_ns -= SECOND_NS - SETTLE_NS + 1  # just before it is due
        desk.journal.flush()
        assert [message[2] for message in desk.messages()] in ([], [[]])
        desk.story.now_ns += journal_module.PACE_NS
        desk.journal.flush()
        assert [[row[PID] for row in message[2]] for message in desk.messages()] == [[10]]

    def test_what_changes_later_is_handed_over_again_by_the_same_number(self, desk: Desk) -> None:
        desk.story.fork(1, 10)
        (first,) = desk.rows()
        desk.story.exit(10)
        (second,) = desk.rows()
        assert first[NUMBER] == second[NUMBER]
        assert (first[EXIT_NS], second[EXIT_NS] is None) == (None, False)

    def test_it_takes_a_slice_at_a_time(self, desk: Desk) -> None:
        for pid in range(10, 10 + SLICE + 5):
            desk.story.fork(1, pid)
        assert [len(desk.rows()) for _ in range(3)] == [SLICE, 5, 0]

    def test_a_parent_that_was_never_marked_is_written_too(self, desk: Desk) -> None:
        desk.story.table.recorder = None
        desk.story.fork(1, 10)
        desk.story.table.recorder = desk.journal
        desk.story.fork(10, 11)
        (child,) = desk.rows()
        (parent,) = desk.rows()
        assert (child[PID], parent[PID]) == (11, 10)
        assert child[PARENT] == parent[NUMBER]

    def test_begin_tells_the_boot_and_marks_all(self, desk: Desk) -> None:
        desk.story.table.recorder = None
        nodes = [desk.story.fork(1, 10), desk.story.fork(10, 11)]
        desk.journal.begin(nodes)
        (message,) = desk.messages()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            assert message[:2] == (BEGIN, file.read().strip())
        assert message[2] == clocks.boot_wall_ns()
        assert [row[PID] for row in desk.rows()] == [10, 11]

    def test_execs_go_with_the_name_of_then(self, desk: Desk) -> None:
        node = desk.story.fork(1, 10)
        for name in ("bash", "ls"):
            node.cmd, node.cmdline = name, name.encode() + b"\0"
            desk.journal.became(node, desk.story.now_ns)
        (message,) = desk.settle()
        assert [(each[0], each[2], each[4]) for each in message[3]] == [
            (message[2][0][NUMBER], b"bash", b"bash\0"),
            (message[2][0][NUMBER], b"ls", b"ls\0"),
        ]

    def test_names_are_the_kernels_bytes(self, desk: Desk) -> None:
        node = desk.story.fork(1, 10)
        desk.story.comm(10, b"\xff|;\x1b")
        node.former = ("a;b", "\udcfe")
        (row,) = desk.rows()
        assert (row[CMD], row[FORMER]) == (b"\xff|;\x1b", b"a;b\0\xfe\0")

    def test_what_an_exit_record_brings_is_handed_over_when_it_comes(self, desk: Desk) -> None:
        node = desk.story.fork(1, 10)
        desk.story.exec(10)
        desk.story.exit(10)
        (before,) = desk.rows()
        node.cmd, node.source, node.cost = "ls", Source.EXIT_RECORD, pack_cost(1, 2, 3, 4)
        desk.journal.mark(node)
        (after,) = desk.rows()
        assert [(row[SOURCE], row[COST]) for row in (before, after)] == [
            (Source.UNREAD, None),
            (Source.EXIT_RECORD, pack_cost(1, 2, 3, 4)),
        ]
        assert (after[NUMBER], after[CMD], after[EXIT_NS]) == (before[NUMBER], b"ls", before[EXIT_NS])

    def test_a_full_name_is_bytes_and_an_empty_one_is_not_none(self, desk: Desk) -> None:
        for pid, name in ((10, None), (11, ""), (12, "systemd-journal\udcffd")):
            desk.story.fork(1, pid).full_name = name
        assert [row[FULL_NAME] for row in desk.rows()] == [None, b"", b"systemd-journal\xffd"]

    def test_until_is_never_after_what_is_not_handed_over(self, desk: Desk) -> None:
        desk.journal.flush()
        desk.messages()
        marked_ns = desk.story.now_ns
        for pid in range(10, 10 + 2 * SLICE):
            desk.story.fork(1, pid)
        assert [message[1] for message in desk.settle()] == [marked_ns]
        desk.settle()
        assert [message[1] for message in desk.settle()] == [desk.story.now_ns]

    def test_it_says_when_all_that_lived_at_the_beginning_is_handed_over_once(self, desk: Desk) -> None:
        desk.story.table.recorder = None
        nodes = [desk.story.fork(1, pid) for pid in range(10, 10 + SLICE + 1)]
        desk.journal.begin(nodes)
        desk.messages()
        handed_over, when = 0, []
        for message in (message for _ in range(5) for message in desk.settle()):
            handed_over += len(message[2])
            if message[6]:
                when.append(handed_over)
        assert when == [SLICE + 1]


class TestLadder:
    def test_what_was_marked_is_written_before_its_links_are_cut(self, desk: Desk) -> None:
        nodes = [desk.story.fork(9 + step, 10 + step) for step in range(4)]
        desk.journal.keep(nodes[1:3])
        desk.story.node(12).parent = None
        at_once = [row for message in desk.messages() for row in message[2]]
        assert [row[PID] for row in at_once] == [11, 12]
        later = desk.rows()
        assert [row[PID] for row in later] == [10, 13], "those are not written twice"
        numbers = {row[PID]: row[NUMBER] for row in (*at_once, *later)}
        assert [row[PARENT] for row in at_once] == [numbers[10], numbers[11]]

    def test_nothing_is_sent_for_what_was_written_before(self, desk: Desk) -> None:
        node = desk.story.fork(1, 10)
        desk.settle()
        desk.journal.keep([node])
        assert desk.messages() == []

    @pytest.mark.parametrize("flush_every", [1, 50, 10_000])
    def test_every_generation_of_a_long_ladder_has_its_parent(self, desk: Desk, flush_every: int) -> None:
        """Memory leaves out the middle; the file has all of it."""
        rows: dict[int, tuple[Any, ...]] = {}
        last = 2000

        def take(messages: list[tuple[Any, ...]]) -> None:
            for message in messages:
                for row in message[2]:
                    # As the writer does: a link that was told once stays.
                    known = rows.get(row[PID], row)
                    parent = known[PARENT] if row[PARENT] is None else row[PARENT]
                    rows[row[PID]] = (*row[:PARENT], parent, *row[PARENT + 1 :])

        for pid in range(2, last):
            desk.story.fork(pid - 1, pid)
            if pid > 2:
                desk.story.exit(pid - 1)
            if not pid % flush_every:
                take(desk.settle())
        assert desk.story.node(last - 1).parent is not None
        assert desk.story.table.evicted > last / 2, "memory left out most of it"
        while desk.journal._marks:
            take(desk.settle())
        take(desk.settle())
        assert sorted(rows) == list(range(2, last))
        numbers = {row[NUMBER]: pid for pid, row in rows.items()}
        assert all(numbers[rows[pid][PARENT]] == pid - 1 for pid in range(3, last))


class TestSlowWriter:
    """The writer does not read: nothing waits for it, and what is kept for it is bounded."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal_module, "MARKS_MAX", 100)

    def stall(self, desk: Desk) -> None:
        """Fill the socket: from here on it takes nothing."""
        desk.journal._send((ROWS, b"x" * (64 << 20)))
        assert desk.journal._unsent

    def test_marks_are_bounded_and_the_oldest_go(self, desk: Desk) -> None:
        self.stall(desk)
        for pid in range(1000, 1500):
            desk.story.fork(1, pid)
            desk.journal.flush()
        assert len(desk.journal._marks) <= 101
        assert desk.journal.stats().missed == 400
        assert [node.pid for node in desk.journal._marks] == list(range(1400, 1500))
        assert desk.told == []

    def test_execs_are_bounded(self, desk: Desk) -> None:
        self.stall(desk)
        node = desk.story.fork(1, 10)
        for _ in range(500):
            desk.journal.became(node, desk.story.now_ns)
            desk.story.now_ns += journal_module.PACE_NS
            desk.journal.flush()
        assert len(desk.journal._execs) <= 101

    def test_what_is_not_sent_is_bounded(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also while ladders are cut, which cannot wait."""
        self.stall(desk)
        monkeypatch.setattr(journal_module, "_UNSENT_MAX", len(desk.journal._unsent) + 1000)
        for pid in range(1000, 1500):
            desk.journal.keep([desk.story.fork(1, pid)])
        assert len(desk.journal._unsent) < journal_module._UNSENT_MAX + 1000
        stats = desk.journal.stats()
        assert stats.written + stats.missed == 500
        assert stats.missed > 400

    def test_nobody_is_both_missed_and_written(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stall(desk)
        monkeypatch.setattr(journal_module, "_UNSENT_MAX", 1)
        for pid in range(1000, 1050):
            desk.journal.keep([desk.story.fork(1, pid)])
        rows = [row for _ in range(200) for message in desk.settle() if len(message) == 7 for row in message[2]]
        assert len(rows) + desk.journal.stats().missed == 50

    def test_it_goes_on_where_it_was_when_the_writer_reads_again(self, desk: Desk) -> None:
        self.stall(desk)
        for pid in range(1000, 1050):
            desk.story.fork(1, pid)
        assert desk.journal.stats().written == 0
        rows: list[tuple[Any, ...]] = []
        for _ in range(200):
            rows += [row for message in desk.settle() if len(message) == 7 for row in message[2]]
        assert [row[PID] for row in rows] == list(range(1000, 1050))
        assert desk.journal.stats().missed == 0

    def test_what_was_missed_is_told_to_the_writer(self, desk: Desk) -> None:
        self.stall(desk)
        for pid in range(1000, 1500):
            desk.story.fork(1, pid)
        desk.journal.flush()
        messages = [message for _ in range(200) for message in desk.settle() if len(message) == 7]
        assert messages[-1][5] == desk.journal.stats().missed == 400

    def test_the_end_waits_once_for_a_writer_that_is_stuck(self, desk: Desk) -> None:
        for pid in range(10, 5010):
            desk.story.fork(1, pid)
        stuck = StuckSocket()
        desk.journal._socket.close()
        desk.journal._socket = stuck  # type: ignore[assignment]
        desk.journal.finish()
        assert stuck.waited_s <= 20


class StuckSocket:
    """A socket that nobody reads, with time that goes by at once."""

    def __init__(self) -> None:
        self._timeout_s = 0.0
        self.waited_s = 0.0

    def settimeout(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def send(self, _data: bytes) -> int:
        self.waited_s += self._timeout_s
        raise TimeoutError

    def recv(self, _size: int) -> bytes:
        self.waited_s += self._timeout_s
        raise TimeoutError

    def shutdown(self, _how: int) -> None:
        pass

    def close(self) -> None:
        pass


class TestWriterGone:
    def test_it_is_told_once_and_capture_goes_on(self, desk: Desk) -> None:
        desk.theirs.close()
        for pid in range(10, 200):
            desk.story.fork(1, pid)
            desk.story.exit(pid)
            desk.journal.flush()
            desk.journal.keep([desk.story.node(pid)])
        (told,) = desk.told
        assert "has ended; capture goes on" in told
        assert desk.journal.stats().errors == 1
        assert not desk.journal._marks
        assert not desk.journal._unsent
        assert desk.story.node(199).exit_ns
        desk.journal.finish()
        assert len(desk.told) == 1

    def test_it_is_noticed_without_anything_to_write(self, desk: Desk) -> None:
        desk.theirs.shutdown(socket.SHUT_WR)
        desk.settle()
        assert len(desk.told) == 1

    def test_what_it_would_have_written_is_counted(self, desk: Desk) -> None:
        desk.theirs.shutdown(socket.SHUT_RDWR)
        desk.settle()
        assert len(desk.told) == 1
        for pid in range(10, 20):
            desk.story.fork(1, pid)
        desk.settle()
        assert desk.journal.stats().missed == 10


class TestHearing:
    def say(self, desk: Desk, data: bytes) -> None:
        desk.theirs.sendall(data)
        desk.settle()

    def test_an_error_is_told_and_counted(self, desk: Desk) -> None:
        self.say(desk, b"error /var/x: database or disk is full\n")
        assert desk.told == [
            "the history is not written: /var/x: database or disk is full; capture goes on, "
            "and what is missed is counted"
        ]
        assert desk.journal.stats().errors == 1

    def test_recovery_is_told(self, desk: Desk) -> None:
        self.say(desk, b"error x\nagain 7\n")
        assert len(desk.told) == 2
        assert desk.told[1] == "the history is written again; 7 processes were missed"

    def test_what_the_writer_missed_is_in_the_counters(self, desk: Desk) -> None:
        self.say(desk, b"missed 3\nmissed 5\n")
        assert desk.journal.stats().missed == 5

    def test_half_a_line_waits_for_its_rest(self, desk: Desk) -> None:
        self.say(desk, b"err")
        assert desk.told == []
        self.say(desk, b"or caf\xff\n")
        assert len(desk.told) == 1


class TestLosses:
    def test_they_are_handed_over_when_there_are_new_ones(self, desk: Desk) -> None:
        ledger = desk.story.ledger
        assert [message[4] for message in desk.settle()] == [None]
        ledger.last[0] = (1, 0, 5 * SECOND_NS)
        ledger.gap((5, 0, 6 * SECOND_NS), 0)
        assert [message[4] for message in desk.settle()] == [[(5 * SECOND_NS, 6 * SECOND_NS, 3)]]
        assert [message[4] for message in desk.settle()] == [None]
        ledger.gap((9, 0, 6 * SECOND_NS), 0)
        ((losses,),) = ([message[4] for message in desk.settle()],)
        assert sum(lost for _, _, lost in losses) == ledger.lost == 10
