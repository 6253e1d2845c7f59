"""`snapshot`: every process now, or at another time, or those that have ended too."""

from __future__ import annotations

from ..errors import NobodyFoundError
from . import exit_status
from .sources import NotRememberedError, Where, open_source
from .terminal import style, tell, write, write_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..process import Process
    from ..selection import Selection


def run(selection: Selection, form: str | None, where: Where) -> int:
    """Print what was asked for; 1 or 3 where it names a process that is not known."""
    try:
        processes = list(open_source(where).processes(selection))
    except NobodyFoundError as error:
        tell(str(error))
        return exit_status.CANNOT_TELL if error.may_exist else exit_status.NO
    except NotRememberedError as error:
        tell(str(error))
        return exit_status.UNAVAILABLE
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
    else:
        from ..render import jsonlines

        objects = map(jsonlines.process_object, processes)
        if form == "ndjson":
            write_lines(map(jsonlines.line, objects))
        else:
            write(jsonlines.document(list(objects)))
