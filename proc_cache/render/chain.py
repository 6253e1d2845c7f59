"""The one-line form of a chain: `102|touch|root;101|sh|root;1|systemd|root`.

A pid, a name, a user, from the process to its root. A name that could not be read at the last exec ends in
`?`: it is the one before. What is not known is `unknown`; a process that is really called so is escaped.
"""

from __future__ import annotations

from ..process import Source, known_name
from .escape import escape_chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ..process import Node, Process
    from ..query import Chain, Walk

    class Users(Protocol):
        """What knows the names of users."""

        def user(self, node: Node) -> str | None:
            """Give the name of the process's user, None where the user is not known."""


UNKNOWN = "unknown"


def chain_text(chain: Chain) -> str:
    """Write a frozen chain."""
    links = [_link(link.pid, link.cmd, link.source, link.user, link.generations_left_out) for link in chain.links]
    return _join(links, chain.missing_pid)


def walk_text(users: Users, walked: Walk, itself: Process | None = None) -> str:
    """Write a walk without freezing it first: the same text, for where it is written often.

    `itself` is the first process as it was at another time: in a stream, at its event.
    """
    links = [_node_link(users, node) for node in walked.nodes]
    if itself is not None:
        links[0] = _link(itself.pid, itself.cmd, itself.source, itself.user, itself.generations_left_out)
    return _join(links, walked.missing_pid)


class ChainTexts:
    """Writes the one-line form of many walks that share ancestors, each way up once.

    A walk has to be the only one from each of its nodes, as those are that were taken at one time.
    """

    def __init__(self, users: Users) -> None:
        self._users = users
        self._texts: dict[Node, str] = {}

    def text(self, walked: Walk) -> str:
        """Write a walk, as `walk_text` does."""
        return self._text(walked.nodes, walked.missing_pid)

    def text_of_event(self, walked: Walk) -> str:
        """Write the walk of an event: its first node is of this moment, and nobody else's."""
        link = _node_link(self._users, walked.nodes[0])
        above = self._text(walked.nodes[1:], walked.missing_pid)
        return f"{link};{above}" if above else link

    def _text(self, nodes: tuple[Node, ...], missing_pid: int | None) -> str:
        known, unwritten = self._texts, []
        text = _missing(missing_pid)
        for node in nodes:
            if node in known:
                text = known[node]
                break
            unwritten.append(node)
        for node in reversed(unwritten):
            link = _node_link(self._users, node)
            text = known[node] = f"{link};{text}" if text else link
        return text


def _join(links: list[str], missing_pid: int | None) -> str:
    if missing_pid is not None:
        links.append(_missing(missing_pid))
    return ";".join(links)


def _missing(pid: int | None) -> str:
    return "" if pid is None else f"{pid}|{UNKNOWN}|{UNKNOWN}"


def _node_link(users: Users, node: Node) -> str:
    return _link(node.pid, known_name(node), node.source, users.user(node), node.left_out)


def _link(pid: int, cmd: str | None, source: str, user: str | None, left_out: int) -> str:
    name = UNKNOWN if cmd is None else escape_chain(cmd)
    if source == Source.UNREAD and cmd is not None:
        name += "?"
    link = f"{pid}|{name}|{escape_chain(user) if user else UNKNOWN}"
    return f"{link};...{left_out} left out..." if left_out else link
