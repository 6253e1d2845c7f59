"""`snapshot`: every process now, or at another time, or those that have ended too."""

from __future__ import annotations

from . import exit_status
from .sources import Where, open_source
from .terminal import style, tell, write, write_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..process import Process
    from ..selection import Selection


def run(selection: Selection, form: str | None, where: Where) -> int:
    """Print what was asked for. Raises NobodyFoundError, NotRememberedError and HistoryError."""
    if form == "ecs" and where.history is not None:
        tell("a history is written in ECS event by event; give `proc-cache watch --from FILE --format ecs`")
        return exit_status.USAGE
    processes = list(open_source(where).processes(selection))
    if selection.around is None:
        processes.sort(key=lambda process: (process.pid, process.start_time_ns or 0))
    else:
        processes.sort(key=lambda process: (process.start_time_ns or 0, process.pid))
    _write(processes, form or "table")
    return exit_status.ANSWERED


def _write(processes: Sequence[Process], form: str) -> None:
    if form == "table":
        from ..render.table import draw_table

        write_lines(draw_table(processes, style()))
    elif form == "tree":
        from ..render.tree import draw_forest

        write_lines(draw_forest(processes, style()))
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
