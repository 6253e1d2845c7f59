"""What was typed wrong, on one line, with what to type instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Iterable


class Command(TyperCommand):
    """A command whose help ends with its examples as they are: help reflows text else."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the examples."""
        if self.epilog:
            formatter.write(f"\n{self.epilog}\n")


class Commands(TyperGroup):
    """All commands."""

    format_epilog = Command.format_epilog

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Find the command; where there is none of that name, name the one that was meant."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(_no_such_command(args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def usage_text(error: Any) -> str:  # noqa: ANN401
    """Say what was typed wrong; the error is one of Typer's."""
    context = error.ctx
    path = context.command_path if context is not None else "proc-cache"
    return f"{_complaint(error, context)} (see `{path} --help`)"


def _complaint(error: Any, context: Any) -> str:  # noqa: ANN401
    kind = type(error).__name__
    if kind == "NoSuchOption":
        return _no_such_option(error.option_name, context)
    if kind == "MissingParameter":
        return f"{error.param.metavar or error.param.opts[-1]} is missing"
    choices = getattr(getattr(error.param, "type", None), "choices", None) if kind == "BadParameter" else None
    if choices and isinstance(error.message, str):
        return _no_such_choice(error, [str(choice) for choice in choices])
    return " ".join(error.format_message().split()).removesuffix(".")


def _no_such_command(word: str, commands: list[str]) -> str:
    if word.isdecimal():
        return f"no such command {word!r}; did you mean `proc-cache chain {word}`?"
    return f"no such command {word!r}; {_meant(word, commands) or 'there are ' + ', '.join(commands)}"


def _no_such_option(option: str, context: Any) -> str:  # noqa: ANN401
    known = [name for param in context.command.get_params(context) for name in param.opts if name.startswith("--")]
    meant = _meant(option, known) if option.startswith("--") else None
    return f"no such option {option}" + (f"; {meant}" if meant else "")


def _no_such_choice(error: Any, choices: list[str]) -> str:  # noqa: ANN401
    option = error.param.opts[-1]
    word = error.message.split("'")[1] if error.message.count("'") > 1 else ""
    meant = _meant(word, choices)
    valid = ", ".join(choices)
    return f"{option} cannot be {word!r}; " + (f"{meant} It takes {valid}" if meant else f"it takes {valid}")


def _meant(word: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else None
