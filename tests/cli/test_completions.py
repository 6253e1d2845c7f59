"""The completions in real bash, zsh and fish, and what they ask."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from os.path import commonprefix
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proc_cache.cli import complete
from proc_cache.errors import ProcessHiddenError
from tests.helpers.cli import REPOSITORY, as_nobody, proc_cache
from tests.helpers.processes import Forked, rename
from tests.helpers.shells import (
    BIN,
    COMPLETIONS,
    HOSTILE,
    INJECTIONS,
    SHELLS,
    Shell,
    Zoo,
    load_generator,
    skip_without,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY_HAS = "4194000"  # what a forged line would offer


@pytest.fixture(scope="module")
def zoo() -> Iterator[Zoo]:
    with Zoo(HOSTILE) as processes:
        yield processes


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that is there if a name was run."""
    return tmp_path / "ran"


# --- what the tool offers ----------------------------------------------------------------------------------


def offered(*words: str, env: dict[str, str] | None = None) -> dict[str, str]:
    done = proc_cache("_complete", *words, env=env)
    assert (done.status, done.stderr) == (0, ""), done
    return dict(line.split("\t") for line in done.stdout.split("\n")[:-1])


def test_pids_have_name_and_user_beside_them(zoo: Zoo) -> None:
    with Forked(lambda: rename(b"chosen")) as child:
        pids = offered("pids")
        assert pids[str(child.pid)] == "chosen (root)" if os.getuid() == 0 else "chosen"
        assert list(pids) == sorted(pids, key=int)
        assert set(offered("pids", str(child.pid))) >= {str(child.pid)}
        assert all(pid.startswith("1") for pid in offered("pids", "1"))


def test_no_name_forges_a_line_or_moves_the_cursor(zoo: Zoo) -> None:
    done = proc_cache("_complete", "targets")
    assert done.stdout.replace("\t", "").replace("\n", "").isprintable()
    pids = offered("pids")
    assert {str(pid) for pid in zoo.pids} <= set(pids)
    assert NOBODY_HAS not in pids
    assert pids[str(zoo.pid_of(b"\x1b[2Jgone"))].startswith(r"\x1b[2Jgone (")
    assert pids[str(zoo.pid_of(b"two\n4194000\tx"))].startswith(r"two\x0a4194000\x09x (")


def test_names_are_those_that_can_be_typed(zoo: Zoo) -> None:
    cmds = offered("cmds")
    assert {"$(>$Z)", "zqsp ace", "zqback\\slash", "zqsm☃w", "zqco:lon"} <= set(cmds)
    assert not {"", "-dash", "two", "\\xff\\xfe", "tab"} & set(cmds)
    assert list(cmds) == sorted(cmds)
    assert cmds["zqsp ace"] == "1 process"
    with Forked(lambda: rename(b"zqsp ace")):
        assert offered("cmds")["zqsp ace"] == "2 processes"
    assert "zqsm☃w" not in offered("cmds", env={"PYTHONIOENCODING": "latin-1"})


def test_targets_are_both(zoo: Zoo) -> None:
    assert {str(zoo.pids[0]), "zqsp ace"} <= set(offered("targets"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_every_user_is_offered_what_proc_shows() -> None:
    done = as_nobody("_complete", "pids")
    assert done.status == 0
    assert "1" in {line.split("\t")[0] for line in done.lines}


def test_it_does_not_offer_itself() -> None:
    with subprocess.Popen([BIN / "proc-cache", "_complete", "pids"], stdout=subprocess.PIPE, text=True) as asked:
        assert asked.stdout is not None
        assert str(asked.pid) not in {line.split("\t")[0] for line in asked.stdout}


@pytest.mark.parametrize("words", [[], ["word"], ["--help"], ["pids\n"]])
def test_an_unknown_kind_offers_nothing(words: list[str]) -> None:
    done = proc_cache("_complete", *words)
    assert (done.status, done.stdout, done.stderr) == (2, "", "")


def test_help_does_not_show_it() -> None:
    assert "_complete" not in proc_cache("--help").stdout


def test_what_is_hidden_or_gone_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Reader:
        def pids(self) -> list[int]:
            return [30, 20, 10]

        def glance(self, pid: int) -> tuple[bytes, int] | None:
            if pid == 20:
                raise ProcessHiddenError(pid)
            return None if pid == 30 else (b"sh", 4_294_967_294)

    monkeypatch.setattr(complete, "ProcReader", Reader)
    assert complete.run(["pids"]) == 0
    assert capsys.readouterr().out == "10\tsh (4294967294)\n"


# --- in all three shells -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHELLS)
def test_words_of_ours(name: str, marker: Path, tmp_path: Path) -> None:
    (tmp_path / "some history").touch()
    with Shell(name, marker) as shell:
        shell.complete("proc-cache desc", "proc-cache descendant")
        shell.complete("proc-cache chain --no-e", "proc-cache chain --no-engine")
        shell.complete("proc-cache chain --format nd", "proc-cache chain --format ndjson")
        shell.complete("proc-cache chain --format=nd", "proc-cache chain --format=ndjson")
        assert "fork,comm" not in "".join(shell.list("proc-cache watch --events fork,ex", "exit"))
        shell.complete("proc-cache snapshot --user daemo", "proc-cache snapshot --user daemon")
        shell.complete("proc-cache serve --group daemo", "proc-cache serve --group daemon")
        shell.complete(
            f"proc-cache chain --from {tmp_path}/some", f"proc-cache chain --from {tmp_path}/some\\ history"
        )
        shell.complete("proc-cache watch --count 5 -- proc-ca", "proc-cache watch --count 5 -- proc-cache")
        shell.complete("proc-cache --versi", "proc-cache --version")
        shell.complete(f"proc-cache chain 1 >{tmp_path}/some", f"proc-cache chain 1 >{tmp_path}/some\\ history")
        assert "--capacity" not in "".join(shell.list("proc-cache snapshot --", "--around"))


def _beginning(zoo: Zoo) -> str:
    """The digits that all their PIDs have in common."""
    return commonprefix([str(pid) for pid in zoo.pids])  # noqa: RUF071  # characters are what is meant


@pytest.mark.parametrize("name", SHELLS)
def test_pids(name: str, marker: Path) -> None:
    with Shell(name, marker) as shell, Zoo((b"chosen",) * 3) as chosen:
        pid, begun = str(chosen.pids[0]), _beginning(chosen)
        listed = shell.list(f"proc-cache chain {begun}", "chosen (")
        assert any(re.search(rf"\b{pid}\b.*\bchosen \(", row) for row in listed)
        shell.list(f"proc-cache chain 1 --no-engine {begun}", "chosen (")
        shell.list(f"proc-cache watch --under {begun}", "chosen (")
        shell.complete(f"proc-cache chain {pid}", f"proc-cache chain {pid}")
        shell.leave_alone("proc-cache chain 1@")
        shell.leave_alone("proc-cache chain 1@12:0")
        shell.leave_alone("proc-cache snapshot --around 1@-1")


NAMES = {  # what is typed of each
    b"$(>$Z)": r"\$\(\>",
    b"`>$Z`": r"\`",
    b";>$Z;": r"\;\>",
    b"a'$(>$Z)'": r"a\'\$",
    b'b"$(>$Z)"': r"b\"\$",
    b"(>$Z)": r"\(\>",
    b"${:-$(>$Z)}": r"\$\{",
    b"%F{red}%n": "%F",
    b"#hash": r"\#ha",
    b"zqco:lon": "zqco:l",
    b"zqat@sign": "zqat@s",
    b"zqe=quals": "zqe=",
    b"zqsp ace": "zqsp",
    b"zqback\\slash": "zqba",
    b"zqsm\xe2\x98\x83w": "zqsm",
    b"zqx)y(z": "zqx",
    b"zqp|q&r": "zqp",
    b"zqex!clam": "zqex",
    b"zq{a,b}": r"zq\{",
}


@pytest.mark.parametrize("name", SHELLS)
def test_names_are_inserted_as_the_shell_reads_them(name: str, marker: Path, zoo: Zoo) -> None:
    with Shell(name, marker) as shell:
        for cmd, begun in NAMES.items():
            shell.name(zoo.pid_of(cmd), begun)
        shell.run("true")
        shell.complete("proc-cache snapshot --cmd zqe=", "proc-cache snapshot --cmd zqe=quals")
        shell.complete("proc-cache snapshot --cmd=zqco:", "proc-cache snapshot --cmd=zqco:lon")
    assert not marker.exists()


@pytest.mark.parametrize("name", SHELLS)
def test_no_list_runs_a_name_or_moves_the_cursor(name: str, marker: Path, zoo: Zoo) -> None:
    begun = _beginning(zoo)
    with Shell(name, marker) as shell:
        shell.list("proc-cache descendant 1 zq", "zqsm☃w")
        screen = "\n".join(shell.list(f"proc-cache chain {begun}", r"\x1b[2Jgone ("))
    assert r"two\x0a4194000\x09x (" in screen
    assert r"\u202ebidi (" in screen
    assert all(name.decode() in screen for name in INJECTIONS if b"\n" not in name)
    assert not re.search(rf"^{NOBODY_HAS}", screen, re.MULTILINE)
    assert not marker.exists()


@pytest.mark.parametrize("name", SHELLS)
def test_a_target_is_a_pid_or_a_name(name: str, marker: Path, tmp_path: Path, zoo: Zoo) -> None:
    """What `PID|CMD` in the help of an option gives."""
    generator = load_generator()
    option = generator.Option(("--under",), "PID[@TIME]|CMD", (), "Only what is under this.")
    commands = (
        generator.Command("", "", (), (generator.HELP,)),
        generator.Command("find", "Find.", (), (option,)),
    )
    (tmp_path / "proc-cache.bash").write_text(generator.bash_completion(commands))
    (tmp_path / "_proc-cache").write_text(generator.zsh_completion(commands))
    (tmp_path / "proc-cache.fish").write_text(generator.fish_completion(commands))
    with Shell(name, marker, tmp_path) as shell:
        pid = str(zoo.pid_of(b"zq*"))
        shell.complete("proc-cache find --under zqsp", "proc-cache find --under zqsp\\ ace")
        shell.complete(f"proc-cache find --under {pid}", f"proc-cache find --under {pid}")
        shell.list(f"proc-cache find --under {_beginning(zoo)}", "zq* (")
        shell.leave_alone("proc-cache find --under 1@")


# --- bash, function by function ----------------------------------------------------------------------------


def in_bash(line: str, *words: str, before: str = "", env: dict[str, str] | None = None) -> list[str]:
    """What bash is answered for a line whose words, as bash splits them, are these."""
    skip_without("bash")
    script = f"""{before}
        . {COMPLETIONS}/proc-cache.bash
        COMP_LINE=$1 COMP_POINT=${{#1}}; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _proc_cache "$1"
        ((${{#COMPREPLY[@]}})) && printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-uc", script, "bash", line, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **(env or {})},
    )
    assert not done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("line", "words", "replies"),
    [
        ("proc-cache ", [""], ["chain", "descendant", "serve", "snapshot", "watch"]),
        ("proc-cache chain --format=", ["chain", "--format", "="], ["chain", "tree", "json", "ndjson"]),
        ("proc-cache chain --format=nd", ["chain", "--format", "=", "nd"], ["ndjson"]),
        (
            "proc-cache chain --format=nd",
            ["chain", "--format=nd"],
            ["--format=ndjson"],
        ),  # no `=` in COMP_WORDBREAKS
        ("proc-cache watch --events=fork,e", ["watch", "--events", "=", "fork,e"], ["fork,exec", "fork,exit"]),
        ("proc-cache chain 12@12:0", ["chain", "12", "@", "12", ":", "0"], []),
        ("proc-cache descendant 1 zqco:l", ["descendant", "1", "zqco", ":", "l"], ["lon"]),
        ("proc-cache descendant 1 zqco:l", ["descendant", "1", "zqco:l"], ["zqco:lon"]),
        ("proc-cache descendant 1 zqat@s", ["descendant", "1", "zqat", "@", "s"], ["@sign"]),
        ('proc-cache descendant 1 "zqsp', ["descendant", "1", '"zqsp'], ["zqsp ace"]),
        ("proc-cache descendant 1 'zqback", ["descendant", "1", "'zqback"], []),  # nothing can be quoted in there
        (
            "proc-cache descendant 12@12:03 zqsp",
            ["descendant", "12", "@", "12", ":", "03", "zqsp"],
            ["zqsp\\ ace"],
        ),
        (
            "proc-cache descendant --strict -- 1 zqsp",
            ["descendant", "--strict", "--", "1", "zqsp"],
            ["zqsp\\ ace"],
        ),
        ("proc-cache descendant 1 sh ", ["descendant", "1", "sh", ""], []),
        ("proc-cache watch --count ", ["watch", "--count", ""], []),
        ("proc-cache word ", ["word", ""], []),
    ],
)
def test_replies_in_bash(zoo: Zoo, line: str, words: list[str], replies: list[str]) -> None:
    assert in_bash(line, "proc-cache", *words) == replies


def test_bash_inserts_no_description(zoo: Zoo) -> None:
    pid = str(zoo.pids[-1])
    assert in_bash(f"proc-cache chain {pid}", "proc-cache", "chain", pid)[0].startswith(pid)
    for menu in ("37", "42"):  # menu-complete and insert-completions insert what is listed
        assert all(
            reply.isdecimal()
            for reply in in_bash("proc-cache chain ", "proc-cache", "chain", "", before=f"COMP_TYPE={menu}")
        )


def test_bash_takes_the_program_that_is_typed(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "proc-cache").symlink_to(BIN / "proc-cache")
    line, words = " descendant 1 zqsm", ["descendant", "1", "zqsm"]
    away = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    assert in_bash(f"{tmp_path}/proc-cache{line}", f"{tmp_path}/proc-cache", *words, env=away) == ["zqsm☃w"]
    assert in_bash(f"~/proc-cache{line}", "~/proc-cache", *words, env=away) == ["zqsm☃w"]
    assert in_bash(f"an-alias{line}", "an-alias", *words) == ["zqsm☃w"]


def test_nothing_is_offered_where_proc_cache_is_not(tmp_path: Path) -> None:
    away = {"PATH": "/usr/bin:/bin"}
    assert in_bash("proc-cache chain ", "proc-cache", "chain", "", env=away) == []


def test_bash_runs_nothing_of_what_it_is_told(tmp_path: Path) -> None:
    """Even where the tool itself would answer with anything."""
    told = "\n".join(name.decode() for name in INJECTIONS) + "\n* \\\n"
    (tmp_path / "told").write_text(told)
    (tmp_path / "proc-cache").write_text('#!/bin/sh\ncat "${0%/*}/told"\n')
    (tmp_path / "proc-cache").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "Z": str(tmp_path / "ran")}
    assert in_bash("proc-cache chain ", "proc-cache", "chain", "", env=env) == [*filter(None, told.split("\n"))]
    names = in_bash("proc-cache descendant 1 ", "proc-cache", "descendant", "1", "", env=env)
    assert r"\$\(\>\$Z\)" in names
    assert not (tmp_path / "ran").exists()


# --- as they are installed ---------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user who has copied the share/ of the environment to ~/.local/share, as docs/how-to/install.md says."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    for source, place in project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"].items():
        target = tmp_path / ".local" / place
        target.parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / source, target)
    return tmp_path


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        (
            "bash",
            ". /usr/share/bash-completion/bash_completion; _completion_loader proc-cache; complete -p proc-cache",
        ),
        (
            "zsh",
            "fpath=(~/.local/share/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D; "
            "echo $_comps[proc-cache]",
        ),
        ("fish", "complete -C 'proc-cache descen'"),
    ],
)
def test_each_shell_finds_it_where_it_is_installed(home: Path, shell: str, script: str) -> None:
    skip_without(shell)
    if shell == "bash" and not os.path.exists("/usr/share/bash-completion/bash_completion"):
        pytest.skip("no bash-completion on this machine")
    environment = {"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb"}
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, env=environment, timeout=30)
    assert {"bash": "_proc_cache", "zsh": "_proc-cache", "fish": "descendant"}[shell] in done.stdout, done


def test_man_finds_it_where_it_is_installed(home: Path) -> None:
    if shutil.which("man") is None:
        pytest.skip("no man on this machine")
    path = f"{home}/.local/bin:{os.environ['PATH']}"
    (home / ".local" / "bin").mkdir()
    done = subprocess.run(
        ["man", "-w", "proc-cache"], capture_output=True, text=True, env={"HOME": str(home), "PATH": path}
    )
    assert done.stdout.strip() == f"{home}/.local/share/man/man1/proc-cache.1", done
