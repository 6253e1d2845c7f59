"""Processes drawn as a tree: a chain from its root down, or all that is there."""

from __future__ import annotations

from ..process import Source
from .chain import UNKNOWN
from .escape import escape
from .style import BOLD, DIM, RED, Style, columns
from .times import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..process import Process
    from ..query import Chain


def draw_chain(chain: Chain, style: Style) -> str:
    """Draw an ancestry, the root on top, the asked process last."""
    lines = []
    if chain.missing_pid is not None:
        lines.append(f"{chain.missing_pid} {style(DIM, UNKNOWN)}")
    elif not chain.complete:
        lines.append(style(DIM, UNKNOWN))
    for link in reversed(chain.links):
        if link.generations_left_out:
            lines.append(style(DIM, f"... {link.generations_left_out} generations left out ..."))
        lines.append(describe(link, style, len(_branch(len(lines))), is_asked=link is chain.links[0]))
    return "\n".join(_branch(depth) + line for depth, line in enumerate(lines))


def _branch(depth: int) -> str:
    return "" if depth == 0 else "   " * (depth - 1) + "└─ "


def draw_forest(processes: Sequence[Process], style: Style) -> Iterator[str]:
    """Draw all processes, each below its parent; one whose parent is not among them stands at the left."""
    children: dict[int, list[Process]] = {}
    roots = []
    owners = {process.pid: process for process in processes}
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
            yield from _draw_below(root, children, style, drawn)


def _draw_below(root: Process, children: dict[int, list[Process]], style: Style, drawn: set[int]) -> Iterator[str]:
    # A stack, not recursion: a ladder of processes may be deeper than Python's stack.
    stack = [(root, "", "")]
    while stack:
        process, branch, below = stack.pop()
        drawn.add(id(process))
        yield branch + describe(process, style, len(branch))
        family = [child for child in children.get(id(process), []) if id(child) not in drawn]
        for index in range(len(family) - 1, -1, -1):
            is_last = index == len(family) - 1
            stack.append(
                (family[index], below + ("└─ " if is_last else "├─ "), below + ("   " if is_last else "│  "))
            )


def _drawn_parent(process: Process, owners: dict[int, Process]) -> Process | None:
    """Find who it is drawn below: not a younger process that has the parent's pid by now."""
    parent = owners.get(process.current_ppid or 0)
    if parent is None or parent is process or (parent.start_time_ns or 0) > (process.start_time_ns or 0):
        return None
    return parent


def describe(process: Process, style: Style, used: int = 0, *, is_asked: bool = False) -> str:
    """Write one process on one line: pid, name, user, how it ended, its arguments as far as they fit."""
    name = UNKNOWN if process.cmd is None else escape(process.cmd)
    if process.source == Source.UNREAD and process.cmd is not None:
        name += "?"
    words = [(BOLD if is_asked else "", f"{process.pid} {name}"), (DIM, f"({_user(process)})")]
    if not process.is_alive:
        words.append((RED if process.exit_status else DIM, f"[{ending(process)}]"))
    if process.current_ppid not in (process.ppid, None):
        words.append((DIM, f"[born of {process.ppid}, adopted by {process.current_ppid}]"))
    used += sum(columns(word) + 1 for _, word in words)
    words.append((DIM, style.cut(command_line(process), used)))
    return " ".join(style(sgr, word) if sgr else word for sgr, word in words if word)


def ending(process: Process) -> str:
    """Say how a process ended."""
    if process.exit_status is None:
        return "ended"
    if process.signal is not None:
        return f"signal {process.signal}" + (", core dumped" if process.is_core_dumped else "")
    return f"exit {process.exit_code}"


def ending_and_run_time(process: Process) -> str:
    """Say how a process ended and, where both times are known, after how long."""
    if process.exit_time_ns is None or process.start_time_ns is None:
        return ending(process)
    return f"{ending(process)} after {duration(process.exit_time_ns - process.start_time_ns)}"


def command_line(process: Process) -> str:
    """Write the arguments on one line, each escaped; empty where they are not known."""
    arguments = process.cmdline or ()
    return " ".join(escape(argument.decode("utf-8", "surrogateescape")) for argument in arguments)


def _user(process: Process) -> str:
    return UNKNOWN if process.user is None else escape(process.user)
