"""Metrics, events, inbox, the window, the ledger over several lives."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.configs.schema import DaemonConfig
from acclimate.daemon import serving as serving_module
from acclimate.daemon.events import EventLog
from acclimate.daemon.http import Window
from acclimate.daemon.inbox import Inbox
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.serving import Serving
from acclimate.errors import ConfigError, EngineError

NAMES = (
    "acclimate_frames_total", "acclimate_frame_latency_seconds_bucket", "acclimate_drift_ratio",
    "acclimate_buffer_entries", "acclimate_buffer_bytes", "acclimate_rounds_total",
    "acclimate_round_duration_seconds_bucket", "acclimate_active_adapter_info",
    "acclimate_swaps_total", "acclimate_rollbacks_total", "acclimate_swap_gap_seconds_bucket",
    "acclimate_last_swap_timestamp_seconds", "acclimate_confidence_ratio",
)  # fmt: skip


def lived_in() -> Metrics:
    """Metrics with every label used."""
    metrics = Metrics()
    metrics.frames.labels("served").inc(3)
    metrics.rounds.labels("refused").inc()
    metrics.swaps.labels("done").inc()
    metrics.rollbacks.labels("histogram_js").inc()
    metrics.serving("a0001")
    metrics.serving("a0002")
    return metrics


def test_every_name_is_there_and_one_adapter_is_active() -> None:
    text = lived_in().text().decode()
    assert [name for name in NAMES if f"\n{name}" not in text] == []
    assert 'adapter="a0002"} 1.0' in text
    assert "a0001" not in text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=lived_in().text(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_events_are_lines_and_a_full_disk_costs_only_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[dict[str, Any]] = []
    log = EventLog(tmp_path / "events.jsonl", told.append)
    log.write("swapped", id="a1")
    row = json.loads((tmp_path / "events.jsonl").read_text())
    assert (row["event"], row["id"]) == ("swapped", "a1")
    EventLog(tmp_path / "no" / "such" / "folder.jsonl", told.append).write("swapped", id="a2")
    assert [event["id"] for event in told] == ["a1", "a2"]
    assert "folder.jsonl" in capsys.readouterr().err


def test_the_inbox_keeps_order_and_drops_rubbish(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    for number in range(3):
        inbox.put({"n": number})
    (tmp_path / "inbox" / "0.json").write_text("{")
    assert [command["n"] for command in inbox.take()] == [0, 1, 2]
    assert inbox.take() == []


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Window]:
    (tmp_path / "latest.jpg").write_bytes(b"picture")
    status = {"active": "base", "source": "live"}
    one = Window("127.0.0.1", 0, tmp_path, lambda: status, lambda: b"metrics")
    yield one
    one.close()


def get(window: Window, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{window.port}{path}", timeout=5) as answer:
        return bytes(answer.read())


def test_the_window_shows_what_there_is(window: Window) -> None:
    assert b"<h1>acclimate</h1>" in get(window, "/")
    assert get(window, "/metrics") == b"metrics"
    assert json.loads(get(window, "/status"))["active"] == "base"
    assert get(window, "/latest.jpg?123") == b"picture"
    assert get(window, "/healthz") == b"source live\n"
    with pytest.raises(urllib.error.HTTPError) as failed:
        get(window, "/etc/passwd")
    failed.value.close()
    assert failed.value.code == 404


def test_a_port_in_use_is_a_configuration_error(window: Window, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"daemon\.http_port"):
        Window("127.0.0.1", window.port, tmp_path, dict, bytes)


class FakeChild:
    """A serving process that says what it is told to."""

    said: list[dict[str, Any]] = []
    exit_code: int | None = None

    def __init__(self, *_: object) -> None:
        self.exit_code = None

    def events(self) -> list[dict[str, Any]]:
        said, FakeChild.said = FakeChild.said, []
        return said


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serving:
    monkeypatch.setattr(serving_module, "Child", FakeChild)
    return Serving(DaemonConfig(max_restarts=2), tmp_path, [], Metrics())


def totals(captured: int, served: int, **dropped: int) -> dict[str, Any]:
    return {"captured": captured, "served": served, "dropped": dropped}


def die(serving: Serving, code: int) -> None:
    assert isinstance(serving._child, FakeChild)
    serving._child.exit_code = code
    assert serving.died()


def test_ledgers_add_up_over_a_crash(serving: Serving) -> None:
    serving.start("base")
    FakeChild.said = [{"event": "stats", **totals(10, 7, superseded=2)}]
    serving.events()
    die(serving, -9)
    serving.start("base")
    FakeChild.said = [{"event": "done", "ledger": totals(5, 5), "reason": "stopped"}]
    serving.events()
    assert serving.ended
    assert serving.ledger == {
        "captured": 15, "served": 12, "dropped": {"superseded": 2, "runtime_died": 1},
        "balanced": True,
    }  # fmt: skip
    text = SimpleNamespace(text=serving._metrics.text().decode()).text
    assert 'acclimate_frames_total{outcome="served"} 12.0' in text


def test_the_restart_budget_is_kept(serving: Serving) -> None:
    for _ in range(2):
        serving.start("base")
        die(serving, 1)
    with pytest.raises(EngineError, match=r"died 2 times.*runtime\.log"):
        serving.start("base")
