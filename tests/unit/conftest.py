"""What several unit tests share."""

from __future__ import annotations

import pytest

from proc_cache.service import server
from tests.helpers.calling import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The server's: moved on by hand, it makes callers late."""
    clock = Clock()
    monkeypatch.setattr(server, "monotonic_s", clock)
    return clock
