"""Frozen processes and chains, as answers hold them."""

from __future__ import annotations

from typing import Any

from proc_cache.process import Process, Source
from proc_cache.query import Chain

SECOND_NS = 1_000_000_000
BOOT_WALL_NS = 1_700_000_000 * SECOND_NS  # 2023-11-14T22:13:20Z


def process(pid: int, ppid: int = 1, **facts: Any) -> Process:
    """A living shell of root, unless told otherwise."""
    told: dict[str, Any] = {
        "birth_user": facts.get("user", "root"),
        "ppid_source": Source.FORK,
        "current_ppid": ppid,
        "current_parent": None,
        "cmd": "sh",
        "source": Source.EXEC,
        "former_cmds": (),
        "cmdline": None,
        "is_cmdline_cut": False,
        "uid": 0,
        "user": "root",
        "session": 1,
        "booted_ns": BOOT_WALL_NS,
        "start_time_ns": SECOND_NS,
        "is_alive": True,
        "exit_time_ns": None,
        "exit_status": None,
    }
    return Process(pid=pid, ppid=ppid, **{**told, **facts})


def ended(pid: int, status: int | None, ppid: int = 1, **facts: Any) -> Process:
    """One that ended after two seconds, where its exit was seen."""
    exit_ns = None if status is None else 3 * SECOND_NS
    return process(pid, ppid, is_alive=False, exit_time_ns=exit_ns, exit_status=status, **facts)


def chain(
    *links: Process, missing_pid: int | None = None, reason: str | None = None, lost_events: int = 0
) -> Chain:
    pid = links[0].pid if links else missing_pid or 0
    return Chain(pid, bool(links) and reason is None, reason, lost_events, links, missing_pid, False)
