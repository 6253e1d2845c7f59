"""The names of users in a live view, and which users a filter means."""

from __future__ import annotations

from pwd import getpwall
from typing import TYPE_CHECKING

from ..kernel.users import UserNames
from ..service.facts import ToldUsers
from ..service.picture_feed import UIDS_MAX

if TYPE_CHECKING:
    from pwd import struct_passwd


class LiveUsers(ToldUsers):
    """Remembers who was seen."""

    def __init__(self) -> None:
        self._seen: dict[int, str] = {}
        self._entries: list[struct_passwd] | None = None
        super().__init__(UserNames(self._seen))

    def uids_named(self, text: str) -> tuple[int, ...]:
        """Give the users in whose names this text is, of those that are known here; nobody for no text."""
        if not text:
            return ()
        if self._entries is None:
            self._entries = getpwall()
        wanted = text.lower()
        known = {entry.pw_uid: entry.pw_name for entry in self._entries} | self._seen
        return tuple(sorted(uid for uid, name in known.items() if wanted in name.lower())[:UIDS_MAX])
