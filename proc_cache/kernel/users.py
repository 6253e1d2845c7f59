"""Names of users: a uid's passwd entry, or the number itself where it has none."""

from __future__ import annotations

from pwd import getpwuid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping


class UserNames:
    """Looks each uid up once, in `cache`: the lookup may ask a slow server (nsswitch.conf(5))."""

    def __init__(self, cache: MutableMapping[int, str] | None = None) -> None:
        self._cache: MutableMapping[int, str] = {} if cache is None else cache

    def name(self, uid: int) -> str:
        """Give the user's name, or the number as text where passwd has no entry for it."""
        name = self._cache.get(uid)
        if name is None:
            name = self._cache[uid] = _look_up(uid)
        return name


def _look_up(uid: int) -> str:
    try:
        return getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
