"""entry.py, and what is said of it: how a chain was entered, by names and units that are remembered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache.cli import entries
from proc_cache.entry import Entry, find_entry, steps_of, steps_of_walk
from proc_cache.process import Node, Process, Source
from proc_cache.render.tree import draw_entry
from tests.helpers.frozen import chain, process

DOCKER = "docker:3f2a0123abcd"


def links(*told: tuple[int, str] | tuple[int, str, dict[str, Any]]) -> list[Process]:
    """A chain, the asked process first: pid, name, and what else there is to know."""
    made = []
    for place, (pid, cmd, *facts) in enumerate(told):
        ppid = told[place + 1][0] if place + 1 < len(told) else 0
        made.append(process(pid, ppid, cmd=cmd, **(facts[0] if facts else {})))
    return made


def entered(*told: Any, timers: tuple[str, ...] = ()) -> tuple[str, int] | None:
    entry = find_entry(steps_of(links(*told)), timers.__contains__)
    return None if entry is None else (entry.kind, entry.pid)


SYSTEMD = (1, "systemd", {"unit": "init.scope", "container": ""})


def unit(name: str, container: str = "", **facts: Any) -> dict[str, Any]:
    return {"unit": name, "container": container, **facts}


def user(uid: int, **facts: Any) -> dict[str, Any]:
    return {"uid": uid, **facts}


class TestDaemons:
    def test_ssh(self) -> None:
        session = unit("session-4.scope", uid=1000)
        told = (
            (2500, "vi", session),
            (2411, "bash", session),
            (2410, "sshd-session", session),
            (2400, "sshd-session", unit("session-4.scope")),
            (800, "sshd", unit("ssh.service")),
        )
        assert entered(*told, SYSTEMD) == ("ssh", 800)

    def test_the_daemon_itself_is_a_service(self) -> None:
        assert entered((800, "sshd", unit("ssh.service")), SYSTEMD) == ("systemd-service", 800)

    @pytest.mark.parametrize(
        ("daemon", "kind"),
        [("cron", "cron"), ("crond", "cron"), ("anacron", "cron"), ("atd", "at"), ("login", "login")],
    )
    def test_others(self, daemon: str, kind: str) -> None:
        assert entered((9, "sh"), (8, daemon), SYSTEMD) == (kind, 8)

    def test_the_uppermost_in_a_row(self) -> None:
        assert entered((9, "backup"), (8, "sh"), (7, "cron"), (6, "cron"), SYSTEMD) == ("cron", 6)

    def test_sudo_is_no_entry(self) -> None:
        assert entered((9, "id"), (8, "sudo"), (7, "bash", user(1000)), (6, "sshd"), SYSTEMD) == ("ssh", 6)

    def test_without_the_way_above_it(self) -> None:
        assert entered((9, "sh"), (8, "cron", {"ppid_source": Source.SNAPSHOT})) == ("cron", 8)

    def test_of_the_dead(self) -> None:
        dead = {"is_alive": False, "exit_time_ns": 5, "exit_status": 0}
        assert entered((9, "sh", dead), (8, "cron", dead), SYSTEMD) == ("cron", 8)

    def test_the_nearest_counts(self) -> None:
        assert entered((9, "sh"), (8, "cron"), (7, "bash"), (6, "sshd"), SYSTEMD) == ("cron", 8)

    def test_a_display_manager(self) -> None:
        told = (
            (9, "firefox", user(1000)),
            (8, "gnome-session-b", user(1000)),
            (7, "gdm-session-wor"),
            (6, "gdm3"),
        )
        assert entered(*told, SYSTEMD) == ("desktop", 6)


class TestNamesThatLie:
    def test_an_ordinary_user_cannot_call_himself_cron(self) -> None:
        assert entered((9, "evil", user(1000)), (8, "cron", user(1000)), (7, "sshd"), SYSTEMD) == ("ssh", 7)

    def test_a_user_of_the_system_can(self) -> None:
        assert entered((9, "sh"), (8, "atd", user(1)), SYSTEMD) == ("at", 8)

    def test_where_the_user_is_not_known_it_is_believed(self) -> None:
        assert entered((9, "sh"), (8, "cron", {"uid": None}), SYSTEMD) == ("cron", 8)

    def test_what_is_in_no_container_was_not_started_by_a_runtime(self) -> None:
        nowhere = unit("session-4.scope", uid=1000)
        assert entered((9, "evil", nowhere), (8, "conmon", nowhere), (7, "sshd"), SYSTEMD) == ("ssh", 7)

    def test_a_name_that_is_not_known_is_none(self) -> None:
        assert entered((9, "sh"), (8, ""), (7, "sshd"), SYSTEMD) == ("ssh", 7)


class TestContainers:
    def test_below_a_shim(self) -> None:
        inside = unit(f"docker-{'0' * 64}.scope", DOCKER)
        told = ((9, "nginx", inside), (8, "nginx", inside), (7, "containerd-shim", unit("containerd.service")))
        assert entered(*told, SYSTEMD) == ("container", 7)

    def test_rootless(self) -> None:
        inside = unit("user@1000.service/libpod-x.scope", "podman:3f2a0123abcd", uid=1000)
        told = ((9, "sh", inside), (8, "conmon", unit("user@1000.service/libpod-conmon-x.scope", uid=1000)))
        assert entered(*told, (7, "bash", user(1000)), (6, "sshd"), SYSTEMD) == ("container", 8)

    def test_a_runtime_that_is_not_known_by_name(self) -> None:
        inside = unit("", "lxc:web")
        assert entered((9, "sh", inside), (8, "init", inside), (7, "newruntime", unit("x.service"))) == (
            "container",
            8,
        )

    def test_whose_parents_are_not_known(self) -> None:
        assert entered((9, "sh", unit("", DOCKER))) == ("container", 9)

    def test_a_cron_job_in_one_was_entered_by_cron(self) -> None:
        inside = unit("", DOCKER)
        told = ((9, "sh", inside), (8, "cron", inside), (7, "containerd-shim", unit("containerd.service")))
        assert entered(*told, SYSTEMD) == ("cron", 8)

    def test_what_a_shim_runs_for_itself_is_the_services(self) -> None:
        service = unit("containerd.service")
        told = ((9, "runc", service), (8, "containerd-shim", service), (7, "containerd", service))
        assert entered(*told, SYSTEMD) == ("systemd-service", 7)


class TestUnits:
    def test_a_service(self) -> None:
        service = unit("web.service")
        assert entered((9, "worker", service), (8, "gunicorn", service), SYSTEMD) == ("systemd-service", 8)

    def test_a_timers(self) -> None:
        service = unit("backup.service")
        told = ((9, "tar", service), (8, "backup.sh", service), SYSTEMD)
        assert entered(*told, timers=("backup.service",)) == ("systemd-timer", 8)
        assert entered(*told, timers=("other.service",)) == ("systemd-service", 8)

    def test_one_that_was_adopted_is_known_by_its_unit(self) -> None:
        adopted = unit("web.service", ppid_source=Source.SNAPSHOT)
        assert entered((9, "worker", adopted), SYSTEMD) == ("systemd-service", 9)

    def test_an_application_of_the_desktop(self) -> None:
        tab = unit("user@1000.service/vte-spawn-1.scope", uid=1000)
        manager = unit("user@1000.service/init.scope", uid=1000)
        told = ((9, "make", tab), (8, "bash", tab), (7, "systemd", manager), SYSTEMD)
        assert entered(*told) == ("desktop", 8)
        assert entered((6, "firefox", unit("user@1000.service/app-gnome-firefox-1.scope"))) == ("desktop", 6)

    def test_a_users_service_and_timer(self) -> None:
        sync = unit("user@1000.service/sync.service", uid=1000)
        told = ((9, "rsync", sync), (7, "systemd", unit("user@1000.service/init.scope", uid=1000)), SYSTEMD)
        assert entered(*told) == ("systemd-service", 9)
        assert entered(*told, timers=("user@1000.service/sync.service",)) == ("systemd-timer", 9)

    def test_the_users_systemd_is_a_service(self) -> None:
        manager = unit("user@1000.service/init.scope", uid=1000)
        assert entered((7, "systemd", manager), SYSTEMD) == ("systemd-service", 7)

    def test_who_began_a_session_is_not_known_without_the_way_there(self) -> None:
        session = unit("session-4.scope", ppid_source=Source.SNAPSHOT)
        assert entered((9, "tmux: server", session), SYSTEMD) is None
        assert entered((9, "tmux: server", unit("session-4.scope")), SYSTEMD) is None


class TestTheRoot:
    def test_kernel_threads(self) -> None:
        assert entered((40, "kworker/0:1"), (2, "kthreadd")) == ("kernel", 2)
        assert entered((2, "kthreadd")) == ("kernel", 2)

    def test_what_the_kernel_runs(self) -> None:
        assert entered((9, "modprobe"), (40, "kworker/u8:1"), (2, "kthreadd")) == ("kernel", 2)

    def test_init_itself(self) -> None:
        assert entered(SYSTEMD) == ("init", 1)

    def test_below_another_init(self) -> None:
        assert entered((9, "sh"), (8, "rc"), (1, "init")) == ("init", 1)

    def test_pid_1_adopts_too(self) -> None:
        assert entered((9, "daemon", {"ppid_source": Source.PROCFS}), (1, "init")) is None

    def test_born_of_systemd_and_no_unit_is_known(self) -> None:
        assert entered((9, "sh"), (8, "start.sh"), (1, "systemd")) == ("systemd-service", 8)

    def test_nobody(self) -> None:
        assert entered() is None
        assert entered((9, "sh")) is None


class TestGaps:
    def test_what_is_above_a_gap_need_not_be_the_nearest(self) -> None:
        assert entered((9, "sh", {"generations_left_out": 5}), (8, "cron"), SYSTEMD) is None
        assert entered((9, "sh"), (8, "cron", {"generations_left_out": 5}), (7, "cron"), SYSTEMD) == ("cron", 8)

    def test_the_unit_is_known_all_the_same(self) -> None:
        gap = unit("web.service", generations_left_out=5)
        assert entered((9, "sh", gap), (8, "web", unit("web.service")), SYSTEMD) == ("systemd-service", 9)


NAMES = st.sampled_from(["sh", "sshd", "cron", "systemd", "containerd-shim", "", "login"])
PLACES = st.none() | st.sampled_from(["", "a.service", "session-1.scope", "user@1.service/app-x.scope"])
CHAINS = st.lists(
    st.builds(
        lambda pid, cmd, uid, name, container, source, left_out: process(
            pid,
            cmd=cmd,
            uid=uid,
            unit=name,
            container=container,
            ppid_source=source,
            generations_left_out=left_out,
        ),
        st.sampled_from([1, 2, 5, 9]),
        st.none() | NAMES,
        st.none() | st.sampled_from([0, 1000]),
        PLACES,
        st.none() | st.sampled_from(["", DOCKER]),
        st.sampled_from(["fork", "procfs"]),
        st.sampled_from([0, 3]),
    ),
    max_size=6,
)


@given(CHAINS)
def test_of_any_chain_it_is_one_of_its_links_or_nothing(told: list[Process]) -> None:
    entry = find_entry(steps_of(told), lambda unit: unit == "a.service")
    assert entry is None or (entry.pid, entry.cmd) in [(link.pid, link.cmd) for link in told]


def test_a_walk_gives_the_same() -> None:
    top = Node(1, 1, 0, Source.FORK, None, "systemd", Source.EXEC, 0)
    daemon = Node(8, 2, 1, Source.FORK, top, "cron", Source.EXEC, 0)
    job = Node(9, 3, 8, Source.FORK, daemon, "sh", Source.EXEC, "alice")
    job.place = "cron.service", "", ""
    assert find_entry(steps_of_walk([job, daemon, top]), lambda _: False) == Entry("cron", 8, "cron", None)
    assert entries.entry_kind([job, daemon, top]) == "cron"
    assert entries.entry_kind([top]) == "init"
    assert entries.entry_kind([job]) == "systemd-service"


ENTERED = st.lists(
    st.tuples(
        st.sampled_from(["sh", "cron", "sshd", "conmon", "systemd"]),
        st.sampled_from([0, 1000]),
        st.sampled_from([Source.FORK, Source.SNAPSHOT]),
        st.sampled_from([None, ("", "", ""), ("a.service", "", ""), ("", "docker:1", ""), ("", "docker:2", "")]),
        st.sampled_from([0, 3]),
    ),
    min_size=1,
    max_size=3,
)


@given(st.lists(ENTERED, min_size=1, max_size=3), st.lists(ENTERED, min_size=1, max_size=6), st.booleans())
def test_of_walks_that_share_ancestors_the_words_are_the_same(
    ways: list[list[Any]], starts: list[list[Any]], ends_at_pid_1: bool
) -> None:
    above = [_walk(way, 1 if ends_at_pid_1 else 500) for way in ways]
    kinds = entries.EntryKinds()
    for number, start in enumerate(starts):
        for way in (*above, []):
            walked = [*_walk(start[:1], 900 + number, way[0] if way else None), *way]
            assert kinds.kind(walked) == entries.entry_kind(walked)


def _walk(told: list[Any], last_pid: int, parent: Node | None = None) -> list[Node]:
    nodes: list[Node] = []
    for place, (cmd, uid, ppid_source, belongs, left_out) in enumerate(reversed(told)):
        pid = last_pid + 10 * place
        parent = Node(pid, 1, 0, ppid_source, parent, cmd, Source.EXEC, uid)
        parent.place, parent.left_out = belongs, left_out
        nodes.insert(0, parent)
    return nodes


class TestInWords:
    def said(self, *told: Any) -> str | None:
        entry = entries.entry_of(chain(*links(*told)))
        return None if entry is None else draw_entry(entry)

    def test_a_sentence(self) -> None:
        assert self.said((9, "sh"), (1180, "cron"), SYSTEMD) == "entered by cron (1180 cron)"
        assert self.said((9, "kworker"), (2, "kthreadd")) == "entered by the kernel (2 kthreadd)"

    def test_a_unit_is_named(self) -> None:
        said = self.said((9, "sh", unit("web.service")), SYSTEMD)
        assert said == "entered by a systemd service, web.service (9 sh)"

    def test_a_timer_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(entries, "_timers", lambda unit: unit == "backup.service")
        said = self.said((9, "sh", unit("backup.service")), SYSTEMD)
        assert said == "entered by a systemd timer, backup.timer (9 sh)"

    def test_nothing_is_said_where_it_is_not_known(self) -> None:
        assert self.said((9, "sh")) is None

    def test_names_are_escaped(self) -> None:
        said = self.said((9, "a\nb\x1b[31m", unit("\x1b]0;x\x07.service")), SYSTEMD)
        assert said is not None
        assert said.isprintable()
        assert "\\x1b]0;x\\x07.service" in said
