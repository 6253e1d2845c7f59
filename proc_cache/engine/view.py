"""One way to look up a process: what the engine keeps first, /proc where that knows nothing.

Looking changes nothing: what is read from /proc to answer is not stored.
"""

from __future__ import annotations

from ..errors import ProcessHiddenError
from ..kernel.clocks import boot_wall_ns
from ..kernel.procfs import is_zombie, make_node
from ..process import CacheParams, Node, Process, Source, freeze, known_name
from ..query import Miss
from ..times import local
from .identity import can_be_parent, is_same_start
from .table import ProcessTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..kernel.procfs import ProcReader
    from ..kernel.users import UserNames
    from ..process import Place
    from ..times import Moment
    from .losses import LossLedger

_A_MOMENT_NS = 1000  # before an end whose beginning is not known: then it had the pid still
_OTHERS_NAMED = 3  # owners of one pid that are told beside an answer


class View:
    """Finds processes and their parents in a table, and in /proc through `reader` (None: the table alone).

    `since_ns` is when the table began to follow the kernel's events (CLOCK_BOOTTIME); 0 where it does not.
    """

    absence = "ended before proc-cache looked, or is hidden"

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
        self.since_ns = 0
        self.hits = 0
        self.misses = 0
        self.fallbacks = 0  # answered from /proc
        self.reads_places = False  # of the living whose unit and container are not known: for one answer

    # --- finding ----------------------------------------------------------------------------------------

    def find(self, pid: int, moment: Moment | None = None) -> Node | None:
        """Give who has this pid, or had it last; with a moment, who had it then. Raises ProcessHiddenError.

        For a thread's id it is the process of that thread.
        """
        span = _since_boot(moment)
        for node in self.table.owners(pid):
            if span is None or self._lived_in(node, span):
                self.hits += 1
                return node
        self.misses += 1
        shown = self._read(pid)
        if shown is None and self.reader is not None and pid and self.reader.is_hidden(pid):
            raise ProcessHiddenError(pid)
        return shown if shown is None or span is None or self._lived_in(shown, span) else None

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

    def nodes(self, moment: Moment | None = None, *, with_dead: bool) -> Iterator[Node]:
        """Give the living and what waits to be reaped, all the dead too, or who lived at a moment."""
        span = _since_boot(moment)
        unreaped = set() if with_dead or moment is not None or self.reader is None else set(self.reader.pids())
        for newest in list(self.table.newest.values()):
            node: Node | None = newest
            while node is not None:
                if span is not None:
                    is_wanted = self._lived_in(node, span)
                else:
                    is_wanted = with_dead or not node.exit_ns or (node is newest and node.pid in unreaped)
                if is_wanted:
                    yield node
                node = node.previous

    def _lived_in(self, node: Node, span: tuple[int, int]) -> bool:
        """Tell whether a process lived in a span; whose start is not known began after the owner before it."""
        start_ns = node.start_ns
        if not start_ns and node.previous is not None:
            start_ns = node.previous.exit_ns + 1
        return start_ns <= span[1] and (node.exit_ns or self.table.timer()) >= span[0]

    def _read(self, pid: int) -> Node | None:
        """Read a process from /proc; for a thread's id, which /proc answers for too, its process."""
        if self.reader is None:
            return None
        seen = self.reader.see(pid)
        if seen is None or seen.stat.pid != pid:
            return None
        if seen.stat.is_thread:
            tgid = self.reader.tgid(pid)
            return None if tgid in (None, pid) else self.find(tgid)
        self.fallbacks += 1
        return make_node(seen, Source.PROCFS)

    # --- facts ------------------------------------------------------------------------------------------

    def user(self, node: Node) -> str | None:
        """Give the name of the process's user, None where the user is not known."""
        return self._user_name(node.uid)

    def birth_user(self, node: Node) -> str | None:
        """Give the name of the user that the process was born with."""
        return self._user_name(node.birth_uid)

    def _user_name(self, uid: int | str | None) -> str | None:
        return self.users.name(uid) if isinstance(uid, int) else uid

    def until_ns(self, node: Node) -> int:
        """When it ended, or now; since boot."""
        return node.exit_ns or self.table.timer()

    def lost_events(self, node: Node) -> int:
        """How many messages were lost in a time that touches the life of the process."""
        if self.ledger is None or not self.ledger.windows:
            return 0
        return self.ledger.lost_between(node.start_ns, self.until_ns(node))

    def current_ppid(self, node: Node) -> int | None:
        """Read who the parent is now: no event tells of an adoption. Of a dead one, who it was at its end."""
        known = node.last_ppid
        if node.exit_ns or node.ppid_source == Source.PROCFS or self.reader is None:
            return known
        try:
            stat = self.reader.stat(node.pid)
        except ProcessHiddenError:
            return known
        if stat is None or not is_same_start(node.start_ns, stat.start_ns):
            return known
        return stat.ppid

    def describe(self, node: Node, *, is_fresh: bool = True) -> Process:
        """Freeze what is known of a process; `is_fresh` reads its present parent once more."""
        current_ppid, current_parent = self.present_parent(node, is_fresh=is_fresh)
        return freeze(
            node,
            current_ppid=current_ppid,
            current_parent=current_parent,
            user=self.user(node),
            birth_user=self.birth_user(node),
            booted_ns=boot_wall_ns(),
            is_alive=not node.exit_ns,
            place=self.place(node),
        )

    def present_parent(self, node: Node, *, is_fresh: bool) -> tuple[int | None, str | None]:
        """Give the pid of the present parent, and its name where it is not the birth parent."""
        ppid = self.current_ppid(node) if is_fresh else node.last_ppid
        return ppid, None if ppid == node.ppid else self.adopter_name(node, ppid)

    def place(self, node: Node) -> Place | None:
        """Give where it belongs, read now where that is not known and `reads_places`."""
        place = node.place
        is_known = place is not None and place[0] is not None
        if is_known or not self.reads_places or self.reader is None or node.exit_ns:
            return place
        from .placing import read_place

        return read_place(self.reader, node) or place

    def adopter_name(self, node: Node, adopter_pid: int | None) -> str | None:
        """Give the name of who adopted a process: the owner of that pid at its end, or now."""
        for owner in self.table.owners(adopter_pid or 0):
            if not node.exit_ns or owner.start_ns <= node.exit_ns:
                return known_name(owner)
        return None

    # --- explanations -----------------------------------------------------------------------------------

    def mentions(self, pid: int, node: Node, moment: Moment | None) -> tuple[str, ...]:
        """Say what goes beside an answer: other owners of the pid, or that it is a thread's id."""
        if node.pid != pid:
            return (f"{pid} is a thread of {node.pid}: answering for {node.pid}",)
        span = _since_boot(moment)
        others = [
            owner
            for owner in self.table.owners(pid)
            if owner is not node and (span is None or self._lived_in(owner, span))
        ]
        return mention_others(pid, [(owner, boot_wall_ns()) for owner in others])

    def explain_miss(self, pid: int, moment: Moment | None) -> Miss:
        """Say why nobody was found: the first of these that can be the cause."""
        if not self.since_ns:
            return self._explain_without_events(pid, moment)
        booted_ns = boot_wall_ns()
        began = local(self.since_ns, booted_ns)
        doubt = self._doubt(pid, moment, booted_ns)
        if doubt is not None:
            return Miss(doubt, True)
        if moment is not None:
            return Miss(f"nobody was {pid} then: the engine has seen all since {began}", False)
        return Miss(f"no process {pid} was seen since the engine started, at {began}", False)

    def explain_no_name(self, cmd: str) -> Miss:
        """Say why nobody of this name was found."""
        hint = "names are as `ps -e -o comm=` prints them"
        if not self.since_ns:
            return Miss(f"no process is named {cmd!r} now; {hint}", False)
        if self.ledger is not None and (self.ledger.lost or self.ledger.overruns):
            return Miss(f"no process named {cmd!r} was seen; it may be among the events that were lost", True)
        return Miss(f"no process named {cmd!r} is there or remembered; {hint}", False)

    def _doubt(self, pid: int, moment: Moment | None, booted_ns: int) -> str | None:
        """Say why somebody may have had the pid all the same; None where nobody can."""
        if moment is not None and moment.from_ns - booted_ns > self.table.timer():
            return f"who will be {pid} is not known: that time lies ahead"
        if moment is not None and moment.from_ns - booted_ns < self.since_ns:
            began = local(self.since_ns, booted_ns)
            return f"who was {pid} then is not known: the engine started later, at {began}"
        if self.ledger is not None and self.ledger.lost:
            return f"{pid} was not seen; it may be among the {self.ledger.lost} events that were lost"
        if self.ledger is not None and self.ledger.overruns:
            return f"{pid} was not seen; events were lost, how many is not known yet"
        return f"{pid} has ended, and {self._horizon(booted_ns)}" if self.table.was_forgotten(pid) else None

    def _explain_without_events(self, pid: int, moment: Moment | None) -> Miss:
        if moment is not None:
            return Miss(
                f"who was {pid} then is not known: no engine was asked, and /proc shows the living alone", True
            )
        return Miss(f"no process {pid} is there now; of the dead only an engine knows (`proc-cache serve`)", False)

    def _horizon(self, booted_ns: int) -> str:
        """Tell how far back the ends are remembered."""
        oldest = self.table.oldest_dead()
        if oldest is None:
            return "that is not remembered any more; no other end is, either (see --capacity and --ttl)"
        return (
            f"that is not remembered any more; the oldest end that is, of {oldest.pid} ({known_name(oldest)}), "
            f"was at {local(oldest.exit_ns, booted_ns)} (see --capacity and --ttl)"
        )


class Look(View):
    """/proc as it is now, each process read once: for some questions that are answered at one time."""

    def __init__(self, reader: ProcReader, users: UserNames) -> None:
        super().__init__(ProcessTable(CacheParams(0, 0)), reader, users)
        self._shown: dict[int, Node | None] = {}

    def parent(self, node: Node) -> Node | None:
        """Give the parent, which is kept with the node: the next way up from it is known."""
        node.parent = super().parent(node)
        return node.parent

    def nodes(self, moment: Moment | None = None, *, with_dead: bool) -> Iterator[Node]:
        """Give the living and what waits to be reaped; /proc knows nobody else."""
        assert self.reader is not None
        for seen in self.reader.see_all():
            node = self._shown[seen.stat.pid] = make_node(seen, Source.SNAPSHOT)
            if is_zombie(seen):
                node.exit_ns = self.table.timer()
        return filter(None, list(self._shown.values()))

    def _read(self, pid: int) -> Node | None:
        if pid not in self._shown:
            self._shown[pid] = super()._read(pid)
        return self._shown[pid]


def _since_boot(moment: Moment | None) -> tuple[int, int] | None:
    """Turn a moment into a span of CLOCK_BOOTTIME."""
    if moment is None:
        return None
    booted_ns = boot_wall_ns()
    return moment.from_ns - booted_ns, moment.until_ns - booted_ns


def mention_others(pid: int, others: Sequence[tuple[Node, int]]) -> tuple[str, ...]:
    """Name the other owners of a pid, each as it can be asked for; with each, when its machine booted."""
    if not others:
        return ()
    named = ", ".join(
        f"{pid}@{local(owner.start_ns or owner.exit_ns - _A_MOMENT_NS, booted_ns)} ({known_name(owner)})"
        for owner, booted_ns in others[:_OTHERS_NAMED]
    )
    more = f", and {len(others) - _OTHERS_NAMED} more" if len(others) > _OTHERS_NAMED else ""
    return (f"{pid} had other owners too; this is the newest. Ask for: {named}{more}",)
