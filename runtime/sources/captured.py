"""What every source gives, and what every source is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from acclimate.runtime.ledger import Ledger

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Captured:
    """One frame (H,W,3) RGB; `captured_at` monotonic seconds, `time` seconds into the source.

    `name` is what its files are called: an image's own stem, else empty. `stamp`: when it was taken
    in seconds since 1970, where the source says so.
    """

    frame_id: int
    captured_at: float
    time: float
    image: Picture
    name: str = ""
    stamp: float | None = None


class Source(Protocol):
    """A stream of frames. `state` is connecting, live, stale, failed or ended; `reason` says in
    words why, or how the frames are decoded."""

    live: bool
    state: str
    fps: float
    reason: str

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        """Every frame, counted as captured before it is handed out."""
