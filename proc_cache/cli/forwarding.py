"""Signals for a command that `watch` runs: handed on to it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen
    from types import FrameType, TracebackType
    from typing import Any, Self


class SignalForwarding:
    """Hands signals on to a child while it runs; one that comes before there is a child waits for it.

    Ctrl-C and Ctrl-\\ are ignored meanwhile: the terminal sends them to the child as well.
    """

    _FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    _IGNORED = (signal.SIGINT, signal.SIGQUIT)

    def __init__(self) -> None:
        self._child: Popen[bytes] | None = None
        self._waiting: list[int] = []
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._forward) for number in self._FORWARDED}
        # A handler, not SIG_IGN: that one the child would inherit through its exec, and be deaf to Ctrl-C.
        for number in self._IGNORED:
            self._former[number] = signal.signal(number, lambda _number, _frame: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def to(self, child: Popen[bytes]) -> None:
        """Name the child; what has come for it already is handed on."""
        self._child = child
        while self._waiting:
            child.send_signal(self._waiting.pop(0))

    def write_from_the_background(self) -> None:
        """After the child: it may have left the terminal to a group of its own, which is gone (stty tostop)."""
        self._former[signal.SIGTTOU] = signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if self._child is None:
            self._waiting.append(number)
        else:
            self._child.send_signal(number)
