"""A request to the frames of its answer, one after the other: whoever sends them can do other things between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import query
from ..errors import MalformedFrameError, NobodyFoundError
from ..lineage import lineage_steps
from ..selection import Chooser, candidates, nobody_named, seek_top
from . import facts, protocol
from .feeds import EventFeed
from .picture_feed import PictureFeed
from .protocol import END, NOBODY, OK, REFUSED, Request, frame, pack
from .stream import read_kinds

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ..engine.messages import Tap
    from ..engine.view import View
    from ..process import Node
    from ..record import Record
    from ..selection import Selection
    from .feeds import Frames
    from .picture_feed import Search


OUTLINES_AT_ONCE = 16  # a quarter of a millisecond


class Answers:
    """Answers requests from a view; `figures` gives the counters that a request can ask for.

    `taps` is where an engine tells its events: who watches hangs a feed there.
    """

    def __init__(self, view: View, figures: Callable[[], Iterable[Record]], taps: list[Tap]) -> None:
        self._view = view
        self._figures = figures
        self._taps = taps
        self._kinds: dict[str, Callable[..., Frames]] = {
            protocol.CHAIN: self._chain,
            protocol.OUTLINES: self._outlines,
            protocol.DESCENT: self._descent,
            protocol.SNAPSHOT: self._snapshot,
            protocol.LINEAGES: self._lineages,
            protocol.STATS: self._stats,
            protocol.WATCH: self._watch,
            protocol.PICTURES: self._pictures,
        }

    def to(self, request: Request, searches: deque[Search] | None = None) -> Frames:
        """Give the frames; None where there is nothing to tell now. `searches`: those of who is told pictures.

        Raises MalformedFrameError, before or with the first, where it is no request.
        """
        if request.version != protocol.VERSION:
            return iter((refusal(_other_version(request.version)),))
        kind = self._kinds.get(request.kind)
        if kind is None:
            raise MalformedFrameError(f"no kind of request: {request.kind!r}")
        try:
            if request.kind == protocol.PICTURES:
                return self._pictures(*request.arguments, searches=searches)
            return kind(*request.arguments)
        except TypeError as error:  # as many arguments as that kind does not have
            raise MalformedFrameError(str(error)) from error

    def _chain(self, pid: Any, moment: Any) -> Iterator[bytes]:  # noqa: ANN401
        pid, moment = protocol.read_pid(pid), protocol.read_moment(moment)
        walked = query.walk(self._view, pid, moment)
        chain = query.chain_of(self._view, pid, moment, walked)
        yield frame((OK, *protocol.chain_head(chain)))
        yield from self._described(walked.nodes)

    def _outlines(self, targets: Any) -> Iterator[bytes]:  # noqa: ANN401
        wanted = protocol.read_targets(targets)
        yield frame((OK,))
        told = facts.OutlinesTold()
        for at in range(0, len(wanted), OUTLINES_AT_ONCE):
            some = wanted[at : at + OUTLINES_AT_ONCE]
            yield frame(told.tell(query.outline(self._view, target.pid, target.moment) for target in some))
        yield frame(END)

    def _descent(self, pid: Any, cmd: Any, is_strict: Any, moment: Any) -> Iterator[bytes]:  # noqa: ANN401
        pid, cmd, moment = protocol.read_pid(pid), protocol.read_text(cmd), protocol.read_moment(moment)
        walked = query.walk(self._view, pid, moment)
        verdict = query.judge(self._view, walked, cmd, is_strict=bool(is_strict))
        chain = query.chain_of(self._view, pid, moment, walked)
        yield frame((OK, pack(verdict), protocol.chain_head(chain)))
        yield from self._described(walked.nodes)

    def _snapshot(self, selection: Any) -> Frames:  # noqa: ANN401
        wanted = protocol.read_selection(selection)
        return self._chosen(wanted, lambda chooser: self._list(wanted, self._processes(wanted, chooser)))

    def _lineages(self, selection: Any) -> Frames:  # noqa: ANN401
        wanted = protocol.read_selection(selection)
        return self._chosen(wanted, lambda chooser: self._list(wanted, self._placed(wanted, chooser)))

    def _chosen(self, wanted: Selection, answer: Callable[[Chooser], Frames]) -> Frames:
        """Answer for a selection, or that a process it names is not known."""
        try:
            chooser = Chooser(self._view, wanted)
        except NobodyFoundError as error:
            yield _nobody(error)
            return
        yield from answer(chooser)

    def _list(self, wanted: Selection, found: Iterator[bytes]) -> Iterator[bytes]:
        # Nothing is a piece too: whoever sends them looks at the clock between two.
        for is_found in seek_top(self._view, wanted):
            yield b""
            if is_found:
                break
        else:
            yield _nobody(nobody_named(self._view, wanted))
            return
        yield frame((OK,))
        yield from found
        yield frame(END)

    def _processes(self, wanted: Selection, chooser: Chooser) -> Iterator[bytes]:
        for node in candidates(self._view, wanted):
            yield frame(facts.described(self._view, node, is_fresh=False)) if chooser.has(node) else b""

    def _placed(self, wanted: Selection, chooser: Chooser) -> Iterator[bytes]:
        for step in lineage_steps(self._view, wanted, chooser):
            yield b"" if step is None else frame(facts.placed(self._view, *step))

    def _watch(self, kinds: Any, selection: Any, children_of: Any, is_whole: Any = False) -> Frames:  # noqa: ANN401
        wanted_kinds, wanted = read_kinds(kinds), protocol.read_selection(selection)
        below = None if children_of is None else protocol.read_pid(children_of)
        if not isinstance(is_whole, bool):
            raise MalformedFrameError("whole or not is no question of degree")
        return self._chosen(
            wanted,
            lambda chooser: EventFeed(self._view, wanted_kinds, chooser, below, is_whole=is_whole).frames(
                self._taps
            ),
        )

    def _pictures(self, selection: Any, *, searches: deque[Search] | None = None) -> Frames:  # noqa: ANN401
        return self._chosen(
            protocol.read_selection(selection),
            lambda chooser: PictureFeed(self._view, chooser, self._figures, searches).frames(self._taps),
        )

    def _stats(self) -> Iterator[bytes]:
        figures = {
            field: value
            for record in self._figures()
            for field in record._fields
            if isinstance(value := getattr(record, field), int)
        }
        yield frame((OK, tuple(figures), tuple(figures.values())))
        yield frame(END)

    def _described(self, nodes: Iterable[Node]) -> Iterator[bytes]:
        for node in nodes:
            yield frame(facts.described(self._view, node, is_fresh=True))
        yield frame(END)


def ready() -> bytes:
    """Write the first word of an engine to who has started it: it listens."""
    return frame((OK,))


def refusal(reason: str) -> bytes:
    """Write the answer to what is not served."""
    return frame((REFUSED, reason))


def _nobody(error: NobodyFoundError) -> bytes:
    return frame((NOBODY, str(error), error.may_exist))


def _other_version(version: int) -> str:
    return f"the engine speaks version {protocol.VERSION}, not {version}; restart it with this proc-cache"
