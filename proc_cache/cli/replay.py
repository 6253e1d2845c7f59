"""`watch --from FILE`: what a history holds, event by event, as it was shown then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import query
from ..history.reader import HistoryView
from ..history.replay import replay
from ..render.chain import walk_text
from ..render.events import event_text
from ..selection import Chooser, check_top
from . import exit_status
from .entries import entry_kind
from .terminal import write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..history.replay import Happening
    from .watch import WatchOptions


def run(options: WatchOptions, path: str) -> int:
    """Print the events that were asked for, as fast as they are read. Raises HistoryError, NobodyFoundError."""
    view = HistoryView.open(path)
    chooser = Chooser(view, options.selection)
    check_top(view, options.selection)  # nobody comes later here
    for count, happening in enumerate(_chosen(view, options, chooser), start=1):
        write(_render(view, happening, is_json=options.form == "ndjson"))
        if count == options.count:
            break
    return exit_status.ANSWERED


def _chosen(view: HistoryView, options: WatchOptions, chooser: Chooser) -> Iterator[Happening]:
    pattern = options.pattern
    return (
        happening
        for happening in replay(view)
        if happening.kind in options.events
        and chooser.has(happening.node)
        and (pattern is None or pattern.is_in(happening.process))
    )


def _render(view: HistoryView, happening: Happening, *, is_json: bool) -> str:
    kind, time_ns, process = happening.kind, happening.time_ns, happening.process
    walked = query.walk_from(view, happening.node)
    chain = walk_text(view, walked, itself=process)
    entry = entry_kind(walked.nodes) if is_json else None
    return event_text(kind, time_ns, process, chain, is_json=is_json, entry=entry)
