"""The paths of programs that still run: nothing tells them but /proc, to their owner and to root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.identity import is_same_start
from ..kernel.procfs import ProcReader
from ..process import decode_name

if TYPE_CHECKING:
    from ..process import Process

_REMEMBERED_MAX = 4096


class Executables:
    """Looks each program up once; gives None where it is gone, or has become another one meanwhile."""

    def __init__(self) -> None:
        self._reader = ProcReader()
        self._known: dict[tuple[int, int, str], str | None] = {}

    def __call__(self, process: Process) -> str | None:
        """Give the path of the program that the process runs by this name."""
        if process.start_time_ns is None or process.cmd is None or process.exit_time_ns is not None:
            return None
        key = process.pid, process.start_time_ns, process.cmd
        if key not in self._known:
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            self._known[key] = self._look_up(*key)
        return self._known[key]

    def _look_up(self, pid: int, start_ns: int, cmd: str) -> str | None:
        shown = self._reader.executable(pid)
        if shown is None:
            return None
        stat, target = shown
        is_it = is_same_start(start_ns, stat.start_ns) and decode_name(stat.comm) == cmd
        return decode_name(target) if is_it and target.startswith(b"/") else None
