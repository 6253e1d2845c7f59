"""kernel/exit_record.py: bytes of the taskstats family to records, and requests to bytes."""

from __future__ import annotations

from struct import pack, unpack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache.errors import MalformedMessageError
from proc_cache.kernel import exit_record
from proc_cache.kernel.exit_record import ExitRecord, decode, decode_acknowledgement
from tests.helpers import exit_records
from tests.helpers.exit_records import FAMILY, SIZES

FIELDS: dict[str, Any] = {
    "ac_exitcode": 768,
    "cpu_count": 0xEEEEEEEEEEEEEEEE,
    "cpu_run_real_total": 8_000_000,
    "cpu_run_virtual_total": 7_654_321,
    "ac_comm": b"a name",
    "ac_uid": 65534,
    "ac_gid": 0xEEEEEEEE,
    "ac_ppid": 4,
    "ac_btime": 1_700_000_000,
    "ac_btime64": 1_700_000_001,
    "ac_etime": 1 << 40,
    "ac_utime": 3000,
    "ac_stime": 5000,
    "hiwater_rss": 1024,
    "read_char": 0xEEEEEEEEEEEEEEEE,
    "read_bytes": 4096,
    "write_bytes": 8192,
    "cancelled_write_bytes": 0xEEEEEEEEEEEEEEEE,
}
TOLD = ExitRecord(
    tid=11,
    pid=10,
    ppid=4,
    uid=65534,
    cmd=b"a name",
    btime_s=1_700_000_001,
    elapsed_us=1 << 40,
    exit_status=768,
    cpu_us=7654,
    max_rss_bytes=1 << 20,
    read_bytes=4096,
    write_bytes=8192,
    is_last_of_group=True,
    group_cpu_us=7654,
)
USUAL = exit_records.record(11, pid=10, **FIELDS)


def decode_one(data: bytes) -> ExitRecord:
    (record,) = decode(data, FAMILY)
    assert type(record) is ExitRecord
    return record


def is_refused(data: bytes) -> bool:
    """Whether it is malformed; any other exception fails the test."""
    try:
        records = decode(data, FAMILY)
    except MalformedMessageError:
        return True
    assert all(type(record) is ExitRecord for record in records)
    return False


def test_every_field() -> None:
    assert decode_one(USUAL) == TOLD


@pytest.mark.parametrize("version", SIZES)
def test_each_version(version: int) -> None:
    """The lengths that kernels had; what a version does not tell is None."""
    expected = TOLD
    if version < 12:
        expected = expected._replace(pid=None, is_last_of_group=None, group_cpu_us=None)
    if version < 10:
        expected = expected._replace(btime_s=FIELDS["ac_btime"])
    assert decode_one(exit_records.record(11, pid=10, version=version, **FIELDS)) == expected


@pytest.mark.parametrize("version", [12, 13, 14, 16, 17])
def test_the_short_way_and_the_long_way_end_alike(version: int) -> None:
    """A usual message that is alone is read in one go; with something behind it, attribute by attribute."""
    data = exit_records.record(11, pid=10, version=version, **FIELDS)
    assert (len(data), data[16:28], data[32:38]) in exit_record._USUAL_HEADS
    assert decode(data + exit_records.message(), FAMILY) == decode(data, FAMILY) == [TOLD]


def test_a_longer_struct_of_a_newer_kernel() -> None:
    data = exit_records.record(11, pid=10, version=40, size=1200, **FIELDS)
    assert decode_one(data) == TOLD


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_and_any_part_of_it(kind: type[bytes | bytearray | memoryview]) -> None:
    assert decode(kind(USUAL), FAMILY) == [TOLD]
    several = b"\xee" * 5 + USUAL + exit_records.last_of_several(11, 10, **FIELDS) + b"\xee" * 5
    assert decode(kind(several), FAMILY, 5, len(USUAL)) == [TOLD]
    assert decode(kind(several), FAMILY, 5, len(several) - 10) == [TOLD, TOLD]


def test_a_thread_that_is_not_the_last() -> None:
    expected = TOLD._replace(is_last_of_group=False, group_cpu_us=None)
    record = decode_one(exit_records.record(11, pid=10, is_last=False, **FIELDS))
    assert record == expected
    assert not record.is_leader
    assert decode_one(exit_records.record(10, is_last=False)).is_leader


@pytest.mark.parametrize("version", SIZES)
def test_the_last_of_several_tells_the_cpu_of_all(version: int) -> None:
    data = exit_records.last_of_several(
        11, 10, version=version, group={"cpu_run_virtual_total": 99_000_000}, **FIELDS
    )
    btime_s = FIELDS["ac_btime64" if version >= 10 else "ac_btime"]
    assert decode_one(data) == TOLD._replace(group_cpu_us=99_000, btime_s=btime_s)


@pytest.mark.parametrize(
    ("group", "cpu_us"),
    [
        ({"cpu_run_real_total": 80_000_000, "ac_utime": 1}, 80_000),
        ({"ac_utime": 30_000, "ac_stime": 40_000}, 70_000),
        ({}, 7654),  # it has told nothing: at least what this thread had
        ({"version": 0, "cpu_run_virtual_total": 99_000_000}, 99_000),  # as it was until 2026
    ],
)
def test_the_cpu_of_all_from_what_there_is(group: dict[str, int], cpu_us: int) -> None:
    assert decode_one(exit_records.last_of_several(11, 10, group=group, **FIELDS)).group_cpu_us == cpu_us


@pytest.mark.parametrize("version", [8, 15, 16])
def test_without_the_scheduler_cpu_is_what_ticks_have_counted(version: int) -> None:
    fields = {**FIELDS, "cpu_run_virtual_total": 0}
    assert decode_one(exit_records.record(11, version=version, **fields)).cpu_us == 8000


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"sh\0leftover", b"sh"),
        (b"", b""),
        (b"123456789012345\0", b"123456789012345"),
        (b"x" * 32, b"x" * 32),
        (b"\xff\x1b) R\n", b"\xff\x1b) R\n"),
    ],
)
@pytest.mark.parametrize("version", [15, 16])
def test_names_are_bytes_up_to_nul(raw: bytes, name: bytes, version: int) -> None:
    assert decode_one(exit_records.record(11, version=version, ac_comm=raw)).cmd == name


def test_padding_and_attributes_of_tomorrow_are_passed_over() -> None:
    """Where the machine wants the struct aligned, an empty attribute stands before it (mk_reply)."""
    figures = exit_records.stats(16, ac_tgid=10, ac_flag=0x20, **FIELDS)
    task = exit_records.attribute(0, b"") + exit_records.attribute(1, pack("=I", 11))
    task += exit_records.attribute(77, b"odd") + exit_records.attribute(3, figures)
    data = exit_records.message(
        exit_records.attribute(6, b""), exit_records.attribute(0x8000 | 4, task), exit_records.attribute(99, b"?")
    )
    assert decode(data, FAMILY) == [TOLD]


@pytest.mark.parametrize(
    "other",
    [
        exit_records.acknowledgement(5),
        exit_records.message(family=FAMILY + 1),
        exit_records.message(command=1),
        exit_records.message(
            exit_records.aggregate(5, 10, exit_records.stats())
        ),  # the answer to another question
    ],
)
def test_other_messages_are_passed_over(other: bytes) -> None:
    assert decode(other, FAMILY) == []
    assert decode(other + USUAL, FAMILY) == [TOLD]
    assert decode(USUAL, FAMILY + 1) == []


def test_no_bytes_are_no_records() -> None:
    assert decode(b"", FAMILY) == []


@pytest.mark.parametrize("data", [USUAL, exit_records.last_of_several(11, 10, **FIELDS)])
def test_truncated_anywhere(data: bytes) -> None:
    for size in range(1, len(data)):
        assert is_refused(data[:size])
        # With a length that fits it may be one that has not got so many attributes.
        assert is_refused(pack("=I", size) + data[4:size]) or size in (20, len(USUAL))


@pytest.mark.parametrize(
    "attributes",
    [
        exit_records.attribute(4, exit_records.attribute(1, pack("=I", 11))),
        exit_records.attribute(4, exit_records.attribute(3, exit_records.stats())),
        exit_records.attribute(4, b"\3\0"),
        exit_records.attribute(4, pack("=HH", 3, 1)),
        exit_records.attribute(4, pack("=HH", 9, 1) + b"1234"),
        exit_records.attribute(4, exit_records.attribute(1, b"12") + exit_records.attribute(3, b"\0" * 560)),
        exit_records.aggregate(4, 11, b"\x10"),
        exit_records.aggregate(4, 11, exit_records.stats(16, 263)),
        exit_records.aggregate(4, 11, exit_records.stats(15, 311)),
        exit_records.aggregate(4, 11, exit_records.stats()) + exit_records.attribute(5, b""),
        exit_records.aggregate(4, 11, exit_records.stats()) + exit_records.aggregate(5, 10, b""),
    ],
)
def test_what_contradicts_itself_is_refused(attributes: bytes) -> None:
    assert is_refused(exit_records.message(attributes))


def test_a_message_of_no_length_ends() -> None:
    assert is_refused(pack("=IHHII", 0, FAMILY, 0, 0, 0) * 4)


VERSIONS = st.sampled_from(sorted(SIZES))
MESSAGES = st.one_of(
    st.builds(lambda tid, version, name: exit_records.record(tid, version=version, ac_comm=name),
              st.integers(1, 1 << 22), VERSIONS, st.binary(max_size=32)),
    st.builds(lambda tid, version, size: exit_records.record(tid, version=version, size=size),
              st.integers(1, 1 << 22), VERSIONS, st.integers(2, 700)),
    st.builds(lambda tid, pid, version: exit_records.last_of_several(tid, pid, version=version),
              st.integers(1, 1 << 22), st.integers(1, 1 << 22), VERSIONS),
    st.builds(lambda kind, body: exit_records.message(exit_records.attribute(kind, body)),
              st.integers(0, 65535), st.binary(max_size=60)),
)  # fmt: skip


@given(st.binary(max_size=700))
def test_any_bytes(data: bytes) -> None:
    is_refused(data)
    is_refused(pack("=IH", 16 + len(data), FAMILY) + b"\0" * 10 + data)


@given(MESSAGES, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutated_messages(data: bytes, changes: list[tuple[int, int]]) -> None:
    mutated = bytearray(data)
    for place, value in changes:
        mutated[place % len(mutated)] = value
    is_refused(bytes(mutated))


@given(MESSAGES, st.data())
def test_truncated_messages(data: bytes, draw: st.DataObject) -> None:
    size = draw.draw(st.integers(1, len(data) - 1))
    assert is_refused(data[:size])


@given(st.integers(0, 39), st.binary(max_size=900))
def test_no_byte_outside_the_part_is_read(offset: int, around: bytes) -> None:
    data = around[:offset].ljust(offset, b"\xee") + USUAL + around
    assert decode(data, FAMILY, offset, len(USUAL)) == [TOLD]


def test_requests() -> None:
    for data, kind, flags, number in (
        (exit_record.encode_register(FAMILY, "0-3,8", 77), 3, 5, 77),
        (exit_record.encode_deregister(FAMILY, "0-3,8"), 4, 1, 0),
    ):
        assert unpack("=IHHII", data[:16]) == (len(data), FAMILY, flags, number, 0)
        assert unpack("=BBH", data[16:20]) == (exit_record.TASKSTATS_CMD_GET, 1, 0)
        assert unpack("=HH", data[20:24]) == (10, kind)
        assert data[24:] == b"0-3,8\0\0\0"


def test_the_answer_to_a_request() -> None:
    assert decode_acknowledgement(exit_records.acknowledgement(77), 77) == 0
    assert decode_acknowledgement(exit_records.acknowledgement(77, 22), 77) == 22
    assert decode_acknowledgement(exit_records.acknowledgement(78), 77) is None
    assert decode_acknowledgement(USUAL, 0) is None
    assert decode_acknowledgement(b"\0" * 19, 0) is None
