"""A round that collapses is ended with the number that tells."""

from __future__ import annotations

from math import inf, log2, nan

import pytest
import torch

from acclimate.adapt.monitor import WINDOW, Monitor, entropy
from acclimate.adapt.strategy import Step
from acclimate.configs.adapt import AdaptConfig
from acclimate.errors import Diverged

NAMES = ("road", "sky", "car")
BOUNDS = AdaptConfig(max_class_share=0.9, min_entropy=0.5)


def step(*said: int, loss: float = 1.0) -> Step:
    return Step(loss, torch.tensor(said))


@pytest.mark.parametrize("loss", [nan, inf, -inf])
def test_a_loss_that_is_no_number_ends_it_at_once(loss: float) -> None:
    with pytest.raises(Diverged, match=f"loss is {loss} at step 4"):
        Monitor(BOUNDS, NAMES)(4, step(1, 1, 1, loss=loss))


def test_one_class_everywhere_ends_it_after_a_window() -> None:
    watch = Monitor(BOUNDS, NAMES)
    for number in range(1, WINDOW):
        watch(number, step(0, 99, 1))
    with pytest.raises(Diverged, match=rf"step {WINDOW}: 99\.0% of the pixels are 'sky'.*0\.9;"):
        watch(WINDOW, step(0, 99, 1))


def test_one_image_of_one_class_is_no_collapse() -> None:
    watch = Monitor(BOUNDS, NAMES)
    for number in range(1, 5 * WINDOW):
        watch(number, step(100, 0, 0) if number % 3 == 0 else step(10, 50, 40))


def test_labels_that_lose_half_of_their_entropy_end_it() -> None:
    watch = Monitor(BOUNDS, NAMES)
    for number in range(1, WINDOW + 1):
        watch(number, step(1, 1, 1))
    with pytest.raises(Diverged, match=r"from 1\.58 to 0\.\d+ bits, adapt\.min_entropy is 0\.5"):
        for number in range(WINDOW + 1, 3 * WINDOW):
            watch(number, step(17, 3, 0))


def test_an_evenly_poor_scene_is_no_collapse() -> None:
    watch = Monitor(BOUNDS, NAMES)
    for number in range(1, 4 * WINDOW):
        watch(number, step(17, 3, 0))


def test_who_says_nothing_is_not_watched() -> None:
    watch = Monitor(BOUNDS, NAMES)
    for number in range(1, 4 * WINDOW):
        watch(number, step(0, 0, 0, loss=0.0))


def test_the_published_presets_never_end_early() -> None:
    watch = Monitor(AdaptConfig(max_class_share=1.0, min_entropy=0.0), NAMES)
    for number in range(1, 4 * WINDOW):
        watch(number, step(1, 1, 1) if number < WINDOW else step(7, 0, 0))


def test_entropy_is_in_bits() -> None:
    assert entropy(torch.tensor([0.5, 0.25, 0.25, 0.0])) == pytest.approx(1.5)
    assert entropy(torch.full((3,), 1 / 3)) == pytest.approx(log2(3))
    assert entropy(torch.tensor([0.0, 1.0])) == 0.0
