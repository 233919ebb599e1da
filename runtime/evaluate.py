"""How well an engine and a bundle agree with labels: confusion, IoU, mIoU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.errors import SourceError
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine

Pairs = Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
SUFFIXES = {".png", ".jpg", ".jpeg"}


def confusion(
    truth: NDArray[np.uint8], guess: NDArray[np.uint8], classes: int
) -> NDArray[np.float64]:
    """Counts (T, T), rows are truth; pixels whose truth is T or more are left out."""
    seen = truth < classes
    pairs = truth[seen].astype(np.int64) * classes + guess[seen]
    table = np.bincount(pairs, minlength=classes * classes)[: classes * classes]
    return table.reshape(classes, classes).astype(np.float64)


def class_iou(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of each class in percent (T,); NaN for a class that is not in the labels."""
    union = table.sum(0) + table.sum(1) - table.diagonal()
    iou = 100 * table.diagonal() / np.maximum(union, 1)
    return np.where(table.sum(1) > 0, iou, np.nan)


def mean_iou(table: NDArray[np.float64]) -> float:
    """Mean of `class_iou` over the classes in the labels, in percent."""
    return float(np.nanmean(class_iou(table))) if table.sum() else float("nan")


def evaluate(engine: Engine, bundle: Bundle, pairs: Pairs) -> NDArray[np.float64]:
    """Frames (H,W,3) and label maps (h,w) in class indices -> confusion table (T,T).

    Prediction and truth are compared at the labels' own size.
    """
    table = np.zeros((engine.info.classes, engine.info.classes))
    for frame, truth in pairs:
        labels = engine.infer(fit(frame, engine.info.size), bundle).labels
        table += confusion(truth, resize_labels(labels, truth.shape), engine.info.classes)
    return table


def labelled_miou(engine: Engine, bundle: Bundle, folder: Path) -> float:
    """mIoU in percent on `folder`/images and `folder`/labels."""
    return mean_iou(evaluate(engine, bundle, labelled(folder / "images", folder / "labels")))


def labelled(images: Path, labels: Path) -> Pairs:
    """Images and the index-mask PNGs of the same stem; raises SourceError naming what lacks."""
    paths = sorted(p for p in images.glob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise SourceError(f"{images} holds no .png or .jpg images")
    for path in paths:
        mask = labels / f"{path.stem}.png"
        truth = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        if truth is None:
            raise SourceError(f"{path} has no readable label map {mask}")
        yield read_image(path), cast("NDArray[np.uint8]", truth)


def read_image(path: Path) -> NDArray[np.uint8]:
    """RGB (H,W,3); raises SourceError for anything that is no image."""
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{path} is not a readable image: {error}") from error
    if image is None:
        raise SourceError(f"{path} is not a readable image")
    return cast("NDArray[np.uint8]", cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def fit(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Squash a frame to (H, W); the same array when it fits already."""
    if frame.shape[:2] == size:
        return frame
    smaller = frame.shape[0] > size[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cast("NDArray[np.uint8]", cv2.resize(frame, size[::-1], interpolation=how))


def resize_labels(labels: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Nearest-neighbour resize of a label map to (H, W)."""
    if labels.shape == size:
        return labels
    out = cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return cast("NDArray[np.uint8]", out)
