"""Who holds a state folder, and where to ask; nothing is written to find out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from acclimate.daemon.hold import ask, configured_address, is_held, living
from acclimate.daemon.main import announce, only_one


def configured(state: Path, host: str = "127.0.0.1", port: int = 9109) -> None:
    told = {"daemon": {"http_host": host, "http_port": port}}
    (state / "config.json").write_text(json.dumps(told))


def test_a_folder_is_held_while_somebody_holds_it(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with only_one(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_the_note_tells_where_and_who(tmp_path: Path) -> None:
    assert living(tmp_path) is None
    announce(tmp_path / "daemon.json", "0.0.0.0", 81)
    note = json.loads((tmp_path / "daemon.json").read_text())
    assert note == {"pid": os.getpid(), "http": "http://127.0.0.1:81"}
    assert living(tmp_path) == os.getpid()


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"http": 7}', '{"pid": "x"}'])
def test_a_note_that_is_none(tmp_path: Path, note: str) -> None:
    (tmp_path / "daemon.json").write_text(note)
    assert ask(tmp_path) is None
    assert living(tmp_path) is None


def test_the_configuration_tells_while_the_folder_is_held(tmp_path: Path) -> None:
    configured(tmp_path, port=82)
    assert configured_address(tmp_path) is None
    with only_one(tmp_path):
        assert configured_address(tmp_path) == "http://127.0.0.1:82"
        (tmp_path / "config.json").write_text('{"daemon": 7}')
        assert configured_address(tmp_path) is None
