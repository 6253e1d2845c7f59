"""Who started this process, even if it is already gone?

    kernel message --> event --> engine (tree + caches) --> query --> rendering --> command
       kernel/        events.py      engine/                query.py     render/      cli/
                                        |
                                        +--> service/   a socket: other commands ask this engine
                                        +--> history/   SQLite: ask next week

`kernel/` reads the proc connector and /proc; `engine/` keeps every process and its ancestors; `query.py` asks;
`render/` writes answers down; `cli/` is the command line. `api.py` and `Engine` are for programs.

The names below are imported when they are first used: a one-shot query must not pay for the engine.
"""

from __future__ import annotations

from .version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api import (
        build_chain,
        handle_proc_events,
        is_descendant,
        new_cache,
        new_cache_with,
        new_pid_tree,
        new_pid_tree_with,
        snapshot_process_tree,
        try_create_connector,
    )
    from .engine.cache import PidTree, ProcCache
    from .engine.core import Engine
    from .errors import (
        ConnectorUnavailableError,
        MalformedMessageError,
        ProcCacheError,
        ProcessHiddenError,
    )
    from .kernel.procfs import read_proc_start_time_ns
    from .process import (
        PID_TREE_CAP,
        PID_TREE_TTL_SECS,
        PROC_CACHE_CAP,
        PROC_CACHE_TTL_SECS,
        CacheParams,
        PidNode,
        ProcInfo,
    )

_HOMES = {
    "build_chain": "api",
    "handle_proc_events": "api",
    "is_descendant": "api",
    "new_cache": "api",
    "new_cache_with": "api",
    "new_pid_tree": "api",
    "new_pid_tree_with": "api",
    "snapshot_process_tree": "api",
    "try_create_connector": "api",
    "PidTree": "engine.cache",
    "ProcCache": "engine.cache",
    "Engine": "engine.core",
    "ConnectorUnavailableError": "errors",
    "MalformedMessageError": "errors",
    "ProcCacheError": "errors",
    "ProcessHiddenError": "errors",
    "read_proc_start_time_ns": "kernel.procfs",
    "CacheParams": "process",
    "PID_TREE_CAP": "process",
    "PID_TREE_TTL_SECS": "process",
    "PROC_CACHE_CAP": "process",
    "PROC_CACHE_TTL_SECS": "process",
    "PidNode": "process",
    "ProcInfo": "process",
}

__all__ = [
    "PID_TREE_CAP",
    "PID_TREE_TTL_SECS",
    "PROC_CACHE_CAP",
    "PROC_CACHE_TTL_SECS",
    "CacheParams",
    "ConnectorUnavailableError",
    "Engine",
    "MalformedMessageError",
    "PidNode",
    "PidTree",
    "ProcCache",
    "ProcCacheError",
    "ProcInfo",
    "ProcessHiddenError",
    "__version__",
    "build_chain",
    "handle_proc_events",
    "is_descendant",
    "new_cache",
    "new_cache_with",
    "new_pid_tree",
    "new_pid_tree_with",
    "read_proc_start_time_ns",
    "snapshot_process_tree",
    "try_create_connector",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
