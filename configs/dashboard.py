"""The Grafana dashboard, as a table of panels.

python -m acclimate.configs.dashboard    # writes monitoring/acclimate-dashboard.json
"""

from __future__ import annotations

import json
from pathlib import Path

from acclimate.configs.grafana import Panel, Rows, dashboard

PATH = Path(__file__).parent / "monitoring" / "acclimate-dashboard.json"


def p(share: float, histogram: str) -> tuple[str, str]:
    """A quantile over the newest interval."""
    rate = f"sum by (le) (rate({histogram}_bucket[$__rate_interval]))"
    return f"histogram_quantile({share}, {rate})", f"p{100 * share:g}"


def new(counter: str, label: str) -> tuple[tuple[str, str], ...]:
    """What was counted in the last hour, by label."""
    return ((f"sum by ({label}) (increase({counter}[1h]))", f"{{{{{label}}}}}"),)


ROWS: Rows = {
    "Now": (
        Panel("Source", "What the camera is doing.",
              (("acclimate_source_state == 1", "{{state}}"),), kind="word", width=4),
        Panel("Serves", "The adapter that serves.",
              (("acclimate_active_adapter_info", "{{adapter}}"),), kind="word", width=4),
        Panel("Newest frame", "Age by this Prometheus' clock.",
              (("time() - acclimate_last_frame_timestamp_seconds", ""),), "s", "number", 4, 10),
        Panel("Drift alarm", "Is the stream far from where the adapter was made?",
              (("acclimate_drift_alarm", ""),), kind="switch", width=4, bad=1),
        Panel("Disk trouble", "Can the state folder not be written?",
              (("acclimate_trouble", ""),), kind="switch", width=4, bad=1),
        Panel("Room for state", "Free on the state folder's disk.",
              (("acclimate_state_free_bytes", ""),), "bytes", "number", 4),
    ),
    "Serving": (
        Panel("Frames", "Captured frames by what became of them.",
              (("sum by (outcome) (rate(acclimate_frames_total[$__rate_interval]))",
                "{{outcome}}"),), "hertz", "stacked"),
        Panel("Latency", "From capture to label map.",
              (p(0.5, "acclimate_frame_latency_seconds"),
               p(0.99, "acclimate_frame_latency_seconds")), "s"),
        Panel("Cameras", "1 while a camera gives frames.",
              (("acclimate_camera_up", "{{camera}}"),), "none"),
        Panel("Confidence", "Mean top probability.",
              (("acclimate_confidence_ratio", "confidence"),), "percentunit"),
        Panel("Swap gap", "How long a swap held up its next frame.",
              (p(0.5, "acclimate_swap_gap_seconds"), p(0.99, "acclimate_swap_gap_seconds")), "s"),
        Panel("Restarts", "Within an hour.",
              (("increase(acclimate_runtime_restarts_total[1h])", "of the serving process"),
               ("changes(acclimate_started_timestamp_seconds[1h])", "of the daemon"))),
        Panel("Words", "Classes served, and the strings that stand for them.",
              (("acclimate_vocabulary_classes", "classes"),
               ("acclimate_vocabulary_strings", "strings"))),
    ),
    "Drift": (
        Panel("Level", "Each signal in units of its own spread; the whole is what rings.",
              (("acclimate_drift_level_ratio", "{{signal}}"),), "none"),
        Panel("Distance and alarms", "Distance of the embedding; alarms within an hour.",
              (("acclimate_drift_ratio", "distance"),
               ("increase(acclimate_drift_alarms_total[1h])", "alarms")), "none"),
        Panel("Nothing to learn from", "1 while the vehicle is parked or the lens is covered.",
              (("acclimate_picture_unfit", "{{reason}}"),), "none"),
    ),
    "Adaptation": (
        Panel("Rounds", "Ended within an hour, by verdict.",
              new("acclimate_rounds_total", "verdict"), kind="stacked"),
        Panel("Refused in a row", "Rounds since one brought something to serve.",
              (("acclimate_rounds_refused_in_a_row", "refused"),)),
        Panel("Length of rounds", "Of those that ended within an hour.",
              (("histogram_quantile(0.5, sum by (le) "
                "(rate(acclimate_round_duration_seconds_bucket[1h])))", "p50"),
               ("histogram_quantile(0.95, sum by (le) "
                "(rate(acclimate_round_duration_seconds_bucket[1h])))", "p95")), "s"),
        Panel("Swaps", "Within an hour, by result.", new("acclimate_swaps_total", "result")),
        Panel("Rollbacks", "Within an hour, by reason.",
              new("acclimate_rollbacks_total", "reason"), kind="stacked"),
        Panel("Quarantined", "Adapters that must never serve again.",
              (("acclimate_adapters_quarantined", "adapters"),)),
        Panel("Earned", "mIoU points of what serves over its best alternative, estimated.",
              (("acclimate_adapter_gain", "{{bound}}"),), "none", least=None),
        Panel("Changes of words", "Within an hour, by result.",
              new("acclimate_vocabulary_changes_total", "result")),
        Panel("Buffer", "Frames kept to learn from.",
              (("acclimate_buffer_entries", "frames"),)),
    ),
    "Shadow": (
        Panel("Windows", "Within a day, by verdict.",
              (("sum by (verdict) (increase(acclimate_shadow_windows_total[1d]))",
                "{{verdict}}"),)),
        Panel("Disagreement by region", "Pixels on which the last candidate differed.",
              (("acclimate_shadow_disagreement_ratio", "{{region}}"),), "percentunit"),
        Panel("Disagreement by class", "1 - IoU in the classes where it was greatest.",
              (("acclimate_shadow_class_disagreement_ratio", "{{class}}"),), "percentunit"),
    ),
    "Disk": (
        Panel("Room", "Free on the state folder's disk.",
              (("acclimate_state_free_bytes", "free"),), "bytes", width=12),
        Panel("Size of the buffer", "On disk.",
              (("acclimate_buffer_bytes", "buffer"),), "bytes", width=12),
    ),
}  # fmt: skip


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(ROWS), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
