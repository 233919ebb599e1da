"""Views of the student: drawn, repeatable, within the pixel range."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from acclimate.adapt.augment import Jitter, blur, colour_jitter, flip, flip_flags, grayscale


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return 255 * torch.rand(2, 3, 6, 8, generator=seeded(1))


def test_equal_generators_give_equal_views(images: Tensor) -> None:
    first, again = (colour_jitter(images, Jitter(), seeded(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, colour_jitter(images, Jitter(), seeded(6)))


def test_each_image_has_its_own_draws(images: Tensor) -> None:
    twice = images[:1].expand(2, -1, -1, -1)
    first, second = colour_jitter(twice, Jitter(), seeded(5))
    assert not torch.equal(first, second)


def test_no_strength_is_no_change(images: Tensor) -> None:
    same = colour_jitter(images, Jitter(0.0, 0.0, 0.0, 0.0), seeded(5))
    torch.testing.assert_close(same, images)


@pytest.mark.parametrize("seed", range(4))
def test_values_stay_in_the_pixel_range(images: Tensor, seed: int) -> None:
    strong = colour_jitter(images, Jitter(3.0, 3.0, 3.0, 0.5), seeded(seed))
    assert strong.shape == images.shape
    assert strong.min() >= 0.0 and strong.max() <= 255.0


@pytest.mark.parametrize("seed", range(4))
def test_brightness_is_one_factor_within_its_strength(seed: int) -> None:
    grey = torch.full((1, 3, 2, 2), 100.0)
    view = colour_jitter(grey, Jitter(0.5, 0.0, 0.0, 0.0), seeded(seed))
    assert view.min() >= 50.0 and view.max() <= 150.0
    assert view.max() - view.min() < 1e-3


def test_only_flagged_rows_are_mirrored() -> None:
    labels = torch.tensor([[[1, 2, 3]], [[4, 5, 6]]])
    flags = torch.tensor([False, True])
    assert flip(labels, flags).tolist() == [[[1, 2, 3]], [[6, 5, 4]]]
    image = torch.arange(12.0).view(2, 2, 1, 3)
    assert flip(image, flags)[1].tolist() == [[[8.0, 7.0, 6.0]], [[11.0, 10.0, 9.0]]]
    assert torch.equal(flip(flip(image, flags), flags), image)


def test_flip_flags_follow_probability_and_generator() -> None:
    assert not flip_flags(50, seeded(0), 0.0).any()
    assert flip_flags(50, seeded(0), 1.0).all()
    assert torch.equal(flip_flags(50, seeded(3)), flip_flags(50, seeded(3)))
    assert 5 < flip_flags(50, seeded(3)).sum() < 45


def test_a_grey_image_has_the_weighted_mean_of_its_channels(images: Tensor) -> None:
    """ITU-R 601-2 luma, as torchvision's RandomGrayscale."""
    grey = grayscale(images, 1.0, seeded(0))
    weights = torch.tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)
    expected = (images * weights).sum(1, keepdim=True).expand_as(images)
    torch.testing.assert_close(grey, expected)


def test_images_are_greyed_one_by_one() -> None:
    images = 255 * torch.rand(200, 3, 2, 2, generator=seeded(1))
    view = grayscale(images, 0.2, seeded(2))
    greyed = (view[:, 0] == view[:, 1]).flatten(1).all(1)
    assert 20 < greyed.sum() < 65
    assert torch.equal(view[~greyed], images[~greyed])


def test_a_blur_takes_the_whole_batch_or_none(images: Tensor) -> None:
    views = [blur(images, 0.5, seeded(seed)) for seed in range(40)]
    changed = [bool((view != images).flatten(1).any(1).all()) for view in views]
    assert all(c or torch.equal(v, images) for c, v in zip(changed, views, strict=True))
    assert 8 < sum(changed) < 32
    blurred = views[changed.index(True)]
    assert blurred.std() < images.std()
    flat = torch.full((1, 3, 9, 9), 77.0)
    torch.testing.assert_close(blur(flat, 1.0, seeded(0)), flat)


def test_what_is_off_draws_nothing(images: Tensor) -> None:
    generator = seeded(3)
    assert grayscale(images, 0.0, generator) is images
    assert blur(images, 0.0, generator) is images
    assert torch.equal(generator.get_state(), seeded(3).get_state())
