"""How the query commands look at the system: /proc as it is now, through the engine's own view of it."""

from __future__ import annotations

from ..engine.table import ProcessTable
from ..engine.view import View
from ..errors import ProcessHiddenError
from ..kernel.procfs import ProcReader
from ..kernel.users import UserNames
from ..process import CacheParams
from .terminal import tell


def new_view() -> View:
    """Make a view of /proc alone: a table with nothing in it, and the reader behind it."""
    return View(ProcessTable(CacheParams(0, 0)), ProcReader(), UserNames())


def resolve_thread(view: View, pid: int) -> int:
    """Give the process that a thread belongs to, and say so; any other number as it is."""
    assert view.reader is not None
    try:
        tgid = view.reader.tgid(pid)
    except ProcessHiddenError:
        return pid
    if tgid is None or tgid == pid:
        return pid
    tell(f"{pid} is a thread of {tgid}: answering for {tgid}")
    return tgid
