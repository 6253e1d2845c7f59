"""`--format ecs` of real events: documents of the schema, and one id for one process, whoever tells of it."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.cli import Ended, Watching, proc_cache
from tests.helpers.ecs_fields import complaints
from tests.helpers.processes import Forked, running
from tests.helpers.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel

ME = os.getpid()
SCRIPT = "sleep 0.01; sh -c 'kill -9 $$'; exit 3"


def documents(ended: Ended) -> list[dict[str, Any]]:
    assert ended.raw.isascii()
    told = [json.loads(line) for line in ended.lines]
    for document in told:
        assert not complaints(document), document
    return told


def of(told: list[dict[str, Any]], action: str, args: list[str]) -> dict[str, Any]:
    (found,) = [one for one in told if one["event"]["action"] == action and one["process"].get("args") == args]
    return found


def test_what_a_command_starts() -> None:
    ended = proc_cache("watch", "--format", "ecs", "--", "sh", "-c", SCRIPT)
    assert ended.status == 3
    told = documents(ended)
    assert [one["event"]["sequence"] for one in told] == list(range(1, len(told) + 1))
    begun = of(told, "exec", ["sh", "-c", SCRIPT])
    killed, left = of(told, "end", ["sh", "-c", "kill -9 $$"]), of(told, "end", ["sh", "-c", SCRIPT])
    assert (
        begun["process"]["entity_id"] == left["process"]["entity_id"] == killed["process"]["parent"]["entity_id"]
    )
    assert killed["process"]["parent"]["command_line"] == f"sh -c {SCRIPT}"
    assert (killed["process"]["exit_code"], killed["event"]["outcome"]) == (137, "failure")
    assert (left["process"]["exit_code"], left["event"]["reason"]) == (3, "exit 3")
    assert left["event"]["duration"] >= 10_000_000
    assert begun["host"]["hostname"] == os.uname().nodename
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        assert begun["host"]["boot"]["id"] == file.read().strip()


def test_the_leaders_of_a_session_and_the_path_of_a_program() -> None:
    with Watching("--format", "ecs", "--events", "exec", "--cmd", "sleep") as watch:
        watch.wait_until_capturing()
        with Forked(os.setsid, afterwards=lambda: os.execvp("sleep", ["sleep", "1000"])) as child:
            child.go()
            watch.read_until(lambda: watch.lines, "an exec is told")
            (told,) = [json.loads(line) for line in watch.lines]
            assert not complaints(told)
            assert told["process"]["pid"] == child.pid
            assert told["process"]["executable"] == os.readlink(f"/proc/{child.pid}/exe")
            leader = told["process"]["session_leader"]
            assert (leader["pid"], leader["same_as_process"], leader["parent"]["pid"]) == (child.pid, True, ME)
            assert told["process"]["parent"]["pid"] == ME
            assert told["process"]["parent"]["args"]


def test_one_process_has_one_id_by_event_by_scan_and_from_a_history(tmp_path: Path) -> None:
    file = str(tmp_path / "history")
    with serving("--record", file) as engine, running(["sleep", "1000"]) as sleep:
        watched = proc_cache("watch", "--format", "ecs", "--", "sh", "-c", "exit 5")
        asked = documents(proc_cache("snapshot", "--format", "ecs", "--cmd", "sleep"))
        looked = documents(proc_cache("snapshot", "--format", "ecs", "--no-engine", "--cmd", "sleep"))
        by_engine, by_proc = (
            {one["process"]["pid"]: one["process"]["entity_id"] for one in told} for told in (asked, looked)
        )
        assert by_engine[sleep.pid] == by_proc[sleep.pid]
        assert engine.end() == 0
    told = documents(watched)
    (left,) = [one for one in told if one["event"]["action"] == "end"]
    narrow = ["--events", "exit", "--cmd", "sh"]  # other tests of this machine are recorded too
    replayed = documents(proc_cache("watch", "--from", file, "--format", "ecs", *narrow, timeout_s=120))
    ends = {one["process"].get("entity_id"): one for one in replayed if one["event"]["action"] == "end"}
    again = ends[left["process"]["entity_id"]]
    assert (again["process"]["pid"], again["process"]["exit_code"]) == (left["process"]["pid"], 5)
    assert again["host"]["boot"] == left["host"]["boot"]
    assert again["process"]["parent"]["entity_id"] == left["process"]["parent"]["entity_id"]


def test_a_snapshot_of_a_history_says_where_to_ask(tmp_path: Path) -> None:
    ended = proc_cache("snapshot", "--format", "ecs", "--from", str(tmp_path / "none"))
    assert (ended.status, ended.stdout) == (2, "")
    assert "watch --from FILE --format ecs" in ended.stderr


def test_a_snapshot_is_states() -> None:
    told = documents(proc_cache("snapshot", "--format", "ecs"))
    assert {one["event"]["kind"] for one in told} == {"state"}
    (me,) = [one for one in told if one["process"]["pid"] == ME]
    assert me["process"]["parent"]["pid"] == os.getppid()
    assert me["process"]["executable"] == os.readlink("/proc/self/exe")


# --- json, of a stream ------------------------------------------------------------------------------------


def test_a_list_of_nothing_is_a_list() -> None:
    assert proc_cache("watch", "--format", "json", "--duration", "0").json() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_list_is_whole_however_the_watch_ends(number: signal.Signals) -> None:
    with Watching("--format", "json", "--events", "exec") as watch:
        watch.wait_until_capturing()
        watch.read_until(lambda: watch.lines, "something is told", provoke=lambda: proc_cache("--version"))
        ended = watch.stop(number)
        assert (ended.status, ended.stderr) == (0, "")
        assert json.loads("\n".join(watch.lines))
