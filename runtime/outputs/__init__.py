"""Results for other programs: over MQTT, as MCAP recordings, in shared memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.outputs import OutputsConfig
from acclimate.configs.vocabulary import Vocabulary
from acclimate.runtime.outputs.mcap import Recording
from acclimate.runtime.outputs.mqtt import Publisher
from acclimate.runtime.outputs.shared import SharedLabels
from acclimate.runtime.outputs.side import Output, Shown, Side
from acclimate.runtime.source import Captured


class Outputs:
    """Those that the configuration asks for, each on a thread of its own; nothing is opened before
    the first result."""

    def __init__(self, config: OutputsConfig, words: Vocabulary) -> None:
        """`words` are those that serve, and may be changed. Raises ConfigError where an output
        needs a library that is not installed."""
        self.words = words
        self._sides = {name: Side(output, config.hz) for name, output in _asked_for(config)}

    def offer(self, camera: str, frame: Captured, labels: NDArray[np.uint8], adapter: str) -> None:
        """Hand one result (H,W) to every output that has time for it; never waits."""
        shown = Shown(camera, frame, labels, adapter, self.words)
        for side in self._sides.values():
            side.offer(shown)

    def counts(self) -> dict[str, dict[str, Any]]:
        """What became of the offers, by output."""
        return {name: side.counts() for name, side in self._sides.items()}

    @property
    def trouble(self) -> str | None:
        """What one of them cannot do at the moment."""
        told = (f"{name}: {side.trouble}" for name, side in self._sides.items() if side.trouble)
        return next(told, None)

    def close(self) -> None:
        """Let the last writes finish."""
        for side in self._sides.values():
            side.close()


def _asked_for(config: OutputsConfig) -> Iterator[tuple[str, Output]]:
    if config.mqtt is not None:
        yield "mqtt", Publisher(config)
    if config.mcap is not None:
        yield "mcap", Recording(config)
    if config.shared is not None:
        yield "shared", SharedLabels(Path(config.shared))
