"""The functions of the public API that are no method of an `Engine`: each takes the parts it works on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import query
from .engine.cache import PidTree, ProcCache, new_user_names
from .engine.identity import is_same_start
from .engine.scan import scan_at_once
from .engine.table import ProcessTable
from .engine.view import View
from .errors import ConnectorUnavailableError, MalformedMessageError, ProcessHiddenError
from .events import Exec, Exit, Fork
from .kernel import clocks
from .kernel.netlink import ProcConnector
from .kernel.procfs import ProcReader
from .kernel.users import UserNames
from .kernel.wire import decode
from .process import (
    PID_TREE_CAP,
    PID_TREE_TTL_SECS,
    PROC_CACHE_CAP,
    PROC_CACHE_TTL_SECS,
    CacheParams,
    Node,
    Source,
    is_name_read,
)
from .render.chain import walk_text

if TYPE_CHECKING:
    from .events import Event

_users = UserNames()
_reader = ProcReader()
_QUEUED_AT_MOST_S = 60


def new_cache() -> ProcCache:
    """Make a process cache with the default bounds."""
    return new_cache_with(CacheParams(PROC_CACHE_CAP, PROC_CACHE_TTL_SECS))


def new_cache_with(params: CacheParams) -> ProcCache:
    """Make a process cache with these bounds."""
    users, _ = new_user_names(clocks.boottime_ns)
    return ProcCache(ProcessTable(params), users)


def new_pid_tree() -> PidTree:
    """Make a process tree with the default bounds."""
    return new_pid_tree_with(CacheParams(PID_TREE_CAP, PID_TREE_TTL_SECS))


def new_pid_tree_with(params: CacheParams) -> PidTree:
    """Make a process tree with these bounds."""
    return PidTree(ProcessTable(params), ProcReader())


def snapshot_process_tree(tree: PidTree, cache: ProcCache | None = None) -> None:
    """Seed the tree, and the cache with the users too, from all that /proc shows."""
    began_ns = tree.table.timer()
    sightings = list(ProcReader().see_all())
    with tree.table.lock:
        nodes = scan_at_once(tree.process_tree, sightings, began_ns, is_whole=False)
    if cache is not None and cache.table is not tree.table:
        with cache.table.lock:
            for node in nodes:
                _copy_facts(cache, node)


def handle_proc_events(cache: ProcCache, tree: PidTree, data: bytes) -> bool:
    """Apply the netlink messages in `data`: true where one of them was about a process.

    Bytes that are no messages are passed over. `data` is what a `ProcConnector` receives.
    """
    try:
        events = decode(data)
    except MalformedMessageError as error:
        events = list(error.events)
    is_applied = False
    tree.process_tree.to_boottime_ns = clocks.monotonic_to_boottime_ns()
    for event in events:
        with tree.table.lock:
            handler = tree.process_tree.handlers.get(type(event))
            node = handler(_dated(tree, event)) if handler is not None else None
        if node is not None:
            is_applied = True
            if cache.table is not tree.table:
                _follow(cache, event, node)
    return is_applied


def _dated(tree: PidTree, event: Event) -> Event:
    """Give an event as of now that is too old for any queue: made by hand, perhaps without a clock."""
    now_ns = tree.table.timer() - tree.process_tree.to_boottime_ns
    oldest_ns = now_ns - int(max(tree.table.params.ttl_secs, _QUEUED_AT_MOST_S) * 1e9)
    return event if event.timestamp_ns >= oldest_ns else event._replace(timestamp_ns=now_ns)


def build_chain(tree: PidTree, cache: ProcCache, pid: int) -> str:
    """Give the ancestry in the one-line form: `102|touch|root;101|sh|root;1|systemd|root`.

    Falls back to /proc for what is not in the tree; `99999|unknown|unknown` for nobody.
    """
    with tree.table.lock:
        view = _CachedUsersView(tree, cache)
        return walk_text(view, query.walk(view, pid))


def is_descendant(tree: PidTree, pid: int, target_cmd: str) -> bool:
    """Tell whether `pid`, or an ancestor of it, is named `target_cmd`; "no" is also "cannot tell" here."""
    with tree.table.lock:
        walked = query.walk(View(tree.table, _reader, _users), pid)
        return any(query.match_name(node, target_cmd)[0] for node in walked.nodes)


def try_create_connector() -> ProcConnector | None:
    """Open a listening connector; where there is none, say why on stderr, in one line, and return None."""
    try:
        return ProcConnector.open()
    except ConnectorUnavailableError as error:
        print(f"proc-cache: no process events: {error}", file=sys.stderr)  # noqa: T201
        return None


class _CachedUsersView(View):
    """Takes the user from the cache where the tree does not know it, if it is the same process."""

    def __init__(self, tree: PidTree, cache: ProcCache) -> None:
        super().__init__(tree.table, _reader, cache.users)
        self._cache = cache
        self._named: dict[int | str, str | None] = {}  # users of one chain: they are few

    def user(self, node: Node) -> str | None:
        uid = node.uid
        if uid is None:
            return self._user_from_elsewhere(node)
        if uid not in self._named:
            self._named[uid] = super().user(node)
        return self._named[uid]

    def _user_from_elsewhere(self, node: Node) -> str | None:
        info = self._cache.get(node.pid)
        if info is not None and (not node.start_ns or info.start_time_ns == node.start_ns):
            return info.user
        return self._user_from_proc(node) if node.source == Source.MANUAL else None

    def _user_from_proc(self, node: Node) -> str | None:
        assert self.reader is not None
        try:
            seen = self.reader.see(node.pid)
        except ProcessHiddenError:
            return None
        if seen is None or (node.start_ns and seen.stat.start_ns != node.start_ns):
            return None
        return self.users.name(seen.uid)


def _follow(cache: ProcCache, event: Event, node: Node) -> None:
    """Do to a cache of its own what the event did to the tree."""
    with cache.table.lock:
        known = cache.table.newest.get(node.pid)
        if isinstance(event, Fork):
            if known is not None and is_same_start(node.start_ns, known.start_ns) and is_name_read(node):
                _copy_facts(cache, node)  # it was seen before its Fork was read
            elif known is not None:  # a new process has the pid: nothing of the old one may answer for it
                cache.table.forget(known)
        elif isinstance(event, Exit):
            if known is not None and not known.exit_ns:
                cache.table.retire(known, node.exit_ns, node.exit_status)
        elif known is not None or isinstance(event, Exec):
            _copy_facts(cache, node)


def _copy_facts(cache: ProcCache, node: Node) -> None:
    known = cache.table.newest.get(node.pid)
    if known is None or known.exit_ns or not is_same_start(node.start_ns, known.start_ns):
        known = Node(node.pid, node.start_ns, node.ppid, node.ppid_source, None, "", node.source, node.uid)
        cache.table.add(known)
    known.start_ns = node.start_ns
    known.cmd, known.source, known.uid, known.cmdline = node.cmd, node.source, node.uid, node.cmdline
