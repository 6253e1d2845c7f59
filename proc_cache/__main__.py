"""`python -m proc_cache`, and the entry of the `proc-cache` script."""

from __future__ import annotations

import gc
import os
import sys

# Objects made before the first collection. A query makes fewer, and all are in use until it ends: to look through
# them again and again takes a tenth of its time.
_COLLECT_AFTER = 100_000


def run() -> None:
    """Run the command line and exit."""
    gc.set_threshold(_COLLECT_AFTER)
    from proc_cache.cli.main import main

    _exit(main())


def _exit(status: int) -> None:
    """End at once: all is closed by now, and what the interpreter tidies up takes a tenth of a query, too."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105  # contextlib is not loaded
            stream.flush()
        except (OSError, ValueError):  # nobody reads it, or it is full, or closed: that was told, or cannot be
            pass
    os._exit(status)


if __name__ == "__main__":
    run()
