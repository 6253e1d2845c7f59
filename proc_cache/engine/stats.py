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


class Flood(Record):
    """A flood that was noticed: of which kind of event, whose (None: of many), how fast, and when (since boot)."""

    kind: str
    pid: int | None
    cmd: str | None
    uid: int | None
    per_second: int
    since_ns: int


class IntakeStats(Record):
    """How an engine that listens goes about it."""

    receive_buffer_bytes: int  # 0: not listening
    longest_pause_ns: int  # between two looks at what the kernel sends, waiting aside
    scans: int
    records: int  # exit records that were applied to processes
    records_unmatched: int  # of processes that were not known
    records_lost: int  # by the socket's own count
    no_records: str | None  # why there are no exit records; None: there are
    floods: tuple[Flood, ...]  # the newest last
    priority: str | None  # see kernel/priority.py; None: it was not asked for
    steps_back: int  # times that real time was given up


NOT_LISTENING = IntakeStats(0, 0, 0, 0, 0, 0, "not asked for", (), None, 0)


class Stats(IntakeStats):
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
    filtered: int  # messages of floods that the kernel dropped for us, as far as it is known yet
    alive: int
    dead: int  # retained
    oldest_exit_ns: int  # when the one dead for longest exited, CLOCK_BOOTTIME; 0: none is kept (held ones aside)
    caches: tuple[CacheStats, ...]
