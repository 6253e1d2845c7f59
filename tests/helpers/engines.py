"""The engine that answers at the socket of a test, whoever started it."""

from __future__ import annotations

import os
from contextlib import suppress

from proc_cache.service.client import EngineClient
from proc_cache.service.peer import credentials

from .processes import stat_fields, wait_until


def engine_pid() -> int | None:
    """Who answers at the socket; None where nobody does."""
    client = EngineClient.connect()
    if client is None:
        return None
    try:
        return credentials(client._socket)[0]
    finally:
        client.close()


def stats_if_any() -> dict[str, int] | None:
    """The counters of the engine that answers; None where there is none."""
    client = EngineClient.connect()
    if client is None:
        return None
    try:
        return client.stats()
    finally:
        client.close()


def engine_stats() -> dict[str, int]:
    stats = stats_if_any()
    assert stats is not None, "no engine answers"
    return stats


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits for somebody else to reap it."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return stat_fields(pid)[0] in (b"Z", b"X")
    return True


def wait_until_ended(pid: int, who: str = "the engine") -> None:
    wait_until(lambda: has_ended(pid), f"{who} ends")


def socket_file_is_there() -> bool:
    return os.path.exists(os.environ["PROC_CACHE_SOCKET"])


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        (line,) = [line for line in status if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10
