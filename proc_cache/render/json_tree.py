"""The tree of a command as one JSON document: each process with its `children`, in the order of birth.

Written piece by piece, a process a line: a tree can be deeper than Python's stack, and too large to be held twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..service.family import children_of
from .jsonlines import line, process_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..process import Process
    from ..service.family import Family, Folds, Member

    Freeze = Callable[[Member], Process]


def command_document(family: Family, freeze: Freeze, head: dict[str, Any]) -> Iterator[str]:
    """Write what is known of the command, then all that it started."""
    running = sum(member.is_running() for member in family.members())
    figures = {
        "processes": family.count,
        "failed": family.failed,
        "still_running": running,
        "cpu_s": family.cpu_us / 1e6 if family.with_cost else None,
        "max_rss_bytes": family.max_rss_bytes if family.with_cost else None,
        "folded": family.put_away,
    }
    yield json.dumps({**head, **figures}, indent=2).removesuffix("\n}") + ',\n  "tree": ['
    pending: list[Member | str] = ["]\n}\n"]
    _push(pending, children_of(family.top))
    while pending:
        piece = pending.pop()
        if isinstance(piece, str):
            yield piece
        else:
            yield line(_object(piece, freeze)).removesuffix("}") + ',"children":['
            pending.append("]}")
            _push(pending, children_of(piece))


def _push(pending: list[Member | str], members: list[Member]) -> None:
    for number, member in reversed(list(enumerate(members))):
        pending.append(member)
        pending.append(",\n" if number else "\n")


def _object(member: Member, freeze: Freeze) -> dict[str, Any]:
    result = process_object(freeze(member))
    if member.is_context or member.is_end_unseen:
        result["alive"] = None
    if member.is_context:
        result["context"] = True
    if member.left_out:
        result["generations_left_out"] = member.left_out
    if member.folds:
        result["folded"] = _folds(member.folds)
    return result


def _folds(folds: Folds) -> list[dict[str, Any]]:
    """Give what was counted by name, and what is below that; it is a few levels deep, never many."""
    return [
        {
            "cmd": None if name is None else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
            "count": fold.count,
            "failed": fold.failed,
            "total_s": fold.total_ns / 1e9,
            "longest_s": fold.longest_ns / 1e9,
            "cpu_s": fold.cpu_us / 1e6,
            "max_rss_bytes": fold.max_rss_bytes,
            "folded": _folds(fold.below),
        }
        for name, fold in folds.items()
    ]
