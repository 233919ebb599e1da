"""Labelled data sets in the folders they come in: which label map belongs to which image.

Only paths are looked at here; `acclimate.runtime.truth` reads the files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acclimate.errors import SourceError

SUFFIXES = (".jpg", ".jpeg", ".png")
Values = Literal["index", "dataset", "camvid-colours"]


@dataclass(frozen=True)
class Layout:
    """One way a data set lies on disk, below a root.

    `images` and `labels` are patterns with {split}; `labels` also knows {folder} (the image's own)
    and {stem} (the image's name less `ending`). `values` says what the label maps hold: class
    indices, the data set's own values (see Vocabulary.labels), or CamVid's 32 colours.
    `partly`: images without a label map are none of the set. `names`: a text file of the split.
    """

    dataset: str
    images: str
    labels: str
    ending: str = ""
    values: Values = "dataset"
    partly: bool = False
    names: str | None = None


@dataclass(frozen=True)
class Pair:
    """An image and its label map."""

    image: Path
    label: Path


@dataclass(frozen=True)
class Found:
    """Pairs in the order of their names, and how to read the labels."""

    dataset: str
    values: Values
    pairs: tuple[Pair, ...]


VOCABULARIES = {
    "cityscapes": "cityscapes",
    "ade": "ade150",
    "pascal-context": "pascal-context59",
    "camvid": "camvid",
}
SPLITS = {"cityscapes": "val", "ade": "validation", "pascal-context": "val", "camvid": "test"}
_CITY = ("leftImg8bit/{split}/*/*_leftImg8bit.png", "gtFine/{split}/{folder}/{stem}_gtFine_")
_VOC = "ImageSets/SegmentationContext/{split}.txt"
LAYOUTS = (
    Layout("cityscapes", _CITY[0], _CITY[1] + "labelIds.png", "_leftImg8bit"),
    Layout("cityscapes", _CITY[0], _CITY[1] + "labelTrainIds.png", "_leftImg8bit", "index"),
    Layout("ade", "images/{split}/*.jpg", "annotations/{split}/{stem}.png"),
    Layout("ade", "images/{split}/*.jpg", "annotations_detectron2/{split}/{stem}.png",
           values="index"),
    Layout("pascal-context", "JPEGImages/*.jpg", "SegmentationClassContext/{stem}.png",
           partly=True, names=_VOC),
    Layout("pascal-context", "JPEGImages/*.jpg", "annotations_detectron2/pc59_{split}/{stem}.png",
           values="index", partly=True),
    Layout("camvid", "{split}/*.*", "{split}annot/{stem}.png"),
    Layout("camvid", "{split}/images/*.*", "{split}/labels/{stem}.png"),
    Layout("camvid", "{split}/*.*", "{split}_labels/{stem}_L.png", values="camvid-colours"),
    Layout("camvid", "701_StillsRaw_full/*.png", "LabeledApproved_full/{stem}_L.png",
           values="camvid-colours", names="{split}.txt"),
)  # fmt: skip
SOURCE_PICTURES = 18  # of `model.source_dir`: a third judges, and of fewer no interval holds
BELOW = ("", "ADEChallengeData2016", "VOC2010", "VOCdevkit/VOC2010", "CamVid")


def find_dataset(root: Path, dataset: str | None = None, split: str | None = None) -> Found:
    """The pairs of a data set below `root`; without a name, of the one that is there.

    Raises SourceError naming the patterns that were looked for, or the label map that lacks.
    """
    tried = [layout for layout in LAYOUTS if dataset in (None, layout.dataset)]
    if not root.is_dir():
        raise SourceError(f"there is no folder {root}")
    for layout in tried:
        for below in BELOW:
            pairs = _pairs(layout, root / below, split or SPLITS[layout.dataset])
            if pairs:
                return Found(layout.dataset, layout.values, _whole(pairs))
    wanted = {layout.images.format(split=split or SPLITS[layout.dataset]) + "  with  "
              + _shown(layout, split): None for layout in tried}  # fmt: skip
    what = dataset or "data set"
    raise SourceError(f"{root} holds no {what}; looked for\n  " + "\n  ".join(wanted))


def find_pairs(images: Path, labels: Path, values: Values = "index") -> Found:
    """The images of one folder with the label maps of the same stem in another."""
    paths = _pictures(images, "*")
    if not paths:
        raise SourceError(f"{images} holds no .png or .jpg images")
    pairs = tuple(Pair(path, labels / f"{path.stem}.png") for path in paths)
    return Found("folders", values, _whole(pairs))


def find_own(folder: Path, least: int = 1) -> tuple[Pair, ...]:
    """The pairs of a folder of yours, of images/ and of label maps of the same stem in labels/.

    Raises SourceError also where there are fewer than `least`.
    """
    pairs = find_pairs(folder / "images", folder / "labels").pairs
    if len(pairs) < least:
        raise SourceError(
            f"{folder} has {len(pairs)} pictures with labels, and at least {least} are needed"
        )
    return pairs


def _pairs(layout: Layout, root: Path, split: str) -> tuple[Pair, ...]:
    """Pairs of a layout; () where no image of it has a label map."""
    chosen = _chosen(layout, root, split)
    pairs = [
        Pair(path, root / _label_of(path, layout, split))
        for path in _pictures(root, layout.images.format(split=split))
        if path.stem.endswith(layout.ending) and chosen(path.stem)
    ]
    labelled = tuple(pair for pair in pairs if pair.label.is_file())
    return labelled if layout.partly or not labelled else tuple(pairs)


def _label_of(image: Path, layout: Layout, split: str) -> str:
    stem = image.stem.removesuffix(layout.ending)
    return layout.labels.format(split=split, folder=image.parent.name, stem=stem)


def _chosen(layout: Layout, root: Path, split: str) -> Callable[[str], bool]:
    """Which stems belong to the split: those its text file lists, all where there is none."""
    path = root / layout.names.format(split=split) if layout.names else None
    if path is None or not path.is_file():
        return lambda _: True
    stems = {Path(line.split()[0]).stem for line in path.read_text().splitlines() if line.strip()}
    return stems.__contains__


def _pictures(folder: Path, pattern: str) -> list[Path]:
    return sorted(p for p in folder.glob(pattern) if p.suffix.lower() in SUFFIXES)


def _whole(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """All of them, or SourceError: a set with holes has other results than the whole one."""
    lacking = [pair for pair in pairs if not pair.label.is_file()]
    if lacking:
        raise SourceError(
            f"{len(lacking)} of {len(pairs)} images have no readable label map: "
            f"{lacking[0].image} needs {lacking[0].label}"
        )
    return pairs


def _shown(layout: Layout, split: str | None) -> str:
    names = {"split": split or SPLITS[layout.dataset], "folder": "*", "stem": "*"}
    return layout.labels.format(**names)
