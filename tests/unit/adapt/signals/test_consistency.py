"""Mirrored and zoomed views."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.adapt.signals.consistency import mirror, unzoom, zoom

FRAME = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)


def test_a_mirrored_frame_is_one_read_backwards() -> None:
    assert np.array_equal(mirror(FRAME), np.fliplr(FRAME))


def test_a_zoomed_view_shows_the_middle_three_quarters() -> None:
    """A marked square of the middle, 1/4 of the frame's side, is 1/3 of the view's."""
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[18:30, 24:40] = 240
    seen = zoom(frame)[..., 0] > 120
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    assert (rows[0], rows[-1] + 1) == (16, 32)
    assert columns[0] == pytest.approx(64 / 3, abs=1)
    assert columns[-1] + 1 == pytest.approx(2 * 64 / 3, abs=1)


def test_back_in_the_frame_it_lies_where_it_came_from() -> None:
    labels = np.zeros((48, 64), np.uint8)
    labels[18:30, 24:40] = 1
    of_zoomed = (zoom(np.dstack([255 * labels] * 3))[..., 0] > 127).astype(np.uint8)
    back = unzoom(of_zoomed, 255)
    assert (back[:6] == 255).all()
    assert (back[:, :8] == 255).all()
    assert ((back == 1) != (labels == 1)).mean() < 0.01
