"""The events of a history, in the order of their times, as `watch` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import Exec, Exit, Fork
from ..process import Process, Source, is_cmdline_cut, split_cmdline
from ..record import Record
from .reader import birth_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .reader import HistoryView, RecordedNode

_FORK, _EXEC, _EXIT = range(3)
_EVENTS = """
SELECT time_ns, kind, id, cmd, source, cmdline, user, later FROM (
    SELECT start_ns AS time_ns, 0 AS kind, id,
        NULL AS cmd, NULL AS source, NULL AS cmdline, NULL AS user, 0 AS later
        FROM process WHERE ppid_source = 'fork'
    UNION ALL SELECT time_ns, 1, process, cmd, source, cmdline, user,
        count(*) OVER (PARTITION BY process ORDER BY time_ns DESC) - 1 FROM exec
    UNION ALL SELECT exit_ns, 2, id, NULL, NULL, NULL, NULL, 0 FROM process WHERE exit_status IS NOT NULL)
ORDER BY time_ns, kind, id
"""


class Happening(Record):
    """An event of the past: its kind, when (since boot), whose, and that process as it was then."""

    kind: type
    time_ns: int
    node: RecordedNode
    process: Process


def replay(view: HistoryView) -> Iterator[Happening]:
    """Give the forks, execs and exits of a history as it is now; no writer waits for the end of this."""
    for row in view.database.execute(_EVENTS):
        view.forget_if_many()
        node = view.by_id(row[2])
        if node is not None:
            yield _happening(view, node, row)


def _happening(view: HistoryView, node: RecordedNode, row: tuple[Any, ...]) -> Happening:
    wall_ns, kind, _, cmd, source, cmdline, user, later = row
    time_ns = wall_ns - node.booted_ns
    process = view.describe(node)
    if kind == _EXIT:
        return Happening(Exit, time_ns, node, process)
    facts: dict[str, Any]
    if kind == _FORK:
        cmd, source = birth_name(node)
        facts = {"cmd": cmd, "source": source, "cmdline": None, "user": node.birth_user}
        facts["is_cmdline_cut"] = False
        former = 0
    else:
        facts = {
            "cmd": cmd.decode("utf-8", "surrogateescape") if cmd or source != Source.UNREAD else None,
            "source": source,
            "cmdline": None if cmdline is None else tuple(split_cmdline(cmdline)),
            "is_cmdline_cut": cmdline is not None and is_cmdline_cut(cmdline),
            "user": user.decode("utf-8", "surrogateescape") or None,
        }
        former = max(0, len(node.former) - later)
    return Happening(Fork if kind == _FORK else Exec, time_ns, node, _as_it_was(process, facts, former))


def _as_it_was(process: Process, facts: dict[str, Any], former: int) -> Process:
    """Give a process before its end, with the facts of an earlier time."""
    fields = {field: getattr(process, field) for field in Process._fields}
    fields |= {"is_alive": True, "exit_time_ns": None, "exit_status": None, "current_ppid": process.ppid}
    fields |= {"current_parent": None, "former_cmds": process.former_cmds[:former], "cost": None, **facts}
    if former < len(process.former_cmds) or fields["cmd"] != process.cmd:
        fields["full_name"] = None  # it is of the last name
    if fields["user"] != process.user:
        fields["uid"] = None  # the last one is known, not the one of then
    return Process(**fields)
