"""The file of a history: its tables, its version, and how it is opened.

Times are nanoseconds since the epoch, by when the machine booted (`boot.booted_ns`, taken once for each boot):
they can be compared across boots, and turned back into time since boot exactly. Names are the kernel's bytes.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat

from ..errors import NotAHistoryError, UnreadableHistoryError

APPLICATION_ID = 0x70636163  # "pcac", PRAGMA application_id
VERSION = 3  # PRAGMA user_version
PAGE_BYTES = 4096
WAL_BYTES = 8 << 20  # what is left of the write-ahead log once it was taken over
_BUSY_S = 5.0

TABLES = """
CREATE TABLE boot (
    id        INTEGER PRIMARY KEY,
    boot_id   TEXT NOT NULL UNIQUE,       -- /proc/sys/kernel/random/boot_id
    booted_ns INTEGER NOT NULL
);
CREATE TABLE recording (                  -- one run of an engine with --record
    id        INTEGER PRIMARY KEY,
    boot      INTEGER NOT NULL REFERENCES boot,
    pid       INTEGER NOT NULL,           -- the engine's
    began_ns  INTEGER NOT NULL,
    until_ns  INTEGER NOT NULL,           -- up to when everything is written
    missed    INTEGER NOT NULL DEFAULT 0  -- processes that could not be written
);
CREATE TABLE process (
    id            INTEGER PRIMARY KEY,    -- recording << 40 | its number there
    boot          INTEGER NOT NULL,
    pid           INTEGER NOT NULL,
    start_ns      INTEGER NOT NULL,       -- 0: not known
    ppid          INTEGER,                -- of the birth parent where ppid_source is "fork"
    ppid_source   TEXT NOT NULL,
    parent        INTEGER,                -- id of that process
    adopter_pid   INTEGER,
    cmd           BLOB NOT NULL,
    source        TEXT NOT NULL,
    former        BLOB,                   -- names before the last exec, each ended by NUL
    cmdline       BLOB,
    uid           INTEGER,
    user          BLOB,
    birth_user    BLOB,
    session       INTEGER,
    exit_ns       INTEGER,                -- null: it lived when the recording ended
    exit_status   INTEGER,                -- wait status word; null: how it ended was not seen
    cpu_us        INTEGER,                -- this and the next three: null where there is no exit record
    max_rss_bytes INTEGER,
    read_bytes    INTEGER,
    write_bytes   INTEGER,
    full_name     BLOB,                   -- the whole of a name that the kernel cut; null: not cut, or not known
    unit          BLOB,                   -- of systemd; this and the next two: empty where it is in none
    container     BLOB,                   -- RUNTIME:ID
    tty           BLOB
);
CREATE INDEX process_by_pid ON process (pid, start_ns);
CREATE INDEX process_by_parent ON process (parent) WHERE parent IS NOT NULL;
CREATE INDEX process_by_exit ON process (exit_ns) WHERE exit_ns IS NOT NULL;
CREATE INDEX process_living ON process (boot) WHERE exit_ns IS NULL;
CREATE TABLE exec (                       -- the last one of a process has the name that an exit record brought
    process INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    cmd     BLOB NOT NULL,
    source  TEXT NOT NULL,
    cmdline BLOB,
    user    BLOB,
    PRIMARY KEY (process, time_ns)
) WITHOUT ROWID;
CREATE TABLE loss (                       -- messages of the kernel that were lost in a span of time
    recording INTEGER NOT NULL,
    start_ns  INTEGER NOT NULL,
    end_ns    INTEGER NOT NULL,
    lost      INTEGER NOT NULL
);
CREATE TABLE horizon (removed_ns INTEGER NOT NULL);  -- ends before this may have been removed (--keep, --max-size)
"""


def open_for_writing(path: str) -> sqlite3.Connection:
    """Open or create a history, for its owner alone. Raises NotAHistoryError, OSError and sqlite3.Error."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    # An absolute path: a name like ":memory:" means something else to SQLite.
    database = sqlite3.connect(os.path.abspath(path), timeout=_BUSY_S, isolation_level=None)
    try:
        if _is_empty(database):
            database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {VERSION}")
        check(database, path)
        database.execute("PRAGMA journal_mode = WAL")
        # With a write-ahead log this loses nothing when a process dies, and the newest when the power does.
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    except BaseException:
        database.close()
        raise
    return database


def open_for_reading(path: str) -> sqlite3.Connection:
    """Open a history that may be written to meanwhile. Raises HistoryError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # SQLite's own errors do not say why
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.close(descriptor)
    except OSError as error:
        raise UnreadableHistoryError(_unreadable(path, str(error.strerror))) from error
    if is_directory:
        raise UnreadableHistoryError(_unreadable(path, "it is a directory"))
    try:
        return _open_checked(path, "mode=ro")
    except sqlite3.Error as error:
        if not _has_log(path):
            # A log is shared through files beside this one, even to read; on a read-only disk there are none.
            with contextlib.suppress(sqlite3.Error):
                return _open_checked(path, "mode=ro&immutable=1")
        raise UnreadableHistoryError(_unreadable(path, str(error))) from error


def _open_checked(path: str, options: str) -> sqlite3.Connection:
    database = sqlite3.connect(f"file://{_quote(path)}?{options}", uri=True, timeout=_BUSY_S)
    try:
        check(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _has_log(path: str) -> bool:
    try:
        return os.stat(f"{path}-wal").st_size > 0
    except OSError:
        return False


def _unreadable(path: str, reason: str) -> str:
    return f"the history {path} cannot be read: {reason}; give a file that `--record` wrote"


def check(database: sqlite3.Connection, path: str) -> None:
    """Raise NotAHistoryError where a file is no history, or one of another version."""
    try:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise NotAHistoryError(f"{path} is no history of proc-cache; give a file that `--record` wrote") from error
    if application != APPLICATION_ID:
        raise NotAHistoryError(f"{path} is no history of proc-cache; give a file that `--record` wrote")
    if version != VERSION:
        raise NotAHistoryError(
            f"{path} is a history of version {version}, and this proc-cache has {VERSION}; give another file"
        )


def _is_empty(database: sqlite3.Connection) -> bool:
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return not tables


def _quote(path: str) -> str:
    """Write a path as part of a URI (https://sqlite.org/uri.html)."""
    path = "/" + os.path.abspath(path).lstrip("/")  # two slashes would begin the name of a host
    for character, code in (("%", "%25"), ("?", "%3f"), ("#", "%23")):
        path = path.replace(character, code)
    return path


def read_boot_id() -> str:
    """Give the name that the kernel gave this boot (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
