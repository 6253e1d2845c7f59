"""What a stream carries, behind the head of its answer: frames of `marshal`, pure.

watch:    (kind of event, when, facts, facts of its ancestors, missing pid, adopter)
          ("dropped", how many)       this viewer was too slow for them; they stood here
          ("lost", how many)          messages of the kernel, before here
          ("ended", pid)              a child of the process that was asked for
pictures: ("picture", counters, processes that are new or changed, programs in their order, top spawners, filter)
          a process has a number, and that of its parent (0: none), which comes before it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MalformedFrameError
from ..events import KINDS

if TYPE_CHECKING:
    from .encoding import Value

DROPPED = "dropped"
LOST = "lost"
ENDED = "ended"
PICTURE = "picture"


def read_kinds(value: Value) -> frozenset[type]:
    """Read the kinds of event of a request, by their names. Raises MalformedFrameError."""
    if not isinstance(value, tuple) or not all(isinstance(name, str) and name in KINDS for name in value):
        raise MalformedFrameError("no kinds of event")
    return frozenset(KINDS[name] for name in value)
