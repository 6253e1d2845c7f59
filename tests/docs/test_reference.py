"""What the reference names is what there is, and every link in the documents leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import proc_cache
from proc_cache.cli import exit_status
from proc_cache.events import KINDS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def names_in(page: str) -> set[str]:
    """The words within backquotes."""
    spans = re.findall(r"`([^`]+)`", (REFERENCE / page).read_text())
    return {word for span in spans for word in re.findall(r"\w+", span)}


def json_keys() -> set[str]:
    """The keys that the renderers write, by their source: some are in few answers."""
    found: set[str] = set()
    for name in ("jsonlines.py", "json_tree.py", "events.py"):
        source = (ROOT / "proc_cache" / "render" / name).read_text()
        for form in (r'"([a-z_]+)": ', r'result\["([a-z_]+)"\]', r'_set_texts?\(result, "([a-z_]+)"'):
            found.update(re.findall(form, source))
    return found


def test_every_field_of_json_is_in_its_reference() -> None:
    keys = json_keys()
    assert {"pid", "full_name", "cmdline_cut", "complete", "matched_by", "still_running", "event"} <= keys
    assert keys <= names_in("json.md")


def test_every_event_is_in_its_reference() -> None:
    assert set(KINDS) <= names_in("events.md")


def test_every_public_name_is_in_the_reference_of_the_library() -> None:
    assert set(proc_cache.__all__) - {"__version__"} <= names_in("library.md")


def test_every_exit_status_is_in_its_reference() -> None:
    statuses = {str(value) for value in vars(exit_status).values() if type(value) is int}
    rows = re.findall(r"^\| ([\d, ]+) \|", (REFERENCE / "exit-statuses.md").read_text(), re.MULTILINE)
    assert statuses <= {status for row in rows for status in row.split(", ")}


def _anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name}: {link}"


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = ROOT / "docs" / "README.md"
    linked = {(contents.parent / link).resolve() for link in LINK.findall(contents.read_text())}
    missing = [page for page in PAGES if page not in (ROOT / "README.md", contents) and page not in linked]
    assert not missing
