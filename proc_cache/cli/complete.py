"""`_complete KIND [PREFIX]`: what the completions in `completions/` offer, VALUE<TAB>DESCRIPTION a line.

It reads /proc, and asks no engine: only the living are offered, and a name and a user are less to read than an
engine's answer is to decode. A shell calls it each time Tab is pressed, so it loads next to nothing.
"""

from __future__ import annotations

import sys

from ..errors import ProcessHiddenError
from ..kernel.procfs import ProcReader
from ..kernel.users import UserNames
from ..process import decode_name
from ..render.escape import escape
from . import exit_status
from .terminal import write_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Seen = tuple[int, str, int]  # pid, name, uid


def run(words: Sequence[str]) -> int:
    """Write the candidates of a kind that begin with a prefix; of a kind that is not known here, none."""
    kind, prefix, *_ = (*words, "", "")
    offer = _OFFERS.get(kind)
    if offer is None:
        return exit_status.USAGE
    write_lines(line for line in offer(_living()) if line.startswith(prefix))
    return exit_status.ANSWERED


def _living() -> list[Seen]:
    """Give who is there, in the order of the PIDs; what only lives to answer this is left out."""
    from os import getpid

    reader, me = ProcReader(), getpid()
    found: list[Seen] = []
    for pid in sorted(reader.pids()):
        try:
            seen = reader.glance(pid)
        except ProcessHiddenError:
            continue
        if seen is not None and pid != me:
            found.append((pid, decode_name(seen[0]), seen[1]))
    return found


def _pids(living: list[Seen]) -> Iterator[str]:
    users = UserNames()
    for pid, name, uid in living:
        yield f"{pid}\t{escape(name)} ({escape(users.name(uid))})"


def _cmds(living: list[Seen]) -> Iterator[str]:
    numbers: dict[str, int] = {}
    for _, name, _ in living:
        numbers[name] = numbers.get(name, 0) + 1
    for name in sorted(filter(_can_be_typed, numbers)):
        yield f"{name}\t{numbers[name]} process{'es' if numbers[name] > 1 else ''}"


def _can_be_typed(name: str) -> bool:
    """Tell whether a shell can offer it as it is: a line is a candidate, and what begins with a dash an option."""
    if not name or name.startswith("-") or not name.isprintable():
        return False
    try:
        name.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


def _targets(living: list[Seen]) -> Iterator[str]:
    yield from _pids(living)
    yield from _cmds(living)


_OFFERS: dict[str, Callable[[list[Seen]], Iterator[str]]] = {"pids": _pids, "cmds": _cmds, "targets": _targets}
