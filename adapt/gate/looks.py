"""What one contender says of frames: as they are, and of changed views of them.

Asked of the engine that serves, so the gate judges what the road will get. Only each pixel's label
and its probability are kept, 2 bytes a view, however many classes there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acclimate.adapt.signals.agreement import Labels
from acclimate.adapt.signals.consistency import mirror, unzoom, zoom
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine

Frame = NDArray[np.uint8]
AS_IT_IS, MIRRORED, ZOOMED, VIEWS = 0, 1, 2, 4
LIGHTS, NOWHERE = (0.85, 1.15), 255


@dataclass(frozen=True)
class Looks:
    """`labels` (V,N,H,W) where they lie in the frame, NOWHERE beyond the zoomed view; `sure`
    (V,N,H,W) their probabilities in 1/255. V is 1 (as it is) or VIEWS."""

    labels: Labels
    sure: NDArray[np.uint8]

    @property
    def plain(self) -> Labels:
        """Labels (N,H,W) of the frames as they are."""
        return np.asarray(self.labels[AS_IT_IS])

    def votes(self, frame: int, classes: int, weigh: bool = True) -> NDArray[np.float32]:
        """(T,P): what the changed views say of one frame, by its probability or each as 1."""
        labels, sure = (x[1:, frame].reshape(VIEWS - 1, -1) for x in (self.labels, self.sure))
        total = np.zeros((classes + 1, labels.shape[1]), np.float32)
        pixels = np.arange(labels.shape[1])
        for said, weight in zip(labels, sure, strict=True):
            total[np.minimum(said, classes), pixels] += weight / np.float32(255) if weigh else 1
        return total[:classes]


def look(engine: Engine, bundle: Bundle, frames: Sequence[Frame], views: int = VIEWS) -> Looks:
    """Ask `bundle` about frames (H,W,3), in their first 1 or all VIEWS."""
    rows = [
        [engine.infer_map(view, bundle) for view in _views(frame, LIGHTS[number % 2], views)]
        for number, frame in enumerate(frames)
    ]
    placed = [[_place(number, *seen) for number, seen in enumerate(row)] for row in rows]
    labels = np.stack([np.stack([seen[0] for seen in row]) for row in placed], 1)
    sure = np.stack([np.stack([seen[1] for seen in row]) for row in placed], 1)
    return Looks(labels, sure)


def _views(frame: Frame, light: float, count: int) -> Iterator[Frame]:
    """The frame, mirrored, larger, and darker or brighter by turns: one view less to pay for."""
    yield frame
    if count == VIEWS:
        yield mirror(frame)
        yield zoom(frame)
        yield np.clip(frame * light, 0, 255).astype(np.uint8)


def _place(
    number: int, labels: NDArray[np.uint8], probability: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A view's maps where they lie in the frame."""
    sure = np.rint(255 * np.clip(probability, 0, 1)).astype(np.uint8)
    if number == MIRRORED:
        return mirror(labels), mirror(sure)
    if number == ZOOMED:
        return unzoom(labels, NOWHERE).astype(np.uint8), unzoom(sure, 0).astype(np.uint8)
    return labels, sure
