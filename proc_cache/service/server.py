"""Answers callers between two looks at the kernel's queue, in the engine's own thread.

Whatever callers do, capture goes first: each turn applies what the kernel sent, then gives the answers under way
a few milliseconds, each in its turn. A caller has a bounded request, a bounded time to send it, and a bounded
time to take the answer; what goes beyond is hung up on and counted. An answer holds what happened before its
request.
"""

from __future__ import annotations

import select
from collections import deque
from typing import TYPE_CHECKING

from ..closing import Closing
from ..engine.intake import BATCH
from ..errors import MalformedFrameError
from ..kernel.clocks import monotonic_s
from ..record import Record
from . import protocol
from .answers import Answers, refusal
from .peer import credentials
from .picture_feed import read_search

if TYPE_CHECKING:
    import socket

    from ..engine.core import Engine
    from .feeds import Frames
    from .listening import Listener
    from .picture_feed import Search

CALLERS_MAX = 256  # at once; more wait in the backlog
REQUEST_TIMEOUT_S = 5.0  # from a call, or an answer, to the whole of the next request
ANSWER_TIMEOUT_S = 30.0  # without taking a byte of the answer
SLICE_S = 0.002  # of answering between two looks at the kernel's queue
_ACCEPTED_AT_ONCE = 32
DRAINS_MAX = 64  # looks at the kernel's queue before an answer: bounded, for a storm may never end
_CHUNK = 1 << 16
_SAID_CHUNK = 1 << 12  # of one who is told a stream: what it says is read at once, and is short
_LOOK_S = 1.0  # between two looks for callers that are late
_BUSY_S = 0.02  # between two slices of answering while the kernel's queue is full: they get a tenth of the time
_NEWS_S = 0.01  # between two looks at what a stream could tell
_QUIET_S = 0.05  # likewise, where the kernel has told nothing since
_NEVER_S = float("inf")


class ServiceStats(Record):
    """What became of the calls."""

    callers: int  # now
    streams: int  # of them, those who are told what happens
    calls: int
    answered: int  # requests
    malformed: int  # what was no request
    late: int  # hung up on: no request, or no taking of the answer, in time
    foreign: int  # requests from another PID namespace
    refused: int  # callers whom the socket is not for
    failed: int  # requests whose answer ended in a fault of ours


class Caller:
    """One connection: the request as far as it has come, and the answer as far as it has not gone."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.socket = sock
        self.pid = pid  # as the kernel tells it here
        self.request = bytearray()
        self.answer: Frames | None = None
        self.is_stream = False  # its answer has no end: it may take it as slowly as it likes
        self.unsent = memoryview(b"")
        self.searches: deque[Search] | None = None  # who is told pictures may say what it is after; not heard yet
        self.has_told_all = False  # of a stream: until more happens
        self.is_last_answer = False
        self.was_answered = False
        self.deadline_s = monotonic_s() + REQUEST_TIMEOUT_S

    @property
    def is_answered(self) -> bool:
        """Whether the answer is over, and all of it has gone."""
        return self.answer is None and not self.unsent

    def take_request(self) -> bytes | None:
        """Give the next request if all of it is here. Raises MalformedFrameError for one that is too long."""
        head = protocol.LENGTH.size
        if len(self.request) < head:
            return None
        (length,) = protocol.LENGTH.unpack_from(self.request)
        if length > protocol.REQUEST_MAX:
            raise MalformedFrameError("longer than a request can be")
        if len(self.request) < head + length:
            return None
        data = bytes(self.request[head : head + length])
        del self.request[: head + length]
        return data


def _take_searches(caller: Caller) -> bool:
    """Take what one to whom pictures are told is after; false where it says anything else, or has no say."""
    if caller.searches is None:
        return False
    try:
        while (data := caller.take_request()) is not None:
            request = protocol.read_request(data)
            if request.kind != protocol.SEARCH:
                return False
            caller.searches.append(read_search(request.arguments))
    except MalformedFrameError:
        return False
    return True


class Server(Closing):
    """An engine and who asks it: call `turn()` again and again."""

    def __init__(self, engine: Engine, listener: Listener | None, owner: socket.socket | None = None) -> None:
        self._engine = engine
        self.listener = listener
        self.is_abandoned = False  # the owner has hung up
        self._answers = Answers(engine.view, lambda: (engine.stats(), self.stats()), engine.messages.taps)
        self._callers: dict[int, Caller] = {}
        self._busy: deque[Caller] = deque()  # with a request to look at, or an answer that could go on
        self._poll = select.epoll()
        self._poll.register(engine.fileno(), select.EPOLLIN)
        self._streams: list[Caller] = []  # with nothing to be told for the moment
        self._is_accepting = False
        self._has_news = False
        self._next_look_s = self._next_slice_s = self._next_stream_s = 0.0
        self._calls = self._answered = self._malformed = self._late = self._foreign = self._failed = 0
        self._owner = None if owner is None else self._take_owner(owner)
        self._accept_again()

    def turn(self, timeout_s: float) -> None:
        """Apply what the kernel has sent and serve the callers; wait at most so long for either."""
        received = self._engine.intake.look()
        now_s = monotonic_s()
        is_drained = received < BATCH
        self._has_news = self._has_news or received > 0
        if is_drained or now_s >= self._next_slice_s:
            self._wake_streams(now_s)
            if self._busy:
                self._engine.intake.take_records()
                self._serve()
                self._next_slice_s = monotonic_s() + _BUSY_S
        self._wait(timeout_s if is_drained and not self._busy and not self._engine.intake.is_busy else 0.0, now_s)
        if now_s >= self._next_look_s:
            self._look_for_the_late(now_s)

    def _wake_streams(self, now_s: float) -> None:
        """Let those who are told what happens have what has come since, a handful at once."""
        if self._streams and now_s >= self._next_stream_s:
            self._next_stream_s = now_s + (_NEWS_S if self._has_news else _QUIET_S)
            self._has_news = False
            self._busy.extend(self._streams)
            self._streams.clear()

    def _wait(self, timeout_s: float, now_s: float) -> None:
        """Wait for messages and callers, and take in who calls."""
        if timeout_s:
            timeout_s = min(timeout_s, self._engine.intake.rest())
        if timeout_s and self._streams:
            if self._has_news:
                self._next_stream_s = min(self._next_stream_s, now_s + _NEWS_S)
            timeout_s = min(timeout_s, max(0.0, self._next_stream_s - now_s))
        ready = self._poll.poll(timeout_s)
        if timeout_s:
            self._engine.intake.has_waited()
        for descriptor, events in ready:
            caller = self._callers.get(descriptor)
            if caller is not None:
                self._hear(caller, events)
            elif self.listener is not None and descriptor == self.listener.socket.fileno():
                self._accept_some(self.listener)

    def _accept_some(self, listener: Listener) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._accept(listener):
                break

    def stats(self) -> ServiceStats:
        """Freeze the counters."""
        return ServiceStats(
            callers=len(self._callers),
            streams=sum(caller.is_stream for caller in self._callers.values()),
            calls=self._calls,
            answered=self._answered,
            malformed=self._malformed,
            late=self._late,
            foreign=self._foreign,
            refused=self.listener.refused if self.listener is not None else 0,
            failed=self._failed,
        )

    def close(self) -> None:
        """Hang up on all, and remove the socket."""
        for caller in list(self._callers.values()):
            self._hang_up(caller)
        self._poll.close()
        if self.listener is not None:
            self.listener.close()

    # --- calls ------------------------------------------------------------------------------------------

    def _accept(self, listener: Listener) -> bool:
        """Take a call; false where there is none, or no more can be taken now."""
        try:
            accepted = listener.accept()
        except OSError:  # no descriptor is left: until somebody hangs up, or the next look for the late
            self._stop_accepting(listener)
            return False
        if accepted is None:
            return False
        self._calls += 1
        sock, pid = accepted
        self._callers[sock.fileno()] = Caller(sock, pid)
        self._poll.register(sock, select.EPOLLIN)
        if len(self._callers) >= CALLERS_MAX:
            self._stop_accepting(listener)
        return self._is_accepting

    def _take_owner(self, sock: socket.socket) -> Caller:
        """Take the one for whom this engine runs: it may be silent, and where it hangs up all is over."""
        sock.setblocking(False)
        owner = Caller(sock, credentials(sock)[0])
        owner.deadline_s = _NEVER_S
        self._callers[sock.fileno()] = owner
        self._poll.register(sock, select.EPOLLIN)
        return owner

    def _stop_accepting(self, listener: Listener) -> None:
        self._poll.unregister(listener.socket)
        self._is_accepting = False

    def _accept_again(self) -> None:
        if self.listener is not None and not self._is_accepting:
            self._poll.register(self.listener.socket, select.EPOLLIN)
            self._is_accepting = True

    def _hang_up(self, caller: Caller) -> None:
        del self._callers[caller.socket.fileno()]
        for others in (self._busy, self._streams):
            if caller in others:
                others.remove(caller)
        caller.answer = None  # which takes a stream's feed from the engine
        caller.socket.close()
        self.is_abandoned = self.is_abandoned or caller is self._owner
        self._accept_again()

    def _look_for_the_late(self, now_s: float) -> None:
        self._next_look_s = now_s + _LOOK_S
        for caller in [caller for caller in self._callers.values() if caller.deadline_s < now_s]:
            is_idle = caller.was_answered and caller.is_answered and not caller.request
            self._late += not is_idle  # who has asked, and asks no more, is not late
            self._hang_up(caller)
        if len(self._callers) < CALLERS_MAX:
            self._accept_again()

    # --- requests ---------------------------------------------------------------------------------------

    def _hear(self, caller: Caller, events: int) -> None:
        """Take what came from a caller; while an answer is under way, the next request has to wait."""
        if events & (select.EPOLLHUP | select.EPOLLERR):
            self._hang_up(caller)
        elif events & select.EPOLLOUT:
            self._poll.modify(caller.socket, select.EPOLLIN)
            self._busy.append(caller)
        elif caller not in self._busy:
            self._receive(caller)

    def _grant(self, caller: Caller, span_s: float) -> None:
        """Give a caller so long for its next step, unless it may take any time."""
        caller.deadline_s = _NEVER_S if caller.is_stream or caller is self._owner else monotonic_s() + span_s

    def _receive(self, caller: Caller) -> None:
        try:
            data = caller.socket.recv(_SAID_CHUNK if caller.is_stream else _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        caller.request += data
        if not data or (caller.is_stream and not _take_searches(caller)):
            self._hang_up(caller)
        elif not caller.is_stream:
            self._busy.append(caller)

    def _begin(self, caller: Caller) -> bool:
        """Begin to answer the next request; false where it is not all here."""
        try:
            data = caller.take_request()
            if data is None:
                return False
            request = protocol.read_request(data)
            self._catch_up()
            if request.client_pid == caller.pid:
                caller.searches = deque(maxlen=1) if request.kind == protocol.PICTURES else None
                caller.answer = self._answers.to(request, caller.searches)
                caller.is_stream = request.kind in protocol.STREAMS
            else:
                self._foreign += 1
                self._refuse(caller, "this is another PID namespace than the engine's: its numbers mean others")
        except MalformedFrameError as error:
            self._malformed += 1
            self._refuse(caller, f"no request: {error}")
        self._grant(caller, ANSWER_TIMEOUT_S)
        return True

    def _refuse(self, caller: Caller, reason: str) -> None:
        caller.answer = iter((refusal(reason),))
        caller.is_last_answer = True

    def _catch_up(self) -> None:
        """Apply what the kernel has told so far, so that the answer knows it."""
        for _ in range(DRAINS_MAX):
            if not self._engine.intake.drain():
                return

    # --- answers ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Give the callers their slice of time, a chunk each in turn."""
        until_s = monotonic_s() + SLICE_S
        while self._busy:
            caller = self._busy.popleft()
            try:
                if self._advance(caller):
                    self._busy.append(caller)
            except OSError:  # it has hung up
                self._hang_up(caller)
            if monotonic_s() > until_s:
                return

    def _advance(self, caller: Caller) -> bool:
        """Do the next piece of work for a caller; true where more can be done at once."""
        if caller.is_answered and not self._begin(caller):
            return False  # half a request: the rest may come
        if not caller.unsent:
            self._compute(caller)
        if caller.unsent and not self._send(caller):
            self._poll.modify(caller.socket, select.EPOLLOUT)
            return False
        if caller.has_told_all:
            self._streams.append(caller)
            return False
        if not caller.is_answered:
            return True
        if caller.is_last_answer:
            self._hang_up(caller)
            return False
        self._answered += 1
        caller.was_answered = True
        caller.is_stream = False  # it was refused: a stream has no end
        self._grant(caller, REQUEST_TIMEOUT_S)
        return bool(caller.request)

    def _compute(self, caller: Caller) -> None:
        """Write the next frames of the answer down."""
        assert caller.answer is not None
        frames = bytearray()
        caller.has_told_all = False
        until_s = monotonic_s() + SLICE_S
        with self._engine.table.lock:
            try:
                for data in caller.answer:
                    if data is None:
                        caller.has_told_all = True
                        break
                    frames += data
                    self._engine.intake.glance()  # a name that is read late is lost, an answer can wait
                    if len(frames) >= _CHUNK or monotonic_s() > until_s:
                        break
                else:
                    caller.answer = None
            except MalformedFrameError as error:
                self._malformed += 1
                caller.answer, caller.is_last_answer = None, True
                frames += refusal(f"no request: {error}")
            except Exception as error:  # noqa: BLE001  # no question ends the capture
                self._failed += 1
                caller.answer, caller.is_last_answer = None, True
                frames += refusal(f"the engine has a bug: {type(error).__name__}: {error}")
        caller.unsent = memoryview(bytes(frames))

    def _send(self, caller: Caller) -> bool:
        """Send what is there; false where the caller does not take all of it."""
        try:
            sent = caller.socket.send(caller.unsent)
        except BlockingIOError:
            return False
        caller.unsent = caller.unsent[sent:]
        self._grant(caller, ANSWER_TIMEOUT_S)
        return not caller.unsent
