"""Frames of a live view, and the text that is drawn of them at a size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from proc_cache.render.glyphs import UNICODE, Glyphs
from proc_cache.render.live import Drawn, Frame, Rates, draw
from proc_cache.render.spans import plain
from proc_cache.service.picture import Picture, Spawner

from .frozen import BOOT_WALL_NS, SECOND_NS
from .told import a_node, some_stats, told_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proc_cache.process import Node
    from proc_cache.service.facts import Told

NOW_NS = 100 * SECOND_NS
USERS = {0: "root", 1000: "alice"}


def user(node: Node) -> str | None:
    return USERS.get(node.uid, str(node.uid)) if isinstance(node.uid, int) else node.uid


def spawner(pid: int | None = 1204, name: str | None = "agent", **told: Any) -> Spawner:
    fields: dict[str, Any] = {"is_alive": True, "births": 3740, "program": "ast-grep", "runs": 3646}
    fields |= {"between": "sh", "between_count": 94, "between_births": 3646}
    return Spawner(pid, name, **{**fields, **told})


def frame(programs: Sequence[Told] = (), spawners: Sequence[Spawner] = (), **told: Any) -> Frame:
    """A frame of a view that is live and has nothing open, unless told otherwise; `stats` are some counters."""
    stats = told.pop("stats", None) or some_stats(floods=())
    fields: dict[str, Any] = {
        "host": "a-host",
        "now_ns": NOW_NS,
        "rows_now_ns": NOW_NS,
        "booted_ns": BOOT_WALL_NS,
        "since_ns": SECOND_NS,
        "programs": tuple(programs),
        "rates": tuple(Rates(name, 12.0, 50.0, tuple(float(n % 50) for n in range(60))) for name in KINDS),
        "births_per_s": {},
        "user": user,
        "order": "newest",
        "is_tree": True,
        "is_paused": False,
        "text": "",
        "is_typing": False,
        "has_keys": True,
    }
    return Frame(picture=Picture(stats, tuple(programs), tuple(spawners)), **{**fields, **told})


KINDS = ("fork", "exec", "exit")


def drawn(of: Frame, columns: int = 80, rows: int = 24, glyphs: Glyphs = UNICODE) -> Drawn:
    """Draw it, and see that it is as tall as the screen and no wider."""
    result = draw(of, columns, rows, glyphs)
    assert len(result.lines) == rows, "it is not as tall as the screen"
    for line in result.lines:
        text = plain(line)
        assert cell_len(text) <= columns, f"it is wider than the screen: {text!r}"
        assert text.isprintable(), f"it does something to the terminal: {text!r}"
    return result


def text_of(of: Frame, columns: int = 80, rows: int = 24, glyphs: Glyphs = UNICODE) -> list[str]:
    """What it shows, line by line."""
    return [plain(line).rstrip() for line in drawn(of, columns, rows, glyphs).lines]


def family(*names: str, first_pid: int = 1) -> list[Node]:
    """A process and who it started, and so on, named so."""
    nodes: list[Node] = []
    for number, name in enumerate(names):
        nodes.append(a_node(first_pid + number, nodes[-1] if nodes else None, cmd=name))
    return nodes


def program(node: Node, second: float = 90.0) -> Told:
    """That it ran its program then."""
    return told_of(node, time_ns=int(second * SECOND_NS))
