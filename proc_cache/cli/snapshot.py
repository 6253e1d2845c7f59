"""`snapshot`: every process now."""

from __future__ import annotations

from ..engine.core import Engine
from ..kernel.clocks import boot_wall_ns
from . import exit_status
from .terminal import style, tell, write, write_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..process import Process
    from ..selection import Selection


def run(selection: Selection, form: str | None) -> int:
    """Print what was asked for; 1 where `--under` names nobody."""
    engine = Engine()
    nodes = engine.scan()
    if selection.under is not None and selection.under not in engine.table.newest:
        tell(f"no process {selection.under} is known")
        return exit_status.NO
    view = engine.view
    chosen = sorted((node for node in nodes if selection.has(view, node)), key=lambda node: node.pid)
    _write([view.describe(node, is_fresh=False) for node in chosen], form or "table")
    return exit_status.ANSWERED


def _write(processes: Sequence[Process], form: str) -> None:
    booted_ns = boot_wall_ns()
    if form == "table":
        from ..render.table import draw_table

        write_lines(draw_table(processes, booted_ns, style()))
    elif form == "tree":
        from ..render.tree import draw_forest

        write_lines(draw_forest(processes, style()))
    else:
        from ..render import jsonlines

        objects = (jsonlines.process_object(process, booted_ns) for process in processes)
        if form == "ndjson":
            write_lines(map(jsonlines.line, objects))
        else:
            write(jsonlines.document(list(objects)))
