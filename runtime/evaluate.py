"""How well an engine and a bundle agree with labels: confusion, IoU, mIoU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.errors import EngineError, SourceError
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.fit import How, cut, fit, nearest
from acclimate.runtime.pixels import check_label_map, check_pixels

Indices = NDArray[np.uint8] | NDArray[np.uint16]
Pairs = Iterable[tuple[NDArray[np.uint8], Indices]]


def confusion(truth: Indices, guess: Indices, classes: int) -> NDArray[np.float64]:
    """Counts (T, T), rows are truth; pixels whose truth is T or more are left out.

    Raises EngineError for a guess of T or more, which has no column.
    """
    seen = truth < classes
    guesses = guess[seen]
    if guesses.size and guesses.max() >= classes:
        raise EngineError(f"the model answered class {guesses.max()}, it has {classes} classes")
    pairs = truth[seen].astype(np.int64) * classes + guesses
    table = np.bincount(pairs, minlength=classes * classes)
    return table.reshape(classes, classes).astype(np.float64)


def class_iou(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of each class in percent (T,); NaN for a class that is not in the labels."""
    union = table.sum(0) + table.sum(1) - table.diagonal()
    iou = 100 * table.diagonal() / np.maximum(union, 1)
    return np.where(table.sum(1) > 0, iou, np.nan)


def mean_iou(table: NDArray[np.float64]) -> float:
    """Mean of `class_iou` over the classes in the labels, in percent."""
    return float(np.nanmean(class_iou(table))) if table.sum() else float("nan")


def evaluate(
    engine: Engine, bundle: Bundle, pairs: Pairs, how: How = "squash"
) -> NDArray[np.float64]:
    """Frames (H,W,3) and label maps (h,w) in class indices -> confusion table (T,T).

    Prediction and truth are compared at the labels' own size.
    """
    table = np.zeros((bundle.classes, bundle.classes))
    for frame, truth in pairs:
        labels = engine.infer(fit(frame, engine.info.size, how), bundle).labels
        labels = cut(labels, frame.shape[:2], how)
        table += confusion(truth, nearest(labels, truth.shape), bundle.classes)
    return table


def read_labels(path: Path) -> Indices:
    """Class indices (H,W) of a grey PNG of 8 or 16 bits.

    Raises SourceError for any other file.
    """
    check_label_map(path)
    return cast("Indices", _imread(path, cv2.IMREAD_UNCHANGED))


def read_image(path: Path) -> NDArray[np.uint8]:
    """RGB (H,W,3); raises SourceError for anything that is no PNG or JPEG, or far too large."""
    image = _imread(path, cv2.IMREAD_COLOR)
    return cast("NDArray[np.uint8]", cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _imread(path: Path, how: int) -> cv2.typing.MatLike:
    try:
        check_pixels(path)
        image = cv2.imread(str(path), how)
    except (OSError, cv2.error) as error:
        raise SourceError(f"{path} is not a readable image: {error}") from error
    if image is None:
        raise SourceError(f"{path} is not a readable image")
    return image
