"""Every process that is known, and which of the dead are kept.

Theory of retention. The living are never evicted. A process that exits joins the end of one queue; its age
counts from there. What stands at the front longer than `ttl_secs`, or beyond `capacity`, leaves it:

  - with no retained child it is evicted, and its parent has one child less;
  - with retained children it is *held*, so that every chain that can be started can be finished, and it goes
    with the last of them.

One shape would grow without bound like this: a ladder of processes of which each forks and dies, for all its
dead rungs are ancestors of the living tip. So the middle of every long run of dead only children is left out,
and the rung below the gap says how many generations it is: seen from the tip as it grows, every SAMPLING-th
birth; and everywhere when the held ones take most of the capacity.

Of what has left, one byte stays for each pid: that somebody had it. A miss can then be told from a pid never
seen.
"""

from __future__ import annotations

from _thread import RLock

from ..kernel.clocks import boottime_ns
from ..process import CMDLINE_KEPT_BYTES, cut_cmdline

TYPE_CHECKING = False
if not TYPE_CHECKING:
    # The C module behind `collections`: that one costs 2 to 4 ms of a one-shot query.
    from _collections import deque
else:
    from collections import deque
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from ..process import CacheParams, Node

    class Recorder(Protocol):
        """Who writes a history: told by the table of what it should write."""

        def mark(self, node: Node) -> None:
            """Note that a process was born, has ended, or was found to live on."""

        def became(self, node: Node, time_ns: int) -> None:
            """Note that a process runs another program since then (CLOCK_BOOTTIME)."""

        def keep(self, nodes: list[Node]) -> None:
            """Take down whose children these are now: the links between them are about to be cut."""


LADDER_ENDS = 32  # rungs kept at each end of a ladder; fewer where the capacity is small
LADDER_MAX = 256  # rungs from which on the middle is left out
SAMPLING = 256  # births between two looks at what is above the newest
PID_MAX_LIMIT = 1 << 22  # linux/threads.h


class ProcessTable:
    """PID -> the newest process known to have had it; older owners hang off `Node.previous`.

    `timer` gives CLOCK_BOOTTIME in nanoseconds. Take `lock` around every use; looking changes nothing.
    """

    def __init__(self, params: CacheParams, timer: Callable[[], int] = boottime_ns) -> None:
        if params.capacity < 0 or params.ttl_secs < 0:
            raise ValueError("capacity and ttl_secs cannot be negative")
        self.params = params
        self.timer = timer
        self.lock = RLock()
        self.newest: dict[int, Node] = {}
        self.expired = 0  # removed for age
        self.evicted = 0  # removed for room
        self.alive = 0  # processes that have not
        self.dead = 0  # retained processes that have exited
        self.recorder: Recorder | None = None
        self.held: set[Node] = set()  # dead and past their time, kept because a child is kept
        self._ttl_ns = int(params.ttl_secs * 1_000_000_000)
        # The dead that are not held, in the order of their exits; and some that were left out of a ladder, until
        # they come to its front: taking them out of its middle would cost too much.
        self._queue: deque[Node] = deque()
        self._left_in_queue: set[Node] = set()
        # Room is made for some at a time: a call for each would cost more than what it does.
        self._room = params.capacity - params.capacity // 1024
        self._ladder_ends = min(LADDER_ENDS, max(1, params.capacity // 8))
        self._shorten_step = max(params.capacity // 4, 4 * self._ladder_ends)
        self._shorten_beyond = params.capacity // 2 + self._shorten_step
        self._forgotten = bytearray()  # by pid, as far as pids have come
        self._births = 0

    # --- looking ----------------------------------------------------------------------------------------

    def owners(self, pid: int) -> Iterator[Node]:
        """Give the retained processes that had this pid, newest first."""
        node = self.newest.get(pid)
        while node is not None:
            yield node
            node = node.previous

    def nodes(self) -> Iterator[Node]:
        """Give every retained process, former owners of a pid included."""
        for pid in self.newest:
            yield from self.owners(pid)

    def oldest_dead(self) -> Node | None:
        """Give the one that is dead for longest, None where none is kept (held ones aside)."""
        return next((node for node in self._queue if node not in self._left_in_queue), None)

    def was_forgotten(self, pid: int) -> bool:
        """Tell whether somebody had this pid who is not retained any more."""
        return 0 <= pid < len(self._forgotten) and bool(self._forgotten[pid])

    # --- coming -----------------------------------------------------------------------------------------

    def add(self, node: Node) -> None:
        """Make `node` the newest owner of its pid and a child of its parent."""
        pid, parent = node.pid, node.parent
        node.previous = self.newest.get(pid)
        self.newest[pid] = node
        self.alive += 1
        if parent is not None:
            parent.children += 1
        if self.recorder is not None:
            self.recorder.mark(node)
        self._births += 1
        if not self._births % SAMPLING:
            self._shorten_above(node)

    def relink(self, node: Node, parent: Node | None) -> None:
        """Put a node under the parent that it was really born of."""
        if parent is not None:
            parent.children += 1
        former, node.parent = node.parent, parent
        if former is not None:
            self._drop_child(former)

    # --- going ------------------------------------------------------------------------------------------

    def retire(self, node: Node, exit_ns: int, status: int | None) -> None:
        """Mark the end of a process; from now on it can be evicted.

        Where its Exit event was not seen, `status` is None and `exit_ns` is when its end was noticed.
        """
        node.exit_ns = exit_ns
        node.exit_status = status
        if node.cmdline is not None and len(node.cmdline) > CMDLINE_KEPT_BYTES:
            node.cmdline = cut_cmdline(node.cmdline, CMDLINE_KEPT_BYTES)
        self._queue.append(node)
        self.alive -= 1
        self.dead += 1
        if self.recorder is not None:
            self.recorder.mark(node)
        if self.dead > self.params.capacity:
            self._make_room()

    def revive(self, node: Node) -> None:
        """Take back an end that was none (its thread went on, or the exit was another owner's)."""
        node.exit_ns = 0
        node.exit_status = None
        self.alive += 1
        self.dead -= 1
        if self.recorder is not None:
            self.recorder.mark(node)
        if node in self.held:
            self.held.remove(node)
        else:
            self._queue.remove(node)  # linear, and rare: see who calls

    def forget(self, node: Node) -> None:
        """Remove a process by hand, dead or alive; its children lose their parent."""
        if node.exit_ns and node not in self.held:
            self._queue.remove(node)
        for other in self.nodes():
            if other.parent is node:
                other.parent = None
                node.children -= 1
        self._evict(node)

    def expire(self, step: int | None = None) -> int:
        """Remove what has been dead for longer than the ttl, `step` of them at most; returns how many went."""
        if not self._queue:
            return 0
        oldest_ns = self.timer() - self._ttl_ns
        removed = looked_at = 0
        while self._queue and self._queue[0].exit_ns < oldest_ns and looked_at != step:
            removed += self._release_oldest()
            looked_at += 1
        self.expired += removed
        return removed

    def _make_room(self) -> None:
        while self._queue and self.dead > self._room:
            self.evicted += self._release_oldest()
            if len(self.held) > self._shorten_beyond:
                self._shorten_ladders()

    def _release_oldest(self) -> int:
        """Let the one dead for longest leave the queue: evicted, or held by a child; returns how many went."""
        node = self._queue.popleft()
        if node in self._left_in_queue:
            self._left_in_queue.remove(node)
            return 0
        if node.children:
            self.held.add(node)
            return 0
        return self._evict(node)

    def _evict(self, node: Node) -> int:
        """Take a node out, and the held ancestors that only it kept; returns how many went."""
        self.held.discard(node)
        if node.exit_ns:
            self.dead -= 1
        else:
            self.alive -= 1
        newest = self.newest
        if 0 <= node.pid <= PID_MAX_LIMIT:
            if node.pid >= len(self._forgotten):
                self._forgotten.extend(bytes(2 * node.pid + 1 - len(self._forgotten)))
            self._forgotten[node.pid] = 1
        owner = newest[node.pid]
        if owner is node:
            if node.previous is None:
                del newest[node.pid]
            else:
                newest[node.pid] = node.previous
        else:
            while owner.previous is not node:
                owner = owner.previous  # type: ignore[assignment]  # the node is one of them
            owner.previous = node.previous
        return 1 if node.parent is None else 1 + self._drop_child(node.parent)

    def _drop_child(self, parent: Node) -> int:
        """Count one child less; where that was what held ancestors, they go; returns how many went."""
        parent.children -= 1
        removed = 0
        while not parent.children and parent in self.held:
            grandparent, parent.parent = parent.parent, None
            removed += self._evict(parent)
            if grandparent is None:
                break
            parent = grandparent
            parent.children -= 1
        return removed

    # --- ladders ----------------------------------------------------------------------------------------

    def _shorten_ladders(self) -> None:
        """Leave out the middle of every long run of held only children (see the theory above)."""
        in_run = {node for node in self.held if node.children == 1}
        below = {node.parent: node for node in self.nodes() if node.parent in in_run}
        for top in [node for node in in_run if node.parent not in in_run]:
            run = [top]
            while (child := below.get(run[-1])) in in_run:
                run.append(child)
            self._cut(run)
        # A sweep looks at everything: the next one waits until it has something to win.
        self._shorten_beyond = max(self.params.capacity // 2, len(self.held)) + self._shorten_step

    def _shorten_above(self, node: Node) -> None:
        """Leave out the middle of the ladder that a newborn stands on, if it does, and if that is long."""
        run: list[Node] = []
        rung = node.parent
        for _ in range(4 * LADDER_MAX):
            if rung is None:
                break
            if rung.exit_ns and rung.children == 1:
                run.append(rung)
            elif len(run) >= LADDER_MAX:
                break
            else:
                run.clear()
            rung = rung.parent
        if len(run) >= LADDER_MAX:
            self._cut(run[::-1])

    def _cut(self, run: list[Node]) -> None:
        middle = run[self._ladder_ends : -self._ladder_ends]
        if not middle:
            return
        upper, lower = run[self._ladder_ends - 1], run[-self._ladder_ends]
        if self.recorder is not None:
            self.recorder.keep([*middle, lower])
        lower.left_out += len(middle) + sum(node.left_out for node in middle)
        lower.parent = upper
        for node in middle:
            node.parent = None
            if node not in self.held:
                self._left_in_queue.add(node)
            self.evicted += self._evict(node)
        if len(self._left_in_queue) > len(self._queue) // 2:
            self._queue = deque(node for node in self._queue if node not in self._left_in_queue)
            self._left_in_queue.clear()
