"""engine/view.py: who had a pid then, what is said beside an answer, and why nobody was found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from proc_cache import query
from proc_cache.engine.view import Look
from proc_cache.errors import NobodyFoundError, ProcessHiddenError
from proc_cache.kernel.clocks import boot_wall_ns
from proc_cache.kernel.users import UserNames
from proc_cache.process import Source
from proc_cache.selection import Selection, Target, select
from proc_cache.times import Moment, local, parse_moment
from tests.helpers.fake_proc import FakeReader, sighting
from tests.helpers.story import BEGINNING_NS, SECOND_NS, Story

if TYPE_CHECKING:
    from proc_cache.process import Node
    from proc_cache.query import Miss

INIT = sighting(1, ppid=0, start_ns=0, comm=b"systemd")
MS_NS = 1_000_000


def then(at_ns: int, until_ns: int | None = None) -> Moment:
    """A moment given since boot, as wide as a nanosecond unless told otherwise."""
    return Moment(boot_wall_ns() + at_ns, boot_wall_ns() + (at_ns if until_ns is None else until_ns))


def life(story: Story, pid: int, name: bytes, *, seconds: float = 10) -> Node:
    """One owner of a pid: born, renamed, and ended after so long."""
    node = story.fork(1, pid)
    story.comm(pid, name, at_ns=node.start_ns)
    story.wait(seconds - 1)
    story.exit(pid, status=256)
    return node


def three_owners() -> tuple[Story, list[Node]]:
    story = Story(reader=FakeReader())
    owners = []
    for name in (b"first", b"second", b"third"):
        owners.append(life(story, 500, name))
        story.wait(100)
    return story, owners


class TestWhoHadThePid:
    def test_then(self) -> None:
        story, owners = three_owners()
        for owner in owners:
            assert story.view.find(500, then(owner.start_ns + SECOND_NS)) is owner
            assert story.view.find(500, then(owner.start_ns)) is owner
            assert story.view.find(500, then(owner.exit_ns)) is owner
        assert story.view.find(500) is owners[-1]

    def test_nobody_had_it_between(self) -> None:
        story, owners = three_owners()
        for owner in owners:
            assert story.view.find(500, then(owner.start_ns - 1)) is None
            assert story.view.find(500, then(owner.exit_ns + 1)) is None
        assert story.view.find(500, then(0)) is None

    def test_a_wide_moment_touches_at_either_end_and_means_the_newest(self) -> None:
        story, (first, second, _) = three_owners()
        assert story.view.find(500, then(first.exit_ns, second.start_ns - 1)) is first
        assert story.view.find(500, then(first.exit_ns + 1, second.start_ns)) is second
        assert story.view.find(500, then(first.exit_ns, second.start_ns)) is second
        assert story.view.find(500, then(first.exit_ns + 1, second.start_ns - 1)) is None
        assert story.view.find(500, then(0, second.exit_ns)) is second

    def test_the_living_have_it_from_their_start_on(self) -> None:
        story = Story(reader=FakeReader())
        former = life(story, 500, b"former")
        node = story.fork(1, 500)
        assert story.view.find(500, then(node.start_ns)) is node
        story.wait(60)
        assert story.view.find(500, then(story.now_ns - 10 * SECOND_NS)) is node
        assert story.view.find(500, then(node.start_ns - 1)) is not node
        assert story.view.find(500, then(former.start_ns)) is former

    def test_one_whose_start_is_not_known_is_judged_by_its_end(self) -> None:
        story = Story()
        node = story.exit(500)
        assert node is not None
        assert not node.start_ns
        assert story.view.find(500, then(node.exit_ns)) is node
        assert story.view.find(500, then(node.exit_ns - 100 * SECOND_NS)) is node
        assert story.view.find(500, then(node.exit_ns + 1)) is None

    @pytest.mark.parametrize("has_ended", [False, True])
    def test_one_whose_start_is_not_known_began_after_the_owner_before_it(self, has_ended: bool) -> None:
        story = Story()
        former = life(story, 500, b"former")
        story.exec(500)  # its Fork was lost
        unknown = story.node(500)
        assert unknown is not former
        assert not unknown.start_ns
        if has_ended:
            story.exit(500)
        assert story.view.find(500, then(story.now_ns)) is unknown
        assert story.view.find(500, then(former.start_ns + 1)) is former

    def test_one_pid_has_one_owner_at_a_time(self) -> None:
        story = Story()
        former = life(story, 500, b"former")
        story.exec(500)
        lived = list(story.view.nodes(then(former.start_ns + 1), with_dead=True))
        assert lived == [former]

    def test_proc_answers_for_one_that_is_not_in_the_table(self) -> None:
        reader = FakeReader([sighting(500, start_ns=BEGINNING_NS, comm=b"shown")])
        story = Story(reader=reader)
        story.wait(5)
        found = story.view.find(500, then(BEGINNING_NS + SECOND_NS))
        assert found is not None
        assert (found.cmd, found.source) == ("shown", Source.PROCFS)
        assert story.view.find(500, then(BEGINNING_NS - SECOND_NS)) is None
        assert not list(story.table.nodes()), "looking stored something"

    def test_a_table_that_knows_the_pid_at_another_time_does_not_keep_proc_from_answering(self) -> None:
        reader = FakeReader()
        story = Story(reader=reader)
        former = life(story, 500, b"former")
        reader.show(sighting(500, start_ns=former.exit_ns + 50 * SECOND_NS, comm=b"shown"))
        story.wait(100)
        found = story.view.find(500, then(former.exit_ns + 60 * SECOND_NS))
        assert found is not None
        assert found.cmd == "shown"
        assert story.view.find(500, then(former.exit_ns + 20 * SECOND_NS)) is None
        assert story.view.find(500, then(former.exit_ns)) is former

    def test_a_thread_is_answered_for_its_process_if_that_lived_then(self) -> None:
        reader = FakeReader([sighting(501, start_ns=BEGINNING_NS, comm=b"worker", is_thread=True)])
        reader.tgids[501] = 500
        story = Story(reader=reader)
        node = story.fork(1, 500)
        assert story.view.find(501) is node
        assert story.view.find(501, then(node.start_ns)) is node
        assert story.view.find(501, then(node.start_ns - 1)) is None

    def test_one_that_is_hidden(self) -> None:
        reader = FakeReader()
        reader.hidden.add(500)
        story = Story(reader=reader)
        with pytest.raises(ProcessHiddenError):
            story.view.find(500, then(BEGINNING_NS))
        chain = query.chain(story.view, 500, then(BEGINNING_NS))
        assert chain.may_exist
        assert "hidden" in (chain.reason or "")

    def test_a_chain_at_a_moment_is_of_the_one_that_lived_then(self) -> None:
        story = Story(reader=FakeReader())
        story.scan([INIT], is_whole=False)
        parent = story.fork(1, 400)
        story.fork(400, 500)
        story.exit(500, status=512)
        former = story.node(500)
        story.exit(400)
        life(story, 400, b"impostor")
        life(story, 500, b"newer")
        chain = query.chain(story.view, 500, then(former.exit_ns))
        assert [(link.pid, link.start_time_ns) for link in chain.links] == [
            (500, former.start_ns),
            (400, parent.start_ns),
            (1, None),
        ]
        assert (chain.complete, chain.links[0].exit_code) == (True, 2)
        assert query.descent(story.view, 500, "impostor", moment=then(former.exit_ns)).descendant is False
        assert query.descent(story.view, 500, "newer", moment=then(former.exit_ns)).descendant is False
        assert query.descent(story.view, 500, "newer").descendant is True


COPYABLE = re.compile(r"(\d+)@(\S+) \((\w+)\)")


def copied(mentions: tuple[str, ...]) -> list[tuple[int, Moment, str]]:
    """What can be asked for, as a user would copy it from the message."""
    (mention,) = mentions
    now_ns = boot_wall_ns() + 10**6 * SECOND_NS
    return [(int(pid), parse_moment(text, now_ns), name) for pid, text, name in COPYABLE.findall(mention)]


class TestMentions:
    def test_the_other_owners_each_as_it_can_be_asked_for(self) -> None:
        story, (first, second, third) = three_owners()
        mentions = story.view.mentions(500, third, None)
        assert mentions[0].startswith("500 had other owners too; this is the newest. Ask for: 500@")
        asked = copied(mentions)
        assert [name for _, _, name in asked] == ["second", "first"]
        assert f"500@{local(first.start_ns, boot_wall_ns())} (first)" in mentions[0]
        assert [story.view.find(pid, moment) for pid, moment, _ in asked] == [second, first]

    def test_no_more_than_three_are_named_and_the_rest_counted(self) -> None:
        story = Story()
        for number in range(6):
            life(story, 500, b"owner%d" % number)
        (mention,) = story.view.mentions(500, story.node(500), None)
        assert [name for _, _, name in copied((mention,))] == ["owner4", "owner3", "owner2"]
        assert mention.endswith(", and 2 more")

    def test_nothing_is_said_of_an_only_owner(self) -> None:
        story = Story()
        node = life(story, 500, b"only")
        assert story.view.mentions(500, node, None) == ()

    def test_with_a_moment_only_the_others_of_then(self) -> None:
        story, (first, second, _) = three_owners()
        assert story.view.mentions(500, second, then(second.start_ns)) == ()
        mentions = story.view.mentions(500, second, then(first.exit_ns, second.start_ns))
        assert [name for _, _, name in copied(mentions)] == ["first"]

    def test_owners_that_followed_each_other_at_once_are_told_apart(self) -> None:
        story = Story()
        first = story.fork(1, 500, at_ns=BEGINNING_NS)
        story.comm(500, b"first", at_ns=BEGINNING_NS)
        story.exit(500, at_ns=BEGINNING_NS + 3 * MS_NS)
        second = story.fork(1, 500, at_ns=BEGINNING_NS + 5 * MS_NS)
        ((pid, moment, name),) = copied(story.view.mentions(500, second, None))
        assert name == "first"
        assert story.view.find(pid, moment) is first

    def test_owners_within_one_millisecond_are_told_apart(self) -> None:
        story = Story()
        start_ns = BEGINNING_NS - (boot_wall_ns() + BEGINNING_NS) % MS_NS  # where a millisecond begins
        first = story.fork(1, 500, at_ns=start_ns + 100_000)
        story.comm(500, b"first", at_ns=start_ns + 100_000)
        story.exit(500, at_ns=start_ns + 300_000)
        second = story.fork(1, 500, at_ns=start_ns + 500_000)
        ((pid, moment, _),) = copied(story.view.mentions(500, second, None))
        assert story.view.find(pid, moment) is first

    def test_an_owner_whose_start_is_not_known_can_be_asked_for(self) -> None:
        story = Story()
        story.exec(500)  # its Fork was lost, its Exit will be
        story.comm(500, b"unknown")
        first = story.node(500)
        assert not first.start_ns
        second = story.fork(1, 500)
        ((pid, moment, _),) = copied(story.view.mentions(500, second, None))
        assert story.view.find(pid, moment) is first

    def test_a_thread(self) -> None:
        story = Story()
        node = story.fork(1, 500)
        assert story.view.mentions(501, node, None) == ("501 is a thread of 500: answering for 500",)

    def test_go_with_the_chain(self) -> None:
        story, (_, second, third) = three_owners()
        assert query.chain(story.view, 500).notes == story.view.mentions(500, third, None)
        assert query.chain(story.view, 500, then(second.start_ns)).notes == ()


def listening(**bounds: float) -> Story:
    """The story of an engine that began to listen at BEGINNING_NS."""
    story = Story(**bounds, reader=FakeReader())  # type: ignore[arg-type]
    story.view.since_ns = BEGINNING_NS
    return story


class TestMisses:
    def ask(self, story: Story, pid: int, moment: Moment | None = None) -> Miss:
        """Nobody is found; and a chain and a descent say the same of it."""
        assert story.view.find(pid, moment) is None
        miss = story.view.explain_miss(pid, moment)
        chain = query.chain(story.view, pid, moment)
        assert (chain.links, chain.complete, chain.missing_pid) == ((), False, pid)
        assert (chain.reason, chain.may_exist) == (miss.reason, miss.may_exist)
        descent = query.descent(story.view, pid, "sh", moment=moment)
        assert (descent.descendant, descent.reason) == (None, miss.reason)
        with pytest.raises(NobodyFoundError) as told:
            list(select(story.view, Selection(under=Target(pid, moment), with_dead=True)))
        assert (str(told.value), told.value.may_exist) == (miss.reason, miss.may_exist)
        return miss

    def test_no_engine(self) -> None:
        miss = self.ask(Story(reader=FakeReader()), 500)
        assert not miss.may_exist
        assert "no process 500 is there now" in miss.reason
        assert "proc-cache serve" in miss.reason

    def test_no_engine_and_another_time(self) -> None:
        miss = self.ask(Story(reader=FakeReader()), 500, then(BEGINNING_NS))
        assert miss.may_exist
        assert "who was 500 then is not known: no engine was asked" in miss.reason

    def test_never_seen(self) -> None:
        miss = self.ask(listening(), 500)
        assert not miss.may_exist
        began = local(BEGINNING_NS, boot_wall_ns())
        assert miss.reason == f"no process 500 was seen since the engine started, at {began}"

    def test_the_engine_started_later(self) -> None:
        story = listening()
        life(story, 500, b"sh")
        miss = self.ask(story, 500, then(BEGINNING_NS - 1))
        assert miss.may_exist
        assert "the engine started later, at " + local(BEGINNING_NS, boot_wall_ns()) in miss.reason

    def test_a_moment_that_began_before_the_engine_started(self) -> None:
        assert self.ask(listening(), 500, then(BEGINNING_NS - 1, BEGINNING_NS + SECOND_NS)).may_exist
        assert not self.ask(listening(), 500, then(BEGINNING_NS, BEGINNING_NS + SECOND_NS)).may_exist

    def test_nobody_then(self) -> None:
        story = listening()
        node = life(story, 500, b"sh")
        story.wait(10)
        miss = self.ask(story, 500, then(node.exit_ns + SECOND_NS))
        assert not miss.may_exist
        assert miss.reason.startswith("nobody was 500 then: the engine has seen all since ")

    def test_a_time_that_lies_ahead(self) -> None:
        story = listening()
        assert self.ask(story, 500, then(story.now_ns + 10**6 * SECOND_NS)).may_exist

    def test_lost(self) -> None:
        story = listening()
        story.ledger.last[0] = (1, 0, 10)
        story.ledger.gap((6, 0, 20), 0)
        miss = self.ask(story, 500)
        assert miss.may_exist
        assert "among the 4 events that were lost" in miss.reason
        assert self.ask(story, 500, then(BEGINNING_NS + 1)).may_exist

    def test_an_overrun_that_is_not_counted_yet(self) -> None:
        story = listening()
        story.ledger.overrun()
        assert self.ask(story, 500).may_exist

    def test_forgotten_for_room_tells_the_oldest_that_is_remembered(self) -> None:
        story = listening(capacity=2)
        for pid in (500, 501, 502, 503):
            life(story, pid, b"owner%d" % pid)
        miss = self.ask(story, 500)
        assert miss.may_exist
        oldest = story.node(502)
        assert miss.reason == (
            "500 has ended, and that is not remembered any more; the oldest end that is, of 502 (owner502), "
            f"was at {local(oldest.exit_ns, boot_wall_ns())} (see --capacity and --ttl)"
        )
        assert not self.ask(story, 504).may_exist

    def test_forgotten_for_age_with_nothing_left(self) -> None:
        story = listening(ttl_s=10)
        life(story, 500, b"sh")
        story.wait(100)
        story.table.expire()
        miss = self.ask(story, 500)
        assert miss.may_exist
        assert "no other end is, either" in miss.reason

    def test_forgotten_then(self) -> None:
        story = listening(capacity=1)
        node = life(story, 500, b"forgotten")
        life(story, 500, b"kept")
        assert story.view.find(500, then(node.start_ns)) is None
        assert self.ask(story, 500, then(node.start_ns)).may_exist

    def test_a_pid_that_cannot_be(self) -> None:
        for pid in (0, (1 << 22) + 1, 1 << 70):
            assert not self.ask(listening(), pid).may_exist


class TestListing:
    def make(self) -> tuple[Story, dict[str, Node]]:
        reader = FakeReader()
        story = Story(reader=reader)
        dead = life(story, 500, b"dead")
        story.wait(100)
        unreaped = life(story, 501, b"unreaped")
        living = story.fork(1, 502)
        reused = story.fork(1, 500)
        reader.show(sighting(501, start_ns=unreaped.start_ns, state="Z"))
        reader.show(sighting(502, start_ns=living.start_ns))
        reader.show(sighting(500, start_ns=reused.start_ns))
        return story, {"dead": dead, "unreaped": unreaped, "living": living, "reused": reused}

    def names(self, named: dict[str, Node], nodes: list[Node]) -> set[str]:
        assert len({id(node) for node in nodes}) == len(nodes)
        return {name for name, node in named.items() if node in nodes}

    def test_the_living_and_what_waits_to_be_reaped(self) -> None:
        story, named = self.make()
        nodes = list(story.view.nodes(None, with_dead=False))
        assert self.names(named, nodes) == {"living", "reused", "unreaped"}

    def test_the_dead_too(self) -> None:
        story, named = self.make()
        assert self.names(named, list(story.view.nodes(None, with_dead=True))) == set(named)

    @pytest.mark.parametrize("with_dead", [False, True])
    def test_who_lived_then(self, with_dead: bool) -> None:
        story, named = self.make()

        def at(at_ns: int) -> set[str]:
            return self.names(named, list(story.view.nodes(then(at_ns), with_dead=with_dead)))

        assert at(named["dead"].start_ns) == {"dead"}
        assert at(named["dead"].exit_ns) == {"dead"}
        assert at(named["dead"].exit_ns + 1) == set()
        assert at(named["unreaped"].start_ns) == {"unreaped"}
        assert at(named["living"].start_ns) == {"living"}
        assert at(named["reused"].start_ns) == {"living", "reused"}

    def test_what_started_around_one(self) -> None:
        story, named = self.make()
        around = Selection(around=Target(501), within_ns=11 * SECOND_NS)
        assert self.names(named, list(select(story.view, around))) == {"unreaped", "living"}
        exactly = Selection(around=Target(502), within_ns=0)
        assert self.names(named, list(select(story.view, exactly))) == {"living"}
        to_the_next = Selection(around=Target(502), within_ns=named["reused"].start_ns - named["living"].start_ns)
        assert self.names(named, list(select(story.view, to_the_next))) == {"living", "reused"}

    def test_what_started_around_one_whose_start_is_not_known_cannot_be_told(self) -> None:
        story = Story()
        story.exit(500)
        with pytest.raises(NobodyFoundError) as told:
            list(select(story.view, Selection(around=Target(500), within_ns=SECOND_NS)))
        assert told.value.may_exist

    def test_all_that_is_under_one_the_finished_too(self) -> None:
        story = Story(reader=FakeReader())
        top = story.fork(1, 10)
        story.fork(10, 11)
        story.fork(11, 12)
        story.exit(12)
        story.exit(11)
        story.exit(10)
        story.fork(1, 20)
        reused = story.fork(20, 11)
        story.fork(11, 12)
        with_dead = list(select(story.view, Selection(under=Target(10), with_dead=True)))
        assert sorted(node.pid for node in with_dead) == [10, 11, 12]
        assert all(node.exit_ns for node in with_dead)
        assert list(select(story.view, Selection(under=Target(10)))) == []
        assert sorted(node.pid for node in select(story.view, Selection(under=Target(11)))) == [11, 12]
        assert reused in list(select(story.view, Selection(under=Target(20), with_dead=True)))
        at = Selection(under=Target(11, then(top.exit_ns - 2 * SECOND_NS)), with_dead=True)
        assert all(node.exit_ns for node in select(story.view, at))


class TestParents:
    def orphan(self) -> tuple[Story, Node]:
        """800 reaper -> 801 middle -> 802; the middle exits, and the reaper adopts."""
        story = Story()
        story.fork(1, 800)
        story.comm(800, b"reaper")
        story.fork(800, 801)
        story.fork(801, 802)
        story.exit(801)
        return story, story.node(802)

    def test_of_a_dead_one_who_adopted_it_is_told_by_its_exit(self) -> None:
        story, _ = self.orphan()
        story.exit(802, parent=800)
        told = story.view.describe(story.node(802))
        assert (told.ppid, told.ppid_source, told.current_ppid, told.current_parent) == (
            801,
            "fork",
            800,
            "reaper",
        )

    def test_the_name_of_an_adopter_whose_pid_was_given_out_again_since(self) -> None:
        story, _ = self.orphan()
        story.exit(802, parent=800)
        story.exit(800)
        life(story, 800, b"impostor")
        assert story.view.describe(story.node(802)).current_parent == "reaper"

    def test_the_name_of_an_adopter_that_took_the_pid_of_another_before(self) -> None:
        story = Story()
        life(story, 800, b"earlier")
        story.fork(1, 800)
        story.comm(800, b"reaper")
        story.fork(800, 801)
        story.fork(801, 802)
        story.exit(801)
        story.exit(802, parent=800)
        assert story.view.describe(story.node(802)).current_parent == "reaper"

    def test_one_that_died_with_its_birth_parent_alive_was_not_adopted(self) -> None:
        story = Story()
        story.fork(1, 800)
        story.fork(800, 801)
        story.exit(801, parent=800)
        told = story.view.describe(story.node(801))
        assert (told.ppid, told.current_ppid, told.current_parent) == (800, 800, None)

    def test_an_adopter_that_is_not_known_has_no_name(self) -> None:
        story, _ = self.orphan()
        story.exit(802, parent=900)
        told = story.view.describe(story.node(802))
        assert (told.current_ppid, told.current_parent) == (900, None)

    def test_of_a_living_one_proc_tells_it_now(self) -> None:
        reader = FakeReader()
        story = Story(reader=reader)
        story.fork(1, 800)
        story.comm(800, b"reaper")
        story.fork(800, 801)
        node = story.fork(801, 802)
        story.exit(801)
        reader.show(sighting(802, ppid=800, start_ns=node.start_ns))
        told = story.view.describe(node)
        assert (told.ppid, told.current_ppid, told.current_parent) == (801, 800, "reaper")
        stale = story.view.describe(node, is_fresh=False)
        assert (stale.current_ppid, stale.current_parent) == (801, None)

    def test_users_at_birth_and_later(self) -> None:
        story = Story()
        story.fork(1, 10)
        story.node(10).uid = story.node(10).birth_uid = 0
        story.fork(10, 11)
        story.uid(11, 1000)
        story.fork(11, 12)
        story.exit(11)
        story.exit(12)
        told = story.view.describe(story.node(11))
        assert (told.birth_user, told.user, told.uid) == ("root", "alice", 1000)
        told = story.view.describe(story.node(12))
        assert (told.birth_user, told.user) == ("alice", "alice")


class TestLook:
    def test_each_process_is_read_once(self) -> None:
        shell = sighting(10, ppid=1, start_ns=SECOND_NS, comm=b"sh")
        children = [sighting(pid, ppid=10, start_ns=2 * SECOND_NS) for pid in (11, 12, 13)]
        reader = FakeReader([INIT, shell, *children])
        look = Look(reader, UserNames({0: "root"}))
        chains = [query.walk(look, pid).nodes for pid in (11, 12, 13, 12, 10, 99, 99)]
        assert [[node.pid for node in nodes] for nodes in chains] == [
            [11, 10, 1],
            [12, 10, 1],
            [13, 10, 1],
            [12, 10, 1],
            [10, 1],
            [],
            [],
        ]
        assert sorted(reader.asked) == [1, 10, 11, 12, 13, 99]

    def test_a_pid_that_a_younger_process_has_is_not_the_parents(self) -> None:
        reader = FakeReader(
            [INIT, sighting(10, start_ns=9 * SECOND_NS), sighting(11, ppid=10, start_ns=SECOND_NS)]
        )
        walked = query.walk(Look(reader, UserNames({})), 11)
        assert ([node.pid for node in walked.nodes], walked.missing_pid) == ([11], 10)

    def test_what_is_hidden_is_said_again(self) -> None:
        reader = FakeReader([INIT])
        reader.hidden.add(10)
        look = Look(reader, UserNames({}))
        for _ in range(2):
            walked = query.walk(look, 10)
            assert (walked.nodes, walked.may_exist) == ((), True)


class TestNobodyOfThatName:
    @staticmethod
    def of(story: Story) -> NobodyFoundError:
        with pytest.raises(NobodyFoundError, match="named 'make'") as caught:
            select(story.view, Selection(under="make"))
        return caught.value

    def test_without_events(self) -> None:
        told = self.of(Story())
        assert (told.may_exist, "now" in str(told)) == (False, True)

    def test_with_all_events(self) -> None:
        story = Story()
        story.view.since_ns = story.now_ns
        told = self.of(story)
        assert (told.may_exist, "is there or remembered" in str(told)) == (False, True)

    def test_with_events_missing(self) -> None:
        for lose in (lambda story: story.ledger.overrun(), _lose_some):
            story = Story()
            story.view.since_ns = story.now_ns
            lose(story)
            assert self.of(story).may_exist


def _lose_some(story: Story) -> None:
    story.ledger.last[0] = (5, 0, 10)
    story.ledger.gap((9, 0, 20), 0)
    assert story.ledger.lost
