"""Do labels move with what they are on? Along optical flow between two frames of a stream.

Flow by DIS (Kroeger et al. 2016, in OpenCV); a pixel counts where flow forth and back meet again
(Sundaram et al. 2010: |f + b|² < 0.01 (|f|² + |b|²) + 0.5), so neither hidden ones nor those
beyond the frame's edge. It informs and never decides: a collapsed model is the steadiest of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.adapt.signals.agreement import Labels, Mask

SEEN = 0.5  # less found again: no neighbours in time
Frame = NDArray[np.uint8]
Flow = NDArray[np.float32]


def consecutive(sequences: Sequence[int]) -> list[tuple[int, int]]:
    """Positions (i, j) of entries whose sequence numbers follow one another."""
    at = {number: i for i, number in enumerate(sequences)}
    return [(i, at[number + 1]) for number, i in at.items() if number + 1 in at]


def temporal_consistency(
    first: Frame, second: Frame, labels: Labels, later: Labels
) -> float | None:
    """Share of pixels of `second` (H,W,3) whose label `later` (H,W) is that of the pixel of `first`
    they came from; None where fewer than half are found again."""
    back, seen = track(first, second)
    if seen.mean() < SEEN:
        return None
    return float((carried(labels, back) == later)[seen].mean())


def track(first: Frame, second: Frame) -> tuple[Flow, Mask]:
    """Flow (H,W,2) from `second` back to `first` in pixels, and where it can be believed (H,W)."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    a, b = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second))
    forth = np.asarray(finder.calc(a, b, None), np.float32)  # type: ignore[call-overload]
    back = np.asarray(finder.calc(b, a, None), np.float32)  # type: ignore[call-overload]
    x, y = _places(back)
    there = cv2.remap(forth, x, y, cv2.INTER_LINEAR)
    apart = ((back + there) ** 2).sum(-1)
    allowed = 0.01 * ((back**2).sum(-1) + (there**2).sum(-1)) + 0.5
    height, width = a.shape
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return back, np.asarray((apart < allowed) & inside)


def carried(values: NDArray[Any], back: Flow) -> NDArray[Any]:
    """`values` (H,W) of a frame as they lie in the frame that `back` (H,W,2) leads back from."""
    return cv2.remap(values, *_places(back), cv2.INTER_NEAREST)


def _places(flow: Flow) -> tuple[Flow, Flow]:
    """Where each pixel came from: x (H,W), y (H,W)."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return (x + flow[..., 0]).astype(np.float32), (y + flow[..., 1]).astype(np.float32)
