"""What a command started, drawn at its end: a summary, what failed, what still runs, and the tree of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..process import Source, known_name
from ..service.family import Member
from ..times import clock, duration
from .chain import UNKNOWN
from .escape import escape
from .folding import SHOWN_MAX, FoldRow, Row, fold_rows
from .style import BOLD, DIM, RED, columns
from .tree import command_line, ending, ending_and_run_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..process import Node, Process
    from ..service.family import Family, Fold
    from .style import Style

FAILED = "✗"  # where there is no colour
_CHAIN_MAX = 8  # links of a chain that are named
_KIB = 1024
_WIDTHS = (8, 8, 8)  # of run time, CPU time, memory


class CommandTree:
    """Draws one. `freeze` gives the facts of a process with its user's name; `notes` say what may be missing."""

    def __init__(
        self,
        family: Family,
        freeze: Callable[[Member], Process],
        style: Style,
        *,
        run_time_ns: int,
        notes: Sequence[str] = (),
    ) -> None:
        self._family = family
        self._run_time_ns = run_time_ns
        self._notes = notes
        self._style = style
        self._freeze = freeze
        members = list(family.members())
        self._failed = _most_telling_first(family, [each for each in members if each.node.exit_status])
        self._running = [each for each in members if each.is_running()]
        self._has_costs = family.with_cost > 0

    def lines(self) -> Iterator[str]:
        """Give it line by line, each as wide as the style has it."""
        yield self._cut(self._summary())
        for note in self._notes:
            yield self._cut(f"note: {escape(note)}")
        failed, running = self._failed[:SHOWN_MAX], self._running[:SHOWN_MAX]
        if failed:
            yield ""
            for member in sorted(failed, key=lambda each: each.node.exit_ns):
                yield from self._failure(member)
            yield from self._more(self._family.failed - len(failed), "failed")
        if running:
            yield ""
            for member in running:
                yield from self._survivor(member)
            yield from self._more(len(self._running) - len(running), "still running")
        if self._family.count:
            yield ""
            yield from self._tree([*failed, *running])

    def _summary(self) -> str:
        family = self._family
        words = [
            counted(family.count, "process", "processes"),
            f"{family.failed:,} failed" if family.failed else "none failed",
        ]
        if self._running:
            words.append(f"{len(self._running):,} still running")
        words.append(duration(self._run_time_ns))
        if self._has_costs:
            at_least = "" if family.with_cost == family.count else "at least "
            words.append(f"cpu {at_least}{duration(family.cpu_us * 1000)}")
        if family.largest is not None and family.max_rss_bytes:
            words.append(f"peak {size(family.max_rss_bytes)} ({_name(family.largest)})")
        return ", ".join(words)

    def _failure(self, member: Member) -> Iterator[str]:
        process = self._freeze(member)
        yield self._line(RED, f"{FAILED} ", _what(process, with_pid=True))
        when = ending_and_run_time(process)
        if process.exit_time_ns:
            when += f", at {clock(process.exit_time_ns, process.booted_ns)}"
        yield self._line(DIM, "    ", f"{when}{_started_by(member)}")

    def _survivor(self, member: Member) -> Iterator[str]:
        process = self._freeze(member)
        yield self._line(BOLD, "  ", _what(process, with_pid=True))
        yield self._line(DIM, "    ", f"{_still_running(process)}{_started_by(member)}")

    def _more(self, count: int, what: str) -> Iterator[str]:
        if count > 0:
            yield self._line(DIM, "  ", f"and {count:,} more {what}, in the tree")

    def _tree(self, shown: list[Member]) -> Iterator[str]:
        rows, left_out = fold_rows(self._family, shown)
        yield self._line(DIM, "  ", self._columns("time", "cpu", "memory").rstrip())
        for row in rows:
            yield self._member(row.branch, row.of) if not isinstance(row.of, FoldRow) else self._fold(row)
        if left_out:
            yield self._cut(f"  {left_out:,} more processes are not drawn; --format json has them all")

    def _member(self, branch: str, member: Member) -> str:
        process = self._freeze(member)
        if member.left_out:
            branch += f"...{member.left_out} left out... "
        if member.is_context:
            return self._line(DIM, "  " + self._columns("", "", "") + branch, f"{process.pid} {_cmd(process)}")
        cost = process.cost
        figures = self._columns(
            "" if process.run_time_ns is None else duration(process.run_time_ns),
            "" if cost is None else duration(cost.cpu_us * 1000),
            "" if cost is None else size(cost.max_rss_bytes),
        )
        words = f"{process.pid} {self._remark(member, process)}"
        if process.exit_status:
            return self._line(RED, f"{FAILED} ", f"{figures}{branch}{words}{_what(process)}")
        return self._line("", "  ", f"{figures}{branch}{words}{_what(process)}")

    def _remark(self, member: Member, process: Process) -> str:
        """Say what is unusual about its end, and whose it is, where that is another's than above."""
        words = ""
        if member.is_running():
            # Who has them is told above the tree, as long as they are few.
            words += "[still running] " if len(self._running) <= SHOWN_MAX else f"[{_still_running(process)}] "
        elif member.is_end_unseen:
            words += "[its end was not seen] "
        elif process.exit_status:
            words += f"[{ending(process)}] "
        parent = member.parent
        if parent is not None and parent.node.pid and parent.parent and parent.node.uid != member.node.uid:
            words += f"({UNKNOWN if process.user is None else escape(process.user)}) "
        return words

    def _fold(self, row: Row) -> str:
        assert isinstance(row.of, FoldRow)
        fold = row.of.fold
        name = "others" if row.of.name is None else escape(row.of.name)
        if row.of.others:
            name = f"others ({', '.join(UNKNOWN if each is None else escape(each) for each in row.of.others)})"
        text = f"{fold.count:,} x {name}"
        text += f"  {fold.failed:,} failed" if fold.failed else ""
        text += f"  {fold.unended:,} not ended" if fold.unended else ""
        text += f"  total {duration(fold.total_ns)}  longest {duration(fold.longest_ns)}{self._longest(fold)}"
        cpu, memory = _fold_cost(fold)
        figures = self._columns("", cpu, memory)
        return self._line(
            RED if fold.failed else "", f"{FAILED if fold.failed else ' '} ", figures + row.branch + text
        )

    def _longest(self, fold: Fold) -> str:
        """Write what the one ran that ran longest, where that is more than its name."""
        if fold.longest is None:
            return ""
        process = self._freeze(Member(fold.longest, None))
        words = "" if process.source == Source.INHERITED else command_line(process)
        return f": {words}" if words else ""

    def _columns(self, run_time: str, cpu: str, memory: str) -> str:
        cells = (run_time, cpu, memory) if self._has_costs else (run_time,)
        return "".join(f"{cell:>{width}} " for cell, width in zip(cells, _WIDTHS, strict=False)) + " "

    def _line(self, sgr: str, head: str, text: str) -> str:
        cut = self._style.cut(text, columns(head))
        return self._style(sgr, head + cut) if sgr else head + cut

    def _cut(self, text: str) -> str:
        return self._style.cut(text, 0)


def counted(count: int, one: str, several: str) -> str:
    """Write how many."""
    return f"{count:,} {one if count == 1 else several}"


def size(count: int) -> str:
    """Write so many bytes as a person says it: 830 KiB, 12 MiB, 1.2 GiB."""
    amount = count / _KIB
    for unit in ("KiB", "MiB"):
        if amount < 999.5:
            return f"{amount:.{1 if amount < 9.95 else 0}f} {unit}"
        amount /= _KIB
    return f"{amount:.1f} GiB"


def _most_telling_first(family: Family, failed: list[Member]) -> list[Member]:
    """Sort what failed: first that of which all above failed too, up to the command; of those the last ones."""
    leading: set[Member] = set()
    for member in failed:  # each after its parent
        if member.parent is family.top or member.parent in leading:
            leading.add(member)
    return sorted(failed, key=lambda member: (member not in leading, -member.node.exit_ns))


def _what(process: Process, *, with_pid: bool = False) -> str:
    """Write what it ran: the command line, or the name where that is all that is known."""
    head = f"{process.pid} " if with_pid else ""
    if process.source == Source.INHERITED:
        return f"{head}fork of {_cmd(process)}"
    return head + (command_line(process) or _cmd(process))


def _cmd(process: Process) -> str:
    if process.cmd is None:
        return UNKNOWN
    return escape(process.cmd) + ("?" if process.source == Source.UNREAD else "")


def _name(node: Node) -> str:
    name = known_name(node)
    return UNKNOWN if name is None else escape(name)


def _still_running(process: Process) -> str:
    if process.current_ppid in (process.ppid, None):
        return "still running"
    adopter = f" {escape(process.current_parent)}" if process.current_parent is not None else ""
    return f"still running, under {process.current_ppid}{adopter} now"


def _started_by(member: Member) -> str:
    """Write who started it, up to the command."""
    names = []
    current = member.parent
    left_out = member.left_out
    while current is not None and current.parent is not None:
        if left_out:
            names.append(f"{left_out} left out")
        names.append(f"{current.node.pid} {_name(current.node)}")
        left_out, current = current.left_out, current.parent
    if len(names) > _CHAIN_MAX:
        between = len(names) - _CHAIN_MAX + 1
        names[_CHAIN_MAX // 2 : _CHAIN_MAX // 2 + between] = [f"{between} more"]
    return f"; started by {', '.join(names)}" if names else ""


def _fold_cost(fold: Fold) -> tuple[str, str]:
    if not fold.max_rss_bytes and not fold.cpu_us:
        return "", ""
    return duration(fold.cpu_us * 1000), size(fold.max_rss_bytes)
