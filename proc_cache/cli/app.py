"""Declares the commands and their options for Typer, which only parses.

Each function here returns what is to be done, and `main` does it: Typer has opinions of its own about closed
pipes and exit statuses. What a command does stands in the module of its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..process import PID_TREE_CAP, PID_TREE_TTL_SECS, CacheParams
from ..selection import Selection, Target
from ..times import Moment
from ..version import __version__
from . import quantities
from .examples import help_text
from .pattern import NamePattern
from .sources import Where
from .terminal import set_color
from .usage import Command, Commands

if TYPE_CHECKING:
    from ..history.bounds import Bounds

Action = Callable[[], int]

app = typer.Typer(
    name="proc-cache",
    cls=Commands,
    epilog=help_text(""),
    help="Who started this process, even if it is already gone?",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Pid = Annotated[
    str, typer.Argument(metavar="PID", help="A process, or a thread of one; PID@TIME: who had the PID then.")
]
Pids = Annotated[
    list[str], typer.Argument(metavar="PID... | -", help="Processes (PID@TIME: who had it then); - reads stdin.")
]
Cmd = Annotated[str, typer.Argument(metavar="CMD", help="A name, as `ps -o comm=` prints it, or a longer one.")]
# The filters, the same in every command that lists or streams; `_selection` puts them together.
CmdFilter = Annotated[
    str | None,
    typer.Option("--cmd", metavar="CMD", parser=quantities.word, help="Only processes of just this name."),
]
CmdReFilter = Annotated[
    NamePattern | None,
    typer.Option(
        "--cmd-re",
        metavar="PATTERN",
        parser=quantities.pattern,
        help="Only those in whose name this regular expression is found, ^python.",
    ),
]
UserFilter = Annotated[
    str | None,
    typer.Option(
        "--user", metavar="USER", parser=quantities.word, help="Only processes of this user (name or uid)."
    ),
]
UnderFilter = Annotated[
    Any,  # a Target or a name: Typer wants one type
    typer.Option(
        "--under",
        metavar="PID[@TIME]|CMD",
        parser=quantities.top,
        help="Only this process, or those of this name, and their descendants.",
    ),
]
FailedFilter = Annotated[
    bool, typer.Option("--failed", help="Only what ended with another code than 0, or by a signal.")
]
LongerFilter = Annotated[
    int | None,
    typer.Option(
        "--longer-than",
        metavar="SPAN",
        parser=quantities.span,
        help="Only what ran longer, 1s; what lives counts up to now.",
    ),
]
ShorterFilter = Annotated[
    int | None,
    typer.Option(
        "--shorter-than",
        metavar="SPAN",
        parser=quantities.span,
        help="Only what has ended and ran shorter, 5ms.",
    ),
]
NoEngine = Annotated[bool, typer.Option("--no-engine", help="Ask /proc, even where an engine is running.")]
Wide = Annotated[
    bool, typer.Option("--wide", help="Also where it belongs: systemd unit, container, terminal, session.")
]
Ns = Annotated[bool, typer.Option("--ns", help="Also the PIDs that the living have inside their PID namespaces.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="FILE", help="Ask this history, which --record wrote.")
]
Record = Annotated[str | None, typer.Option("--record", metavar="FILE", help="Write a history to this file.")]
Keep = Annotated[
    int | None,
    typer.Option("--keep", metavar="SPAN", parser=quantities.span, help="Remove from it what ended before, 7d."),
]
MaxSize = Annotated[
    int | None,
    typer.Option("--max-size", metavar="SIZE", parser=quantities.size, help="Keep it below this size, 1G."),
]
Capacity = Annotated[
    int, typer.Option("--capacity", metavar="N", min=0, help="How many of the dead to remember, at most.")
]
Ttl = Annotated[
    int,
    typer.Option("--ttl", metavar="SPAN", parser=quantities.span, help="How long to remember them, 600s or 2h."),
]
NoRealtime = Annotated[
    bool, typer.Option("--no-realtime", help="Do not run at real-time priority, even where that is allowed.")
]
ChainFormat = Annotated[
    Literal["chain", "tree", "json", "ndjson"] | None,
    typer.Option("--format", help="How to answer. Default: tree on a terminal, chain otherwise."),
]
SnapshotFormat = Annotated[
    Literal["table", "tree", "json", "ndjson", "ecs"] | None,
    typer.Option("--format", help="How to list. Default: table."),
]
WatchFormat = Annotated[
    Literal["live", "lines", "tree", "json", "ndjson", "ecs"] | None,
    typer.Option(
        "--format",
        help="How to show. Default: live on a terminal, lines otherwise; of a COMMAND on a terminal its tree.",
    ),
]


def _set_color(when: str | None) -> None:
    if when is not None:  # it may have been given before the command instead
        set_color(when)


Color = Annotated[
    Literal["auto", "always", "never"] | None,
    typer.Option(
        "--color",
        callback=_set_color,
        expose_value=False,
        help="When to colour. Default: auto, on a terminal and not under NO_COLOR.",
    ),
]

_DEFAULT_RETENTION = CacheParams(PID_TREE_CAP, PID_TREE_TTL_SECS)


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
    color: Color = None,
) -> None:
    """Who started this process, even if it is already gone?"""


@app.command(cls=Command, short_help="Show the ancestry of processes.", epilog=help_text("chain"))
def chain(  # noqa: PLR0913
    pids: Pids,
    form: ChainFormat = None,
    wide: Wide = False,
    ns: Ns = False,
    no_engine: NoEngine = False,
    history: From = None,
    color: Color = None,  # taken by its callback
) -> Action:
    """Show the ancestry of each process, up to its root.

    A running engine is asked first, which knows the dead too; else /proc. Exit status: 0 all answered, 1 no such
    process, 3 the way to the root is not known.
    """
    from . import chain as command

    where = Where(may_ask_engine=not no_engine, history=history)
    return lambda: command.run(pids, form, where, is_wide=wide, with_ns=ns)


@app.command(cls=Command, short_help="Tell whether a process comes from another.", epilog=help_text("descendant"))
def descendant(  # noqa: PLR0913
    pid: Pid,
    cmd: Cmd,
    form: ChainFormat = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Leave PID itself out: only its ancestors count.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing: the exit status answers.")] = False,
    wide: Wide = False,
    no_engine: NoEngine = False,
    history: From = None,
    color: Color = None,
) -> Action:
    """Tell whether PID, or an ancestor of it, is named CMD.

    Exit status: 0 yes, 1 no, 3 cannot tell.
    """
    from . import descendant as command

    where = Where(may_ask_engine=not no_engine, history=history)
    return lambda: command.run(pid, cmd, form, where, is_strict=strict, is_quiet=quiet, is_wide=wide)


def _selection(
    longer_than: int | None,
    shorter_than: int | None,
    *,
    user: str | None,
    history: str | None,
    **others: Any,  # noqa: ANN401
) -> Selection:
    """Put the filters together; raises BadParameter where nothing can pass them."""
    if user is not None and history is None:  # a history may be of another machine, or time
        quantities.check_user(user)
    if longer_than is not None and shorter_than is not None and longer_than >= shorter_than:
        raise typer.BadParameter(
            "no run time is longer than the one and shorter than the other; give a larger second one",
            param_hint="--longer-than, --shorter-than",
        )
    return Selection(user=user, longer_than_ns=longer_than, shorter_than_ns=shorter_than, **others)


@app.command(cls=Command, short_help="List processes: now, or at another time.", epilog=help_text("snapshot"))
def snapshot(  # noqa: PLR0913
    form: SnapshotFormat = None,
    cmd: CmdFilter = None,
    cmd_re: CmdReFilter = None,
    user: UserFilter = None,
    under: UnderFilter = None,
    failed: FailedFilter = False,
    longer_than: LongerFilter = None,
    shorter_than: ShorterFilter = None,
    dead: Annotated[
        bool, typer.Option("--dead", help="Also those that have ended, as far as the engine remembers.")
    ] = False,
    at: Annotated[
        Moment | None,
        typer.Option("--at", metavar="TIME", parser=quantities.moment, help="Those that lived at this time."),
    ] = None,
    around: Annotated[
        Target | None,
        typer.Option(
            "--around",
            metavar="PID[@TIME]",
            parser=quantities.target,
            help="Those that started near this one.",
        ),
    ] = None,
    within: Annotated[
        int, typer.Option("--within", metavar="SPAN", parser=quantities.span, help="How close: 2s, 250ms.")
    ] = "2s",  # type: ignore[assignment]  # parsed like what is typed
    wide: Wide = False,
    ns: Ns = False,
    no_engine: NoEngine = False,
    history: From = None,
    color: Color = None,
) -> Action:
    """List every process now, at another time, or those that have ended too.

    TIME is 12:03:07, 2026-11-22T12:03:07Z, or -90s. --failed and --shorter-than are about those that have ended:
    they imply --dead. A filtered tree keeps the ancestors of what matched, in parentheses and dimmed. Exit status
    69: the dead are asked for, and no engine runs.
    """
    from . import snapshot as command

    selection = _selection(
        longer_than,
        shorter_than,
        user=user,
        history=history,
        cmd=cmd,
        under=under,
        failed=failed,
        with_dead=dead,
        moment=at,
        around=around,
        within_ns=within,
    )
    where = Where(may_ask_engine=not no_engine, history=history)
    return lambda: command.run(selection, form, where, cmd_re, is_wide=wide, with_ns=ns)


@app.command(cls=Command, short_help="Run the engine that remembers the dead.", epilog=help_text("serve"))
def serve(  # noqa: PLR0913
    capacity: Capacity = PID_TREE_CAP,
    ttl: Ttl = f"{PID_TREE_TTL_SECS}s",  # type: ignore[assignment]
    group: Annotated[
        int | None,
        typer.Option("--group", metavar="GROUP", parser=quantities.group, help="Let this group ask too."),
    ] = None,
    record: Record = None,
    keep: Keep = None,
    max_size: MaxSize = None,
    no_realtime: NoRealtime = False,
    color: Color = None,
) -> Action:
    """Run the engine alone, in the foreground: it answers the other commands, and knows the dead.

    The socket is $PROC_CACHE_SOCKET, else /run/proc-cache.sock for root and $XDG_RUNTIME_DIR/proc-cache.sock for
    others; for its owner alone. Exit status 69: no events can be had here, or another engine runs.
    """
    from . import serve as command
    from .capture import CaptureOptions

    options = CaptureOptions(
        retention=CacheParams(capacity, ttl / 1e9),
        may_be_realtime=not no_realtime,
        group=group,
        must_answer=True,
        record=record,
        bounds=_bounds(record, keep, max_size),
    )
    return lambda: command.run(options)


def _bounds(record: str | None, keep: int | None, max_size: int | None) -> Bounds:
    from ..history.bounds import Bounds

    if record is None and (keep or max_size):
        raise typer.BadParameter("they bound a history; give --record FILE too", param_hint="--keep, --max-size")
    return Bounds(keep_ns=keep, max_bytes=max_size)


@app.command(cls=Command, short_help="Show processes as they start and end.", epilog=help_text("watch"))
def watch(  # noqa: PLR0913
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="Run this, and watch only what it starts."),
    ] = None,
    form: WatchFormat = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="KIND,...",
            help="Kinds of event: fork, exec, exit, comm, uid, sid. Default: the first three.",
        ),
    ] = None,
    cmd: CmdFilter = None,
    cmd_re: CmdReFilter = None,
    user: UserFilter = None,
    under: UnderFilter = None,
    failed: FailedFilter = False,
    longer_than: LongerFilter = None,
    shorter_than: ShorterFilter = None,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", min=1, help="End after so many events."),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="SECONDS", min=0, help="End after this time."),
    ] = None,
    capacity: Capacity = PID_TREE_CAP,
    ttl: Ttl = f"{PID_TREE_TTL_SECS}s",  # type: ignore[assignment]
    record: Record = None,
    keep: Keep = None,
    max_size: MaxSize = None,
    history: From = None,
    no_realtime: NoRealtime = False,
    color: Color = None,
) -> Action:
    """Show processes as they are born, run programs and end; or, with --from, as they did.

    On a terminal it is a view with keys, which ? tells. In a pipe it is a line for each event.

    A running engine is asked; else, and with --record, --capacity, --ttl or --no-realtime, one is started that
    ends with this. Exit status 69: the kernel's events cannot be had here.

    With a COMMAND: run it, watch its descendants, end with it and exit with its status. On a terminal it has the
    terminal to itself, and at its end comes the tree of all it started, what failed first. In a pipe stdout has
    the events (or, with --format tree or json, the tree), what the command writes goes to stderr, and after the
    events the tree does too. 127: there is no such COMMAND; 126: it cannot be run.

    --failed, --longer-than and --shorter-than are about processes that have ended: only exit events are shown, and
    of what --events names, only those can match. --under CMD waits where nobody has that name yet.
    """
    from . import watch as watching
    from .capture import CaptureOptions

    try:
        kinds = watching.parse_events(events or "")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--events") from error
    try:
        watching.check_form(form, command or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--format") from error
    if history is not None and (command or record):
        raise typer.BadParameter("a history is shown alone: no COMMAND, no --record", param_hint="--from")
    retention = CacheParams(capacity, ttl / 1e9)
    options = watching.WatchOptions(
        form=form,
        events=kinds,
        selection=_selection(
            longer_than, shorter_than, user=user, history=history, cmd=cmd, under=under, failed=failed
        ),
        pattern=cmd_re,
        count=count,
        duration_s=duration,
        command=command or [],
        capture=CaptureOptions(
            retention=retention,
            may_be_realtime=not no_realtime,
            record=record,
            bounds=_bounds(record, keep, max_size),
        ),
        needs_own_engine=no_realtime or record is not None or retention != _DEFAULT_RETENTION,
    )
    if history is not None:
        from . import replay

        return lambda: replay.run(options, history)
    return lambda: watching.run(options)
