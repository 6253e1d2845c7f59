"""Every exit status, the same in each command; the larger ones are those of sysexits.h."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

ANSWERED = 0  # answered, or yes
NO = 1  # no, or no such process
USAGE = 2
CANNOT_TELL = 3  # history too short, events lost, hidden from this user
UNAVAILABLE = 69  # what is needed is not there: no connector, no room to write
BUG = 70
NOT_EXECUTABLE = 126  # a COMMAND that cannot be run, as env(1) and the shells say it
NOT_FOUND = 127  # a COMMAND that is not there
INTERRUPTED = 130  # Ctrl-C before the answer was complete
TERMINATED = 143  # SIGTERM before the answer was complete


def worst(statuses: Collection[int]) -> int:
    """Give the status of several answers: the one that most needs looking at."""
    for status in (USAGE, CANNOT_TELL, NO):
        if status in statuses:
            return status
    return ANSWERED
