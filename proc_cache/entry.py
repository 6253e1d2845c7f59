"""How a process came to be on this machine: the entry of its chain, in one word, and which link of it that is.

| kind              | what                                         | the link                                 |
|-------------------|----------------------------------------------|------------------------------------------|
| `ssh`             | below sshd, dropbear, ...                    | the uppermost of them in a row           |
| `cron`, `at`      | below cron, crond, anacron, ...; atd         | likewise                                 |
| `login`           | below login(1): a console, a serial line     | likewise                                 |
| `desktop`         | below a display manager, or an application   | likewise; of a unit, the uppermost in it |
|                   | that the user's systemd started              |                                          |
| `container`       | below a container's runtime, or in one       | the runtime, else the uppermost in it    |
| `systemd-timer`   | in a service that has a timer of its name    | the uppermost in the unit                |
| `systemd-service` | in another service                           | likewise                                 |
| `kernel`          | below kthreadd: kernel threads, and programs | kthreadd                                 |
|                   | that they start                              |                                          |
| `init`            | PID 1, or below one that is not systemd      | PID 1                                    |

The nearest to the process counts: a cron job in a container entered by cron. `su`, `sudo`, a shell or a terminal's
multiplexer are no entries: who used them had entered before. What the process is itself does not count either: the
daemon sshd was not entered by ssh, but by the service that it is.

Names and units are what is remembered, so the dead have an entry too. A name can be chosen by whoever runs the
process: one of a daemon of the system is not believed of an ordinary user, nor one of a container's runtime where
what it started is in no container. A unit or container is what the cgroup is called (kernel/places.py).
"""

from __future__ import annotations

from .process import KTHREADD_PID, UNPLACED, Source, known_name
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .process import Node, Process

SSH = "ssh"
CRON = "cron"
AT = "at"
LOGIN = "login"
DESKTOP = "desktop"
CONTAINER = "container"
TIMER = "systemd-timer"
SERVICE = "systemd-service"
KERNEL = "kernel"
INIT = "init"

# By the kernel's name, which is cut to 15 bytes.
_DAEMONS = {
    "sshd": SSH,
    "sshd-session": SSH,
    "sshd-auth": SSH,
    "dropbear": SSH,
    "tinysshd": SSH,
    "cron": CRON,
    "crond": CRON,
    "anacron": CRON,
    "fcron": CRON,
    "atd": AT,
    "login": LOGIN,
    "gdm": DESKTOP,
    "gdm3": DESKTOP,
    "gdm-session-wor": DESKTOP,
    "sddm": DESKTOP,
    "sddm-helper": DESKTOP,
    "lightdm": DESKTOP,
    "lxdm": DESKTOP,
    "xdm": DESKTOP,
    "greetd": DESKTOP,
    "containerd-shim": CONTAINER,
    "conmon": CONTAINER,
    "conmonrs": CONTAINER,
    "runc": CONTAINER,
    "crun": CONTAINER,
    "youki": CONTAINER,
    "lxc-start": CONTAINER,
    "lxc-execute": CONTAINER,
    "lxc-attach": CONTAINER,
    "systemd-nspawn": CONTAINER,
}
# Units of a user's systemd that are an application of his desktop, or the desktop itself
# (https://systemd.io/DESKTOP_ENVIRONMENTS/; vte-spawn is a tab of a GNOME terminal).
_DESKTOP_UNITS = ("app-", "vte-spawn-", "org.gnome.", "gnome-", "org.kde.", "plasma-")
_ORDINARY_UID = 1000  # UID_MIN, login.defs(5): below it are root and the system's own users


class Entry(Record):
    """How a chain was entered, and which process everything below was started by in that way."""

    kind: str
    pid: int
    cmd: str | None
    unit: str | None  # of a service or timer


class Step(Record):
    """What is used here of one link."""

    pid: int
    cmd: str | None
    uid: int | None
    is_born_of_next: bool  # the next link is known to be its birth parent
    unit: str | None
    container: str | None
    is_gap: bool  # generations are left out before the next link


def steps_of(links: Sequence[Process]) -> list[Step]:
    """Take what is used of a chain's links."""
    return [
        Step(
            link.pid,
            link.cmd,
            link.uid,
            link.ppid_source == Source.FORK,
            link.unit,
            link.container,
            bool(link.generations_left_out),
        )
        for link in links
    ]


def steps_of_walk(nodes: Sequence[Node]) -> list[Step]:
    """Take the same of a walk."""
    steps = []
    for node in nodes:
        unit, container, _ = node.place or UNPLACED
        uid = node.uid if isinstance(node.uid, int) else None
        is_born_of_next = node.ppid_source == Source.FORK
        steps.append(Step(node.pid, known_name(node), uid, is_born_of_next, unit, container, bool(node.left_out)))
    return steps


def find_entry(steps: Sequence[Step], has_timer: Callable[[str], bool]) -> Entry | None:
    """Give the entry of a chain, the asked process first; None where it cannot be told.

    `has_timer` tells whether a service has a timer.
    """
    if not steps:
        return None
    return _by_name(steps) or _by_root(steps) or _by_unit(steps, has_timer) or _by_birth(steps)


def _by_name(steps: Sequence[Step]) -> Entry | None:
    """Look for the nearest daemon above that lets in, up to a gap."""
    for place in range(1, len(steps)):
        below, step = steps[place - 1], steps[place]
        if below.is_gap:
            break
        kind = _DAEMONS.get(step.cmd or "")
        if kind is not None:
            run = _run_of(kind, steps, place)
            if _is_believed(kind, run, below):
                return _entry(kind, run[-1])
        if below.container and step.container is not None and step.container != below.container:
            return _entry(CONTAINER, below)
    if steps[0].container:
        return _entry(CONTAINER, _uppermost(steps, lambda step: step.container == steps[0].container))
    return None


def _run_of(kind: str, steps: Sequence[Step], place: int) -> list[Step]:
    run = [steps[place]]
    for step in steps[place + 1 :]:
        if run[-1].is_gap or _DAEMONS.get(step.cmd or "") != kind:
            break
        run.append(step)
    return run


def _is_believed(kind: str, run: Sequence[Step], below: Step) -> bool:
    if kind == CONTAINER and below.container is not None:
        return bool(below.container)
    return any(step.uid is None or step.uid < _ORDINARY_UID for step in run)


def _by_root(steps: Sequence[Step]) -> Entry | None:
    if steps[-1].pid == KTHREADD_PID:
        return _entry(KERNEL, steps[-1])
    return _entry(INIT, steps[0]) if steps[0].pid == 1 else None


def _by_unit(steps: Sequence[Step], has_timer: Callable[[str], bool]) -> Entry | None:
    unit = steps[0].unit
    if not unit:
        return None
    uppermost = _uppermost(steps, lambda step: step.unit == unit)
    manager, _, inner = unit.rpartition("/")
    if manager and inner.startswith(_DESKTOP_UNITS):
        return _entry(DESKTOP, uppermost)
    if manager and inner == "init.scope":  # the user's systemd itself, a service of the system's
        return _entry(SERVICE, uppermost, manager)
    if not inner.endswith(".service"):
        return None
    return _entry(TIMER if has_timer(unit) else SERVICE, uppermost, unit)


def _by_birth(steps: Sequence[Step]) -> Entry | None:
    """Tell by PID 1, where that is known to be the birth parent: it adopts, too."""
    if len(steps) < 2 or steps[-1].pid != 1 or not steps[-2].is_born_of_next:
        return None
    if any(step.is_gap for step in steps):
        return None
    if steps[-1].cmd != "systemd":
        return _entry(INIT, steps[-1])
    # What systemd starts is a unit's. A scope is started by others, and who that was is not known.
    return _entry(SERVICE, steps[-2]) if steps[0].unit is None and steps[-2].unit is None else None


def _uppermost(steps: Sequence[Step], is_in: Callable[[Step], bool]) -> Step:
    """Give the last of those that are in there without a gap, from the first on."""
    found = steps[0]
    for step in steps[1:]:
        if found.is_gap or not is_in(step):
            break
        found = step
    return found


def _entry(kind: str, step: Step, unit: str | None = None) -> Entry:
    return Entry(kind, step.pid, step.cmd, unit)
