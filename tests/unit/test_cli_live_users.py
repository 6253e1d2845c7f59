"""cli/live_users.py: which users a filter means."""

from __future__ import annotations

import pytest

from proc_cache.cli.live_users import LiveUsers
from proc_cache.service.picture_feed import UIDS_MAX
from tests.helpers.told import a_node


@pytest.fixture
def users() -> LiveUsers:
    return LiveUsers()


@pytest.mark.parametrize(
    ("text", "has_root", "has_nobody"), [("root", True, False), ("NOBOD", False, True), ("o", True, True)]
)
def test_users_by_a_part_of_their_name(users: LiveUsers, text: str, has_root: bool, has_nobody: bool) -> None:
    found = users.uids_named(text)
    assert (0 in found, 65534 in found) == (has_root, has_nobody)


def test_no_text_means_nobody(users: LiveUsers) -> None:
    assert users.uids_named("") == ()


def test_users_without_an_entry_are_known_when_they_were_seen(users: LiveUsers) -> None:
    assert users.uids_named("4242424") == ()
    assert users.user(a_node(uid=4242424)) == "4242424"
    assert users.uids_named("4242424") == (4242424,)


def test_there_are_no_more_than_an_engine_takes(users: LiveUsers) -> None:
    for uid in range(4_200_000, 4_200_000 + UIDS_MAX + 5):
        users.user(a_node(uid=uid))
    assert len(users.uids_named("4200")) == UIDS_MAX


def test_a_process_with_the_parent_that_adopted_it(users: LiveUsers) -> None:
    assert users.freeze_as_told(a_node(parent=a_node(7))).current_ppid == 7
    assert users.freeze_as_told(a_node(parent=a_node(7), adopter_pid=1)).current_ppid == 1
