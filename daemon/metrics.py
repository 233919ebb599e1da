"""What Prometheus sees. One registry per daemon; names follow its conventions."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.4, 0.8, 2.0)
GAP = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


class Metrics:
    """Counters, gauges and histograms of one camera."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self.frames = Counter(
            "acclimate_frames", "Captured frames by what became of them.", ["outcome"], registry=r
        )
        self.latency = Histogram(
            "acclimate_frame_latency_seconds", "From capture to label map.", buckets=LATENCY,
            registry=r,
        )  # fmt: skip
        self.drift = Gauge(
            "acclimate_drift_ratio",
            "Distance from the active adapter's condition, in units of that condition's spread.",
            registry=r,
        )
        self.levels = Gauge(
            "acclimate_drift_level_ratio",
            "What the alarm is made of, each in units of its own spread, and the whole.",
            ["signal"], registry=r,
        )  # fmt: skip
        self.alarms = Counter(
            "acclimate_drift_alarms", "How often drift became an alarm.", registry=r
        )
        self.confidence = Gauge(
            "acclimate_confidence_ratio", "Mean top probability of the last interval.", registry=r
        )
        self.entries = Gauge("acclimate_buffer_entries", "Frames in the buffer.", registry=r)
        self.bytes = Gauge("acclimate_buffer_bytes", "Size of the buffer on disk.", registry=r)
        self.rounds = Counter(
            "acclimate_rounds", "Adaptation rounds by verdict.", ["verdict"], registry=r
        )
        self.round_seconds = Histogram(
            "acclimate_round_duration_seconds", "Length of adaptation rounds.",
            buckets=(5, 10, 20, 30, 45, 60, 120, 300), registry=r,
        )  # fmt: skip
        self.active = Gauge(
            "acclimate_active_adapter_info", "1 for the adapter that serves.", ["adapter"],
            registry=r,
        )  # fmt: skip
        self.gain = Gauge(
            "acclimate_adapter_gain",
            "mIoU points that what serves earned over the best alternative, an estimate.",
            ["bound"], registry=r,
        )  # fmt: skip
        self.shadow_windows = Counter(
            "acclimate_shadow_windows", "Shadow windows by verdict.", ["verdict"], registry=r
        )
        self.shadow_regions = Gauge(
            "acclimate_shadow_disagreement_ratio",
            "Pixels of a ninth of the frame on which the last candidate and what served differed.",
            ["region"], registry=r,
        )  # fmt: skip
        self.shadow_classes = Gauge(
            "acclimate_shadow_class_disagreement_ratio",
            "1 - IoU of the last candidate and what served, in the classes where it was greatest.",
            ["class"], registry=r,
        )  # fmt: skip
        self.swaps = Counter("acclimate_swaps", "Swaps by result.", ["result"], registry=r)
        self.rollbacks = Counter(
            "acclimate_rollbacks", "Rollbacks by reason.", ["reason"], registry=r
        )
        self.gap = Histogram(
            "acclimate_swap_gap_seconds", "How long a swap held up its next frame.", buckets=GAP,
            registry=r,
        )  # fmt: skip
        self.last_swap = Gauge(
            "acclimate_last_swap_timestamp_seconds", "Unix time of the last swap.", registry=r
        )
        self.classes = Gauge("acclimate_vocabulary_classes", "Classes served.", registry=r)
        self.strings = Gauge(
            "acclimate_vocabulary_strings", "Strings that stand for the classes.", registry=r
        )
        self.rewordings = Counter(
            "acclimate_vocabulary_changes", "Changes of words by result.", ["result"], registry=r
        )
        self.restarts = Counter(
            "acclimate_runtime_restarts", "Restarts of the serving process.", registry=r
        )

    def interval(self, stats: dict[str, Any]) -> None:
        """Gauges and latencies of one report of the runtime."""
        for milliseconds in stats["latency_ms"]:
            self.latency.observe(milliseconds / 1000)
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

    def serving(self, adapter: str, card: dict[str, Any] | None = None) -> None:
        """The one adapter that serves, and what it earned if its manifest has a card."""
        self.active.clear()
        self.active.labels(adapter).set(1)
        self.gain.clear()
        for bound, value in (card or {}).items():
            if bound in ("gain", "low", "high"):
                self.gain.labels("estimate" if bound == "gain" else bound).set(value)

    def shadow(self, verdict: str, regions: list[list[float]], classes: dict[str, float]) -> None:
        """A window that ended: shares of nine regions from the top left, of the worst classes."""
        self.shadow_windows.labels(verdict).inc()
        for row, shares in zip(("top", "middle", "bottom"), regions, strict=True):
            for column, share in zip(("left", "centre", "right"), shares, strict=True):
                self.shadow_regions.labels(f"{row} {column}").set(share)
        self.shadow_classes.clear()
        for name, share in classes.items():
            self.shadow_classes.labels(name).set(share)

    def words(self, classes: int, strings: int) -> None:
        """How much is looked for."""
        self.classes.set(classes)
        self.strings.set(strings)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
