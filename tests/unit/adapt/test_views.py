"""What the two sides see and say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from acclimate.adapt.batch import Frames, to_images
from acclimate.adapt.strategies.entropy import mean_entropy
from acclimate.adapt.strategy import Setup
from acclimate.adapt.views import (
    class_logits,
    count_classes,
    student_logits,
    student_texts,
    student_view,
    teacher_probability,
)
from acclimate.configs.adapt import AdaptConfig
from acclimate.errors import Diverged
from acclimate.model.colour import colour_of, recolour
from acclimate.model.load import load_base

Make = Callable[..., Setup]
EVERY = torch.arange(4)


def test_class_logits_have_the_summed_softmax() -> None:
    logits = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(1))
    owner = torch.eye(3)[[0, 0, 1, 2, 2]]
    p = logits.softmax(1)
    expected = torch.stack([p[:, :2].sum(1), p[:, 2], p[:, 3:].sum(1)], 1)
    torch.testing.assert_close(class_logits(logits, owner).softmax(1), expected)


def seen_by(setup: Setup, image: Tensor, kept: Tensor, clean: Tensor) -> Tensor:
    return student_logits(setup, student_texts(setup, kept[None]), image, kept, clean)


@torch.no_grad()
def test_the_student_reads_names_or_concepts(make: Make, frames: Frames) -> None:
    image = to_images(frames[:1])
    both, names = make(), make(alignment="teacher")
    words = names.words
    plain = words.base.network(image, words.embed_names())
    assert torch.equal(seen_by(names, image, EVERY, image), plain)
    served = words.base.network(image, words.embed())
    expected = class_logits(served, words.owner)
    torch.testing.assert_close(seen_by(both, image, EVERY, image), expected)
    kept = torch.tensor([1, 3])
    some = words.base.network(image, words.embed()[[1, 2, 3, 6]])
    torch.testing.assert_close(
        seen_by(both, image, kept, image),
        class_logits(some, words.owner[[1, 2, 3, 6]][:, kept]),
    )


def test_the_teacher_has_concepts_unless_nobody_has(make: Make, frames: Frames) -> None:
    images = to_images(frames[:2])
    both, teacher, nobody = (
        teacher_probability(make(alignment=a, mirror=False), images)
        for a in ("both", "teacher", "none")
    )
    assert torch.equal(both, teacher)
    assert not torch.allclose(both, nobody)
    torch.testing.assert_close(nobody.sum(1), torch.ones(2, 64, 64))


def test_a_mirrored_teacher_says_the_same_of_a_mirrored_image(make: Make, frames: Frames) -> None:
    setup, images = make(), to_images(frames[:1])
    there, back = teacher_probability(setup, images), teacher_probability(setup, images.flip(-1))
    torch.testing.assert_close(there, back.flip(-1), atol=1e-6, rtol=1e-5)
    alone = replace(setup, settings=replace(setup.settings, mirror=False))
    assert not torch.allclose(teacher_probability(alone, images), there)


def test_a_second_look_in_other_colours_counts_as_much_as_the_first(
    make: Make, frames: Frames
) -> None:
    """The frames as they are and in its colours; and both looks mirrored."""
    images = to_images(frames[:1])
    colour = torch.from_numpy(colour_of(load_base().daylight, "whole"))
    moved = recolour(images, colour)
    alone = make(mirror=False)
    there, other = (teacher_probability(alone, view) for view in (images, moved))
    assert not torch.allclose(there, other)
    two = replace(make(mirror=False, teacher_colour="whole"), daylight=colour)
    torch.testing.assert_close(teacher_probability(two, images), (there + other) / 2)
    back = [teacher_probability(alone, view.flip(-1)).flip(-1) for view in (images, moved)]
    four = replace(two, settings=replace(two.settings, mirror=True))
    mean = (there + other + back[0] + back[1]) / 4
    torch.testing.assert_close(teacher_probability(four, images), mean)


@torch.no_grad()
@pytest.mark.parametrize(("variant", "moves"), [("v1", True), ("v2", False)])
def test_a_clean_guide_reaches_v1s_resnet_alone(
    make: Make, frames: Frames, variant: str, moves: bool
) -> None:
    hidden, clean = torch.zeros(1, 3, 64, 64), to_images(frames[:1])
    same, guided = make(variant), make(variant, guidance="clean")
    before = seen_by(same, hidden, EVERY, clean)
    after = seen_by(guided, hidden, EVERY, clean)
    assert torch.equal(before, after) is not moves
    assert torch.equal(seen_by(guided, hidden, EVERY, hidden), before)


def test_hidden_blocks_are_black_after_the_jitter(frames: Frames) -> None:
    images, settings = to_images(frames), AdaptConfig(mask_ratio=0.5, mask_block=16, jitter=0.5)
    view = student_view(images + 1, settings, torch.Generator().manual_seed(0))
    cells = view.unflatten(-1, (4, 16)).unflatten(-3, (4, 16)).amax((1, 3, 5))
    assert 0.3 < (cells == 0).float().mean() < 0.7
    assert torch.equal(
        student_view(images, replace(settings, mask_ratio=1.0), torch.Generator()), 0 * images
    )


def test_pixels_are_counted_where_they_are_seen() -> None:
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 1, 0] = 1.0
    seen = torch.ones(4, 4, dtype=torch.bool)
    seen[:, 2:] = False
    kept = torch.tensor([1, 3])
    assert count_classes(logits, kept, seen, 5).tolist() == [0, 1, 0, 1, 0]
    assert count_classes(logits, kept, ~seen & seen, 5).tolist() == [0] * 5


def test_entropy_of_known_pixels() -> None:
    logits = torch.tensor([0.5, 0.5, 0.9, 0.1]).log().view(2, 2).T.view(1, 2, 1, 2)
    half, sure = 0.6931472, 0.3250830
    both, one = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[False, True]])
    assert mean_entropy(logits, both).item() == pytest.approx((half + sure) / 2)
    assert mean_entropy(logits, one).item() == pytest.approx(sure)
    assert mean_entropy(logits, ~both).item() == 0.0
    with pytest.raises(Diverged, match="entropy"):
        mean_entropy(logits * float("nan"), both)
