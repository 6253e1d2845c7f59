"""Completing in real shells: a terminal of tmux(1) with bash, zsh or fish in it, and our completions loaded."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .cli import REPOSITORY
from .processes import Forked, rename
from .screens import Terminal

if TYPE_CHECKING:
    from types import ModuleType, TracebackType
    from typing import Self

COMPLETIONS = REPOSITORY / "completions"
BIN = Path(sys.executable).parent  # `proc-cache` is there, for tests run in an environment of their own
PROMPT = "ready$"
SHELLS = ("bash", "zsh", "fish")
DEADLINE_S = 30.0

_START = {
    "bash": "bash --norc --noprofile -i",
    "zsh": "zsh -f -i",
    "fish": "fish --no-config --private -i",
}
_LOAD = {
    # Long lists are shown at once, whole.
    "bash": "bind 'set completion-query-items 0'; bind 'set page-completions off'; . {}/proc-cache.bash",
    "zsh": "LISTMAX=0; fpath=({} $fpath); autoload -Uz compinit; compinit -u -D",
    "fish": (
        "function fish_prompt; echo -n 'ready$ '; end; set -g fish_autosuggestion_enabled 0; . {}/proc-cache.fish"
    ),
}

# What the shells would run, were a name ever expanded: it makes the file $Z.
INJECTIONS = (b"$(>$Z)", b"`>$Z`", b";>$Z;", b"a'$(>$Z)'", b'b"$(>$Z)"', b"\n>$Z\n", b"(>$Z)", b"${:-$(>$Z)}")
OTHERS = (
    *(b"two\n4194000\tx", b"\r4194000\tx", b"\x1b[2Jgone", b"\x1b]0;x\x07", b"\xc2\x9b2J", b"\x08\x08\x08", b""),
    *(b"\xff\xfe", b"\xe2\x80\xaebidi", b"tab\there", b"-dash", b"%F{red}%n", b"*", b"~root", b"#hash", b"zq*"),
    *(b"zqco:lon", b"zqat@sign", b"zqe=quals", b"zqsp ace", b"zqback\\slash", b"zqsm\xe2\x98\x83w", b"zqx)y(z"),
    *(b"zqp|q&r", b"zqex!clam", b"zq{a,b}"),
)
HOSTILE = INJECTIONS + OTHERS


def load_generator() -> ModuleType:
    """docs/generate.py, which makes the completions."""
    spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def skip_without(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")


class Zoo:
    """Processes of these names: `with Zoo(HOSTILE) as zoo`; `pids` are theirs, in the order of the names."""

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self._names = names
        self._living = ExitStack()
        self.pids: list[int] = []

    def __enter__(self) -> Self:
        for name in self._names:
            self.pids.append(self._living.enter_context(Forked(partial(rename, name))).pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._living.close()

    def pid_of(self, name: bytes) -> int:
        return self.pids[self._names.index(name)]


class Shell:
    """An interactive shell that completes `proc-cache`: `with Shell("zsh", marker) as shell`."""

    def __init__(self, name: str, marker: Path, completions: Path = COMPLETIONS) -> None:
        skip_without(name)
        self._completions = completions
        self.shell = name
        self._marker = marker
        self.terminal = Terminal(200, 150)

    def __enter__(self) -> Self:
        self.terminal.__enter__()
        home = self._marker.parent
        environment = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)}
        environment |= {"PATH": f"{BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "Z": str(self._marker)}
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        self.terminal.type(f"exec env {words} {_START[self.shell]}")
        self.run(_LOAD[self.shell].format(self._completions))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminal.__exit__(kind, error, trace)

    def run(self, line: str) -> None:
        """Run a line, and begin an empty screen."""
        self.terminal.type(f"{line}; clear")
        self.terminal.wait_for(
            lambda lines: lines[0] == PROMPT and not any(lines[1:]), "an empty screen", DEADLINE_S
        )

    def complete(self, line: str, wanted: str) -> None:
        """Type this, press Tab, and see the line become that."""
        self.terminal.tmux("send-keys", "-l", line)
        self.terminal.press("Tab")
        self.terminal.wait_for(
            lambda lines: f"{PROMPT} {wanted}" in lines, f"{line}<Tab> gives {wanted}", DEADLINE_S
        )
        self.empty()

    def name(self, pid: int, begun: str) -> None:
        """Complete a name for `descendant`, run the line, and see that it names that process."""
        self.terminal.tmux("send-keys", "-l", f"proc-cache descendant -q {pid} {begun}")
        self.terminal.press("Tab")
        self.terminal.type(f"&& echo y''es {pid}")
        self.terminal.wait_for(lambda lines: f"yes {pid}" in lines, f"{begun}<Tab> is {pid}", DEADLINE_S)

    def list(self, line: str, wanted: str) -> list[str]:
        """Type this, press Tab (twice in bash), and see that in what is listed; gives the screen."""
        self.terminal.tmux("send-keys", "-l", line)
        for _ in range(2 if self.shell == "bash" else 1):
            self.terminal.press("Tab")
        lines = self.terminal.wait_for(
            lambda lines: any(wanted in row for row in lines if not row.startswith(PROMPT)),
            f"{line}<Tab> lists {wanted}",
            DEADLINE_S,
        )
        self.empty()
        return lines

    def leave_alone(self, line: str) -> None:
        """Type this, press Tab twice, and see that what is typed then stands right behind it."""
        self.terminal.tmux("send-keys", "-l", line)
        self.terminal.press("Tab")
        self.terminal.press("Tab")
        self.terminal.tmux("send-keys", "-l", "END")
        lines = self.terminal.wait_for(lambda lines: any(row.endswith("END") for row in lines), "END", DEADLINE_S)
        assert [row for row in lines if row] == [f"{PROMPT} {line}END"]
        self.empty()

    def empty(self) -> None:
        """Forget the line, and begin an empty screen."""
        self.terminal.press("C-c")
        if self.shell == "zsh":
            self.terminal.press("C-c")  # the first one leaves a menu
        self.run("true")
