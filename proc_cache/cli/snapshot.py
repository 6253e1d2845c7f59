"""`snapshot`: every process now, or at another time, or those that have ended too."""

from __future__ import annotations

from . import exit_status
from .sources import Where, open_source
from .terminal import style, tell, write, write_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..lineage import Placed
    from ..process import Process
    from ..selection import Selection
    from .pattern import NamePattern


def run(  # noqa: PLR0913
    selection: Selection,
    form: str | None,
    where: Where,
    pattern: NamePattern | None = None,
    *,
    is_wide: bool = False,
    with_ns: bool = False,
) -> int:
    """Print what was asked for. Raises NobodyFoundError, NotRememberedError and HistoryError."""
    if form == "ecs" and where.history is not None:
        tell("a history is written in ECS event by event; give `proc-cache watch --from FILE --format ecs`")
        return exit_status.USAGE
    source = open_source(where, with_places=is_wide or form in ("json", "ndjson", "ecs"))
    if form == "tree" and (pattern is not None or selection.is_narrow):
        _draw_lineages(source.lineages(selection), pattern, is_wide=is_wide, with_ns=with_ns)
        return exit_status.ANSWERED
    processes = [process for process in source.processes(selection) if pattern is None or pattern.is_in(process)]
    if selection.around is None:
        processes.sort(key=_by_pid)
    else:
        processes.sort(key=lambda process: (process.start_time_ns or 0, process.pid))
    if with_ns:
        from .namespaces import all_with_ns_pids

        processes = all_with_ns_pids(processes)
    _write(processes, form or "table", is_wide=is_wide)
    return exit_status.ANSWERED


def _by_pid(process: Process) -> tuple[int, int]:
    return process.pid, process.start_time_ns or 0


def _draw_lineages(found: Iterable[Placed], pattern: NamePattern | None, *, is_wide: bool, with_ns: bool) -> None:
    """Draw what was asked for with its ancestors, without which nobody would see who started it."""
    from ..render.tree import draw_lineages

    placed = sorted(found, key=lambda one: _by_pid(one.process))
    if with_ns:
        from .namespaces import lineages_with_ns_pids

        placed = lineages_with_ns_pids(placed)
    asked = {one.place for one in placed if one.is_asked and (pattern is None or pattern.is_in(one.process))}
    write_lines(draw_lineages(placed, asked, style(), is_wide=is_wide))


def _write(processes: Sequence[Process], form: str, *, is_wide: bool) -> None:
    if form == "table":
        from ..render.table import draw_table

        write_lines(draw_table(processes, style(), is_wide=is_wide))
    elif form == "tree":
        from ..render.tree import draw_forest

        write_lines(draw_forest(processes, style(), is_wide=is_wide))
    elif form == "ecs":
        from .states import states

        write_lines(states(processes))
    else:
        from ..render import jsonlines

        objects = map(jsonlines.process_object, processes)
        if form == "ndjson":
            write_lines(map(jsonlines.line, objects))
        else:
            write(jsonlines.document(list(objects)))
