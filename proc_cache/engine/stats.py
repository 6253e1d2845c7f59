"""What the engine counts, frozen: counters since its start, and sizes of now."""

from __future__ import annotations

from ..record import Record


class CacheStats(Record):
    """One cache: how full it is, and what happened to what was in it."""

    name: str
    size: int
    capacity: int
    hits: int
    misses: int
    expired: int  # removed for age
    evicted: int  # removed for room


class Stats(Record):
    """The engine's counters. `lost` is exact where `lost_is_exact`, otherwise it is the least possible."""

    messages: int
    malformed: int
    forks: int
    execs: int
    exits: int
    unread: int  # execs whose name could not be read
    fallbacks: int  # lookups that /proc had to answer
    lost: int
    lost_is_exact: bool
    overruns: int
    scans: int
    alive: int
    dead: int  # retained
    oldest_exit_ns: int  # when the one dead for longest exited, CLOCK_BOOTTIME; 0: none is kept (held ones aside)
    receive_buffer_bytes: int  # 0: not listening
    caches: tuple[CacheStats, ...]
