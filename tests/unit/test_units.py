"""kernel/units.py: whether a service has a timer, by the files of units."""

from __future__ import annotations

from pathlib import Path

import pytest

from proc_cache.kernel.units import Timers


def write(root: Path, path: str) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/usr/lib/systemd/system/logrotate.timer", "logrotate.service"),
        ("/etc/systemd/system/backup.timer", "backup.service"),
        ("/run/systemd/transient/run-u5.timer", "run-u5.service"),
        ("/usr/lib/systemd/system/scrub@.timer", "scrub@data.service"),
        ("/etc/systemd/system/scrub@data.timer", "scrub@data.service"),
        ("/run/user/1000/systemd/transient/run-u5.timer", "user@1000.service/run-u5.service"),
        ("/etc/systemd/user/sync.timer", "user@1000.service/sync.service"),
    ],
)
def test_a_timer_of_the_name(tmp_path: Path, path: str, unit: str) -> None:
    timers = Timers(str(tmp_path))
    assert not timers("other.service")
    assert not Timers(str(tmp_path))(unit)
    write(tmp_path, path)
    assert timers(unit)
    assert not timers("other.service")


@pytest.mark.parametrize(
    "unit",
    ["backup.scope", "backup", "", "user@1000.service/backup.service", "user@../../x.service/backup.service"],
)
def test_no_timer_of_this(tmp_path: Path, unit: str) -> None:
    write(tmp_path, "/etc/systemd/system/backup.timer")
    assert not Timers(str(tmp_path))(unit)


def test_it_is_looked_for_once(tmp_path: Path) -> None:
    timers = Timers(str(tmp_path))
    assert not timers("backup.service")
    write(tmp_path, "/etc/systemd/system/backup.timer")
    assert not timers("backup.service")


def test_any_name_is_looked_for(tmp_path: Path) -> None:
    timers = Timers(str(tmp_path))
    for unit in ("x" * 255 + ".service", "\udcff.service", "..service", "a@b@c.service"):
        assert not timers(unit)
