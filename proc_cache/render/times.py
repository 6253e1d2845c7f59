"""Times to text. Where a moment lies on the calendar follows from when the machine booted."""

from __future__ import annotations

import time

_NS = 1_000_000_000


def rfc3339(time_ns: int | None, boot_wall_ns: int) -> str | None:
    """Write a time since boot as RFC 3339 in UTC, with microseconds."""
    if time_ns is None:
        return None
    seconds, ns = divmod(boot_wall_ns + time_ns, _NS)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ns // 1000:06d}Z"


def clock(time_ns: int, boot_wall_ns: int) -> str:
    """Write a time since boot as the local time of day, with milliseconds."""
    seconds, ns = divmod(boot_wall_ns + time_ns, _NS)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{ns // 1_000_000:03d}"


def duration(span_ns: int) -> str:
    """Write a span as a person says it: 3ms, 0.3s, 4m10s, 2h05m, 3d04h."""
    seconds = span_ns / _NS
    if seconds < 0.1:
        return f"{span_ns / 1e6:.3g}ms"
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"
