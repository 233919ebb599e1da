"""The event log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acclimate.daemon.events import EventLog


def test_events_are_lines_in_order_and_are_told(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    log = EventLog(tmp_path / "events.jsonl", told.append)
    log.write("round_started", id="a1")
    log.write("round_ended", id="a1", reasons=["ungenügend"])
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert rows == told == log.events
    assert [row["event"] for row in rows] == ["round_started", "round_ended"]
    assert 0 <= rows[0]["t"] <= rows[1]["t"] < 60
    assert rows[0]["time"] <= rows[1]["time"]


def test_a_restart_appends(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        EventLog(path, lambda _: None).write("started")
    assert len(path.read_text().splitlines()) == 2


def test_a_disk_that_refuses_costs_lines_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[dict[str, Any]] = []
    EventLog(tmp_path / "no" / "such" / "events.jsonl", told.append).write("swapped", id="a2")
    assert told[0]["id"] == "a2"
    assert "events.jsonl" in capsys.readouterr().err
