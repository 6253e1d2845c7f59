"""`chain PID... | -`: the ancestry of each process."""

from __future__ import annotations

import sys

from ..render.chain import chain_text
from . import exit_status
from .sources import Where, open_source
from .targets import parse_target
from .terminal import flush, is_terminal, style, tell, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..query import Chain


def run(pids: Sequence[str], form: str | None, where: Where) -> int:
    """Answer for each; `-` reads more from stdin, one a line, and answers as they come."""
    form = form or ("tree" if is_terminal() else "chain")
    source = open_source(where)
    statuses: list[int] = []
    answers: list[Chain] = []
    for word in _words(pids):
        target = parse_target(word)
        if target is None:
            statuses.append(exit_status.USAGE)
            continue
        chain = source.chain(target.pid, target.moment)
        statuses.append(_status(chain))
        if form == "json":
            answers.append(chain)
        else:
            write(_render(chain, form))
            if "-" in pids:
                flush()
        for remark in (*chain.notes, chain.reason):
            if remark is not None:
                tell(remark)
    if form == "json" and (answers or len(pids) > 1):
        _write_document(answers, is_single=len(pids) == 1 and pids[0] != "-")
    return exit_status.worst(statuses)


def _words(pids: Sequence[str]) -> Iterator[str]:
    for word in pids:
        if word == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield word


def _status(chain: Chain) -> int:
    if chain.complete:
        return exit_status.ANSWERED
    return exit_status.CANNOT_TELL if chain.links or chain.may_exist else exit_status.NO


def _render(chain: Chain, form: str) -> str:
    if form == "chain":
        return chain_text(chain)
    if form == "tree":
        from ..render.tree import draw_chain

        return draw_chain(chain, style())
    from ..render import jsonlines

    return jsonlines.line(jsonlines.chain_object(chain))


def _write_document(chains: Sequence[Chain], *, is_single: bool) -> None:
    from ..render import jsonlines

    objects = [jsonlines.chain_object(chain) for chain in chains]
    write(jsonlines.document(objects[0] if is_single else objects))
