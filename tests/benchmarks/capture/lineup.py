"""The listeners that are compared: what each is run as, and whether it can be run here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import reports
from .listeners import EngineListener, Listener, LiveListener, NoListener, PipedListener, Place
from .storms import NOBODY_UID

if TYPE_CHECKING:
    from collections.abc import Callable

    from .storms import Workshop

NOBODY = "proc-cache nobody"
LINES_OF_NOBODY = "proc-cache lines nobody"
NO_LISTENER = "no listener"
RECEIVER = "C recv"
ENGINE = "proc-cache serve"
_WATCH = ["-m", "proc_cache", "watch", "--format"]


@dataclass(frozen=True)
class Kind:
    """One way to listen."""

    name: str
    what: str
    make: Callable[[Place], Listener]
    needs: tuple[str, ...] = ()  # programs


def _live(place: Place, *options: str) -> Listener:
    return LiveListener(place, [sys.executable, *_WATCH, "live", *options])


def _live_of_nobody(place: Place) -> Listener:
    return LiveListener(place, [*_command_of_nobody(place), *_WATCH, "live"])


def _engine(place: Place) -> Listener:
    return EngineListener(place, [sys.executable, "-m", "proc_cache", "serve"], reports.from_nothing)


def _lines(place: Place) -> Listener:
    return PipedListener(place, [sys.executable, *_WATCH, "ndjson"], reports.from_ndjson)


def _lines_of_nobody(place: Place) -> Listener:
    return PipedListener(place, [*_command_of_nobody(place), *_WATCH, "ndjson"], reports.from_ndjson)


def _command_of_nobody(place: Place) -> list[str]:
    """Give the command of an interpreter that runs as nobody, who may write into the place.

    Nobody may be unable to read the interpreter where it is: it is seen through a mount of this process alone.
    """
    mount = place.directory / "python"
    mount.mkdir()
    os.chown(place.directory, NOBODY_UID, NOBODY_UID)
    interpreter = mount / os.path.relpath(os.path.realpath(sys.executable), sys.base_prefix)
    script = 'mount --bind "$1" "$2" && export LD_LIBRARY_PATH="$2/lib" PYTHONPATH="$3" && shift 3 && exec "$@"'
    return [
        *("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", sys.base_prefix, str(mount)),
        os.pathsep.join(filter(os.path.isdir, sys.path)),
        *("setpriv", "--reuid", str(NOBODY_UID), "--regid", str(NOBODY_UID), "--clear-groups", str(interpreter)),
    ]


def _extrace(place: Place, *options: str) -> Listener:
    return Listener(place, ["extrace", "-f", *options], reports.from_extrace)


def _forkstat(place: Place, *options: str) -> Listener:
    read = reports.from_forkstat_extra if "-x" in options else reports.from_forkstat
    return Listener(place, ["forkstat", "-l", "-e", "exec", *options], read)


LINEUP = {
    kind.name: kind
    for kind in (
        Kind(NO_LISTENER, "the storm alone", NoListener),
        Kind("proc-cache", "watch --format live --record, on a terminal", _live, ("tmux",)),
        Kind("proc-cache --no-realtime", "the same", lambda place: _live(place, "--no-realtime"), ("tmux",)),
        Kind(NOBODY, "the same as nobody", _live_of_nobody, ("tmux", "setpriv", "unshare")),
        Kind(ENGINE, "the engine alone: nobody watches, nothing is recorded", _engine),
        Kind("proc-cache lines", "watch --format ndjson | cat", _lines),
        Kind(LINES_OF_NOBODY, "the same as nobody", _lines_of_nobody, ("setpriv", "unshare")),
        Kind("extrace", "extrace -f", _extrace, ("extrace",)),
        Kind("extrace -tu", "with exits and users", lambda place: _extrace(place, "-t", "-u"), ("extrace",)),
        Kind("forkstat", "forkstat -l -e exec", _forkstat, ("forkstat",)),
        Kind("forkstat -r", "the same with -r", lambda place: _forkstat(place, "-r"), ("forkstat",)),
        Kind("forkstat -rx", "and with users", lambda place: _forkstat(place, "-r", "-x"), ("forkstat",)),
        Kind(
            RECEIVER,
            "a loop around recv(), for kernel-max and the floods",
            lambda place: Listener(place, [str(place.workshop.receiver)], reports.from_nothing),
        ),
    )
}


def why_not(kind: Kind, workshop: Workshop) -> str | None:
    """Say why a listener cannot be run here, if so."""
    missing = [program for program in kind.needs if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    if kind.name not in (NOBODY, LINES_OF_NOBODY):
        return None
    with tempfile.TemporaryDirectory(dir=workshop.directory) as name:
        place = Place(Path(name), workshop, ())
        command = [*_command_of_nobody(place), "-m", "proc_cache", "--version"]
        tried = subprocess.run(command, env=os.environ | place.settings(), cwd="/", capture_output=True, text=True)
    return f"it cannot be run as nobody: {tried.stderr.strip()[-200:]}" if tried.returncode else None
