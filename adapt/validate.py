"""The gate: would this candidate serve at least as well? Label-free, on held-out frames.

The reference is the accepted model's own teacher view (concepts, mirror and brightness averaged).
A collapsed model looks confident and consistent, so neither is asked; see Verdict.numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor

from acclimate.adapt.batch import Frames, to_images
from acclimate.adapt.lora import network_of
from acclimate.adapt.vocalign import aggregate
from acclimate.adapt.words import Words
from acclimate.configs.schema import GateConfig
from acclimate.runtime.evaluate import confusion
from acclimate.runtime.signals import jensen_shannon

CONFIDENT = 0.8
RARE = 0.002
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Verdict:
    """A value, never an exception: reasons are empty exactly when accepted."""

    accepted: bool
    reasons: tuple[str, ...]
    numbers: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


@dataclass(frozen=True)
class Reference:
    """What the accepted model says of each held-out frame: labels (N,H,W), confident (N,H,W)."""

    labels: Labels
    confident: NDArray[np.bool_]

    def at(self, valid: NDArray[np.bool_]) -> Reference:
        """Only the pixels `valid` (H,W): labels and confident (N,P)."""
        return Reference(self.labels[:, valid], self.confident[:, valid])


@torch.no_grad()
def reference(model: PeftModel, words: Words, frames: Frames) -> Reference:
    """The accepted model, averaged over mirror images and brightness, on held-out frames."""
    network, text = network_of(model), words.embed()

    def say(view: Tensor) -> Tensor:
        return aggregate(network(view, text) / words.temperature, words.owner, size)

    labels, confident = [], []
    for frame in frames:
        image = to_images([frame])
        size = (frame.shape[0], frame.shape[1])
        views = [image, (image * 0.85), (image * 1.15).clamp(max=255)]
        total = sum(say(view) for view in views) + say(image.flip(-1)).flip(-1)
        top, label = (total[0] / 4).max(0)
        labels.append(label.byte().numpy())
        confident.append((top >= CONFIDENT).numpy())
    return Reference(np.stack(labels), np.stack(confident))


def judge(
    served: Labels, before: Labels, after: Labels, against: Reference, gate: GateConfig,
    classes: int, labelled: tuple[float, float] | None = None,
) -> Verdict:  # fmt: skip
    """Labels (N,H,W) or (N,P) -> Verdict: what is served now, the accepted adapter under the
    candidate's colours, and the candidate.

    `labelled` is (accepted, candidate) mIoU in percent on the user's own labelled folder.
    """
    numbers = _numbers(before, after, against, classes)
    numbers["jump_js"] = jensen_shannon(shares(served, classes), shares(after, classes))
    checks = [
        ("pseudo_miou", ">=", gate.min_pseudo_miou),
        ("agreement", ">=", gate.min_agreement),
        ("histogram_js", "<=", gate.max_histogram_js),
        ("jump_js", "<=", gate.max_jump_js),
        ("least_class_recall", ">=", gate.min_class_recall),
    ]
    if labelled is not None:
        numbers["labelled_miou_before"], numbers["labelled_miou_after"] = labelled
        numbers["labelled_drop"] = labelled[0] - labelled[1]
        checks.append(("labelled_drop", "<=", gate.max_labelled_drop))
    reasons = [
        f"{name} {numbers[name]:.3f} must be {sign} {bound:g}"
        for name, sign, bound in checks
        if not (numbers[name] >= bound if sign == ">=" else numbers[name] <= bound)
    ]
    return Verdict(not reasons, tuple(reasons), numbers)


def _numbers(before: Labels, after: Labels, against: Reference, classes: int) -> dict[str, float]:
    table = confusion(against.labels, after, classes)
    truth, union = table.sum(1), table.sum(0) + table.sum(1) - table.diagonal()
    present = truth > RARE * truth.sum()
    sure = confusion(against.labels[against.confident], after[against.confident], classes)
    mass = sure.sum(1)
    counted = mass > RARE * max(1.0, mass.sum())
    recall = sure.diagonal()[counted] / mass[counted]
    return {
        "pseudo_miou": float((table.diagonal()[present] / union[present]).mean()),
        "agreement": float(sure.diagonal().sum() / max(1.0, mass.sum())),
        "histogram_js": jensen_shannon(shares(before, classes), shares(after, classes)),
        "least_class_recall": float(recall.min()) if len(recall) else 0.0,
        "changed_pixels": float((before != after).mean()),
        "frames": float(len(after)),
    }


def shares(labels: Labels, classes: int) -> NDArray[np.float64]:
    """Share of each class (T,), summing to 1."""
    return np.bincount(labels.ravel(), minlength=classes)[:classes] / labels.size
