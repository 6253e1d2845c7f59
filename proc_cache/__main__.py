"""`python -m proc_cache`, and the entry of the `proc-cache` script."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and exit."""
    from proc_cache.cli.main import main

    sys.exit(main())


if __name__ == "__main__":
    run()
