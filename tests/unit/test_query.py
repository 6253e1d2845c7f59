"""query.py: chains and descents, and when the answer is "cannot tell"."""

from __future__ import annotations

import pytest

from proc_cache import query
from proc_cache.events import Exec
from proc_cache.process import Node, Source
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import BEGINNING_NS, SECOND_NS, Story

INIT = sighting(1, ppid=0, start_ns=0, comm=b"systemd")
LONG = "a-very-long-program-name"


def family() -> Story:
    """1 systemd -> 10 sshd -> 11 bash -> 12 touch; nobody else is known."""
    story = Story(reader=FakeReader())
    story.scan([INIT], is_whole=False)
    for pid, name in ((10, b"sshd"), (11, b"bash"), (12, b"touch")):
        story.fork(1 if pid == 10 else pid - 1, pid)
        story.comm(pid, name)
    return story


class TestChain:
    def test_to_the_root(self) -> None:
        chain = query.chain(family().view, 12)
        assert [link.pid for link in chain.links] == [12, 11, 10, 1]
        assert [link.cmd for link in chain.links] == ["touch", "bash", "sshd", "systemd"]
        assert (chain.pid, chain.complete, chain.reason, chain.missing_pid) == (12, True, None, None)

    def test_goes_on_after_the_end_of_all(self) -> None:
        story = family()
        for pid in (10, 11, 12):
            story.exit(pid, status=256)
        chain = query.chain(story.view, 12)
        assert [link.pid for link in chain.links] == [12, 11, 10, 1]
        assert [link.is_alive for link in chain.links] == [False, False, False, True]
        assert chain.links[0].exit_code == 1

    def test_of_nobody(self) -> None:
        chain = query.chain(family().view, 99)
        assert (chain.links, chain.complete, chain.missing_pid) == ((), False, 99)
        assert chain.reason is not None
        assert "no process 99 is there now" in chain.reason
        assert not chain.may_exist

    def test_of_one_that_may_exist(self) -> None:
        story = family()
        assert isinstance(story.reader, FakeReader)
        story.reader.hidden.add(99)
        chain = query.chain(story.view, 99)
        assert chain.may_exist
        assert chain.reason is not None
        assert "hidden" in chain.reason

    def test_ends_at_a_parent_that_is_gone(self) -> None:
        story = family()
        story.fork(500, 501)
        chain = query.chain(story.view, 501)
        assert ([link.pid for link in chain.links], chain.complete, chain.missing_pid) == ([501], False, 500)

    def test_ends_where_the_birth_was_not_seen(self) -> None:
        story = family()
        story.exit(600)
        chain = query.chain(story.view, 600)
        assert ([link.pid for link in chain.links], chain.complete, chain.missing_pid) == ([600], False, None)
        assert chain.reason == "the parent of 600 is not known: its birth was not seen"

    def test_may_end_at_kthreadd(self) -> None:
        story = family()
        story.scan(
            [sighting(2, ppid=0, start_ns=0), sighting(30, ppid=2, start_ns=0, comm=b"kworker")], is_whole=False
        )
        chain = query.chain(story.view, 30)
        assert ([link.pid for link in chain.links], chain.complete) == ([30, 2], True)

    def test_falls_back_to_proc_and_stores_nothing(self) -> None:
        reader = FakeReader(
            [INIT, sighting(10, start_ns=SECOND_NS), sighting(11, ppid=10, start_ns=2 * SECOND_NS)]
        )
        story = Story(reader=reader)
        chain = query.chain(story.view, 11)
        assert [link.pid for link in chain.links] == [11, 10, 1]
        assert {link.source for link in chain.links} == {Source.PROCFS}
        assert {link.ppid_source for link in chain.links} == {Source.PROCFS}
        assert story.table.newest == {}
        assert story.view.fallbacks == 3

    def test_a_younger_process_with_the_parents_pid_is_never_adopted(self) -> None:
        story = family()
        assert isinstance(story.reader, FakeReader)
        story.fork(500, 501)  # 500 is not known
        story.reader.show(sighting(500, start_ns=story.now_ns + 60 * SECOND_NS, comm=b"imposter"))
        assert query.chain(story.view, 501).missing_pid == 500
        story.fork(1, 500)  # neither in /proc nor in the table
        assert query.chain(story.view, 501).missing_pid == 500

    def test_an_older_process_with_the_parents_pid_that_had_ended_is_not_the_parent(self) -> None:
        story = family()
        story.fork(1, 500)
        story.exit(500)
        orphan = Node(501, story.now_ns + SECOND_NS, 500, Source.FORK, None, "x", Source.EXEC, 0)
        story.table.add(orphan)
        assert query.chain(story.view, 501).missing_pid == 500

    def test_a_former_owner_that_lived_then_is_the_parent(self) -> None:
        story = family()
        former = story.fork(1, 500)
        orphan = Node(501, story.now_ns + SECOND_NS // 2, 500, Source.SNAPSHOT, None, "x", Source.SNAPSHOT, 0)
        story.table.add(orphan)
        story.exit(500)
        story.fork(1, 500)
        assert query.walk(story.view, 501).nodes[1] is former

    def test_a_thread_id_is_nobodys(self) -> None:
        story = family()
        assert isinstance(story.reader, FakeReader)
        story.reader.show(sighting(77, start_ns=SECOND_NS, is_thread=True))
        story.reader.tgids[77] = 70
        assert query.chain(story.view, 77).links == ()

    def test_says_how_many_generations_are_missing(self) -> None:
        story = Story(capacity=20, ttl_s=1e9)
        story.scan([INIT], is_whole=False)
        for pid in range(10, 2010):
            story.fork(1 if pid == 10 else pid - 1, pid)
            story.exit(pid - 1)
        chain = query.chain(story.view, 2009)
        left_out = sum(link.generations_left_out for link in chain.links)
        assert len(chain.links) + left_out == 2001
        assert left_out > 1900
        assert (chain.links[-1].pid, chain.links[-2].pid) == (1, 10)

    def test_the_present_parent_is_read_anew(self) -> None:
        story = family()
        assert isinstance(story.reader, FakeReader)
        story.exit(11)
        story.reader.show(sighting(12, ppid=10, start_ns=story.node(12).start_ns))
        link = query.chain(story.view, 12).links[0]
        assert (link.ppid, link.current_ppid) == (11, 10)
        story.reader.show(sighting(12, ppid=10, start_ns=story.node(12).start_ns + 60 * SECOND_NS))
        assert query.chain(story.view, 12).links[0].current_ppid == 11  # that is another process


class TestLoss:
    @staticmethod
    def lose(story: Story, at_ns: int) -> None:
        for seq, then_ns in ((1, at_ns), (5, at_ns + 1000)):
            event = Exec(seq, 0, then_ns, 1, 1)
            story.ledger.gap(event, 0)
            story.ledger.last[0] = event

    def test_is_told_where_it_touches_the_subjects_life(self) -> None:
        story = family()
        story.exit(12)
        self.lose(story, story.now_ns + SECOND_NS)
        story.wait(10)
        assert query.chain(story.view, 12).lost_events == 0
        assert query.chain(story.view, 11).lost_events == 3

    def test_makes_a_no_uncertain_for_the_dead(self) -> None:
        story = family()
        self.lose(story, story.now_ns)
        story.wait(1)
        assert query.descent(story.view, 12, "nginx").descendant is False  # all live: /proc shows their names
        story.exit(12)
        descent = query.descent(story.view, 12, "nginx")
        assert (descent.descendant, descent.reason) == (None, "events were lost while 12 lived")
        assert query.descent(story.view, 12, "bash").descendant is True


class TestDescent:
    @pytest.mark.parametrize(("cmd", "pid"), [("touch", 12), ("bash", 11), ("sshd", 10), ("systemd", 1)])
    def test_yes(self, cmd: str, pid: int) -> None:
        descent = query.descent(family().view, 12, cmd)
        assert (descent.descendant, descent.reason, descent.matched_by) == (True, None, "cmd")
        assert descent.match is not None
        assert descent.match.pid == pid
        assert [link.pid for link in query.path_to(descent).links][-1] == pid

    @pytest.mark.parametrize("cmd", ["nginx", "tou", "touchy", "", "Touch", "bash "])
    def test_no(self, cmd: str) -> None:
        descent = query.descent(family().view, 12, cmd)
        assert (descent.descendant, descent.reason, descent.match) == (False, None, None)
        assert [link.pid for link in query.path_to(descent).links] == [12, 11, 10, 1]

    def test_strict_leaves_itself_out(self) -> None:
        view = family().view
        assert query.descent(view, 12, "touch", is_strict=True).descendant is False
        assert query.descent(view, 12, "bash", is_strict=True).descendant is True

    def test_the_nearest_of_several(self) -> None:
        story = family()
        story.comm(10, b"bash")
        match = query.descent(story.view, 12, "bash").match
        assert match is not None
        assert match.pid == 11

    def test_cannot_tell_of_nobody(self) -> None:
        descent = query.descent(family().view, 99, "bash")
        assert descent.descendant is None
        assert descent.reason is not None
        assert "no process 99 is there now" in descent.reason

    def test_cannot_tell_beyond_a_missing_parent(self) -> None:
        story = family()
        story.fork(500, 501)
        story.comm(501, b"orphan")
        assert query.descent(story.view, 501, "bash").descendant is None
        assert query.descent(story.view, 501, "orphan").descendant is True

    def test_cannot_tell_with_a_name_unread(self) -> None:
        story = family()
        story.exec(11)  # /proc shows nothing of it
        descent = query.descent(story.view, 12, "nginx")
        assert (descent.descendant, descent.reason) == (None, "the name of 11 is not known for certain")
        assert query.descent(story.view, 12, "bash").descendant is None  # it was that before; is it now?
        assert query.descent(story.view, 12, "sshd").descendant is True

    def test_an_inherited_name_counts(self) -> None:
        story = family()
        story.fork(12, 13)
        match = query.descent(story.view, 13, "touch").match
        assert match is not None
        assert (match.pid, match.source) == (13, Source.INHERITED)

    def test_cannot_tell_over_a_gap_in_a_ladder(self) -> None:
        story = Story(capacity=20, ttl_s=1e9)
        story.scan([INIT], is_whole=False)
        story.fork(1, 10)
        story.comm(10, b"worm")
        for pid in range(11, 2010):
            story.fork(pid - 1, pid)
            story.exit(pid - 1)
        assert query.descent(story.view, 2009, "systemd").descendant is True
        descent = query.descent(story.view, 2009, "nginx")
        assert descent.descendant is None
        assert descent.reason is not None
        assert "left out" in descent.reason


class TestNames:
    @staticmethod
    def named(cmd: str, cmdline: bytes | None = None, source: str = Source.EXEC) -> Node:
        return Node(10, BEGINNING_NS, 1, Source.FORK, None, cmd, source, 0, None, cmdline)

    @pytest.mark.parametrize(
        ("cmdline", "verdict"),
        [
            (f"/usr/bin/{LONG}\0-x\0".encode(), (True, "argv[0]")),
            (LONG.encode() + b"\0", (True, "argv[0]")),
            (f"/usr/bin/{LONG}er\0".encode(), (False, "argv[0]")),
            (f"/usr/bin/{LONG[:15]}\0".encode(), (False, "argv[0]")),
            (None, (None, None)),
        ],
    )
    def test_longer_than_the_kernel_keeps(
        self, cmdline: bytes | None, verdict: tuple[bool | None, str | None]
    ) -> None:
        is_match, matched_by = query.match_name(self.named(LONG[:15], cmdline), LONG)
        assert is_match is verdict[0]
        if is_match:
            assert matched_by == verdict[1]

    def test_the_first_15_bytes_are_no_prefix_match(self) -> None:
        node = self.named(LONG[:15], f"/usr/bin/{LONG}\0".encode())
        assert query.match_name(node, LONG[:15])[0] is True
        assert query.match_name(node, LONG[:14])[0] is False
        assert query.match_name(self.named("sh"), "s")[0] is False
        assert query.match_name(self.named("s"), "sh")[0] is False

    def test_a_long_name_of_another_program(self) -> None:
        node = self.named("sh", f"/usr/bin/{LONG}\0".encode())  # argv[0] is whatever the caller of exec said
        assert query.match_name(node, LONG) == (False, None)

    def test_a_name_that_is_a_beginning_of_the_wanted_one_is_another(self) -> None:
        """argv[0] alone proves nothing: the kernel's own name is shorter than 15 bytes, so it is whole."""
        assert query.match_name(self.named(LONG[:6], LONG.encode() + b"\0"), LONG)[0] is False

    def test_15_bytes_are_bytes(self) -> None:
        name = "ü" * 9  # 18 bytes, of which the kernel keeps 15: seven and a half
        kept = name.encode()[:15].decode("utf-8", "surrogateescape")
        assert query.match_name(self.named(kept, name.encode() + b"\0"), name)[0] is True
        assert query.match_name(self.named(kept), name)[0] is None

    def test_kernel_threads_have_longer_names(self) -> None:
        assert (
            query.match_name(self.named("kworker/u16:3+events_unbound"), "kworker/u16:3+events_unbound")[0] is True
        )

    def test_bytes_that_are_no_utf8(self) -> None:
        assert query.match_name(self.named("\udcff"), "\udcff")[0] is True

    @pytest.mark.parametrize("source", [Source.UNREAD, Source.FORK, Source.EXIT])
    def test_uncertain_names_are_neither_yes_nor_no(self, source: str) -> None:
        assert query.match_name(self.named("sh", source=source), "sh") == (None, None)
        assert query.match_name(self.named("sh", source=source), LONG) == (None, None)

    def test_a_script_with_a_long_name(self) -> None:
        """comm is the script's name (binfmt_script), argv[0] its interpreter."""
        name = "a-very-long-script-name.sh"
        node = self.named(name[:15], f"/bin/sh\0./{name}\0".encode())
        assert query.match_name(node, name)[0] is not False

    def test_a_title_is_no_argv(self) -> None:
        node = self.named(LONG[:15], f"{LONG}: worker 1".encode())
        assert query.match_name(node, LONG)[0] is not False


class TestFullName:
    """A name that the kernel cut, with the name of the program's file."""

    FULL = "victoria-metrics-prod"

    def named(self, cmdline: bytes | None = b"vm\0", *, full_name: str | None = FULL) -> Node:
        node = Node(10, BEGINNING_NS, 1, Source.FORK, None, self.FULL[:15], Source.EXEC, 0, None, cmdline)
        node.full_name = full_name
        return node

    def test_is_a_yes_whatever_the_arguments_say(self) -> None:
        assert query.match_name(self.named(), self.FULL) == (True, "exe")
        assert query.match_name(self.named(None), self.FULL) == (True, "exe")

    @pytest.mark.parametrize("other", ["victoria-metrics-prodx", "victoria-metrics", "victoria-metrics-pro"])
    @pytest.mark.parametrize("cmdline", [b"vm\0", None, b"/opt/victoria-metrics-prod\0"])
    def test_is_no_yes_for_another_with_the_same_beginning(self, other: str, cmdline: bytes | None) -> None:
        assert query.match_name(self.named(cmdline), other)[0] is not True

    def test_is_no_yes_for_another_name(self) -> None:
        assert query.match_name(self.named(), "prometheus-server-prod") == (False, None)

    def test_the_kernels_15_bytes_are_a_yes_as_before(self) -> None:
        assert query.match_name(self.named(), self.FULL[:15]) == (True, "cmd")

    def test_argv_tells_where_the_file_does_not(self) -> None:
        node = self.named(f"/opt/{self.FULL}\0".encode(), full_name=None)
        assert query.match_name(node, self.FULL) == (True, "argv[0]")

    def test_is_told_with_the_answer(self) -> None:
        story = family()
        node = story.node(12)
        node.cmd, node.source, node.full_name = self.FULL[:15], Source.EXEC, self.FULL
        descent = query.descent(story.view, 12, self.FULL)
        assert (descent.descendant, descent.matched_by) == (True, "exe")
        assert descent.match is not None
        assert (descent.match.cmd, descent.match.full_name) == (self.FULL[:15], self.FULL)
        child = story.fork(12, 13)
        assert child.full_name == self.FULL
        match = query.descent(story.view, 13, self.FULL).match
        assert match is not None
        assert match.pid == 13


class TestByHand:
    """Self-loops and cycles: the kernel makes none."""

    @staticmethod
    def put(story: Story, *links: tuple[int, int]) -> None:
        for pid, ppid in links:
            story.table.add(Node(pid, 0, ppid, Source.MANUAL, None, f"p{pid}", Source.MANUAL, 0))

    def test_a_self_loop_is_a_root(self) -> None:
        story = Story()
        self.put(story, (10, 10))
        chain = query.chain(story.view, 10)
        assert ([link.pid for link in chain.links], chain.complete) == ([10], True)

    def test_a_cycle_ends(self) -> None:
        story = Story()
        self.put(story, (10, 11), (11, 12), (12, 10))
        assert [link.pid for link in query.chain(story.view, 11).links] == [11, 12, 10]
        assert query.descent(story.view, 11, "p10").descendant is True
        assert query.descent(story.view, 11, "p99").descendant is False
