"""From string logits to class probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from acclimate.model.inference import class_probabilities, shortest_edge

OWNER = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])


@pytest.fixture
def logits() -> Tensor:
    """Two frames, five strings, 3x4."""
    return 4 * torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("size", [(3, 4), (6, 8), (7, 5)])
def test_they_sum_to_one(logits: Tensor, size: tuple[int, int]) -> None:
    found = class_probabilities(logits, OWNER, size)
    assert found.shape == (2, 3, *size)
    assert float(found.min()) >= 0
    torch.testing.assert_close(found.sum(1), torch.ones(2, *size))


def test_each_class_is_the_sum_of_its_strings(logits: Tensor) -> None:
    found, strings = class_probabilities(logits, OWNER, (3, 4)), logits.softmax(1)
    torch.testing.assert_close(found[:, 0], strings[:, 0] + strings[:, 2])
    torch.testing.assert_close(found[:, 1], strings[:, 1] + strings[:, 4])
    torch.testing.assert_close(found[:, 2], strings[:, 3])


def test_many_weak_strings_outvote_a_strong_one() -> None:
    logits = torch.tensor([1.0, 1.2, 1.0, -9, -9]).view(1, 5, 1, 1)
    assert int(logits.argmax(1)) == 1
    assert int(class_probabilities(logits, OWNER, (1, 1)).argmax(1)) == 0


def test_logits_are_upsampled_before_the_softmax(logits: Tensor) -> None:
    found = class_probabilities(logits, OWNER, (6, 8))
    full = torch.nn.functional.interpolate(logits, (6, 8), mode="bilinear").softmax(1)
    torch.testing.assert_close(found[:, 2], full[:, 3])


def test_a_string_that_was_not_selected_counts_for_nothing(logits: Tensor) -> None:
    logits[:, 3] = -100
    found = class_probabilities(logits, OWNER, (3, 4))
    assert float(found[:, 2].max()) < 1e-20
    torch.testing.assert_close(found.sum(1), torch.ones(2, 3, 4))


def test_large_logits_stay_finite() -> None:
    logits = torch.tensor([1e4, -1e4, 0, 0, 0]).view(1, 5, 1, 1)
    assert class_probabilities(logits, OWNER, (1, 1)).flatten().tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 2048), (640, 1280)), ((300, 420), (640, 896)), ((421, 300), (898, 640)),
        ((100, 1000), (256, 2560)), ((1, 1), (640, 640)), ((1, 20000), (1, 2560)),
    ],
)  # fmt: skip
def test_the_shorter_side_becomes_640(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Sizes by detectron2's ResizeShortestEdge(640, 2560), pixels by PIL."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    ours = shortest_edge(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    assert ours.shape == (1, 3, *expected)
    theirs = Image.fromarray(pixels).resize(expected[::-1], Image.Resampling.BILINEAR)
    apart = np.abs(ours[0].permute(1, 2, 0).numpy().astype(int) - np.array(theirs, int))
    assert apart.max() <= 1
