"""Plain queries, read without Typer: to load it takes longer than all that such a query does.

Only what is well formed is read here, to the same call of the same command as `app` makes of it; anything else
(help, a usage error, an option that is rarely given) is left to Typer. A test runs every plain form through both.
"""

from __future__ import annotations

from ..record import Record
from .sources import Where

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Action = Callable[[], int]
    Options = dict[str, str]


class Form(Record):
    """What a plain query of one command may hold: its flags, and its options with the values they take."""

    flags: tuple[str, ...]
    choices: tuple[str, ...]  # of --format
    act: Callable[[list[str], Options], Action | None]


def read(arguments: list[str]) -> Action | None:
    """Give what is to be done for a plain query, None for anything else."""
    if arguments[:1] == ["_complete"]:
        return _complete(arguments[1:])
    form = _FORMS.get(arguments[0]) if arguments else None
    if form is None:
        return None
    words: list[str] = []
    options: Options = {}
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "-" or not argument.startswith("-"):
            words.append(argument)
        elif argument in form.flags:
            options[argument] = ""
        elif argument in ("--format", "--from"):
            value = next(rest, None)
            if value is None or (argument == "--format" and value not in form.choices):
                return None
            options[argument] = value
        else:
            return None
    return form.act(words, options)


def _where(options: Options) -> Where:
    return Where(may_ask_engine="--no-engine" not in options, history=options.get("--from"))


def _chain(words: list[str], options: Options) -> Action | None:
    if not words:
        return None
    from . import chain as command

    return lambda: command.run(words, options.get("--format"), _where(options))


def _descendant(words: list[str], options: Options) -> Action | None:
    if len(words) != 2:
        return None
    from . import descendant as command

    pid, cmd = words
    is_strict, is_quiet = "--strict" in options, "--quiet" in options or "-q" in options
    return lambda: command.run(
        pid, cmd, options.get("--format"), _where(options), is_strict=is_strict, is_quiet=is_quiet
    )


def _snapshot(words: list[str], options: Options) -> Action | None:
    if words:
        return None
    from ..selection import Selection
    from . import snapshot as command

    return lambda: command.run(Selection(with_dead="--dead" in options), options.get("--format"), _where(options))


def _complete(words: list[str]) -> Action:
    """What the shells' completions ask; not for people, so Typer does not know it and help does not show it."""
    from . import complete as command

    return lambda: command.run(words)


_CHAIN_FORMS = ("chain", "tree", "json", "ndjson")
_FORMS = {
    "chain": Form(("--no-engine",), _CHAIN_FORMS, _chain),
    "descendant": Form(("--no-engine", "--strict", "--quiet", "-q"), _CHAIN_FORMS, _descendant),
    "snapshot": Form(("--no-engine", "--dead"), ("table", "tree", "json", "ndjson"), _snapshot),
}
