"""What is generated from the command line's declarations is what is in the repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers.shells import load_generator

ROOT = Path(__file__).parents[2]


def test_generated_files_are_up_to_date() -> None:
    for path, text in load_generator().generate(ROOT).items():
        assert path.read_text() == text, f"{path} is old: run `python docs/generate.py`"


def test_pictures_are_up_to_date(tmp_path: Path) -> None:
    """By a process of its own, which sets the time zone."""
    (tmp_path / "docs").mkdir()
    subprocess.run([sys.executable, str(ROOT / "docs" / "pictures.py"), str(tmp_path)], check=True, cwd=ROOT)
    drawn = {path.name: path.read_text() for path in (tmp_path / "docs" / "pictures").iterdir()}
    kept = {path.name: path.read_text() for path in (ROOT / "docs" / "pictures").iterdir()}
    assert drawn.keys() == kept.keys()
    old = [name for name in drawn if drawn[name] != kept[name]]
    assert not old, f"{old} are old: run `python docs/pictures.py`"


@pytest.mark.parametrize(
    ("shell", "file"), [("bash", "proc-cache.bash"), ("zsh", "_proc-cache"), ("fish", "proc-cache.fish")]
)
def test_completions_parse(shell: str, file: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    subprocess.run([shell, "-n", str(ROOT / "completions" / file)], check=True)


def test_a_kind_follows_from_what_help_calls_it() -> None:
    generator = load_generator()
    option = generator.Option(("--under",), "PID[@TIME]|CMD", (), "Only what is under this.")
    command = generator.Command("find", "Find.", (generator.Argument("FILE...", ""),), (option,))
    nothing = generator.Command("", "", (), ())
    bash, zsh, fish = (
        write((nothing, command))
        for write in (generator.bash_completion, generator.zsh_completion, generator.fish_completion)
    )
    assert "'find --under') kind='targets'" in bash
    assert "--under=[Only what is under this.]:PID[@TIME]|CMD:_proc_cache_targets" in zsh
    assert "-l under -x -k -a '(__proc_cache_targets)'" in fish
    assert "'find '*) kind=files" in bash
    assert "'*:files:_files'" in zsh


def test_no_mark_is_left_in_what_is_generated() -> None:
    for path, text in load_generator().generate(ROOT).items():
        assert not re.search(r"@[A-Z]+@", text), path


def test_the_man_page_is_set_without_a_warning() -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff on this machine")
    page = ROOT / "docs" / "man" / "proc-cache.1"
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", page], capture_output=True, text=True, check=True)
    assert not done.stderr
    assert "proc-cache descendant [OPTIONS] PID CMD" in re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)


def test_a_wheel_carries_completions_and_man_page() -> None:
    """To where the shells and man(1) look for them below a prefix."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert {ROOT / source for source in shared} == {
        path for path in load_generator().generate(ROOT) if path.suffix != ".md"
    }
    assert sorted(shared.values()) == [
        "share/bash-completion/completions/proc-cache",
        "share/fish/vendor_completions.d/proc-cache.fish",
        "share/man/man1/proc-cache.1",
        "share/zsh/site-functions/_proc-cache",
    ]
