"""history/schema.py: whose the file is, and what is no history."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from proc_cache.errors import HistoryError, NotAHistoryError, UnreadableHistoryError
from proc_cache.history.bounds import Bounds
from proc_cache.history.reader import HistoryView
from proc_cache.history.schema import APPLICATION_ID, VERSION, open_for_reading, open_for_writing
from proc_cache.history.writer import start
from tests.helpers.processes import NOBODY
from tests.helpers.recording import begin, record, row, rows

STRANGE_NAMES = [
    b"a ? b",
    b"a # b",
    b"100%41",
    b"%",
    b"with spaces ",
    b"?mode=memory",
    b"quote'\"",
    b"caf\xc3\xa9",
    b"not-utf8-\xff\xfe",
    b"back\\slash",
    b"new\nline",
    b"file:x",
    b"a&vfs=none;b",
]


def make_history(path: Path) -> None:
    record(path, begin(), rows(row(1, 10, 150)))


def pids(path: str) -> list[int]:
    with closing(open_for_reading(path)) as database:
        return [pid for (pid,) in database.execute("SELECT pid FROM process")]


class TestNewFile:
    def test_it_is_its_owners_alone_with_what_lies_beside_it(self, tmp_path: Path) -> None:
        former = os.umask(0)
        try:
            with closing(open_for_writing(str(tmp_path / "history"))) as database:
                database.execute("INSERT INTO horizon VALUES (1)")
                modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
        finally:
            os.umask(former)
        assert modes == {"history": 0o600, "history-wal": 0o600, "history-shm": 0o600}

    def test_it_says_what_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        open_for_writing(str(path)).close()
        with closing(sqlite3.connect(path)) as database:
            facts = [
                database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version", "journal_mode")
            ]
        assert facts == [APPLICATION_ID, VERSION, "wal"]

    def test_an_empty_file_becomes_a_history(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        path.touch()
        make_history(path)
        assert pids(str(path)) == [10]

    def test_the_questions_have_an_index(self, tmp_path: Path) -> None:
        """By pid and time, by parent, by end, and who lives: none of these reads the whole table."""
        with closing(open_for_writing(str(tmp_path / "history"))) as database:
            for condition in (
                "pid = 5 AND start_ns <= 7",
                "parent = 5",
                "exit_ns < 5 ORDER BY exit_ns LIMIT 1",
                "boot = 1 AND exit_ns IS NULL",
            ):
                plan = database.execute(f"EXPLAIN QUERY PLAN SELECT id FROM process WHERE {condition}").fetchall()
                assert all("USING" in step[3] and "INDEX" in step[3] for step in plan), (condition, plan)


class TestAnotherFile:
    """Neither read nor written to: it stays what it was, byte for byte."""

    def refused(self, path: Path) -> str:
        before = path.read_bytes()
        with pytest.raises(NotAHistoryError) as caught:
            open_for_reading(str(path))
        with pytest.raises(NotAHistoryError):
            start(str(path), Bounds())
        with pytest.raises((NotAHistoryError, sqlite3.DatabaseError)):  # it was swapped after `start` had looked
            open_for_writing(str(path))
        assert path.read_bytes() == before
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        return message

    def test_a_text(self, tmp_path: Path) -> None:
        path = tmp_path / "text"
        path.write_text("this is no database\n" * 200)
        assert "no history of proc-cache" in self.refused(path)

    def test_a_short_text(self, tmp_path: Path) -> None:
        path = tmp_path / "text"
        path.write_text("short\n")
        assert "no history of proc-cache" in self.refused(path)

    def test_another_applications_database(self, tmp_path: Path) -> None:
        path = tmp_path / "other"
        with closing(sqlite3.connect(path)) as database:
            database.executescript("CREATE TABLE process (id INTEGER); PRAGMA user_version = 1")
        assert "no history of proc-cache" in self.refused(path)

    @pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
    def test_another_version(self, tmp_path: Path, version: int) -> None:
        path = tmp_path / "history"
        make_history(path)
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"PRAGMA user_version = {version}")
        said = self.refused(path)
        assert f"version {version}" in said
        assert f"has {VERSION}" in said


def test_a_file_of_version_1_is_refused_before_it_is_asked_for_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "history"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE process (id INTEGER PRIMARY KEY, pid INTEGER, exit_status INTEGER);"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1"
        )
    with pytest.raises(NotAHistoryError) as caught:
        HistoryView.open(str(path))
    assert str(caught.value) == (
        f"{path} is a history of version 1, and this proc-cache has {VERSION}; give another file"
    )


class TestUnreadable:
    def said_of(self, path: Path) -> str:
        with pytest.raises(UnreadableHistoryError) as caught:
            open_for_reading(str(path))
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
        return str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        assert "No such file" in self.said_of(tmp_path / "missing")
        assert list(tmp_path.iterdir()) == [], "looking makes no file"

    def test_a_directory(self, tmp_path: Path) -> None:
        assert "directory" in self.said_of(tmp_path)

    def test_a_directory_leaves_no_descriptor_open(self, tmp_path: Path) -> None:
        before = len(os.listdir("/proc/self/fd"))
        self.said_of(tmp_path)
        assert len(os.listdir("/proc/self/fd")) == before

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a moment")
    def test_not_for_this_user(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        make_history(path)
        for directory in (tmp_path, *tmp_path.parents):
            if directory.stat().st_uid == 0 and not directory.stat().st_mode & 0o001:
                directory.chmod(directory.stat().st_mode | 0o011)
        os.seteuid(NOBODY)
        try:
            said = self.said_of(path)
        finally:
            os.seteuid(0)
        assert "Permission denied" in said

    def test_a_truncated_file_is_refused_with_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        make_history(path)
        with open(path, "r+b") as file:
            file.truncate(50)
        with pytest.raises(HistoryError) as caught:
            open_for_reading(str(path))
        assert "\n" not in str(caught.value)


class TestPaths:
    @pytest.mark.parametrize("name", STRANGE_NAMES)
    def test_a_strange_name_is_a_name(self, tmp_path: Path, name: bytes) -> None:
        path = tmp_path / os.fsdecode(name)
        make_history(path)
        assert path.is_file(), "it was written where it was told"
        assert pids(str(path)) == [10]
        beside = {each.name for each in tmp_path.iterdir()}
        assert beside <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}

    @pytest.mark.parametrize(
        "name",
        [
            ":memory:",
            "file:history?mode=memory",
            "history",
            "./a/../history",
        ],
    )
    def test_a_relative_name_is_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a").mkdir()
        record(name, begin(), rows(row(1, 10, 150)))
        assert pids(name) == [10]

    def test_two_slashes_at_the_beginning(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        make_history(path)
        assert pids(f"/{path}") == [10]

    def test_a_link(self, tmp_path: Path) -> None:
        path, link = tmp_path / "history", tmp_path / "link"
        link.symlink_to(path)
        make_history(link)
        assert pids(str(link)) == pids(str(path)) == [10]
