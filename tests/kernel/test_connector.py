"""The connector's socket against the real kernel: acknowledged, received from, closed with IGNORE."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from proc_cache import try_create_connector
from proc_cache.errors import ConnectorSilentError
from proc_cache.events import Ack, Exit, Fork
from proc_cache.kernel import netlink, wire
from proc_cache.kernel.netlink import ProcConnector
from tests.helpers.processes import fork, netlink_drops

if TYPE_CHECKING:
    from proc_cache.events import Event

pytestmark = pytest.mark.kernel


def receive_until_exit_of(connector: ProcConnector, pid: int) -> list[Event]:
    events: list[Event] = []
    while not any(isinstance(event, Exit) and event.pid == pid for event in events):
        assert connector.wait(10), f"no Exit of {pid} in 10 s"
        datagram = connector.receive()
        assert datagram is not None, "the buffer ran over"
        if datagram:
            events += wire.decode(datagram)
    return events


def a_process_that_came_and_went() -> int:
    pid = fork(lambda: None)
    os.waitpid(pid, 0)
    return pid


def test_an_acknowledged_connector_hears_of_a_fork_and_its_exit() -> None:
    with ProcConnector.open() as connector:
        pid = a_process_that_came_and_went()
        events = receive_until_exit_of(connector, pid)
    births = [event for event in events if isinstance(event, Fork) and event.child_pid == pid]
    assert [(birth.parent_pid, birth.child_tid) for birth in births] == [(os.getpid(), pid)]


def test_open_returns_only_after_the_kernel_has_acknowledged() -> None:
    with ProcConnector.open() as connector:
        datagram = connector.receive()
        acks = []
        while datagram:  # what came until then is not thrown away, the acknowledgement is the last of it
            acks += [event for event in wire.decode(datagram) if isinstance(event, Ack)]
            datagram = connector.receive()
    assert acks
    assert all(ack.error == 0 for ack in acks)


def test_two_connectors_at_once_are_each_acknowledged_and_both_hear_everything() -> None:
    with ProcConnector.open() as first, ProcConnector.open() as second:
        pid = a_process_that_came_and_went()
        heard_by_first = receive_until_exit_of(first, pid)
        heard_by_second = receive_until_exit_of(second, pid)
    for heard in (heard_by_first, heard_by_second):
        assert any(isinstance(event, Fork) and event.child_pid == pid for event in heard)
    # The acknowledgement for the second one reached the first one too, under another number.
    numbers_at_first = {event.ack for event in heard_by_first if isinstance(event, Ack)}
    numbers_at_second = {event.ack for event in heard_by_second if isinstance(event, Ack)}
    assert len(numbers_at_first) >= 2
    assert numbers_at_second < numbers_at_first


def test_an_acknowledgement_for_another_listener_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """This one says LISTEN under a number it does not wait for, as if the answer were another's."""
    listen = wire.encode_listen
    monkeypatch.setattr(wire, "encode_listen", lambda port_id, number: listen(port_id, number ^ 0x55))
    monkeypatch.setattr(netlink, "ACK_TIMEOUT_S", 0.2)
    with pytest.raises(ConnectorSilentError):
        ProcConnector.open()


def test_close_says_ignore_first_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    class Listened(socket.socket):
        def send(self, data: bytes, flags: int = 0, /) -> int:  # type: ignore[override]
            sent.append(bytes(data))
            return super().send(data, flags)

    connector = ProcConnector.open()
    former = connector._socket
    monkeypatch.setattr(connector, "_socket", Listened(fileno=os.dup(former.fileno())))
    former.close()
    connector.close()
    connector.close()
    assert [struct.unpack_from("=I", message, 36)[0] for message in sent] == [wire.PROC_CN_MCAST_IGNORE]
    assert connector.fileno() == -1


def test_a_closed_connector_leaves_no_descriptor_and_no_socket_behind() -> None:
    ProcConnector.open().close()  # what is imported late has been opened and closed now
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        ProcConnector.open().close()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_fails_after_the_socket_was_opened_closes_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(netlink, "ACK_TIMEOUT_S", 0.0)
    with pytest.raises(ConnectorSilentError):
        ProcConnector.open()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_programs_that_we_start_do_not_inherit_the_descriptor() -> None:
    with ProcConnector.open(has_exec_lane=True) as connector:
        assert connector.exec_lane is not None
        for descriptor in (connector.fileno(), connector._socket.fileno(), connector.exec_lane.socket.fileno()):
            assert not os.get_inheritable(descriptor)


def test_the_receive_buffer_is_far_larger_than_the_default_and_told_as_given() -> None:
    with ProcConnector.open() as connector:
        given = connector._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert connector.receive_buffer_bytes == given
        if os.geteuid() == 0:
            assert given >= netlink.RECEIVE_BUFFER_BYTES


def test_an_overrun_is_none_once_and_then_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "RECEIVE_BUFFER_BYTES", 32768)
    with ProcConnector.open() as connector:
        inode = connector.inode()
        while not netlink_drops(inode):
            a_process_that_came_and_went()
        taken = [connector.receive()]
        while taken[-1] != b"":
            taken.append(connector.receive())
        assert taken.count(None) == 1
        receive_until_exit_of(connector, a_process_that_came_and_went())


def test_the_public_function_opens_one_too() -> None:
    connector = try_create_connector()
    assert connector is not None
    connector.close()
