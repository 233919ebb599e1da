"""`acclimate events`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from acclimate.daemon.cli import main
from acclimate.daemon.events import EventLog
from acclimate.daemon.tail import moment

Said = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    log = EventLog(tmp_path / "events.jsonl", lambda _: None)
    log.write("paused", seconds=60.0, actor="user anna via socket", reason="ferry")
    log.write("served", actor="gate", **{"from": "base"}, to="a1", reason="passed the gate")
    log.write("from_another_version", x=1)
    log.write("swapped", id="a1")
    return tmp_path


def events(state: Path, *words: str) -> int:
    return main(["events", *words, "--state", str(state)])


def test_as_sentences(state: Path, capsys: Said) -> None:
    assert events(state) == 0
    lines = [line[21:] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "no round starts for 60 s: ferry (by user anna via socket)",
        "from_another_version: x 1",
        "swapped: id a1",
    ], "what others say already is for the history"
    assert events(state, "--kind", "served") == 0
    assert "a1 serves instead of base: passed the gate (by gate)" in capsys.readouterr().out


def test_as_they_are(state: Path, capsys: Said) -> None:
    assert events(state, "--json", "--since", "1h") == 0
    kinds = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert kinds == ["paused", "served", "from_another_version", "swapped"]
    assert events(state, "--since", "2099-01-01") == 0
    assert capsys.readouterr().out == ""


def test_moments() -> None:
    assert moment("1h") == pytest.approx(time.time() - 3600, abs=10)
    assert time.localtime(moment("2026-11-21T20:15"))[:5] == (2026, 11, 21, 20, 15)
    with pytest.raises(ValueError, match="yesterday"):
        moment("yesterday")
