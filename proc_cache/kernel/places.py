"""Where a process belongs, by what the kernel says of it: pure parsers of cgroups and of terminals' numbers.

The names of cgroups are what whoever may make them has called them: root, and users below their own manager. So a
unit is told as systemd counts it, from the root down: what is made below a unit does not hide that unit, and a
user's unit stands behind the name of his manager (`user@1000.service/ssh.service` is not `ssh.service`). Likewise
of containers in each other the outermost is told, which this machine's own tools know. Nothing is unescaped.
"""

from __future__ import annotations

from ..process import decode_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..process import Place

_SYSTEMD = b"name=systemd"  # the hierarchy in which systemd keeps its units where there is cgroup v1, cgroups(7)
_DELETED = b" (deleted)"  # behind the path of a cgroup that was removed
_UNITS = (b".service", b".scope", b".socket", b".mount", b".swap")  # that can have processes, and slices
_ID_DIGITS = 64
_PLACES_MAX = 4096
_places: dict[tuple[bytes, int], Place] = {}
_ID_SHOWN = 12  # as `docker ps` shows

# What stands before the id of a container: `docker-ID.scope`, `crio-ID`, `...:cri-containerd:ID`.
_PREFIXES = {
    b"docker": "docker",
    b"libpod": "podman",
    b"cri-containerd": "containerd",
    b"containerd": "containerd",
    b"nerdctl": "containerd",
    b"crio": "cri-o",
}
# The cgroup in which an id stands alone. (Of a pod without systemd's slices it says nothing of the runtime.)
_PARENTS = {
    b"docker": "docker",
    b"ecs": "docker",
    b"libpod_parent": "podman",
    b"default": "containerd",  # its namespaces, of ctr and nerdctl
    b"k8s.io": "containerd",
}
_LXC_PARENTS = (b"lxc", b"lxc.payload")
_LXC_PREFIX = b"lxc.payload."  # since LXC 4.0


def parse_cgroup(data: bytes) -> tuple[str, str]:
    """Give the unit and the container of /proc/PID/cgroup; each is empty where there is none."""
    units: list[list[bytes]] = []
    others: list[list[bytes]] = []
    for line in data.split(b"\n")[:-1]:
        _, _, rest = line.partition(b":")
        controllers, found, path = rest.partition(b":")
        if found:
            names = _names(path)
            if controllers == _SYSTEMD:
                units.insert(0, names)
            elif not controllers:
                units.append(names)
            else:
                others.append(names)
    unit = next(filter(None, map(_unit, units)), b"")
    container = next(filter(None, map(_container, units + others)), "")
    return decode_name(unit), container


def place_of(cgroup: bytes, tty_nr: int) -> Place:
    """Give the whole place of a process, one object for all that share it."""
    key = cgroup, tty_nr
    place = _places.get(key)
    if place is None:
        if len(_places) >= _PLACES_MAX:
            _places.clear()
        place = _places[key] = (*parse_cgroup(cgroup), tty_name(tty_nr))
    return place


def _names(path: bytes) -> list[bytes]:
    """Split a path; above the root of a cgroup namespace there is `/..`."""
    return [name for name in path.removesuffix(_DELETED).split(b"/") if name not in (b"", b"..")]


def _unit(names: list[bytes]) -> bytes:
    unit, below = _outermost_unit(names)
    if unit.startswith(b"user@") and unit.endswith(b".service"):
        inner, _ = _outermost_unit(below)
        return b"%s/%s" % (unit, inner) if inner else unit
    return unit


def _outermost_unit(names: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Give the first unit below the slices, the last slice where there is none, and what is below it."""
    found, below = b"", names
    for index, name in enumerate(names):
        is_unit = name.endswith(_UNITS)
        if not is_unit and not name.endswith(b".slice"):
            break
        found, below = name, names[index + 1 :]
        if is_unit:
            break
    return found, below


def _container(names: list[bytes]) -> str:
    is_in_pod = False
    parent = b""
    for name in names:
        found = _container_called(name, parent, is_in_pod=is_in_pod)
        if found:
            return found
        is_in_pod = is_in_pod or name.startswith(b"kubepods")
        parent = name
    return ""


def _container_called(name: bytes, parent: bytes, *, is_in_pod: bool) -> str:
    if name.startswith(_LXC_PREFIX) and name != _LXC_PREFIX:
        return f"lxc:{decode_name(name[len(_LXC_PREFIX) :])}"
    if parent in _LXC_PARENTS:
        return f"lxc:{decode_name(name)}"
    bare = name.removesuffix(b".scope")
    if len(bare) < _ID_DIGITS or bare[-_ID_DIGITS:].strip(b"0123456789abcdef"):
        return ""
    prefix, separator = bare[: -_ID_DIGITS - 1], bare[-_ID_DIGITS - 1 : -_ID_DIGITS]
    if separator == b":":  # a slice of a pod, the runtime and the id in one name, where one of them has no systemd
        prefix = prefix.rpartition(b":")[2]
    elif not separator:
        runtime = _PARENTS.get(parent, "kubernetes" if is_in_pod else "container")
        return f"{runtime}:{_shown(bare)}"
    runtime = _PREFIXES.get(prefix, "") if separator in b":-" else ""
    return f"{runtime}:{_shown(bare)}" if runtime else ""


def _shown(bare: bytes) -> str:
    return bare[-_ID_DIGITS:][:_ID_SHOWN].decode("ascii")


# --- terminals ----------------------------------------------------------------------------------------------

# By major number (Documentation/admin-guide/devices.txt): the first minor, how many, the name, its first number.
_TERMINALS: dict[int, tuple[tuple[int, int, str, int], ...]] = {
    4: ((0, 64, "tty", 0), (64, 192, "ttyS", 0)),
    166: ((0, 256, "ttyACM", 0),),
    188: ((0, 256, "ttyUSB", 0),),
    204: ((64, 16, "ttyAMA", 0),),
    229: ((0, 256, "hvc", 0),),
}
_UNIX98 = range(136, 144)  # majors of pts; kernels since 2.6 use the first alone, with minors of 20 bits
_BSD_MAJOR = 3  # ttyp0 to ttyef
_BSD_LETTERS = "pqrstuvwxyzabcde"


def tty_name(tty_nr: int) -> str:
    """Name a terminal as it is called in /dev, by `tty_nr` of /proc/PID/stat; empty for none.

    One that no table has is given as `MAJOR:MINOR`.
    """
    if not tty_nr:
        return ""
    # new_encode_dev(), linux/kdev_t.h: the minor's low 8 bits, 12 of the major, the rest of the minor.
    major, minor = tty_nr >> 8 & 0xFFF, tty_nr & 0xFF | tty_nr >> 12 & 0xFFF00
    if major in _UNIX98:
        return f"pts/{(major - _UNIX98.start) * 256 + minor}"
    if major == 5 and minor == 1:
        return "console"
    if major == _BSD_MAJOR and minor < 256:
        return f"tty{_BSD_LETTERS[minor >> 4]}{minor & 0xF:x}"
    for first, count, name, number in _TERMINALS.get(major, ()):
        if first <= minor < first + count:
            return f"{name}{minor - first + number}"
    return f"{major}:{minor}"
