"""The public API, as a program sees it: everything is imported from `proc_cache`."""

from __future__ import annotations

import os
import sys
import time
from threading import Thread
from typing import TYPE_CHECKING

import pytest

import proc_cache
from proc_cache import (
    PID_TREE_CAP,
    PID_TREE_TTL_SECS,
    PROC_CACHE_CAP,
    PROC_CACHE_TTL_SECS,
    CacheParams,
    ConnectorUnavailableError,
    PidNode,
    PidTree,
    ProcCache,
    ProcInfo,
    build_chain,
    handle_proc_events,
    is_descendant,
    new_cache,
    new_cache_with,
    new_pid_tree,
    new_pid_tree_with,
    read_proc_start_time_ns,
    snapshot_process_tree,
    try_create_connector,
)
from proc_cache.kernel import clocks
from tests.helpers import messages

if TYPE_CHECKING:
    from collections.abc import Callable

# Beyond the largest PID_MAX_LIMIT (4194304): no process of this machine can have these.
NOBODY, P1, P2, P3 = 9_999_999, 5_000_001, 5_000_002, 5_000_003
MS_NS = 1_000_000


@pytest.fixture
def tree() -> PidTree:
    return new_pid_tree()


@pytest.fixture
def cache() -> ProcCache:
    return new_cache()


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def ago(milliseconds: int) -> dict[str, int]:
    return {"timestamp_ns": now_ns() - milliseconds * MS_NS}


class TestNames:
    def test_all_can_be_imported(self) -> None:
        for name in proc_cache.__all__:
            assert getattr(proc_cache, name) is not None
        assert set(proc_cache.__all__) <= set(dir(proc_cache))

    def test_another_name(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = proc_cache.nothing

    def test_bounds(self) -> None:
        assert PROC_CACHE_CAP == PID_TREE_CAP == 65536
        assert PROC_CACHE_TTL_SECS == PID_TREE_TTL_SECS == 600
        assert new_cache().table.params == CacheParams(PROC_CACHE_CAP, PROC_CACHE_TTL_SECS)
        assert new_pid_tree().table.params == CacheParams(PID_TREE_CAP, PID_TREE_TTL_SECS)
        params = CacheParams(capacity=7, ttl_secs=3)
        assert new_cache_with(params).table.params == params
        assert new_pid_tree_with(params).table.params == params

    def test_each_call_makes_another(self) -> None:
        first, second = new_pid_tree(), new_pid_tree()
        first[P1] = PidNode(1, "a")
        assert P1 not in second


class TestBuildChain:
    def test_by_hand(self, tree: PidTree, cache: ProcCache) -> None:
        top = P1 + 2
        for pid, ppid, cmd in (
            (P1, P1 + 1, "touch"),
            (P1 + 1, top, "sh"),
            (top, 1, "openclaw"),
            (1, 0, "systemd"),
        ):
            tree[pid] = PidNode(ppid, cmd, 0)
            cache[pid] = ProcInfo(cmd, "root", ppid, pid, 0)
        expected = "5000001|touch|root;5000002|sh|root;5000003|openclaw|root;1|systemd|root"
        assert build_chain(tree, cache, P1) == expected

    def test_of_nobody(self, tree: PidTree, cache: ProcCache) -> None:
        assert build_chain(tree, cache, NOBODY) == f"{NOBODY}|unknown|unknown"

    def test_falls_back_to_proc(self, tree: PidTree, cache: ProcCache) -> None:
        chain = build_chain(tree, cache, os.getpid()).split(";")
        assert chain[0].startswith(f"{os.getpid()}|")
        assert chain[1].startswith(f"{os.getppid()}|")
        assert "unknown" not in chain[0]
        assert len(tree) == 0  # looking stores nothing

    def test_a_parent_that_is_gone(self, tree: PidTree, cache: ProcCache) -> None:
        tree[P1] = PidNode(NOBODY, "sh")
        cache[P1] = ProcInfo("sh", "root", NOBODY, P1, 0)
        assert build_chain(tree, cache, P1) == f"{P1}|sh|root;{NOBODY}|unknown|unknown"

    def test_a_user_that_is_unknown(self, tree: PidTree, cache: ProcCache) -> None:
        tree[P1] = PidNode(0, "sh", 5)
        assert build_chain(tree, cache, P1) == f"{P1}|sh|unknown"

    def test_the_cached_user_of_another_process_is_not_taken(self, tree: PidTree, cache: ProcCache) -> None:
        cache[P1] = ProcInfo("old", "alice", 0, P1, 4)
        tree[P1] = PidNode(0, "sh", 5)
        assert build_chain(tree, cache, P1) == f"{P1}|sh|unknown"

    @pytest.mark.parametrize("links", [((P1, P1),), ((P1, P2), (P2, P1)), ((P1, P2), (P2, P3), (P3, P2))])
    def test_loops_end(self, tree: PidTree, cache: ProcCache, links: tuple[tuple[int, int], ...]) -> None:
        for pid, ppid in links:
            tree[pid] = PidNode(ppid, f"p{pid}")
        chain = build_chain(tree, cache, P1)
        assert [link.split("|")[0] for link in chain.split(";")] == [str(pid) for pid, _ in links]
        assert is_descendant(tree, P1, f"p{links[-1][0]}")
        assert not is_descendant(tree, P1, "nothing of the kind")

    def test_names_cannot_forge_links(self, tree: PidTree, cache: ProcCache) -> None:
        tree[P1] = PidNode(0, "x|root;1|systemd", 5)
        cache[P1] = ProcInfo("x|root;1|systemd", "a|b;c", 0, P1, 5)
        chain = build_chain(tree, cache, P1)
        assert chain == rf"{P1}|x\x7croot\x3b1\x7csystemd|a\x7cb\x3bc"

    def test_a_chain_far_deeper_than_pythons_stack(self, tree: PidTree, cache: ProcCache) -> None:
        depth = 5 * sys.getrecursionlimit()
        for number in range(depth):
            tree[P1 + number] = PidNode(P1 + number + 1 if number + 1 < depth else 0, "x")
        assert build_chain(tree, cache, P1).count(";") == depth - 1


class TestIsDescendant:
    def test_by_hand(self, tree: PidTree) -> None:
        tree[P1] = PidNode(P2, "ls")
        tree[P2] = PidNode(0, "sh")
        assert is_descendant(tree, P1, "ls")
        assert is_descendant(tree, P1, "sh")
        assert not is_descendant(tree, P2, "ls")
        assert not is_descendant(tree, P1, "s")

    def test_of_nobody(self, tree: PidTree) -> None:
        assert is_descendant(tree, NOBODY, "sh") is False

    def test_an_empty_name_is_no_match(self, tree: PidTree) -> None:
        tree[P1] = PidNode(0, "")
        assert not is_descendant(tree, P1, "")

    def test_from_proc(self, tree: PidTree) -> None:
        with open("/proc/self/comm", "rb") as file:
            name = file.read().rstrip(b"\n").decode("utf-8", "surrogateescape")
        assert is_descendant(tree, os.getpid(), name)


class TestHandleProcEvents:
    def test_fork_exec_exit(self, tree: PidTree, cache: ProcCache) -> None:
        told_ns = now_ns()
        assert handle_proc_events(cache, tree, messages.fork(1, P1, timestamp_ns=told_ns))
        offset_ns = clocks.monotonic_to_boottime_ns()
        assert abs(tree[P1].start_time_ns - told_ns - offset_ns) < MS_NS
        assert (tree[P1].ppid, tree[P1].cmd) == (1, "")
        assert P1 not in cache
        assert handle_proc_events(cache, tree, messages.exec_(P1, timestamp_ns=now_ns()))  # too late to be read
        assert tree[P1].cmd == ""
        assert handle_proc_events(cache, tree, messages.exit_(P1, timestamp_ns=now_ns()))
        assert tree[P1].ppid == 1

    def test_exec_fills_name_and_cache(self, tree: PidTree, cache: ProcCache) -> None:
        pid = os.getpid()
        start_ns = read_proc_start_time_ns(pid)
        told_ns = start_ns - clocks.monotonic_to_boottime_ns() + MS_NS
        handle_proc_events(cache, tree, messages.fork(os.getppid(), pid, timestamp_ns=told_ns))
        assert tree[pid].cmd == ""
        assert handle_proc_events(cache, tree, messages.exec_(pid, timestamp_ns=told_ns + MS_NS))
        assert tree[pid].cmd == cache[pid].cmd != ""
        assert cache[pid].tgid == pid
        assert cache[pid].ppid == os.getppid()
        assert handle_proc_events(cache, tree, messages.exit_(pid, **ago(0)))
        assert tree[pid].cmd == cache[pid].cmd != ""  # kept

    def test_several_messages_and_order(self, tree: PidTree, cache: ProcCache) -> None:
        data = (
            messages.fork(1, P1, **ago(30))
            + messages.comm(P1, b"sh", **ago(20))
            + messages.fork(P1, P2, **ago(10))
            + messages.exit_(P1, **ago(5))
            + messages.exit_(P2, **ago(4))
        )
        assert handle_proc_events(cache, tree, data)
        assert tree[P2].ppid == P1
        assert is_descendant(tree, P2, "sh")
        assert build_chain(tree, cache, P2).startswith(f"{P2}|sh|")

    def test_a_reused_pid_has_nothing_of_the_former(self, tree: PidTree, cache: ProcCache) -> None:
        cache[P1] = ProcInfo("old", "alice", 1, P1, 0)
        handle_proc_events(cache, tree, messages.fork(1, P1, **ago(30)) + messages.comm(P1, b"old", **ago(29)))
        handle_proc_events(cache, tree, messages.exit_(P1, **ago(20)) + messages.fork(NOBODY, P1, **ago(10)))
        assert (tree[P1].cmd, tree[P1].ppid) == ("", NOBODY)
        assert P1 not in cache
        assert build_chain(tree, cache, P1) == f"{P1}|unknown|unknown;{NOBODY}|unknown|unknown"

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"junk",
            messages.fork(1, P1)[:-1],
            messages.ack(5),
            messages.fork(1, P1, tid=P2),  # a thread
            messages.exit_(P1, tid=P2),
            messages.comm(P1, b"of nobody known"),
            messages.message(0x400, b""),
            messages.fork(1, P1, idx=9),
            messages.fork(1, P1, kind=2),
        ],
    )
    def test_nothing_was_applied(self, tree: PidTree, cache: ProcCache, data: bytes) -> None:
        assert handle_proc_events(cache, tree, data) is False
        assert len(tree) == 0

    def test_what_came_before_the_malformed_is_applied(self, tree: PidTree, cache: ProcCache) -> None:
        assert handle_proc_events(cache, tree, messages.fork(1, P1, **ago(1)) + b"junk")
        assert P1 in tree

    def test_bounds_hold_for_the_dead(self, cache: ProcCache) -> None:
        tree = new_pid_tree_with(CacheParams(capacity=5, ttl_secs=600))
        for pid in range(P1, P1 + 50):
            handle_proc_events(cache, tree, messages.fork(NOBODY, pid, **ago(1)) + messages.exit_(pid, **ago(0)))
        assert list(tree) == list(range(P1 + 45, P1 + 50))

    def test_age_bounds_the_dead(self, cache: ProcCache) -> None:
        tree = new_pid_tree_with(CacheParams(capacity=50, ttl_secs=0.5))
        handle_proc_events(cache, tree, messages.fork(NOBODY, P1, **ago(3000)))
        handle_proc_events(cache, tree, messages.fork(NOBODY, P2, **ago(3000)))
        handle_proc_events(cache, tree, messages.exit_(P1, **ago(600)))
        assert list(tree) == [P2]

    def test_exit_keeps_the_entry_whatever_its_time_stamp(self, tree: PidTree, cache: ProcCache) -> None:
        """A program may make its own messages, without a clock."""
        handle_proc_events(cache, tree, messages.fork(NOBODY, P1) + messages.exit_(P1))
        assert P1 in tree

    def test_one_table_for_both(self) -> None:
        tree = new_pid_tree()
        cache = ProcCache(tree.table, new_cache().users)
        assert handle_proc_events(cache, tree, messages.fork(1, P1, **ago(1)))
        assert P1 in tree
        assert P1 not in cache


class TestSnapshot:
    def test_seeds_the_tree_and_the_cache(self, tree: PidTree, cache: ProcCache) -> None:
        snapshot_process_tree(tree, cache)
        pid = os.getpid()
        assert tree[pid].ppid == os.getppid()
        assert tree[pid].start_time_ns == cache[pid].start_time_ns == read_proc_start_time_ns(pid)
        assert cache[pid].cmd == tree[pid].cmd != ""
        assert cache[pid].user not in ("", "unknown")

    def test_of_the_tree_alone(self, tree: PidTree, cache: ProcCache) -> None:
        snapshot_process_tree(tree)
        assert os.getpid() in tree
        assert build_chain(tree, cache, os.getpid()).split(";")[0].count("unknown") == 0

    def test_twice(self, tree: PidTree, cache: ProcCache) -> None:
        snapshot_process_tree(tree, cache)
        first = tree[os.getpid()]
        snapshot_process_tree(tree, cache)
        assert tree[os.getpid()] == first
        assert len(list(tree.table.owners(os.getpid()))) == 1

    def test_the_queued_fork_of_a_process_that_it_saw(self, tree: PidTree, cache: ProcCache) -> None:
        """Subscribe, snapshot, drain: what the cache knows of that process stays."""
        snapshot_process_tree(tree, cache)
        pid, info = os.getpid(), cache[os.getpid()]
        told_ns = read_proc_start_time_ns(pid) - clocks.monotonic_to_boottime_ns() + MS_NS
        assert handle_proc_events(cache, tree, messages.fork(os.getppid(), pid, timestamp_ns=told_ns))
        assert tree[pid].cmd == info.cmd
        assert cache[pid].user == info.user


def test_start_times() -> None:
    start_ns = read_proc_start_time_ns(os.getpid())
    assert 0 < start_ns <= clocks.boottime_ns()
    assert read_proc_start_time_ns(NOBODY) == 0


def test_no_connector_is_one_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise ConnectorUnavailableError("for a reason; do something")

    monkeypatch.setattr("proc_cache.api.ProcConnector.open", refuse)
    assert try_create_connector() is None
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "proc-cache: no process events: for a reason; do something\n"


def test_threads_share_one_tree() -> None:
    """Writers of distinct pids beside readers of everything: no exception, no lost entry."""
    tree, cache = new_pid_tree_with(CacheParams(100, 600)), new_cache_with(CacheParams(100, 600))
    failures: list[BaseException] = []
    count, writers = 300, 4

    def write(first: int) -> None:
        for pid in range(first, first + count):
            handle_proc_events(cache, tree, messages.fork(1, pid, **ago(0)) + messages.comm(pid, b"w", **ago(0)))
            cache[pid] = ProcInfo("w", "root", 1, pid, tree[pid].start_time_ns)
            if pid % 2:
                handle_proc_events(cache, tree, messages.exit_(pid, **ago(0)))

    def read() -> None:
        for pid in range(P1, P1 + 200):
            build_chain(tree, cache, pid)
            is_descendant(tree, pid, "w")
            sum(pid in tree for pid in tree)
            len(cache)

    def guarded(function: Callable[..., None], *arguments: int) -> None:
        try:
            function(*arguments)
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            failures.append(error)

    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [Thread(target=guarded, args=(write, P1 + 10_000 * number)) for number in range(writers)]
        threads += [Thread(target=guarded, args=(read,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch_interval)
    assert failures == []
    alive = [pid for number in range(writers) for pid in range(P1 + 10_000 * number, P1 + 10_000 * number + count)]
    assert set(tree) >= {pid for pid in alive if pid % 2 == 0}
    assert tree.table.dead == 100
