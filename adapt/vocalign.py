"""VocAlign's arithmetic: concepts -> classes, Top-K, pseudo labels, confidence q, the loss.

Pure functions. Paper: VocAlign (arXiv 2509.15225). Released code: Sisso16/VocAlign @ 4f2ed57,
`teacher_module.py` for labels and q, `cross_entropy_loss.py` for the loss. Shapes: B images,
S strings, T classes, K kept classes, (H, W) label size. `valid` is bool (B, H, W) or (1, H, W);
pixels where it is False (the ego-vehicle's hood) take no part in anything.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.configs.adapt import Weighting
from acclimate.errors import Diverged
from acclimate.model.inference import class_probabilities

IGNORE = 255
EPSILON = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class PseudoLabels:
    """Teacher labels: `local` (B, H, W) int64 in 0..K-1, `class_ids` the same as ids in 0..T-1,
    both `IGNORE` where the pixel is not to be learned; `prob` (B, H, W), not renormalised."""

    local: Tensor
    prob: Tensor
    class_ids: Tensor


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, N, h, w) -> (B, N, H, W), bilinear, align_corners False."""
    if tuple(logits.shape[-2:]) == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def aggregate(teacher_logits: Tensor, string_to_class: Tensor, size: tuple[int, int]) -> Tensor:
    """Class probabilities (B, T, H, W): softmax over all strings, then the sum of each class's.

    Paper Eq. 7. `teacher_logits` (B, S, h, w), `string_to_class` (S, T) one-hot; both are taken
    to float32. Raises Diverged when the logits give anything but finite probabilities.
    """
    logits = teacher_logits.float()
    classes = class_probabilities(logits, string_to_class.to(logits), size)
    if not bool(classes.isfinite().all()):
        raise Diverged("the teacher's logits are not finite; go back to the accepted adapter")
    return classes


def mean_activation(agg_prob: Tensor, valid: Tensor | None = None) -> Tensor:
    """(B, T, H, W) -> (B, T), the mean over valid pixels; 0 for an image without any."""
    if valid is None:
        return agg_prob.mean((2, 3))
    seen = valid.expand(agg_prob.shape[0], -1, -1)[:, None]
    total = torch.where(seen, agg_prob, agg_prob.new_zeros(())).sum((2, 3))
    return total / seen.sum((2, 3)).clamp(min=1)


def top_k(mean: Tensor, k: int, keep: Collection[int] = ()) -> Tensor:
    """(B, T) mean activation -> (B, K) int64 class ids, ascending, of each image's K highest.

    `k` 0 keeps all. The ids in `keep` (safety classes) are always among them; K grows to hold
    them all. Raises ValueError for a `k` or an id outside the T classes.
    """
    classes, kept = mean.shape[1], sorted(set(keep))
    if not 0 <= k <= classes or any(not 0 <= i < classes for i in kept):
        raise ValueError(f"top_k={k} with kept ids {kept} does not fit {classes} classes")
    score = mean.clone()
    score[:, kept] = torch.inf
    return score.topk(max(k or classes, len(kept)), dim=1).indices.sort(dim=1).values


def pseudo_labels(
    agg_prob: Tensor,
    ids: Tensor,
    valid: Tensor | None = None,
    floor: float | None = None,
    ignore_pruned: bool = False,
    strict: bool = False,
) -> PseudoLabels:
    """Labels among the kept classes `ids` (B, K); the first of tied classes wins.

    As released, a pixel whose best class was pruned takes its best kept class and none is
    ignored. Ours to add: `valid`, `floor` (less certain pixels are ignored, with `strict` those at
    it too) and `ignore_pruned`.
    """
    if ids.shape[1] > IGNORE:
        raise ValueError(f"{ids.shape[1]} kept classes leave no label for ignored pixels")
    height, width = agg_prob.shape[-2:]
    kept = agg_prob.gather(1, ids[:, :, None, None].expand(-1, -1, height, width))
    prob, local = kept.max(1)
    class_ids = ids.gather(1, local.flatten(1)).view_as(local)
    ignored = torch.zeros_like(local, dtype=torch.bool)
    if floor is not None:
        ignored = ~_above(prob, floor, strict)
    if valid is not None:
        ignored = ignored | ~valid
    if ignore_pruned:
        ignored = ignored | (agg_prob.amax(1) > prob)
    return PseudoLabels(
        local.masked_fill(ignored, IGNORE), prob, class_ids.masked_fill(ignored, IGNORE)
    )


def q_image(prob: Tensor, tau: float, valid: Tensor | None = None, strict: bool = False) -> Tensor:
    """(B, H, W) -> (B,): each image's share of valid pixels with prob >= tau (paper Eq. 4).

    `strict` compares with > as the paper writes it. 0 for an image without valid pixels.
    """
    sure, total = _sure(prob, tau, valid, strict)
    return (sure / total.clamp(min=1)).to(prob.dtype)


def q_batch(prob: Tensor, tau: float, valid: Tensor | None = None, strict: bool = False) -> Tensor:
    """As `q_image`, one scalar () over the whole batch (released `teacher_module.py`)."""
    sure, total = _sure(prob, tau, valid, strict)
    return (sure.sum() / total.sum().clamp(min=1)).to(prob.dtype)


def _sure(prob: Tensor, tau: float, valid: Tensor | None, strict: bool) -> tuple[Tensor, Tensor]:
    sure = _above(prob, tau, strict)
    seen = torch.ones_like(sure) if valid is None else valid.expand_as(sure)
    return (sure & seen).sum((1, 2)).double(), seen.sum((1, 2)).double()


def _above(prob: Tensor, tau: float, strict: bool) -> Tensor:
    return prob > tau if strict else prob >= tau


def pixel_weights(
    weighting: Weighting,
    prob: Tensor,
    tau: float,
    valid: Tensor | None = None,
    strict: bool = False,
) -> Tensor | None:
    """Loss weights that broadcast to (B, H, W); None for "none" (what the release trains with).

    "q_image" and "q_batch" are Eq. 4's q, "pixel" is the teacher's probability itself.
    """
    if weighting == "none":
        return None
    if weighting == "pixel":
        return prob
    if weighting == "q_batch":
        return q_batch(prob, tau, valid, strict).view(1, 1, 1)
    if weighting == "q_image":
        return q_image(prob, tau, valid, strict).view(-1, 1, 1)
    raise ValueError(f"unknown weighting {weighting!r}")


def class_balance(class_ids: Tensor, power: float = 0.5) -> Tensor:
    """(B, H, W) labels -> float32 weights: n^-power of the pixel's class over the batch.

    n counts the batch's pixels of that class; scaled to mean 1 over labelled pixels, 0 on
    ignored ones. Ours, not VocAlign's: multiply it with `pixel_weights`.
    """
    labelled = class_ids != IGNORE
    count = torch.bincount(class_ids.flatten(), minlength=IGNORE + 1).float()
    weight = count.clamp(min=1).pow(-power)[class_ids] * labelled
    return weight * (labelled.sum() / weight.sum().clamp(min=EPSILON))


def pseudo_label_loss(student_logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted softmax cross-entropy (), logits upsampled to the labels (Eq. 4, Eq. 6).

    `student_logits` (B, K, h, w), channel j of image b being class ids[b, j]; `target` (B, H, W)
    local labels, `IGNORE` left out; `weight` broadcasts to it. sum / (N + eps), N the labelled
    pixels: B*H*W as released when nothing is ignored, and a loss of 0 when everything is.
    Raises Diverged when the loss is not finite.
    """
    height, width = target.shape[-2:]
    logits = upsample(student_logits.float(), (height, width))
    each = F.cross_entropy(logits, target, reduction="none", ignore_index=IGNORE)
    if weight is not None:
        each = each * weight
    loss = each.sum() / ((target != IGNORE).sum() + EPSILON)
    if not bool(loss.isfinite()):
        raise Diverged(f"the loss is {loss.item()}; lower adapt.lr or start from the base")
    return loss
