"""Blocks hidden from the student."""

from __future__ import annotations

import pytest
import torch

from acclimate.adapt.masking import block_mask, draw, mask_grid


@pytest.mark.parametrize(
    ("size", "block", "grid"),
    [((384, 384), 16, (24, 24)), ((20, 12), 8, (2, 2)), ((28, 13), 8, (4, 2)), ((3, 9), 8, (1, 1))],
)
def test_half_a_cell_rounds_to_even_and_one_is_the_least(
    size: tuple[int, int], block: int, grid: tuple[int, int]
) -> None:
    assert mask_grid(size, block) == grid


def test_a_draw_above_the_ratio_shows_its_block() -> None:
    v = torch.tensor([[[[0.3, 0.31], [0.9, 0.0]]]])
    mask = block_mask(v, (5, 3), 2, torch.tensor(0.3).item())
    assert mask.tolist() == [[[[0, 0, 1]] * 3 + [[1, 1, 0]] * 2]]
    assert mask.dtype == v.dtype


def test_draws_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 2\)"):
        block_mask(torch.zeros(1, 1, 2, 3), (16, 16), 8, 0.5)


def test_draws_are_repeatable_and_each_image_has_its_own() -> None:
    first, again = (draw(2, (32, 40), 8, torch.Generator().manual_seed(4)) for _ in range(2))
    assert first.shape == (2, 1, 4, 5)
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert first.min() >= 0.0 and first.max() < 1.0


def test_about_the_ratio_is_hidden() -> None:
    v = draw(4, (320, 320), 8, torch.Generator().manual_seed(0))
    hidden = 1.0 - block_mask(v, (320, 320), 8, 0.7).mean().item()
    assert hidden == pytest.approx(0.7, abs=0.03)
