"""The README's two commands: the first lines of code in it, and what CI runs."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def _commands() -> list[str]:
    blocks = (ROOT / "README.md").read_text().split("```sh\n")[1:]
    return [block.split("\n```")[0] for block in blocks]


def test_the_readme_opens_with_two_commands_of_one_line() -> None:
    main_job, tests = _commands()[:2]
    assert "proc-cache chain $$" in main_job
    assert tests.endswith("-m pytest")
    assert not any("\n" in command for command in (main_job, tests))


def test_ci_runs_exactly_the_readmes_test_command() -> None:
    assert f"    {_commands()[1]} 2>&1 | tee" in (ROOT / ".ci" / "run").read_text()
