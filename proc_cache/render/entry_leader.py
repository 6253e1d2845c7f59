"""How the processes of a chain came onto the machine: the leader of their session, and what let it in.

The words are those of Elastic's session view (`process.entry_leader.entry_meta.type`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..process import Process

_INIT_PID = 1
_RUNTIMES = ("containerd-shim", "runc", "conmon")
_SSHDS = ("sshd", "sshd-session")


class Entry(Record):
    """Which link of a chain is the entry, and its type."""

    place: int
    type: str


def entry_leader(links: Sequence[Process]) -> Entry | None:
    """Find the entry of a chain: the first leader of a session, upwards, whose parent is a way in.

    Where there is none it is the topmost leader, "unknown"; None for init, and where no leader is known.
    """
    leaders = [place for place, link in enumerate(links) if link.session == link.pid and link.pid != _INIT_PID]
    for place in leaders:
        way_in = _way_in(links[place], links[place + 1] if place + 1 < len(links) else None)
        if way_in is not None:
            return Entry(place, way_in)
    return Entry(leaders[-1], "unknown") if leaders else None


def _way_in(leader: Process, parent: Process | None) -> str | None:
    at_terminal = _at_terminal(leader)
    if at_terminal is not None:
        return at_terminal
    if leader.ppid == _INIT_PID:
        return "init"
    name = _name(leader)
    if parent is None or name.startswith(_RUNTIMES):
        return None
    above = _name(parent)
    if above in _SSHDS and name not in _SSHDS:
        return "sshd"
    if above == "ssm-session-worker":
        return "ssm"
    return "container" if above.startswith(_RUNTIMES) else None


def _at_terminal(leader: Process) -> str | None:
    terminal = terminal_of(leader) or ""
    if terminal.startswith("tty"):
        return "terminal"
    return "console" if terminal == "console" and _name(leader) == "login" else None


def terminal_of(process: Process) -> str | None:
    """Give its terminal as it is called in /dev: "" where it has none, None where that is not known."""
    return process.tty


def _name(process: Process) -> str:
    return process.full_name or process.cmd or ""
