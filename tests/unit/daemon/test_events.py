"""The event log."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from acclimate.daemon import events as module
from acclimate.daemon.events import EventLog, append, older, read
from acclimate.daemon.journal import history
from benchmarks.crash_disk import Disk, Refusal


def test_events_are_lines_in_order_and_are_told(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    log = EventLog(tmp_path / "events.jsonl", told.append)
    log.write("round_started", id="a1")
    log.write("round_ended", id="a1", reasons=["ungenügend"])
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert rows == told == list(log.events)
    assert [row["event"] for row in rows] == ["round_started", "round_ended"]
    assert 0 <= rows[0]["t"] <= rows[1]["t"] < 60
    assert rows[0]["time"] <= rows[1]["time"]


def test_no_event_tells_a_cameras_password(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    log = EventLog(tmp_path / "events.jsonl", told.append)
    problems = ["source must be a mapping, not 'rtsp://anna:s3cret@camera/1'"]
    log.write("config_refused", problems=problems, more={"url": ("rtsp://anna:s3@cret@camera",)})
    for text in (json.dumps(told), (tmp_path / "events.jsonl").read_text()):
        assert "cret" not in text
        assert text.count("camera") == 2


def test_a_log_of_zeros_costs_no_time_and_no_room(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(bytes(2**22))
    for _ in range(3):
        EventLog(path, lambda _: None).write("started")
    assert path.stat().st_size < 2**22 + 1000
    rows, torn = read(path)
    assert ([row["event"] for row in rows], len(torn)) == (["started"] * 3, 1)


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


def test_half_a_line_becomes_an_event_and_glues_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, lambda _: None)
    log.write("swapped", id="a1")
    with path.open("ab") as file:
        file.write(b'{"event": "rolled_ba' + b"x" * 10_000)
    log.write("swapped", id="a2")
    rows, torn = read(path)
    assert torn == []
    assert [row["event"] for row in rows] == ["swapped", "log_repaired", "swapped"]
    assert rows[1]["lost"].startswith('{"event": "rolled_ba')


def test_a_line_that_lacks_its_end_only_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "swapped"}')
    EventLog(path, lambda _: None).write("stopped")
    assert [row["event"] for row in read(path)[0]] == ["swapped", "stopped"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("at", [1, 2])
def test_a_line_is_there_whole_or_not_at_all(tmp_path: Path, number: int, at: int) -> None:
    path = tmp_path / "events.jsonl"
    append(path, {"event": "swapped", "t": 0, "time": 0})
    before = path.read_bytes()
    with Disk(tmp_path, Refusal(at, number)), pytest.raises(OSError):
        append(path, {"event": "stopped", "t": 0, "time": 0})
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b'{"no": 1}', b"\xff\x00", b"[" * 100_000])
def test_what_is_no_event_is_told_apart(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "a"}\n' + line + b'\n{"event": "b"}\n')
    rows, torn = read(path)
    assert ([row["event"] for row in rows], len(torn)) == (["a", "b"], 1)
    assert read(tmp_path / "none") == ([], [])


def test_it_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 4000)
    log, path = EventLog(tmp_path / "events.jsonl", lambda _: None), tmp_path / "events.jsonl"
    for number in range(200):
        log.write("served", actor="gate", **{"from": "a", "to": "b"}, reason=str(number))
    sizes = [one.stat().st_size for one in (path, older(path)) if one.exists()]
    assert sum(sizes) < 2 * 4000 + 200
    told = [int(row["reason"]) for row in history(path)]
    assert told == list(range(told[0], 200)), "the newest, and none twice"
    assert len(told) > 20
