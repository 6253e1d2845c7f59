"""`--ns`: which pids the living have inside their PID namespaces; read from /proc by whoever asks."""

from __future__ import annotations

from ..engine.identity import is_same_start
from ..errors import ProcessHiddenError
from ..kernel.procfs import ProcReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    from ..lineage import Placed
    from ..process import Process
    from ..query import Chain
    from ..record import Record

    R = TypeVar("R", bound=Record)


def with_ns_pids(process: Process, reader: ProcReader) -> Process:
    """Give the process with its pids in its namespaces; without any where it has ended, or is hidden."""
    return _changed(process, ns_pids=_read(process, reader) if process.is_alive else ())


def all_with_ns_pids(processes: Iterable[Process]) -> list[Process]:
    """The same of some."""
    reader = ProcReader()
    return [with_ns_pids(process, reader) for process in processes]


def chain_with_ns_pids(chain: Chain) -> Chain:
    """The same of all links of a chain."""
    return _changed(chain, links=tuple(all_with_ns_pids(chain.links)))


def lineages_with_ns_pids(placed: Iterable[Placed]) -> list[Placed]:
    """The same of what stands in lineages."""
    reader = ProcReader()
    return [_changed(one, process=with_ns_pids(one.process, reader)) for one in placed]


def _read(process: Process, reader: ProcReader) -> tuple[int, ...]:
    try:
        ns_pids = reader.ns_pids(process.pid)
        stat = reader.stat(process.pid)  # who has that start now had the pid before, too
    except ProcessHiddenError:
        return ()
    is_it = stat is not None and is_same_start(process.start_time_ns or 0, stat.start_ns)
    return ns_pids if is_it else ()


def _changed(record: R, **changes: object) -> R:
    return type(record)(**{field: getattr(record, field) for field in record._fields} | changes)
