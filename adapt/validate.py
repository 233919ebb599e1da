"""Bounds that no candidate may cross, and the verdict. Label-free, on held-out frames.

The reference is what the best of the others says of changed views of the same frames. A collapsed
model looks confident and consistent, so neither is asked; see Verdict.numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from acclimate.adapt.gate.duel import Reference as Reference
from acclimate.adapt.signals.agreement import (
    Labels,
    Mask,
    accuracy,
    least_recall,
    mean_iou_of,
    present,
    shares,
    tables,
)
from acclimate.configs.gate import GateConfig
from acclimate.runtime.signals import jensen_shannon


@dataclass(frozen=True)
class Verdict:
    """A value, never an exception: reasons are empty exactly when the new adapter is accepted.

    `card`: over which alternative it was measured, what it earned in points of mIoU, the bounds of
    that and their confidence. `instead`: the alternative that should serve in its place, if one
    should: the id of a bundle that is there, or the round's own, then with other colours.
    `sound`: nothing speaks against it but that it does not win, and it is not surely worse.
    """

    accepted: bool
    reasons: tuple[str, ...]
    numbers: dict[str, float]
    card: dict[str, Any] = field(default_factory=dict)
    instead: str | None = None
    sound: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def judge(
    served: Labels, before: Labels, after: Labels, against: Reference, gate: GateConfig,
    classes: int, valid: Mask,
) -> Verdict:  # fmt: skip
    """Labels (N,H,W) -> Verdict: what is served now, the best of the others, and the candidate, at
    the pixels `valid` (N,H,W), which are all that the reference knows."""
    numbers = _numbers(before, after, against, classes, valid)
    moved = shares(served[valid], classes), shares(after[valid], classes)
    numbers["jump_js"] = jensen_shannon(*moved)
    checks = [
        ("pseudo_miou", ">=", gate.min_pseudo_miou),
        ("agreement", ">=", gate.min_agreement),
        ("histogram_js", "<=", gate.max_histogram_js),
        ("jump_js", "<=", gate.max_jump_js),
        ("least_class_recall", ">=", gate.min_class_recall),
    ]
    reasons = [
        f"{name} {numbers[name]:.3f} must be {sign} {bound:g}"
        for name, sign, bound in checks
        if not (numbers[name] >= bound if sign == ">=" else numbers[name] <= bound)
    ]
    return Verdict(not reasons, tuple(reasons), numbers)


def _numbers(
    before: Labels, after: Labels, against: Reference, classes: int, valid: Mask
) -> dict[str, float]:
    table = tables(against.labels, after, classes).sum(0)
    sure = tables(against.labels, after, classes, against.confident).sum(0)
    return {
        "pseudo_miou": float(mean_iou_of(table, present(table))),
        "agreement": accuracy(sure),
        "histogram_js": jensen_shannon(
            shares(before[valid], classes), shares(after[valid], classes)
        ),
        "least_class_recall": least_recall(sure),
        "changed_pixels": float((before != after)[valid].mean()),
        "frames": float(len(after)),
    }
