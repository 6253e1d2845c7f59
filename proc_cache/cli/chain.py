"""`chain PID... | -`: the ancestry of each process."""

from __future__ import annotations

import os
import sys

from ..render.chain import ChainTexts
from . import exit_status
from .sources import Where, open_source
from .targets import read_target
from .terminal import flush, is_terminal, style, tell, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..query import Chain
    from ..selection import Target
    from .sources import Source

_CHUNK = 1 << 16
_TOGETHER = 100  # PIDs that are answered from one look: at /proc, some milliseconds


def run(
    pids: Sequence[str], form: str | None, where: Where, *, is_wide: bool = False, with_ns: bool = False
) -> int:
    """Answer for each; `-` reads more from stdin, one a line, and answers as they come."""
    form = form or ("tree" if is_terminal() else "chain")
    source = open_source(where, with_places=form != "chain")
    draw = _drawing(form, is_wide=is_wide)
    statuses: set[int] = set()
    in_document: list[Chain] = []
    for words in _batches(pids):
        asked = [_read(word) for word in words]
        if form == "chain":
            statuses.update(_write_texts(source, asked))
        else:
            statuses.update(_write_chains(source, asked, draw, in_document, with_ns=with_ns))
        if "-" in pids:
            flush()
    if form == "json" and (in_document or len(pids) > 1):
        _write_document(in_document, is_single=len(pids) == 1 and pids[0] != "-")
    return exit_status.worst(statuses)


def _batches(pids: Sequence[str]) -> Iterator[list[str]]:
    """Give what is asked for, as much at a time as is there, never waiting for more."""
    words: list[str] = []
    for word in pids:
        if word == "-":
            yield from _some(words)
            for lines in _read_stdin():
                yield from _some(lines)
            words = []
        else:
            words.append(word)
    yield from _some(words)


def _some(words: list[str]) -> Iterator[list[str]]:
    for at in range(0, len(words), _TOGETHER):
        yield words[at : at + _TOGETHER]


def _read_stdin() -> Iterator[list[str]]:
    """Give the lines that have come, again and again."""
    unfinished = b""
    while chunk := sys.stdin.buffer.read1(_CHUNK):  # type: ignore[union-attr]  # what is there
        *lines, unfinished = (unfinished + chunk).split(b"\n")
        yield [os.fsdecode(line).strip() for line in lines if line.strip()]
    if unfinished.strip():
        yield [os.fsdecode(unfinished).strip()]


def _read(word: str) -> Target | str:
    """Read a PID or PID@TIME; for anything else, give what is wrong with it."""
    try:
        return read_target(word)
    except ValueError as error:
        return str(error)


def _write_texts(source: Source, asked: Sequence[Target | str]) -> Iterator[int]:
    """Answer in the one-line form, which shares what it knows among all that are asked for at one time."""
    texts = ChainTexts(source)
    outlines = iter(source.outlines([target for target in asked if not isinstance(target, str)]))
    for each in asked:
        if isinstance(each, str):
            tell(each)
            yield exit_status.USAGE
        else:
            outline = next(outlines)
            write(texts.text(outline.walked))
            yield _end(outline.chain, is_found=bool(outline.walked.nodes))


def _write_chains(
    source: Source,
    asked: Sequence[Target | str],
    draw: Callable[[Chain], str] | None,
    in_document: list[Chain],
    *,
    with_ns: bool,
) -> Iterator[int]:
    """Answer with all that is known of each link; where nothing draws, for a document, they are collected."""
    for each in asked:
        if isinstance(each, str):
            tell(each)
            yield exit_status.USAGE
        else:
            chain = source.chain(each.pid, each.moment)
            if with_ns:
                chain = _with_ns_pids(chain)
            if draw is None:
                in_document.append(chain)
            else:
                write(draw(chain))
            yield _end(chain, is_found=bool(chain.links))


def _end(chain: Chain, *, is_found: bool) -> int:
    """Say what goes beside an answer; gives its exit status."""
    for remark in (*chain.notes, chain.reason):
        if remark is not None:
            tell(remark)
    if chain.complete:
        return exit_status.ANSWERED
    return exit_status.CANNOT_TELL if is_found or chain.may_exist else exit_status.NO


def _with_ns_pids(chain: Chain) -> Chain:
    from .namespaces import chain_with_ns_pids

    return chain_with_ns_pids(chain)


def _drawing(form: str, *, is_wide: bool) -> Callable[[Chain], str] | None:
    """Give what writes a chain; None for a document, which is written as a whole."""
    if form == "tree":
        return lambda chain: _draw(chain, is_wide=is_wide)
    return _line if form == "ndjson" else None


def _draw(chain: Chain, *, is_wide: bool) -> str:
    from ..render.tree import draw_chain, draw_entry
    from .entries import entry_of

    drawn = draw_chain(chain, style(), is_wide=is_wide)
    entry = entry_of(chain)
    return drawn if entry is None else f"{drawn}\n{draw_entry(entry)}"


def _line(chain: Chain) -> str:
    from ..render import jsonlines
    from .entries import entry_of

    return jsonlines.line(jsonlines.chain_object(chain, entry_of(chain)))


def _write_document(chains: Sequence[Chain], *, is_single: bool) -> None:
    from ..render import jsonlines
    from .entries import entry_of

    objects = [jsonlines.chain_object(chain, entry_of(chain)) for chain in chains]
    write(jsonlines.document(objects[0] if is_single else objects))
