"""A base for real frames: the default trained on with CamVid's labels, to measure, not to ship.

Day frames of one film; by turns the classes' own names and the words that stand for them, so that
neither is strange to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from acclimate.adapt.views import class_logits
from acclimate.configs.vocabulary import Vocabulary, without_concepts
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import to_official
from acclimate.model.colour import daylight_of
from acclimate.model.load import EMBEDDED, load_base
from acclimate.model.pretrain import Training, balance, learning_rate
from acclimate.model.text import embed_strings
from acclimate.runtime.fit import fit
from acclimate.world import IGNORE

Frame = NDArray[np.uint8]
Pairs = Sequence[tuple[Frame, Frame]]
PART = 12  # frames of the film that count as one drive


@dataclass(frozen=True)
class Schooling:
    """`smallest` share of a side that a crop takes; a picture is mirrored every other time."""

    steps: int = 300
    batch: int = 4
    lr: float = 3e-4
    warmup: int = 20
    smallest: float = 0.6
    jitter: float = 0.2
    average: float = 0.98


def school(
    pairs: Pairs, words: Vocabulary, size: tuple[int, int], seed: int, settings: Schooling,
    out: Path,
) -> list[float]:  # fmt: skip
    """Train on pictures with class indices (IGNORE counts not) and leave weights.safetensors and
    config.json in `out`; the losses."""
    torch.manual_seed(seed)
    rng, base = np.random.default_rng(seed), load_base("default")
    network = base.network.train().requires_grad_(True)
    smooth = torch.optim.swa_utils.get_ema_multi_avg_fn(settings.average)
    averaged = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=smooth)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=0.02)
    pace = Training(steps=settings.steps, lr=settings.lr, warmup=settings.warmup)
    ways, losses = (words, without_concepts(words)), []
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, pace)
        loss = _loss(network, _batch(pairs, size, settings, rng), ways[step % 2], base)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        averaged.update_parameters(network)
        losses.append(round(loss.item(), 4))
    kept: Any = averaged.module
    _save(kept, base.known, pairs, size, settings, out)
    return losses


def _loss(network: CATSeg, batch: tuple[Tensor, Tensor], words: Vocabulary, base: Any) -> Tensor:
    """Balanced cross-entropy of class probabilities, summed over the strings of a class."""
    images, labels = batch
    with torch.autocast("cpu", torch.bfloat16):
        text = embed_strings(network, words.strings, base.templates, base.known)
        logits = network(images, text)
    classes = class_logits(logits.float(), torch.from_numpy(words.string_to_class()))
    full = F.interpolate(classes, labels.shape[1:], mode="bilinear", align_corners=False)
    weights = balance(labels, len(words.classes))
    return F.cross_entropy(full, labels, weights, ignore_index=IGNORE)


def _batch(
    pairs: Pairs, size: tuple[int, int], settings: Schooling, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Images (B,3,H,W) float 0..255, labels (B,H,W) int64."""
    drawn = [
        _example(*pairs[int(i)], size, settings, rng)
        for i in rng.integers(len(pairs), size=settings.batch)
    ]
    images, labels = (np.stack([one[i] for one in drawn]) for i in (0, 1))
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels).long()


def _example(
    image: Frame, labels: Frame, size: tuple[int, int], settings: Schooling,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], Frame]:  # fmt: skip
    """A crop of the picture at the frame's size, perhaps mirrored, in other light."""
    share, where = rng.uniform(settings.smallest, 1), rng.random(2)
    sides = [round(share * side) for side in labels.shape]
    y, x = (
        int(at * (whole - side + 1))
        for at, whole, side in zip(where, labels.shape, sides, strict=True)
    )
    window, turn = (slice(y, y + sides[0]), slice(x, x + sides[1])), 1 if rng.random() < 0.5 else -1
    seen = cv2.resize(image[window], size[::-1], interpolation=cv2.INTER_AREA)[:, ::turn]
    truth = cv2.resize(labels[window], size[::-1], interpolation=cv2.INTER_NEAREST)[:, ::turn]
    gain, offset = rng.uniform(1 - settings.jitter, 1 + settings.jitter, 2)
    light = np.clip((seen.astype(np.float32) - 110) * gain + 110 * offset, 0, 255)
    return np.ascontiguousarray(light, np.float32), np.ascontiguousarray(truth)


def _save(
    network: CATSeg, known: Tensor | None, pairs: Pairs, size: tuple[int, int],
    settings: Schooling, out: Path,
) -> None:  # fmt: skip
    """As the default lies on disk, with the colours of these frames."""
    out.mkdir(parents=True, exist_ok=True)
    assert known is not None
    told = json.loads(EMBEDDED["default"].with_name("config.json").read_text())
    frames = [fit(image, size) for image, _ in pairs]
    drives = [frames[i : i + PART] for i in range(0, len(frames), PART)]
    told |= {"daylight": daylight_of(drives).to_dict(), "schooling": asdict(settings)}
    (out / "config.json").write_text(json.dumps(told, indent=1) + "\n")
    save_file(to_official(network) | {"known_tokens": known}, out / "weights.safetensors")
