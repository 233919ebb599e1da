"""Changed looks stay pictures, change, and move nothing."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.model.photometric import distort

RNG = np.random.default_rng
PICTURE = RNG(0).uniform(0, 255, (48, 64, 3)).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_what_comes_out_is_a_picture(seed: int) -> None:
    found = distort(PICTURE, RNG(seed))
    assert found.shape == PICTURE.shape
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 255


def test_by_no_chance_nothing_changes() -> None:
    np.testing.assert_array_equal(distort(PICTURE, RNG(0), chance=0.0), PICTURE)


def test_the_same_draws_give_the_same_picture_and_others_another() -> None:
    one, again, other = (distort(PICTURE, RNG(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 1


def test_edges_stay_where_they_are() -> None:
    """A step from dark to bright in the middle is still the steepest place."""
    step = np.full((48, 64, 3), 60, np.float32)
    step[:, 32:] = 200
    for seed in range(20):
        rows = distort(step, RNG(seed)).mean((0, 2))
        assert abs(int(np.abs(np.diff(rows)).argmax()) - 31) <= 1


def test_darker_is_more_frequent_than_brighter() -> None:
    means = [distort(PICTURE, RNG(seed)).mean() for seed in range(200)]
    assert np.mean(np.array(means) < PICTURE.mean()) > 0.5
