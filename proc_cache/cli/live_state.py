"""What a live view shows at the moment, and what each key changes about it: no terminal, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..render.live import Frame
from ..render.live_overlay import chain_lines, help_lines
from ..service.facts import Told
from ..service.picture_feed import FAILED, NEWEST, RUNNING, Search, Wanted
from .rates import BirthRates, RateHistory

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..query import Walk
    from ..render.glyphs import Glyphs
    from ..render.spans import Line
    from ..service.picture import Picture
    from .live_users import LiveUsers

USER = "user"
ORDERS = (NEWEST, RUNNING, FAILED, USER)
_TEXT_MAX = 100
_PAGE = 10
_END = 1 << 20  # of what is scrolled


class LiveState:
    """The picture, the place in it, and what is open; `is_done` when the user wants to go."""

    def __init__(self, users: LiveUsers, host: str) -> None:
        self._users = users
        self._host = host
        self.is_done = False
        self.order = NEWEST
        self.is_tree = True
        self.is_paused = False
        self.text = ""
        self.is_typing = False
        self.is_help = False
        self.selected: tuple[int, int, int] | None = None
        self.expanded: Walk | None = None
        self.scroll = 0
        self.shown: tuple[Walk, ...] = ()  # what can be selected, as it was drawn last
        self.picture: Picture | None = None
        self._held: tuple[Picture, int] | None = None  # while it is paused: of which the programs are, and when
        self._rates = RateHistory()
        self._births = BirthRates()
        self._since_ns = self._now_ns = 0

    # --- what comes -------------------------------------------------------------------------------------

    def take(self, picture: Picture, now_s: float, now_ns: int) -> None:
        """Take a new picture; `now_ns` is CLOCK_BOOTTIME."""
        self._since_ns = self._since_ns or now_ns
        self.picture = picture
        self._now_ns = now_ns
        self._rates.take(picture.stats, now_s)
        self._births.take(picture.spawners, now_s)

    def search(self, rows: int) -> Search:
        """Give what the engine is to look for."""
        order = NEWEST if self.order == USER else self.order
        return Search(self.text, self._users.uids_named(self.text), order, max(1, rows))

    # --- keys -------------------------------------------------------------------------------------------

    def press(self, key: str) -> None:
        """Do what a key means."""
        if key in ("ctrl-c", "ctrl-d"):
            self.is_done = True
        elif self.is_typing:
            self._type(key)
        elif key == "q":
            self.is_done = True
        elif self.is_help or self.expanded is not None:
            self._press_in_overlay(key)
        else:
            self._press(key)

    def _type(self, key: str) -> None:
        if key == "enter":
            self.is_typing = False
        elif key == "esc":
            self.is_typing, self.text = False, ""
        elif key == "ctrl-u":
            self.text = ""
        elif key == "ctrl-w":
            self.text = self.text.rstrip().rpartition(" ")[0]
        elif key == "backspace":
            self.is_typing, self.text = bool(self.text), self.text[:-1]
        elif len(key) == 1 and len(self.text) < _TEXT_MAX:
            self.text += key

    def _press_in_overlay(self, key: str) -> None:
        step = {"j": 1, "down": 1, "k": -1, "up": -1, " ": _PAGE, "page-down": _PAGE, "page-up": -_PAGE}.get(key)
        if step is not None:
            self.scroll = max(0, self.scroll + step)
        elif key in ("esc", "enter", "e", "left", "h", "?"):
            self.is_help, self.expanded, self.scroll = False, None, 0

    def _press(self, key: str) -> None:
        actions: dict[str, Callable[[], None]] = {
            "p": self._toggle_pause,
            " ": self._toggle_pause,
            "/": self._begin_to_type,
            "s": self._sort,
            "t": self._toggle_tree,
            "h": self._open_help,
            "?": self._open_help,
            "enter": self._expand,
            "e": self._expand,
            "esc": self._go_back,
        }
        step = {"j": 1, "down": 1, "k": -1, "up": -1, "page-down": _PAGE, "page-up": -_PAGE}.get(key)
        if step is not None:
            self._select(step)
        elif key in ("g", "home", "G", "end"):
            self._select(-len(self.shown) if key in ("g", "home") else len(self.shown))
        elif key in actions:
            actions[key]()

    def _toggle_pause(self) -> None:
        if self.is_paused:
            self._resume()
        else:
            self._pause()

    def _pause(self) -> None:
        if not self.is_paused and self.picture is not None:
            self.is_paused = True
            self._held = self.picture, self._now_ns

    def _resume(self) -> None:
        self.is_paused, self._held, self.selected = False, None, None

    def _begin_to_type(self) -> None:
        self.is_typing = True

    def _sort(self) -> None:
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]

    def _toggle_tree(self) -> None:
        self.is_tree = not self.is_tree

    def _open_help(self) -> None:
        self.is_help = True

    def _go_back(self) -> None:
        if self.is_paused:
            self._resume()
        else:
            self.text = ""

    def _select(self, step: int) -> None:
        """Go up or down among what is shown, which stands still from now on."""
        if not self.shown:
            return
        self._pause()
        places = [walked.nodes[0].identity() for walked in self.shown]
        if self.selected in places:
            place = max(0, min(len(places) - 1, places.index(self.selected) + step))
        else:
            place = 0 if step > 0 or step < -1 else len(places) - 1
        self.selected = places[place]

    def _expand(self) -> None:
        if not self.shown:
            return
        self._pause()
        chosen = [walked for walked in self.shown if walked.nodes[0].identity() == self.selected]
        self.expanded = chosen[0] if chosen else self.shown[0]
        self.selected = self.expanded.nodes[0].identity()
        self.scroll = _END  # the process itself stands last

    # --- what is shown ----------------------------------------------------------------------------------

    def frame(self, columns: int, booted_ns: int, glyphs: Glyphs, *, has_keys: bool) -> Frame:
        """Give all that a screen of this width shows now."""
        assert self.picture is not None
        title, overlay = self._overlay(columns, glyphs)
        return Frame(
            host=self._host,
            now_ns=self._now_ns,
            rows_now_ns=self._held[1] if self._held is not None else self._now_ns,
            booted_ns=booted_ns,
            since_ns=self._since_ns,
            picture=self.picture,
            programs=self.programs(),
            rates=self._rates.rates(),
            births_per_s=self._births.per_s,
            user=self._users.user,
            order=self.order,
            is_tree=self.is_tree,
            is_paused=self.is_paused,
            text=self.text,
            is_typing=self.is_typing,
            has_keys=has_keys,
            selected=self.selected,
            overlay=overlay,
            overlay_title=title,
            scroll=self.scroll,
        )

    def programs(self) -> tuple[Told, ...]:
        """Give the programs in their order; those chosen for another filter are sifted."""
        picture = self.picture if self._held is None else self._held[0]
        assert picture is not None
        programs = picture.programs
        if picture.text != self.text:
            wanted = Wanted(self.search(1))
            programs = tuple(told for told in programs if any(map(wanted.is_in, told.walked.nodes)))
        if self.order == USER:
            programs = tuple(sorted(programs, key=self._user_key))
        elif self.order == FAILED:
            programs = tuple(sorted(programs, key=lambda told: not told.node.exit_status))
        elif self.order == RUNNING:
            programs = tuple(sorted(programs, key=_running_key))
        return programs

    def _user_key(self, told: Told) -> tuple[bool, str]:
        user = self._users.user(told.node)
        return user is None, user or ""

    def _overlay(self, columns: int, glyphs: Glyphs) -> tuple[str, tuple[Line, ...] | None]:
        if self.is_help:
            title, lines = "help", help_lines(glyphs)
        elif self.expanded is not None:
            title, lines = "chain", self._expanded_lines(self.expanded, columns, glyphs)
        else:
            return "", None
        return title, tuple(lines)

    def _expanded_lines(self, walked: Walk, columns: int, glyphs: Glyphs) -> list[Line]:
        links = [self._users.freeze_as_told(node) for node in walked.nodes]
        return chain_lines(links, walked.missing_pid, columns, glyphs)


def _running_key(told: Told) -> tuple[bool, int]:
    """Those that run come first, the oldest of them before; of those that have ended the newest before."""
    has_ended = bool(told.node.exit_ns)
    return has_ended, -told.time_ns if has_ended else told.time_ns
