"""Labels whose values are known beforehand: no series is missing, none comes without end."""

from __future__ import annotations

from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

MOST = 9  # values of a label at one time
OTHER = "other"
OUTCOMES = (
    "served", "superseded", "stopped", "unreadable", "corrupt", "no_picture",
    "inference_error", "runtime_died", OTHER,
)  # fmt: skip
SOURCE_STATES = ("connecting", "live", "stale", "failed", "ended", OTHER)
UNFIT = ("blind", "parked")
SIGNALS = ("distance", "entropy", "histogram", "whole")
ROUNDS = (
    "accepted", "refused", "instead", "no_data", "deadline", "memory", "failed", OTHER,
)  # fmt: skip
ROLLBACKS = ("histogram_js", "confidence_drop", "crash", "manual", "unreadable", OTHER)
BOUNDS = ("estimate", "low", "high")
REGIONS = tuple(f"{row} {column}" for row in ("top", "middle", "bottom")
                for column in ("left", "centre", "right"))  # fmt: skip
WINDOWS = ("passed", "refused", "unfinished")
RESULTS = ("done", "refused")
Metric = TypeVar("Metric", bound=MetricWrapperBase)


class Known(Generic[Metric]):
    """A metric with one label: `values` are there from the start, any other counts as "other"."""

    def __init__(
        self, kind: type[Metric], name: str, meaning: str, label: str, values: tuple[str, ...],
        registry: CollectorRegistry,
    ) -> None:  # fmt: skip
        self._metric, self.values = kind(name, meaning, [label], registry=registry), values
        for value in values:
            self._metric.labels(value)

    def labels(self, value: str) -> Metric:
        """The series of this value."""
        return self._metric.labels(value if value in self.values else OTHER)
