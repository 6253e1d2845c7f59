"""What a stream carries, behind the head of its answer: frames of `marshal`, pure.

    watch:    (kind of event, when, facts, facts of its ancestors, missing pid, adopter)
              ("dropped", how many)       this viewer was too slow for them; they stood here
              ("lost", how many)          messages of the kernel, before here
              ("ended", pid)              a child of the process that was asked for
    pictures: ("picture", counters, newest programs, top spawners)

marshal, because it takes a fifth of the time of `encoding` at thousands of events a second. Bytes that are made up
can do harm to who reads it, so only clients read it, from an engine of their own user or of root (`client.py` asks
the kernel whose it is), which could do worse to them; a server reads none.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING

from ..errors import EngineUnavailableError, MalformedFrameError
from ..events import KINDS
from .protocol import LENGTH

if TYPE_CHECKING:
    from typing import Any

    from .encoding import Value

DROPPED = "dropped"
LOST = "lost"
ENDED = "ended"
PICTURE = "picture"
_MARSHAL_VERSION = 2  # the plainest that every Python reads: nothing is told once and meant twice


def stream_frame(value: tuple[Any, ...]) -> bytes:
    """Write a value as one frame of a stream."""
    data = marshal.dumps(value, _MARSHAL_VERSION)
    return LENGTH.pack(len(data)) + data


def read_stream_frame(data: bytes) -> tuple[Any, ...]:
    """Read what `stream_frame` wrote, its length apart. Raises EngineUnavailableError."""
    try:
        value = marshal.loads(data)  # noqa: S302  # see above: from an engine of this user, or of root
    except (ValueError, EOFError, TypeError) as error:
        raise EngineUnavailableError(f"the engine's stream cannot be read: {error}") from error
    if not isinstance(value, tuple) or not value:
        raise EngineUnavailableError("the engine's stream cannot be read: no tuple")
    return value


def read_kinds(value: Value) -> frozenset[type]:
    """Read the kinds of event of a request, by their names. Raises MalformedFrameError."""
    if not isinstance(value, tuple) or not all(isinstance(name, str) and name in KINDS for name in value):
        raise MalformedFrameError("no kinds of event")
    return frozenset(KINDS[name] for name in value)
