"""Whole frames or crops; the hood goes with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from acclimate.adapt.batch import Frames, crop, draw_batch, to_images
from acclimate.configs.adapt import AdaptConfig

SETTINGS = AdaptConfig(batch=3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def ramp() -> Tensor:
    """(3, 40, 60): the pixel's row, its column, and whether it is under the hood."""
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    return torch.stack([rows, columns, 100.0 * (rows >= 30)])


def test_whole_frames_are_drawn_as_they_are(frames: Frames) -> None:
    valid = torch.ones(1, 64, 64, dtype=torch.bool)
    valid[0, 50:] = False
    batch = draw_batch(frames, valid, SETTINGS, seeded())
    assert batch.images.shape == (3, 3, 64, 64) and batch.size == (64, 64)
    assert torch.equal(batch.valid, valid.expand(3, -1, -1))
    stored = to_images(frames)
    assert all(any(torch.equal(image, one) for one in stored) for image in batch.images)
    again = draw_batch(frames, valid, SETTINGS, seeded())
    assert torch.equal(again.images, batch.images)


def test_each_frame_brings_what_counts_of_its_camera(frames: Frames) -> None:
    valid = torch.rand(len(frames), 64, 64) > 0.5
    batch = draw_batch(frames, valid, SETTINGS, seeded())
    stored = to_images(frames)
    for image, seen in zip(batch.images, batch.valid, strict=True):
        which = next(i for i, one in enumerate(stored) if torch.equal(image, one))
        assert torch.equal(seen, valid[which])


def test_a_crop_at_its_own_scale_is_a_piece_of_the_frame(ramp: Tensor) -> None:
    valid = (ramp[2] == 0)[None]
    places = set()
    for seed in range(30):
        piece, seen = crop(ramp, valid, 16, (1.0, 1.0), seeded(seed))
        y, x = int(piece[0, 0, 0]), int(piece[1, 0, 0])
        assert torch.allclose(piece, ramp[:, y : y + 16, x : x + 16], atol=1e-3)
        assert torch.equal(seen, valid[:, y : y + 16, x : x + 16])
        places.add((y, x))
    assert len(places) > 20
    assert max(y for y, _ in places) > 18 and max(x for _, x in places) > 36


@pytest.mark.parametrize(("scale", "spacing"), [(2.0, 0.5), (0.5, 2.0), (0.1, 40 / 16)])
def test_the_factor_resizes_and_is_raised_where_the_frame_is_too_small(
    ramp: Tensor, scale: float, spacing: float
) -> None:
    piece, seen = crop(ramp, torch.ones(1, 40, 60) > 0, 16, (scale, scale), seeded(4))
    assert piece.shape == (3, 16, 16) and seen.all()
    steps = piece[1, 8, 3:13].diff()
    assert steps.mean().item() == pytest.approx(spacing, rel=0.05)


def test_factors_lie_within_their_range(ramp: Tensor) -> None:
    valid = torch.ones(1, 40, 60, dtype=torch.bool)
    pieces = [crop(ramp, valid, 16, (0.5, 2.0), seeded(s))[0] for s in range(40)]
    factors = [1 / float(piece[1, 8, 3:13].diff().mean()) for piece in pieces]
    assert 0.45 < min(factors) < 0.8 and 1.6 < max(factors) < 2.2


def test_crops_of_a_batch_are_equal_squares(frames: Frames) -> None:
    valid = torch.ones(1, 64, 64, dtype=torch.bool)
    for side, expected in ((32, 32), (384, 64)):
        batch = draw_batch(frames, valid, replace(SETTINGS, crop=side), seeded())
        assert batch.images.shape == (3, 3, expected, expected)
        assert batch.valid.shape == (3, expected, expected)
        assert batch.images.min() >= 0 and batch.images.max() <= 255


def test_frames_become_floats() -> None:
    frame = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    images = to_images([frame])
    assert images.shape == (1, 3, 2, 4) and images.dtype == torch.float32
    assert images[0, :, 1, 2].tolist() == frame[1, 2].tolist()
