"""render/ecs.py: every field exists in the schema, and says what Elastic's own agents mean by it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache.events import KINDS, Exec, Exit, Fork
from proc_cache.process import Process, Source
from proc_cache.render.ecs import ECS_VERSION, EcsWriter, Host, entity_id
from tests.helpers.ecs_fields import complaints
from tests.helpers.frozen import SECOND_NS, ended, process

HOST = Host("box", "d0b63710-06d1-43d2-8266-6210718717eb", "x86_64", "6.18.0", "4026531836")
CHAIN = "102|touch|root;101|sh|root;1|systemd|root"
SYSTEMD = process(1, 0, cmd="systemd", session=1)
SHELL = process(101, 1, cmd="sh", session=101, cmdline=(b"sh", b"-c", b"touch x"))
TOUCH = process(102, 101, cmd="touch", session=101, cmdline=(b"touch", b"x"), former_cmds=("sh", "env"))
LINKS = (TOUCH, SHELL, SYSTEMD)


def event(*links: Process, kind: type = Exec, **more: Any) -> dict[str, Any]:
    line = EcsWriter(**more).event(kind, 9 * SECOND_NS, links or LINKS, CHAIN, HOST)
    assert line.isascii()
    assert line.isprintable()
    document = json.loads(line)
    assert not complaints(document)
    assert isinstance(document, dict)
    return document


def test_the_list_of_fields_finds_what_is_amiss() -> None:
    good = event()
    assert complaints(good | {"parent": 1}) == ["parent is no field"]
    assert complaints(good | {"user": {"id": 0}}) == ["user.id is 0"]
    assert complaints(good | {"@timestamp": "today"}) == ["@timestamp is 'today'"]
    assert complaints(good | {"event": {"kind": "thing"}}) == ["event.kind cannot be 'thing'"]
    assert complaints({}) == [f"{field} is missing" for field in ("@timestamp", "ecs.version", "event.kind")]


@pytest.mark.parametrize(
    ("name", "action", "event_type"),
    [
        ("fork", "fork", "start"),
        ("exec", "exec", "start"),
        ("exit", "end", "end"),
        ("comm", "name_change", "change"),
        ("uid", "uid_change", "change"),
        ("sid", "session_id_change", "change"),
    ],
)
def test_every_kind_of_event(name: str, action: str, event_type: str) -> None:
    told = event(kind=KINDS[name])
    assert (told["event"]["action"], told["event"]["type"]) == (action, [event_type])
    assert (told["event"]["kind"], told["event"]["category"]) == ("event", ["process"])
    assert told["ecs"] == {"version": ECS_VERSION}
    assert told["@timestamp"] == "2023-11-14T22:13:29.000000Z"
    assert told["message"] == f"{action} {CHAIN}"


def test_a_process_and_its_kin() -> None:
    told = event()["process"]
    assert (told["pid"], told["name"], told["args"], told["args_count"]) == (102, "touch", ["touch", "x"], 2)
    assert told["command_line"] == "touch x"
    assert told["user"] == {"id": "0", "name": "root"}
    assert (told["parent"]["pid"], told["parent"]["name"]) == (101, "sh")
    assert told["parent"]["command_line"] == "sh -c touch x"
    assert told["parent"]["entity_id"] == entity_id(SHELL, HOST.boot_id)
    assert told["previous"] == [{"executable": "sh"}, {"executable": "env"}]
    for leader in (told["session_leader"], told["entry_leader"]):
        assert (leader["pid"], leader["same_as_process"]) == (101, False)
        assert leader["parent"]["pid"] == 1
    assert told["entry_leader"]["entry_meta"] == {"type": "init"}


def test_a_leader_of_its_own_session_is_the_same_process() -> None:
    told = event(SHELL, SYSTEMD)["process"]
    assert told["session_leader"]["same_as_process"] is told["entry_leader"]["same_as_process"] is True
    assert told["session_leader"]["entity_id"] == told["entity_id"]


def test_names_before_belong_to_the_exec_alone() -> None:
    assert "previous" not in event(kind=Fork)["process"]


def test_the_machine() -> None:
    told = event()["host"]
    assert (told["hostname"], told["name"], told["architecture"]) == ("box", "box", "x86_64")
    assert (told["boot"], told["pid_ns_ino"]) == ({"id": HOST.boot_id}, "4026531836")
    assert told["os"] == {"type": "linux", "kernel": "6.18.0"}  # detection rules ask for that type


@pytest.mark.parametrize(
    ("status", "outcome", "code", "reason"),
    [(0, "success", 0, "exit 0"), (768, "failure", 3, "exit 3"), (0x8B, "failure", 139, "signal 11, core dumped")],
)
def test_an_end(status: int, outcome: str, code: int, reason: str) -> None:
    told = event(ended(10, status), kind=Exit)
    assert (told["event"]["outcome"], told["event"]["reason"]) == (outcome, reason)
    assert told["process"]["exit_code"] == code
    assert told["event"]["end"] == told["process"]["end"]
    assert told["event"]["start"] == told["process"]["start"]
    assert told["event"]["duration"] == ended(10, status).run_time_ns


def test_an_end_that_was_not_seen_has_no_status() -> None:
    told = event(ended(10, None), kind=Exit)
    assert told["event"]["outcome"] == "unknown"
    assert not {"exit_code", "end"} & told["process"].keys()
    assert not {"reason", "end", "duration"} & told["event"].keys()


def test_what_is_unknown_is_left_out() -> None:
    nobody = process(10, 0, cmd=None, user=None, uid=None, start_time_ns=None, session=None, cmdline=None)
    told = event(nobody)
    assert told["process"] == {"pid": 10}
    assert not {"user", "labels"} & told.keys()


def test_a_parent_that_is_not_there_is_a_pid() -> None:
    assert event(TOUCH)["process"]["parent"] == {"pid": 101}
    assert event(TOUCH)["process"]["session_leader"] == {"pid": 101, "same_as_process": False}
    far = process(102, 101, cmd="touch", generations_left_out=7)
    assert event(far, SYSTEMD)["process"]["parent"] == {"pid": 101}


def test_arguments_that_were_cut_are_not_counted() -> None:
    told = event(process(10, cmdline=(b"sh", "\u2026".encode()), is_cmdline_cut=True))["process"]
    assert "args_count" not in told
    assert told["args"] == ["sh", "\u2026"]


def test_what_is_no_text_stands_among_the_labels_exactly() -> None:
    told = event(process(10, cmd="\udcffsh", cmdline=(b"\xff", b"ok")))
    assert (told["process"]["name"], told["process"]["args"]) == ("\ufffdsh", ["\ufffd", "ok"])
    assert b64decode(told["labels"]["process_name_raw"]) == b"\xffsh"
    assert b64decode(told["labels"]["process_args_raw"]).split(b"\0") == [b"\xff", b"ok"]


def test_the_path_of_a_program_where_it_is_known() -> None:
    told = EcsWriter(lambda one: {102: "/usr/bin/touch"}.get(one.pid)).event(Exec, 1, LINKS, CHAIN, HOST)
    document = json.loads(told)
    assert not complaints(document)
    assert document["process"]["executable"] == "/usr/bin/touch"
    assert "executable" not in document["process"]["parent"]


def test_documents_are_numbered() -> None:
    writer = EcsWriter()
    lines = [writer.event(Exec, 1, LINKS, CHAIN, HOST), writer.state(2, LINKS, CHAIN, HOST)]
    assert [json.loads(line)["event"]["sequence"] for line in lines] == [1, 2]


def test_a_state() -> None:
    told = json.loads(EcsWriter().state(9 * SECOND_NS, LINKS, CHAIN, HOST))
    assert not complaints(told)
    assert (told["event"]["kind"], told["event"]["type"], told["message"]) == ("state", ["info"], CHAIN)


# --- the place, where it is known --------------------------------------------------------------------------


def placed(of: Process, **place: Any) -> Process:
    return Process(**{field: getattr(of, field) for field in Process._fields} | place)


def test_a_container_and_a_terminal() -> None:
    told = event(placed(TOUCH, container="docker:4f9c", tty="pts/3"), SHELL, SYSTEMD)
    assert told["container"] == {"id": "4f9c", "runtime": "docker"}
    assert told["process"]["tty"] == {"char_device": {"major": 136, "minor": 3}}
    assert told["process"]["interactive"] is True
    told = event(placed(TOUCH, container="", tty=""), SHELL, SYSTEMD)
    assert "container" not in told
    assert (told["process"]["interactive"], "tty" in told["process"]) == (False, False)


@pytest.mark.parametrize(("name", "tty", "kind"), [("bash", "tty2", "terminal"), ("login", "console", "console")])
def test_an_entry_at_a_terminal(name: str, tty: str, kind: str) -> None:
    leader = placed(process(101, 1, cmd=name, session=101), tty=tty)
    assert event(TOUCH, leader, SYSTEMD)["process"]["entry_leader"]["entry_meta"] == {"type": kind}


# --- the id ------------------------------------------------------------------------------------------------


def test_an_id_is_of_the_boot_the_pid_and_the_start() -> None:
    one = entity_id(process(500, start_time_ns=12_345_678_901), "boot")
    assert one == b64encode(b"boot__500__123").decode()
    others = [
        entity_id(process(500, start_time_ns=12_345_678_901), "other"),
        entity_id(process(501, start_time_ns=12_345_678_901), "boot"),
        entity_id(process(500, start_time_ns=12_445_678_901), "boot"),
    ]
    assert len({one, *others}) == 4
    assert entity_id(process(500, start_time_ns=None), "boot") is None


@given(st.integers(1, 1 << 62))
def test_an_id_is_the_same_where_proc_alone_told_the_start(start_ns: int) -> None:
    ticks_ns = start_ns // 10_000_000 * 10_000_000
    if ticks_ns:
        shown, seen = process(5, start_time_ns=ticks_ns), process(5, start_time_ns=start_ns, source=Source.FORK)
        assert entity_id(shown, "b") == entity_id(seen, "b")
