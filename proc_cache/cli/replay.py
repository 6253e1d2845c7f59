"""`watch --from FILE`: what a history holds, event by event, as it was shown then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import query
from ..history.reader import HistoryView
from ..history.replay import replay
from ..render.chain import walk_text
from ..render.events import event_line, event_object
from ..render.jsonlines import line
from ..selection import Chooser, check_top
from . import exit_status
from .array import Array
from .entries import entry_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..history.replay import Happening
    from ..render.ecs import Host
    from .watch import WatchOptions

    Text = Callable[[Happening], str]


def run(options: WatchOptions, path: str) -> int:
    """Print the events that were asked for, as fast as they are read. Raises HistoryError, NobodyFoundError."""
    view = HistoryView.open(path)
    chooser = Chooser(view, options.selection)
    check_top(view, options.selection)  # nobody comes later here
    text_of = _TEXTS.get(options.form, _line)(view)
    with Array(is_array=options.form == "json") as array:
        for count, happening in enumerate(_chosen(view, options, chooser), start=1):
            array.item(text_of(happening))
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


def _line(view: HistoryView) -> Text:
    def text(one: Happening) -> str:
        walked = query.walk_from(view, one.node)
        return event_line(one.kind, one.time_ns, one.process, walk_text(view, walked, itself=one.process))

    return text


def _object(view: HistoryView) -> Text:
    def text(one: Happening) -> str:
        walked = query.walk_from(view, one.node)
        chain = walk_text(view, walked, itself=one.process)
        return line(event_object(one.kind, one.time_ns, one.process, chain, entry_kind(walked.nodes)))

    return text


def _ecs(view: HistoryView) -> Text:
    from ..render.ecs import EcsWriter
    from .host import this_host

    writer = EcsWriter()
    hosts: dict[str, Host] = {}

    def text(one: Happening) -> str:
        walked = query.walk_from(view, one.node)
        links = [one.process, *map(view.describe, walked.nodes[1:])]
        boot_id = view.boot_id(one.node)
        if boot_id not in hosts:
            hosts[boot_id] = this_host(boot_id)
        chain = walk_text(view, walked, itself=one.process)
        return writer.event(one.kind, one.time_ns, links, chain, hosts[boot_id])

    return text


_TEXTS = {"json": _object, "ndjson": _object, "ecs": _ecs}
