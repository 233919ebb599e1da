"""Label maps as class indices."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.configs.vocabulary import NOT_COUNTED, load_vocabulary
from acclimate.errors import SourceError
from acclimate.runtime.truth import from_colours, labelled, read_truth

# The published labels.py of Cityscapes and label lists of the others, by hand.
KNOWN = [
    ("cityscapes", {7: "road", 11: "building", 24: "person", 33: "bicycle"}, [0, 9, 255]),
    ("ade150", {1: "wall", 7: "road", 150: "flag"}, [0]),
    ("pascal-context59", {1: "aeroplane", 2: "bag", 59: "wood"}, [0]),
    ("camvid", {0: "sky", 3: "road", 10: "bicyclist"}, [11]),
]


def save(path: Path, values: list[int] | NDArray[np.uint8]) -> Path:
    assert cv2.imwrite(str(path), np.atleast_2d(np.array(values, np.uint8)))
    return path


@pytest.mark.parametrize(("name", "labels", "void"), KNOWN)
def test_the_numbers_of_data_sets_become_indices(
    tmp_path: Path, name: str, labels: dict[int, str], void: list[int]
) -> None:
    words = load_vocabulary(name)
    truth = read_truth(save(tmp_path / "a.png", [*labels, *void]), "dataset", words)[0]
    assert [words.names[i] for i in truth[: len(labels)]] == list(labels.values())
    assert truth[len(labels) :].tolist() == [NOT_COUNTED] * len(void)


def test_numbers_of_another_data_set_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", [1, 59, 60, 255])
    with pytest.raises(SourceError, match=r"a\.png holds the values \[60\]"):
        read_truth(path, "dataset", load_vocabulary("pascal-context59"))


def test_indices_stay_and_what_is_no_class_counts_nowhere(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", [0, 10, 11, 255])
    truth = read_truth(path, "index", load_vocabulary("camvid"))
    assert truth.tolist() == [[0, 10, NOT_COUNTED, NOT_COUNTED]]


@pytest.mark.parametrize("value", [12, 200])
def test_what_is_no_index_is_of_another_data_set(tmp_path: Path, value: int) -> None:
    path = save(tmp_path / "a.png", [0, value])
    with pytest.raises(SourceError, match=rf"a\.png holds the values \[{value}\].* as indices"):
        read_truth(path, "index", load_vocabulary("camvid"))


def test_labels_of_a_data_set_are_no_indices(tmp_path: Path) -> None:
    """26 is Cityscapes's car, and ignored by none as an index."""
    words = load_vocabulary("cityscapes")
    path = save(tmp_path / "a.png", [7, 26])
    assert words.names[read_truth(path, "dataset", words)[0, 1]] == "car"
    with pytest.raises(SourceError, match="26"):
        read_truth(path, "index", words)


def test_a_folder_of_yours_is_paired_by_stem_in_order(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    words = load_vocabulary("camvid")
    with pytest.raises(SourceError, match="images holds no"):
        list(labelled(tmp_path, words))
    for name, level in (("b.PNG", 90), ("a.jpg", 30)):
        cv2.imwrite(str(tmp_path / "images" / name), np.full((8, 8, 3), level, np.uint8))
        save(tmp_path / "labels" / f"{Path(name).stem}.png", [level // 30, 255])
    (tmp_path / "images" / "notes.txt").write_text("not a picture")
    told = [(image.mean(), truth.tolist()) for image, truth in labelled(tmp_path, words)]
    assert told == [(30, [[1, NOT_COUNTED]]), (90, [[3, NOT_COUNTED]])]
    (tmp_path / "labels" / "a.png").unlink()
    with pytest.raises(SourceError, match=r"images/a\.jpg.*labels/a\.png"):
        list(labelled(tmp_path, words))


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((128, 128, 128), "sky"), ((192, 0, 128), "building"), ((192, 192, 128), "pole"),
        ((128, 0, 192), "road"), ((0, 0, 192), "pavement"), ((192, 192, 0), "tree"),
        ((0, 64, 64), "sign symbol"), ((64, 64, 128), "fence"), ((64, 128, 192), "car"),
        ((192, 128, 64), "pedestrian"), ((0, 128, 192), "bicyclist"),
    ],
)  # fmt: skip
def test_camvids_colours_become_its_eleven_classes(
    tmp_path: Path, colour: tuple[int, int, int], name: str
) -> None:
    mask = np.full((2, 3, 3), colour, np.uint8)
    mask[0, 0] = 0
    cv2.imwrite(str(tmp_path / "a_L.png"), mask[:, :, ::-1])
    words = load_vocabulary("camvid")
    truth = read_truth(tmp_path / "a_L.png", "camvid-colours", words)
    assert truth[0, 0] == NOT_COUNTED
    assert {words.names[i] for i in truth.ravel()[1:]} == {name}


def test_a_colour_that_was_smoothed_a_little_is_still_read() -> None:
    image = np.array([[(130, 62, 129), (0, 3, 1)]], np.uint8)
    assert from_colours(image).tolist() == [[3, NOT_COUNTED]]
