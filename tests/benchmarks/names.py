"""How many programs that exit at once `watch` can name: a shell runs some in a row, many times over.

python -m tests.benchmarks.names [ROUNDS] [--no-realtime]
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time

PROGRAMS = 27
ROUNDS = 30
READY_S = 20


def one_round(options: list[str]) -> int:
    """Give how many of the programs were named right."""
    command = [sys.executable, "-m", "proc_cache", "watch", "--format", "ndjson", "--events", "exec", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        wait_until_it_tells(watch)
        # A last command of another name: a shell may become its last one instead of forking it.
        shell = subprocess.Popen(["sh", "-c", "/bin/true; " * PROGRAMS + "exec /bin/false"])
        shell.wait()
        subprocess.run(["/bin/echo"], stdout=subprocess.DEVNULL, check=True)
        time.sleep(0.2)
        watch.terminate()
        events = [json.loads(line) for line in watch.stdout]
    return sum(event["ppid"] == shell.pid and event["cmd"] == "true" for event in events)


def wait_until_it_tells(watch: subprocess.Popen[str]) -> None:
    """Run programs until one of them is told: it listens."""
    assert watch.stdout is not None
    deadline = time.monotonic() + READY_S
    while not select.select([watch.stdout], [], [], 0.05)[0]:
        assert time.monotonic() < deadline, "watch tells of nothing"
        subprocess.run(["/bin/echo"], stdout=subprocess.DEVNULL, check=True)
    time.sleep(0.1)


def main() -> None:
    """Run the rounds, print the sum."""
    numbers = [argument for argument in sys.argv[1:] if argument.isdecimal()]
    options = [argument for argument in sys.argv[1:] if not argument.isdecimal()]
    rounds = int(numbers[0]) if numbers else ROUNDS
    named = sum(one_round(options) for _ in range(rounds))
    print(f"{named} of {rounds * PROGRAMS} named right {' '.join(options)}")


if __name__ == "__main__":
    main()
