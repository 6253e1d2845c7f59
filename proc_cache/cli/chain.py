"""`chain PID... | -`: the ancestry of each process."""

from __future__ import annotations

import sys

from .. import query
from ..kernel.clocks import boot_wall_ns
from ..render.chain import chain_text
from . import exit_status
from .lookup import new_view, resolve_thread
from .terminal import flush, is_terminal, style, tell, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..engine.view import View
    from ..query import Chain

_DIGITS_MAX = 255  # NAME_MAX: longer than that, it cannot even be looked for


def run(pids: Sequence[str], form: str | None) -> int:
    """Answer for each; `-` reads more from stdin, one a line, and answers as they come."""
    form = form or ("tree" if is_terminal() else "chain")
    view = new_view()
    statuses: list[int] = []
    answers: list[Chain] = []
    for word in _words(pids):
        chain = _ask(view, word)
        if chain is None:
            statuses.append(exit_status.USAGE)
            continue
        statuses.append(_status(chain))
        if form == "json":
            answers.append(chain)
        else:
            write(_render(chain, form))
            if "-" in pids:
                flush()
        if chain.reason is not None:
            tell(chain.reason)
    if form == "json" and (answers or len(pids) > 1):
        _write_document(answers, is_single=len(pids) == 1 and pids[0] != "-")
    return exit_status.worst(statuses)


def _words(pids: Sequence[str]) -> Iterator[str]:
    for word in pids:
        if word == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield word


def _ask(view: View, word: str) -> Chain | None:
    pid = parse_pid(word)
    if pid is None:
        return None
    return query.chain(view, resolve_thread(view, pid))


def parse_pid(word: str) -> int | None:
    """Read a PID as it was typed; says what is wrong with anything else."""
    if word.isascii() and word.isdecimal() and len(word) <= _DIGITS_MAX:
        return int(word)
    if "@" in word:
        tell(f"{word}: PID@TIME asks a history, and this version keeps none; give the PID alone")
    else:
        tell(f"{word!r} is not a PID; give a number, as `pgrep NAME` prints them")
    return None


def _status(chain: Chain) -> int:
    if chain.complete:
        return exit_status.ANSWERED
    return exit_status.CANNOT_TELL if chain.links or chain.is_hidden else exit_status.NO


def _render(chain: Chain, form: str) -> str:
    if form == "chain":
        return chain_text(chain)
    if form == "tree":
        from ..render.tree import draw_chain

        return draw_chain(chain, style())
    from ..render import jsonlines

    return jsonlines.line(jsonlines.chain_object(chain, boot_wall_ns()))


def _write_document(chains: Sequence[Chain], *, is_single: bool) -> None:
    from ..render import jsonlines

    booted_ns = boot_wall_ns()
    objects = [jsonlines.chain_object(chain, booted_ns) for chain in chains]
    write(jsonlines.document(objects[0] if is_single else objects))
