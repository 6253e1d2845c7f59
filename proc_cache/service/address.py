"""Where an engine is to be found: `$PROC_CACHE_SOCKET`, else one place for root and one for each user."""

from __future__ import annotations

import os

VARIABLE = "PROC_CACHE_SOCKET"
SYSTEM_PATH = "/run/proc-cache.sock"
_PATH_MAX = 107  # sun_path has 108 bytes with its NUL, unix(7)


def own_path() -> str | None:
    """Give the path that an engine of this user answers at; None where the user has no place for one."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    if os.geteuid() == 0:
        return SYSTEM_PATH
    directory = os.environ.get("XDG_RUNTIME_DIR")
    return f"{directory}/proc-cache.sock" if directory else None


def asked_paths() -> list[str]:
    """Give the paths to ask, in order: the user's own engine, then the system's, which may be open to a group."""
    own = own_path()
    if own is None or (own != SYSTEM_PATH and not os.environ.get(VARIABLE)):
        return [path for path in (own, SYSTEM_PATH) if path is not None]
    return [own]


def is_socket_there() -> bool:
    """Tell whether something is at one of the paths to ask: where nothing is, no client is needed."""
    return any(os.path.exists(path) for path in asked_paths())


def is_too_long(path: str) -> bool:
    """Tell whether a path does not fit into the address of a socket."""
    return len(os.fsencode(path)) > _PATH_MAX
