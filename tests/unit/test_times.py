"""times.py: what a person types for a time, how wide that is, and the way back from what is written."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proc_cache.kernel import clocks
from proc_cache.times import Moment, clock, day, duration, local, parse_moment, parse_span, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS

# POSIX forms (tzset(3)): no zone file is needed.
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
LOS_ANGELES = "PST8PDT,M3.2.0,M11.1.0"
TOKYO = "JST-9"
KATHMANDU = "NPT-5:45"


@contextmanager
def zone(name: str) -> Iterator[None]:
    """Be somewhere else."""
    with patch.dict("os.environ", {"TZ": name}):
        time.tzset()
        try:
            yield
        finally:
            pass
    time.tzset()


@pytest.fixture(autouse=True)
def at_utc() -> Iterator[None]:
    with zone("UTC0"):
        yield


def at(text: str) -> int:
    """Nanoseconds since the epoch of an ISO time; UTC where it says nothing else."""
    when = datetime.fromisoformat(text)
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp()) * SECOND_NS + when.microsecond * 1000


NOW_NS = at("2026-11-22T12:30:00")


class TestMoment:
    @pytest.mark.parametrize(
        ("text", "begins", "width_ns"),
        [
            ("12:03", "2026-11-22T12:03", MINUTE_NS),
            ("12:03:07", "2026-11-22T12:03:07", SECOND_NS),
            ("12:03:07.2", "2026-11-22T12:03:07.200", SECOND_NS // 10),
            ("12:03:07.25", "2026-11-22T12:03:07.250", SECOND_NS // 100),
            ("12:03:07,250", "2026-11-22T12:03:07.250", SECOND_NS // 1000),
            ("12:03:07.250001", "2026-11-22T12:03:07.250001", 1000),
            ("12:03:07.2500019", "2026-11-22T12:03:07.250001", 1000),  # no finer than a microsecond
            ("12", "2026-11-22T12:00", HOUR_NS),
            ("2026-11-20", "2026-11-20T00:00", DAY_NS),
            ("2026-11-20T12", "2026-11-20T12:00", HOUR_NS),
            ("2026-11-20T12:03", "2026-11-20T12:03", MINUTE_NS),
            ("2026-11-20T12:03:07", "2026-11-20T12:03:07", SECOND_NS),
            ("2026-11-20 12:03:07", "2026-11-20T12:03:07", SECOND_NS),
            ("2026-11-20T12:03:07Z", "2026-11-20T12:03:07", SECOND_NS),
            ("2026-11-20T12:03:07.5Z", "2026-11-20T12:03:07.500", SECOND_NS // 10),
            ("2026-11-20T12:03Z", "2026-11-20T12:03", MINUTE_NS),
            ("2026-11-20T12:03:07+02:00", "2026-11-20T10:03:07", SECOND_NS),
            ("2026-11-20T12:03:07-05:30", "2026-11-20T17:33:07", SECOND_NS),
            ("2026-11-20T12:03-05:30", "2026-11-20T17:33", MINUTE_NS),
            ("12:03:07Z", "2026-11-22T12:03:07", SECOND_NS),
            ("12:03+01:00", "2026-11-22T11:03", MINUTE_NS),
            ("2030-01-01T00:00:00Z", "2030-01-01T00:00", SECOND_NS),
        ],
    )
    def test_is_as_wide_as_it_was_written(self, text: str, begins: str, width_ns: int) -> None:
        moment = parse_moment(text, NOW_NS)
        assert (moment.from_ns, moment.until_ns) == (at(begins), at(begins) + width_ns - 1)

    @pytest.mark.parametrize("text", ["2026-11-20T120307", "2026-11-20-12:03:07", "2026-11-20+12:03:07"])
    def test_other_forms_are_refused_or_as_wide_as_they_were_written(self, text: str) -> None:
        try:
            moment = parse_moment(text, NOW_NS)
        except ValueError:
            return
        begins = at("2026-11-20T12:03:07")
        assert (moment.from_ns, moment.until_ns) == (begins, begins + SECOND_NS - 1)

    @pytest.mark.parametrize(
        ("text", "ago_ns"),
        [
            ("-90s", 90 * SECOND_NS),
            ("-90", 90 * SECOND_NS),
            ("-250ms", SECOND_NS // 4),
            ("-1.5h", 90 * MINUTE_NS),
            ("-15m", 15 * MINUTE_NS),
            ("-7d", 7 * DAY_NS),
            ("-0s", 0),
        ],
    )
    def test_ago_is_a_second_around_it(self, text: str, ago_ns: int) -> None:
        moment = parse_moment(text, NOW_NS)
        assert (moment.from_ns + moment.until_ns) // 2 == NOW_NS - ago_ns
        assert moment.until_ns - moment.from_ns == SECOND_NS

    @pytest.mark.parametrize(
        ("text", "now", "begins"),
        [
            ("12:29:59", "2026-11-22T12:30:00", "2026-11-22T12:29:59"),
            ("12:30:00", "2026-11-22T12:30:00", "2026-11-22T12:30:00"),
            ("12:30:01", "2026-11-22T12:30:00", "2026-11-21T12:30:01"),
            ("12:30", "2026-11-22T12:30:59", "2026-11-22T12:30"),
            ("23:59:59", "2026-11-22T00:00:00", "2026-11-21T23:59:59"),
            ("00:00:00", "2026-11-22T00:00:00", "2026-11-22T00:00:00"),
            ("00:00", "2026-11-22T23:59:59", "2026-11-22T00:00"),
            ("23:59", "2026-03-01T00:00:10", "2026-02-28T23:59"),
            ("23:59", "2026-01-01T00:00:10", "2025-12-31T23:59"),
        ],
    )
    def test_without_a_date_it_is_the_last_such_time(self, text: str, now: str, begins: str) -> None:
        assert parse_moment(text, at(now)).from_ns == at(begins)

    @pytest.mark.parametrize(
        ("tz", "now", "text", "begins"),
        [
            (BERLIN, "2026-11-22T12:30:00Z", "13:03:07", "2026-11-22T12:03:07Z"),
            (BERLIN, "2026-07-22T12:30:00Z", "13:03:07", "2026-07-22T11:03:07Z"),
            (BERLIN, "2026-11-22T12:30:00Z", "2026-07-01T13:03", "2026-07-01T11:03Z"),
            (BERLIN, "2026-11-22T23:30:00Z", "00:10", "2026-11-22T23:10Z"),  # it is tomorrow there
            (BERLIN, "2026-11-22T23:30:00Z", "23:10", "2026-11-22T22:10Z"),
            (KATHMANDU, "2026-11-22T12:30:00Z", "2026-11-22", "2026-11-21T18:15Z"),
            (LOS_ANGELES, "2026-11-23T02:00:00Z", "17:30", "2026-11-23T01:30Z"),
            # A zone that is told counts, wherever this is.
            (TOKYO, "2026-11-22T20:00:00Z", "19:00Z", "2026-11-22T19:00Z"),
            (TOKYO, "2026-11-22T20:00:00Z", "2026-11-22T19:00Z", "2026-11-22T19:00Z"),
            # Across the change of the clocks, yesterday is at the same time of day.
            (BERLIN, "2026-03-29T06:00:00Z", "09:00", "2026-03-28T08:00Z"),
            (BERLIN, "2026-10-25T06:00:00Z", "09:00", "2026-10-24T07:00Z"),
            (BERLIN, "2026-10-25T06:00:00Z", "03:30", "2026-10-25T02:30Z"),
            (BERLIN, "2026-03-29T06:00:00Z", "03:30", "2026-03-29T01:30Z"),
        ],
    )
    def test_what_names_no_zone_is_local(self, tz: str, now: str, text: str, begins: str) -> None:
        with zone(tz):
            assert parse_moment(text, at(now)).from_ns == at(begins)

    @pytest.mark.parametrize(
        ("tz", "now", "text", "begins"),
        [
            (LOS_ANGELES, "2026-11-23T02:00:00Z", "01:00Z", "2026-11-23T01:00Z"),  # still the 22nd there
            (TOKYO, "2026-11-22T20:00:00Z", "21:00Z", "2026-11-21T21:00Z"),  # the 23rd already
        ],
    )
    def test_the_last_such_time_of_another_zone(self, tz: str, now: str, text: str, begins: str) -> None:
        with zone(tz):
            assert parse_moment(text, at(now)).from_ns == at(begins)

    def test_a_time_that_a_change_of_the_clocks_left_out_is_some_time_of_that_day(self) -> None:
        with zone(BERLIN):
            moment = parse_moment("2026-03-29T02:30", at("2026-11-22T12:00Z"))
        assert at("2026-03-29T00:00Z") < moment.from_ns < at("2026-03-29T03:00Z")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "-",
            "--5s",
            "- 5s",
            "-s",
            "-.s",
            "-5x",
            "-1e3s",
            "-\u0665s",  # a decimal digit, and not ASCII
            "now",
            "yesterday",
            "9:03",
            "25:00:00",
            "12:60",
            "12:00:61",
            "12:03:07 CET",
            "12:03:",
            "1200",
            "120307",
            "2026-13-01",
            "2026-02-30T12:00",
            "2026-11-22T",
            "2026-11-22T25:00",
            "2026-11-22T12:03:07+99:00",
            "20261122T120307",
            "500@12:03",
            "1764000000",
            " 12:03",
            "12:03\n",
            "\x00",
            "\udcff",
            "12:03:07\u202e",
        ],
    )
    def test_nonsense_is_told_with_what_can_be_given(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no time; give 12:03:07, 2026-11-22T12:03:07Z, or -90s") as told:
            parse_moment(text, NOW_NS)
        assert str(told.value).startswith(repr(text))

    @pytest.mark.parametrize(
        "text",
        [
            "1969-12-31T23:59:59Z",
            "0001-01-01",
            "1970-01-01T00:00:00+01:00",
            "-30000d",
            "-999999999999999999d",
            "-" + "9" * 400 + "d",
        ],
    )
    def test_before_the_epoch_is_no_time(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no time"):
            parse_moment(text, NOW_NS)

    @pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59:59"])
    @pytest.mark.parametrize("tz", [TOKYO, LOS_ANGELES])
    def test_the_ends_of_the_calendar(self, text: str, tz: str) -> None:
        with zone(tz):
            try:
                moment = parse_moment(text, NOW_NS)
            except ValueError as error:
                assert "is no time" in str(error)
            else:
                assert at("9999-12-31T00:00Z") < moment.from_ns < at("9999-12-31T23:59:59Z") + DAY_NS

    def test_the_first_and_the_last_time_there_are(self) -> None:
        assert parse_moment("1970-01-01T00:00:00Z", NOW_NS) == Moment(0, SECOND_NS - 1)
        assert parse_moment("9999-12-31T23:59:59Z", NOW_NS).until_ns == at("9999-12-31T23:59:59Z") + SECOND_NS - 1


LIKE_TIMES = st.text(alphabet="0123456789-:.,TZ+ smhdW", max_size=30)


@given(st.text() | LIKE_TIMES, st.integers(0, at("2200-01-01T00:00Z")))
@example("0001-01-01T00:00+23:59", 0)
@example("9999-12-31T23:59:59-23:59", 0)
@example("23:59", 0)
@example("-" + "9" * 400, 0)
@example("12:03:07." + "1" * 400, 0)
def test_any_text_is_a_moment_or_refused(text: str, now_ns: int) -> None:
    try:
        moment = parse_moment(text, now_ns)
    except ValueError as error:
        assert "is no time" in str(error)
    else:
        assert moment.from_ns <= moment.until_ns


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(2 * DAY_NS, 200 * 365 * DAY_NS))
def test_a_time_of_day_is_the_last_such_one(hour: int, minute: int, second: int, now_ns: int) -> None:
    moment = parse_moment(f"{hour:02d}:{minute:02d}:{second:02d}", now_ns)
    assert now_ns - DAY_NS < moment.from_ns <= now_ns
    assert moment.from_ns % DAY_NS == ((hour * 60 + minute) * 60 + second) * SECOND_NS


class TestWrittenTimes:
    @given(
        st.integers(0, at("2100-01-01T00:00Z")),
        st.integers(0, DAY_NS),
        st.sampled_from(["UTC0", TOKYO, KATHMANDU, "XXX11:59", "XXX-14"]),
    )
    def test_what_is_written_is_read_back_to_a_span_that_holds_it(self, booted: int, ns: int, tz: str) -> None:
        with zone(tz):
            wall_ns = booted + 2 * DAY_NS + ns
            moment = parse_moment(local(ns + 2 * DAY_NS, booted), wall_ns)
        assert moment.from_ns <= wall_ns <= moment.until_ns
        assert moment.until_ns - moment.from_ns < 2_000_000

    def test_both_times_of_an_hour_that_comes_twice_are_read_back(self) -> None:
        for wall_ns in (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z")):
            with zone(BERLIN):
                moment = parse_moment(local(0, wall_ns), at("2026-11-22T12:00Z"))
            assert moment.from_ns <= wall_ns <= moment.until_ns

    def test_local_time_is_cut_not_rounded(self) -> None:
        booted = at("2026-11-22T12:03:07.999999Z")
        assert local(999, booted) == "2026-11-22T12:03:07.999999+00:00"
        assert local(1_000, booted) == "2026-11-22T12:03:08.000000+00:00"
        with zone(TOKYO):
            assert local(0, booted) == "2026-11-22T21:03:07.999999+09:00"
            assert clock(0, booted) == "21:03:07.999"
            assert day(0, booted) == "2026-11-22 21:03:07"

    def test_rfc3339_is_utc_anywhere(self) -> None:
        booted = at("2026-11-22T12:03:07Z")
        with zone(TOKYO):
            assert rfc3339(1_500, booted) == "2026-11-22T12:03:07.000001Z"
        assert rfc3339(None, booted) is None


class TestSpan:
    @pytest.mark.parametrize(
        ("text", "span_ns"),
        [
            ("90", 90 * SECOND_NS),
            ("90s", 90 * SECOND_NS),
            ("0", 0),
            ("0s", 0),
            ("250ms", SECOND_NS // 4),
            ("1.5ms", 1_500_000),
            ("1.5h", 90 * MINUTE_NS),
            (".5s", SECOND_NS // 2),
            ("15m", 15 * MINUTE_NS),
            ("2h", 2 * HOUR_NS),
            ("7d", 7 * DAY_NS),
        ],
    )
    def test_is_read(self, text: str, span_ns: int) -> None:
        assert parse_span(text) == span_ns

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "s",
            "ms",
            ".",
            ".s",
            "-5s",
            "+5s",
            "5 s",
            "5S",
            "5w",
            "5us",
            "1e3",
            "1.2.3s",
            "0x10",
            "inf",
            "nan",
            "1_0",
            "\u0665s",  # a decimal digit, and not ASCII
            "5\u00b2",
            "5s\n",
            "\x00",
            "\udcff",
        ],
    )
    def test_nonsense_is_told_with_what_can_be_given(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no span of time; give 90s, 250ms, 15m, 2h or 7d"):
            parse_span(text)

    def test_more_than_there_is_is_no_span(self) -> None:
        with pytest.raises(ValueError, match="is no span of time"):
            parse_span("9" * 400)

    @given(st.text(max_size=20) | st.text(alphabet="0123456789.smhd-", max_size=20))
    def test_any_text_is_a_span_or_refused(self, text: str) -> None:
        try:
            assert parse_span(text) >= 0
        except ValueError as error:
            assert "is no span of time" in str(error)


@pytest.mark.parametrize(
    ("span_ns", "text"),
    [
        (0, "0ms"),
        (1_000, "0.001ms"),
        (3_000_000, "3ms"),
        (99_900_000, "99.9ms"),
        (300_000_000, "0.3s"),
        (59 * SECOND_NS, "59s"),
        (60 * SECOND_NS, "1m00s"),
        (250 * SECOND_NS, "4m10s"),
        (125 * MINUTE_NS, "2h05m"),
        (24 * HOUR_NS, "1d00h"),
        (76 * HOUR_NS, "3d04h"),
    ],
)
def test_a_span_is_said_as_a_person_says_it(span_ns: int, text: str) -> None:
    assert duration(span_ns) == text


def test_the_time_of_the_boot_stands_still_though_its_reader_is_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 5 * SECOND_NS
    held_up = iter([0, 0, 0, 0, 0, 7_000_000, *([0] * 500)])

    def read(clock_id: int) -> int:
        """Each look takes a microsecond; before the sixth another process has the CPU for 7 ms."""
        nonlocal now_ns
        now_ns += 1000 + next(held_up)
        return now_ns + (NOW_NS if clock_id == time.CLOCK_REALTIME else 0)

    monkeypatch.setattr(time, "clock_gettime_ns", read)
    offset = clocks._Offset(time.CLOCK_REALTIME, time.CLOCK_BOOTTIME)
    told = [offset.ns() for _ in range(6)]
    assert max(told) - min(told) < 1_000_000
