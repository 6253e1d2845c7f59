"""What is generated from the command line's declarations is what is in the repository."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_up_to_date() -> None:
    for path, text in _generator().generate(ROOT).items():
        assert path.read_text() == text, f"{path} is old: run `python docs/generate.py`"


@pytest.mark.parametrize(
    ("shell", "file"), [("bash", "proc-cache.bash"), ("zsh", "_proc-cache"), ("fish", "proc-cache.fish")]
)
def test_completions_parse(shell: str, file: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    subprocess.run([shell, "-n", str(ROOT / "completions" / file)], check=True)


def _complete_in_bash(words: list[str], fake_bin: Path) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""
        PATH={fake_bin}:$PATH
        source {ROOT}/completions/proc-cache.bash
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        _proc_cache
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return result.stdout.split("\n")[:-1]


def _fake_ps(folder: Path, output: str) -> Path:
    (folder / "ps").write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    (folder / "ps").chmod(0o755)
    return folder


def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    assert _complete_in_bash(["proc-cache", "de"], tmp_path) == ["descendant"]
    assert "--under" in _complete_in_bash(["proc-cache", "snapshot", "--"], tmp_path)
    assert _complete_in_bash(["proc-cache", "chain", "--format", "nd"], tmp_path) == ["ndjson"]


def test_bash_never_runs_the_name_of_a_process(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    fake = _fake_ps(tmp_path, f"sshd\n$(touch {marker})\n`touch {marker}`")
    names = _complete_in_bash(["proc-cache", "descendant", "1", ""], fake)
    assert "sshd" in names
    assert len(names) == 3
    assert not marker.exists()
