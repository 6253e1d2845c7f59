"""`snapshot --format ecs`: each process as it is now, with those of its ancestors that are listed too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..kernel.clocks import boottime_ns
from ..query import Chain
from ..render.chain import chain_text
from ..render.ecs import EcsWriter
from .executables import Executables
from .host import this_host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..process import Process


def states(processes: Sequence[Process]) -> Iterator[str]:
    """Give a document for each."""
    owners: dict[int, list[Process]] = {}
    for process in processes:
        owners.setdefault(process.pid, []).append(process)
    writer, host, now_ns = EcsWriter(Executables()), this_host(), boottime_ns()
    for process in processes:
        links = tuple(_links(process, owners))
        missing = links[-1].ppid or None
        chain = Chain(process.pid, missing is None, None, 0, links, missing, may_exist=False)
        yield writer.state(now_ns, links, chain_text(chain), host)


def _links(process: Process, owners: dict[int, list[Process]]) -> Iterator[Process]:
    seen: set[int] = set()
    current: Process | None = process
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = _parent(current, owners)


def _parent(process: Process, owners: dict[int, list[Process]]) -> Process | None:
    """Find who bore it: the newest with that pid that was there when it started, by clock ticks."""
    started_ns = process.start_time_ns or 0
    older = [
        owner
        for owner in owners.get(process.ppid or 0, ())
        if owner is not process
        and (owner.start_time_ns or 0) <= started_ns
        and (owner.exit_time_ns is None or owner.exit_time_ns >= started_ns)
    ]
    return max(older, key=lambda owner: owner.start_time_ns or 0, default=None)
