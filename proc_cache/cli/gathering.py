"""What a command starts, gathered while it runs, and written as a tree when it has ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..engine.identity import is_same_start
from ..errors import ProcessHiddenError
from ..kernel.procfs import ProcReader
from ..process import decode_name
from ..service.facts import Told, ToldUsers
from ..service.family import Family
from ..service.following import Missed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..process import Process
    from ..render.style import Style
    from ..service.family import Member
    from ..service.following import Piece
    from .watch import WatchOptions


class Gathering:
    """Takes what it is shown, until it is done (`--count`, `--duration`)."""

    def __init__(self, options: WatchOptions) -> None:
        self.family = Family(os.getpid())
        self.is_done = False
        self._options = options
        self._left = options.count
        self._dropped = self._lost = 0
        self._users = ToldUsers()
        self._reader = ProcReader()

    def show(self, pieces: Iterable[Piece]) -> None:
        """Take the events among them."""
        for piece in pieces:
            if self.is_done:
                return
            if isinstance(piece, Told):
                self.family.take(piece)
                self._count(piece)
            elif isinstance(piece, Missed) and piece.is_lost:
                self._lost += piece.count
            elif isinstance(piece, Missed):
                self._dropped += piece.count

    def _count(self, told: Told) -> None:
        if self._left is not None and told.kind in self._options.events:
            self._left -= 1
            self.is_done = self._left <= 0

    def look_for_the_living(self) -> bool:
        """Look who of those whose end was not told is there; true where some are not, though no end was told."""
        unseen = False
        for member in self.family.members():
            if not member.node.exit_ns and not member.is_context:
                member.is_end_unseen = not self._is_there(member)
                unseen = unseen or member.is_end_unseen
        return unseen

    def _is_there(self, member: Member) -> bool:
        """Tell whether it still runs, and take over who has it now."""
        node = member.node
        try:
            stat = self._reader.stat(node.pid)
            if stat is None or stat.state == "Z" or not is_same_start(node.start_ns, stat.start_ns):
                return False
            if stat.ppid != node.ppid:
                node.adopter_pid = stat.ppid
                adopter = self._reader.stat(stat.ppid)
                member.adopter = None if adopter is None else decode_name(adopter.comm)
        except ProcessHiddenError:
            pass  # it is there, and not ours to look at
        return True

    def lines(self, style: Style, run_time_ns: int) -> Iterator[str]:
        """Draw the tree."""
        from ..render.command_tree import CommandTree

        return CommandTree(self.family, self._freeze, style, run_time_ns=run_time_ns, notes=self._notes()).lines()

    def document(self, status: int, run_time_ns: int) -> Iterator[str]:
        """Write the tree as one JSON document, piece by piece."""
        from ..render.json_tree import command_document

        head = {
            "command": self._options.command,
            "status": status,
            "run_time_s": run_time_ns / 1e9,
            "lost_events": self._lost,
            "dropped_events": self._dropped,
            "notes": self._notes(),
        }
        return command_document(self.family, self._freeze, head)

    def _freeze(self, member: Member) -> Process:
        return self._users.freeze_as_told(member.node, member.adopter)

    def _notes(self) -> list[str]:
        """Say what the tree may lack, and why."""
        notes = []
        if self._lost:
            notes.append(f"{self._lost:,} messages of the kernel were lost; processes or ends may be missing")
        if self._dropped:
            notes.append(
                f"{self._dropped:,} events came faster than they were read; processes or ends may be missing"
            )
        if self.is_done:
            notes.append("the watch ended before the command; what happened later is not told")
        if self.family.put_away:
            notes.append(
                f"{self.family.put_away:,} processes that had ended are counted by name alone, to bound memory"
            )
        if self._options.is_narrowed:
            notes.append("only what was asked for is counted; who started it stands above it, without figures")
        return notes
