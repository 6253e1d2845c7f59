"""The live view: what stands where on a screen of any size, as lines of styled text. It draws nothing itself.

From top to bottom: who and how, rates, how the capture goes, caches, who starts most, and the programs in
what room is left. Less stands on a smaller screen; nothing ever takes a second line. Names are escaped here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..process import Node
from ..query import Walk
from ..record import Record
from ..service.facts import Told
from ..service.picture import Picture
from ..times import clock, duration
from .chain import UNKNOWN
from .figures import flood_text
from .glyphs import Glyphs, sparkline
from .live_rows import list_heading, program_lines
from .spans import cell, columns_of, cut, fitting, padded, width, with_background

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..engine.stats import CacheStats, Stats
    from ..service.picture import Spawner
    from .spans import Line

ORDER_WORDS = {
    "newest": "newest first",
    "running": "longest running first",
    "failed": "failures first",
    "user": "by user",
}
BAR = "on grey19"
_TITLE = "bold"
_LABEL = "dim"
_TALL, _TALLER = 32, 48  # rows from which on there is room for tables, and for more of them
_WIDE = 150  # columns from which on two tables stand side by side


class Rates(Record):
    """How often something happens: a second now, at most, and in each of the last seconds."""

    name: str
    now: float
    most: float
    seconds: tuple[float, ...]  # the last one now


class Frame(Record):
    """All that a screen shows at one moment."""

    host: str
    now_ns: int  # CLOCK_BOOTTIME
    rows_now_ns: int  # the same for the programs, which stand still where it is paused
    booted_ns: int
    since_ns: int  # when the view began
    picture: Picture
    programs: tuple[Told, ...]  # in their order, chosen already
    rates: tuple[Rates, ...]
    births_per_s: dict[tuple[int | None, str | None], float]  # of spawners
    user: Callable[[Node], str | None]
    order: str
    is_tree: bool
    is_paused: bool
    text: str  # the filter
    is_typing: bool
    has_keys: bool
    selected: tuple[int, int, int] | None = None
    overlay: tuple[Line, ...] | None = None  # instead of the programs
    overlay_title: str = ""
    scroll: int = 0  # lines of it that are above the screen; as far as it has more


class Drawn(Record):
    """The lines of a screen, the processes that can be selected on it, and how far an overlay is scrolled."""

    lines: tuple[Line, ...]
    selectable: tuple[Walk, ...]
    scroll: int


def draw(frame: Frame, columns: int, rows: int, glyphs: Glyphs) -> Drawn:
    """Write a frame for a screen of this size: exactly so many lines, none of them wider."""
    top = [_header(frame, columns, glyphs)]
    bottom = [_footer(frame, columns, glyphs)] if rows >= 8 else []
    for section in _sections(frame, columns, rows, glyphs)[: 1 if frame.overlay is not None else None]:
        if len(top) + len(section) + len(bottom) + 4 <= rows:
            top += section
    room = max(0, rows - len(top) - len(bottom))
    body, selectable = _body(frame, columns, room, glyphs)
    body += [[] for _ in range(room - len(body))]
    lines = [cut(line, columns, glyphs.more) for line in (*top, *body[:room], *bottom)]
    return Drawn(tuple(lines[:rows]), tuple(selectable), _scroll(frame, room))


def _scroll(frame: Frame, room: int) -> int:
    return max(0, min(frame.scroll, len(frame.overlay or ()) + 1 - room))


def _sections(frame: Frame, columns: int, rows: int, glyphs: Glyphs) -> list[list[Line]]:
    stats = frame.picture.stats
    is_tall = rows >= _TALL
    rates = _rate_lines(frame, columns, rows, glyphs)
    caches = _cache_lines(frame, columns, glyphs, is_table=is_tall)
    if is_tall and columns >= _WIDE and len(rates) == len(caches):
        half = columns // 2
        rates = [[*padded(left, half, glyphs.more), *right] for left, right in zip(rates, caches, strict=True)]
        caches = []
    gap: list[Line] = [[]] if is_tall else []
    sections = [gap + rates, gap + _capture_lines(stats, columns, glyphs)]
    if caches:
        sections.append(gap + caches)
    if rows >= 14:
        count = 3 if rows < _TALL else 6 if rows < _TALLER else 10
        sections.append(gap + _spawner_lines(frame, columns, count, glyphs))
    return [*sections, gap] if gap else sections


_FILTER_HINTS = ("Enter keeps it, Esc clears it", "a name, user, pid or argument, of a process or an ancestor")


# --- the first and the last line --------------------------------------------------------------------------


def _header(frame: Frame, columns: int, glyphs: Glyphs) -> Line:
    state: Line = [(" PAUSED ", "bold black on yellow")] if frame.is_paused else [(" LIVE ", "bold green")]
    text: Line = [("filter ", _LABEL), (glyphs.name(frame.text), "bold yellow")] if frame.text else []
    stats = frame.picture.stats
    counts = f"{stats.alive:,} alive  {stats.dead:,} dead"
    right = fitting(
        [state, cut(text, columns // 3, glyphs.more), [(ORDER_WORDS[frame.order], "")], [(counts, _LABEL)]],
        max(0, columns - 14),
        "  ",
    )
    left = fitting(
        [
            [(" proc-cache", "bold")],
            [(clock(frame.now_ns, frame.booted_ns)[:8], "")],
            [(glyphs.name(frame.host), _LABEL)],
        ],
        columns - width(right) - 2,
        "  ",
    )
    fill = columns - width(left) - width(right) - 1
    return with_background(padded([*left, (" " * max(0, fill), ""), *right], columns, glyphs.more), BAR)


def _footer(frame: Frame, columns: int, glyphs: Glyphs) -> Line:
    if frame.is_typing:
        line: Line = [(" /", "bold yellow"), (glyphs.name(frame.text), "bold"), (" ", "reverse"), ("   ", "")]
        hints: list[Line] = [[(text, _LABEL)] for text in _FILTER_HINTS]
        line += fitting(hints, columns - width(line), "  ")
        return with_background(padded(line, columns, glyphs.more), BAR)
    if not frame.has_keys:
        return with_background(padded([(" Ctrl-C ends it", _LABEL)], columns, glyphs.more), BAR)
    if frame.overlay is not None:
        keys = [("Esc", "back"), ("j k", "scroll"), ("q", "quit")]
    else:
        keys = [
            ("p", "resume" if frame.is_paused else "pause"),
            ("/", "filter"),
            ("s", "sort"),
            ("t", "list" if frame.is_tree and frame.order == "newest" else "tree"),
            ("j k", "select"),
            ("Enter", "chain"),
            ("?", "help"),
            ("q", "quit"),
        ]
    pieces: list[Line] = [[(key, "bold"), (f" {word}", _LABEL)] for key, word in keys]
    return with_background(padded([(" ", ""), *fitting(pieces, columns - 2, "  ")], columns, glyphs.more), BAR)


# --- rates and capture ------------------------------------------------------------------------------------


def _rate_lines(frame: Frame, columns: int, rows: int, glyphs: Glyphs) -> list[Line]:
    most = max((rates.most for rates in frame.rates), default=0.0)
    if rows >= _TALL and columns >= 70:
        return [_tall_rate(rates, most, glyphs) for rates in frame.rates]
    line: Line = [(" ", "")]
    room = (columns - 2) // max(1, len(frame.rates))
    for rates in frame.rates:
        figure = f"{_count(rates.now)}/s"
        bars = min(60, room - len(rates.name) - 12)
        line += [(f"{rates.name} ", _LABEL), (figure.rjust(8), _TITLE), (" ", "")]
        line += [(sparkline(list(rates.seconds), bars, most, glyphs), _RATE_STYLES[rates.name]), ("  ", "")]
    return [line]


_RATE_STYLES = {"fork": "cyan", "exec": "green", "exit": "blue"}


def _tall_rate(rates: Rates, most: float, glyphs: Glyphs) -> Line:
    bars = sparkline(list(rates.seconds), len(rates.seconds), most, glyphs)
    return [
        (f" {rates.name} ", _LABEL),
        (f"{_count(rates.now)}/s".rjust(9), _TITLE),
        ("  ", ""),
        (bars, _RATE_STYLES[rates.name]),
        (f"  most {_count(rates.most)}", _LABEL),
    ]


def _count(number: float) -> str:
    return f"{number:,.1f}" if 0 < number < 9.95 else f"{number:,.0f}"


def _capture_lines(stats: Stats, columns: int, glyphs: Glyphs) -> list[Line]:
    """Write how the capture is done, the worst first: losses, priority, exit records; and floods if any."""
    least = "" if stats.lost_is_exact else "at least "
    pieces: list[Line] = [
        [("lost ", _LABEL), (f"{least}{stats.lost:,}", "bold red" if stats.lost else "green")],
        _figure("overruns", f"{stats.overruns:,}", "bold red") if stats.overruns else [],
        _figure("priority", stats.priority or "ordinary"),
        _figure("buffer", f"{stats.receive_buffer_bytes / (1 << 20):.3g} MiB"),
        _figure("exit records", f"{stats.records:,}" if stats.no_records is None else "none"),
        [("no exit records: ", _LABEL), (glyphs.name(stats.no_records), "")] if stats.no_records else [],
        _figure("records lost", f"{stats.records_lost:,}", "red") if stats.records_lost else [],
        _figure("real time given up", f"{stats.steps_back} times", "yellow") if stats.steps_back else [],
        _figure("longest pause", duration(stats.longest_pause_ns)),
        _figure("unread names", f"{stats.unread:,}") if stats.unread else [],
    ]
    lines: list[Line] = [[(" ", ""), *fitting(pieces, columns - 1)]]
    if stats.floods:
        lines.append([(" ", ""), (_safe(flood_text(stats), glyphs), "red")])
    return lines


def _figure(label: str, value: str, style: str = "") -> Line:
    return [(f"{label} ", _LABEL), (value, style)]


def _safe(text: str, glyphs: Glyphs) -> str:
    """Give text of ours, whose names are escaped already, in characters that can be written."""
    return text.encode("ascii", "backslashreplace").decode() if glyphs.is_ascii else text


# --- caches -----------------------------------------------------------------------------------------------

_CACHE_HEADINGS = ("size", "capacity", "hits", "misses", "expired", "evicted", "oldest")


def _cache_lines(frame: Frame, columns: int, glyphs: Glyphs, *, is_table: bool) -> list[Line]:
    caches = frame.picture.stats.caches
    oldest = [_oldest(frame) if cache.name == "processes" else "" for cache in caches]
    if not is_table or columns < 80:
        pieces = [piece for cache, age in zip(caches, oldest, strict=True) for piece in _cache_pieces(cache, age)]
        return [[(" ", ""), *fitting(pieces, columns - 1, "  ")]]
    rows: list[tuple[str, ...]] = [_CACHE_HEADINGS]
    rows += [(*_cache_figures(cache), age) for cache, age in zip(caches, oldest, strict=True)]
    widths = [max(columns_of(row[place]) for row in rows) for place in range(len(_CACHE_HEADINGS))]
    lines: list[Line] = []
    for number, row in enumerate(rows):
        name = "cache" if not number else caches[number - 1].name
        style = _LABEL if not number else ""
        line: Line = [(f" {cell(name, 10, glyphs.more)}", style or _TITLE)]
        line += [
            (f"  {text.rjust(size)}", style or _worth(heading, text))
            for heading, text, size in zip(_CACHE_HEADINGS, row, widths, strict=True)
        ]
        lines.append(line)
    return lines


def _worth(heading: str, text: str) -> str:
    return "dim" if text == "0" or heading == "capacity" else ""


def _cache_figures(cache: CacheStats) -> tuple[str, ...]:
    figures = (cache.size, cache.capacity, cache.hits, cache.misses, cache.expired, cache.evicted)
    return tuple(f"{figure:,}" for figure in figures)


def _cache_pieces(cache: CacheStats, oldest: str) -> list[Line]:
    first: Line = [
        (f"{cache.name} ", _LABEL),
        (_short(cache.size), _TITLE),
        (f"/{_short(cache.capacity)}", _LABEL),
    ]
    for word, figure in (("hit", cache.hits), ("miss", cache.misses)):
        first += [(f" {word} ", _LABEL), (_short(figure), "")]
    second: Line = []
    for word, figure in (("expired", cache.expired), ("evicted", cache.evicted)):
        second += [(f"{word} ", _LABEL), (_short(figure), ""), (" ", "")]
    return [first, second[:-1], _figure("oldest", oldest.removesuffix(" ago")) if oldest else []]


def _short(number: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**4)):
        if number >= size:
            return f"{number / min(size, 1000 if unit == 'k' else size):.3g}{unit}"
    return str(number)


def _oldest(frame: Frame) -> str:
    """Say how long ago the one that is remembered for longest has ended."""
    ended_ns = frame.picture.stats.oldest_exit_ns
    return f"{duration(max(0, frame.now_ns - ended_ns))} ago" if ended_ns else "none"


# --- who starts most --------------------------------------------------------------------------------------


def _spawner_lines(frame: Frame, columns: int, count: int, glyphs: Glyphs) -> list[Line]:
    since = clock(frame.since_ns, frame.booted_ns)[:8]
    words: list[Line] = [
        [(" top spawners", _TITLE)],
        [(f"processes born below them since {since}", _LABEL)],
        [("the busiest of late first", _LABEL)],
    ]
    lines = [fitting(words, columns, "  ")]
    spawners = frame.picture.spawners[:count]
    if not spawners:
        return [*lines, [("   none yet", _LABEL)]]
    births = [f"{spawner.births:,}" for spawner in spawners]
    programs = [_program_text(spawner, glyphs) for spawner in spawners]
    between = [_between_text(spawner, glyphs) for spawner in spawners]
    size = max(7, *map(len, births))
    first = min(max(map(columns_of, programs)), columns * 3 // 10)
    second = min(max(map(columns_of, between)), columns // 3)
    for spawner, born, program, through in zip(spawners, births, programs, between, strict=True):
        rate = frame.births_per_s.get((spawner.pid, spawner.name), 0.0)
        line: Line = [(f" {born.rjust(size)}", _TITLE)]
        if columns >= 100:
            line.append((f"{'+' + _count(rate) + '/s' if rate >= 0.05 else '':>10}", "green"))
        line += [
            (f"  {cell(program, first, glyphs.more)}", ""),
            (f"  {cell(through, second, glyphs.more)}", _LABEL),
        ]
        lines.append(line + _top_text(spawner, glyphs))
    return lines


def _program_text(spawner: Spawner, glyphs: Glyphs) -> str:
    if not spawner.runs:
        return "no programs"
    return f"{spawner.runs:,} {_name(spawner.program, glyphs)}"


def _between_text(spawner: Spawner, glyphs: Glyphs) -> str:
    if not spawner.between_count:
        return ""
    return f"by {spawner.between_count:,} short-lived {_name(spawner.between, glyphs)}"


def _top_text(spawner: Spawner, glyphs: Glyphs) -> Line:
    if spawner.pid is None:
        return [("  under ", _LABEL), ("parents that are not known", _LABEL)]
    line: Line = [("  under ", _LABEL), (f"{spawner.pid} ", _LABEL), (_name(spawner.name, glyphs), "bold cyan")]
    return line if spawner.is_alive else [*line, (" (ended)", _LABEL)]


def _name(name: str | None, glyphs: Glyphs) -> str:
    return UNKNOWN if name is None else glyphs.name(name)


# --- the programs -----------------------------------------------------------------------------------------


def _body(frame: Frame, columns: int, room: int, glyphs: Glyphs) -> tuple[list[Line], Sequence[Walk]]:
    if frame.overlay is not None:
        title: Line = [(f" {frame.overlay_title}", _TITLE)]
        shown = frame.overlay[_scroll(frame, room) :]
        return [with_background(padded(title, columns, glyphs.more), BAR), *shown], ()
    lines, selectable = program_lines(frame, columns, room - 1, glyphs)
    heading = list_heading(columns, frame.order, is_tree=frame.is_tree)
    if not lines and room > 1:
        lines = [[("   no program has run yet" if not frame.text else "   nothing of that kind yet", _LABEL)]]
    return [with_background(padded(heading, columns, glyphs.more), BAR), *lines], selectable
