"""What Prometheus sees. One registry per daemon; names follow its conventions."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from acclimate.daemon import labels
from acclimate.daemon.labels import Known

# Fewer than ten values for every label, the buckets' "+Inf" counted.
LATENCY = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 2.0)
GAP = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


class Metrics:
    """Counters, gauges and histograms of one camera."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for group in (
            self._of_frames, self._of_drift, self._of_rounds, self._of_adapters, self._of_shadow,
            self._of_swaps, self._of_words, self._of_daemon,
        ):  # fmt: skip
            group(self.registry)
        self._earned({})

    def _of_frames(self, r: CollectorRegistry) -> None:
        """What became of frames, and where they come from."""
        self.frames = Known(
            Counter, "acclimate_frames", "Captured frames by what became of them.",
            "outcome", labels.OUTCOMES, r,
        )  # fmt: skip
        self.last_frame = Gauge(
            "acclimate_last_frame_timestamp_seconds",
            "Unix time at which the newest served frame was told of; 0 before the first.",
            registry=r,
        )
        self.source = Known(
            Gauge, "acclimate_source_state", "1 for the state the source is in.",
            "state", labels.SOURCE_STATES, r,
        )  # fmt: skip
        self.cameras = Gauge(
            "acclimate_camera_up", "1 while this camera gives frames.", ["camera"], registry=r
        )
        self.unfit = Known(
            Gauge, "acclimate_picture_unfit", "1 while nothing can be learned from the picture.",
            "reason", labels.UNFIT, r,
        )  # fmt: skip
        self.latency = Histogram(
            "acclimate_frame_latency_seconds", "From capture to label map.", buckets=LATENCY,
            registry=r,
        )  # fmt: skip

    def _of_drift(self, r: CollectorRegistry) -> None:
        """What the stream looks like."""
        self.drift = Gauge(
            "acclimate_drift_ratio",
            "Distance from the active adapter's condition, in units of that condition's spread.",
            registry=r,
        )
        self.levels = Known(
            Gauge, "acclimate_drift_level_ratio",
            "What the alarm is made of, each in units of its own spread, and the whole.",
            "signal", labels.SIGNALS, r,
        )  # fmt: skip
        self.alarm = Gauge("acclimate_drift_alarm", "1 while drift is an alarm.", registry=r)
        self.alarms = Counter(
            "acclimate_drift_alarms", "How often drift became an alarm.", registry=r
        )
        self.confidence = Gauge(
            "acclimate_confidence_ratio", "Mean top probability of the last interval.", registry=r
        )

    def _of_rounds(self, r: CollectorRegistry) -> None:
        """What rounds have to learn from, and how they end."""
        self.entries = Gauge("acclimate_buffer_entries", "Frames in the buffer.", registry=r)
        self.bytes = Gauge("acclimate_buffer_bytes", "Size of the buffer on disk.", registry=r)
        self.rounds = Known(
            Counter, "acclimate_rounds", "Adaptation rounds by verdict.",
            "verdict", labels.ROUNDS, r,
        )  # fmt: skip
        self.refused_in_a_row = Gauge(
            "acclimate_rounds_refused_in_a_row",
            "Rounds that the gate refused since one brought something to serve.", registry=r,
        )  # fmt: skip
        self.round_seconds = Histogram(
            "acclimate_round_duration_seconds", "Length of adaptation rounds.",
            buckets=(5, 10, 20, 30, 45, 60, 120, 300), registry=r,
        )  # fmt: skip

    def _of_adapters(self, r: CollectorRegistry) -> None:
        """What serves, and what it earned."""
        self.active = Gauge(
            "acclimate_active_adapter_info", "1 for the adapter that serves.", ["adapter"],
            registry=r,
        )  # fmt: skip
        self.quarantined = Gauge(
            "acclimate_adapters_quarantined", "Adapters that must never serve again.", registry=r
        )
        self.gain = Known(
            Gauge, "acclimate_adapter_gain",
            "mIoU points that what serves earned over its best alternative, an estimate: for what "
            "was learned the best that is free, for that what served; NaN where it never met one.",
            "bound", labels.BOUNDS, r,
        )  # fmt: skip

    def _of_shadow(self, r: CollectorRegistry) -> None:
        """Candidates beside what serves."""
        self.shadow_windows = Known(
            Counter, "acclimate_shadow_windows", "Shadow windows by verdict.",
            "verdict", labels.WINDOWS, r,
        )  # fmt: skip
        self.shadow_regions = Known(
            Gauge, "acclimate_shadow_disagreement_ratio",
            "Pixels of a ninth of the frame on which the last candidate and what served differed.",
            "region", labels.REGIONS, r,
        )  # fmt: skip
        self.shadow_classes = Gauge(
            "acclimate_shadow_class_disagreement_ratio",
            "1 - IoU of the last candidate and what served, in the classes where it was greatest.",
            ["class"], registry=r,
        )  # fmt: skip

    def _of_swaps(self, r: CollectorRegistry) -> None:
        """Changes of what serves."""
        self.swaps = Known(
            Counter, "acclimate_swaps", "Swaps by result.", "result", labels.RESULTS, r
        )
        self.rollbacks = Known(
            Counter, "acclimate_rollbacks", "Rollbacks by reason.",
            "reason", labels.ROLLBACKS, r,
        )  # fmt: skip
        self.gap = Histogram(
            "acclimate_swap_gap_seconds", "How long a swap held up its next frame.", buckets=GAP,
            registry=r,
        )  # fmt: skip
        self.last_swap = Gauge(
            "acclimate_last_swap_timestamp_seconds", "Unix time of the last swap.", registry=r
        )

    def _of_words(self, r: CollectorRegistry) -> None:
        """What is looked for."""
        self.classes = Gauge("acclimate_vocabulary_classes", "Classes served.", registry=r)
        self.strings = Gauge(
            "acclimate_vocabulary_strings", "Strings that stand for the classes.", registry=r
        )
        self.rewordings = Known(
            Counter, "acclimate_vocabulary_changes", "Changes of words by result.",
            "result", labels.RESULTS, r,
        )  # fmt: skip

    def _of_daemon(self, r: CollectorRegistry) -> None:
        """Its processes and its disk."""
        self.started = Gauge(
            "acclimate_started_timestamp_seconds",
            "Unix time at which the daemon started.",
            registry=r,
        )
        self.started.set_to_current_time()
        self.restarts = Counter(
            "acclimate_runtime_restarts", "Restarts of the serving process.", registry=r
        )
        self.trouble = Gauge(
            "acclimate_trouble", "1 while the state folder cannot be written.", registry=r
        )
        self.free = Gauge(
            "acclimate_state_free_bytes", "Room on the state folder's disk.", registry=r
        )

    def interval(self, stats: dict[str, Any]) -> None:
        """Gauges and latencies of one report of the runtime."""
        for milliseconds in stats["latency_ms"]:
            self.latency.observe(milliseconds / 1000)
        if stats["latency_ms"]:
            self.last_frame.set_to_current_time()
        if "confidence" in stats:
            self.confidence.set(stats["confidence"][0])
        self.entries.set(stats["buffer"]["entries"])
        self.bytes.set(stats["buffer"]["bytes"])

    def drifted(self, levels: dict[str, float], alarm: bool) -> None:
        """distance, entropy, histogram and the whole; `alarm` if this began one."""
        self.drift.set(levels["distance"])
        for signal, value in levels.items():
            self.levels.labels(signal).set(value)
        if alarm:
            self.alarms.inc()

    def round(self, verdict: str, seconds: float) -> None:
        """A round that ended."""
        self.rounds.labels(verdict).inc()
        self.round_seconds.observe(seconds)
        if verdict == "refused":
            self.refused_in_a_row.inc()
        elif verdict in ("accepted", "instead"):
            self.refused_in_a_row.set(0)

    def serving(self, adapter: str, card: dict[str, Any] | None = None) -> None:
        """The one adapter that serves, and what it earned if its manifest has a card."""
        self.active.clear()
        self.active.labels(adapter).set(1)
        self._earned(card or {})

    def _earned(self, card: dict[str, Any]) -> None:
        told = {**card, "estimate": card.get("gain")}
        for bound in labels.BOUNDS:
            value = told.get(bound)
            self.gain.labels(bound).set(float("nan") if value is None else value)

    def shadow(self, verdict: str, regions: list[list[float]], classes: dict[str, float]) -> None:
        """A window that ended: shares of nine regions from the top left, of the worst classes."""
        self.shadow_windows.labels(verdict).inc()
        for region, share in zip(labels.REGIONS, (x for row in regions for x in row), strict=True):
            self.shadow_regions.labels(region).set(share)
        self.shadow_classes.clear()
        for name, share in list(classes.items())[: labels.MOST]:
            self.shadow_classes.labels(name).set(share)

    def words(self, classes: int, strings: int) -> None:
        """How much is looked for."""
        self.classes.set(classes)
        self.strings.set(strings)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
