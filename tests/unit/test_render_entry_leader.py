"""render/entry_leader.py: by what a chain came onto the machine."""

from __future__ import annotations

import pytest

from proc_cache.process import Process
from proc_cache.render.entry_leader import entry_leader
from tests.helpers.frozen import process

INIT = process(1, 0, cmd="systemd", session=1)


def links(*of: tuple[int, str, int]) -> list[Process]:
    """A chain of (pid, name, session), the asked process first; init is its root."""
    above = [pid for pid, _, _ in of[1:]] + [1]
    return [process(pid, ppid, cmd=cmd, session=sid) for (pid, cmd, sid), ppid in zip(of, above, strict=True)]


def found(*of: tuple[int, str, int]) -> tuple[int, str] | None:
    chain = [*links(*of), INIT]
    entry = entry_leader(chain)
    return None if entry is None else (chain[entry.place].pid, entry.type)


@pytest.mark.parametrize("listener", ["sshd", "sshd-session"])
def test_a_login_by_ssh(listener: str) -> None:
    chain = ((9, "vim", 7), (7, "bash", 7), (6, listener, 5), (5, listener, 5), (4, "sshd", 4))
    assert found(*chain) == (7, "sshd")


def test_a_session_inside_a_session_belongs_to_its_entry() -> None:
    chain = ((9, "make", 8), (8, "setsid-shell", 8), (7, "bash", 7), (6, "sshd", 5), (5, "sshd", 5))
    assert found(*chain) == (7, "sshd")


def test_a_service_of_init() -> None:
    assert found((9, "worker", 5), (5, "nginx", 5)) == (5, "init")


@pytest.mark.parametrize("runtime", ["containerd-shim", "containerd-shim-runc-v2", "conmon", "runc"])
def test_a_container(runtime: str) -> None:
    assert found((9, "node", 8), (8, "entrypoint", 8), (7, runtime, 7)) == (8, "container")


def test_the_runtime_itself_is_no_entry_of_a_container() -> None:
    assert found((8, "runc", 8), (7, "containerd-shim", 7)) == (7, "init")


def test_a_session_of_the_ssm_agent() -> None:
    chain = ((9, "bash", 9), (8, "ssm-session-worker", 5), (5, "amazon-ssm-agent", 5))
    full = [*links(*chain), INIT]
    entry = entry_leader(full)
    assert entry is not None
    assert (full[entry.place].pid, entry.type) == (9, "ssm")


def test_a_leader_whose_parent_is_no_way_in_is_of_unknown_type() -> None:
    entry = entry_leader(links((9, "make", 8), (8, "bash", 8), (7, "supervisor", 3))[:2])
    assert entry is not None
    assert (entry.place, entry.type) == (1, "unknown")


def test_nobody_led() -> None:
    assert entry_leader([INIT]) is None
    assert entry_leader(links((9, "kworker", 0), (2, "kthreadd", 0))) is None
    assert entry_leader([process(9, 5, session=None)]) is None
