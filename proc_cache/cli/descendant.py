"""`descendant PID CMD`: is PID, or an ancestor of it, named CMD? Yes, no, or cannot tell."""

from __future__ import annotations

from .. import query
from ..render.chain import chain_text
from ..render.escape import escape
from . import exit_status
from .sources import Where, open_source
from .targets import parse_target
from .terminal import is_terminal, style, tell, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..query import Descent

_STATUS = {True: exit_status.ANSWERED, False: exit_status.NO, None: exit_status.CANNOT_TELL}


def run(  # noqa: PLR0913
    word: str, cmd: str, form: str | None, where: Where, *, is_strict: bool, is_quiet: bool, is_wide: bool = False
) -> int:
    """Answer; the exit status is the answer, and what is printed says why."""
    target = parse_target(word)
    if target is None:
        return exit_status.USAGE
    if not cmd:
        tell("CMD is empty; give the name of a program")
        return exit_status.USAGE
    form = form or ("tree" if is_terminal() else "chain")
    source = open_source(where, with_places=form in ("json", "ndjson") or (is_wide and form == "tree"))
    descent = source.descent(target.pid, cmd, is_strict=is_strict, moment=target.moment)
    for note in descent.chain.notes:
        tell(note)
    if not is_quiet:
        write(_render(descent, form, is_wide=is_wide))
        if descent.descendant is None and descent.reason is not None:
            tell(f"cannot tell: {descent.reason}")
    return _STATUS[descent.descendant]


def _render(descent: Descent, form: str, *, is_wide: bool) -> str:
    if form in ("json", "ndjson"):
        from ..render import jsonlines
        from .entries import entry_of

        answer = jsonlines.descent_object(descent, entry_of(descent.chain))
        return jsonlines.document(answer) if form == "json" else jsonlines.line(answer)
    path = query.path_to(descent)
    if form == "tree":
        from ..render.tree import draw_chain

        return f"{_verdict(descent)}\n{draw_chain(path, style(), is_wide=is_wide)}".rstrip("\n")
    return chain_text(path)


def _verdict(descent: Descent) -> str:
    cmd = escape(descent.cmd)
    if descent.match is not None:
        return f"yes: {descent.match.pid} is {cmd} (by {descent.matched_by})"
    return (
        f"no: nothing from {descent.pid} up to the root is {cmd}" if descent.descendant is False else "cannot tell"
    )
