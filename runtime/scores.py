"""How well label maps agree with the truth: IoU, accuracy, boundary IoU, over a whole set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.vocabulary import NOT_COUNTED
from acclimate.runtime.evaluate import class_iou, confusion

Numbers = NDArray[np.float64]
Map = NDArray[np.uint16]
DILATION = 0.02
VOID = np.uint16(NOT_COUNTED)  # typed: NumPy would cut a plain number to 8 bits


class Scores:
    """Counts over pairs of truth and guess; `report` makes percentages of them."""

    def __init__(self, classes: int) -> None:
        self.table = np.zeros((classes, classes))
        self.frames = 0
        self._edges = np.zeros((3, classes))  # guess and truth both, guess, truth

    def add(self, truth: NDArray[Any], guess: NDArray[Any]) -> None:
        """Class indices (H,W); truths that are no class count nowhere."""
        classes = len(self.table)
        self.table += confusion(truth, guess, classes)
        counted = np.where(truth < classes, truth, VOID).astype(np.uint16)
        seen = np.where(counted == VOID, VOID, guess).astype(np.uint16)
        self._edges += edge_counts(counted, seen, classes)
        self.frames += 1

    def report(self, names: Sequence[str]) -> dict[str, Any]:
        """Percentages, JSON-ready; None for a class that is not in the labels."""
        table, truth = self.table, self.table.sum(1)
        recall = _percent(table.diagonal(), truth)
        both, guessed, there = self._edges
        iou = class_iou(table)
        boundary = np.where(truth > 0, _percent(both, guessed + there - both), np.nan)
        share = truth / max(1.0, truth.sum())
        rows = {
            name: {
                "iou": _value(iou[i]), "accuracy": _value(recall[i]),
                "boundary_iou": _value(boundary[i]), "share": float(100 * share[i]),
            }
            for i, name in enumerate(names)
        }  # fmt: skip
        return {
            "frames": self.frames, "pixels": int(table.sum()), "miou": _mean(iou),
            "boundary_miou": _mean(boundary), "accuracy": _total(table),
            "mean_accuracy": _mean(recall), "classes": rows,
        }  # fmt: skip


def edge_counts(truth: Map, guess: Map, classes: int) -> Numbers:
    """Boundary pixels of each class (3,T): in both, in the guess, in the truth."""
    width = band_width(truth.shape)
    seen, there = (np.where(band(m, width), m, VOID) for m in (guess, truth))
    both = np.where(seen == there, seen, VOID)
    counts = [np.bincount(m[m < classes], minlength=classes) for m in (both, seen, there)]
    return np.stack(counts).astype(np.float64)


def band_width(shape: tuple[int, ...]) -> int:
    """Pixels: 2 % of the image diagonal, one at least (Cheng et al. 2021, arXiv 2103.16562)."""
    return max(1, round(DILATION * float(np.hypot(shape[0], shape[1]))))


def band(labels: Map, width: int) -> NDArray[np.bool_]:
    """Where each class's mask differs from its erosion by `width`; beyond the image is no class.

    A pixel survives the erosion of its own class if all within `width` (a square) is of that
    class: if the least and the greatest label there are the same. So two filters do all classes.
    """
    ringed = cv2.copyMakeBorder(labels, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=NOT_COUNTED)
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    least, greatest = cv2.erode(ringed, square), cv2.dilate(ringed, square)
    return cast("NDArray[np.bool_]", (least != greatest)[1:-1, 1:-1])


def _percent(part: Numbers, whole: Numbers) -> Numbers:
    return np.where(whole > 0, 100 * part / np.maximum(whole, 1), np.nan)


def _mean(values: Numbers) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _total(table: Numbers) -> float:
    return float(100 * table.diagonal().sum() / max(1.0, table.sum()))


def _value(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
