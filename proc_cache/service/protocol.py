"""What is asked and answered: frames of one value each, pure.

A frame is a length (4 bytes, big-endian) and that many bytes of one value. The client sends a request,
`(VERSION, own pid, kind, arguments)`. The server sends a head, then processes as `facts.py` tells them, an end:

    ("ok", ...)  (...)*  ("end",)          answered
    ("nobody", reason, may_exist)          a process that the question begins with is not known
    ("refused", reason)                    not served: another version, user or namespace, or no request at all

Two kinds of request are answered with a stream that has no end: after the head come the frames of `stream.py`.
Who is told pictures may say, by requests that are not answered, what it is after.

A request comes from anybody who may call, and is written in `encoding`, of which any bytes are safe to read. An
answer is written in marshal, which takes a tenth of the time. Bytes that are made up can do harm to who reads it,
so only clients read it, from an engine of their own user or of root (`client.py` asks the kernel whose it is),
which could do worse to them; a server reads none.

The client's own pid is compared with what the kernel says of the peer: they differ where it lives in another PID
namespace, and means others by its numbers.

No request has a pattern to search names for: the engine runs at real-time priority, and a search can take forever.
"""

from __future__ import annotations

import marshal
from struct import Struct

from ..errors import EngineRefusedError, EngineUnavailableError, MalformedFrameError, NobodyFoundError
from ..query import Chain
from ..record import Record
from ..selection import Selection, Target
from ..times import Moment
from .encoding import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ..process import Process
    from .encoding import Value

    Frame = tuple[Any, ...]

VERSION = 5
REQUEST_MAX = 32 << 10  # bytes of a request
TARGETS_MAX = 100  # of one request for outlines; each is as long as a file name at most
FRAME_MAX = 4 << 20  # bytes of a frame of an answer: one process, whose arguments are bounded
LENGTH = Struct(">I")

CHAIN = "chain"
OUTLINES = "outlines"
DESCENT = "descent"
SNAPSHOT = "snapshot"
LINEAGES = "lineages"
STATS = "stats"
WATCH = "watch"
PICTURES = "pictures"
SEARCH = "search"  # said while pictures are told, and not answered
STREAMS = (WATCH, PICTURES)

OK = "ok"
NOBODY = "nobody"
REFUSED = "refused"
END = ("end",)
_MARSHAL_VERSION = 2  # the plainest that every Python reads: nothing is told once and meant twice


class Request(Record):
    """What a client asks."""

    version: int
    client_pid: int
    kind: str
    arguments: tuple[Any, ...]


def frame(value: Frame) -> bytes:
    """Write a value as one frame of an answer."""
    data = marshal.dumps(value, _MARSHAL_VERSION)
    return LENGTH.pack(len(data)) + data


def read_frame(data: bytes) -> Frame:
    """Read what `frame` wrote, its length apart. Raises EngineUnavailableError."""
    try:
        value = marshal.loads(data)  # noqa: S302  # see above: from an engine of this user, or of root
    except (ValueError, EOFError, TypeError) as error:
        raise EngineUnavailableError(f"the engine's answer cannot be read: {error}") from error
    if not isinstance(value, tuple) or not value:
        raise EngineUnavailableError("the engine's answer cannot be read: no tuple")
    return value


def pack(value: object) -> Any:  # noqa: ANN401
    """Turn records into tuples of their fields, all the way down."""
    if isinstance(value, Record):
        return tuple(pack(getattr(value, field)) for field in value._fields)
    return tuple(map(pack, value)) if isinstance(value, tuple) else value


# --- requests -----------------------------------------------------------------------------------------------


def write_request(client_pid: int, kind: str, *arguments: object) -> bytes:
    """Write a request as a frame."""
    data = encode((VERSION, client_pid, kind, tuple(pack(argument) for argument in arguments)))
    return LENGTH.pack(len(data)) + data


def read_request(data: bytes) -> Request:
    """Read what `write_request` wrote, its length apart. Raises MalformedFrameError."""
    value = decode(data)
    if not isinstance(value, tuple) or len(value) < 2 or not all(type(field) is int for field in value[:2]):
        raise MalformedFrameError("no request")
    if value[0] != VERSION:
        return Request(value[0], value[1], "", ())
    if len(value) != 4 or not isinstance(value[2], str) or not isinstance(value[3], tuple):
        raise MalformedFrameError("no request")
    return Request(*value)


def read_moment(value: Value) -> Moment | None:
    """Read a moment of a request. Raises MalformedFrameError."""
    if value is None:
        return None
    return Moment(*_fields(value, (int, int)))


def read_pid(value: Value) -> int:
    """Read a pid of a request. Raises MalformedFrameError."""
    if type(value) is not int or value < 0:
        raise MalformedFrameError("no pid")
    return value


def read_targets(value: Value) -> list[Target]:
    """Read the targets of a request for outlines. Raises MalformedFrameError."""
    if not isinstance(value, tuple) or len(value) > TARGETS_MAX:
        raise MalformedFrameError("no targets")
    return [Target(each) if type(each) is int and each >= 0 else _read_moment_target(each) for each in value]


def _read_moment_target(value: Value) -> Target:
    target = _read_target(value)
    if target is None:
        raise MalformedFrameError("no target")
    return target


def read_text(value: Value) -> str:
    """Read a text of a request. Raises MalformedFrameError."""
    if not isinstance(value, str):
        raise MalformedFrameError("no text")
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise MalformedFrameError("a text that stands for no bytes") from error
    return value


def read_selection(value: Value) -> Selection:
    """Read a selection of a request. Raises MalformedFrameError."""
    none = type(None)
    optional_text, optional_tuple, optional_int = (str, none), (tuple, none), (int, none)
    kinds = (optional_text, optional_text, (tuple, str, none), bool, optional_tuple, optional_tuple, int)
    cmd, user, under, with_dead, moment, around, within_ns, failed, longer_ns, shorter_ns = _fields(
        value, (*kinds, bool, optional_int, optional_int)
    )
    for text in (cmd, user, under):
        if isinstance(text, str):
            read_text(text)
    return Selection(
        cmd=cmd,
        user=user,
        under=under if isinstance(under, str) else _read_target(under),
        with_dead=with_dead,
        moment=read_moment(moment),
        around=_read_target(around),
        within_ns=within_ns,
        failed=failed,
        longer_than_ns=longer_ns,
        shorter_than_ns=shorter_ns,
    )


def _read_target(value: Value) -> Target | None:
    if value is None:
        return None
    pid, moment = _fields(value, (int, (tuple, type(None))))
    return Target(read_pid(pid), read_moment(moment))


def _fields(value: Value, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give the items of a tuple that has just these types; a bool is no int here."""
    if not isinstance(value, tuple) or len(value) != len(kinds):
        raise MalformedFrameError(f"no tuple of {len(kinds)}")
    for item, kind in zip(value, kinds, strict=True):
        if not isinstance(item, kind) or (isinstance(item, bool) and kind is not bool):
            raise MalformedFrameError(f"{item!r} is not what belongs there")
    return value


# --- answers ------------------------------------------------------------------------------------------------


def chain_head(chain: Chain) -> tuple[Any, ...]:
    """Give a chain without its links."""
    return (
        chain.pid,
        chain.complete,
        chain.reason,
        chain.lost_events,
        chain.missing_pid,
        chain.may_exist,
        chain.notes,
    )


def read_chain(head: tuple[Any, ...], links: Iterable[Process]) -> Chain:
    """Put a chain together again."""
    pid, complete, reason, lost_events, missing_pid, may_exist, notes = parts(head, 7)
    return Chain(pid, complete, reason, lost_events, tuple(links), missing_pid, may_exist, notes)


def read_answer(receive: Callable[[], bytes]) -> tuple[Frame, Iterator[Frame]]:
    """Read an answer frame by frame: its head, and the rest as it comes.

    Raises NobodyFoundError and EngineRefusedError as the engine says, EngineUnavailableError for no answer.
    """
    return read_head(receive), _read_until_end(receive)


def read_head(receive: Callable[[], bytes]) -> Frame:
    """Read the head of an answer; the same errors."""
    head = read_frame(receive())
    if head[0] == NOBODY and len(head) == 3:
        raise NobodyFoundError(head[1], may_exist=head[2])
    if head[0] == REFUSED and len(head) == 2:
        raise EngineRefusedError(head[1])
    if head[0] != OK:
        raise EngineUnavailableError("what answers at the socket is no engine of proc-cache")
    return head[1:]


def _read_until_end(receive: Callable[[], bytes]) -> Iterator[Frame]:
    while (value := read_frame(receive())) != END:
        yield value


def parts(value: object, count: int) -> tuple[Any, ...]:
    """Give a tuple of an answer that has so many items. Raises EngineUnavailableError."""
    if not isinstance(value, tuple) or len(value) != count:
        raise EngineUnavailableError("the engine's answer has another shape; restart it with this version")
    return value
