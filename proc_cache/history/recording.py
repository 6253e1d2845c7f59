"""One run of an engine in the file: what each message of its journal becomes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..kernel.clocks import TICK_NS
from ..process import UNPLACED, Source, unpack_cost

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from ..process import Place

_NUMBER_BITS = 40
_FORMER = 3  # among the facts of a row: adopter_pid, cmd, source, former, ...
_SOURCE = 8  # in a row
_INTEGER_MAX = (1 << 63) - 1  # that SQLite holds

_UPSERT = """
INSERT INTO process (id, boot, pid, start_ns, ppid, ppid_source, parent, adopter_pid, cmd, source, former,
                     cmdline, uid, user, birth_user, session, exit_ns, exit_status,
                     cpu_us, max_rss_bytes, read_bytes, write_bytes, full_name, unit, container, tty)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    -- What a Fork event told of the birth is not overwritten by what a later engine found in /proc.
    start_ns = iif(excluded.ppid_source = 'fork' OR ppid_source <> 'fork', excluded.start_ns, start_ns),
    ppid = iif(excluded.ppid_source = 'fork' OR ppid_source <> 'fork', excluded.ppid, ppid),
    parent = iif(excluded.ppid_source = 'fork' OR ppid_source <> 'fork',
                 coalesce(excluded.parent, parent), parent),
    adopter_pid = coalesce(excluded.adopter_pid, iif(excluded.ppid <> ppid, excluded.ppid, NULL), adopter_pid),
    ppid_source = iif(excluded.ppid_source = 'fork', excluded.ppid_source, ppid_source),
    cmd = excluded.cmd, source = excluded.source, former = coalesce(excluded.former, former),
    cmdline = excluded.cmdline, uid = excluded.uid, user = excluded.user,
    birth_user = coalesce(birth_user, excluded.birth_user), session = excluded.session,
    exit_ns = excluded.exit_ns, exit_status = excluded.exit_status,
    -- An exit record is written once: that there is none in a later row does not unwrite it.
    cpu_us = coalesce(excluded.cpu_us, cpu_us), max_rss_bytes = coalesce(excluded.max_rss_bytes, max_rss_bytes),
    read_bytes = coalesce(excluded.read_bytes, read_bytes),
    write_bytes = coalesce(excluded.write_bytes, write_bytes),
    full_name = excluded.full_name, unit = coalesce(excluded.unit, unit),
    container = coalesce(excluded.container, container), tty = coalesce(excluded.tty, tty)
"""
# An exit record comes after the exec was written down: it names the program that ran last.
_NAME_LAST_EXEC = f"""
UPDATE exec SET cmd = process.cmd, source = process.source, user = coalesce(nullif(exec.user, x''), process.user)
FROM process WHERE process.id = ? AND process.source = '{Source.EXIT_RECORD}'
AND exec.process = process.id AND exec.source = '{Source.UNREAD}' AND exec.time_ns >= ?
AND exec.time_ns = (SELECT max(time_ns) FROM exec AS each WHERE each.process = process.id)
"""  # noqa: S608


class Recording:
    """One run of an engine in the file. A process that an earlier one of this boot had is the same row again."""

    def __init__(self, database: sqlite3.Connection, begin: tuple[Any, ...]) -> None:
        _, boot_id, booted_ns, began_ns, pid = begin
        self._database = database
        database.execute("INSERT OR IGNORE INTO boot (boot_id, booted_ns) VALUES (?, ?)", (boot_id, booted_ns))
        self._boot, self._booted_ns = database.execute(
            "SELECT id, booted_ns FROM boot WHERE boot_id = ?", (boot_id,)
        ).fetchone()
        self._began_ns = self._wall(began_ns)
        _close_other_boots(database, self._boot)
        self._living: dict[
            int, list[tuple[int, int]]
        ] = {}  # pid -> id and start of what an earlier one left alive
        for number, living_pid, start_ns in database.execute(
            "SELECT id, pid, start_ns FROM process WHERE boot = ? AND exit_ns IS NULL", (self._boot,)
        ):
            self._living.setdefault(living_pid, []).append((number, start_ns))
        self._id = database.execute(
            "INSERT INTO recording (boot, pid, began_ns, until_ns) VALUES (?, ?, ?, ?) RETURNING id",
            (self._boot, pid, self._began_ns, self._began_ns),
        ).fetchone()[0]
        self._aliases: dict[int, int] = {}  # number -> id of the row that an earlier recording made
        self._former: dict[int, bytes] = {}  # number -> the names that one knew already
        self._until_ns = self._began_ns
        self._missed_by_journal = 0

    def write(self, message: tuple[Any, ...]) -> None:
        """Write one message of the journal."""
        _, until_ns, rows, execs, losses, missed, is_settled = message
        self._until_ns = self._wall(until_ns)
        self._missed_by_journal = missed
        self._database.executemany(_UPSERT, self._values(rows))
        if execs:
            self._database.executemany(
                "INSERT OR REPLACE INTO exec VALUES (?, ?, ?, ?, ?, ?)",
                [(self._row_id(number), self._wall(time_ns), *rest) for number, time_ns, *rest in execs],
            )
        self._name_last_execs(rows)
        if losses is not None:
            self._write_losses(losses)
        if is_settled:
            self._close_the_gone()

    def note(self, missed: int) -> None:
        """Write down how far this recording has come."""
        self._database.execute(
            "UPDATE recording SET until_ns = ?, missed = ? WHERE id = ?",
            (self._until_ns, missed + self._missed_by_journal, self._id),
        )

    def _wall(self, time_ns: int) -> int:
        return int(time_ns + self._booted_ns)

    def _row_id(self, number: int) -> int:
        return self._aliases.get(number) or self._id << _NUMBER_BITS | number

    def _values(self, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        values = []
        for number, pid, start_ns, ppid, ppid_source, parent, *rest in rows:
            *facts, exit_ns, exit_status, cost, full_name, place = rest
            start = self._wall(start_ns) if start_ns else 0
            if pid in self._living:
                self._recognise(number, pid, start)
            if number in self._former and facts[_FORMER] is not None:
                facts[_FORMER] = self._former[number] + facts[_FORMER]
            values.append(
                (
                    self._row_id(number),
                    self._boot,
                    pid,
                    start,
                    ppid,
                    ppid_source,
                    None if parent is None else self._row_id(parent),
                    *facts,
                    None if exit_ns is None else self._wall(exit_ns),
                    exit_status,
                    *_cost_columns(cost),
                    full_name,
                    *_place_columns(place),
                )
            )
        return values

    def _name_last_execs(self, rows: Iterable[tuple[Any, ...]]) -> None:
        named = [row[0] for row in rows if row[_SOURCE] == Source.EXIT_RECORD]
        # What an earlier recording saw a process run need not be what it ran last: nobody looked in between.
        self._database.executemany(
            _NAME_LAST_EXEC,
            [(self._row_id(number), self._began_ns if number in self._aliases else 0) for number in named],
        )

    def _recognise(self, number: int, pid: int, start_ns: int) -> None:
        """See whether a process is one that an earlier recording of this boot knew: by its start."""
        for known in self._living[pid]:
            if abs(start_ns - known[1]) <= 2 * TICK_NS and number not in self._aliases:
                self._aliases[number] = known[0]
                self._living[pid].remove(known)
                row = self._database.execute("SELECT former FROM process WHERE id = ?", known[:1]).fetchone()
                self._former[number] = row[0] or b""
                return

    def _close_the_gone(self) -> None:
        """What an earlier recording of this boot left alive and this one did not find ended in between."""
        # They stay in mind: should this transaction fail, the same message comes again.
        self._database.executemany(
            "UPDATE process SET exit_ns = ? WHERE id = ?",
            [(self._began_ns, number) for owners in self._living.values() for number, _ in owners],
        )

    def _write_losses(self, losses: list[tuple[int, int, int]]) -> None:
        self._database.execute("DELETE FROM loss WHERE recording = ?", (self._id,))
        self._database.executemany(
            "INSERT INTO loss VALUES (?, ?, ?, ?)",
            [(self._id, self._wall(start_ns), self._wall(end_ns), lost) for start_ns, end_ns, lost in losses],
        )


def _cost_columns(packed: int | None) -> tuple[int | None, ...]:
    cost = unpack_cost(packed)
    if cost is None:
        return None, None, None, None
    figures = cost.cpu_us, cost.max_rss_bytes, cost.read_bytes, cost.write_bytes
    return tuple(min(figure, _INTEGER_MAX) for figure in figures)


def _place_columns(place: Place | None) -> tuple[bytes | None, ...]:
    return tuple(None if word is None else word.encode("utf-8", "surrogateescape") for word in place or UNPLACED)


def _close_other_boots(database: sqlite3.Connection, boot: int) -> None:
    """What lived when the recording of another boot ended has ended with that boot, or before."""
    database.execute(
        "UPDATE process SET exit_ns = (SELECT max(until_ns) FROM recording WHERE recording.boot = process.boot) "
        "WHERE exit_ns IS NULL AND boot <> ?",
        (boot,),
    )
