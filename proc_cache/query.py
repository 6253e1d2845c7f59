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
    from typing import Protocol

    from .process import Node
    from .times import Moment

    class View(Protocol):
        """What knows processes: an engine and /proc, or a history."""

        absence: str  # why a parent may not be known: ends the sentence "500, the parent of 501, ..."

        def find(self, pid: int, moment: Moment | None = None) -> Node | None:
            """Give who has this pid, or had it last; with a moment, who had it then.

            For a thread's id it is the process of that thread. Raises ProcessHiddenError.
            """

        def parent(self, node: Node) -> Node | None:
            """Give the birth parent as far as it is known."""

        def user(self, node: Node) -> str | None:
            """Give the name of the user."""

        def until_ns(self, node: Node) -> int:
            """When it ended; of one that lives, until when that is known: now. Since its boot."""

        def lost_events(self, node: Node) -> int:
            """How many messages were lost in a time that touches the life of the process."""

        def describe(self, node: Node, *, is_fresh: bool = True) -> Process:
            """Freeze what is known of a process; `is_fresh` reads its present parent once more."""

        def mentions(self, pid: int, node: Node, moment: Moment | None) -> tuple[str, ...]:
            """What to say beside an answer: other owners of the pid, or that it was a thread's id."""

        def explain_miss(self, pid: int, moment: Moment | None) -> Miss:
            """Say why nobody was found."""


class Miss(Record):
    """Why nobody was found; `may_exist` is false where it is known that there was nobody."""

    reason: str
    may_exist: bool


class Walk(Record):
    """The nodes from a process up to its root, and why it ends where it does (None: at the root)."""

    nodes: tuple[Node, ...]
    reason: str | None
    missing_pid: int | None  # the process that should have been next
    may_exist: bool = False  # nobody was found, and that does not prove that there was nobody


class Chain(Record):
    """The ancestry of one process, itself first. `reason` is None where it is complete."""

    pid: int
    complete: bool
    reason: str | None
    lost_events: int
    links: tuple[Process, ...]
    missing_pid: int | None
    may_exist: bool
    notes: tuple[str, ...] = ()  # what to say beside it


class Outline(Record):
    """A chain without the facts of its links: the way up, and what is to be said of it."""

    walked: Walk
    chain: Chain


class Descent(Record):
    """Whether a process, or an ancestor of it, has a name. None is "cannot tell", and `reason` says why."""

    pid: int
    cmd: str
    descendant: bool | None
    reason: str | None
    match: Process | None
    matched_by: str | None  # "cmd", or what gave a name longer than the kernel's: "exe", "argv[0]"
    chain: Chain


class Verdict(Record):
    """What `judge` found: yes, no or cannot tell, and at which place of the walk the name was."""

    descendant: bool | None
    reason: str | None
    match: int | None
    matched_by: str | None

    def of(self, chain: Chain, cmd: str) -> Descent:
        """Put it beside the chain that it is about."""
        match = None if self.match is None else chain.links[self.match]
        return Descent(chain.pid, cmd, self.descendant, self.reason, match, self.matched_by, chain)


def walk(view: View, pid: int, moment: Moment | None = None) -> Walk:
    """Follow the parents of a process. No nodes: nobody is known by this pid."""
    try:
        node = view.find(pid, moment)
    except ProcessHiddenError as error:
        return Walk((), str(error), pid, may_exist=True)
    if node is None:
        miss = view.explain_miss(pid, moment)
        return Walk((), miss.reason, pid, miss.may_exist)
    return walk_from(view, node)


def walk_from(view: View, node: Node) -> Walk:
    """Follow the parents of a process that was found already."""
    nodes: list[Node] = []
    seen: set[Node] = set()
    while node not in seen:
        seen.add(node)
        nodes.append(node)
        parent = view.parent(node)
        if parent is None:
            return Walk(tuple(nodes), *_why_it_ends(view, node))
        node = parent
    return Walk(tuple(nodes), None, None)


def missing_parent(node: Node) -> int | None:
    """Give the pid of the parent that should have come next, where a walk ends at this one."""
    return None if node.ppid in (0, node.pid) else node.ppid


def _why_it_ends(view: View, node: Node) -> tuple[str | None, int | None]:
    if node.ppid in (0, node.pid):
        return None, None
    if node.ppid is None:
        return f"the parent of {node.pid} is not known: its birth was not seen", None
    return f"{node.ppid}, the parent of {node.pid}, {view.absence}", node.ppid


def chain(view: View, pid: int, moment: Moment | None = None) -> Chain:
    """Give the ancestry of a process, with all that is known of each link."""
    walked = walk(view, pid, moment)
    return chain_of(view, pid, moment, walked, tuple(view.describe(node) for node in walked.nodes))


def outline(view: View, pid: int, moment: Moment | None = None) -> Outline:
    """Give the ancestry of a process, and of each link no more than a node has: the rest is the costly part."""
    walked = walk(view, pid, moment)
    return Outline(walked, chain_of(view, pid, moment, walked))


def chain_of(view: View, pid: int, moment: Moment | None, walked: Walk, links: tuple[Process, ...] = ()) -> Chain:
    """Give the chain of a walk; its links can be described one by one elsewhere."""
    nodes = walked.nodes
    reason = walked.reason or _what_is_left_out(nodes)
    return Chain(
        pid=nodes[0].pid if nodes else pid,
        complete=bool(nodes) and reason is None,
        reason=reason,
        lost_events=view.lost_events(nodes[0]) if nodes else 0,
        links=links,
        missing_pid=walked.missing_pid,
        may_exist=walked.may_exist,
        notes=view.mentions(pid, nodes[0], moment) if nodes else (),
    )


def _what_is_left_out(nodes: tuple[Node, ...]) -> str | None:
    left_out = sum(node.left_out for node in nodes)
    return f"{left_out} generations on the way were left out to bound memory" if left_out else None


def descent(view: View, pid: int, cmd: str, *, is_strict: bool = False, moment: Moment | None = None) -> Descent:
    """Tell whether `pid`, or an ancestor of it, is named `cmd`; strict leaves `pid` itself out.

    "No" is said only where the whole way to the root is known, with every name on it.
    """
    walked = walk(view, pid, moment)
    verdict = judge(view, walked, cmd, is_strict=is_strict)
    links = tuple(view.describe(node) for node in walked.nodes)
    return verdict.of(chain_of(view, pid, moment, walked, links), cmd)


def judge(view: View, walked: Walk, cmd: str, *, is_strict: bool) -> Verdict:
    """Look for a name along a walk."""
    doubt = walked.reason
    for index, node in enumerate(walked.nodes):
        if index or not is_strict:
            is_match, by = match_name(node, cmd)
            if is_match:
                return Verdict(True, None, index, by)
            if is_match is None and doubt is None:
                doubt = f"the name of {node.pid} is not known for certain"
            if doubt is None and node.exit_ns and view.lost_events(node):
                doubt = f"events were lost while {node.pid} lived"
        if doubt is None and node.left_out:
            doubt = f"{node.left_out} generations above {node.pid} were left out to bound memory"
    return Verdict(False if doubt is None else None, doubt, None, None)


def path_to(descent: Descent) -> Chain:
    """Give the way from the asked process to the one that matched; all of the way where none did."""
    chain, match = descent.chain, descent.match
    if match is None:
        return chain
    upto = chain.links.index(match) + 1
    return Chain(chain.pid, True, None, chain.lost_events, chain.links[:upto], None, False, chain.notes)


def match_name(node: Node, cmd: str) -> tuple[bool | None, str | None]:
    """Compare a name with a process's: yes, no, or None for cannot tell; and by which name it matched.

    The kernel keeps 15 bytes of a name. A longer one is compared with the name of the program's file and the base
    names in the arguments, and only where the kernel's name is its beginning.
    """
    if not is_name_certain(node):
        return None, None
    if node.cmd == cmd:
        return True, "cmd"
    wanted = cmd.encode("utf-8", "surrogateescape")
    if len(wanted) <= COMM_MAX_BYTES:
        return False, "cmd"
    known = node.cmd.encode("utf-8", "surrogateescape")
    if known != wanted[:COMM_MAX_BYTES]:
        return False, None
    if node.full_name == cmd:
        return True, "exe"
    return _match_long_name(wanted, node)


def _match_long_name(wanted: bytes, node: Node) -> tuple[bool | None, str | None]:
    """Look for the whole of a name that the kernel cut, among the arguments that can hold it.

    That is argv[0], or for a script the one behind its interpreter and that one's option (execve(2)).
    """
    arguments = split_cmdline(node.cmdline or b"", 3)
    names = [argument.rpartition(b"/")[2] for argument in arguments]
    for index, name in enumerate(names):
        if name == wanted:
            return True, f"argv[{index}]"
    # A title that a program wrote over its arguments has no NUL at its end, and proves nothing.
    is_title = not (node.cmdline or b"").endswith(b"\0")
    is_other = any(name.startswith(wanted[:COMM_MAX_BYTES]) for name in names)
    return (False if is_other and not is_title else None), None
