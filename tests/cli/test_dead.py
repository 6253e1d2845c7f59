"""Asking about the dead where no engine runs, and how PID@TIME, spans and times are taken by every command."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from proc_cache.times import Moment
from tests.helpers.cli import Ended, in_fork
from tests.helpers.processes import Forked, comm_of, fork, rename, stat_fields, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proc_cache.selection import Target

ME = str(os.getpid())
OWN_NAME = comm_of(os.getpid()).decode()
ONLY_AN_ENGINE = (
    "proc-cache: only a running engine or a history knows the dead; start `proc-cache serve`, or give --from FILE"
)


def run(arguments: Sequence[str]) -> Ended:
    return in_fork(arguments)


@pytest.fixture(scope="module")
def dead_pid() -> int:
    """A process that is gone."""
    pid = fork(lambda: os._exit(3))
    os.waitpid(pid, 0)
    return pid


class TestWithoutAnEngine:
    @pytest.mark.parametrize("more", [[], ["--no-engine"]], ids=["none runs", "--no-engine"])
    def test_one_that_is_gone_is_nobody_and_it_is_said_who_would_know(
        self, more: list[str], dead_pid: int
    ) -> None:
        ended = run(["chain", *more, str(dead_pid)])
        assert (ended.status, ended.stdout) == (1, f"{dead_pid}|unknown|unknown\n")
        reason = f"no process {dead_pid} is there now; of the dead only an engine knows (`proc-cache serve`)"
        assert ended.complaints == [f"proc-cache: {reason}"]

    @pytest.mark.parametrize("time", ["-1s", "2026-11-22T12:03:07Z", "00:00:00", "2001-01-01"])
    def test_who_it_was_then_cannot_be_told(self, time: str, dead_pid: int) -> None:
        reason = f"who was {dead_pid} then is not known: no engine was asked, and /proc shows the living alone"
        ended = run(["chain", "--format", "json", f"{dead_pid}@{time}"])
        assert (ended.status, ended.complaints) == (3, [f"proc-cache: {reason}"])
        told = json.loads(ended.stdout)
        assert (told["pid"], told["complete"], told["reason"], told["links"]) == (dead_pid, False, reason, [])
        ended = run(["descendant", f"{dead_pid}@{time}", "sh"])
        assert (ended.status, ended.complaints) == (3, [f"proc-cache: cannot tell: {reason}"])
        for option in ("--under", "--around"):
            ended = run(["snapshot", option, f"{dead_pid}@{time}"])
            assert (ended.status, ended.stdout) == (3, "")
            assert ended.complaints == [f"proc-cache: {reason}"]

    @pytest.mark.parametrize(
        "options", [["--dead"], ["--at", "-1s"], ["--at", "12:03:07", "--dead"]], ids=" ".join
    )
    def test_a_list_of_the_dead_is_not_there(self, options: list[str]) -> None:
        ended = run(["snapshot", *options])
        assert (ended.status, ended.stdout, ended.complaints) == (69, "", [ONLY_AN_ENGINE])

    def test_what_started_around_a_living_one_is_told_of_the_living(self) -> None:
        with Forked(lambda: rename(b"close-by")) as child:
            ended = run(["snapshot", "--format", "ndjson", "--around", str(child.pid), "--within", "20ms"])
            told = [json.loads(line) for line in ended.lines]
            assert ended.status == 0
            (itself,) = [process for process in told if process["pid"] == child.pid]
            assert itself["cmd"] == "close-by"
            starts = [process["start_time_ns"] for process in told]
            assert starts == sorted(starts)
            assert all(abs(start - itself["start_time_ns"]) <= 20_000_000 for start in starts)
            assert os.getpid() not in [process["pid"] for process in told]

    def test_a_zombie_is_still_there_and_has_its_pid_now(self) -> None:
        with Forked(lambda: rename(b"zombie"), afterwards=lambda: os._exit(3)) as child:
            child.go()
            wait_until(lambda: stat_fields(child.pid)[0] == b"Z", "a zombie")
            ended = run(["chain", f"{child.pid}@-0s"])
            assert (ended.status, ended.stderr) == (0, "")
            assert ended.stdout.startswith(f"{child.pid}|zombie|root;{ME}|")

    def test_one_that_lives_and_did_not_then(self) -> None:
        with Forked() as child:
            ended = run(["chain", f"{child.pid}@-1h"])
            assert ended.status == 3
            assert f"who was {child.pid} then is not known" in ended.stderr
            assert run(["chain", f"{child.pid}@-0s"]).stdout.startswith(f"{child.pid}|{OWN_NAME}|")


class TestPidAtTime:
    @pytest.mark.parametrize(
        "word",
        ["12@", "12@ ", "12@now", "12@12:60:00", "12@-", "12@1", "@-1s", "12@@-1s", "-12@-1s", "12 @-1s", "x@-1s"],
    )
    def test_what_is_no_time_or_no_pid(self, word: str) -> None:
        for arguments in (
            ["chain", "--", word],
            ["descendant", "--", word, "sh"],
            ["snapshot", f"--under={word}"],
            ["snapshot", f"--around={word}"],
        ):
            if arguments[1].startswith("--under") and not word.partition("@")[0].isdecimal():
                continue  # there it is the name of a process
            ended = run(arguments)
            assert (ended.status, ended.stdout) == (2, "")
            (complaint,) = ended.complaints
            assert "is no time; give 12:03:07" in complaint or "is not a PID" in complaint

    def test_every_form_names_the_living_one_that_was_there(self) -> None:
        for time in ("-0s", "-0", "-1ms"):
            ended = run(["chain", f"{ME}@{time}"])
            assert (ended.status, ended.stderr) == (0, "")
            assert ended.stdout.startswith(f"{ME}|{OWN_NAME}|")

    def test_some_of_several_are_wrong_and_the_others_answered(self) -> None:
        ended = run(["chain", f"{ME}@-0s", f"{ME}@tea-time", f"{ME}@2001-01-01"])
        assert [line.split("|")[0] for line in ended.lines] == [ME, ME]
        assert ended.lines[1] == f"{ME}|unknown|unknown"
        assert len(ended.complaints) == 2
        assert ended.status == 2

    def test_from_stdin(self) -> None:
        from tests.helpers.cli import proc_cache

        ended = proc_cache("chain", "-", stdin=f"{ME}@-0s\n\n{ME}@2001-01-01\n".encode())
        assert [line.split("|")[:2] for line in ended.lines] == [[ME, OWN_NAME], [ME, "unknown"]]
        assert ended.status == 3


@pytest.mark.parametrize("within", ["-1s", "x", "", "1w", "9" * 400])
def test_what_is_no_span(within: str) -> None:
    ended = run(["snapshot", "--around", ME, f"--within={within}"])
    assert (ended.status, ended.stdout) == (2, "")
    assert len(ended.complaints) == 1


def test_a_moment_is_asked_of_the_engine_as_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the engine is the span that the words stand for."""
    from proc_cache.cli import main
    from proc_cache.query import Chain, Outline, Walk
    from proc_cache.service.client import EngineClient

    asked: list[tuple[int, Moment | None]] = []

    def answer(_: EngineClient, targets: Sequence[Target]) -> Iterator[Outline]:
        for target in targets:
            asked.append((target.pid, target.moment))
            chain = Chain(target.pid, False, "nobody", 0, (), target.pid, False, ())
            yield Outline(Walk((), "nobody", target.pid), chain)

    monkeypatch.setattr("proc_cache.cli.sources.is_socket_there", lambda: True)
    monkeypatch.setattr(EngineClient, "connect", classmethod(object.__new__))
    monkeypatch.setattr(EngineClient, "outlines", answer)
    former = signal.getsignal(signal.SIGTERM)
    try:
        status = main.main(["chain", "500", "500@2026-11-22T12:03:07Z", "500@2026-11-22T12:03Z"])
    finally:
        signal.signal(signal.SIGTERM, former)
    assert status == 1
    begins_ns = 1_795_348_980 * 10**9
    assert asked == [
        (500, None),
        (500, Moment(begins_ns + 7 * 10**9, begins_ns + 8 * 10**9 - 1)),
        (500, Moment(begins_ns, begins_ns + 60 * 10**9 - 1)),
    ]
