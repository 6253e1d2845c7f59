"""What each listener wrote, read into the same terms: which pid, which name, which argument, whose."""

from __future__ import annotations

import json
import os
import pwd
import re
import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NOT_READ = {"unread", "inherited"}  # the source of a name that is not the program's
_EXTRACE = re.compile(r"(\d+)([+-]?) (?:<([^>]*)> )?(.*)")
_FORKSTAT = re.compile(r"\d\d:\d\d:\d\d exec +(\d+) +(.*)")
_FORKSTAT_EXTRA = re.compile(r"\d\d:\d\d:\d\d exec +(\d+) +(\S+) +(\S+) +(\S+) +(.*)")  # uid, euid, tty
_OVERRUN = re.compile(r"(\d+) messages of the kernel were lost")


class Report(NamedTuple):
    """What was said of one exec, or of one exit; None where nothing was."""

    pid: int
    is_exit: bool
    name: str | None
    argument: str | None
    uid: int | None
    time_ns: int | None = None  # CLOCK_REALTIME


class Told(NamedTuple):
    """All that a listener said."""

    reports: list[Report]
    own_lost: int | None = None  # by its own count
    can_tell_exit: bool = False
    can_tell_uid: bool = False


def from_extrace(output: Path, _errors: Path) -> Told:
    """Read `extrace -f`, with -t and -u or without."""
    reports = []
    has_exit = has_uid = False
    for line in output.read_text(errors="replace").splitlines():
        match = _EXTRACE.fullmatch(line)
        if match is None:
            continue
        pid, sign, user, rest = match.groups()
        if sign == "-" and " exited " not in rest:
            continue  # the end of a former program of the same process
        has_exit |= sign == "-"
        has_uid |= user is not None
        words = rest.split(" ")
        argument = words[1] if sign != "-" and len(words) > 1 else None
        reports.append(Report(int(pid), sign == "-", _base(words[0]), argument, _uid(user)))
    return Told(reports, can_tell_exit=has_exit, can_tell_uid=has_uid)


def from_forkstat(output: Path, _errors: Path) -> Told:
    """Read `forkstat -e exec`: the arguments, or the kernel's name where those could not be read."""
    return Told(list(_forkstat_lines(output, _FORKSTAT)))


def from_forkstat_extra(output: Path, _errors: Path) -> Told:
    """Read `forkstat -x -e exec`, which says the user too."""
    return Told(list(_forkstat_lines(output, _FORKSTAT_EXTRA)), can_tell_uid=True)


def _forkstat_lines(output: Path, pattern: re.Pattern[str]) -> Iterator[Report]:
    for line in output.read_text(errors="replace").splitlines():
        match = pattern.fullmatch(line)
        if match is not None:
            words = match.groups()[-1].split()
            user = match[3] if len(match.groups()) > 2 else None
            name = _base(words[0]) if words else None
            yield Report(int(match[1]), False, name, words[1] if len(words) > 1 else None, _uid(user))


def _base(word: str) -> str | None:
    name = os.path.basename(word.strip("'"))
    return None if name in {"", "<unknown>"} else name


def _uid(user: str | None) -> int | None:
    if user is None:
        return None
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def from_ndjson(output: Path, errors: Path) -> Told:
    """Read `watch --format ndjson`, and what it says on stderr of messages that were lost."""
    reports = []
    with output.open("rb") as lines:
        for line in lines:
            # The other events are many, and cannot name a program.
            if line.startswith((b'{"event":"exec"', b'{"event":"exit"')) and line.endswith(b"\n"):
                reports.append(_from_object(json.loads(line)))
    return Told(reports, lost_by(errors.read_text()), can_tell_exit=True, can_tell_uid=True)


def _from_object(event: dict[str, Any]) -> Report:
    cmdline = event["cmdline"] or []
    return Report(
        event["pid"],
        event["event"] == "exit",
        None if event["source"] in _NOT_READ else event["cmd"],
        cmdline[1] if len(cmdline) > 1 else None,
        event["uid"],
        round(datetime.fromisoformat(event["time"]).timestamp() * 1e6) * 1000,
    )


def lost_by(text: str) -> int:
    """Find what proc-cache says of lost messages: one sum at the end, or some numbers on the way."""
    lines = text.splitlines()
    sums = [int(match[1]) for line in lines if "overruns" in line and (match := _OVERRUN.search(line))]
    return sums[-1] if sums else sum(int(match[1]) for line in lines if (match := _OVERRUN.search(line)))


def from_history(file: Path, _errors: Path) -> Told:
    """Read a history that `--record` wrote: what was known at each exec, and in the end."""
    with sqlite3.connect(file) as database:
        reports = [
            Report(pid, False, _name(cmd, source), _argument(cmdline), None, time_ns)
            for pid, time_ns, cmd, source, cmdline in database.execute(
                "SELECT process.pid, time_ns, exec.cmd, exec.source, exec.cmdline "
                "FROM exec JOIN process ON process.id = exec.process"
            )
        ]
        reports += [
            Report(pid, True, _name(cmd, source), _argument(cmdline), uid, exit_ns)
            for pid, exit_ns, cmd, source, cmdline, uid in database.execute(
                "SELECT pid, exit_ns, cmd, source, cmdline, uid FROM process WHERE exit_ns IS NOT NULL"
            )
        ]
        (lost,) = database.execute("SELECT coalesce(sum(lost), 0) FROM loss").fetchone()
    return Told(reports, lost, can_tell_exit=True, can_tell_uid=True)


def _name(cmd: bytes, source: str) -> str | None:
    return None if source in _NOT_READ else cmd.decode(errors="replace")


def _argument(cmdline: bytes | None) -> str | None:
    words = (cmdline or b"").split(b"\0")
    return words[1].decode(errors="replace") if len(words) > 1 else None


def from_nothing(_output: Path, _errors: Path) -> Told:
    """Read nothing: of a listener that tells nothing of programs."""
    return Told([])
