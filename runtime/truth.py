"""Label maps as class indices, whatever values or colours their data set writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.vocabulary import NOT_COUNTED, Vocabulary
from acclimate.errors import SourceError
from acclimate.runtime.datasets import Values, find_own
from acclimate.runtime.evaluate import Pairs, read_image, read_labels

Indices = NDArray[np.uint16]
ALWAYS_VOID = 255

# The 32 colours of CamVid (Brostow et al. 2009) in the 11 classes of the SegNet tutorial.
CAMVID_COLOURS = (
    ((128, 128, 128),),
    ((128, 0, 0), (64, 192, 0), (192, 0, 128), (0, 128, 64), (64, 0, 64)),
    ((192, 192, 128), (0, 0, 64)),
    ((128, 64, 128), (128, 0, 192), (192, 0, 64)),
    ((0, 0, 192), (64, 192, 128), (128, 128, 192)),
    ((128, 128, 0), (192, 192, 0)),
    ((192, 128, 128), (128, 128, 64), (0, 64, 64)),
    ((64, 64, 128),),
    ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),
    ((0, 128, 192), (192, 0, 192)),
)
_BITS = 3  # the colours are multiples of 64; JPEG-like noise of some copies is rounded away


def labelled(folder: Path, words: Vocabulary) -> Pairs:
    """Images and class indices of a folder of yours; raises SourceError naming what is wrong."""
    for pair in find_own(folder):
        yield read_image(pair.image), read_truth(pair.label, "index", words)


def read_truth(path: Path, values: Values, words: Vocabulary) -> Indices:
    """Class indices (H,W), NOT_COUNTED where no class is meant.

    Raises SourceError for files that are no label map and for values that belong to no class and
    are not ignored either: they were made for another data set.
    """
    if values == "camvid-colours":
        return from_colours(read_image(path))
    found, indices = read_labels(path).astype(np.uint16), values == "index"
    told = np.unique(found[found != ALWAYS_VOID])
    if unknown := words.unknown_labels(told, indices):
        raise SourceError(
            f"{path} holds the values {list(unknown[:5])}, which the vocabulary neither has as "
            f"{'indices' if indices else 'labels'} nor ignores; is it of another data set?"
        )
    if indices:
        return np.where(found < len(words.classes), found, NOT_COUNTED).astype(np.uint16)
    return words.from_labels()[found]


def from_colours(image: NDArray[np.uint8]) -> Indices:
    """CamVid's colour masks (H,W,3) -> indices (H,W)."""
    table = np.full(1 << (3 * _BITS), NOT_COUNTED, np.uint16)
    for index, colours in enumerate(CAMVID_COLOURS):
        table[_key(np.array(colours, np.uint8))] = index
    return table[_key(image)]


def _key(colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Colours (...,3) -> one number (...) each, to the nearest multiple of 64."""
    steps = (colours.astype(np.int64) + 32) // 64
    return (steps[..., 0] << (2 * _BITS)) | (steps[..., 1] << _BITS) | steps[..., 2]
