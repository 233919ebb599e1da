"""The event log, read back while it is written."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from acclimate.daemon.journal import follow, history, read, wanted


def line(event: str, time: float, **more: object) -> str:
    return json.dumps({"event": event, "t": 0.0, "time": time, **more}) + "\n"


def test_what_was_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    assert list(read(log)) == []
    log.write_text(line("a", 1) + line("b", 2) + line("a", 3))
    assert [one["time"] for one in read(log)] == [1, 2, 3]
    assert [one["time"] for one in read(log, since=2)] == [2, 3]
    assert [one["time"] for one in read(log, kind="a", since=2)] == [3]


@pytest.mark.parametrize(
    "torn", ["", "{", "[1]", "null", '{"t": 1}', '{"event": 7}', "[" * 100000, '{"event": "a"']
)
def test_torn_lines_are_left_out(tmp_path: Path, torn: str) -> None:
    log = tmp_path / "events.jsonl"
    log.write_text(torn + "\n" + line("a", 1))
    assert [one["time"] for one in read(log)] == [1]
    log.write_bytes(b"\xff\xfe\n" + line("a", 1).encode())
    assert len(list(read(log))) == 1


def test_an_event_without_a_time_is_of_no_time() -> None:
    assert wanted('{"event": "a"}') == {"event": "a"}
    assert wanted('{"event": "a"}', since=1.0) is None
    assert wanted('{"event": "a", "time": "noon"}', since=1.0) is None


def test_the_history_is_whole_rows_of_changes(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    whole = {"actor": "gate", "from": "base", "to": "a1", "reason": "r"}
    log.write_text(line("served", 1, **whole) + line("served", 2) + line("swapped", 3, **whole))
    assert list(history(log)) == [{"time": 1, **whole}]


def test_following(tmp_path: Path) -> None:
    log, seen, more = tmp_path / "events.jsonl", list[float](), threading.Event()

    def watch() -> None:
        for event in follow(log, kind="a", pause=0.005):
            seen.append(event["time"])
            more.set()
            if event["time"] == 4:
                return

    def wait(for_: list[float]) -> None:
        while seen != for_:
            assert more.wait(10), seen
            more.clear()

    thread = threading.Thread(target=watch)
    thread.start()
    log.write_text(line("a", 1))
    wait([1])
    with log.open("a") as file:
        file.write(line("b", 2) + line("a", 2)[:9])
        file.flush()
        file.write(line("a", 2)[9:])
    wait([1, 2])
    fresh = tmp_path / "fresh"
    fresh.write_text(line("a", 3))
    fresh.replace(log)
    wait([1, 2, 3])
    with log.open("a") as file:
        file.write(line("a", 4))
    thread.join(10)
    assert seen == [1, 2, 3, 4]


def test_changes_of_odd_kinds_are_none(tmp_path: Path) -> None:
    log, sound = tmp_path / "events.jsonl", {"actor": "gate", "from": "a1", "to": "a2"}
    odd: list[dict[str, object]] = [{"reason": None}, {"reason": 3}, {}, {"reason": ["x"]}]
    rows = [line("served", 1, **sound, **more) for more in [*odd, {"reason": "better"}]]
    log.write_text(line("served", "soon", **sound, reason="better") + "".join(rows))  # type: ignore[arg-type]
    assert [one["reason"] for one in history(log)] == ["better"]
