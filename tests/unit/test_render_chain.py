"""render/chain.py: the one-line form."""

from __future__ import annotations

import pytest

from proc_cache import query
from proc_cache.process import Process, Source
from proc_cache.render.chain import ChainTexts, chain_text, walk_text
from tests.helpers.frozen import chain, process
from tests.helpers.story import Story

ROOT = process(1, 0, cmd="systemd")


def test_a_chain() -> None:
    links = [process(102, 101, cmd="touch"), process(101, 100), process(100, 1, cmd="openclaw"), ROOT]
    assert chain_text(chain(*links)) == "102|touch|root;101|sh|root;100|openclaw|root;1|systemd|root"


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (process(10, cmd=None, source=Source.FORK, user=None), "10|unknown|unknown"),
        (process(10, cmd="unknown", user="unknown"), r"10|\x75nknown|\x75nknown"),
        (process(10, source=Source.UNREAD), "10|sh?|root"),
        (process(10, cmd="sh?"), r"10|sh\x3f|root"),
        (process(10, cmd=None, source=Source.UNREAD), "10|unknown|root"),
        (process(10, cmd=""), "10||root"),
        (process(10, cmd="a|b;c\\\n"), r"10|a\x7cb\x3bc\x5c\x0a|root"),
        (process(10, generations_left_out=7), "10|sh|root;...7 left out..."),
    ],
)
def test_links(link: Process, text: str) -> None:
    assert chain_text(chain(link, ROOT)) == f"{text};1|systemd|root"


def test_a_parent_that_is_missing() -> None:
    assert chain_text(chain(process(10, 9), missing_pid=9, reason="gone")) == "10|sh|root;9|unknown|unknown"
    assert chain_text(chain(missing_pid=99999, reason="nobody")) == "99999|unknown|unknown"


def test_the_first_as_it_was_at_its_event() -> None:
    story = Story()
    story.fork(0, 10)
    story.comm(10, b"before")
    story.uid(10, 0)
    then = story.view.describe(story.node(10))
    story.comm(10, b"after")
    walked = query.walk(story.view, 10)
    assert walk_text(story.view, walked) == "10|after|root"
    assert walk_text(story.view, walked, itself=then) == "10|before|root"


def test_walks_that_share_ancestors() -> None:
    story = Story()
    for parent, child in ((0, 1), (1, 10), (10, 11), (10, 12), (11, 13)):
        story.fork(parent, child)
    texts = ChainTexts(story.view)
    for pid in (13, 11, 12, 1, 10, 13, 99):
        walked = query.walk(story.view, pid)
        assert texts.text(walked) == walk_text(story.view, walked)


def test_an_ancestor_that_is_missing_is_told_with_each() -> None:
    story = Story()
    story.fork(500, 10)
    for child in (11, 12):
        story.fork(10, child)
    texts = ChainTexts(story.view)
    assert texts.text(query.walk(story.view, 11)).endswith(";500|unknown|unknown")
    assert texts.text(query.walk(story.view, 12)).endswith(";500|unknown|unknown")
    assert texts.text(query.walk(story.view, 500)) == "500|unknown|unknown"


def test_the_process_of_an_event_is_written_anew_each_time() -> None:
    story = Story()
    for parent, child in ((0, 1), (1, 10), (10, 11)):
        story.fork(parent, child)
    texts = ChainTexts(story.view)
    for name in (b"before", b"after"):
        story.comm(11, name)
        for pid in (11, 10, 1):
            walked = query.walk(story.view, pid)
            assert texts.text_of_event(walked) == walk_text(story.view, walked)
