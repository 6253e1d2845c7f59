"""Asking a running engine, by the real command line, about processes that are gone."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache.kernel import netlink
from proc_cache.service.client import EngineClient
from proc_cache.times import Moment, parse_moment, rfc3339
from tests.helpers.cli import Ended, in_fork, proc_cache
from tests.helpers.processes import (
    NOBODY,
    PR_SET_CHILD_SUBREAPER,
    Forked,
    comm_of,
    fork,
    in_turn,
    prctl,
    rename,
    running,
    stat_fields,
    touch_every_cpu,
    wait_until,
)
from tests.helpers.serving import serving
from tests.helpers.storms import build_family_storm, build_ladder, read_family_storm
from tests.kernel.test_reused_pid import LAST_PID, former_owner, reused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proc_cache.query import Chain
    from tests.helpers.storms import Lived

pytestmark = pytest.mark.kernel

MS_NS = 1_000_000
OWN_NAME = comm_of(os.getpid()).decode()
GENERATIONS = 20_000
RSS_MAX_GROWTH = 40 << 20


@pytest.fixture
def client() -> Iterator[EngineClient]:
    """A connection to the engine of this test; made after it."""
    with serving():
        connected = EngineClient.connect()
        assert connected is not None
        yield connected
        connected.close()


def links_of(target: object, *, status: int = 0) -> list[dict[str, Any]]:
    """The chain of one process, by the command, as objects."""
    ended = proc_cache("chain", "--format", "json", str(target))
    assert ended.status == status, ended
    links: list[dict[str, Any]] = ended.json()["links"]
    return links


def tree_line(target: object, pid: int) -> str:
    """What is drawn of one process in a chain."""
    ended = proc_cache("chain", "--format", "tree", str(target))
    (line,) = [line for line in ended.lines if line.lstrip(" └─").startswith(f"{pid} ")]
    return line


def complaint_of(ended: Ended, status: int) -> str:
    assert ended.status == status, ended
    assert "asking /proc instead" not in ended.stderr
    (complaint,) = ended.complaints
    return complaint


def reap(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.usefixtures("client")
def test_the_whole_story_of_a_script_that_is_over(tmp_path: Path) -> None:
    last = script(tmp_path / "unit.sh", """sh -c 'sh -c "exit 3" & echo $!; wait'\nexit 13""")
    middle = script(tmp_path / "build.sh", f"{last}\nexit 12")
    first = script(tmp_path / "deploy.sh", f"{middle}\nexit 11")
    with subprocess.Popen([first], stdout=subprocess.PIPE, text=True) as deploy:
        pid = int(deploy.communicate(timeout=10)[0])
    assert deploy.returncode == 11
    assert not os.path.exists(f"/proc/{pid}")

    links = links_of(pid)
    story = links[:5]
    assert [link["cmd"] for link in story] == ["sh", "sh", "unit.sh", "build.sh", "deploy.sh"]
    assert [link["exit_code"] for link in story] == [3, 0, 13, 12, 11]
    assert [link["alive"] for link in story] == [False] * 5
    assert all(link["signal"] is None and link["core_dumped"] is False for link in story)
    assert [link["ppid"] for link in story] == [link["pid"] for link in links[1:6]]
    assert all(link["ppid_source"] == "fork" for link in story)
    assert [link["pid"] for link in links[:1]] + [link["pid"] for link in links[4:6]] == [
        pid,
        deploy.pid,
        os.getpid(),
    ]
    assert links[-1]["ppid"] == 0
    times = [link["run_time_s"] for link in story[1:]]
    assert times[0] > 0
    assert times == sorted(times), "a parent that waited lived longer than its child"
    assert times[-1] < 8
    for link in story:
        assert link["started_at"] < link["exited_at"]
    assert story[4]["cmdline"] == ["/bin/sh", first]
    assert story[2]["cmdline"] == ["/bin/sh", last]

    ended = proc_cache("chain", "--format", "tree", str(pid))
    assert (ended.status, ended.stderr) == (0, "")
    drawn = [line.lstrip(" └─") for line in ended.lines[-5:]]
    for line, link in zip(drawn, reversed(story), strict=True):
        assert line.startswith(f"{link['pid']} ")
        assert re.search(rf"{re.escape(link['cmd'])}\??( -> |$| \(root\))", line)
        assert f", exit {link['exit_code']} after " in line

    plain = proc_cache("chain", str(pid))
    assert (plain.status, plain.stderr) == (0, "")
    assert plain.stdout.replace("sh?|", "sh|").startswith(f"{pid}|sh|root;{story[1]['pid']}|sh|root;")
    assert f"|build.sh|root;{deploy.pid}|deploy.sh|root;{os.getpid()}|" in plain.stdout


@pytest.mark.usefixtures("client")
def test_descendant_is_yes_no_or_cannot_tell_for_the_dead() -> None:
    read, write = os.pipe()

    def parent() -> None:
        rename(b"dead-parent")
        pid = fork(in_turn(lambda: rename(b"dead-child"), lambda: os._exit(3)))
        reap(pid)
        os.write(write, str(pid).encode())

    parent_pid = fork(parent)
    pid = int(os.read(read, 16))
    reap(parent_pid)
    os.close(read)
    os.close(write)
    yes = proc_cache("descendant", str(pid), "dead-parent", "--format", "tree")
    assert (yes.status, yes.stderr) == (0, "")
    assert yes.lines[0] == f"yes: {parent_pid} is dead-parent (by cmd)"
    itself = proc_cache("descendant", str(pid), "dead-child")
    assert itself.status == 0
    strict = proc_cache("descendant", "--strict", str(pid), "dead-child", "--format", "json")
    assert (strict.status, strict.json()["descendant"]) == (1, False)
    no = proc_cache("descendant", str(pid), "no-such-name")
    assert (no.status, no.stderr) == (1, "")
    before = proc_cache("descendant", f"{pid}@-1h", "dead-parent")
    assert "the engine started later" in complaint_of(before, 3)
    without = proc_cache("descendant", "--no-engine", str(pid), "dead-parent")
    assert without.status == 3


def test_an_adopted_child_shows_both_parents(client: EngineClient) -> None:
    read, write = os.pipe()

    def reaper() -> None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        rename(b"reaper")

        def middle() -> None:
            rename(b"middle")
            os.write(write, f"{os.getpid()} {fork(signal.pause, dies_with_parent=False)}".encode())
            os._exit(4)

        reap(fork(middle))

    with Forked(reaper) as subreaper:
        middle_pid, orphan_pid = map(int, os.read(read, 64).split())
        wait_until(lambda: int(stat_fields(orphan_pid)[1]) == subreaper.pid, "the orphan is adopted")
        sentence = re.compile(
            rf"\[born of {middle_pid} middle, which exited 4 after [\d.]+m?s; adopted by {subreaper.pid} reaper\]"
        )
        for is_alive in (True, False):
            if not is_alive:
                os.kill(orphan_pid, signal.SIGKILL)
                wait_until(lambda: not client.chain(orphan_pid).links[0].is_alive, "the orphan's end is known")
            orphan, *ancestors = links_of(orphan_pid)
            assert orphan["alive"] is is_alive
            assert (orphan["ppid"], orphan["ppid_source"]) == (middle_pid, "fork")
            assert (orphan["current_ppid"], orphan["current_parent"]) == (subreaper.pid, "reaper")
            assert [(link["pid"], link["cmd"]) for link in ancestors[:2]] == [
                (middle_pid, "middle"),
                (subreaper.pid, "reaper"),
            ]
            assert ancestors[0]["exit_code"] == 4
            assert sentence.search(tree_line(orphan_pid, orphan_pid))
            assert "adopted" not in tree_line(orphan_pid, middle_pid)
    os.close(read)
    os.close(write)


def dump_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.kill(os.getpid(), signal.SIGQUIT)


@pytest.mark.usefixtures("client")
def test_killed_by_a_signal_and_core_dumped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where core_pattern is relative, the core is left there
    killed = fork(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert reap(killed) == signal.SIGKILL
    dumped = fork(dump_core)
    status = reap(dumped)
    link = links_of(killed)[0]
    assert (link["exit_code"], link["signal"], link["core_dumped"]) == (None, 9, False)
    assert re.search(r", signal 9 after [\d.]+m?s\]", tree_line(killed, killed))
    link = links_of(dumped)[0]
    assert (link["exit_code"], link["signal"]) == (None, 3)
    assert link["core_dumped"] is bool(status & 0x80)
    if not status & 0x80:
        pytest.skip("this system leaves no cores (limits or core_pattern): waitpid tells no dump either")
    assert re.search(r", signal 3, core dumped after [\d.]+m?s\]", tree_line(dumped, dumped))


@pytest.mark.usefixtures("client")
def test_the_user_at_birth_and_later() -> None:
    pid = fork(lambda: os.setresuid(NOBODY, NOBODY, NOBODY))
    reap(pid)
    link = links_of(pid)[0]
    assert (link["birth_user"], link["user"], link["uid"]) == ("root", "nobody", NOBODY)
    assert "(nobody, born as root)" in tree_line(pid, pid)


def test_the_names_before(client: EngineClient) -> None:
    with running(["sh", "-c", "read a; exec bash -c 'read b; exec sleep 1000'"]) as process:
        assert process.stdin is not None
        for name in ("sh", "bash", "sleep"):
            wait_until(lambda name=name: client.chain(process.pid).links[0].cmd == name, f"it is {name}")  # type: ignore[misc]
            if name != "sleep":
                process.stdin.write(b"\n")
                process.stdin.flush()
    link = links_of(process.pid)[0]
    assert (link["former_cmds"], link["cmd"]) == ([OWN_NAME, "sh", "bash"], "sleep")
    assert (link["signal"], link["cmdline"]) == (9, ["sleep", "1000"])
    assert f"{process.pid} {OWN_NAME} -> sh -> bash -> sleep (root)" in tree_line(process.pid, process.pid)


@pytest.mark.usefixtures("client")
@pytest.mark.skipif(not os.access(LAST_PID, os.W_OK), reason=f"{LAST_PID} cannot be written here")
def test_a_reused_pid_answers_for_the_newest_and_tells_how_to_ask_for_the_other() -> None:
    pid = fork(former_owner)
    reap(pid)
    # A start is told to the millisecond: the next owner is born in another one.
    until_ns = time.time_ns() + 2 * MS_NS
    wait_until(lambda: time.time_ns() > until_ns, "two milliseconds")
    with reused(pid, in_turn(lambda: rename(b"new-owner"), signal.pause)):
        newest = proc_cache("chain", str(pid))
        assert newest.status == 0
        assert newest.stdout.startswith(f"{pid}|new-owner|root;{os.getpid()}|")
        told = re.fullmatch(
            rf"proc-cache: {pid} had other owners too; this is the newest\. Ask for: (\S+) \(former-owner\)",
            complaint_of(newest, 0),
        )
        assert told, newest
        (note,) = proc_cache("chain", "--format", "json", str(pid)).json()["notes"]
        assert told[1] in note

        for word in (told[1], links_of(told[1])[0]["started_at"].join([f"{pid}@", ""])):
            former = proc_cache("chain", "--format", "ndjson", word)
            assert (former.status, former.stderr) == (0, "")
            link = former.json()["links"][0]
            assert (link["pid"], link["cmd"], link["exit_code"]) == (pid, "former-owner", 3)
            assert (link["user"], link["birth_user"]) == ("nobody", "root")
        assert proc_cache("descendant", told[1], "former-owner").status == 0
        assert proc_cache("descendant", told[1], "new-owner").status == 1
        assert proc_cache("descendant", str(pid), "former-owner").status == 1

        new = links_of(pid)[0]
        assert links_of(f"{pid}@{new['started_at']}")[0]["start_time_ns"] == new["start_time_ns"]
        now = proc_cache("chain", f"{pid}@-0s")
        assert now.stdout.startswith(f"{pid}|new-owner|root;")
        both = {link["cmd"] for link in snapshot("--dead") if link["pid"] == pid}
        assert both == {"new-owner", "former-owner"}
        (then,) = [link for link in snapshot("--at", told[1].partition("@")[2]) if link["pid"] == pid]
        assert then["cmd"] == "former-owner"
    gone = proc_cache("chain", str(pid))  # dead too, and still the newest
    assert gone.stdout.startswith(f"{pid}|new-owner|root;")


def snapshot(*options: str) -> list[dict[str, Any]]:
    ended = proc_cache("snapshot", "--format", "json", *options)
    assert (ended.status, ended.stderr) == (0, ""), ended
    processes: list[dict[str, Any]] = ended.json()
    return processes


def names(processes: list[dict[str, Any]]) -> list[str]:
    return sorted(process["cmd"] for process in processes)


@pytest.mark.usefixtures("client")
def test_who_lived_then_what_was_under_it_and_what_started_close_to_it() -> None:
    def grandchild() -> None:
        rename(b"grandkid")
        os._exit(5)

    def child() -> None:
        rename(b"kid")
        reap(fork(grandchild))
        os._exit(6)

    def top() -> None:
        rename(b"top")
        reap(fork(child))

    with Forked(top) as family:
        (grandkid,) = snapshot("--dead", "--cmd", "grandkid")
        kid_pid, grandkid_pid = grandkid["ppid"], grandkid["pid"]
        with Forked(lambda: rename(b"later")) as later:
            under = snapshot("--under", str(family.pid), "--dead")
            assert names(under) == ["grandkid", "kid", "top"]
            assert {process["pid"]: process["exit_code"] for process in under} == {
                family.pid: None,
                kid_pid: 6,
                grandkid_pid: 5,
            }
            assert names(snapshot("--under", str(family.pid))) == ["top"]
            assert names(snapshot("--under", str(kid_pid), "--dead")) == ["grandkid", "kid"]
            assert snapshot("--under", str(kid_pid)) == []

            # `kid` was a name only after its birth: the last name is what a snapshot of then has.
            then = snapshot("--at", grandkid["started_at"])
            pids = {process["pid"] for process in then}
            assert {os.getpid(), family.pid, kid_pid, grandkid_pid} <= pids
            assert later.pid not in pids
            assert len(pids) == len(then)
            born_later = links_of(later.pid)[0]["started_at"]
            pids = {process["pid"] for process in snapshot("--at", born_later)}
            assert {os.getpid(), family.pid, later.pid} <= pids
            assert not pids & {kid_pid, grandkid_pid}

            within_ns = 40 * MS_NS
            around = snapshot("--around", str(kid_pid), "--within", "40ms")
            starts = [process["start_time_ns"] for process in around]
            assert starts == sorted(starts)
            (kid,) = [process for process in around if process["pid"] == kid_pid]
            expected = {
                (process["pid"], process["start_time_ns"])
                for process in snapshot("--dead")
                if abs(process["start_time_ns"] - kid["start_time_ns"]) <= within_ns
            }
            assert {(process["pid"], process["start_time_ns"]) for process in around} == expected
            assert {family.pid, kid_pid, grandkid_pid} <= {process["pid"] for process in around}
            assert os.getpid() not in {process["pid"] for process in around}
            at_once = snapshot("--around", str(kid_pid), "--within", "0s")
            assert [process["pid"] for process in at_once] == [kid_pid]
        family.wait()
        assert names(snapshot("--under", str(family.pid), "--dead")) == ["grandkid", "kid", "top"]


# --- nobody is found --------------------------------------------------------------------------------------


def unused_pid() -> int:
    """A PID that nobody has, and that will not be given out soon."""
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as pid_max:
        limit = int(pid_max.read())
    with Forked() as last:
        pid = (last.pid + limit // 2) % limit
    while pid < 400 or os.path.exists(f"/proc/{pid}"):
        pid = (pid + 1) % limit
    return pid


@pytest.mark.usefixtures("client")
def test_a_pid_that_was_never_seen_and_a_time_before_the_engine() -> None:
    pid = unused_pid()
    never = proc_cache("chain", str(pid))
    assert f"no process {pid} was seen since the engine started, at " in complaint_of(never, 1)
    assert never.stdout == f"{pid}|unknown|unknown\n"
    assert "was seen since the engine started" in complaint_of(proc_cache("snapshot", "--under", str(pid)), 1)
    assert "was seen since the engine started" in complaint_of(proc_cache("descendant", str(pid), "sh"), 3)
    for time_ in ("-1h", "2001-01-01T00:00:00Z"):
        for command in (["chain"], ["snapshot", "--dead", "--around"], ["snapshot", "--dead", "--under"]):
            ended = proc_cache(*command, f"{pid}@{time_}")
            assert f"who was {pid} then is not known: the engine started later, at " in complaint_of(ended, 3)
    # One that lives since before is known to have had its PID then.
    assert links_of(f"{os.getpid()}@-0s")[0]["pid"] == os.getpid()


def test_a_pid_whose_owner_is_not_remembered_for_room(fork_storm: Path) -> None:
    with serving("--capacity", "10") as engine:
        pid = fork(lambda: rename(b"soon-forgotten"))
        reap(pid)
        assert links_of(pid)[0]["cmd"] == "soon-forgotten"
        subprocess.run([fork_storm, "100"], check=True)
        ended = proc_cache("chain", str(pid))
        told = complaint_of(ended, 3)
        assert f"{pid} has ended, and that is not remembered any more; the oldest end that is, of " in told
        assert "(see --capacity and --ttl)" in told
        assert "has ended" in complaint_of(proc_cache("descendant", str(pid), "soon-forgotten"), 3)
        assert 0 < engine.stats()["dead"] <= 20

        client = EngineClient.connect()
        assert client is not None

        def is_there() -> bool:
            """What is told as remembered is; every command is a process too, and takes the room of another."""
            assert client is not None
            reason = client.chain(pid).reason or ""
            oldest = re.search(r"the oldest end that is, of (\d+) \([^)]*\), was at (\S+) ", reason)
            assert oldest, reason
            return bool(client.chain(int(oldest[1]), parse_moment(oldest[2], time.time_ns())).links)

        wait_until(is_there, "the oldest that is remembered can be asked for")
        client.close()
        assert links_of(os.getpid())[0]["pid"] == os.getpid()


def test_a_pid_whose_owner_is_not_remembered_for_age() -> None:
    with serving("--ttl", "1s"):
        pid = fork(lambda: rename(b"soon-too-old"))
        reap(pid)
        died = time.monotonic()
        client = EngineClient.connect()
        assert client is not None
        assert client.chain(pid).links, "it was forgotten before its time"
        assert time.monotonic() - died < 1, "this machine is too slow for this test"
        wait_until(lambda: not client.chain(pid).links, "it is forgotten", 4)
        assert time.monotonic() - died >= 0.99
        client.close()
        told = complaint_of(proc_cache("chain", str(pid)), 3)
        assert f"{pid} has ended, and " in told
        assert "not remembered any more" in told
        assert "(see --capacity and --ttl)" in told


def test_a_pid_that_may_be_among_what_was_lost(fork_storm: Path, socket_path: str) -> None:
    def deafen() -> None:
        netlink.RECEIVE_BUFFER_BYTES = 128 << 10  # some 340 messages

    def ask(engine_pid: int, _: Path) -> None:
        wait_until(lambda: os.path.exists(socket_path), "it answers")
        client = EngineClient.connect()
        assert client is not None
        touch_every_cpu()
        pid = unused_pid()
        with Forked(lambda: rename(b"died-unseen")) as witness:
            wait_until(lambda: client.chain(witness.pid).links[0].cmd == "died-unseen", "it is known")
            assert client.stats()["lost"] == 0
            os.kill(engine_pid, signal.SIGSTOP)
            wait_until(lambda: stat_fields(engine_pid)[0] == b"T", "it is stopped")
            subprocess.run([fork_storm, "1000"], check=True)
            witness.kill()
            os.kill(engine_pid, signal.SIGCONT)

            def has_counted() -> bool:
                touch_every_cpu()
                return client.stats()["lost"] > 0

            wait_until(has_counted, "the loss is counted")
        told = complaint_of(proc_cache("chain", str(pid)), 3)
        assert re.search(rf"{pid} was not seen; it may be among the \d+ events that were lost", told)
        assert "were lost" in complaint_of(proc_cache("snapshot", "--under", str(pid)), 3)

        wait_until(lambda: client.chain(witness.pid).links[0].is_alive is False, "a scan noticed its end")
        link = links_of(witness.pid)[0]
        # Where there are exit records, that of its end is not lost with the message.
        assert (link["cmd"], link["exit_code"]) == ("died-unseen", None)
        assert link["signal"] in (None, signal.SIGKILL)
        assert (link["exited_at"] is None) is (link["signal"] is None)
        asked = proc_cache("descendant", str(witness.pid), "no-such-name")
        assert f"cannot tell: events were lost while {witness.pid} lived" in complaint_of(asked, 3)
        assert proc_cache("descendant", str(witness.pid), "died-unseen").status == 0
        assert proc_cache("chain", "--format", "json", str(witness.pid)).json()["lost_events"] > 0
        client.close()
        os.kill(engine_pid, signal.SIGTERM)

    ended = in_fork(["serve", "--no-realtime"], before=deafen, during=ask)
    assert ended.status == 0, ended
    assert "messages of the kernel were lost" in ended.stderr


# --- many -------------------------------------------------------------------------------------------------


def rss_of(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


def test_a_ladder_of_20000_generations(tmp_path: Path) -> None:
    program = build_ladder(tmp_path)
    with serving() as engine:
        before = rss_of(engine.pid)
        with subprocess.Popen(
            [program, str(GENERATIONS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as ladder:
            assert ladder.stdout is not None
            first, tip = map(int, ladder.stdout.readline().split())
            engine.stats()  # an answer: all that was before it is in
            assert rss_of(engine.pid) - before < RSS_MAX_GROWTH
            for is_alive in (True, False):
                if not is_alive:
                    ladder.communicate(timeout=10)
                began = time.monotonic()
                ended = proc_cache("chain", "--format", "json", str(tip))
                assert time.monotonic() - began < 2
                links = ended.json()["links"]
                assert links[0]["alive"] is is_alive
                self_made = links[: [link["pid"] for link in links].index(first) + 1]
                left_out = sum(link.get("generations_left_out", 0) for link in links)
                assert len(self_made) + left_out == GENERATIONS
                assert left_out > GENERATIONS * 9 // 10
                assert f"{left_out} generations on the way were left out" in complaint_of(ended, 3)
                # Both ends, rung by rung, by the status that each ended with.
                codes = [link["exit_code"] for link in self_made]
                assert codes[0] == (None if is_alive else 201)
                assert codes[1:30] == [(GENERATIONS - number) % 200 for number in range(1, 30)]
                assert codes[-30:] == [number % 200 for number in range(30, 0, -1)]
                assert [link["pid"] for link in links[len(self_made) :]][:2] == [ladder.pid, os.getpid()]
            assert rss_of(engine.pid) - before < RSS_MAX_GROWTH
        stats = engine.stats()
        assert stats["lost"] == 0
        assert stats["forks"] >= GENERATIONS
        told = complaint_of(proc_cache("descendant", str(tip), "no-such-name"), 3)
        assert "were left out to bound memory" in told
        assert proc_cache("descendant", str(tip), "ladder").status == 0


def assert_true(chain: Chain, lived: Lived, storm_pid: int) -> None:
    """Compare an answer with what the storm itself wrote down."""
    link = chain.links[0]
    assert (link.pid, link.ppid, link.exit_status) == (lived.pid, lived.ppid, lived.status), lived
    assert link.start_time_ns is not None
    assert link.exit_time_ns is not None
    assert lived.from_ns - 2 * MS_NS <= link.booted_ns + link.start_time_ns
    assert link.booted_ns + link.exit_time_ns <= lived.until_ns + 2 * MS_NS
    assert (link.cmd, link.user, link.is_alive) == ("family-storm", "root", False)
    expected = [lived.pid, *([] if lived.ppid == storm_pid else [lived.ppid]), storm_pid, os.getpid()]
    assert [link.pid for link in chain.links[: len(expected)]] == expected
    assert (chain.complete, chain.lost_events) == (True, 0)


def test_a_thousand_questions_about_a_storm_of_50000(tmp_path: Path, client: EngineClient) -> None:
    program, wrote = build_family_storm(tmp_path), tmp_path / "wrote"
    with subprocess.Popen([program, "50000", str(wrote)]) as storm:
        assert storm.wait(timeout=30) == 0
    all_lived = read_family_storm(wrote)
    assert len(all_lived) >= 50_000
    newest = {lived.pid: lived for lived in all_lived}
    assert len(newest) < len(all_lived), "no PID was given out twice: nothing is proven about owners"
    assert client.stats()["lost"] == 0

    chance = random.Random(20)
    asked = chance.sample(all_lived, 1000)
    assert sum(newest[lived.pid] is not lived for lived in asked) > 100
    booted = []
    for lived in asked:
        moment = Moment(lived.from_ns - 2 * MS_NS, lived.until_ns + 2 * MS_NS)
        chain = client.chain(lived.pid, moment)
        assert_true(chain, lived, storm.pid)
        booted.append(rfc3339(chain.links[0].start_time_ns, chain.links[0].booted_ns))
    for lived in [lived for lived in asked if newest[lived.pid] is lived][:100]:
        assert_true(client.chain(lived.pid), lived, storm.pid)

    # Some of them by the command: twenty in one call, and some alone, as a PID only.
    words = [f"{lived.pid}@{started}" for lived, started in zip(asked[:20], booted, strict=False)]
    ended = proc_cache("chain", *words)
    assert (ended.status, ended.stderr) == (0, "")
    for line, lived in zip(ended.lines, asked[:20], strict=True):
        told = [link.split("|") for link in line.split(";")]
        assert [int(pid) for pid, _, _ in told[:2]] == [lived.pid, lived.ppid]
        assert f";{storm.pid}|family-storm|root;{os.getpid()}|" in line
    for lived in [lived for lived in asked if newest[lived.pid] is lived][:3]:
        link = links_of(lived.pid)[0]
        assert (link["ppid"], link["exit_code"], link["signal"]) == (
            lived.ppid,
            None if lived.status & 0x7F else lived.status >> 8,
            lived.status & 0x7F or None,
        )
