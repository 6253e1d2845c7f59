"""Times to text, and back: where a moment lies on the calendar follows from when the machine booted."""

from __future__ import annotations

import time

from .record import Record

_NS = 1_000_000_000
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WRITTEN_MAX = 1024
_A_DAY = 86400
_DIGITS_MAX = 20  # of a span: beyond that it is no time any more


class Moment(Record):
    """A time as a person gave it: as wide as it was written, 12:03 is a minute and 12:03:07.25 ten milliseconds.

    Nanoseconds since the epoch (CLOCK_REALTIME); both ends belong to it.
    """

    from_ns: int
    until_ns: int


def parse_moment(text: str, now_ns: int) -> Moment:
    """Read `12:03:07`, `2026-11-22T12:03:07Z` or `-90s`; what names no zone is local, no date the last such time.

    Raises ValueError with what can be given.
    """
    is_ago = text.startswith("-")
    try:
        return _second_around(now_ns - parse_span(text[1:])) if is_ago else _parse_calendar(text, now_ns)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(
            f"{text!r} is no time; give 12:03:07, 2026-11-22T12:03:07Z, or -90s for a time ago"
        ) from error


def parse_span(text: str) -> int:
    """Read `90s`, `1.5h`, `7d`, `250ms`; a bare number is seconds. Returns ns; raises ValueError."""
    scale = 1.0
    number = text
    if text.endswith("ms"):
        scale, number = 0.001, text[:-2]
    elif text[-1:] in _UNIT_SECONDS:
        scale, number = _UNIT_SECONDS[text[-1]], text[:-1]
    is_number = number.replace(".", "", 1).isdecimal() and number.isascii()
    if not is_number or len(number) > _DIGITS_MAX:
        raise ValueError(f"{text!r} is no span of time; give 90s, 250ms, 15m, 2h or 7d")
    return int(float(number) * scale * _NS)


def _second_around(wall_ns: int) -> Moment:
    if wall_ns < 0:
        raise ValueError
    return Moment(wall_ns - _NS // 2, wall_ns + _NS // 2)


def _parse_calendar(text: str, now_ns: int) -> Moment:
    from datetime import UTC, datetime, timedelta

    has_date = "-" in text.partition(":")[0]
    if not _is_plain(text, has_date=has_date):
        raise ValueError
    zone = None if has_date else datetime.fromisoformat(f"2000-01-01T{text}").tzinfo
    today = datetime.fromtimestamp(now_ns // _NS, zone).date().isoformat()
    when = datetime.fromisoformat(text if has_date else f"{today}T{text}")
    from_ns = _wall_ns(when.astimezone(UTC))
    if not has_date and from_ns > now_ns:
        from_ns = _wall_ns((when - timedelta(days=1)).astimezone(UTC))
    if from_ns < 0:
        raise ValueError
    return Moment(from_ns, from_ns + _width_ns(text, has_date=has_date) - 1)


def _is_plain(text: str, *, has_date: bool) -> bool:
    """Tell whether a time is written with the usual marks: fromisoformat() takes more, of other widths."""
    clock_text = text[11:] if has_date else text
    if has_date and len(text) > 10 and text[10] not in "T ":
        return False
    if has_date and not clock_text:
        return len(text) == 10
    return len(clock_text) >= 2 and (len(clock_text) == 2 or clock_text[2] in ":Z+-")


def _wall_ns(when: object) -> int:
    from datetime import UTC, datetime

    assert isinstance(when, datetime)
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * _A_DAY + since.seconds) * _NS + since.microseconds * 1000


def _width_ns(text: str, *, has_date: bool) -> int:
    """How exact a time was written: 1 day, 1 minute, 1 second, or what the last digit counts."""
    clock_text = text[10:].lstrip("T ") if has_date else text
    for mark in "Z+-":
        clock_text = clock_text.partition(mark)[0]
    if not clock_text:
        return _A_DAY * _NS
    if clock_text.count(":") < 2:
        return (60 if ":" in clock_text else 3600) * _NS
    digits = len(clock_text.replace(",", ".").partition(".")[2])
    return max(1000, int(_NS // 10**digits))


def rfc3339(time_ns: int | None, booted_ns: int) -> str | None:
    """Write a time since boot as RFC 3339 in UTC, with microseconds."""
    if time_ns is None:
        return None
    seconds, ns = divmod(booted_ns + time_ns, _NS)
    return f"{_to_the_second(seconds)}.{ns // 1000:06d}Z"


_written: dict[int, str] = {}  # many processes start in one second


def _to_the_second(seconds: int) -> str:
    text = _written.get(seconds)
    if text is None:
        if len(_written) >= _WRITTEN_MAX:
            _written.clear()
        text = _written[seconds] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return text


def local(time_ns: int, booted_ns: int) -> str:
    """Write a time since boot as local date and time, to the microsecond, as `parse_moment` reads it.

    With the offset of its zone: an hour in autumn comes twice.
    """
    seconds, ns = divmod(booted_ns + time_ns, _NS)
    when = time.localtime(seconds)
    zone = time.strftime("%z", when)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', when)}.{ns // 1000:06d}{zone[:3]}:{zone[3:]}"


def day(time_ns: int, booted_ns: int) -> str:
    """Write a time since boot as a person reads it: local date and time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime((booted_ns + time_ns) // _NS))


def clock(time_ns: int, booted_ns: int) -> str:
    """Write a time since boot as the local time of day, with milliseconds."""
    seconds, ns = divmod(booted_ns + time_ns, _NS)
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
