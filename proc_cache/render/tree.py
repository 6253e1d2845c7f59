"""Processes drawn as a tree: a chain from its root down, or all that is there."""

from __future__ import annotations

from ..entry import CONTAINER, DESKTOP, KERNEL, LOGIN, SERVICE, TIMER
from ..process import Source
from ..times import day, duration
from .chain import UNKNOWN
from .escape import escape
from .style import BOLD, DIM, RED, Style, columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ..entry import Entry
    from ..lineage import Placed
    from ..process import Process
    from ..query import Chain


_INDENTED_MAX = 60  # a chain that is deeper goes straight down from there


def draw_chain(chain: Chain, style: Style, *, is_wide: bool = False) -> str:
    """Draw an ancestry, the root on top, the asked process last."""
    lines = []
    if chain.missing_pid is not None:
        lines.append(f"{chain.missing_pid} {style(DIM, UNKNOWN)}")
    elif not chain.complete and (not chain.links or chain.links[-1].ppid not in (0, chain.links[-1].pid)):
        lines.append(style(DIM, UNKNOWN))
    parent: Process | None = None
    for link in reversed(chain.links):
        if link.generations_left_out:
            lines.append(style(DIM, f"... {link.generations_left_out} generations left out ..."))
            parent = None
        used = len(_branch(len(lines)))
        is_asked = link is chain.links[0]
        lines.append(describe(link, style, used, parent=parent, is_asked=is_asked, is_dated=True, is_wide=is_wide))
        parent = link
    return "\n".join(_branch(depth) + line for depth, line in enumerate(lines))


_ENTRIES = {
    CONTAINER: "a container runtime",
    DESKTOP: "a desktop session",
    KERNEL: "the kernel",
    LOGIN: "login on a terminal",
    SERVICE: "a systemd service",
    TIMER: "a systemd timer",
}


def draw_entry(entry: Entry) -> str:
    """Say how a chain was entered: `entered by cron (1180 cron)`."""
    words = _ENTRIES.get(entry.kind, entry.kind)
    if entry.unit is not None:
        unit = entry.unit.removesuffix(".service") + ".timer" if entry.kind == TIMER else entry.unit
        words += f", {escape(unit)}"
    return f"entered by {words} ({entry.pid} {UNKNOWN if entry.cmd is None else escape(entry.cmd)})"


def _branch(depth: int) -> str:
    return "" if depth == 0 else "   " * (min(depth, _INDENTED_MAX) - 1) + "└─ "


def draw_forest(processes: Sequence[Process], style: Style, *, is_wide: bool = False) -> Iterator[str]:
    """Draw all processes, each below its parent; one whose parent is not among them stands at the left."""
    children: dict[int, list[Process]] = {}
    roots = []
    owners: dict[int, list[Process]] = {}
    for process in processes:
        owners.setdefault(process.pid, []).append(process)
    for process in processes:
        parent = _drawn_parent(process, owners)
        if parent is None:
            roots.append(process)
        else:
            children.setdefault(id(parent), []).append(process)
    drawn: set[int] = set()
    # Who is under nobody first; then what is left: a circle, which reused pids can make within one clock tick.
    for root in [*roots, *processes]:
        if id(root) not in drawn:
            for branch, process, _ in _walk_below(root, children, drawn):
                yield branch + describe(process, style, len(branch), is_wide=is_wide)


def draw_lineages(
    placed: Sequence[Placed], asked: Collection[int], style: Style, *, is_wide: bool = False
) -> Iterator[str]:
    """Draw the processes of these places and what is above them, each below who bore it, whoever adopted it since.

    What is there only because it is above another stands in parentheses, and dimmed.
    """
    by_place = {one.place: one for one in placed}
    above = {one.place: one.above for one in placed}
    kept: set[int] = set()
    for place in asked:
        current: int | None = place
        while current is not None and current not in kept:
            kept.add(current)
            current = above[current]
    children: dict[int, list[Process]] = {}
    roots: list[Process] = []
    shown = [one for one in placed if one.place in kept]
    for one in shown:
        family = roots if one.above is None else children.setdefault(id(by_place[one.above].process), [])
        family.append(one.process)
    ids = {id(by_place[place].process) for place in asked}
    drawn: set[int] = set()
    for root in [*roots, *(one.process for one in shown)]:  # those in a circle are under no root
        if id(root) not in drawn:
            for branch, process, parent in _walk_below(root, children, drawn):
                yield branch + _describe_in_lineage(
                    process, parent, style, len(branch), is_asked=id(process) in ids, is_wide=is_wide
                )


def _describe_in_lineage(  # noqa: PLR0913
    process: Process, parent: Process | None, style: Style, used: int, *, is_asked: bool, is_wide: bool
) -> str:
    gap = process.generations_left_out
    left_out = f"... {gap} generations left out ... " if gap else ""
    used += len(left_out)
    text = describe(
        process, style, used, parent=parent, is_asked=is_asked, is_context=not is_asked, is_wide=is_wide
    )
    return style(DIM, left_out) + text


def _walk_below(
    root: Process, children: dict[int, list[Process]], drawn: set[int]
) -> Iterator[tuple[str, Process, Process | None]]:
    """Give a process and all below it: each with the branch that leads to it, and who it is drawn below."""
    # A stack, not recursion: a ladder of processes may be deeper than Python's stack.
    stack: list[tuple[Process, Process | None, str, str]] = [(root, None, "", "")]
    while stack:
        process, parent, branch, below = stack.pop()
        drawn.add(id(process))
        yield branch, process, parent
        family = [child for child in children.get(id(process), []) if id(child) not in drawn]
        for index in range(len(family) - 1, -1, -1):
            is_last = index == len(family) - 1
            end, more = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
            stack.append((family[index], process, below + end, below + more))


def _drawn_parent(process: Process, owners: dict[int, list[Process]]) -> Process | None:
    """Find who it is drawn below: who adopted it, or bore it; not one that was not there when it started."""
    for pid in (process.current_ppid, process.ppid):
        for parent in owners.get(pid or 0, ()):
            if parent is not process and _was_there(parent, process.start_time_ns or 0):
                return parent
    return None


def _was_there(process: Process, time_ns: int) -> bool:
    if (process.start_time_ns or 0) > time_ns:
        return False
    return process.exit_time_ns is None or process.exit_time_ns >= time_ns


def describe(  # noqa: PLR0913
    process: Process,
    style: Style,
    used: int = 0,
    *,
    parent: Process | None = None,
    is_asked: bool = False,
    is_context: bool = False,
    is_dated: bool = False,
    is_wide: bool = False,
) -> str:
    """Write one process on one line: pid, names, user, its life, its parents, its arguments as far as they fit.

    `parent` is the birth parent, to say what became of it where another one adopted this process. What is context
    alone, to something below it, is told from that without colour too.
    """
    name = f"{process.pid} {_names(process)}"
    words = [(BOLD if is_asked else "", name), (DIM, f"({_user(process)})")]
    if is_context:
        words[0] = (DIM, f"({name})")
    life = _life(process, is_dated=is_dated)
    if life:
        words.append((RED if process.exit_status and not is_context else DIM, f"[{life}]"))
    if process.current_ppid not in (process.ppid, None):
        words.append((DIM, f"[{_adoption(process, parent)}]"))
    place = _place(process) if is_wide else ""
    if place:
        words.append((DIM, f"[{place}]"))
    if process.ns_pids is not None and len(process.ns_pids) > 1:
        words.append((DIM, f"[{'/'.join(map(str, process.ns_pids[1:]))} in its PID namespace]"))
    used += sum(columns(word) + 1 for _, word in words)
    words.append((DIM, style.cut(command_line(process), used)))
    return " ".join(style(sgr, word) if sgr else word for sgr, word in words if word)


def _names(process: Process) -> str:
    """Write its name, after those it had before it ran its last program."""
    name = UNKNOWN if process.cmd is None else escape(process.cmd)
    if process.source == Source.UNREAD and process.cmd is not None:
        name += "?"
    return " -> ".join([*map(escape, process.former_cmds), name])


def _life(process: Process, *, is_dated: bool) -> str:
    """Write when it started and how it ended; empty where nothing is to be said."""
    if process.is_alive:
        return f"since {_date(process)}" if is_dated and process.start_time_ns else ""
    if is_dated and process.start_time_ns:
        return f"{_date(process)}, {ending_and_run_time(process)}"
    return ending_and_run_time(process)


def _date(process: Process) -> str:
    return day(process.start_time_ns or 0, process.booted_ns)


def _place(process: Process) -> str:
    """Write where it belongs, as far as that is known and somewhere."""
    words = [escape(word) for word in (process.unit, process.container, process.tty) if word]
    if process.session:
        words.append(f"session {process.session}")
    return ", ".join(words)


def _adoption(process: Process, parent: Process | None) -> str:
    """Tell both parents: who bore it and what became of that one, and who has it since."""
    born_of = str(process.ppid)
    if parent is not None and parent.pid == process.ppid:
        born_of = f"{parent.pid} {UNKNOWN if parent.cmd is None else escape(parent.cmd)}"
        if not parent.is_alive:
            born_of += f", which {_past(parent)}"
    adopter = str(process.current_ppid)
    if process.current_parent is not None:
        adopter += f" {escape(process.current_parent)}"
    separator = ";" if "," in born_of else ","
    return f"born of {born_of}{separator} adopted by {adopter}"


def _past(process: Process) -> str:
    """Say how a process ended, as the end of a sentence."""
    if process.exit_status is None:
        return "ended"
    verb = f"exited {process.exit_code}" if process.signal is None else f"was killed by signal {process.signal}"
    return verb if process.run_time_ns is None else f"{verb} after {duration(process.run_time_ns)}"


def ending(process: Process) -> str:
    """Say how a process ended."""
    if process.is_alive is None:
        return "end not recorded"
    if process.exit_status is None:
        return "ended"
    if process.signal is not None:
        return f"signal {process.signal}" + (", core dumped" if process.is_core_dumped else "")
    return f"exit {process.exit_code}"


def ending_and_run_time(process: Process) -> str:
    """Say how a process ended and, where both times are known, after how long."""
    run_time_ns = process.run_time_ns
    return ending(process) if run_time_ns is None else f"{ending(process)} after {duration(run_time_ns)}"


def command_line(process: Process) -> str:
    """Write the arguments on one line, each escaped; empty where they are not known."""
    arguments = process.cmdline or ()
    return " ".join(escape(argument.decode("utf-8", "surrogateescape")) for argument in arguments)


def _user(process: Process) -> str:
    user = UNKNOWN if process.user is None else escape(process.user)
    if process.birth_user in (process.user, None):
        return user
    return f"{user}, born as {escape(process.birth_user or '')}"
