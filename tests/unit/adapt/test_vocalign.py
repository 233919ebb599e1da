"""VocAlign's arithmetic on numbers small enough to work out by hand."""

from __future__ import annotations

from math import inf, log, nan
from typing import Any

import pytest
import torch
from torch import Tensor

from acclimate.adapt.vocalign import (
    IGNORE,
    aggregate,
    class_balance,
    mean_activation,
    pixel_weights,
    pseudo_label_loss,
    pseudo_labels,
    q_batch,
    q_image,
    top_k,
    upsample,
)
from acclimate.errors import Diverged

# One row of four pixels, three classes.
ROW = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.1, 0.2, 0.7]])
PROB = ROW.T.reshape(1, 3, 1, 4)
KEPT = torch.tensor([[0, 2]])
HOOD = torch.tensor([[[True, True, False, True]]])


def logits_of(*probabilities: float) -> Tensor:
    """(1, N, 1, 1)"""
    return torch.tensor(probabilities).log().view(1, -1, 1, 1)


def test_concepts_of_a_class_add_up() -> None:
    owner = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    classes = aggregate(logits_of(0.5, 0.25, 0.25).half(), owner, (1, 1))
    assert classes.dtype == torch.float32
    assert classes.flatten().tolist() == pytest.approx([0.75, 0.25], abs=1e-3)


def test_logits_grow_before_the_softmax() -> None:
    logits = torch.tensor([[[[0.0, 4.0]], [[0.0, 0.0]]]])
    assert upsample(logits, (1, 4))[0, 0].tolist() == [[0.0, 1.0, 3.0, 4.0]]
    first = aggregate(logits, torch.eye(2), (1, 4))[0, 0, 0]
    assert first.tolist() == pytest.approx([0.5, 0.7310586, 0.9525741, 0.9820138])


@pytest.mark.parametrize("bad", [nan, inf])
def test_logits_that_are_not_finite_end_the_round(bad: float) -> None:
    with pytest.raises(Diverged, match="teacher"):
        aggregate(torch.tensor([0.0, bad]).view(1, 2, 1, 1), torch.eye(2), (1, 1))


def test_the_hood_takes_no_part_in_the_mean() -> None:
    assert mean_activation(PROB)[0].tolist() == pytest.approx([0.325, 0.3, 0.375])
    prob = PROB.clone()
    prob[..., 2] = nan
    assert mean_activation(prob, HOOD)[0].tolist() == pytest.approx([0.3, 1 / 3, 1.1 / 3])
    assert mean_activation(prob, torch.zeros_like(HOOD)).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("k", "keep", "ids"),
    [
        (2, (), [[1, 3], [0, 2]]),
        (0, (), [[0, 1, 2, 3]] * 2),
        (4, (), [[0, 1, 2, 3]] * 2),
        (2, (0,), [[0, 1], [0, 2]]),
        (1, (3, 2), [[2, 3]] * 2),
        (0, (3,), [[0, 1, 2, 3]] * 2),
    ],
)
def test_the_most_active_and_the_safety_classes_are_kept(
    k: int, keep: tuple[int, ...], ids: list[list[int]]
) -> None:
    mean = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.7, 0.1, 0.2, 0.0]])
    before = mean.clone()
    assert top_k(mean, k, keep).tolist() == ids
    assert torch.equal(mean, before)


@pytest.mark.parametrize(("k", "keep"), [(5, ()), (-1, ()), (2, (4,)), (2, (-1,))])
def test_a_k_or_an_id_out_of_range_is_refused(k: int, keep: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="4 classes"):
        top_k(torch.rand(1, 4), k, keep)


def test_pruned_pixels_take_their_best_kept_class_and_ties_the_first() -> None:
    labels = pseudo_labels(PROB, KEPT)
    assert labels.local.tolist() == [[[0, 1, 0, 1]]]
    assert labels.class_ids.tolist() == [[[0, 2, 0, 2]]]
    assert labels.prob.flatten().tolist() == pytest.approx([0.6, 0.3, 0.4, 0.7])


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"ignore_pruned": True}, [0, IGNORE, 0, 2]),
        ({"floor": 0.5}, [0, IGNORE, IGNORE, 2]),
        ({"valid": HOOD}, [0, 2, IGNORE, 2]),
    ],
)
def test_pixels_not_to_learn_are_ignored(options: dict[str, Any], ids: list[int]) -> None:
    labels = pseudo_labels(PROB, KEPT, **options)
    assert labels.class_ids.flatten().tolist() == ids
    assert torch.equal(labels.local == IGNORE, labels.class_ids == IGNORE)


def test_a_floor_is_sure_itself_unless_it_is_strict() -> None:
    prob, every = torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1), torch.arange(3)[None]
    at, above = (pseudo_labels(prob, every, floor=0.5, strict=s).local.item() for s in (0, 1))
    assert (at, above) == (0, IGNORE)
    assert pseudo_labels(0 * prob, every, strict=True).local.item() == 0


def test_labels_need_room_for_ignore() -> None:
    with pytest.raises(ValueError, match="256"):
        pseudo_labels(torch.ones(1, 256, 1, 1), torch.arange(256)[None])


def test_q_counts_tau_itself_as_sure() -> None:
    prob = torch.tensor([[[0.75, 0.5, 0.25, 0.1]], [[0.1, 0.2, 0.3, 0.4]]])
    assert q_image(prob, 0.5).tolist() == [0.5, 0.0]
    assert q_batch(prob, 0.5).item() == 0.25
    assert q_image(prob, 0.5, strict=True).tolist() == [0.25, 0.0]
    assert q_batch(prob, 0.5, strict=True).item() == 0.125


def test_q_leaves_the_hood_out() -> None:
    prob = torch.tensor([[[0.9, 0.1, 0.9, 0.1]], [[0.9, 0.9, 0.1, 0.9]]])
    assert q_image(prob, 0.5, HOOD).tolist() == pytest.approx([1 / 3, 1.0])
    assert q_batch(prob, 0.5, HOOD).item() == pytest.approx(4 / 6)
    nothing = torch.zeros_like(HOOD)
    assert q_image(prob, 0.5, nothing).tolist() == [0.0, 0.0]
    assert q_batch(prob, 0.5, nothing).item() == 0.0


def test_weights_by_name() -> None:
    prob = torch.tensor([[[0.9, 0.1]], [[0.9, 0.9]]])
    assert pixel_weights("none", prob, 0.5) is None
    assert pixel_weights("pixel", prob, 0.5) is prob
    batch, image = pixel_weights("q_batch", prob, 0.5), pixel_weights("q_image", prob, 0.5)
    assert batch is not None and batch.tolist() == [[[0.75]]]
    assert image is not None and image.tolist() == [[[0.5]], [[1.0]]]
    with pytest.raises(ValueError, match="q_pixel"):
        pixel_weights("q_pixel", prob, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "weight", "loss"),
    [
        ([0, 1], None, (log(4 / 3) + log(4)) / 2),
        ([0, 1], [1.0, 0.0], log(4 / 3) / 2),
        ([0, 1], [0.5, 0.5], (log(4 / 3) + log(4)) / 4),
        ([0, IGNORE], None, log(4 / 3)),
        ([IGNORE, 1], [1.0, 0.5], log(4) / 2),
        ([IGNORE, IGNORE], None, 0.0),
    ],
)
def test_loss_is_the_weighted_mean_over_labelled_pixels(
    target: list[int], weight: list[float] | None, loss: float
) -> None:
    student = logits_of(0.75, 0.25).requires_grad_()
    weights = None if weight is None else torch.tensor([[weight]])
    ours = pseudo_label_loss(student, torch.tensor([[target]]), weights)
    assert ours.item() == pytest.approx(loss, rel=1e-6)
    ours.backward()
    assert student.grad is not None and bool(student.grad.any()) == (loss > 0)


def test_each_image_has_its_own_weight() -> None:
    student, target = logits_of(0.5, 0.5).expand(2, -1, -1, -1), torch.zeros(2, 1, 2).long()
    weight = torch.tensor([1.0, 0.0]).view(2, 1, 1)
    assert pseudo_label_loss(student, target, weight).item() == pytest.approx(log(2) / 2)


def test_a_loss_that_is_not_finite_ends_the_round() -> None:
    with pytest.raises(Diverged, match="loss"):
        pseudo_label_loss(torch.full((1, 2, 1, 1), nan), torch.zeros(1, 1, 1).long(), None)


def test_rare_classes_weigh_more_and_the_mean_is_one() -> None:
    ids = torch.tensor([[[0, 0, 0, 0, 7, IGNORE]]])
    weights = class_balance(ids, 0.5)
    assert weights.flatten().tolist() == pytest.approx([5 / 6] * 4 + [5 / 3, 0.0])
    assert weights[ids != IGNORE].mean().item() == pytest.approx(1.0)
    assert class_balance(ids, 0.0).flatten().tolist() == [1.0] * 5 + [0.0]


def test_nothing_labelled_weighs_nothing() -> None:
    assert class_balance(torch.full((1, 2, 2), IGNORE)).tolist() == [[[0.0, 0.0]] * 2]
