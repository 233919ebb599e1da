"""Scores against scikit-learn, and boundaries against the erosion of each mask on its own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from sklearn.metrics import accuracy_score, jaccard_score, recall_score

from acclimate.runtime.scores import Scores, band, band_width

CLASSES, VOID = 5, 255
NAMES = tuple("abcde")
Pairs = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def blobs(rng: np.random.Generator, size: tuple[int, int], values: list[int]) -> NDArray[np.uint8]:
    """A map of larger patches with single pixels strewn in."""
    cells = rng.choice(values, (size[0] // 8 + 1, size[1] // 8 + 1))
    full = np.kron(cells, np.ones((8, 8), int))[: size[0], : size[1]]
    noise = rng.choice(values, size)
    return np.where(rng.random(size) < 0.02, noise, full).astype(np.uint8)


@pytest.fixture
def pairs() -> Pairs:
    """Truth with void and without class 4; a guess that is right on half of it."""
    rng, found = np.random.default_rng(3), []
    for size in ((61, 90), (40, 33), (128, 128)):
        truth = blobs(rng, size, [0, 1, 2, 3, VOID])
        guess = np.where(rng.random(size) < 0.5, truth, blobs(rng, size, list(range(CLASSES))))
        found.append((truth, np.where(guess == VOID, 2, guess).astype(np.uint8)))
    return found


def scored(pairs: Pairs) -> dict:
    scores = Scores(CLASSES)
    for truth, guess in pairs:
        scores.add(truth, guess)
    return scores.report(NAMES)


def test_iou_and_accuracy_are_those_of_scikit_learn(pairs: Pairs) -> None:
    report = scored(pairs)
    truth = np.concatenate([t[t != VOID] for t, _ in pairs])
    guess = np.concatenate([g[t != VOID] for t, g in pairs])
    iou = 100 * jaccard_score(truth, guess, labels=range(4), average=None)
    recall = 100 * recall_score(truth, guess, labels=range(4), average=None)
    for i, name in enumerate("abcd"):
        assert report["classes"][name]["iou"] == pytest.approx(iou[i])
        assert report["classes"][name]["accuracy"] == pytest.approx(recall[i])
        assert report["classes"][name]["share"] == pytest.approx(100 * (truth == i).mean())
    assert report["miou"] == pytest.approx(iou.mean())
    assert report["mean_accuracy"] == pytest.approx(recall.mean())
    assert report["accuracy"] == pytest.approx(100 * accuracy_score(truth, guess))
    assert (report["frames"], report["pixels"]) == (3, len(truth))


def test_a_class_without_labels_has_no_score(pairs: Pairs) -> None:
    row = scored(pairs)["classes"]["e"]
    assert (row["iou"], row["accuracy"], row["boundary_iou"], row["share"]) == (None,) * 3 + (0,)


def edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask less its erosion by 2 % of the diagonal, outside being no mask."""
    rounds = max(1, round(0.02 * np.hypot(*mask.shape)))
    return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=rounds, border_value=0)


def test_boundaries_are_those_of_the_masks_one_by_one(pairs: Pairs) -> None:
    both, either = np.zeros(CLASSES), np.zeros(CLASSES)
    for truth, guess in pairs:
        seen = np.where(truth == VOID, VOID, guess)
        for i in range(CLASSES):
            there, said = edge(truth == i), edge(seen == i)
            both[i] += (there & said).sum()
            either[i] += (there | said).sum()
    report = scored(pairs)
    expected = 100 * both[:4] / either[:4]
    found = [report["classes"][name]["boundary_iou"] for name in "abcd"]
    np.testing.assert_allclose(found, expected)
    assert report["boundary_miou"] == pytest.approx(expected.mean())


def test_the_band_of_a_square_by_hand() -> None:
    labels = np.zeros((9, 9), np.uint16)
    labels[2:7, 2:7] = 1
    expected = np.zeros((9, 9), bool)
    expected[[0, -1]] = expected[:, [0, -1]] = True  # beyond the image is no class
    expected[1:8, 1:8] = True
    expected[3:6, 3:6] = False
    np.testing.assert_array_equal(band(labels, 1), expected)


@pytest.mark.parametrize(("size", "width"), [((1024, 2048), 46), ((360, 480), 12), ((3, 4), 1)])
def test_the_band_is_2_percent_of_the_diagonal(size: tuple[int, int], width: int) -> None:
    assert band_width(size) == width  # 0.02 * 2289.7, 0.02 * 600; one pixel at least


def test_a_perfect_answer_has_100_everywhere(pairs: Pairs) -> None:
    report = scored([(truth, np.where(truth == VOID, 0, truth)) for truth, _ in pairs])
    numbers = [report[k] for k in ("miou", "boundary_miou", "accuracy", "mean_accuracy")]
    assert numbers == [100] * 4
