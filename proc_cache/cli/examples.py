"""What to type, for help, the command reference and the man page."""

from __future__ import annotations

# By command ("" is for `proc-cache` alone): what is typed, and what it does.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("proc-cache chain 4242", "who started 4242"),
        ("proc-cache watch -- make", "what make starts, and how it ends"),
        ("proc-cache serve", "remember the dead from now on"),
    ),
    "chain": (
        ("proc-cache chain $$", "where this shell comes from"),
        ("pgrep -x nginx | proc-cache chain -", "the same of each nginx"),
        ("proc-cache chain 4242@12:03", "of who was 4242 at noon, where an engine runs"),
        ("proc-cache chain --format json 4242 | jq -r '.links[].cmd'", "the names alone"),
    ),
    "descendant": (
        ("proc-cache descendant $$ sshd", "does this shell come in by ssh?"),
        ("proc-cache descendant --quiet $PPID cron || exit", "go on under cron alone"),
        ("proc-cache descendant --strict --format json 4242 bash", "which ancestor it is"),
    ),
    "snapshot": (
        ("proc-cache snapshot --format tree --user postgres", "one user's processes, drawn"),
        ("proc-cache snapshot --under 4242", "a process and all that came of it"),
        ("proc-cache snapshot --dead --around 4242 --within 2s", "what started close to it"),
        ("proc-cache snapshot --color always | less -R", "in colour through a pager"),
    ),
    "serve": (
        ("proc-cache serve", "answer the other commands until Ctrl-C"),
        ("proc-cache serve --group adm --ttl 2h", "members of adm may ask; remember two hours"),
        ("proc-cache serve --record /var/lib/proc-cache/history --keep 7d", "and next week too"),
    ),
    "watch": (
        ("proc-cache watch", "all that is started, drawn"),
        ("proc-cache watch -- make -j8", "what a build starts"),
        ("proc-cache watch --format ndjson --events exit | jq 'select(.exit_code > 0)'", "what fails"),
        ("proc-cache watch --format ecs >> /var/log/proc-cache.ndjson", "for Filebeat, Vector, Fluent Bit"),
        ("proc-cache watch --from /var/lib/proc-cache/history --cmd curl", "what was"),
    ),
}


def help_text(command: str) -> str:
    """Write the section of a command's help: what it does above what is typed, so that no line gets long."""
    lines = [f"  # {what}\n  {typed}" for typed, what in EXAMPLES[command]]
    return "\n".join(["Examples:", *lines])
