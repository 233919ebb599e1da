"""Data sets in the folders they come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.errors import SourceError
from acclimate.runtime.datasets import find_dataset, find_pairs
from tests.conftest import SHARED


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


CITY = "leftImg8bit/val/bonn/bonn_000000_000019"
CITY_TRUTH = "gtFine/val/bonn/bonn_000000_000019_gtFine"
LAYOUTS = [
    ("cityscapes", None, f"{CITY}_leftImg8bit.png", f"{CITY_TRUTH}_labelIds.png", "dataset"),
    ("cityscapes", None, f"{CITY}_leftImg8bit.png", f"{CITY_TRUTH}_labelTrainIds.png", "index"),
    ("ade", None, "images/validation/ADE_val_1.jpg", "annotations/validation/ADE_val_1.png",
     "dataset"),
    ("ade", None, "ADEChallengeData2016/images/validation/ADE_val_1.jpg",
     "ADEChallengeData2016/annotations/validation/ADE_val_1.png", "dataset"),
    ("ade", "training", "images/training/ADE_train_1.jpg", "annotations/training/ADE_train_1.png",
     "dataset"),
    ("pascal-context", None, "VOCdevkit/VOC2010/JPEGImages/2008_000002.jpg",
     "VOCdevkit/VOC2010/SegmentationClassContext/2008_000002.png", "dataset"),
    ("pascal-context", None, "JPEGImages/2008_000002.jpg",
     "annotations_detectron2/pc59_val/2008_000002.png", "index"),
    ("camvid", None, "CamVid/test/0001TP_8.png", "CamVid/testannot/0001TP_8.png", "dataset"),
    ("camvid", "val", "val/0016E5_9.png", "valannot/0016E5_9.png", "dataset"),
    ("camvid", None, "test/0001TP_8.png", "test_labels/0001TP_8_L.png", "camvid-colours"),
    ("camvid", None, "701_StillsRaw_full/0001TP_8.png", "LabeledApproved_full/0001TP_8_L.png",
     "camvid-colours"),
]  # fmt: skip


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("dataset", "split", "image", "label", "values"), LAYOUTS)
def test_every_layout_is_found_with_and_without_its_name(
    tmp_path: Path, named: bool, dataset: str, split: str | None, image: str, label: str,
    values: str,
) -> None:  # fmt: skip
    touch(tmp_path, image, label)
    found = find_dataset(tmp_path, dataset if named else None, split)
    assert (found.dataset, found.values) == (dataset, values)
    assert [(p.image, p.label) for p in found.pairs] == [(tmp_path / image, tmp_path / label)]


def test_cityscapes_own_numbers_go_before_train_ids(tmp_path: Path) -> None:
    touch(tmp_path, f"{CITY}_leftImg8bit.png")
    touch(tmp_path, f"{CITY_TRUTH}_labelTrainIds.png", f"{CITY_TRUTH}_labelIds.png")
    assert find_dataset(tmp_path).values == "dataset"


def test_pairs_come_in_order_and_a_hole_is_named(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        touch(tmp_path, f"images/validation/{name}.jpg", f"annotations/validation/{name}.png")
    pairs = find_dataset(tmp_path, "ade").pairs
    assert [pair.image.stem for pair in pairs] == ["a", "b", "c"]
    (tmp_path / "annotations/validation/b.png").unlink()
    with pytest.raises(SourceError, match=r"1 of 3 images .*validation/b\.jpg needs .*b\.png"):
        find_dataset(tmp_path, "ade")


def test_pascal_takes_the_images_of_its_list_or_those_with_labels(tmp_path: Path) -> None:
    for name in ("2008_1", "2008_2", "2008_3"):
        touch(tmp_path, f"JPEGImages/{name}.jpg")
    for name in ("2008_1", "2008_2"):
        touch(tmp_path, f"SegmentationClassContext/{name}.png")
    assert len(find_dataset(tmp_path, "pascal-context").pairs) == 2
    touch(tmp_path, "ImageSets/SegmentationContext/val.txt")
    (tmp_path / "ImageSets/SegmentationContext/val.txt").write_text("2008_2\n")
    (only,) = find_dataset(tmp_path, "pascal-context").pairs
    assert only.image.stem == "2008_2"


def test_what_was_looked_for_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no folder"):
        find_dataset(tmp_path / "nowhere")
    with pytest.raises(SourceError) as caught:
        find_dataset(tmp_path, "ade", "testing")
    said = str(caught.value)
    assert "images/testing/*.jpg  with  annotations/testing/*.png" in said
    assert "gtFine" not in said
    with pytest.raises(SourceError, match="leftImg8bit/val"):
        find_dataset(tmp_path)


def test_two_folders_of_ones_own(tmp_path: Path) -> None:
    touch(tmp_path, "i/b.PNG", "i/a.jpg", "i/notes.txt", "l/a.png", "l/b.png")
    pairs = find_pairs(tmp_path / "i", tmp_path / "l").pairs
    assert [(p.image.name, p.label.name) for p in pairs] == [("a.jpg", "a.png"), ("b.PNG", "b.png")]
    with pytest.raises(SourceError, match=r"empty holds no \.png or \.jpg"):
        find_pairs(tmp_path / "l" / "empty", tmp_path)


@pytest.mark.skipif(not (SHARED / "data/camvid").is_dir(), reason="../shared/data/camvid is absent")
def test_the_real_camvid() -> None:
    found = find_dataset(SHARED / "data" / "camvid" / "0016E5", "camvid", "val")
    assert (len(found.pairs), found.values) == (101, "dataset")
