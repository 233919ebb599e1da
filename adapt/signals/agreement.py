"""How two label maps agree: confusion a frame, pseudo-mIoU, recall of what is sure.

N frames, P pixels (any shape), T classes. Rows of a table are the reference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acclimate.runtime.evaluate import confusion

RARE = 0.002
Labels = NDArray[np.uint8]
Tables = NDArray[np.float64]
Mask = NDArray[np.bool_]


def tables(reference: Labels, labels: Labels, classes: int, where: Mask | None = None) -> Tables:
    """Labels (N,...) -> counts (N,T,T); only the pixels `where` (N,...), and those whose reference
    is a class."""
    seen = np.ones(reference.shape, bool) if where is None else where
    rows = zip(reference, labels, seen, strict=True)
    return np.stack([confusion(r[m], guess[m], classes) for r, guess, m in rows])


def present(table: Tables) -> Mask:
    """Classes (T,) with more than RARE of the reference's pixels in a table (T,T)."""
    truth = table.sum(1)
    return np.asarray(truth > RARE * max(1.0, truth.sum()))


def mean_iou_of(table: Tables, classes: Mask) -> NDArray[np.float64]:
    """Counts (...,T,T) -> mean IoU (...,) over `classes` (T,), 0..1; a class without a pixel on
    either side counts as missed."""
    hit = np.diagonal(table, axis1=-2, axis2=-1)
    union = table.sum(-1) + table.sum(-2) - hit
    each = hit / np.maximum(union, 1.0)
    return np.asarray(each[..., classes].mean(-1) if classes.any() else np.zeros(hit.shape[:-1]))


def accuracy(table: Tables) -> float:
    """Share of pixels (T,T) on the diagonal; 0 without any."""
    return float(np.trace(table) / max(1.0, table.sum()))


def least_recall(table: Tables) -> float:
    """The lowest recall among the classes present; 0 without any."""
    counted = present(table)
    recall = np.diagonal(table)[counted] / table.sum(1)[counted]
    return float(recall.min()) if counted.any() else 0.0


def shares(labels: Labels, classes: int) -> NDArray[np.float64]:
    """Share of each class (T,), summing to 1."""
    return np.bincount(labels.ravel(), minlength=classes)[:classes] / labels.size
