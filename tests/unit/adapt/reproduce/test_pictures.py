"""Sizes, draws and distortions, as the released configurations and mmcv make them."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
import torch

from acclimate.adapt.reproduce.pictures import chosen, distort, draw, fitted
from acclimate.configs.reproduction import Dataset, recipe_for
from tests.unit.adapt.reproduce.conftest import write

STILL = [0.9, 0.0] * 4 + [0.0]


@pytest.mark.parametrize(("dataset", "was", "becomes"), [
    ("cityscapes", (1024, 2048), (1024, 2048)), ("pc59", (375, 500), (520, 520)),
    ("ade", (480, 640), (512, 683)), ("ade", (300, 1600), (384, 2048)),
    ("ade", (683, 512), (683, 512)),
])  # fmt: skip
def test_pictures_are_scored_at_the_published_sizes(
    dataset: Dataset, was: tuple[int, int], becomes: tuple[int, int]
) -> None:
    """ADE: mmcv's rescale_size to (2048, 512) by hand, int(n * factor + 0.5)."""
    picture = np.zeros((*was, 3), np.uint8)
    assert fitted(picture, recipe_for(dataset, "paper")).shape == (*becomes, 3)


def test_every_picture_is_seen_once_an_epoch() -> None:
    seen = [i for step in range(21) for i in chosen(7, 2, step, seed=3)]
    epochs = [seen[i : i + 7] for i in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 3
    assert [i for step in range(21) for i in chosen(7, 2, step, seed=4)] != seen


def test_draws_follow_the_generator_and_fill_the_crop(tmp_path: Any) -> None:
    for i in range(3):
        image = np.random.default_rng(i).integers(0, 256, (40, 60, 3), np.uint8)
        write(tmp_path / f"{i}.png", image)
    paths = sorted(tmp_path.glob("*.png"))
    recipe = recipe_for("ade", "paper", batch=2, crop=48)

    def batch(seed: int) -> torch.Tensor:
        return draw(paths, recipe, 0, 0, torch.Generator().manual_seed(seed)).images

    assert batch(1).shape == (2, 3, 48, 48)
    assert torch.equal(batch(1), batch(1))
    assert not torch.equal(batch(1), batch(2))


def test_nothing_drawn_nothing_changed() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(distort(picture, STILL), picture)


def test_brightness_and_contrast_are_linear_and_cut() -> None:
    picture = np.array([[[0, 100, 250]]], np.uint8)
    brighter = distort(picture, [0.0, 1.0, *STILL[2:]])  # + 32
    np.testing.assert_array_equal(brighter[0, 0], [32, 132, 255])
    steeper = distort(picture, [0.9, 0.0, 0.0, 1.0, *STILL[4:]])  # times 1.5
    np.testing.assert_array_equal(steeper[0, 0], [0, 150, 255])
    last = distort(picture, [0.0, 1.0, 0.0, 1.0, *STILL[4:8], 1.0])
    np.testing.assert_array_equal(last[0, 0], [48, 198, 255])


def test_saturation_and_hue_turn_as_colorsys_does() -> None:
    picture = np.array([[[200, 100, 50]]], np.uint8)
    h, s, v = colorsys.rgb_to_hsv(*picture[0, 0] / 255)
    paler = distort(picture, [*STILL[:4], 0.0, 0.0, *STILL[6:]])  # saturation times 0.5
    expected = np.array(colorsys.hsv_to_rgb(h, s / 2, v)) * 255
    np.testing.assert_allclose(paler[0, 0], expected, atol=2)
    turned = distort(picture, [*STILL[:6], 0.0, 1.0, 0.0])  # + 18 of 180
    expected = np.array(colorsys.hsv_to_rgb((h + 0.1) % 1, s, v)) * 255
    np.testing.assert_allclose(turned[0, 0], expected, atol=3)
