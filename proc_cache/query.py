"""The questions: pure functions over a view, to frozen results.

A walk goes from a process to its birth parent, and on, until PID 1 or 2 (ppid 0), a process whose parent is
not known, or one that was there before (a cycle can only be made by hand).
"""

from __future__ import annotations

from .errors import ProcessHiddenError
from .process import COMM_MAX_BYTES, Process, is_name_certain, split_cmdline
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine.view import View
    from .process import Node


class Walk(Record):
    """The nodes from a process up to its root, and why it ends where it does (None: at the root)."""

    nodes: tuple[Node, ...]
    reason: str | None
    missing_pid: int | None  # the process that should have been next
    is_hidden: bool = False  # /proc refuses to show the asked process to this user


class Chain(Record):
    """The ancestry of one process, itself first. `reason` is None where it is complete."""

    pid: int
    complete: bool
    reason: str | None
    lost_events: int
    links: tuple[Process, ...]
    missing_pid: int | None
    is_hidden: bool


class Descent(Record):
    """Whether a process, or an ancestor of it, has a name. None is "cannot tell", and `reason` says why."""

    pid: int
    cmd: str
    descendant: bool | None
    reason: str | None
    match: Process | None
    matched_by: str | None  # "cmd", or the argument that gave a name longer than the kernel's: "argv[0]"
    chain: Chain


def walk(view: View, pid: int) -> Walk:
    """Follow the parents of a process. No nodes: nobody is known by this pid."""
    try:
        node = view.find(pid)
    except ProcessHiddenError as error:
        return Walk((), str(error), pid, is_hidden=True)
    if node is None:
        return Walk((), f"no process {pid} is known", pid)
    return walk_from(view, node)


def walk_from(view: View, node: Node) -> Walk:
    """Follow the parents of a process that was found already."""
    nodes: list[Node] = []
    seen: set[int] = set()
    while id(node) not in seen:
        seen.add(id(node))
        nodes.append(node)
        parent = view.parent(node)
        if parent is None:
            return Walk(tuple(nodes), *_why_it_ends(node))
        node = parent
    return Walk(tuple(nodes), None, None)


def _why_it_ends(node: Node) -> tuple[str | None, int | None]:
    if node.ppid in (0, node.pid):
        return None, None
    if node.ppid is None:
        return f"the parent of {node.pid} is not known: its birth was not seen", None
    return (
        f"{node.ppid}, the parent of {node.pid}, ended before proc-cache looked, or is hidden",
        node.ppid,
    )


def chain(view: View, pid: int) -> Chain:
    """Give the ancestry of a process, with all that is known of each link."""
    return _freeze(view, pid, walk(view, pid))


def _freeze(view: View, pid: int, walked: Walk) -> Chain:
    nodes = walked.nodes
    reason = walked.reason or _what_is_left_out(nodes)
    return Chain(
        pid=pid,
        complete=bool(nodes) and reason is None,
        reason=reason,
        lost_events=view.lost_events(nodes[0]) if nodes else 0,
        links=tuple(view.describe(node) for node in nodes),
        missing_pid=walked.missing_pid,
        is_hidden=walked.is_hidden,
    )


def _what_is_left_out(nodes: tuple[Node, ...]) -> str | None:
    left_out = sum(node.left_out for node in nodes)
    return f"{left_out} generations on the way were left out to bound memory" if left_out else None


def descent(view: View, pid: int, cmd: str, *, is_strict: bool = False) -> Descent:
    """Tell whether `pid`, or an ancestor of it, is named `cmd`; strict leaves `pid` itself out.

    "No" is said only where the whole way to the root is known, with every name on it.
    """
    walked = walk(view, pid)
    frozen = _freeze(view, pid, walked)
    doubt = walked.reason
    for index, node in enumerate(walked.nodes):
        if is_strict and index == 0:
            continue
        verdict, by = match_name(node, cmd)
        if verdict:
            return Descent(pid, cmd, True, None, frozen.links[index], by, frozen)
        if verdict is None and doubt is None:
            doubt = f"the name of {node.pid} is not known for certain"
        if doubt is None and node.left_out:
            doubt = f"{node.left_out} generations above {node.pid} were left out to bound memory"
        if doubt is None and node.exit_ns and view.lost_events(node):
            doubt = f"events were lost while {node.pid} lived"
    return Descent(pid, cmd, False if doubt is None else None, doubt, None, None, frozen)


def path_to(descent: Descent) -> Chain:
    """Give the way from the asked process to the one that matched; all of the way where none did."""
    chain, match = descent.chain, descent.match
    if match is None:
        return chain
    upto = chain.links.index(match) + 1
    return Chain(chain.pid, True, None, chain.lost_events, chain.links[:upto], None, False)


def match_name(node: Node, cmd: str) -> tuple[bool | None, str | None]:
    """Compare a name with a process's: yes, no, or None for cannot tell; and by which name it matched.

    The kernel keeps 15 bytes of a name. A longer one is compared with the base names in the arguments, and
    only where the kernel's name is its beginning.
    """
    if not is_name_certain(node):
        return None, None
    wanted = cmd.encode("utf-8", "surrogateescape")
    if len(wanted) <= COMM_MAX_BYTES:
        return node.cmd == cmd, "cmd"
    known = node.cmd.encode("utf-8", "surrogateescape")
    if known == wanted:  # put there by hand, or by a kernel with longer names
        return True, "cmd"
    if known != wanted[:COMM_MAX_BYTES]:
        return False, None
    return _match_long_name(wanted, node)


def _match_long_name(wanted: bytes, node: Node) -> tuple[bool | None, str | None]:
    """Look for the whole of a name that the kernel cut, among the arguments that can hold it.

    That is argv[0], or for a script the one behind its interpreter and that one's option (execve(2)).
    """
    arguments = split_cmdline(node.cmdline or b"")[:3]
    names = [argument.rpartition(b"/")[2] for argument in arguments]
    for index, name in enumerate(names):
        if name == wanted:
            return True, f"argv[{index}]"
    # A title that a program wrote over its arguments has no NUL at its end, and proves nothing.
    is_title = not (node.cmdline or b"").endswith(b"\0")
    is_other = any(name.startswith(wanted[:COMM_MAX_BYTES]) for name in names)
    return (False if is_other and not is_title else None), None
