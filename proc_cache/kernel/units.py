"""Which systemd units there are, as far as their files tell; systemd itself is not asked."""

from __future__ import annotations

import os

# systemd.unit(5), "Unit File Load Path"; transient units are those that systemd-run makes.
_SYSTEM = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_USER = (
    "/etc/systemd/user",
    "/run/systemd/user",
    "/run/user/{uid}/systemd/user",
    "/run/user/{uid}/systemd/transient",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
)


class Timers:
    """Looks for the timers of services, each once. `root` is another directory in tests."""

    def __init__(self, root: str = "") -> None:
        self._root = root
        self._known: dict[str, bool] = {}

    def __call__(self, unit: str) -> bool:
        """Tell whether a service has a timer of its name; of a user's unit (`user@1000.service/...`), by his."""
        known = self._known.get(unit)
        if known is None:
            known = self._known[unit] = self._look(unit)
        return known

    def _look(self, unit: str) -> bool:
        manager, _, name = unit.rpartition("/")
        if not name.endswith(".service"):
            return False
        directories = _SYSTEM if not manager else tuple(path.format(uid=_uid(manager)) for path in _USER)
        stem = name.removesuffix(".service")
        stems = (stem, stem.partition("@")[0] + "@") if "@" in stem else (stem,)  # an instance of a template
        return any(
            os.path.exists(f"{self._root}{directory}/{each}.timer") for directory in directories for each in stems
        )


def _uid(manager: str) -> str:
    uid = manager.removeprefix("user@").removesuffix(".service")
    return uid if uid.isdecimal() else "-"
