"""Which processes a user asked for: the same narrowing in every command."""

from __future__ import annotations

from .process import known_name
from .query import match_name
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine.view import View
    from .process import Node


class Selection(Record):
    """Narrows to a name, a user (name or uid), and what is under a pid (that process included)."""

    cmd: str | None = None
    user: str | None = None
    under: int | None = None

    def has(self, view: View, node: Node) -> bool:
        """Tell whether this process was asked for."""
        if self.cmd is not None and not self._is_named(node, self.cmd):
            return False
        if self.user is not None and self.user not in (str(node.uid), view.user(node)):
            return False
        return self.under is None or is_under(view, node, self.under)

    @staticmethod
    def _is_named(node: Node, cmd: str) -> bool:
        is_match, _ = match_name(node, cmd)
        return bool(is_match) or (is_match is None and known_name(node) == cmd)


def is_under(view: View, node: Node, pid: int) -> bool:
    """Tell whether a process, or an ancestor of it, has this pid."""
    seen: set[int] = set()
    current: Node | None = node
    while current is not None and id(current) not in seen:
        if current.pid == pid:
            return True
        seen.add(id(current))
        current = view.parent(current)
    return False
