"""A side street for results: while an output is busy, they pass by and are counted."""

from __future__ import annotations

import queue
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import AcclimateError
from acclimate.runtime.source import Captured

PAUSE = 5.0  # seconds between a failure and the next try


@dataclass(frozen=True)
class Shown:
    """One served frame of a camera: label map (H,W) uint8, who made it, the words it is in."""

    camera: str
    frame: Captured
    labels: NDArray[np.uint8]
    adapter: str
    words: Vocabulary

    @property
    def areas(self) -> dict[str, float]:
        """Share of the picture of every class."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.words.classes))
        shares = (counts / max(1, self.labels.size)).round(5)
        return dict(zip(self.words.names, map(float, shares), strict=False))


class Output(Protocol):
    """Where results go."""

    def write(self, shown: Shown) -> bool:
        """Pass one on; False if nobody could take it. Raises OSError or AcclimateError."""

    def close(self) -> None:
        """Finish."""


class Side:
    """One output on its own thread, with room for one result of each camera."""

    def __init__(self, output: Output, hz: float) -> None:
        self._output, self._pause = output, 1 / hz if hz else 0.0
        self._due: dict[str, float] = {}
        self._waiting: queue.Queue[Shown | None] = queue.Queue(8)
        self._resting = -float("inf")  # until then, after a failure
        self.written = self.skipped = self.failed = 0
        self.trouble: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def offer(self, shown: Shown) -> None:
        """Hand it over if it is due and there is room; never waits."""
        now = time.monotonic()
        if now < self._due.get(shown.camera, now):
            return
        self._due[shown.camera] = now + self._pause
        try:
            self._waiting.put_nowait(shown)
        except queue.Full:
            self.skipped += 1

    def counts(self) -> dict[str, Any]:
        """What became of the offers; `trouble` is the last failure while it lasts."""
        return {
            "written": self.written, "skipped": self.skipped, "failed": self.failed,
            "trouble": self.trouble,
        }  # fmt: skip

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, then finish."""
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        while (shown := self._waiting.get()) is not None:
            if time.monotonic() < self._resting:
                self.skipped += 1
            else:
                self._write(shown)
        try:
            self._output.close()
        except (OSError, AcclimateError) as error:
            self._tell(str(error))

    def _write(self, shown: Shown) -> None:
        try:
            taken = self._output.write(shown)
        except (OSError, AcclimateError, ValueError, cv2.error) as error:  # what a library refuses
            self.failed += 1
            self._resting = time.monotonic() + PAUSE
            self._tell(str(error))
            return
        self.written, self.skipped = self.written + taken, self.skipped + (not taken)
        self.trouble = None if taken else self.trouble

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            print(f"{type(self._output).__name__}: {trouble}", file=sys.stderr, flush=True)
        self.trouble = trouble
