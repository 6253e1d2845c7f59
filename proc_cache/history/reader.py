"""A view of a history: the same questions as of an engine, answered from the file.

Each lookup is one short read, so that the log of whoever writes the file meanwhile does not grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.view import mention_others
from ..kernel.clocks import wall_ns
from ..process import Node, Process, Source, freeze, known_name, pack_cost
from ..query import Miss
from ..times import local
from .schema import open_for_reading, read_boot_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from typing import Any, Self

    from ..times import Moment

_RUNNING_NS = 5_000_000_000  # a recording that was written to a shorter time ago goes on
_OTHERS_MAX = 100
_NODES_MAX = 1 << 16

_COLUMNS = (
    "process.id, process.boot, booted_ns, process.pid, start_ns, ppid, ppid_source, parent, adopter_pid, cmd, "
    "source, former, cmdline, uid, user, birth_user, session, exit_ns, exit_status, "
    "cpu_us, max_rss_bytes, read_bytes, write_bytes, full_name, unit, container, tty"
)
_SELECT = f"SELECT {_COLUMNS} FROM process JOIN boot ON boot.id = process.boot"  # noqa: S608
_AT = "start_ns <= ? AND (exit_ns IS NULL OR exit_ns >= ?)"
# One whose start is not known came after those whose end is; a living one is the newest.
_NEWEST_FIRST = "ORDER BY iif(start_ns, start_ns, coalesce(exit_ns, 9223372036854775807)) DESC, process.id DESC"


class RecordedNode(Node):
    """A process as a history holds it. Its times are since its own boot, at `booted_ns`."""

    __slots__ = ("birth_user", "boot", "booted_ns", "parent_id", "user")

    def __init__(self, row: tuple[Any, ...]) -> None:
        (number, boot, booted_ns, pid, start_ns, ppid, ppid_source, parent_id, adopter_pid, cmd, *rest) = row
        (source, former, cmdline, uid, user, birth_user, session, exit_ns, exit_status, *figures) = rest
        *cost, full_name, unit, container, tty = figures
        start_ns = start_ns - booted_ns if start_ns else 0
        super().__init__(
            pid, start_ns, ppid, ppid_source, None, _text(cmd), source, uid, session=session, cmdline=cmdline
        )
        self.recorded_as = number
        self.boot: int = boot
        self.booted_ns: int = booted_ns
        self.parent_id: int | None = parent_id
        self.adopter_pid = adopter_pid
        self.former = tuple(map(_text, former.split(b"\0")[:-1])) if former else ()
        self.user = _text(user) or None
        self.birth_user = _text(birth_user) or None
        self.exit_ns = exit_ns - booted_ns if exit_ns else 0
        self.exit_status = exit_status
        self.cost = None if None in cost else pack_cost(*cost)
        self.full_name = None if full_name is None else _text(full_name)
        self.place = _optional_text(unit), _optional_text(container), _optional_text(tty)


class HistoryView:
    """Finds processes and their parents in a file."""

    absence = "is not in the history: it ended before the recording, or was removed to keep the file in its bounds"

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self._nodes: dict[int, RecordedNode] = {}  # by row: each process is one node, however it was reached

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a file. Raises HistoryError."""
        return cls(open_for_reading(path))

    # --- finding ----------------------------------------------------------------------------------------

    def find(self, pid: int, moment: Moment | None = None) -> RecordedNode | None:
        """Give who had this pid last; with a moment, who had it then."""
        return next(self._owners(pid, moment), None)

    def parent(self, node: Node) -> RecordedNode | None:
        """Give the parent, or None where it has none or it is not in the file."""
        assert isinstance(node, RecordedNode)
        if node.parent_id is not None:
            return self.by_id(node.parent_id)
        if not node.ppid or node.ppid == node.pid or not node.start_ns:
            return None
        start_ns = node.start_ns + node.booted_ns
        found = self._read(
            f"WHERE process.pid = ? AND process.boot = ? AND {_AT} {_NEWEST_FIRST} LIMIT 1",
            (node.ppid, node.boot, start_ns, start_ns),
        )
        return next(found, None)

    def nodes(self, moment: Moment | None = None, *, with_dead: bool) -> Iterator[RecordedNode]:
        """Give those who lived when the recording ended, all, or who lived at a moment."""
        if moment is not None:
            found = self._read(f"WHERE {_AT}", (moment.until_ns, moment.from_ns))
            return (node for node in found if self._was_seen_at(node, moment))
        return self._read("" if with_dead else "WHERE exit_ns IS NULL", ())

    def by_id(self, number: int) -> RecordedNode | None:
        """Give the process of a row."""
        known = self._nodes.get(number)
        return known or next(self._read("WHERE process.id = ?", (number,)), None)

    def forget_if_many(self) -> None:
        """Let go of what was read, once it is much: for who goes through a whole file, between two steps."""
        if len(self._nodes) > _NODES_MAX:
            self._nodes.clear()

    def _owners(self, pid: int, moment: Moment | None) -> Iterator[RecordedNode]:
        if moment is None:
            return self._read(f"WHERE process.pid = ? {_NEWEST_FIRST} LIMIT {_OTHERS_MAX}", (pid,))
        found = self._read(
            f"WHERE process.pid = ? AND {_AT} {_NEWEST_FIRST} LIMIT {_OTHERS_MAX}",
            (pid, moment.until_ns, moment.from_ns),
        )
        return (node for node in found if self._was_seen_at(node, moment))

    def _was_seen_at(self, node: RecordedNode, moment: Moment) -> bool:
        """Whether a process whose end is not in the file was still recorded at that moment."""
        return bool(node.exit_ns) or moment.from_ns <= self._until_ns(node.boot)

    def _read(self, condition: str, arguments: tuple[Any, ...]) -> Iterator[RecordedNode]:
        arguments = tuple(_in_range(argument) for argument in arguments)
        # All at once: a read that stays open would keep the log of a writer growing.
        for row in self.database.execute(f"{_SELECT} {condition}", arguments).fetchall():
            node = self._nodes.get(row[0])
            if node is None:
                node = self._nodes[row[0]] = RecordedNode(row)
            yield node

    # --- facts ------------------------------------------------------------------------------------------

    def user(self, node: Node) -> str | None:
        """Give the name of the process's user, as it was called when it was recorded."""
        assert isinstance(node, RecordedNode)
        return node.user

    def until_ns(self, node: Node) -> int:
        """When it ended, or until when its boot was recorded; since that boot."""
        assert isinstance(node, RecordedNode)
        return node.exit_ns or self._until_ns(node.boot) - node.booted_ns

    def lost_events(self, node: Node) -> int:
        """How many messages were lost in a time that touches the life of the process."""
        assert isinstance(node, RecordedNode)
        end_ns = self.until_ns(node) + node.booted_ns
        (lost,) = self.database.execute(
            "SELECT coalesce(sum(lost), 0) FROM loss WHERE start_ns <= ? AND end_ns >= ?",
            (end_ns, node.start_ns + node.booted_ns),
        ).fetchone()
        return int(lost)

    def describe(self, node: Node, *, is_fresh: bool = True) -> Process:
        """Freeze what is known of a process; nothing is fresher than the file."""
        assert isinstance(node, RecordedNode)
        current_ppid = node.last_ppid
        return freeze(
            node,
            current_ppid=current_ppid,
            current_parent=None if current_ppid == node.ppid else self._adopter_name(node),
            user=node.user,
            birth_user=node.birth_user,
            booted_ns=node.booted_ns,
            is_alive=self._is_alive(node),
        )

    def _is_alive(self, node: RecordedNode) -> bool | None:
        """Whether it lives; None where the recording ended before it did."""
        if node.exit_ns:
            return False
        is_going_on = self._is_this_boot(node.boot) and wall_ns() - self._until_ns(node.boot) < _RUNNING_NS
        return True if is_going_on else None

    def boot_id(self, node: RecordedNode) -> str:
        """Give the name of the boot that a process lived in."""
        return self._boot_id(node.boot)

    def _is_this_boot(self, boot: int) -> bool:
        return self._boot_id(boot) == read_boot_id()

    def _boot_id(self, boot: int) -> str:
        (boot_id,) = self.database.execute("SELECT boot_id FROM boot WHERE id = ?", (boot,)).fetchone()
        return str(boot_id)

    def _adopter_name(self, node: RecordedNode) -> str | None:
        at_ns = (node.exit_ns or node.start_ns) + node.booted_ns
        found = self._read(
            f"WHERE process.pid = ? AND process.boot = ? AND {_AT} {_NEWEST_FIRST} LIMIT 1",
            (node.adopter_pid, node.boot, at_ns, at_ns),
        )
        adopter = next(found, None)
        return None if adopter is None else known_name(adopter)

    def _until_ns(self, boot: int) -> int:
        (until_ns,) = self.database.execute(
            "SELECT coalesce(max(until_ns), 0) FROM recording WHERE boot = ?", (boot,)
        ).fetchone()
        return int(until_ns)

    # --- explanations -----------------------------------------------------------------------------------

    def mentions(self, pid: int, node: Node, moment: Moment | None) -> tuple[str, ...]:
        """Name the other owners of the pid."""
        assert isinstance(node, RecordedNode)
        others = [(owner, owner.booted_ns) for owner in self._owners(pid, moment) if owner is not node]
        return mention_others(pid, others)

    def explain_miss(self, pid: int, moment: Moment | None) -> Miss:
        """Say why nobody was found: the first of these that can be the cause."""
        spans = self.database.execute(
            "SELECT began_ns, until_ns, missed FROM recording ORDER BY began_ns"
        ).fetchall()
        if not spans:
            return Miss(f"who was {pid} is not known: nothing is recorded in this history yet", True)
        covered = f"this history covers {local(spans[0][0], 0)} to {local(max(until for _, until, _ in spans), 0)}"
        if moment is not None and not any(began <= moment.from_ns <= until for began, until, _ in spans):
            return Miss(f"who was {pid} then is not known: nothing was recorded at that time; {covered}", True)
        (removed_ns,) = self.database.execute("SELECT max(removed_ns) FROM horizon").fetchone()
        if removed_ns is not None and (moment is None or moment.from_ns <= removed_ns):
            return Miss(
                f"{pid} is not in this history; what ended before {local(removed_ns, 0)} may have been removed "
                "(see --keep and --max-size)",
                True,
            )
        missing = sum(missed for _, _, missed in spans) + self._lost()
        if missing:
            return Miss(f"{pid} is not in this history; {missing} events or processes are missing from it", True)
        return Miss(f"nobody was {pid}: {covered}", False)

    def explain_no_name(self, cmd: str) -> Miss:
        """Say why nobody of this name was found."""
        (missed,) = self.database.execute("SELECT coalesce(sum(missed), 0) FROM recording").fetchone()
        (removed_ns,) = self.database.execute("SELECT max(removed_ns) FROM horizon").fetchone()
        if missed or removed_ns is not None or self._lost():
            return Miss(f"no process named {cmd!r} is in this history, from which some are missing", True)
        return Miss(f"no process named {cmd!r} is in this history", False)

    def _lost(self) -> int:
        (lost,) = self.database.execute("SELECT coalesce(sum(lost), 0) FROM loss").fetchone()
        return int(lost)


def birth_name(node: Node) -> tuple[str | None, str]:
    """Give the name that a process was born with, and its source; None where nothing tells it."""
    if node.former:
        return node.former[0], Source.INHERITED
    return (node.cmd, node.source) if node.source == Source.INHERITED else (None, Source.FORK)


def _text(data: bytes | None) -> str:
    return "" if data is None else data.decode("utf-8", "surrogateescape")


def _optional_text(data: bytes | None) -> str | None:
    return None if data is None else _text(data)


def _in_range(value: Any) -> Any:  # noqa: ANN401
    """Keep a number within what SQLite holds: a pid or a time beyond it is nobody's anyway."""
    return max(-(1 << 63), min(value, (1 << 63) - 1)) if isinstance(value, int) else value
