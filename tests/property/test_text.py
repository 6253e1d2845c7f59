"""No name can move the cursor, forge a line or a field, or crash a renderer."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from proc_cache import query
from proc_cache.process import Node, Source, decode_name
from proc_cache.render import jsonlines
from proc_cache.render.chain import chain_text, walk_text
from proc_cache.render.escape import CHAIN_DELIMITERS, escape, escape_chain, unescape
from proc_cache.render.style import PLAIN
from proc_cache.render.table import draw_table
from proc_cache.render.tree import draw_chain, draw_forest
from tests.helpers.story import BEGINNING_NS, Story

HARMFUL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

ALL_TEXT = st.text(alphabet=st.characters(exclude_categories=()))  # lone surrogates included
NASTY = st.sampled_from("\\|;?\n\r\t\0\x1b\x7f\x9b\u202e\u2066\u2028\u200b\ufeff\udcff\udc80\ud800ux0 ")
TEXTS = ALL_TEXT | st.text(alphabet=NASTY) | st.just("unknown")
# What a kernel can hold: any bytes but NUL, 15 of them.
COMMS = st.binary(max_size=15).map(lambda raw: raw.replace(b"\0", b"?")) | st.sampled_from(
    [
        b"unknown",
        b"?",
        b"x|root;1|init",
        b"\x1b[2J\x1b[H",
        b"a\nb",
        b"\xff\xfe",
        "\u202e".encode(),
        b"...5 left out...",
    ]
)


def assert_harmless(text: str) -> None:
    assert text.isprintable()
    for char in text:
        assert unicodedata.category(char) not in HARMFUL, f"{char!r} in {text!r}"
        assert unicodedata.bidirectional(char) not in BIDI


@given(TEXTS)
@example("\\x41")
@example("\x80\udc80")
def test_escape_is_reversible_and_harmless(text: str) -> None:
    assert unescape(escape(text)) == text
    assert_harmless(escape(text))


@given(TEXTS)
def test_escape_chain_is_reversible_harmless_and_free_of_delimiters(text: str) -> None:
    escaped = escape_chain(text)
    assert unescape(escaped) == text
    assert_harmless(escaped)
    assert not set(escaped) & set(CHAIN_DELIMITERS)
    assert escaped != "unknown"
    assert not escaped.endswith("?")


@given(TEXTS, TEXTS)
def test_different_names_look_different(first: str, second: str) -> None:
    assert (escape_chain(first) == escape_chain(second)) is (first == second)
    assert (escape(first) == escape(second)) is (first == second)


def family(names: list[bytes], users: list[str], sources: list[str]) -> Story:
    """A chain of these, the first at its bottom; pid 100 and up."""
    story = Story()
    parent: Node | None = None
    count = len(names)
    for place in reversed(range(count)):
        ppid = 0 if parent is None else parent.pid
        name, source = decode_name(names[place]), sources[place % len(sources)]
        node = Node(
            100 + place, BEGINNING_NS - place, ppid, Source.FORK, parent, name, source, users[place % len(users)]
        )
        node.cmdline = names[place] + b"\0" + names[0] + b"\0"
        story.table.add(node)
        parent = node
    return story


FAMILIES = st.builds(
    family,
    st.lists(COMMS, min_size=1, max_size=6),
    st.lists(
        st.sampled_from(["root", "unknown", "a|b", "x;y", "\x1b[31m", "eve?", "\udcff"]), min_size=1, max_size=4
    ),
    st.lists(st.sampled_from([Source.EXEC, Source.UNREAD, Source.INHERITED, Source.FORK]), min_size=1, max_size=3),
)


@given(FAMILIES)
def test_a_chain_splits_into_its_fields(story: Story) -> None:
    chain = query.chain(story.view, 100)
    text = chain_text(chain)
    assert text == walk_text(story.view, query.walk(story.view, 100))
    assert_harmless(text)
    fields = [link.split("|") for link in text.split(";")]
    assert [len(parts) for parts in fields] == [3] * len(chain.links)
    for (pid, name, user), link in zip(fields, chain.links, strict=True):
        assert int(pid) == link.pid
        assert link.user is not None
        assert unescape(user) == link.user
        if link.cmd is None:
            assert name == "unknown"
        else:
            is_old = link.source == Source.UNREAD
            assert name.endswith("?") is is_old
            assert unescape(name.removesuffix("?")) == link.cmd


@given(FAMILIES)
def test_drawings_are_one_line_a_process_and_harmless(story: Story) -> None:
    chain = query.chain(story.view, 100)
    processes = list(chain.links)
    lines = draw_chain(chain, PLAIN).split("\n")
    assert len(lines) == len(processes)
    forest = list(draw_forest(processes, PLAIN))
    assert len(forest) == len(processes)
    table = list(draw_table(processes, PLAIN))
    assert len(table) == 1 + len(processes)
    for line in [*lines, *forest, *table]:
        assert_harmless(line)


@given(FAMILIES)
def test_json_is_ascii_on_one_line_and_exact(story: Story) -> None:
    text = jsonlines.line(jsonlines.chain_object(query.chain(story.view, 100), None))
    assert text.isascii()
    assert text.isprintable()
    for parsed, link in zip(json.loads(text)["links"], query.chain(story.view, 100).links, strict=True):
        if link.cmd is None:
            assert parsed["cmd"] is None
        else:
            raw = link.cmd.encode("utf-8", "surrogateescape")
            assert parsed["cmd"] == raw.decode("utf-8", "replace")
            assert ("cmd_raw" in parsed) is (parsed["cmd"].encode() != raw)
