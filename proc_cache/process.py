"""What a process is: its identity, its facts, and where each fact comes from.

A name (`cmd`, the kernel's comm) is bytes to the kernel and text here, decoded as UTF-8 with
`surrogateescape`, so that nothing is lost; `render.escape` makes it safe to print.
"""

from __future__ import annotations

from .record import Record

PROC_CACHE_CAP = 65536
PID_TREE_CAP = 65536
PROC_CACHE_TTL_SECS = 600
PID_TREE_TTL_SECS = 600

COMM_MAX_BYTES = 15  # TASK_COMM_LEN is 16 with its NUL (linux/sched.h)
KTHREADD_PID = 2  # the parent of every kernel thread

# Where a process belongs: systemd unit, container, terminal; each "" where it is in none, None where that is not
# known. A tuple, for there is one for all of one place, and a stream carries it as it is.
Place = tuple[str | None, str | None, str | None]
UNPLACED: Place = (None, None, None)


class Source:
    """Where a fact comes from, in the words that JSON answers use."""

    EXEC = "exec"  # read from /proc when its Exec event came
    COMM = "comm"  # the process renamed itself
    INHERITED = "inherited"  # the forking thread's; the process has run no other program since
    UNREAD = "unread"  # it ran another program and was gone before its name could be read: an older name
    SNAPSHOT = "snapshot"  # a scan of /proc
    PROCFS = "procfs"  # read from /proc to answer this question
    FORK = "fork"  # a Fork event
    EXIT_RECORD = "exit_record"  # what the kernel wrote down when it ended (taskstats)
    EXIT = "exit"  # an Exit event of a process that nothing else is known of
    MANUAL = "manual"  # put there by the program that uses this library


def decode_name(name: bytes) -> str:
    """Decode a name losslessly: bytes that are not UTF-8 become lone surrogates (PEP 383)."""
    return name.decode("utf-8", "surrogateescape")


class CacheParams(Record):
    """Bounds of a mapping: how many dead processes it keeps, and how long after their exit, in seconds."""

    capacity: int
    ttl_secs: float


class ProcInfo(Record):
    """Cached facts of one process; `ppid` is the birth parent where that is known, `start_time_ns` since boot."""

    cmd: str
    user: str
    ppid: int
    tgid: int
    start_time_ns: int


class PidNode(Record):
    """A node of the tree; `cmd` is empty from Fork until an Exec (or a scan, or a rename) fills it."""

    ppid: int
    cmd: str
    start_time_ns: int = 0


_AS_IT_IS = "as it is"  # compared by identity: the user that it has now


class _Rare:
    """What is to be said of few processes: apart, for what a node has room for, all of them pay for."""

    __slots__ = ("adopter_pid", "birth_uid", "full_name")

    def __init__(self) -> None:
        self.adopter_pid: int | None = None
        self.birth_uid: int | str | None = _AS_IT_IS
        self.full_name: str | None = None


class Node:
    """One process as the engine holds it: the only mutable thing here.

    It holds its parent, not only the parent's pid: what is retained keeps its ancestors without counting,
    and a reused pid cannot slip in between. Times are nanoseconds of CLOCK_BOOTTIME.
    """

    __slots__ = (
        "children",  # how many retained nodes have this one as parent
        "cmd",
        "cmdline",  # as /proc gives it: bytes, each argument ended by NUL; None where it was not read
        "cost",  # packed, see `Cost`; None where the kernel's exit record was not had
        "exit_ns",  # 0 while it lives
        "exit_status",  # wait status word; None where no Exit was seen: exit_ns is when its end was noticed
        "former",  # the names it had before its last exec, oldest first; the first one it was born with
        "left_out",  # how many generations were left out between this one and `parent`
        "parent",
        "pid",
        "place",  # unit, container, terminal; shared by all that have the same
        "ppid",  # of the birth parent where ppid_source is "fork"; 0 is nobody, None is unknown
        "ppid_source",
        "previous",  # the retained process that had this pid before
        "rare",
        "recorded_as",  # its number in the history; 0 where none is written
        "session",
        "source",  # of cmd
        "start_ns",  # 0 where it is not known
        "uid",  # effective; None where it is not known; a name where a library's user gave only that
    )

    def __init__(  # noqa: PLR0913
        self,
        pid: int,
        start_ns: int,
        ppid: int | None,
        ppid_source: str,
        parent: Node | None,
        cmd: str,
        source: str,
        uid: int | str | None,
        session: int | None = None,
        cmdline: bytes | None = None,
    ) -> None:
        self.pid = pid
        self.start_ns = start_ns
        self.ppid = ppid
        self.ppid_source = ppid_source
        self.parent = parent
        self.cmd = cmd
        self.source = source
        self.uid = uid
        self.session = session
        self.cmdline = cmdline
        self.exit_ns = 0
        self.exit_status: int | None = None
        self.children = 0
        self.left_out = 0
        self.previous: Node | None = None
        self.former: tuple[str, ...] = ()
        self.recorded_as = 0
        self.cost: int | None = None
        self.rare: _Rare | None = None
        self.place: Place | None = None

    boot = 0  # which boot of the machine it lived in: a history holds several

    def identity(self) -> tuple[int, int, int]:
        """Give what no other process shares."""
        return self.boot, self.pid, self.start_ns

    @property
    def adopter_pid(self) -> int | None:
        """The parent it had when it was last seen, where that is not the birth parent."""
        return None if self.rare is None else self.rare.adopter_pid

    @adopter_pid.setter
    def adopter_pid(self, pid: int | None) -> None:
        if pid is not None or self.rare is not None:
            self._have_rare().adopter_pid = pid

    @property
    def last_ppid(self) -> int | None:
        """The parent it had when it was last seen: who adopted it, else the birth parent."""
        adopter_pid = self.adopter_pid
        return self.ppid if adopter_pid is None else adopter_pid

    @property
    def full_name(self) -> str | None:
        """Where the kernel's name is cut and its program's file has a longer one: that."""
        return None if self.rare is None else self.rare.full_name

    @full_name.setter
    def full_name(self, name: str | None) -> None:
        if name is not None or self.rare is not None:
            self._have_rare().full_name = name

    @property
    def birth_uid(self) -> int | str | None:
        """The user it was born with; `change_uid` keeps it."""
        return self.uid if self.rare is None or self.rare.birth_uid is _AS_IT_IS else self.rare.birth_uid

    @birth_uid.setter
    def birth_uid(self, uid: int | str | None) -> None:
        if uid != self.uid or self.rare is not None:
            self._have_rare().birth_uid = _AS_IT_IS if uid == self.uid else uid

    def change_uid(self, uid: int | None) -> None:
        """Note that it has another user from now on."""
        birth_uid = self.birth_uid
        self.uid = uid
        self.birth_uid = birth_uid

    def _have_rare(self) -> _Rare:
        if self.rare is None:
            self.rare = _Rare()
        return self.rare

    def __repr__(self) -> str:
        return f"<Node {self.pid} {self.cmd!r} ppid={self.ppid} start={self.start_ns} exit={self.exit_ns}>"


# Sources that give a name, though it may be empty: prctl(PR_SET_NAME, "") is allowed.
_NAMING = (
    Source.EXEC,
    Source.COMM,
    Source.INHERITED,
    Source.SNAPSHOT,
    Source.PROCFS,
    Source.EXIT_RECORD,
)


def known_name(node: Node) -> str | None:
    """Give the name as far as it is known; None is unknown, empty is an empty name."""
    return node.cmd if node.cmd or node.source in _NAMING else None


def is_name_read(node: Node) -> bool:
    """Tell whether the name is this process's own, not one that it was born with and may have changed."""
    return node.source not in (Source.INHERITED, Source.UNREAD, Source.FORK)


def is_name_certain(node: Node) -> bool:
    """Tell whether `cmd` is the name that this process had last, as far as anything was told of it."""
    return node.source in _NAMING or (node.source == Source.MANUAL and bool(node.cmd))


def split_cmdline(cmdline: bytes, count: int = -1) -> list[bytes]:
    """Split what /proc/PID/cmdline holds, or its beginning; a program's own title may have no NUL in it."""
    if not cmdline:
        return []
    arguments = cmdline.removesuffix(b"\0").split(b"\0", count)
    return arguments if count < 0 else arguments[:count]


CMDLINE_LIMIT = 1 << 17  # bytes read of an argv; one argument may be as long (MAX_ARG_STRLEN, linux/binfmts.h)
CMDLINE_KEPT_BYTES = 4096  # of the arguments of one that has ended: else anybody could fill the memory with them
_CUT = b"\0\xe2\x80\xa6"  # a last argument `…` without the NUL that every real one ends with


def cut_cmdline(cmdline: bytes, limit: int) -> bytes:
    """Give as much of the arguments as may be kept, with a mark at the end where that is not all."""
    return cmdline if len(cmdline) <= limit + len(_CUT) else cmdline[:limit] + _CUT


def is_cmdline_cut(cmdline: bytes) -> bool:
    """Tell whether the mark is there."""
    return cmdline.endswith(_CUT)


class Cost(Record):
    """What a process took, by the kernel's exit record of it (taskstats); its threads' share included."""

    cpu_us: int
    max_rss_bytes: int
    read_bytes: int  # from disks, not from caches
    write_bytes: int


_U64 = (1 << 64) - 1


def pack_cost(cpu_us: int, max_rss_bytes: int, read_bytes: int, write_bytes: int) -> int:
    """Pack a cost for a node: 48 bytes of memory instead of 200, for the last two are 0 for most."""
    return cpu_us & _U64 | (max_rss_bytes & _U64) << 64 | (write_bytes & _U64) << 128 | (read_bytes & _U64) << 192


def unpack_cost(packed: int | None) -> Cost | None:
    """Give back what was packed."""
    if packed is None:
        return None
    return Cost(
        cpu_us=packed & _U64,
        max_rss_bytes=packed >> 64 & _U64,
        read_bytes=packed >> 192,
        write_bytes=packed >> 128 & _U64,
    )


class Process(Record):
    """What is known of one process, frozen, as answers give it; None is unknown.

    Times are nanoseconds since boot (CLOCK_BOOTTIME), rounded down to a clock tick where only /proc told;
    `booted_ns` says when that was, in nanoseconds since the epoch.
    """

    pid: int
    ppid: int | None  # the birth parent where ppid_source is "fork", else the one that /proc showed
    ppid_source: str
    current_ppid: int | None
    current_parent: str | None  # the name of that one, where it is not the birth parent
    cmd: str | None
    source: str  # of cmd
    former_cmds: tuple[str, ...]  # the names it had before its last exec, oldest first
    cmdline: tuple[bytes, ...] | None
    is_cmdline_cut: bool
    uid: int | None
    user: str | None
    birth_user: str | None
    session: int | None
    booted_ns: int
    start_time_ns: int | None
    is_alive: bool | None  # None: it was when the history ends
    exit_time_ns: int | None
    exit_status: int | None  # wait status word, wait(2)
    cost: Cost | None = None
    full_name: str | None = None  # of the program's file, where the kernel's name is cut
    generations_left_out: int = 0  # between this one and the next link of a chain
    unit: str | None = None  # of systemd; this and the next two: "" where it is in none
    container: str | None = None  # RUNTIME:ID
    tty: str | None = None  # as in /dev: pts/3
    ns_pids: tuple[int, ...] | None = None  # in its PID namespaces, outermost first; () where asked, and not known

    @property
    def run_time_ns(self) -> int | None:
        """How long it lived; None where it lives, or one end of its life was not seen."""
        if self.start_time_ns is None or self.exit_time_ns is None:
            return None
        return max(0, self.exit_time_ns - self.start_time_ns)

    @property
    def exit_code(self) -> int | None:
        """What it passed to exit(3); None where it lives, was killed, or its end is unknown."""
        status = self.exit_status
        return None if status is None or status & 0x7F else status >> 8 & 0xFF

    @property
    def signal(self) -> int | None:
        """The number of the signal that killed it."""
        status = self.exit_status
        return None if status is None or not status & 0x7F else status & 0x7F

    @property
    def is_core_dumped(self) -> bool | None:
        """Whether it left a core; None where its end is unknown."""
        return None if self.exit_status is None else bool(self.exit_status & 0x80)


def freeze(  # noqa: PLR0913
    node: Node,
    *,
    current_ppid: int | None,
    current_parent: str | None,
    user: str | None,
    birth_user: str | None,
    booted_ns: int,
    is_alive: bool | None,
    place: Place | None = None,
) -> Process:
    """Freeze what is known of a process: its own facts, and what only a view of it can tell."""
    unit, container, tty = place or node.place or UNPLACED
    return Process(
        pid=node.pid,
        ppid=node.ppid,
        ppid_source=node.ppid_source,
        current_ppid=current_ppid,
        current_parent=current_parent,
        cmd=known_name(node),
        source=node.source,
        former_cmds=node.former,
        cmdline=None if node.cmdline is None else tuple(split_cmdline(node.cmdline)),
        is_cmdline_cut=node.cmdline is not None and is_cmdline_cut(node.cmdline),
        uid=node.uid if isinstance(node.uid, int) else None,
        user=user,
        birth_user=birth_user,
        session=node.session,
        booted_ns=booted_ns,
        start_time_ns=node.start_ns or None,
        is_alive=is_alive,
        exit_time_ns=node.exit_ns if node.exit_status is not None else None,
        exit_status=node.exit_status,
        cost=unpack_cost(node.cost),
        full_name=node.full_name,
        generations_left_out=node.left_out,
        unit=unit,
        container=container,
        tty=tty,
    )
