"""Imports run in one direction, and a one-shot query loads little."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import proc_cache

PACKAGE = Path(proc_cache.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# From low to high: a module imports its own layer and those above it in this list, nothing else of ours.
LAYERS = [
    {"version", "record", "errors", "closing"},
    {"times"},
    {"events", "process"},
    {"query"},
    {"selection"},
    {"lineage"},
    {"kernel"},
    {"engine.identity"},
    {"engine.losses", "engine.stats", "engine.table", "engine.tree", "engine.view", "engine.cache"},
    {"engine.scan", "engine.records", "engine.floods", "engine.messages"},
    {"engine.intake"},
    {"engine.core", "engine.collector"},
    # Beside each other: the engine knows neither who asks it nor who writes down what it saw.
    {"service.encoding", "service.address", "service.notify"},
    {"service"},
    {"history"},
    {"render"},
    {"api"},
    {"cli"},
    {"__main__"},
]


def layer(module: str) -> int:
    """The place of a module in the list; a package stands for what is in it."""
    for place, members in enumerate(LAYERS):
        if module in members or module.partition(".")[0] in members:
            return place
    raise AssertionError(f"{module} is in no layer: give it one")


def is_for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(module: str) -> set[str]:
    """What a module imports when it is imported or run, `TYPE_CHECKING` aside: names in full."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    package = f"proc_cache.{module}".rstrip(".")
    if MODULES[module].name != "__init__.py":
        package = package.rpartition(".")[0]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *([base] if base else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if name.removeprefix("proc_cache.") in MODULES else base)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt) and is_for_types_only(child):
                assert isinstance(child, ast.If)
                pending.extend(child.orelse)
            else:
                pending.append(child)
    return found


def imported_of_ours(module: str) -> set[str]:
    ours = (name for name in imported(module) if name.partition(".")[0] == "proc_cache")
    return {name.removeprefix("proc_cache").lstrip(".") for name in ours} - {""}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {""}))
def test_imports_run_one_way(module: str) -> None:
    for name in imported_of_ours(module):
        if name != "engine":  # the package alone: `from ..engine import x` would name x
            assert layer(name) <= layer(module), f"{module} imports {name}, which stands above it"


def test_the_package_itself_imports_only_its_version() -> None:
    assert imported_of_ours("") == {"version"}


def test_no_imports_in_a_circle() -> None:
    done: set[str] = set()
    while len(done) < len(MODULES) - 1:
        ready = {
            module
            for module in MODULES
            if module and module not in done and imported_of_ours(module) <= done | {"engine"}
        }
        assert ready, f"a circle among {sorted(set(MODULES) - done)}"
        done |= ready


def test_the_reader_of_imports_sees_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests above are only as good as this: functions, relative forms and type checking."""
    source = tmp_path / "probe.py"
    source.write_text(
        "import os.path\nfrom . import wire\nfrom .. import query\nfrom ..errors import X\n"
        "if TYPE_CHECKING:\n    from ..api import Y\nelse:\n    from .users import Z\n"
        "def f():\n    try:\n        from ..cli import main\n    finally:\n        pass\n"
    )
    monkeypatch.setitem(MODULES, "kernel.probe", source)
    names = {
        "os.path",
        *(f"proc_cache.{n}" for n in ("kernel.wire", "query", "errors", "kernel.users", "cli.main")),
    }
    assert imported("kernel.probe") == names


@pytest.mark.parametrize(
    "module",
    [
        *("kernel.wire", "kernel.exit_record", "events", "process", "errors", "record", "query"),
        *("service.encoding", "service.protocol", "service.stream"),
    ],
)
def test_pure_modules(module: str) -> None:
    outside = {name.partition(".")[0] for name in imported(module)} - {"proc_cache", "__future__"}
    assert outside <= {"functools", "marshal", "struct", "typing"}


def test_renderers_open_nothing() -> None:
    for module in MODULES:
        if module.startswith("render."):
            outside = {name.partition(".")[0] for name in imported(module)}
            assert not outside & {"os", "io", "socket", "subprocess", "pathlib", "pyroute2"}, module
            assert not {name for name in imported_of_ours(module) if name.startswith(("kernel", "engine"))}, module


def test_pyroute2_is_imported_where_sockets_are_opened_and_late() -> None:
    importers = {
        module for module in MODULES if any(name.partition(".")[0] == "pyroute2" for name in imported(module))
    }
    assert importers == {"kernel.netlink", "kernel.taskstats"}


CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "clock_gettime", "clock_gettime_ns", "perf_counter"}


def reads_a_clock(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "time" and node.attr in CLOCKS:
                return True
            if node.value.id == "datetime" and node.attr in ("now", "utcnow", "today"):
                return True
    return False


def test_one_module_reads_clocks() -> None:
    assert {module for module, path in MODULES.items() if reads_a_clock(path)} == {"kernel.clocks"}


ONE_SHOT = [
    "proc_cache.cli.chain",
    "proc_cache.cli.complete",
    "proc_cache.service.client",
    "proc_cache.query",
    "proc_cache.engine.view",
    "proc_cache.render.chain",
]
TOO_SLOW = {
    "rich",
    "pyroute2",
    "cachetools",
    "dataclasses",
    "typing",
    "json",
    "socket",
    "inspect",
    "re",
    "asyncio",
}


def loaded_by(*modules: str) -> set[str]:
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); before = set(sys.modules)\n"
        f"import {', '.join(modules)}\n"
        "loaded = sorted(set(sys.modules) - before)\n"
        "import json; print(json.dumps(loaded))"
    )
    run = [sys.executable, "-I", "-S", "-c", code]  # -S: what a site's own hooks load is not ours
    return set(json.loads(subprocess.run(run, capture_output=True, check=True).stdout))


def test_a_one_shot_chain_loads_little() -> None:
    loaded = loaded_by(*ONE_SHOT)
    assert set(ONE_SHOT) <= loaded
    assert not loaded & TOO_SLOW


def test_importing_the_package_loads_nothing_of_it() -> None:
    assert {name for name in loaded_by("proc_cache") if "." in name} == {"proc_cache.version"}
