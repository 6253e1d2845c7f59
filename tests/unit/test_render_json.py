"""render/jsonlines.py and render/events.py: answers and events as objects, and events as lines."""

from __future__ import annotations

import json
import time
from base64 import b64encode

import pytest

from proc_cache.entry import Entry
from proc_cache.events import KINDS, Exec, Exit
from proc_cache.process import Source
from proc_cache.query import Descent
from proc_cache.render import jsonlines
from proc_cache.render.events import event_line, event_object
from tests.helpers.contract import PROCESS_FIELDS
from tests.helpers.frozen import SECOND_NS, chain, ended, process

# The contract: design.md, section 4.
CHAIN_FIELDS = {"pid", "complete", "reason", "lost_events", "chain", "links"}
DESCENT_FIELDS = {"pid", "cmd", "descendant", "reason", "match", "chain"}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_a_process() -> None:
    told = jsonlines.process_object(process(10, 7, current_ppid=1, cmdline=(b"sh", b"-c")))
    assert set(told) >= PROCESS_FIELDS
    assert (told["pid"], told["ppid"], told["current_ppid"], told["tgid"]) == (10, 7, 1, 10)
    assert (told["cmd"], told["cmdline"], told["user"], told["uid"]) == ("sh", ["sh", "-c"], "root", 0)
    assert (told["start_time_ns"], told["started_at"]) == (SECOND_NS, "2023-11-14T22:13:21.000000Z")
    assert (told["exited_at"], told["exit_code"], told["signal"], told["source"]) == (None, None, None, "exec")


def test_what_is_unknown_is_null() -> None:
    unknown = process(10, cmd=None, user=None, uid=None, start_time_ns=None, current_ppid=None, source=Source.FORK)
    told = jsonlines.process_object(unknown)
    for field in ("cmd", "cmdline", "user", "uid", "start_time_ns", "started_at", "current_ppid"):
        assert told[field] is None, field


@pytest.mark.parametrize(
    ("status", "code", "signal"), [(0, 0, None), (768, 3, None), (0x8B, None, 11), (None, None, None)]
)
def test_an_end(status: int | None, code: int | None, signal: int | None) -> None:
    told = jsonlines.process_object(ended(10, status))
    assert (told["exit_code"], told["signal"], told["alive"]) == (code, signal, False)
    assert (told["exited_at"] is None) is (status is None)


def test_names_that_are_no_utf8() -> None:
    told = jsonlines.process_object(process(10, cmd="\udcffsh", cmdline=(b"\xff", b"ok")))
    assert told["cmd"] == "\ufffdsh"
    assert told["cmd_raw"] == b64encode(b"\xffsh").decode()
    assert told["cmdline"] == ["\ufffd", "ok"]
    assert told["cmdline_raw"] == [b64encode(b"\xff").decode(), b64encode(b"ok").decode()]
    assert "cmd_raw" not in jsonlines.process_object(process(10, cmd="naïve"))


def test_a_chain() -> None:
    told = jsonlines.chain_object(chain(process(10, 9), missing_pid=9, reason="gone", lost_events=4), None)
    assert set(told) >= CHAIN_FIELDS
    assert (told["pid"], told["complete"], told["reason"], told["lost_events"]) == (10, False, "gone", 4)
    assert told["chain"] == "10|sh|root;9|unknown|unknown"
    assert [link["pid"] for link in told["links"]] == [10]


def test_generations_left_out_are_told() -> None:
    told = jsonlines.chain_object(chain(process(10, generations_left_out=5), process(1, 0)), None)
    assert [link.get("generations_left_out") for link in told["links"]] == [5, None]


@pytest.mark.parametrize("verdict", [True, False, None])
def test_a_descent(verdict: bool | None) -> None:
    link = process(10)
    match = link if verdict else None
    reason = "why" if verdict is None else None
    told = jsonlines.descent_object(Descent(10, "sh", verdict, reason, match, "cmd", chain(link)), None)
    assert set(told) >= DESCENT_FIELDS
    assert (told["descendant"], told["reason"]) == (verdict, reason)
    assert (told["match"] is None) is (match is None)


def test_one_line_of_ascii() -> None:
    hostile = process(10, cmd="\x1b[2J\n\u202e", user="naïve\n")
    text = jsonlines.line(jsonlines.process_object(hostile))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["cmd"] == "\x1b[2J\n\u202e"
    assert json.loads(jsonlines.document([{"a": 1}])) == [{"a": 1}]


@pytest.mark.parametrize("name", ["fork", "exec", "exit", "comm", "uid", "sid"])
def test_an_event_as_an_object(name: str) -> None:
    told = event_object(KINDS[name], 2 * SECOND_NS, process(10), "10|sh|root")
    assert set(told) >= PROCESS_FIELDS | {"event", "time", "timestamp_ns", "chain"}
    assert (told["event"], told["time"]) == (name, "2023-11-14T22:13:22.000000Z")
    assert (told["timestamp_ns"], told["chain"]) == (2 * SECOND_NS, "10|sh|root")


@pytest.mark.parametrize("name", ["fork", "exec", "exit", "comm", "uid", "sid"])
def test_an_event_as_a_line(name: str) -> None:
    text = event_line(KINDS[name], 2 * SECOND_NS, process(10), "10|sh|root")
    assert text.startswith(f"22:13:22.000 {name.ljust(4)} 10|sh|root")


def test_the_line_of_an_exit_says_how() -> None:
    text = event_line(Exit, 2 * SECOND_NS, ended(10, 0x8B), "10|sh|root")
    assert text.startswith("22:13:22.000 exit 10|sh|root  [signal 11, core dumped")


def test_no_argument_can_forge_a_line() -> None:
    hostile = process(10, cmdline=(b"a\nexec 11|x|root", b"\x1b[2J"))
    text = event_line(Exec, 0, hostile, "10|sh|root")
    assert text.isprintable()


class TestPlaces:
    def test_where_it_belongs(self) -> None:
        told = jsonlines.process_object(process(10, unit="web.service", container="docker:3f2a", tty="pts/3"))
        assert (told["unit"], told["container"], told["tty"]) == ("web.service", "docker:3f2a", "pts/3")

    def test_nowhere_and_not_known_are_null(self) -> None:
        for word in ("", None):
            told = jsonlines.process_object(process(10, unit=word, container=word, tty=word))
            assert (told["unit"], told["container"], told["tty"]) == (None, None, None)

    def test_exact_bytes_stand_beside(self) -> None:
        told = jsonlines.process_object(process(10, unit="\udcff.service", container="lxc:\udcff"))
        assert (told["unit"], told["container"]) == ("\ufffd.service", "lxc:\ufffd")
        assert told["unit_raw"] == b64encode(b"\xff.service").decode()
        assert told["container_raw"] == b64encode(b"lxc:\xff").decode()

    def test_pids_in_a_namespace_only_where_asked(self) -> None:
        assert "ns_pids" not in jsonlines.process_object(process(10))
        assert jsonlines.process_object(process(10, ns_pids=(10, 1)))["ns_pids"] == [10, 1]
        assert jsonlines.process_object(process(10, ns_pids=()))["ns_pids"] is None

    def test_the_entry_of_a_chain(self) -> None:
        told = jsonlines.chain_object(chain(process(10)), Entry("cron", 8, "cron", None))
        assert (told["entry"], told["entry_pid"]) == ("cron", 8)
        told = jsonlines.chain_object(chain(process(10)), None)
        assert (told["entry"], told["entry_pid"]) == (None, None)

    def test_the_entry_of_an_event(self) -> None:
        assert event_object(Exec, 0, process(10), "10|sh|root", "ssh")["entry"] == "ssh"
        assert event_object(Exec, 0, process(10), "10|sh|root")["entry"] is None


def test_every_name_that_is_no_utf8_has_its_exact_bytes_beside_it() -> None:
    bad = "\udcff\udc80"
    told = jsonlines.process_object(
        process(10, user=bad, birth_user=bad, current_parent=bad, former_cmds=("ok", bad), full_name=bad)
    )
    exact = b64encode(b"\xff\x80").decode()
    for key in ("user", "birth_user", "current_parent", "full_name"):
        assert (told[key], told[f"{key}_raw"]) == ("\ufffd\ufffd", exact)
    assert told["former_cmds"] == ["ok", "\ufffd\ufffd"]
    assert told["former_cmds_raw"] == [b64encode(b"ok").decode(), exact]


def test_a_cmd_that_was_asked_for_is_no_lone_surrogate_either() -> None:
    told = jsonlines.descent_object(Descent(10, "\udcff", None, "why", None, None, chain()), None)
    assert (told["cmd"], told["cmd_raw"]) == ("\ufffd", b64encode(b"\xff").decode())
