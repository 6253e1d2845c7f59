"""Declares the commands and their options for Typer, which only parses.

Each function here returns what is to be done, and `main` does it: Typer has opinions of its own about closed
pipes and exit statuses. What a command does stands in the module of its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import typer

from ..selection import Selection
from ..version import __version__

Action = Callable[[], int]

app = typer.Typer(
    name="proc-cache",
    help="Who started this process, even if it is already gone?",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Pid = Annotated[str, typer.Argument(metavar="PID", help="A process, or a thread of one.")]
Pids = Annotated[
    list[str], typer.Argument(metavar="PID... | -", help="Processes; - reads them from stdin, one a line.")
]
Cmd = Annotated[str, typer.Argument(metavar="CMD", help="A name, as `ps -o comm=` prints it, or a longer one.")]
CmdFilter = Annotated[str | None, typer.Option("--cmd", metavar="CMD", help="Only processes of this name.")]
UserFilter = Annotated[
    str | None,
    typer.Option("--user", metavar="USER", help="Only processes of this user (name or uid)."),
]
UnderFilter = Annotated[
    int | None,
    typer.Option("--under", metavar="PID", min=1, help="Only this process and its descendants."),
]
ChainFormat = Annotated[
    Literal["chain", "tree", "json", "ndjson"] | None,
    typer.Option("--format", help="How to answer. Default: tree on a terminal, chain otherwise."),
]
SnapshotFormat = Annotated[
    Literal["table", "tree", "json", "ndjson"] | None,
    typer.Option("--format", help="How to list. Default: table."),
]
WatchFormat = Annotated[
    Literal["live", "lines", "ndjson"] | None,
    typer.Option("--format", help="How to show. Default: live on a terminal, lines otherwise."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"proc-cache {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit."),
    ] = False,
) -> None:
    """Who started this process, even if it is already gone?"""


@app.command()
def chain(pids: Pids, form: ChainFormat = None) -> Action:
    """Show the ancestry of each process, up to its root.

    Exit status: 0 all answered, 1 no such process, 3 the way to the root is not known.
    """
    from . import chain as command

    return lambda: command.run(pids, form)


@app.command()
def descendant(
    pid: Pid,
    cmd: Cmd,
    form: ChainFormat = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Leave PID itself out: only its ancestors count.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing: the exit status answers.")] = False,
) -> Action:
    """Tell whether PID, or an ancestor of it, is named CMD.

    Exit status: 0 yes, 1 no, 3 cannot tell.
    """
    from . import descendant as command

    return lambda: command.run(pid, cmd, form, is_strict=strict, is_quiet=quiet)


@app.command()
def snapshot(
    form: SnapshotFormat = None,
    cmd: CmdFilter = None,
    user: UserFilter = None,
    under: UnderFilter = None,
) -> Action:
    """List every process now."""
    from . import snapshot as command

    return lambda: command.run(Selection(cmd=cmd, user=user, under=under), form)


@app.command()
def watch(  # noqa: PLR0913
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="Run this, and watch only what it starts."),
    ] = None,
    form: WatchFormat = None,
    events: Annotated[
        str,
        typer.Option("--events", metavar="KIND,...", help="Kinds of event: fork, exec, exit, comm, uid, sid."),
    ] = "fork,exec,exit",
    cmd: CmdFilter = None,
    user: UserFilter = None,
    under: UnderFilter = None,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", min=1, help="End after so many events."),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="SECONDS", min=0, help="End after this time."),
    ] = None,
    no_realtime: Annotated[
        bool,
        typer.Option("--no-realtime", help="Do not run at real-time priority, even where that is allowed."),
    ] = False,
) -> Action:
    """Show processes as they are born, run programs and end.

    With a COMMAND: run it, watch its descendants, end with it and exit with its status. Its output goes to
    stderr, so that stdout has the events alone. Exit status 69: the kernel's events cannot be had here.
    """
    from . import watch as watching

    try:
        kinds = watching.parse_events(events)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--events") from error
    options = watching.WatchOptions(
        form=form,
        events=kinds,
        selection=Selection(cmd=cmd, user=user, under=under),
        count=count,
        duration_s=duration,
        command=command or [],
        may_be_realtime=not no_realtime,
    )
    return lambda: watching.run(options)
