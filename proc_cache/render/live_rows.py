"""The programs of the live view, a line each: when, for how long, how it went, whose, and who started it."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING
from zlib import crc32

from ..process import Source, known_name, split_cmdline
from ..times import clock, duration
from .chain import UNKNOWN
from .live_tree import tree_lines
from .spans import cell, columns_of, cut, padded, width, with_background

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..process import Node
    from ..query import Walk
    from ..service.facts import Told
    from .glyphs import Glyphs
    from .live import Frame
    from .live_tree import TreeLine
    from .spans import Line, Span

ARGUMENTS_READ_BYTES = 400  # of what is cut to a line

# Of each user always the same; root and others that are usual here have none. Red is for failures.
_USER_STYLES = (
    "cyan",
    "magenta",
    "yellow",
    "blue",
    "bright_cyan",
    "bright_magenta",
    "bright_yellow",
    "bright_blue",
)
_ROOMY = 110  # columns from which on times have milliseconds, and ancestors their pids
_RAN, _END, _USER = 7, 7, 8  # columns
_LEAF = 24  # columns that ancestors leave to the process itself
_NAMES_MAX = 40  # ancestors on one line that are looked at; nobody sees more


def user_style(user: str | None) -> str:
    """Give the style of a user's name, and of what runs for it."""
    if user is None:
        return "dim"
    return "" if user == "root" else _USER_STYLES[crc32(user.encode("utf-8", "replace")) % len(_USER_STYLES)]


def list_heading(columns: int, order: str, *, is_tree: bool) -> Line:
    """Write what stands in which column."""
    process = "process, below who started it" if order == "newest" and is_tree else "process, and who started it"
    began = "began".ljust(_began_columns(columns))
    return [(f"  {began} {'ran':>{_RAN}} {'end':{_END}} {'user':{_USER}} {process}", "dim")]


def program_lines(frame: Frame, columns: int, room: int, glyphs: Glyphs) -> tuple[list[Line], list[Walk]]:
    """Write as many programs as there is room for, and the process of each line, with its ancestors."""
    lines: list[Line] = []
    about: list[Walk] = []
    if frame.order == "newest" and frame.is_tree:
        for drawn in tree_lines(frame.programs, room, glyphs)[:room]:
            about.append(drawn.walked)
            text = _tree_text(frame, drawn, columns, glyphs)
            lines.append(_line(frame, drawn.node, drawn.told, text, columns, glyphs))
    else:
        for told in frame.programs[:room]:
            about.append(told.walked)
            lines.append(_line(frame, told.node, told, _chain_text(frame, told, columns, glyphs), columns, glyphs))
    return lines, about


def _began_columns(columns: int) -> int:
    return 12 if columns >= _ROOMY else 8


def _line(  # noqa: PLR0913
    frame: Frame, node: Node, told: Told | None, text: Line, columns: int, glyphs: Glyphs
) -> Line:
    """Write one line; without `told`, of a process that stands there for what is below it."""
    began = ran = ""
    if told is not None:
        began = clock(told.time_ns, frame.booted_ns)[: _began_columns(columns)]
        ran = duration(max(0, (node.exit_ns or frame.rows_now_ns) - node.start_ns)) if node.start_ns else ""
    user = frame.user(node)
    name = UNKNOWN if user is None else glyphs.name(user)
    is_selected = frame.selected == node.identity()
    line: Line = [
        (f"{glyphs.selected} " if is_selected else "  ", "bold yellow"),
        (f"{began:{_began_columns(columns)}} ", "dim"),
        (f"{cell(ran, _RAN, glyphs.more, is_right=True)} ", "" if not node.exit_ns else "dim"),
        _end(node, glyphs, is_shown=told is not None or bool(node.exit_status)),
        (f" {cell(name, _USER, glyphs.more)} ", user_style(user) if told is not None else "dim"),
        *text,
    ]
    return with_background(padded(line, columns, glyphs.more), "on grey30") if is_selected else line


def _end(node: Node, glyphs: Glyphs, *, is_shown: bool) -> Span:
    text, style = "", ""
    if is_shown and not node.exit_ns:
        text, style = glyphs.running, "green"
    elif is_shown and node.exit_status:
        text, style = f"{glyphs.failed} {ending_word(node.exit_status)}", "bold red"
    elif is_shown:
        text, style = glyphs.ended, "dim"
    return cell(text, _END, glyphs.more), style


def ending_word(status: int) -> str:
    """Say in a word how a process failed: its exit code, or the signal that killed it."""
    number = status & 0x7F
    if not number:
        return str(status >> 8 & 0xFF)
    try:
        word = Signals(number).name.removeprefix("SIG")
    except ValueError:
        word = ""
    return word if 0 < len(word) <= _END - 2 else f"sig{number}"


def _tree_text(frame: Frame, drawn: TreeLine, columns: int, glyphs: Glyphs) -> Line:
    branch = drawn.branch
    room = columns - _began_columns(columns) - _RAN - _END - _USER - 6
    if columns_of(branch) > room // 2:
        branch = branch[-(room // 2) :]
    ancestors = _ancestors(drawn.above, glyphs, missing_pid=drawn.missing_pid, with_pids=columns >= _ROOMY)
    itself = _process(frame, drawn.node, glyphs, is_program=drawn.told is not None)
    before = _last_that_fit(ancestors, room - columns_of(branch) - min(_LEAF, width(itself)), glyphs)
    return [(branch, "dim"), *before, *itself]


def _chain_text(frame: Frame, told: Told, columns: int, glyphs: Glyphs) -> Line:
    """Write the process first, then who started it, and who that one: names below each other can be read."""
    room = columns - _began_columns(columns) - _RAN - _END - _USER - 6
    ancestors = _ancestors(
        told.walked.nodes[:0:-1], glyphs, missing_pid=told.walked.missing_pid, with_pids=columns >= _ROOMY
    )
    itself = cut(_process(frame, told.node, glyphs, is_program=True), room * 3 // 5, glyphs.more)
    above = _last_that_fit(ancestors, room - width(itself) - 4, glyphs)
    if not above:
        return itself
    nearest, style = above[-1]
    return [*itself, ("  by ", "dim"), *above[:-1], (nearest.removesuffix(glyphs.step), style)]


def _ancestors(nodes: Sequence[Node], glyphs: Glyphs, *, missing_pid: int | None, with_pids: bool) -> list[str]:
    """Write each ancestor with the step from it, from the root's side."""
    words = [] if missing_pid is None else [f"{missing_pid} {UNKNOWN}{glyphs.step}"]
    for node in nodes[-_NAMES_MAX:]:
        pid = f"{node.pid} " if with_pids else ""
        words.append(f"{_left_out(node, glyphs)}{pid}{_name(node, glyphs)}{glyphs.step}")
    return words


def _last_that_fit(words: list[str], room: int, glyphs: Glyphs) -> Line:
    """Give as many as fit, those that are nearest to the process; a mark says that there are more."""
    mark = glyphs.more + glyphs.step
    kept: list[str] = []
    used = 0
    for number, word in enumerate(reversed(words)):
        is_first = number == len(words) - 1
        used += columns_of(word)
        if used + (0 if is_first else columns_of(mark)) > room:
            kept.append(mark)
            break
        kept.append(word)
    return [(word, "dim") for word in reversed(kept)]


def _process(frame: Frame, node: Node, glyphs: Glyphs, *, is_program: bool) -> Line:
    """Write a process: its pid, its name, its arguments."""
    line: Line = [(f"{_left_out(node, glyphs)}{node.pid} ", "dim")]
    if not is_program:
        return [*line, (_name(node, glyphs), "dim")]
    style = "red" if node.exit_status else user_style(frame.user(node))
    line.append((_name(node, glyphs), f"bold {style}".strip()))
    arguments = split_cmdline(node.cmdline[:ARGUMENTS_READ_BYTES])[1:] if node.cmdline else []
    if arguments:
        text = " ".join(glyphs.name(argument.decode("utf-8", "surrogateescape")) for argument in arguments)
        line.append((f"  {text}", "dim"))
    return line


def _left_out(node: Node, glyphs: Glyphs) -> str:
    """Say how many generations are left out between this one and its parent."""
    return f"{glyphs.more} {node.left_out} left out{glyphs.step}" if node.left_out else ""


def _name(node: Node, glyphs: Glyphs) -> str:
    name = known_name(node)
    if name is None:
        return UNKNOWN
    return glyphs.name(name) + ("?" if node.source == Source.UNREAD else "")
