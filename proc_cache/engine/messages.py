"""The messages of the connector: each is counted, has its place in the sequence of its CPU, and is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MalformedMessageError
from ..kernel.wire import unpack
from .losses import SEQ_MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..events import Event
    from ..process import Node
    from .losses import LossLedger
    from .tree import ProcessTree

    # Told of each event about a process: its kind, its fields and the process, right after it was applied.
    Tap = Callable[[type[Event], tuple[Any, ...], Node], None]
    Sampler = Callable[[type[Event], tuple[Any, ...]], None]


class Messages:
    """Applies messages to a tree, and tells `taps`; while it is set, `sample` is called with every message."""

    def __init__(self, tree: ProcessTree, ledger: LossLedger) -> None:
        self._tree = tree
        self._ledger = ledger
        self._last = ledger.last
        self.taps: list[Tap] = []
        self.sample: Sampler | None = None
        self.count = 0
        self.applied = 0  # of them, those that were about a process
        self.malformed = 0
        self.has_lost = False  # since this was last set back: what /proc shows has to be looked through

    def take(self, receive: Callable[[], bytes | None], limit: int) -> int:
        """Apply datagrams until there is none (b""), `limit` at most; None is an overrun. Returns how many."""
        last, handlers, taps, sample = self._last, self._tree.handlers, self.taps, self.sample
        for count in range(limit):
            data = receive()
            if not data:
                if data is not None:
                    return count
                self._ledger.overrun()
                self.has_lost = True
                continue
            try:
                messages = unpack(data)
            except MalformedMessageError as error:
                messages = self._salvage(error)
            self.count += len(messages)
            for kind, fields in messages:
                cpu = fields[1]
                before = last.get(cpu)
                if before is None or fields[0] != before[0] + 1 & SEQ_MASK:
                    self._note_gap(fields)
                last[cpu] = fields
                if sample is not None:
                    sample(kind, fields)
                handler = handlers.get(kind)
                node = handler(fields) if handler is not None else None
                if node is not None:
                    self.applied += 1
                    for tap in taps:
                        tap(kind, fields, node)
        return limit

    def _salvage(self, error: MalformedMessageError) -> Sequence[tuple[type[Event], tuple[Any, ...]]]:
        self.malformed += 1
        return [(type(event), event) for event in error.events]

    def _note_gap(self, fields: tuple[Any, ...]) -> None:
        if self._ledger.gap(fields, self._tree.to_boottime_ns):
            self.has_lost = True
