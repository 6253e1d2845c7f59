"""How long a press of Tab takes after `proc-cache chain `, in each shell, among many processes.

    python -m tests.benchmarks.completion [PROCESSES...]

Run it with the Python of an environment where proc-cache is installed from a wheel. The shells are interactive, on
a terminal of 200 columns and 50 rows, with the completion loaded. "inserts" is the press after a whole PID, up to
what is typed next; "lists" the one after nothing, until the last PID is drawn (in fish, until its pager is).
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS = 15
DEADLINE_S = 20.0
BIN = Path(sys.executable).parent
COMPLETIONS = Path(__file__).parents[2] / "completions"
PROMPT = b"ready> "

_SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "bind 'set completion-query-items 0'; bind 'set page-completions off'; "
        f"bind 'set show-all-if-ambiguous on'; . {COMPLETIONS}/proc-cache.bash",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        f"LISTMAX=100000; fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -u -D",
    ),
    "fish": (
        ["fish", "--no-config", "--private", "-i"],
        "function fish_prompt; echo -n 'ready> '; end; set fish_autosuggestion_enabled 0; "
        f". {COMPLETIONS}/proc-cache.fish",
    ),
}
# What else the candidates could be made by.
_READ_BY_BASH = """for d in /proc/+([0-9]); do
    IFS= read -r -d '' s <$d/stat; s=${s#*\\(}
    while read -r k u _; do [[ $k == Uid: ]] && break; done <$d/status
    echo "${d#/proc/} ${s%)*} ($u)"
done"""
_READ_BY_ZSH = """zmodload -F zsh/stat b:zstat; for d in /proc/<->(N); do
    IFS= read -r -d '' s <$d/stat; s=${s#*\\(}; zstat -s -A u +uid $d
    print -r -- "${d#/proc/} ${s%\\)*} ($u[1])"
done"""


class Terminal:
    """A shell on a terminal that is read as bytes."""

    def __init__(self, name: str, home: str) -> None:
        arguments, load = _SHELLS[name]
        environment = {**os.environ, "HOME": home, "PS1": PROMPT.decode(), "TERM": "xterm"}
        environment["PATH"] = f"{BIN}:{os.environ['PATH']}"
        self._pid, self._descriptor = pty.fork()
        if self._pid == 0:
            os.execvpe(arguments[0], arguments, environment)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self._seen = b""
        self.until(lambda seen: len(seen) > 0)
        self.run(load)

    def send(self, text: str) -> None:
        self._seen = b""
        os.write(self._descriptor, text.encode())

    def until(self, is_so: Callable[[bytes], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not is_so(self._seen):
            if not select.select([self._descriptor], [], [], deadline - time.monotonic())[0]:
                raise TimeoutError(self._seen[-2000:].decode(errors="replace"))
            self._seen += os.read(self._descriptor, 1 << 16)

    def run(self, line: str) -> None:
        self.send(f"{line}; echo en''ded\n")
        self.until(lambda seen: PROMPT in seen.rpartition(b"ended")[2] and b"ended" in seen)

    def press_tab(self, line: str, then: str, drawn: bytes) -> float:
        """Type a line, and a Tab; gives the milliseconds until something is drawn."""
        self.send(f"{line}#")
        self.until(lambda seen: b"#" in seen)
        self.send("\x7f")  # all that was typed is drawn
        self.until(lambda seen: len(seen) > 0)
        began = time.perf_counter()
        self.send(f"\t{then}")
        self.until(lambda seen: drawn in seen)
        took = (time.perf_counter() - began) * 1000
        self.run("\x15true")
        return took

    def close(self) -> None:
        os.kill(self._pid, signal.SIGHUP)
        os.close(self._descriptor)
        os.waitpid(self._pid, 0)


@contextmanager
def sleepers(count: int) -> Iterator[list[int]]:
    running = [subprocess.Popen(["sleep", "1000"]) for _ in range(count)]
    try:
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def elapsed_ms(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def tell(name: str, times: list[float]) -> None:
    print(f"{name:<40} {statistics.median(times):7.1f} ms   (best {min(times):.1f})", flush=True)


def measure(pids: list[int]) -> None:
    last, some = str(pids[-1]).encode(), pids[len(pids) // 2]
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        for name in _SHELLS:
            if shutil.which(name) is None:
                continue
            terminal = Terminal(name, home)
            stack.callback(terminal.close)
            drawn = b"more rows" if name == "fish" else last
            inserts, lists = [], []
            for _ in range(RUNS):
                inserts.append(terminal.press_tab(f"proc-cache chain {some}", "%", b"%"))
                lists.append(terminal.press_tab("proc-cache chain ", "", drawn))
            tell(f"{name} inserts", inserts)
            tell(f"{name} lists", lists)
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "proc-cache _complete pids": [str(BIN / "proc-cache"), "_complete", "pids"],
        "ps -e -o pid=,comm=,user=": ["ps", "-e", "-o", "pid=,comm=,user="],
        "a loop over /proc in bash": ["bash", "-O", "extglob", "-c", _READ_BY_BASH],
        "a loop over /proc in zsh": ["zsh", "-fc", _READ_BY_ZSH],
    }
    for name, command in commands.items():
        if shutil.which(command[0]) is not None:
            tell(name, [elapsed_ms(command) for _ in range(RUNS)])


def main() -> None:
    for count in [int(word) for word in sys.argv[1:]] or [1000]:
        with sleepers(count) as pids:
            print(f"\n{len(os.listdir('/proc'))} entries in /proc, {RUNS} runs each")
            measure(pids)


if __name__ == "__main__":
    main()
