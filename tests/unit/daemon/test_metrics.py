"""What Prometheus sees, read by its own parser and its own linter."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from acclimate.daemon.metrics import Metrics

NAMES = {
    "acclimate_frames_total": {"outcome"},
    "acclimate_frame_latency_seconds": set(),
    "acclimate_drift_ratio": set(),
    "acclimate_drift_level_ratio": {"signal"},
    "acclimate_drift_alarms_total": set(),
    "acclimate_buffer_entries": set(),
    "acclimate_buffer_bytes": set(),
    "acclimate_rounds_total": {"verdict"},
    "acclimate_round_duration_seconds": set(),
    "acclimate_active_adapter_info": {"adapter"},
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
    "acclimate_vocabulary_classes": set(),
    "acclimate_vocabulary_strings": set(),
    "acclimate_vocabulary_changes_total": {"result"},
}
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
    for outcome in ("served", "superseded", "stopped", "runtime_died", "inference_error"):
        metrics.frames.labels(outcome).inc(3)
    for verdict in ("accepted", "refused", "no_data", "deadline", "memory", "failed"):
        metrics.rounds.labels(verdict).inc()
    metrics.round_seconds.observe(25)
    for result in ("done", "refused"):
        metrics.swaps.labels(result).inc()
        metrics.rewordings.labels(result).inc()
    for reason in ("histogram_js", "confidence_drop", "crash", "manual", "unreadable"):
        metrics.rollbacks.labels(reason).inc()
    metrics.drifted({"distance": 1.5, "entropy": 2.0, "histogram": 0.1, "whole": 2.5}, True)
    metrics.gap.observe(0.0004)
    metrics.last_swap.set_to_current_time()
    metrics.serving("a0001")
    metrics.serving("a0002", CARD)
    for verdict in ("passed", "refused", "unfinished"):
        metrics.shadow(verdict, [[0.1, 0.2, 0.3]] * 3, {"pole": 0.5})
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
    assert not any(name == "acclimate_adapter_gain" for name, _ in values(metrics))


def test_a_window_shows_nine_regions_and_only_its_own_classes() -> None:
    metrics = lived_in()
    metrics.shadow("passed", [[0.0] * 3] * 3, {"sign": 0.1})
    labels = {label for name, label in values(metrics) if name.endswith("_disagreement_ratio")}
    assert len(labels) == 9 + 1
    assert "pole" not in labels


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


@needs_promtool
@pytest.mark.parametrize("make", [Metrics, lived_in])
def test_promtool_has_nothing_to_say(make: type[Metrics]) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=make().text(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
