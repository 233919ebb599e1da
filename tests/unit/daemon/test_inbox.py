"""Commands as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.daemon.inbox import Inbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


def test_commands_are_taken_once_in_order(folder: Path) -> None:
    inbox = Inbox(folder)
    for number in range(3):
        Inbox(folder).put({"n": number})
    assert [command["n"] for command in inbox.take()] == [0, 1, 2]
    assert (inbox.take(), list(folder.iterdir())) == ([], [])


def test_they_can_be_taken_one_by_one(folder: Path) -> None:
    inbox = Inbox(folder)
    inbox.put({"n": 0})
    inbox.put({"n": 1})
    assert [inbox.take(1), inbox.take(1), inbox.take(1)] == [[{"n": 0}], [{"n": 1}], []]


def test_they_wait_for_a_daemon_that_is_not_there_yet(folder: Path) -> None:
    Inbox(folder).put({"do": "rollback"})
    assert Inbox(folder).take() == [{"do": "rollback"}]


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '"rollback"', "\x00"])
def test_rubbish_is_dropped(folder: Path, content: str) -> None:
    inbox = Inbox(folder)
    (folder / "0.json").write_text(content)
    (folder / "1.json").write_bytes(b"\xff\xfe")
    inbox.put({"n": 7})
    assert inbox.take() == [{"n": 7}]
    assert list(folder.iterdir()) == []


def test_a_half_written_command_is_not_seen(folder: Path) -> None:
    inbox = Inbox(folder)
    (folder / "0.json.tmp").write_text('{"do": "roll')
    assert inbox.take() == []
