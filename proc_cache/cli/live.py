"""The live form of `watch`: one loop over what the engine tells and the keys, and a screen drawn of it."""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING

from ..kernel.clocks import boot_wall_ns, boottime_ns, left_s, monotonic_s
from ..render.glyphs import glyphs_for
from ..render.live import draw
from ..service.picture import Picture
from .live_state import LiveState
from .live_terminal import LiveTerminal
from .live_users import LiveUsers
from .searched import searched

if TYPE_CHECKING:
    from ..render.live import Drawn
    from ..service.following import Following
    from ..service.picture_feed import Search
    from .pattern import NamePattern

_TICK_S = 0.25
_HALF_A_KEY_S = 0.05  # after an Esc: the rest of a sequence comes at once, or it was that key
_DRAWN_S = 0.04  # between two frames, however fast somebody types


def run(following: Following, pattern: NamePattern | None, deadline_s: float | None) -> None:
    """Show what happens until the user has seen enough, or the time is over."""
    with LiveTerminal() as terminal:
        view = LiveView(following, pattern, terminal)
        while not view.state.is_done and (deadline_s is None or left_s(deadline_s)):
            view.turn(_TICK_S if deadline_s is None else min(_TICK_S, left_s(deadline_s)))


class LiveView:
    """A terminal, a stream of pictures, and what the user does with them."""

    def __init__(self, following: Following, pattern: NamePattern | None, terminal: LiveTerminal) -> None:
        self._following = following
        self._narrowed = searched(following, pattern)
        self._terminal = terminal
        self._glyphs = glyphs_for(sys.stdout.encoding)
        self.state = LiveState(LiveUsers(), os.uname().nodename)
        self._search: Search | None = None
        self._poll = select.poll()
        self._poll.register(following.fileno(), select.POLLIN)
        self._keyboard = terminal.keyboard
        if self._keyboard is not None:
            self._poll.register(self._keyboard, select.POLLIN)
        self._drawn_s = 0.0
        self._has_news = False
        self._size = (0, 0)

    def turn(self, timeout_s: float) -> None:
        """Wait for a picture or a key, at most so long, and draw where there is something new."""
        terminal = self._terminal
        if terminal.has_half_a_key:
            timeout_s = min(timeout_s, _HALF_A_KEY_S)
        if self._has_news:
            timeout_s = min(timeout_s, max(0.0, self._drawn_s + _DRAWN_S - monotonic_s()))
        ready = {descriptor for descriptor, _ in self._poll.poll(timeout_s * 1000)}
        if self._following.fileno() in ready:
            self._take_pictures()
        if self._keyboard in ready or (terminal.has_half_a_key and not ready):
            self._take_keys(has_more=self._keyboard in ready)
        size = terminal.size()
        self._has_news = self._has_news or terminal.is_stale or size != self._size
        if self._has_news and self.state.picture is not None and monotonic_s() >= self._drawn_s + _DRAWN_S:
            self._draw(*size)

    def _take_pictures(self) -> None:
        for piece in self._narrowed.take(0):
            if isinstance(piece, Picture):
                self.state.take(piece, monotonic_s(), boottime_ns())
                self._has_news = True

    def _take_keys(self, *, has_more: bool) -> None:
        for key in self._terminal.keys(has_more=has_more):
            if key == "ctrl-l":
                self._terminal.is_stale = True
            if self._has_news and self.state.picture is not None and not self.state.is_typing:
                self._lay_out(*self._size)  # what can be selected, after the keys before
            self.state.press(key)
            self._has_news = True
        if self._keyboard is not None and self._terminal.keyboard is None:
            self._poll.unregister(self._keyboard)
            self._keyboard = None
        self._say_what_is_looked_for()

    def _say_what_is_looked_for(self) -> None:
        search = self.state.search(self._size[1])
        if search != self._search:
            self._search = search
            self._following.look_for(search)

    def _draw(self, columns: int, rows: int) -> None:
        if (columns, rows) != self._size:
            self._size = columns, rows
            self._say_what_is_looked_for()
        self._terminal.draw(self._lay_out(columns, rows).lines, columns, rows)
        self._drawn_s = monotonic_s()
        self._has_news = False

    def _lay_out(self, columns: int, rows: int) -> Drawn:
        has_keys = self._terminal.keyboard is not None
        frame = self.state.frame(columns, boot_wall_ns(), self._glyphs, has_keys=has_keys)
        drawn = draw(frame, columns, rows, self._glyphs)
        self.state.shown, self.state.scroll = drawn.selectable, drawn.scroll
        return drawn
