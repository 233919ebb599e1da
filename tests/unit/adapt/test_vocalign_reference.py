"""VocAlign's arithmetic against a slow one: NumPy and loops, written from the facts alone.

Made-up batches: ties, two classes, one image, everything below tau, K of one to all classes, up to
255 classes, pixels whose best class is pruned, blocks and ratios of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, floor, log
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from acclimate.adapt import vocalign
from acclimate.adapt.ema import EmaTeacher
from acclimate.adapt.masking import block_mask, mask_grid

Array = NDArray[np.float64]
SEEDS = range(40)


@dataclass(frozen=True)
class Case:
    """A made-up batch; `prob` (B,T,H,W) lies on a grid of 1/64, so that ties and tau are exact."""

    prob: Array
    student: Array
    k: int
    tau: float


def case(seed: int) -> Case:
    """Small at random; some seeds are special."""
    rng = np.random.default_rng(seed)
    classes = {0: 2, 1: 255, 2: 1}.get(seed, int(rng.integers(2, 9)))
    batch = 1 if seed % 3 == 0 else int(rng.integers(1, 4))
    size = {1: (3, 2)}.get(seed, (int(rng.integers(1, 7)), int(rng.integers(1, 7))))
    k = {3: classes, 4: 1}.get(seed, int(rng.integers(1, classes + 1)))
    parts = rng.integers(0, 5 if seed % 2 else 64, (batch, classes, *size)) + 0.0
    student = rng.normal(size=(batch, k, 2, 3)) * 3
    tau = {5: 1.0, 6: 0.0}.get(seed, float(rng.choice(parts.ravel())) / 64)
    return Case(parts / 64, student, k, tau)


def slow_top_k(prob: Array, k: int) -> list[list[int]]:
    """The k classes with the highest sums of each image, ascending; None of them is tied away."""
    chosen = []
    for image in prob:
        sums = [sum(float(v) for v in plane.ravel()) for plane in image]
        best = sorted(range(len(sums)), key=lambda c: -sums[c])[:k]
        chosen.append(sorted(best))
    return chosen


def tied_at_the_edge(prob: Array, k: int) -> bool:
    """Whether some image has equal activity on both sides of the cut: either choice is right."""
    for image in prob:
        sums = sorted((float(plane.sum()) for plane in image), reverse=True)
        if k < len(sums) and sums[k - 1] == sums[k]:
            return True
    return False


def slow_labels(prob: Array, ids: list[list[int]]) -> tuple[Any, Any, Any]:
    """Local labels, their probability and class ids, pixel by pixel; the first of equals wins."""
    batch, _, height, width = prob.shape
    local = np.zeros((batch, height, width), int)
    best, named = np.zeros((batch, height, width)), np.zeros((batch, height, width), int)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                j = 0
                for i, c in enumerate(ids[b]):
                    if prob[b, c, y, x] > prob[b, ids[b][j], y, x]:
                        j = i
                local[b, y, x], named[b, y, x] = j, ids[b][j]
                best[b, y, x] = prob[b, ids[b][j], y, x]
    return local, best, named


def slow_weights(how: str, best: Array, tau: float) -> Array:
    """Eq. 4's q by image or batch, the probability itself, or ones."""
    sure = np.array([[[1.0 if p >= tau else 0.0 for p in row] for row in m] for m in best])
    if how == "q_image":
        return np.stack([np.full(m.shape, m.sum() / m.size) for m in sure])
    if how == "q_batch":
        return np.full(best.shape, sure.sum() / sure.size)
    return best if how == "pixel" else np.ones(best.shape)


def slow_grow(plane: Array, size: tuple[int, int]) -> Array:
    """Bilinear, align_corners False: the centre of each pixel looked up among the small ones'."""
    (h, w), (height, width) = plane.shape, size
    out = np.zeros(size)
    for y in range(height):
        for x in range(width):
            v, u = max((y + 0.5) * h / height - 0.5, 0), max((x + 0.5) * w / width - 0.5, 0)
            y0, x0 = min(floor(v), h - 1), min(floor(u), w - 1)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            top = plane[y0, x0] * (1 - (u - x0)) + plane[y0, x1] * (u - x0)
            low = plane[y1, x0] * (1 - (u - x0)) + plane[y1, x1] * (u - x0)
            out[y, x] = top * (1 - (v - y0)) + low * (v - y0)
    return out


def slow_loss(student: Array, local: Any, weight: Array) -> float:
    """Sum of weighted -log softmax over all pixels, over their number."""
    total, count = 0.0, 0
    for b in range(len(student)):
        planes = [slow_grow(plane, local.shape[1:]) for plane in student[b]]
        for y in range(local.shape[1]):
            for x in range(local.shape[2]):
                z = [plane[y, x] for plane in planes]
                miss = log(sum(exp(v - max(z)) for v in z)) + max(z) - z[local[b, y, x]]
                total, count = total + weight[b, y, x] * miss, count + 1
    return total / count


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_weights_and_losses(seed: int) -> None:
    made = case(seed)
    prob = torch.from_numpy(made.prob).float()
    ours = vocalign.top_k(vocalign.mean_activation(prob), made.k)
    if not tied_at_the_edge(made.prob, made.k):
        assert ours.tolist() == slow_top_k(made.prob, made.k)
    local, best, named = slow_labels(made.prob, ours.tolist())
    labels = vocalign.pseudo_labels(prob, ours)
    assert np.array_equal(labels.local.numpy(), local)
    assert np.array_equal(labels.class_ids.numpy(), named)
    assert np.array_equal(labels.prob.numpy(), best.astype(np.float32))
    student = torch.from_numpy(made.student).float()
    for how in ("none", "q_image", "q_batch", "pixel"):
        expected = slow_weights(how, best, made.tau)
        weight = vocalign.pixel_weights(how, labels.prob, made.tau)
        if weight is not None:
            np.testing.assert_allclose(weight.expand_as(labels.prob), expected, rtol=1e-6)
        loss = vocalign.pseudo_label_loss(student, labels.local, weight).item()
        assert loss == pytest.approx(slow_loss(made.student, local, expected), rel=5e-5, abs=1e-9)


def test_the_cases_are_what_they_promise() -> None:
    cases = [case(seed) for seed in SEEDS]
    assert {len(c.prob) for c in cases} >= {1, 2, 3}
    assert {c.prob.shape[1] for c in cases} >= {1, 2, 255}
    assert any(c.k == c.prob.shape[1] > 2 for c in cases) and any(c.k == 1 for c in cases)
    assert any((c.prob.max(1) < c.tau).all() for c in cases)
    assert any((c.prob == c.tau).any() for c in cases if 0 < c.tau < 1)
    assert any(tied_at_the_edge(c.prob, c.k) for c in cases)
    pruned = 0
    for c in cases:
        _, best, _ = slow_labels(c.prob, slow_top_k(c.prob, c.k))
        pruned += int((c.prob.max(1) > best).sum())
    assert pruned > 100


@pytest.mark.parametrize("seed", SEEDS)
def test_concepts_add_up_after_the_softmax_over_all_strings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, int(rng.integers(1, 6)))
    owner = np.repeat(np.eye(len(counts)), counts, 0)
    logits = rng.normal(size=(2, len(owner), 2, 2)) * 4
    size = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    grown = np.stack([[slow_grow(plane, size) for plane in image] for image in logits])
    expected = np.zeros((2, len(counts), *size))
    for s, row in enumerate(owner):
        share = np.exp(grown[:, s]) / sum(np.exp(grown[:, i]) for i in range(len(owner)))
        expected[:, list(row).index(1.0)] += share
    ours = vocalign.aggregate(
        torch.from_numpy(logits).float(), torch.from_numpy(owner).float(), size
    )
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)


def slow_cells(length: int, block: int) -> int:
    """Half rounds to the even neighbour; at least one."""
    whole, rest = divmod(length, block)
    up = 2 * rest > block or (2 * rest == block and whole % 2 == 1)
    return max(1, whole + up)


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_of_any_block_and_ratio(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, block = (int(rng.integers(1, 50)), int(rng.integers(1, 50))), int(rng.integers(1, 20))
    ratio = float(rng.choice([0.0, 0.25, 0.5, 0.75, 1.0]))
    cells = slow_cells(size[0], block), slow_cells(size[1], block)
    assert mask_grid(size, block) == cells
    v = rng.integers(0, 5, (2, 1, *cells)) / 4  # some draws are the ratio itself
    mask = block_mask(torch.from_numpy(v).float(), size, block, ratio).numpy()
    for b in range(2):
        for y in range(size[0]):
            for x in range(size[1]):
                cell = v[b, 0, y * cells[0] // size[0], x * cells[1] // size[1]]
                assert mask[b, 0, y, x] == (1.0 if cell > ratio else 0.0)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99, 1.0])
def test_the_moving_average_step_by_step(alpha: float) -> None:
    rng = np.random.default_rng(3)
    teacher, slow = EmaTeacher({"p": torch.zeros(4)}, alpha), np.zeros(4)
    for step in range(120):
        student = rng.normal(size=4)
        a = min(1 - 1 / (step + 1), alpha)
        slow = student if step == 0 else a * slow + (1 - a) * student
        teacher.update({"p": torch.from_numpy(student).float()}, step)
    np.testing.assert_allclose(teacher.tensors["p"].numpy(), slow, atol=1e-6)
