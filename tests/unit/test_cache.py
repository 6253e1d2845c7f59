"""engine/cache.py: the mappings of the public API, and the counted cache of user names."""

from __future__ import annotations

import pytest

from proc_cache.engine.cache import CountedTTLCache, PidTree, ProcCache, new_user_names
from proc_cache.kernel.users import UserNames
from proc_cache.process import Node, PidNode, ProcInfo, Source
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import USER_NAMES, Story


@pytest.fixture
def story() -> Story:
    return Story(ttl_s=600, reader=FakeReader())


@pytest.fixture
def tree(story: Story) -> PidTree:
    return PidTree(story.table)


@pytest.fixture
def cache(story: Story) -> ProcCache:
    return ProcCache(story.table, UserNames(dict(USER_NAMES)))


def run_program(story: Story, pid: int, comm: bytes, uid: int = 0) -> None:
    assert isinstance(story.reader, FakeReader)
    story.reader.show(sighting(pid, start_ns=story.node(pid).start_ns, comm=comm, uid=uid, ppid=1))
    story.exec(pid)


class TestPidTree:
    def test_cmd_is_empty_from_fork_until_exec(self, story: Story, tree: PidTree) -> None:
        story.fork(1, 10)
        run_program(story, 10, b"sh")
        node = story.fork(10, 11)
        assert tree[11] == PidNode(10, "", node.start_ns)
        run_program(story, 11, b"ls")
        assert tree[11] == PidNode(10, "ls", node.start_ns)

    def test_a_rename_fills_it_too(self, story: Story, tree: PidTree) -> None:
        story.fork(1, 10)
        story.comm(10, b"me")
        assert tree[10].cmd == "me"

    def test_an_unread_exec_leaves_it_empty(self, story: Story, tree: PidTree) -> None:
        story.fork(1, 10)
        run_program(story, 10, b"sh")
        assert isinstance(story.reader, FakeReader)
        story.reader.shown.clear()
        story.exec(10)
        assert tree[10].cmd == ""

    def test_exit_keeps_the_entry_until_it_is_too_old(self, story: Story, tree: PidTree) -> None:
        story.fork(1, 10)
        run_program(story, 10, b"sh")
        story.exit(10)
        story.wait(599)
        assert tree[10].cmd == "sh"
        story.wait(2)
        assert 10 not in tree
        with pytest.raises(KeyError):
            tree[10]
        assert len(tree) == 0

    def test_looking_reorders_nothing(self) -> None:
        told = Story(capacity=2)
        small = PidTree(told.table)
        for pid in (10, 11):
            told.fork(1, pid)
            told.exit(pid)
        for _ in range(5):
            assert small[10].ppid == 1  # an LRU would keep this one now
            assert 10 in small
            small.get(10)
        told.fork(1, 12)
        told.exit(12)
        assert sorted(small) == [11, 12]

    def test_is_a_mapping(self, story: Story, tree: PidTree) -> None:
        for pid in (10, 11):
            story.fork(1, pid)
        assert list(tree) == [10, 11]
        assert dict(tree) == {pid: PidNode(1, "", story.node(pid).start_ns) for pid in (10, 11)}
        assert (len(tree), repr(tree)) == (2, "PidTree(2 processes)")
        assert not tree.__contains__("10")
        assert tree.get(99) is None

    def test_counts_hits_and_misses(self, story: Story, tree: PidTree) -> None:
        story.fork(1, 10)
        tree.get(10)
        tree.get(10)
        tree.get(99)
        assert 10 in tree
        list(tree)
        assert (tree.hits, tree.misses) == (2, 1)

    def test_iterating_while_it_changes(self, story: Story, tree: PidTree) -> None:
        story.fork(1, 10)
        for pid in tree:
            story.fork(pid, 11)
        assert set(tree) == {10, 11}

    def test_items_while_entries_go(self, story: Story, tree: PidTree) -> None:
        """By another thread's doing, or by age alone."""
        for pid in (10, 11):
            story.fork(1, pid)
            story.exit(pid)
        items = iter(tree.items())
        next(items)
        story.wait(1000)
        list(items)

    def test_put_and_take_by_hand(self, tree: PidTree) -> None:
        tree[10] = PidNode(1, "sh", 5)
        assert tree[10] == PidNode(1, "sh", 5)
        assert tree.pop(10) == PidNode(1, "sh", 5)
        with pytest.raises(KeyError):
            del tree[10]
        tree.update({10: PidNode(1, "a"), 11: PidNode(10, "b")})
        tree.clear()
        assert len(tree) == 0

    def test_a_put_with_another_start_is_another_process(self, story: Story, tree: PidTree) -> None:
        former = story.fork(1, 10)
        tree[10] = PidNode(2, "new", former.start_ns + 5)
        assert story.node(10).previous is former
        assert former.exit_ns
        assert tree[10] == PidNode(2, "new", former.start_ns + 5)

    def test_what_was_put_by_hand_is_never_evicted_while_it_lives(self, story: Story, tree: PidTree) -> None:
        tree[10] = PidNode(1, "sh", 5)
        story.wait(1_000_000)
        assert 10 in tree
        story.exit(10)
        assert tree[10].cmd == "sh"
        story.wait(601)
        assert 10 not in tree

    def test_put_by_hand_over_the_dead_lives(self, story: Story, tree: PidTree) -> None:
        tree[10] = PidNode(1, "old")
        story.exit(10)
        tree[10] = PidNode(1, "new")
        story.wait(1_000_000)
        assert 10 in tree

    def test_ancestors_put_by_hand_are_retained(self, story: Story, tree: PidTree) -> None:
        tree[10] = PidNode(1, "sh", 5)
        tree[11] = PidNode(10, "ls", 6)
        story.exit(10)
        story.wait(601)
        assert 11 in tree
        assert 10 in tree

    def test_put_again_under_another_parent(self, story: Story, tree: PidTree) -> None:
        for pid in (10, 12):
            tree[pid] = PidNode(1, "sh", 5)
        tree[11] = PidNode(10, "ls", 6)
        tree[11] = PidNode(12, "ls", 6)
        assert story.view.parent(story.node(11)) is story.node(12)
        story.exit(10)
        story.wait(601)
        assert sorted(tree) == [11, 12]

    def test_ancestors_put_after_their_children_are_retained(self, story: Story, tree: PidTree) -> None:
        tree[11] = PidNode(10, "ls", 6)
        tree[10] = PidNode(1, "sh", 5)
        story.exit(10)
        story.wait(601)
        assert sorted(tree) == [10, 11]


class TestProcCache:
    def test_has_a_process_once_its_name_and_user_were_read(self, story: Story, cache: ProcCache) -> None:
        story.fork(1, 10)
        assert 10 not in cache
        run_program(story, 10, b"sh", uid=1000)
        assert cache[10] == ProcInfo("sh", "alice", 1, 10, story.node(10).start_ns)
        story.fork(10, 11)
        assert 11 not in cache  # its name is only inherited
        assert list(cache) == [10]
        assert len(cache) == 1

    def test_a_user_without_a_name_is_a_number(self, story: Story, cache: ProcCache) -> None:
        story.fork(1, 10)
        run_program(story, 10, b"sh", uid=4_000_000_001)
        assert cache[10].user == "4000000001"

    def test_follows_the_user(self, story: Story, cache: ProcCache) -> None:
        story.fork(1, 10)
        run_program(story, 10, b"su", uid=0)
        story.uid(10, 1001)
        assert cache[10].user == "bob"

    def test_ppid_is_the_birth_parent(self, story: Story, cache: ProcCache) -> None:
        story.fork(5, 10)
        run_program(story, 10, b"sh")
        story.exit(10, parent=1)
        assert cache[10].ppid == 5

    def test_put_by_hand(self, cache: ProcCache) -> None:
        info = ProcInfo("sh", "somebody", 1, 10, 5)
        cache[10] = info
        assert cache[10] == info
        del cache[10]
        assert cache.get(10) is None

    def test_over_one_table_both_see_the_same(self, story: Story, tree: PidTree, cache: ProcCache) -> None:
        cache[10] = ProcInfo("sh", "somebody", 1, 10, 5)
        assert tree[10] == PidNode(1, "sh", 5)
        tree[10] = PidNode(1, "ls", 5)
        assert cache[10] == ProcInfo("ls", "somebody", 1, 10, 5)

    def test_has_nobody_whose_user_is_unknown(self, story: Story, cache: ProcCache) -> None:
        story.table.add(Node(10, 5, 1, Source.FORK, None, "sh", Source.EXEC, None))
        assert 10 not in cache


class TestUserNames:
    def test_looks_each_uid_up_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int] = []

        def look_up(uid: int) -> str:
            asked.append(uid)
            return f"u{uid}"

        monkeypatch.setattr("proc_cache.kernel.users._look_up", look_up)
        now_ns = 0
        users, cache = new_user_names(lambda: now_ns)
        assert [users.name(5), users.name(5), users.name(6)] == ["u5", "u5", "u6"]
        assert asked == [5, 6]
        assert (cache.hits, cache.misses, len(cache)) == (1, 2, 2)
        now_ns = 601 * 10**9
        assert users.name(5) == "u5"
        assert asked == [5, 6, 5]
        assert (cache.expired, cache.evicted) == (2, 0)

    @pytest.mark.parametrize("uid", [4_000_000_001, 0xFFFFFFFF, 1 << 40, -5])
    def test_a_uid_without_an_entry(self, uid: int) -> None:
        assert UserNames().name(uid) == str(uid)

    def test_root(self) -> None:
        assert UserNames().name(0) == "root"

    def test_is_bounded_and_counts_why(self) -> None:
        cache = CountedTTLCache(3, 10, lambda: 0)
        for uid in range(10):
            cache[uid] = str(uid)
        assert (len(cache), cache.evicted, cache.expired) == (3, 7, 0)
