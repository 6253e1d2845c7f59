"""One way to look up a process: what the engine keeps first, /proc where that knows nothing.

Looking changes nothing: what is read from /proc to answer is not stored.
"""

from __future__ import annotations

from ..errors import ProcessHiddenError
from ..kernel.clocks import TICK_NS
from ..kernel.procfs import make_node
from ..process import Node, Process, Source, known_name, split_cmdline
from .identity import can_be_parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..kernel.procfs import ProcReader
    from ..kernel.users import UserNames
    from .losses import LossLedger
    from .table import ProcessTable


class View:
    """Finds processes and their parents in a table, and in /proc through `reader` (None: the table alone).

    `hidden` holds the pids that /proc refused to show; who walks asks it when something was not found.
    """

    def __init__(
        self,
        table: ProcessTable,
        reader: ProcReader | None,
        users: UserNames,
        ledger: LossLedger | None = None,
    ) -> None:
        self.table = table
        self.reader = reader
        self.users = users
        self.ledger = ledger
        self.hits = 0
        self.misses = 0
        self.fallbacks = 0  # answered from /proc

    def find(self, pid: int) -> Node | None:
        """Give the newest process known to have this pid. Raises ProcessHiddenError."""
        node = self.table.newest.get(pid)
        if node is not None:
            self.hits += 1
            return node
        self.misses += 1
        node = self._read(pid)
        if node is None and self.reader is not None and pid and self.reader.is_hidden(pid):
            raise ProcessHiddenError(pid)
        return node

    def parent(self, node: Node) -> Node | None:
        """Give the parent, or None where it has none (ppid 0) or it is not known any more.

        A process that has the parent's pid now is the parent only if it started before the child.
        """
        if node.parent is not None:
            return node.parent
        if not node.ppid or node.ppid == node.pid:
            return None
        for owner in self.table.owners(node.ppid):
            if can_be_parent(owner, node):
                return owner
        try:
            parent = self._read(node.ppid)
        except ProcessHiddenError:
            return None
        return parent if parent is not None and can_be_parent(parent, node) else None

    def user(self, node: Node) -> str | None:
        """Give the name of the process's user, None where the user is not known."""
        uid = node.uid
        return self.users.name(uid) if isinstance(uid, int) else uid

    def lost_events(self, node: Node) -> int:
        """How many messages were lost in a time that touches the life of the process."""
        if self.ledger is None or not self.ledger.windows:
            return 0
        return self.ledger.lost_between(node.start_ns, node.exit_ns or self.table.timer())

    def current_ppid(self, node: Node) -> int | None:
        """Read who the parent is now: no event tells of an adoption. Of a dead one, who it was at its end."""
        known = node.ppid if node.adopter_pid is None else node.adopter_pid
        if node.exit_ns or node.ppid_source == Source.PROCFS or self.reader is None:
            return known
        try:
            stat = self.reader.stat(node.pid)
        except ProcessHiddenError:
            return known
        if stat is None or abs(stat.start_ns - node.start_ns) > 2 * TICK_NS:
            return known
        return stat.ppid

    def describe(self, node: Node, *, is_fresh: bool = True) -> Process:
        """Freeze what is known of a process; `is_fresh` reads its present parent once more."""
        known_ppid = node.ppid if node.adopter_pid is None else node.adopter_pid
        return Process(
            pid=node.pid,
            ppid=node.ppid,
            ppid_source=node.ppid_source,
            current_ppid=self.current_ppid(node) if is_fresh else known_ppid,
            cmd=known_name(node),
            source=node.source,
            cmdline=None if node.cmdline is None else tuple(split_cmdline(node.cmdline)),
            uid=node.uid if isinstance(node.uid, int) else None,
            user=self.user(node),
            session=node.session,
            start_time_ns=node.start_ns or None,
            is_alive=not node.exit_ns,
            exit_time_ns=node.exit_ns if node.exit_status is not None else None,
            exit_status=node.exit_status,
            generations_left_out=node.left_out,
        )

    def _read(self, pid: int) -> Node | None:
        if self.reader is None:
            return None
        seen = self.reader.see(pid)
        if seen is None or seen.stat.pid != pid or self._is_thread(seen.stat.pid):
            return None
        self.fallbacks += 1
        return make_node(seen, Source.PROCFS)

    def _is_thread(self, tid: int) -> bool:
        """/proc answers for a thread's id too, unlisted, with the times and the name of the thread."""
        assert self.reader is not None
        tgid = self.reader.tgid(tid)
        return tgid is not None and tgid != tid
