"""`watch -- COMMAND`: runs it, tells what it starts, and closes with the tree of all that.

Its status is ours. Where the tree alone is wanted on a terminal, the command keeps that terminal; else stdout is
for what we tell, and what the command writes there goes to stderr.
"""

from __future__ import annotations

import os
import subprocess
import sys
from errno import EACCES, ENOENT, ENOEXEC
from typing import TYPE_CHECKING

from ..errors import EngineUnavailableError
from ..events import KINDS
from ..kernel.clocks import boottime_ns, deadline_s, left_s
from ..service import family
from ..service.following import ChildEnded
from . import exit_status
from .forwarding import SignalForwarding
from .gathering import Gathering
from .lines import Lines
from .searched import searched
from .terminal import abandon_stdout, flush, style, tell, write, write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..service.client import EngineClient
    from ..service.following import Following, Piece
    from .searched import Searched
    from .watch import WatchOptions

TREE_FORMS = ("tree", "json")  # nothing while the command runs, and all at its end
_STREAM_FORMS = ("ndjson", "ecs")  # events alone, for programs
_STREAM_FORMS = ("ndjson", "ecs")  # events alone, for programs
_TICK_S = 0.05
_LAST_WORDS_S = 1.0  # how long to wait for the next event of a command that has ended
_LAST_WORDS_MAX_S = 10.0  # and for all of them, where what it left behind goes on and on
_LATE_S = 0.1  # how long to wait for the ends of what is gone already


def run(client: EngineClient, options: WatchOptions) -> int:
    """Run the command and give its status, or the one by which a shell says that it cannot be run."""
    kinds = options.events if options.form in _STREAM_FORMS else options.events | family.KINDS
    names = tuple(name for name, kind in KINDS.items() if kind in kinds)
    with (
        client.events(names, options.selection, children_of=os.getpid(), is_whole=options.form == "ecs") as stream,
        SignalForwarding() as forwarding,
    ):
        began_ns = boottime_ns()
        try:
            child = subprocess.Popen(options.command, stdout=None if _keeps_its_terminal(options) else 2)
        except OSError as error:
            return _explain(options.command[0], error)
        forwarding.to(child)
        watch = _CommandWatch(options, searched(stream, options.pattern))
        watch.follow(child)
        ended_ns = boottime_ns()
        forwarding.write_from_the_background()
        watch.wait_for_last_words(child, ended_ns)
        status = child.returncode if child.returncode >= 0 else 128 - child.returncode
        watch.close(status, ended_ns - began_ns)
    return status


def _keeps_its_terminal(options: WatchOptions) -> bool:
    return options.form == "tree" and sys.stdout.isatty()


def _explain(program: str, error: OSError) -> int:
    """Say why it cannot be run; the status is what env(1), nice(1) and the shells end with then."""
    tell(f"cannot run {program or 'an empty name'}: {_reason(program, error)}")
    return exit_status.NOT_FOUND if error.errno == ENOENT or not program else exit_status.NOT_EXECUTABLE


def _reason(program: str, error: OSError) -> str:
    if error.errno == ENOENT and os.path.exists(program) and "/" in program:
        return "the interpreter that its first line names is not there"
    if error.errno == ENOENT or not program:
        return "there is no such program; check its name, or give its path"
    if error.errno == EACCES and os.path.isdir(program):
        return "it is a directory"
    if error.errno == EACCES:
        return "it may not be executed by this user; for a script of yours, chmod +x it"
    if error.errno == ENOEXEC:
        return "it is no program; a script has to begin with a line like #!/bin/sh"
    return error.strerror or str(error)


class _CommandWatch:
    """Takes what is told while the command runs: to the lines, and to the tree."""

    def __init__(self, options: WatchOptions, following: Following | Searched) -> None:
        self._following = following
        self._form = options.form
        self._deadline = deadline_s(options.duration_s) if options.duration_s is not None else None
        self._lines: Lines | None = None
        if self._form not in TREE_FORMS:
            self._lines = Lines(self._form, options.count, options.events)
        self._gathering = None if self._form in _STREAM_FORMS else Gathering(options)
        self._ended: set[int] = set()  # children of ours
        self._is_told = True

    def follow(self, child: subprocess.Popen[bytes]) -> None:
        """Take what is told until the command has ended."""
        while self._is_told and child.poll() is None:
            self._take(_TICK_S)
        child.wait()

    def wait_for_last_words(self, child: subprocess.Popen[bytes], ended_ns: int) -> None:
        """Take what happened until the command's end, and is told behind it; then look who is left."""
        last, next_one = deadline_s(_LAST_WORDS_MAX_S), deadline_s(_LAST_WORDS_S)
        while self._is_told and child.pid not in self._ended and left_s(next_one) and left_s(last):
            if self._take(min(left_s(next_one), left_s(last))):
                next_one = deadline_s(_LAST_WORDS_S)
        if self._gathering is not None:
            self._wait_for_late_ends(self._gathering)
            self._gathering.family.end(child.pid, _wait_status(child.returncode), ended_ns)

    def _wait_for_late_ends(self, gathering: Gathering) -> None:
        late = deadline_s(_LATE_S)
        while gathering.look_for_the_living() and self._is_told and not gathering.is_done and left_s(late):
            self._take(left_s(late))

    def _take(self, timeout_s: float) -> bool:
        """Take what has come; true where something has."""
        if self._deadline is not None and not left_s(self._deadline):
            self._stop()
        try:
            pieces = list(self._following.take(timeout_s))
        except EngineUnavailableError as error:
            tell(f"{error}; the command goes on, and nothing more is told of it")
            self._is_told = False
            return False
        self._ended.update(piece.pid for piece in pieces if isinstance(piece, ChildEnded))
        if self._gathering is not None:
            self._gathering.show(pieces)
        if self._lines is not None:
            self._show(self._lines, pieces)
        return bool(pieces)

    def _stop(self) -> None:
        for shown in (self._lines, self._gathering):
            if shown is not None:
                shown.is_done = True

    def _show(self, lines: Lines, pieces: list[Piece]) -> None:
        """Show beside the command, which goes on when nobody reads us any more, or there is no room."""
        try:
            lines.show(pieces)
        except BrokenPipeError:
            lines.is_done = True
            abandon_stdout()
        except OSError as error:
            lines.is_done = True
            abandon_stdout()
            tell(f"{error.strerror or error}: the command goes on, and nothing more is written of it")

    def close(self, status: int, run_time_ns: int) -> None:
        """Write the tree."""
        gathering = self._gathering
        if gathering is None:
            return
        if not self._is_told:
            gathering.is_done = True
        try:
            if self._form == "json":
                sys.stdout.writelines(gathering.document(status, run_time_ns))
            elif self._form == "tree":
                if sys.stdout.isatty():
                    write("")  # what the command wrote last may not have ended its line
                write_lines(gathering.lines(style(), run_time_ns))
            else:
                _write_beside(gathering.lines(style(sys.stderr), run_time_ns))
            flush()
        except BrokenPipeError:
            abandon_stdout()  # its status is still the answer
        except OSError as error:
            abandon_stdout()
            tell(f"{error.strerror or error}: the tree could not be written; make room, or write it elsewhere")


def _wait_status(returncode: int) -> int:
    """Give the wait status word for what subprocess says."""
    return returncode << 8 if returncode >= 0 else -returncode


def _write_beside(lines: Iterable[str]) -> None:
    sys.stderr.write("\n")
    sys.stderr.writelines(f"{line}\n" for line in lines)
    sys.stderr.flush()
