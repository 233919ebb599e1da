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
from acclimate.runtime.datasets import find_pairs
from acclimate.runtime.engine import Engine
from acclimate.runtime.fit import How, cut, fit, nearest
from acclimate.runtime.pixels import check_pixels

Indices = NDArray[np.uint8] | NDArray[np.uint16]
Pairs = Iterable[tuple[NDArray[np.uint8], Indices]]
PNG_COLOURS = {0: "grey", 2: "colour", 3: "palette", 4: "grey and alpha", 6: "colour and alpha"}


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


def labelled(images: Path, labels: Path) -> Pairs:
    """Images and the index-mask PNGs of the same stem; raises SourceError naming what lacks."""
    for pair in find_pairs(images, labels).pairs:
        yield read_image(pair.image), read_labels(pair.label)


def read_labels(path: Path) -> Indices:
    """Class indices (H,W) of a grey PNG of 8 or 16 bits.

    Raises SourceError for any other file: OpenCV makes colours of a palette's indices and
    stretches those of 1, 2 or 4 bits to shades.
    """
    with path.open("rb") as file:
        head = file.read(26)  # signature 8, length and name 8, width 4, height 4, depth, colour
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 26:
        raise SourceError(f"label map {path} is not a PNG")
    depth, colour = head[24], PNG_COLOURS.get(head[25], "unknown")
    if colour != "grey" or depth not in (8, 16):
        raise SourceError(
            f"label map {path} is a {colour} PNG of {depth} bits; "
            "save the class indices as grey values of 8 or 16 bits"
        )
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
