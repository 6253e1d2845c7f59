"""The one gate of all tests that need the real proc connector, and the parts that several of them share."""

from __future__ import annotations

import os
import signal
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proc_cache import ConnectorUnavailableError, Engine
from proc_cache.kernel.netlink import ProcConnector
from tests.helpers.storms import compile_program

if TYPE_CHECKING:
    from collections.abc import Iterator

MUST_RUN = "PROC_CACHE_KERNEL_TESTS"


@cache
def _why_no_connector() -> str | None:
    try:
        ProcConnector.open().close()
    except ConnectorUnavailableError as error:
        return str(error)
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `kernel` where there are no events; with PROC_CACHE_KERNEL_TESTS=1 that fails."""
    if item.get_closest_marker("kernel") is None:
        return
    reason = _why_no_connector()
    if reason is None:
        return
    if os.environ.get(MUST_RUN) == "1":
        pytest.fail(f"{MUST_RUN}=1, and there is no connector: {reason}", pytrace=False)
    pytest.skip(f"no proc connector: {reason}")


@pytest.fixture(autouse=True)
def socket_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where an engine of this test answers: no other engine of this machine is asked, and none is disturbed."""
    with tempfile.TemporaryDirectory(prefix="proc-cache-") as directory:
        path = f"{directory}/socket"
        monkeypatch.setenv("PROC_CACHE_SOCKET", path)
        yield path


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What a command line that was run in this process does to SIGTERM is undone: children would inherit it."""
    former = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, former)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine that listens and has scanned."""
    with Engine() as listening:
        listening.start()
        yield listening


@pytest.fixture(scope="session")
def fork_storm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program: `fork-storm N` lets N processes be born and die, one after the other, as fast as it can."""
    text = """
        #define _DEFAULT_SOURCE
        #include <stdlib.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            for (long left = argc > 1 ? atol(argv[1]) : 0; left > 0; left--) {
                pid_t pid = vfork();
                if (pid == 0) _exit(0);
                if (pid < 0) return 1;
                waitpid(pid, 0, 0);
            }
            return 0;
        }
        """
    return compile_program(tmp_path_factory.mktemp("fork-storm"), "fork-storm", text)
