"""Names and arguments that mean harm, of real processes, through every command and every form.

What is looked at are bytes: nothing but what can be printed, as many lines as there have to be, and the name back
from each of them.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from proc_cache.render.escape import escape, unescape
from tests.cli.test_streams_and_forms import on_terminal
from tests.helpers.cli import Ended, in_fork, proc_cache
from tests.helpers.ecs_fields import complaints
from tests.helpers.processes import comm_of, forget, fork, wait_until
from tests.helpers.serving import serving
from tests.helpers.zoo import NAMES, Animal, argv_of, assert_harmless, cage, zoo

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

ME = os.getpid()
KEPT = {name[:15] for name in NAMES.values()}
HARM = ("\x1b]", "\x1bP", "\x1b_", "\x1bc", "\x07", "\x08", "\x9b", "\u202e", "\u2066", "\u200b", "\u3164")


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Animal]]:
    with zoo(tmp_path_factory.mktemp("zoo")) as alive:
        yield alive


@pytest.fixture(params=["an engine", "/proc"])
def told_by(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The options with which to ask: an engine that runs, or /proc."""
    if request.param == "/proc":
        yield ["--no-engine"]
    else:
        with serving():
            yield []


def run(*arguments: str, status: int = 0) -> Ended:
    ended = in_fork(arguments)
    assert ended.status == status, ended
    assert_harmless(ended.stderr.encode())
    return ended


def exact(told: dict[str, Any], key: str) -> bytes:
    """The bytes of a name in JSON."""
    return b64decode(told[f"{key}_raw"]) if f"{key}_raw" in told else told[key].encode()


def exact_arguments(told: dict[str, Any]) -> list[bytes]:
    raw = told.get("cmdline_raw")
    return [argument.encode() for argument in told["cmdline"]] if raw is None else [b64decode(one) for one in raw]


# --- chain, descendant, snapshot --------------------------------------------------------------------------


class TestQueries:
    def test_chains_as_lines(self, animals: list[Animal], told_by: list[str]) -> None:
        ended = run("chain", *told_by, "--format", "chain", *(str(one.pid) for one in animals))
        lines = assert_harmless(ended.raw)
        assert len(lines) == len(animals)
        for line, animal in zip(lines, animals, strict=True):
            links = [link.split("|") for link in line.split(";")]
            assert {len(link) for link in links} == {3}
            assert (links[0][0], os.fsencode(unescape(links[0][1]))) == (str(animal.pid), animal.name)
            assert links[1][0] == str(ME)

    @pytest.mark.parametrize("color", ["never", "always"])
    def test_chains_as_trees(self, animals: list[Animal], told_by: list[str], color: str) -> None:
        pids = [str(one.pid) for one in animals]
        ended = run("chain", *told_by, "--format", "tree", "--color", color, *pids)
        lines = assert_harmless(ended.raw, is_coloured=color == "always")
        depth = len(run("chain", *told_by, "--format", "chain", pids[0]).stdout.split(";"))
        assert len(lines) == depth * len(animals)
        for line, animal in zip(lines[depth - 1 :: depth], animals, strict=True):
            assert f"{animal.pid} {escape(animal.text)}" in line
        assert ("\x1b[" in ended.stdout) == (color == "always")

    @pytest.mark.parametrize("form", ["json", "ndjson"])
    def test_chains_in_json(self, animals: list[Animal], told_by: list[str], form: str) -> None:
        ended = run("chain", *told_by, "--format", form, *(str(one.pid) for one in animals))
        lines = assert_harmless(ended.raw)
        assert ended.raw.isascii()
        chains = json.loads(ended.stdout) if form == "json" else list(map(json.loads, lines))
        for told, animal in zip(chains, animals, strict=True):
            link = told["links"][0]
            assert (link["pid"], exact(link, "cmd")) == (animal.pid, animal.name)
            assert exact_arguments(link) == animal.argv

    def test_descendants(self, animals: list[Animal], told_by: list[str]) -> None:
        for place, animal in enumerate(animals):
            form = ("chain", "tree", "json", "ndjson")[place % 4]
            ended = run("descendant", *told_by, "--format", form, "--", str(animal.pid), animal.text)
            lines = assert_harmless(ended.raw)
            if form in ("json", "ndjson"):
                told = json.loads(ended.stdout)
                assert (exact(told, "cmd"), told["match"]["pid"]) == (animal.name, animal.pid)
            elif form == "tree":
                assert (len(lines), lines[0]) == (2, f"yes: {animal.pid} is {escape(animal.text)} (by cmd)")
            else:
                assert [os.fsencode(unescape(line.split("|")[1])) for line in lines] == [animal.name]

    @pytest.mark.parametrize("form", ["table", "tree"])
    @pytest.mark.parametrize("color", ["never", "always"])
    def test_lists(self, animals: list[Animal], told_by: list[str], form: str, color: str) -> None:
        ended = run("snapshot", *told_by, "--format", form, "--color", color, "--under", str(ME))
        lines = assert_harmless(ended.raw, is_coloured=color == "always")
        for animal in animals:
            (line,) = [line for line in lines if f"{animal.pid} " in line.replace("\x1b", " ")]
            assert escape(animal.text) in line
        assert len(lines) >= len(animals) + (form == "table")

    @pytest.mark.parametrize("form", ["json", "ndjson", "ecs"])
    def test_lists_in_json(self, animals: list[Animal], told_by: list[str], form: str) -> None:
        ended = run("snapshot", *told_by, "--format", form, "--under", str(ME))
        lines = assert_harmless(ended.raw)
        assert ended.raw.isascii()
        listed: list[dict[str, Any]] = [json.loads(line) for line in lines] if form != "json" else ended.json()
        by_pid = {one["process"]["pid"] if form == "ecs" else one["pid"]: one for one in listed}
        for animal in animals:
            told = by_pid[animal.pid]
            if form == "ecs":
                check_document(told, animal.name, animal.argv)
            else:
                assert (exact(told, "cmd"), exact_arguments(told)) == (animal.name, animal.argv)

    def test_by_name(self, animals: list[Animal], told_by: list[str]) -> None:
        for animal in animals:
            ended = run("snapshot", *told_by, "--format", "ndjson", f"--cmd={animal.text}", "--under", str(ME))
            assert [json.loads(line)["pid"] for line in ended.lines] == [animal.pid]

    def test_on_a_terminal(self, animals: list[Animal]) -> None:
        for animal in animals:
            status, drawn = on_terminal("chain", "--no-engine", str(animal.pid), columns=60)
            assert status == 0
            assert_harmless(drawn.encode(), is_coloured=True)
        _, drawn = on_terminal("snapshot", "--no-engine", "--under", str(ME), columns=60)
        lines = assert_harmless(drawn.encode(), is_coloured=True)
        assert len(lines) >= len(animals)


def check_document(document: dict[str, Any], name: bytes, argv: list[bytes]) -> None:
    assert not complaints(document)
    raw = document.get("labels", {}).get("process_name_raw")
    assert (document["process"]["name"].encode() if raw is None else b64decode(raw))[:15] == name
    assert exact_argv(document) == argv


# --- watch ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return cage(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def parade(tmp_path_factory: pytest.TempPathFactory, programs: list[bytes]) -> str:
    """A program that runs each of them."""
    path = tmp_path_factory.mktemp("parade") / "parade"
    path.write_text(
        "import os, subprocess, time\n"
        "def start(path):\n"
        "    name = os.path.basename(path)\n"
        f"    return subprocess.Popen([name, *{argv_of(b'')[1:]!r}], executable=path, stdin=subprocess.PIPE)\n"
        f"alive = [start(path) for path in {programs!r}]\n"
        "time.sleep(0.3)\n"  # they live for as long as it takes to read their arguments
        "for one in alive: one.communicate()\n"
    )
    return str(path)


@pytest.fixture(params=["lines", "json", "ndjson", "ecs"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def check_events(ended: Ended, form: str) -> None:
    """The exec of each program is there, by its exact name, and with its exact arguments, or none."""
    lines = assert_harmless(ended.raw)
    if form == "lines":
        begun = [line.split(" ", 2)[2] for line in lines if line.split(" ")[1] == "exec"]
        assert {os.fsencode(unescape(text.split("|")[1])) for text in begun} >= KEPT
        return
    assert ended.raw.isascii()
    told: list[dict[str, Any]] = ended.json() if form == "json" else [json.loads(line) for line in lines]
    (check_documents if form == "ecs" else check_objects)(told)


def check_objects(told: list[dict[str, Any]]) -> None:
    begun = {exact(one, "cmd"): one for one in told if one["event"] == "exec"}
    assert begun.keys() >= KEPT
    for name in NAMES.values():
        if begun[name[:15]]["cmdline"] is not None:
            assert exact_arguments(begun[name[:15]]) == argv_of(name)


def check_documents(told: list[dict[str, Any]]) -> None:
    read = dict.fromkeys(NAMES.values(), 0)
    for document in told:
        assert not complaints(document)
        if document["event"]["action"] == "exec" and document["process"].get("args_count") == len(argv_of(b"")):
            name = exact_argv(document)[0]
            read[name] += 1
            check_document(document, name[:15], argv_of(name))
    assert set(read.values()) <= {0, 1}
    assert sum(read.values()) > len(NAMES) / 2  # arguments can be missed where the machine is busy, names cannot


def exact_argv(document: dict[str, Any]) -> list[bytes]:
    raw = document.get("labels", {}).get("process_args_raw")
    args = document["process"]["args"]
    return [argument.encode() for argument in args] if raw is None else b64decode(raw).split(b"\0")


class TestWatch:
    def test_what_a_command_starts(self, parade: str, form: str) -> None:
        ended = proc_cache("watch", "--format", form, "--", sys.executable, parade)
        assert ended.status == 0, ended
        if form == "json":  # of a command its tree, at the end
            assert_harmless(ended.raw)
            assert ended.json()
        else:
            check_events(ended, form)

    def test_the_tree_of_a_command(self, parade: str) -> None:
        ended = proc_cache("watch", "--format", "tree", "--color", "always", "--", sys.executable, parade)
        assert_harmless(ended.raw, is_coloured=True)

    def test_a_history(self, parade: str, form: str, tmp_path: Path) -> None:
        file = str(tmp_path / "history")
        assert proc_cache("watch", "--record", file, "--", sys.executable, parade).status == 0
        check_events(run("watch", "--from", file, "--format", form), form)
        for kind in ("table", "tree", "json", "ndjson"):
            assert_harmless(run("snapshot", "--from", file, "--dead", "--format", kind).raw)

    def test_the_live_view(self, parade: str) -> None:
        loop = f"while :; do {sys.executable} {parade} </dev/null; done"
        with serving(), subprocess.Popen(["sh", "-c", loop], stderr=subprocess.DEVNULL) as spawner:
            try:
                _, drawn = on_terminal("watch", columns=200, interrupt_at="--help", times=4)
            finally:
                spawner.kill()
                spawner.wait()
        for harm in HARM:
            assert harm not in drawn


def test_an_argv_of_four_megabytes(tmp_path: Path) -> None:
    """As long as no terminal shows it; what is kept of it is marked."""
    argument = b"\x1b[31m\xff" * 16_000
    argv = [b"huge", b"-c", b"read stay", *[argument] * 44]
    assert sum(map(len, argv)) > 4_000_000
    stay, go = os.pipe()

    def body() -> None:
        os.dup2(stay, 0)
        resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.RLIM_INFINITY))  # a quarter is for arguments
        os.execv("/bin/sh", argv)

    pid = fork(body)
    try:
        wait_until(lambda: comm_of(pid) == b"sh", "it runs")
        for form in ("tree", "json", "ndjson"):
            for arguments in (["chain", str(pid)], ["snapshot", "--under", str(pid)]):
                ended = run(*arguments, "--format", form)
                assert_harmless(ended.raw)
                assert len(ended.raw) < 2 << 20
        (told,) = [json.loads(line) for line in run("snapshot", "--under", str(pid), "--format", "ndjson").lines]
        assert told["cmdline_cut"] is True
        assert b64decode(told["cmdline_raw"][3]) == argument
    finally:
        forget(pid)
        os.close(stay)
        os.close(go)


# --- what is typed ----------------------------------------------------------------------------------------

TYPED = [
    ["{}"],
    ["--{}"],
    ["chain", "--", "{}"],
    ["chain", "--", "1@{}"],
    ["chain", "--format={}", "1"],
    ["chain", "--{}", "1"],
    ["chain", "--color={}", "1"],
    ["chain", "--from=/nonexistent/{}", "1"],
    ["descendant", "--", "{}", "sh"],
    ["descendant", "--", "1", "sh", "{}"],
    ["descendant", "--format={}", "1", "sh"],
    ["snapshot", "--", "{}"],
    ["snapshot", "--longer-than={}"],
    ["snapshot", "--at={}"],
    ["snapshot", "--around={}"],
    ["snapshot", "--around=1", "--within={}"],
    ["snapshot", "--format={}"],
    ["snapshot", "--from=/nonexistent/{}"],
    ["serve", "--group={}"],
    ["serve", "--ttl={}"],
    ["serve", "--capacity={}"],
    ["serve", "--record=x", "--keep={}"],
    ["serve", "--record=x", "--max-size={}"],
    ["watch", "--events={}"],
    ["watch", "--format={}"],
    ["watch", "--count={}"],
    ["watch", "--duration={}"],
    ["watch", "--from=/nonexistent/{}"],
    ["watch", "--", "/nonexistent/{}"],
]


@pytest.mark.parametrize("place", range(len(TYPED)), ids=[" ".join(arguments) for arguments in TYPED])
def test_what_is_typed_is_repeated_harmlessly_on_one_line(place: int) -> None:
    arguments = TYPED[place]
    for name in list(NAMES.values())[place % 5 :: 5]:  # each name in every fifth place is enough
        if arguments == ["{}"] and name == b"--help":
            continue  # that is typed right
        ended = in_fork([argument.replace("{}", os.fsdecode(name)) for argument in arguments])
        assert ended.status in (1, 2, 69, 127), (
            ended
        )  # nobody of that name, a usage error, no such file or program
        assert ended.stdout == ""
        lines = assert_harmless(ended.stderr.encode())
        assert len(lines) == 1, ended
        assert lines[0].startswith("proc-cache: ")
        assert "bug in proc-cache" not in lines[0]


def test_a_name_that_nobody_has_is_looked_for_harmlessly() -> None:
    for name in list(NAMES.values())[::3]:
        word = os.fsdecode(name)
        ended = in_fork(["descendant", "--format", "tree", "--", "1", word])
        assert (ended.status, ended.stderr) == (1, "")
        assert_harmless(ended.raw)
        ended = run("snapshot", f"--user={word}", status=2)
        assert (ended.stdout, len(ended.complaints)) == ("", 1)


@pytest.mark.parametrize("what", ["clears the screen", "forges a line", "reverses", "is no UTF-8"])
def test_paths_of_sockets_and_files(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an engine that answers there, of one that is there already, and of who is there and does not answer."""
    name = NAMES[what]
    directory = tmp_path / os.fsdecode(name)
    directory.mkdir()
    monkeypatch.setenv("PROC_CACHE_SOCKET", str(directory / "s"))
    with serving() as engine:
        taken = proc_cache("serve")
        assert taken.status == 69
        assert len(assert_harmless(taken.stderr.encode())) == 1
        assert run("chain", str(ME)).stdout.startswith(f"{ME}|")
        assert engine.end() == 0
    (ready, *_) = assert_harmless(engine.stderr.encode())
    assert unescape(ready.partition(" at ")[2]) == str(directory / "s")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(os.fsencode(directory / "s"))
        mute.listen(1)
        mute.settimeout(10)
        refused = proc_cache_while_closing(mute)
    assert refused.status == 0
    (line,) = assert_harmless(refused.stderr.encode())
    assert escape(os.fsdecode(name)) in line
    ended = run("watch", "--from", str(directory), status=69)
    assert escape(os.fsdecode(name)) in ended.stderr


def proc_cache_while_closing(mute: socket.socket) -> Ended:
    """Ask somebody who takes the call and hangs up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "proc_cache", "chain", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    for _ in range(2):  # it calls once more where it is hung up on at once
        try:
            call, _address = mute.accept()
        except TimeoutError:
            break
        call.close()
        if process.poll() is not None:
            break
        mute.settimeout(0.5)
    out, err = process.communicate(timeout=20)
    return Ended(process.returncode, out, err)


def test_the_name_of_who_sends_a_signal_is_nowhere(animals: list[Animal]) -> None:
    """SIGINT and SIGTERM end what waits for stdin without a word."""
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with subprocess.Popen(
            [sys.executable, "-m", "proc_cache", "chain", "--no-engine", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{animals[0].pid}\n".encode())
            process.stdin.flush()
            assert process.stdout.readline()
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
            assert (process.returncode, out, err) == (status, b"", b"")
