"""Writes what follows from the command line's own declarations: completions, man page, command reference.

    python docs/generate.py [ROOT]

A test compares what this writes with what is in the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import typer

from proc_cache.cli.app import app
from proc_cache.version import __version__


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
EVENT_KINDS = ("fork", "exec", "exit", "comm", "uid", "sid")


def read_commands() -> tuple[Command, ...]:
    """Read the declarations, as Typer has understood them."""
    group: Any = typer.main.get_command(app)
    return tuple(_read_command(name, command) for name, command in sorted(group.commands.items()))


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
        parts.append("")
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
        ".SH COMMANDS",
    ]
    for command in commands:
        parts.append(f".SS {command.name}")
        parts.append("\n.PP\n".join(_roff(text.replace("\n", " ")) for text in command.help.split("\n\n")))
        for option in command.options:
            names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in option.names)
            metavar = f" \\fI{_roff(option.metavar)}\\fR" if option.metavar else ""
            parts.append(f".TP\n{names}{metavar}\n{_roff(option.help)}")
    parts += [
        ".SH EXIT STATUS",
        *(f".TP\n\\fB{status}\\fR\n{_roff(meaning)}" for status, meaning in EXIT_STATUSES),
        ".SH ENVIRONMENT",
        ".TP\n\\fBNO_COLOR\\fR\nNo colour, even on a terminal.",
        ".TP\n\\fBPROC_CACHE_DEBUG\\fR\nA bug shows its traceback.",
        ".SH SEE ALSO\nps(1), pstree(1), forkstat(8), proc(5), netlink(7)",
    ]
    return "\n".join(parts) + "\n"


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


# --- completions -------------------------------------------------------------------------------------------


def bash_completion(commands: tuple[Command, ...]) -> str:
    """Write completions/proc-cache.bash."""
    names = " ".join(command.name for command in commands)
    cases = "\n".join(_bash_case(command) for command in commands)
    return f"""{_generated("#")}
# Names come from other users' processes: they are compared and quoted, never given to `compgen -W`, which
# expands what is in its list, command substitutions included.
_proc_cache_names() {{
    local name
    while IFS= read -r name; do
        [[ $name == "$1"* ]] && COMPREPLY+=("$(printf '%q' "$name")")
    done < <(ps -e -o comm= 2>/dev/null | sort -u)
}}

_proc_cache() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command= word options
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in -*) ;; *) command=$word; break ;; esac
    done
    COMPREPLY=()
    case $prev in
        --cmd) _proc_cache_names "$cur"; return ;;
        --user) COMPREPLY=($(compgen -u -- "$cur")); return ;;
        --under) COMPREPLY=($(compgen -W "$(ps -e -o pid= 2>/dev/null)" -- "$cur")); return ;;
        --events) COMPREPLY=($(compgen -W "{" ".join(EVENT_KINDS)}" -- "$cur")); return ;;
        --count|--duration) return ;;
    esac
    case $command in
        "") options="{names} --version --help" ;;
{cases}
    esac
    if [[ -n $command && $cur != -* ]]; then
        case $command in
            chain) COMPREPLY=($(compgen -W "$(ps -e -o pid= 2>/dev/null)" -- "$cur")) ;;
            descendant)
                if [[ $prev == descendant ]]; then
                    COMPREPLY=($(compgen -W "$(ps -e -o pid= 2>/dev/null)" -- "$cur"))
                else
                    _proc_cache_names "$cur"
                fi ;;
            watch) COMPREPLY=($(compgen -c -- "$cur")) ;;
        esac
        return
    fi
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
}}
complete -F _proc_cache proc-cache
"""


def _bash_case(command: Command) -> str:
    words = " ".join(name for option in command.options for name in option.names if name.startswith("--"))
    choices = "".join(
        f'\n            [[ $prev == {option.names[-1]} ]] && {{ COMPREPLY=($(compgen -W "{" ".join(option.choices)}"'
        ' -- "$cur")); return; }'
        for option in command.options
        if option.choices
    )
    return f'        {command.name}){choices}\n            options="{words}" ;;'


def zsh_completion(commands: tuple[Command, ...]) -> str:
    """Write completions/_proc-cache."""
    described = "\n".join(f"        {_quote(f'{c.name}:{c.summary}')}" for c in commands)
    cases = "\n".join(_zsh_case(command) for command in commands)
    return f"""#compdef proc-cache
{_generated("#")}
_proc_cache_pids() {{
    local -a pids
    pids=(${{(f)"$(ps -e -o pid=,comm=,user= 2>/dev/null | awk '{{print $1 ":" $2 " (" $NF ")"}}')"}})
    _describe -V process pids
}}

_proc_cache_names() {{
    local -a names
    names=(${{(fu)"$(ps -e -o comm= 2>/dev/null)"}})
    compadd -a names
}}

_proc_cache() {{
    local -a commands
    commands=(
{described}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        _arguments '--version[Show the version and exit.]' '(-h --help)'{{-h,--help}}'[Show this message and exit.]'
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{cases}
    esac
}}

_proc_cache "$@"
"""


def _zsh_case(command: Command) -> str:
    lines = [
        f"            {_quote(_zsh_option(name, option))}" for option in command.options for name in option.names
    ]
    lines += {
        "chain": ["            '*:process:_proc_cache_pids'"],
        "descendant": ["            '1:process:_proc_cache_pids'", "            '2:name:_proc_cache_names'"],
        "watch": ["            '*::command:_normal'"],
    }.get(command.name, [])
    return f"        {command.name}) _arguments -s \\\n" + " \\\n".join(lines) + " ;;"


_ZSH_ACTIONS = {
    "--cmd": ":name:_proc_cache_names",
    "--user": ":user:_users",
    "--under": ":process:_proc_cache_pids",
}


def _zsh_option(name: str, option: Option) -> str:
    text = option.help.replace("[", "(").replace("]", ")").replace(":", "\\:")
    if option.choices:
        action = f":format:({' '.join(option.choices)})"
    else:
        action = _ZSH_ACTIONS.get(name, f":{option.metavar}:" if option.metavar else "")
    return f"{name}[{text}]{action}"


def fish_completion(commands: tuple[Command, ...]) -> str:
    """Write completions/proc-cache.fish."""
    names = " ".join(command.name for command in commands)
    lines = [
        _generated("#"),
        "function __proc_cache_pids",
        "    ps -e -o pid=,comm=,user= 2>/dev/null | string trim | string replace -r '^(\\d+)\\s+(.*)$' '$1\\t$2'",
        "end",
        "function __proc_cache_names",
        "    ps -e -o comm= 2>/dev/null | sort -u",
        "end",
        "complete -c proc-cache -f",
        f"complete -c proc-cache -n 'not __fish_seen_subcommand_from {names}' -l version -d 'Show the version and exit.'",
    ]
    for command in commands:
        lines.append(
            f"complete -c proc-cache -n 'not __fish_seen_subcommand_from {names}' -a {command.name}"
            f" -d {_quote(command.summary)}"
        )
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        lines += [f"complete -c proc-cache {seen} {_fish_option(option)}" for option in command.options]
        if command.name in ("chain", "descendant"):
            lines.append(f"complete -c proc-cache {seen} -k -a '(__proc_cache_pids)'")
        if command.name == "descendant":
            lines.append(f"complete -c proc-cache {seen} -a '(__proc_cache_names)'")
        if command.name == "watch":
            lines.append(f"complete -c proc-cache {seen} -a '(__fish_complete_subcommand)'")
    return "\n".join(lines) + "\n"


_FISH_VALUES = {
    "--cmd": "'(__proc_cache_names)'",
    "--user": "'(__fish_complete_users)'",
    "--under": "'(__proc_cache_pids)'",
    "--events": f"'{' '.join(EVENT_KINDS)}'",
}


def _fish_option(option: Option) -> str:
    words = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    if option.metavar:
        words.append("-x")
        values = f"'{' '.join(option.choices)}'" if option.choices else _FISH_VALUES.get(option.names[-1])
        if values:
            words.append(f"-a {values}")
    return " ".join([*words, f"-d {_quote(option.help)}"])


def _generated(mark: str) -> str:
    return f"{mark} Generated by docs/generate.py from the command line's own declarations; edit those."


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def generate(root: Path) -> dict[Path, str]:
    """Give every generated file, by its path."""
    commands = read_commands()
    return {
        root / "completions" / "proc-cache.bash": bash_completion(commands),
        root / "completions" / "_proc-cache": zsh_completion(commands),
        root / "completions" / "proc-cache.fish": fish_completion(commands),
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
