"""The names that one process had before: each program that it became, sh -> bash -> python."""

from __future__ import annotations

from proc_cache import query
from proc_cache.engine.tree import FORMER_MAX, FORMER_TUPLES_MAX
from proc_cache.process import Source
from proc_cache.render.jsonlines import process_object
from proc_cache.render.style import PLAIN
from proc_cache.render.tree import draw_chain
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import Story

INIT = sighting(1, ppid=0, start_ns=0, comm=b"init")


class Shells(Story):
    """Whose execs can be read from /proc."""

    def __init__(self) -> None:
        self.fake = FakeReader([INIT])
        super().__init__(reader=self.fake)
        self.scan([INIT], is_whole=False)

    def become(self, pid: int, name: bytes) -> None:
        """Run another program, which is read."""
        self.fake.show(sighting(pid, start_ns=self.node(pid).start_ns, comm=name, cmdline=name + b"\0"))
        self.exec(pid)

    def become_unread(self, pid: int) -> None:
        """Run another program, and be gone before that was read."""
        self.fake.shown.pop(pid, None)
        self.exec(pid)

    def names(self, pid: int) -> list[str]:
        """All names in the order it had them, the last one last."""
        told = self.view.describe(self.node(pid))
        return [*told.former_cmds, str(told.cmd)]


def test_each_program_that_it_became() -> None:
    story = Shells()
    story.fork(1, 10)
    assert story.names(10) == ["init"]
    for name in (b"sh", b"bash", b"python"):
        story.become(10, name)
    assert story.names(10) == ["init", "sh", "bash", "python"]
    story.exit(10)
    assert story.names(10) == ["init", "sh", "bash", "python"]


def test_a_child_is_born_with_its_parents_name_and_not_with_its_former_ones() -> None:
    story = Shells()
    story.fork(1, 10)
    story.become(10, b"sh")
    story.become(10, b"bash")
    child = story.fork(10, 11)
    assert (child.former, child.cmd, child.source) == ((), "bash", Source.INHERITED)
    story.become(11, b"touch")
    assert story.names(11) == ["bash", "touch"]
    assert story.names(10) == ["init", "sh", "bash"]


def test_the_name_at_birth_is_kept_though_the_parent_became_another_meanwhile() -> None:
    story = Shells()
    story.fork(1, 10)
    story.become(10, b"sh")
    story.fork(10, 11)
    story.become(10, b"bash")
    story.become(11, b"touch")
    assert story.names(11) == ["sh", "touch"]


def test_what_could_not_be_read_is_no_name() -> None:
    story = Shells()
    story.fork(1, 10)
    story.become(10, b"sh")
    story.become_unread(10)
    node = story.node(10)
    assert (node.former, node.cmd, node.source) == (("init", "sh"), "sh", Source.UNREAD)
    story.become_unread(10)
    assert node.former == ("init", "sh"), "an older name was taken for that of the unread program"
    story.become(10, b"python")
    assert story.names(10) == ["init", "sh", "python"]


def test_a_child_of_one_that_could_not_be_read_has_no_name_of_its_own_before() -> None:
    story = Shells()
    story.fork(1, 10)
    story.become_unread(10)
    story.fork(10, 11)
    story.become(11, b"ls")
    assert story.names(11) == ["ls"]


def test_one_that_nothing_was_known_of_has_no_names_before() -> None:
    story = Shells()
    story.fork(77, 10)  # nobody knows 77
    assert story.node(10).cmd == ""
    story.become(10, b"sh")
    assert story.names(10) == ["sh"]


def test_a_rename_is_no_other_program() -> None:
    story = Shells()
    story.fork(1, 10)
    story.become(10, b"python")
    story.comm(10, b"celery")
    assert story.names(10) == ["init", "celery"]
    story.become(10, b"sh")
    assert story.names(10) == ["init", "celery", "sh"]


def test_a_scan_or_a_setuid_is_no_other_program() -> None:
    story = Shells()
    story.fork(1, 10)
    story.become(10, b"sh")
    story.scan(story.fake.see_all())
    story.uid(10, 1000)
    assert story.names(10) == ["init", "sh"]


def test_the_same_program_again_is_told_again() -> None:
    story = Shells()
    story.fork(1, 10)
    for _ in range(3):
        story.become(10, b"sh")
    assert story.names(10) == ["init", "sh", "sh", "sh"]


def test_are_bounded_and_the_first_ones_are_kept() -> None:
    story = Shells()
    story.fork(1, 10)
    for number in range(FORMER_MAX + 50):
        story.become(10, b"name%d" % number)
    node = story.node(10)
    assert len(node.former) == FORMER_MAX
    assert node.former == ("init", *(f"name{number}" for number in range(FORMER_MAX - 1)))
    assert node.cmd == f"name{FORMER_MAX + 49}"


def test_are_shared_between_processes_and_what_is_shared_is_bounded() -> None:
    story = Shells()
    for pid in (10, 11):
        story.fork(1, pid)
        story.become(pid, b"sh")
        story.become(pid, b"bash")
    assert story.node(10).former == ("init", "sh")
    assert story.node(10).former is story.node(11).former
    story.fork(1, 12)
    for number in range(FORMER_TUPLES_MAX + 100):
        story.fork(1, 13)
        story.comm(13, b"n%d" % number)
        story.become(13, b"sh")
        assert story.node(13).former == (f"n{number}",)
        story.exit(13)
    assert len(story.tree._former) <= FORMER_TUPLES_MAX
    assert story.node(10).former == ("init", "sh")


def test_a_reused_pid_has_none_of_them() -> None:
    story = Shells()
    story.fork(1, 10)
    story.become(10, b"sh")
    story.become(10, b"bash")
    story.exit(10)
    story.fork(1, 10)
    assert story.names(10) == ["init"]
    story.become(10, b"touch")
    assert story.names(10) == ["init", "touch"]


def test_are_drawn_and_written_escaped() -> None:
    story = Shells()
    story.fork(1, 10)
    story.become(10, b"e\x1bil")
    story.become(10, b"b\xffd")
    story.become(10, b"python")
    chain = query.chain(story.view, 10)
    assert "10 init -> e\\x1bil -> b\\xffd -> python (root)" in draw_chain(chain, PLAIN)
    told = process_object(chain.links[0])
    assert told["former_cmds"] == ["init", "e\x1bil", "b\ufffdd"]
    assert told["cmd"] == "python"


def test_a_former_name_is_no_match() -> None:
    """`descendant` asks what a process is called, and not what it was before."""
    story = Shells()
    story.fork(1, 10)
    story.become(10, b"sh")
    story.become(10, b"bash")
    assert query.descent(story.view, 10, "sh").descendant is False
    assert query.descent(story.view, 10, "bash").descendant is True
