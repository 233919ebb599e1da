"""What Prometheus sees, read by its own parser and its own linter."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from acclimate.daemon import labels
from acclimate.daemon.metrics import Metrics

ROOT = Path(__file__).parents[3]
NAMES = {
    "acclimate_frames_total": {"outcome"},
    "acclimate_last_frame_timestamp_seconds": set(),
    "acclimate_source_state": {"state"},
    "acclimate_camera_up": {"camera"},
    "acclimate_picture_unfit": {"reason"},
    "acclimate_frame_latency_seconds": set(),
    "acclimate_drift_ratio": set(),
    "acclimate_drift_level_ratio": {"signal"},
    "acclimate_drift_alarm": set(),
    "acclimate_drift_alarms_total": set(),
    "acclimate_buffer_entries": set(),
    "acclimate_buffer_bytes": set(),
    "acclimate_rounds_total": {"verdict"},
    "acclimate_rounds_refused_in_a_row": set(),
    "acclimate_round_duration_seconds": set(),
    "acclimate_active_adapter_info": {"adapter"},
    "acclimate_adapters_quarantined": set(),
    "acclimate_adapter_gain": {"bound"},
    "acclimate_shadow_windows_total": {"verdict"},
    "acclimate_shadow_disagreement_ratio": {"region"},
    "acclimate_shadow_class_disagreement_ratio": {"class"},
    "acclimate_swaps_total": {"result"},
    "acclimate_rollbacks_total": {"reason"},
    "acclimate_swap_gap_seconds": set(),
    "acclimate_last_swap_timestamp_seconds": set(),
    "acclimate_confidence_ratio": set(),
    "acclimate_runtime_restarts_total": set(),
    "acclimate_started_timestamp_seconds": set(),
    "acclimate_vocabulary_classes": set(),
    "acclimate_vocabulary_strings": set(),
    "acclimate_vocabulary_changes_total": {"result"},
    "acclimate_trouble": set(),
    "acclimate_state_free_bytes": set(),
}
UNKNOWN_BEFOREHAND = {
    "acclimate_active_adapter_info", "acclimate_camera_up",
    "acclimate_shadow_class_disagreement_ratio",
}  # fmt: skip
ODD = [f"never heard of {i}" for i in range(20)]  # values that no label should take
CARD = {"over": "base", "gain": 2.0, "low": 1.5, "high": 2.6, "confidence": 0.9}
HISTOGRAMS = {name for name in NAMES if name.endswith("_seconds") and "timestamp" not in name}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def lived_in() -> Metrics:
    """Metrics with every label used."""
    metrics = Metrics()
    metrics.interval({
        "latency_ms": [12.0, 45.0], "confidence": [0.8, 0.6, 0.1],
        "buffer": {"entries": 5, "bytes": 1000},
    })  # fmt: skip
    for camera in ("front", "rear"):
        metrics.cameras.labels(camera).set(1)
    for outcome in (*labels.OUTCOMES, *ODD):
        metrics.frames.labels(outcome).inc(3)
    for verdict in (*labels.ROUNDS, *ODD):
        metrics.round(verdict, 25)
    for result in ("done", "refused"):
        metrics.swaps.labels(result).inc()
        metrics.rewordings.labels(result).inc()
    for reason in (*labels.ROLLBACKS, *ODD):
        metrics.rollbacks.labels(reason).inc()
    metrics.drifted({"distance": 1.5, "entropy": 2.0, "histogram": 0.1, "whole": 2.5}, True)
    metrics.gap.observe(0.0004)
    metrics.last_swap.set_to_current_time()
    metrics.serving("a0001")
    metrics.serving("a0002", CARD)
    for verdict in ("passed", "refused", "unfinished"):
        metrics.shadow(verdict, [[0.1, 0.2, 0.3]] * 3, {"pole": 0.5, **dict.fromkeys(ODD, 0.1)})
    return metrics


def values(metrics: Metrics) -> dict[tuple[str, str], float]:
    """(sample, its labels' values) -> value."""
    families = text_string_to_metric_families(metrics.text().decode())
    samples = (sample for family in families for sample in family.samples)
    return {(s.name, ",".join(s.labels.values())): s.value for s in samples}


def test_the_names_and_labels_are_exactly_these() -> None:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(lived_in().text().decode()):
        for sample in family.samples:
            name = sample.name
            if family.type == "histogram":
                name = family.name
            if not name.endswith("_created"):
                found.setdefault(name, set()).update(set(sample.labels) - {"le"})
    assert found == NAMES


def test_times_are_histograms_in_seconds() -> None:
    families = text_string_to_metric_families(lived_in().text().decode())
    assert {family.name for family in families if family.type == "histogram"} == HISTOGRAMS


def test_one_adapter_is_active() -> None:
    seen = {label for name, label in values(lived_in()) if name == "acclimate_active_adapter_info"}
    assert seen == {"a0002"}


def test_what_serves_shows_what_it_earned_and_nothing_else_does() -> None:
    metrics = lived_in()
    seen = values(metrics)
    assert [seen["acclimate_adapter_gain", bound] for bound in ("estimate", "low", "high")] == [
        2.0, 1.5, 2.6,
    ]  # fmt: skip
    metrics.serving("base")
    seen = values(metrics)
    assert all(math.isnan(seen["acclimate_adapter_gain", bound]) for bound in labels.BOUNDS)


def test_a_window_shows_nine_regions_and_only_its_own_classes() -> None:
    metrics = lived_in()
    metrics.shadow("passed", [[0.0] * 3] * 3, {"sign": 0.1})
    told = {label for name, label in values(metrics) if name.endswith("_disagreement_ratio")}
    assert len(told) == 9 + 1
    assert "pole" not in told


def test_an_interval_is_in_seconds_and_shares() -> None:
    seen = values(lived_in())
    assert seen["acclimate_frame_latency_seconds_sum", ""] == pytest.approx(0.057)
    assert seen["acclimate_frame_latency_seconds_bucket", "0.02"] == 1
    assert seen["acclimate_confidence_ratio", ""] == 0.8
    assert (seen["acclimate_buffer_entries", ""], seen["acclimate_buffer_bytes", ""]) == (5, 1000)


def test_an_interval_without_frames_keeps_the_last_confidence() -> None:
    metrics = lived_in()
    metrics.interval({"latency_ms": [], "buffer": {"entries": 6, "bytes": 1}})
    assert values(metrics)["acclimate_confidence_ratio", ""] == 0.8


def test_two_daemons_in_one_process_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.drift.set(9)
    assert values(other)["acclimate_drift_ratio", ""] == 0


def exposed(metrics: Metrics) -> dict[str, dict[str, set[str]]]:
    """sample -> label -> its values; what the client adds of itself left out."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                known = found.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    known.setdefault(label, set()).add(value)
    return found


def test_no_label_has_ten_values_whatever_comes() -> None:
    crowded = {
        (name, label): seen
        for name, of_labels in exposed(lived_in()).items()
        for label, seen in of_labels.items()
        if len(seen) >= 10
    }
    assert crowded == {}


def test_what_nobody_has_heard_of_is_other() -> None:
    seen = values(lived_in())
    assert seen["acclimate_frames_total", "other"] == 3 * (1 + len(ODD))
    assert seen["acclimate_rollbacks_total", "other"] == 1 + len(ODD)


def test_no_series_is_missing_before_anything_happened() -> None:
    def series(metrics: Metrics) -> set[tuple[str, str]]:
        return {one for one in values(metrics) if one[0] not in UNKNOWN_BEFOREHAND}

    assert series(Metrics()) == series(lived_in())


def test_before_anything_happened_everything_is_0_and_nothing_was_earned() -> None:
    fresh = {one: n for one, n in values(Metrics()).items() if not one[0].endswith("_created")}
    earned = {one: fresh.pop(one) for one in list(fresh) if one[0] == "acclimate_adapter_gain"}
    assert fresh.pop(("acclimate_started_timestamp_seconds", "")) <= time.time()
    assert set(fresh.values()) == {0}
    assert all(math.isnan(n) for n in earned.values())


def test_every_reason_to_drop_a_frame_has_a_name() -> None:
    code = "".join(path.read_text() for path in (ROOT / "runtime").rglob("*.py"))
    told = set(re.findall(r'(?:ledger\.drop\(|flaw=)"(\w+)"', code))
    assert told >= {"superseded", "corrupt", "no_picture"}
    assert told <= set(labels.OUTCOMES), "add it to daemon/labels.py, or fold two that are alike"


def test_rounds_refused_in_a_row_are_counted_until_one_brings_something() -> None:
    metrics, counts = Metrics(), []
    for verdict in ("refused", "refused", "failed", "accepted", "refused", "instead", "no_data"):
        metrics.round(verdict, 1.0)
        counts.append(values(metrics)["acclimate_rounds_refused_in_a_row", ""])
    assert counts == [1, 2, 2, 0, 1, 0, 0]


def test_the_newest_frame_has_its_time() -> None:
    metrics, began = Metrics(), time.time()
    metrics.interval({"latency_ms": [], "buffer": {"entries": 6, "bytes": 1}})
    assert values(metrics)["acclimate_last_frame_timestamp_seconds", ""] == 0
    metrics.interval({"latency_ms": [5.0], "buffer": {"entries": 6, "bytes": 1}})
    assert began <= values(metrics)["acclimate_last_frame_timestamp_seconds", ""] <= time.time()


def check_metrics(text: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Ask promtool; newer ones lint less unless they are told to lint all."""
    command = ["promtool", "check", "metrics"]
    usage = subprocess.run([*command, "--help"], capture_output=True, check=False)
    everything = ["--lint=all"] if b"--lint" in usage.stdout + usage.stderr else []
    return subprocess.run(
        [*command, *everything, *options], input=text, capture_output=True, check=False
    )


@needs_promtool
@pytest.mark.parametrize("make", [Metrics, lived_in])
def test_promtool_has_nothing_to_say(make: type[Metrics]) -> None:
    done = check_metrics(make().text())
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@needs_promtool
def test_promtool_would_have_said_something() -> None:
    metrics = Metrics()
    Gauge("acclimate_latency_ms", "A unit that is none.", registry=metrics.registry)
    done = check_metrics(metrics.text())
    assert (done.returncode, b"abbreviated units" in done.stdout + done.stderr) == (3, True)


@needs_promtool
def test_promtool_counts_few_series() -> None:
    done = check_metrics(lived_in().text(), "--extended")
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    counted = {row[0]: int(row[1]) for row in rows if row and row[0].startswith("acclimate_")}
    assert (done.returncode, counted.keys() >= HISTOGRAMS) == (0, True)
    most = {name: 9 + 2 * (name in HISTOGRAMS) for name in counted}  # a sum and a count
    assert {name: n for name, n in counted.items() if n > most[name]} == {}
