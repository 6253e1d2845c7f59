"""Writes what follows from the command line's own declarations: completions, man page, command reference.

    python docs/generate.py [ROOT]

What is the same in every completion stands in docs/templates/. A test compares what this writes with what is in the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import typer

from proc_cache.cli.app import app
from proc_cache.cli.examples import EXAMPLES
from proc_cache.version import __version__

sys.path.insert(0, str(Path(__file__).parent))
from completions import bash_completion, fish_completion, zsh_completion


class Option(NamedTuple):
    """An option as it is typed: its names, what it takes (empty for a flag), the values it can have."""

    names: tuple[str, ...]
    metavar: str
    choices: tuple[str, ...]
    help: str


class Argument(NamedTuple):
    """An argument as help shows it."""

    metavar: str
    help: str


class Command(NamedTuple):
    """A command: its name, its description (first line: what it does), arguments and options."""

    name: str
    help: str
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]

    @property
    def summary(self) -> str:
        """The first line of the description."""
        return self.help.splitlines()[0]


HELP = Option(("-h", "--help"), "", (), "Show this message and exit.")


def read_commands() -> tuple[Command, ...]:
    """Read the declarations, as Typer has understood them."""
    group: Any = typer.main.get_command(app)
    return tuple(_read_command(name, command) for name, command in sorted(group.commands.items()))


def read_global() -> Command:
    """Read what may stand before the command; it has no name."""
    return _read_command("", typer.main.get_command(app))


def _read_command(name: str, command: Any) -> Command:
    options = [_read_option(param) for param in command.params if param.param_type_name == "option"]
    arguments = [
        Argument(str(param.metavar), str(param.help))
        for param in command.params
        if param.param_type_name == "argument"
    ]
    text = "\n".join(line.strip() for line in (command.help or "").strip().splitlines())
    return Command(name, text, tuple(arguments), (*options, HELP))


def _read_option(param: Any) -> Option:
    choices = tuple(getattr(param.type, "choices", ()))
    metavar = "" if param.is_flag else param.metavar or "|".join(choices) or param.type.name.upper()
    names = sorted((*param.opts, *param.secondary_opts), key=len)
    return Option(tuple(names), metavar, choices, str(param.help))


# --- the command reference and the man page ----------------------------------------------------------------


def command_reference(commands: tuple[Command, ...]) -> str:
    """Write docs/reference/commands.md."""
    parts = [
        "# Commands\n",
        "Generated from the command line's own declarations by `docs/generate.py`; edit those.\n",
        "What a status means is the same in every command: see [exit statuses](exit-statuses.md).\n",
    ]
    for command in commands:
        usage = " ".join(["proc-cache", command.name, "[OPTIONS]", *(a.metavar for a in command.arguments)])
        parts.append(f"## `{command.name}`\n\n```\n{usage}\n```\n\n{command.help}\n")
        parts.extend(f"- `{argument.metavar}`: {argument.help}" for argument in command.arguments)
        parts.append("\n| option | meaning |\n|---|---|")
        for option in command.options:
            names = ", ".join(option.names)
            metavar = option.metavar.replace("|", "\\|")
            parts.append(f"| `{names}{' ' + metavar if metavar else ''}` | {option.help} |")
        parts.append("\n```")
        parts.extend(f"{typed}    # {what}" for typed, what in EXAMPLES[command.name])
        parts.append("```\n")
    return "\n".join(parts).rstrip() + "\n"


def man_page(commands: tuple[Command, ...]) -> str:
    """Write proc-cache(1), in man(7) macros."""
    parts = [
        f'.TH PROC-CACHE 1 "" "proc-cache {__version__}" "User Commands"',
        ".SH NAME\nproc-cache \\- who started this process, even if it is already gone?",
        ".SH SYNOPSIS",
        "\n.br\n".join(
            f"\\fBproc-cache {command.name}\\fR [\\fIOPTIONS\\fR] "
            + " ".join(_roff(a.metavar) for a in command.arguments)
            for command in commands
        ),
        ".SH DESCRIPTION",
        "Tells the ancestry of processes, lists them, and shows them as they are born, run programs and end. "
        "It reads /proc and listens to the kernel's process connector; it needs no module, no eBPF and, since "
        "Linux 6.6, no privilege.",
        ".SH OPTIONS",
        *map(_man_option, read_global().options),
        ".SH COMMANDS",
    ]
    for command in commands:
        parts.append(f".SS {command.name}")
        parts.append("\n.PP\n".join(_roff(text.replace("\n", " ")) for text in command.help.split("\n\n")))
        parts += [f".TP\n\\fI{_roff(a.metavar)}\\fR\n{_roff(a.help)}" for a in command.arguments]
        parts += map(_man_option, command.options)
    parts += [
        ".SH EXAMPLES",
        *(
            f".TP\n\\fB{_roff(typed)}\\fR\n{_roff(what[0].upper() + what[1:])}."
            for name in ("", *(command.name for command in commands))
            for typed, what in EXAMPLES[name]
        ),
        ".SH EXIT STATUS",
        *(f".TP\n\\fB{status}\\fR\n{_roff(meaning)}" for status, meaning in EXIT_STATUSES),
        ".SH ENVIRONMENT",
        ".TP\n\\fBPROC_CACHE_SOCKET\\fR\nWhere the engine answers, and where it is asked.",
        ".TP\n\\fBNO_COLOR\\fR\nNo colour, even on a terminal.",
        ".TP\n\\fBPROC_CACHE_DEBUG\\fR\nA bug shows its traceback.",
        ".SH FILES",
        ".TP\n\\fI/run/proc\\-cache.sock\\fR, \\fI$XDG_RUNTIME_DIR/proc\\-cache.sock\\fR\n"
        "Where an engine of root, or of another user, answers; unless PROC_CACHE_SOCKET says otherwise.",
        ".SH SEE ALSO\nps(1), pstree(1), forkstat(8), proc(5), netlink(7)",
    ]
    return "\n".join(parts) + "\n"


def _man_option(option: Option) -> str:
    names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in option.names)
    metavar = f" \\fI{_roff(option.metavar)}\\fR" if option.metavar else ""
    return f".TP\n{names}{metavar}\n{_roff(option.help)}"


EXIT_STATUSES = (
    (0, "Answered, or yes."),
    (1, "No, or no such process."),
    (2, "Usage error."),
    (3, "Cannot tell: the history is too short, events were lost, or the process is hidden from this user."),
    (69, "What is needed is not there: no process events from the kernel, or no room to write."),
    (70, "A bug in proc-cache."),
    (130, "Ctrl-C before the answer was complete."),
    (143, "SIGTERM before the answer was complete."),
)


def _roff(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("`", "").replace("'", "\\(aq")


def generate(root: Path) -> dict[Path, str]:
    """Give every generated file, by its path."""
    commands = read_commands()
    with_global = (read_global(), *commands)
    return {
        root / "completions" / "proc-cache.bash": bash_completion(with_global),
        root / "completions" / "_proc-cache": zsh_completion(with_global),
        root / "completions" / "proc-cache.fish": fish_completion(with_global),
        root / "docs" / "man" / "proc-cache.1": man_page(commands),
        root / "docs" / "reference" / "commands.md": command_reference(commands),
    }


def main() -> None:
    """Write them."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    for path, text in generate(root).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
