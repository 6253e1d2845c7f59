"""What each event, and a scan, does to the table. The rules, in one place:

| event                  | what happens                                                                         |
|------------------------|--------------------------------------------------------------------------------------|
| Fork of a process      | a new process under `parent_pid` (never a tid), with the forking thread's name, user, |
|                        | argv and place, marked inherited; a process that had this pid before has ended       |
| Fork of a thread       | no process; one thread more                                                          |
| Exec                   | name, user, argv read from /proc if the start time is still the same process's;      |
|                        | a leader's exit before it was none (exec from another thread); its threads are gone  |
| Comm, Uid              | of the leader: renamed, another user; of a thread: the name its children inherit     |
| Sid                    | leader of a session, without a terminal                                              |
| Exit of a thread       | one thread less; the last one ends a process whose leader had exited before          |
| Exit of the leader     | the end, where no other thread runs on; the birth parent stays, the present is noted |
| scan                   | adds what was missed, ends what is gone, names what was unread                       |

An event that is older than what is known of its pid is about a former owner, and is applied to that one: a
late Fork never resurrects. Times are compared in clock ticks with a tolerance, for /proc knows no better.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, Any

from ..errors import ProcessHiddenError
from ..events import Comm, Exec, Exit, Fork, Sid, Uid
from ..kernel.clocks import TICK_NS
from ..kernel.procfs import is_zombie, make_node
from ..process import Node, Source, decode_name, is_name_certain
from .identity import can_be_parent, is_same_start
from .placing import Places

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..kernel.procfs import ProcReader, Sighting
    from .table import ProcessTable

    # A Fork, an Exec or an Exit is such a tuple; a plain one costs half.
    ForkFields = tuple[int, int, int, int, int, int, int]
    ExecFields = tuple[int, int, int, int, int]
    ExitFields = tuple[int, int, int, int, int, int, int, int, int]

# What becomes of a name's source when a child inherits the name.
_AT_FORK = {
    Source.EXEC: Source.INHERITED,
    Source.COMM: Source.INHERITED,
    Source.INHERITED: Source.INHERITED,
    Source.SNAPSHOT: Source.INHERITED,
    Source.PROCFS: Source.INHERITED,
    Source.MANUAL: Source.INHERITED,
    Source.UNREAD: Source.UNREAD,
    Source.FORK: Source.FORK,
    Source.EXIT_RECORD: Source.UNREAD,  # the parent's last name: perhaps not the one it had then
    Source.EXIT: Source.FORK,
}

FORMER_MAX = 64  # names of one process that are kept, those it had first
FORMER_TUPLES_MAX = 4096
SEEN_EARLY_MAX = 1 << 16

# Stands for "about no process that is known" where None is taken.
_UNSETTLED = Node(0, 0, 0, Source.FORK, None, "", Source.FORK, None)


class ProcessTree:
    """Applies events to a `ProcessTable`. With a reader, an Exec is named from /proc; without, it is unread.

    Every method that takes an event returns the process it was about, or None where it was about none
    (a thread's), so that whoever watches sees what happened to processes.
    """

    def __init__(self, table: ProcessTable, reader: ProcReader | None = None) -> None:
        self.table = table
        self.reader = reader
        self.to_boottime_ns = 0  # added to an event's CLOCK_MONOTONIC time; set before each batch
        self.forks = self.execs = self.exits = 0  # of processes, as applied
        self.unread = 0  # execs whose name could not be read in time
        self.ends_seen = 0  # of threads too: for each, the kernel has written a record
        # pid -> name by tid, of the threads beside the leader; None where a scan found them.
        self._threads: dict[int, dict[int, str | None]] = {}
        # Leaders that exited while other threads run on, with the parent they had then, where it was told.
        self._leader_exits: dict[int, int | None] = {}
        self.scan_began_ns = self.scan_ended_ns = 0
        self.threads_untold: Callable[[int], bool] | None = None  # while they are filtered: of whom
        self._seen_early: dict[tuple[int, int], Sighting | None] = {}
        self._former: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.places = Places(table, reader)
        self.handlers: dict[type, Callable[[Any], Node | None]] = {
            Fork: self.fork,
            Exec: self.exec,
            Exit: self.exit,
            Comm: self.comm,
            Uid: self.uid,
            Sid: self.sid,
        }

    # --- events -----------------------------------------------------------------------------------------

    def fork(self, fields: ForkFields) -> Node | None:
        """A process is born, or a thread; takes a Fork, or the fields of one."""
        _, _, timestamp_ns, parent_tid, parent_pid, tid, pid = fields
        if tid != pid:
            self._thread_fork(pid, tid)
            return None
        start_ns = timestamp_ns + self.to_boottime_ns
        newest = self.table.newest
        known = newest.get(pid)
        if known is not None and not 0 < known.exit_ns <= start_ns > self.scan_ended_ns:
            settled = self._fork_of_known(parent_pid, known, start_ns)
            if settled is not _UNSETTLED:
                return settled
        parent = newest.get(parent_pid)
        if parent is None or parent.exit_ns or parent.start_ns > start_ns:
            parent = self._find_parent(parent_pid, start_ns)
        if parent is None:
            node = Node(pid, start_ns, parent_pid, Source.FORK, None, "", Source.FORK, None)
        else:
            # What it has, it has from its parent. parent.pid, not the event's: one integer for all children.
            node = Node(
                pid,
                start_ns,
                parent.pid,
                Source.FORK,
                parent,
                parent.cmd,
                _AT_FORK[parent.source],
                parent.uid,
                parent.session,
                parent.cmdline,
            )
            node.place = parent.place
            if parent.full_name is not None:
                node.full_name = parent.full_name
            if parent_tid != parent_pid:
                self._name_by_thread(node, parent_pid, parent_tid)
        self.table.add(node)
        self.forks += 1
        return node

    def exec(self, fields: ExecFields) -> Node | None:
        """The process runs another program: read which. Takes an Exec, or the fields of one."""
        _, _, timestamp_ns, _, pid = fields
        node = self._exec(pid, timestamp_ns)
        if self.table.recorder is not None:
            self.table.recorder.became(node, timestamp_ns + self.to_boottime_ns)
        return node

    def look_at(self, pid: int, timestamp_ns: int) -> None:
        """Read a program that has just been run, before its Exec of that time has its turn among the messages."""
        if len(self._seen_early) >= SEEN_EARLY_MAX:  # of execs that were lost on their way
            self._seen_early.clear()
        self._seen_early[pid, timestamp_ns] = self._see(pid)

    def forget_looks(self, before_ns: int) -> None:
        """Let go of programs that were read before this time (CLOCK_BOOTTIME): their Exec was lost."""
        looks = self._seen_early
        while looks:
            key = next(iter(looks))
            if key[1] + self.to_boottime_ns >= before_ns:
                return
            del looks[key]

    def _exec(self, pid: int, timestamp_ns: int) -> Node:
        self.execs += 1
        self._forget_threads(pid)
        node = self.table.newest.get(pid)
        key = pid, timestamp_ns
        seen = self._seen_early.pop(key) if key in self._seen_early else self._see(pid)
        if seen is not None and node is not None and not self._is_of(node, seen):
            if node.exit_ns:  # the Fork of the one that has the pid now was lost
                return self._discover(pid, seen)
            seen = None
        if seen is None:
            self.unread += 1
        if node is None or (seen is None and node.exit_ns and node.exit_status is not None):
            return self._discover(pid, seen)
        if seen is None:
            self._miss(node)
        else:
            if node.exit_ns:  # that end was none
                self.table.revive(node)
            self._become(node)
            self._take_facts(node, seen, Source.EXEC)
            self.link_by_ppid(node)
            self.places.ask_later(node, timestamp_ns + self.to_boottime_ns)
        return node

    def _miss(self, node: Node) -> None:
        """Note that it runs a program whose name could not be read."""
        node.cmdline = node.full_name = None
        if node.cost is None:  # else its exit record has come already, with the name that it had last
            self._become(node)
            node.source = Source.UNREAD

    def exit(self, fields: ExitFields) -> Node | None:
        """A thread ended, and with the last one the process; takes an Exit, or the fields of one."""
        self.ends_seen += 1
        _, _, timestamp_ns, tid, pid, status, _, _, adopter_pid = fields
        if self.threads_untold is not None and self.threads_untold(pid):
            self._count_threads(pid)
        if tid != pid or pid in self._threads:
            if not self._is_last_thread(pid, tid, adopter_pid):
                return None
            # wait(2) gives the last thread's status, not the leader's (seen on 6.18; after exit_group(2) or a
            # signal they are the same in every kernel). The present parent is told at the leader's exit only.
            adopter_pid = self._leader_exits.pop(pid) or 0
        exit_ns = timestamp_ns + self.to_boottime_ns
        node = self.table.newest.get(pid)
        if node is None or node.exit_ns or node.start_ns > exit_ns or node.ppid_source != Source.FORK:
            node = self._who_ended(pid, exit_ns, status)
            if node is None or node.exit_ns:
                return node
        if adopter_pid and adopter_pid != node.ppid:
            node.adopter_pid = adopter_pid
        self.table.retire(node, exit_ns, status)
        self.exits += 1
        return node

    def comm(self, event: Comm) -> Node | None:
        """A thread has another name; the leader's is the process's."""
        name = intern(decode_name(event.comm))
        if event.tid != event.pid:
            threads = self._threads.get(event.pid)
            if threads is not None and event.tid in threads:
                threads[event.tid] = name
            return None
        node = self._owner(event.pid, event.timestamp_ns + self.to_boottime_ns)
        if node is not None:
            node.cmd = name
            node.source = Source.COMM
            node.full_name = None
        return self._marked(node)

    def uid(self, event: Uid) -> Node | None:
        """The process has another user; the one at birth stays known."""
        if event.tid != event.pid:
            return None
        node = self._owner(event.pid, event.timestamp_ns + self.to_boottime_ns)
        if node is not None:
            node.change_uid(event.euid)
            self.places.ask_later(node, self.table.timer())
        return self._marked(node)

    def sid(self, event: Sid) -> Node | None:
        """The process leads a session of its own."""
        node = self._owner(event.pid, event.timestamp_ns + self.to_boottime_ns)
        if node is not None:
            node.session = event.pid
            self.places.leave_tty(node)
            self.places.ask_later(node, self.table.timer())
        return self._marked(node)

    def _marked(self, node: Node | None) -> Node | None:
        """Tell who writes the history that a process is not as it was."""
        if node is not None and self.table.recorder is not None:
            self.table.recorder.mark(node)
        return node

    # --- a scan -----------------------------------------------------------------------------------------

    def note_end(self, node: Node) -> None:
        """A scan has noticed that a process is gone; no Exit told of it."""
        self._forget_threads(node.pid)
        self.table.retire(node, self.scan_ended_ns, None)

    def adopt(self, sighting: Sighting) -> tuple[Node, bool]:
        """Find or make the process that was seen; and tell whether it has ended, and waits to be reaped."""
        pid = sighting.stat.pid
        has_ended = is_zombie(sighting)
        node = self.table.newest.get(pid)
        if node is not None and self._is_of(node, sighting):
            if node.exit_ns and not has_ended:
                self._resume(node, sighting)
            if not node.exit_ns:
                self._take_facts(node, sighting, Source.SNAPSHOT)
        else:
            if node is not None and not node.exit_ns:
                self._forget_threads(pid)
                self.table.retire(node, min(sighting.stat.start_ns, self.scan_ended_ns), None)
            node = make_node(sighting, Source.SNAPSHOT)
            node.cmd = intern(node.cmd)
            self.places.take_tty(node, sighting.stat.tty_nr)
            self.table.add(node)
        if not has_ended:
            self.places.ask_if_unknown(node)
        self._take_threads(sighting)
        self._marked(node)
        return node, has_ended

    def _resume(self, node: Node, sighting: Sighting) -> None:
        """Take back an end: it was its leader's only, and threads that were not known run on."""
        self._leader_exits[node.pid] = node.adopter_pid
        self.table.revive(node)
        self._take_threads(sighting)

    def _take_threads(self, sighting: Sighting) -> None:
        pid = sighting.stat.pid
        self._threads.pop(pid, None)
        if sighting.tids:
            self._threads[pid] = dict.fromkeys(sighting.tids)
            if sighting.stat.state == "Z":
                self._leader_exits.setdefault(pid, None)
        if sighting.stat.state != "Z":
            self._leader_exits.pop(pid, None)

    def link_by_ppid(self, node: Node) -> None:
        """Find the parent that a ppid names, unless a younger process has that pid by now."""
        if node.parent is not None or not node.ppid:
            return
        parent = self.table.newest.get(node.ppid)
        if parent is not None and can_be_parent(parent, node) and not _descends(parent, node):
            self.table.relink(node, parent)

    # --- births -----------------------------------------------------------------------------------------

    def _find_parent(self, pid: int, start_ns: int) -> Node | None:
        """Find who had this pid and was alive when the child started, whatever has come since."""
        if not pid:
            return None
        parent = self._owner(pid, start_ns)
        if parent is not None and (not parent.exit_ns or parent.exit_ns >= start_ns):
            return parent
        # Its own Fork was lost, or came before anybody listened: it may still be there to be read.
        seen = self._see(pid, with_tids=True)
        if seen is None or seen.stat.start_ns > start_ns:
            return None
        if parent is not None and self._is_of(parent, seen):
            self._resume(parent, seen)
            return parent
        return self._discover(pid, seen, Source.PROCFS)

    def _fork_of_known(self, parent_pid: int, known: Node, start_ns: int) -> Node | None:
        """A Fork for a pid of which a living, an unclear or a younger owner is known.

        Returns the owner it is about, None for one that has come and gone, _UNSETTLED for a new one.
        """
        if known.start_ns == start_ns:
            return known
        if self._was_seen_before_its_fork(known, start_ns):
            return self._refine(parent_pid, known, start_ns)
        if known.start_ns > start_ns:
            return None  # of a former owner, which came and went before this one was found
        if not known.start_ns and known.exit_ns > start_ns:
            return self._fill_in(parent_pid, known, start_ns)
        if not known.exit_ns:  # its Exit was lost
            self._forget_threads(known.pid)
            self.table.retire(known, start_ns, None)
        return _UNSETTLED

    def _was_seen_before_its_fork(self, known: Node, start_ns: int) -> bool:
        """Whether a process found in /proc, by a scan or at its Exec, is the one that this Fork tells of."""
        if not is_same_start(start_ns, known.start_ns):
            return False
        if known.ppid_source == Source.SNAPSHOT:
            return start_ns <= self.scan_ended_ns
        return known.ppid_source == Source.PROCFS and not 0 < known.exit_ns <= start_ns

    def _fill_in(self, parent_pid: int, known: Node, start_ns: int) -> Node:
        """A Fork after the Exit of the same process: it tells whose child that was, and resurrects nothing."""
        parent = self._find_parent(parent_pid, start_ns)
        known.start_ns = start_ns
        known.ppid = parent_pid
        known.ppid_source = Source.FORK
        if parent is not None:
            known.cmd, known.source = parent.cmd, Source.UNREAD
            known.uid = known.birth_uid = parent.uid
            known.session = parent.session
            known.place = parent.place
            self.table.relink(known, parent)
        self._marked(known)
        return known

    def _refine(self, parent_pid: int, known: Node, start_ns: int) -> Node:
        """Learn the birth parent, and the start to the nanosecond, of a process that a scan had found."""
        if known.exit_ns <= start_ns and known.exit_status is not None:
            self.table.revive(known)  # it was the Exit of the one that had the pid before
        if known.ppid != parent_pid:
            known.adopter_pid = known.ppid
            known.ppid = parent_pid
            self.table.relink(known, self._find_parent(parent_pid, start_ns))
        known.ppid_source = Source.FORK
        known.start_ns = start_ns
        self._marked(known)
        return known

    def _discover(self, pid: int, seen: Sighting | None, source: str = Source.EXEC) -> Node:
        """Add a process whose Fork was never seen; only what /proc shows of it is known."""
        if seen is None:
            node = Node(pid, 0, None, source, None, "", Source.UNREAD, None)
        else:
            node = make_node(seen, source)
            node.ppid_source = Source.PROCFS
            node.cmd = intern(node.cmd)
            self.places.take_tty(node, seen.stat.tty_nr)
            self.places.ask_if_unknown(node)
        self.table.add(node)
        self.link_by_ppid(node)
        return node

    # --- ends -------------------------------------------------------------------------------------------

    def _who_ended(self, pid: int, exit_ns: int, status: int) -> Node | None:
        """Find whom an Exit is about where that is not plain; None where it was nobody that is known."""
        node = self._owner(pid, exit_ns)
        if node is None:
            if pid in self.table.newest:  # younger owners are known, this one is not
                return None
            node = Node(pid, 0, None, Source.EXIT, None, "", Source.EXIT, None)
            self.table.add(node)
        elif node.exit_ns:
            if node.exit_status is None:  # a scan had noticed that it was gone
                node.exit_ns, node.exit_status = exit_ns, status
        elif node.ppid_source == Source.SNAPSHOT and exit_ns < self.scan_began_ns:
            return None  # the scan saw the next owner of the pid alive
        return node

    # --- threads ----------------------------------------------------------------------------------------

    def _is_last_thread(self, pid: int, tid: int, adopter_pid: int) -> bool:
        """Whether an exit among threads ends the process; the leader's does not, while others run on."""
        if tid == pid:
            self._leader_exits[pid] = adopter_pid
            return False
        threads = self._threads.get(pid)
        if threads is None:
            return False
        threads.pop(tid, None)
        if threads:
            return False
        del self._threads[pid]
        return pid in self._leader_exits

    def _thread_fork(self, pid: int, tid: int) -> None:
        # The parent named here is the process's, not the thread that called clone(2): of the name that the
        # new thread has, the process's own is the likeliest.
        node = self.table.newest.get(pid)
        if node is not None and not node.exit_ns:
            name = node.cmd if is_name_certain(node) else None
            self._threads.setdefault(pid, {})[tid] = name

    def _name_by_thread(self, node: Node, pid: int, tid: int) -> None:
        """Give a new process the name of the thread that forked it."""
        name = self._thread_name(pid, tid)
        if name is None:  # the leader's, which it has, is the likeliest
            node.source = Source.UNREAD
        elif name != node.cmd:
            node.cmd, node.full_name = name, None

    def _thread_name(self, pid: int, tid: int) -> str | None:
        """Give the name of a thread beside the leader; None where nothing tells it."""
        threads = self._threads.get(pid, {})
        name = threads.get(tid)
        if name is None and self.reader is not None:
            name = self.reader.thread_name(pid, tid)
            if name is not None and tid in threads:
                threads[tid] = name = intern(name)
        return name

    def _count_threads(self, pid: int) -> None:
        """Look which threads a process has whose births and ends are not told."""
        seen = self._see(pid, with_tids=True)
        if seen is not None and seen.tids:
            self._threads[pid] = dict.fromkeys(seen.tids)
        else:
            self._threads.pop(pid, None)

    def _forget_threads(self, pid: int) -> None:
        self._threads.pop(pid, None)
        self._leader_exits.pop(pid, None)

    # --- what is known ----------------------------------------------------------------------------------

    def _owner(self, pid: int, at_ns: int) -> Node | None:
        """The process that had this pid at that time."""
        node = self.table.newest.get(pid)
        while node is not None and node.start_ns > at_ns + TICK_NS:
            node = node.previous
        return node

    def _see(self, pid: int, *, with_tids: bool = False) -> Sighting | None:
        if self.reader is None:
            return None
        try:
            return self.reader.see(pid, with_tids=with_tids)
        except ProcessHiddenError:
            return None

    @staticmethod
    def _is_of(node: Node, seen: Sighting) -> bool:
        if not node.start_ns:
            return not node.exit_ns
        return is_same_start(node.start_ns, seen.stat.start_ns)

    def _become(self, node: Node) -> None:
        """Remember the name that a process has before it runs another program, unless that was none of its own."""
        if not node.cmd or node.source == Source.UNREAD or len(node.former) == FORMER_MAX:
            return
        # Most processes were one of a few things before: they share one tuple.
        known = self._former
        if len(known) == FORMER_TUPLES_MAX:
            known.clear()
        former = (*node.former, node.cmd)
        node.former = known.setdefault(former, former)

    def _take_facts(self, node: Node, seen: Sighting, source: str) -> None:
        """Take over what /proc shows of a process that is known."""
        name = decode_name(seen.stat.comm)
        if source == Source.EXEC or node.cmd != name or node.source not in (Source.EXEC, Source.COMM):
            node.cmd = intern(name)
            node.source = source
        if node.birth_uid is None:
            node.uid = node.birth_uid = seen.uid
        elif node.uid != seen.uid:
            node.change_uid(seen.uid)
        node.session = seen.stat.session
        self.places.take_tty(node, seen.stat.tty_nr)
        node.cmdline = seen.cmdline
        node.full_name = None if seen.full_name is None else decode_name(seen.full_name)
        if not node.start_ns:
            node.start_ns = seen.stat.start_ns
        if node.ppid is None:
            node.ppid = seen.stat.ppid
            node.ppid_source = Source.PROCFS
        elif seen.stat.ppid != node.ppid:
            node.adopter_pid = seen.stat.ppid


def _descends(node: Node, ancestor: Node) -> bool:
    """Whether a process is under another one; only what is put in by hand can make a circle."""
    current: Node | None = node
    while current is not None:
        if current is ancestor:
            return True
        current = current.parent
    return False
