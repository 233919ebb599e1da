"""Train the embedded bases on the procedural world: `make train-default train-augmented`.

Day scenes and source names only: other looks and other words are what adaptation is for. The
default is trained from scratch; `augmented` goes on from it with strong photometric augmentation.
Everything that made the shipped weights is in TRAINING and in the log beside them.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import to_official
from acclimate.model.colour import Daylight, daylight_of
from acclimate.model.config import CATSegConfig
from acclimate.model.load import EMBEDDED, load_base
from acclimate.model.photometric import distort
from acclimate.model.text import START, embed_strings, tokenize
from acclimate.world import IGNORE, SOURCE_NAMES, Drive

LOG_EVERY = 250
TEMPLATE = "A photo of a {} in the scene"
SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("road", "street", "asphalt"), ("pavement", "footpath", "walkway"),
    ("grass", "lawn", "meadow"), ("soil", "dirt", "earth"),
    ("building", "house", "facade"), ("tree", "trees", "tall tree"),
    ("bush", "hedge", "shrub"), ("sky", "clouds", "sky with clouds"),
    ("pole", "post", "lamp post"), ("traffic sign", "road sign", "street sign"),
    ("traffic light", "stop light", "signal light"), ("car", "sedan", "hatchback"),
    ("truck", "lorry", "delivery truck"), ("bus", "coach", "city bus"),
    ("person", "pedestrian", "walker"), ("cyclist", "bicyclist", "person on a bicycle"),
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """Settings of the run that made the shipped weights; `distorted` is a share of examples."""

    seed: int = 2026
    steps: int = 4500
    batch: int = 4
    lr: float = 6e-4
    warmup: int = 150
    weight_decay: float = 0.02
    min_strings: int = 10
    mask_share: float = 0.5
    mask_block: int = 16
    mask_ratio: float = 0.3
    jitter: float = 0.2
    average: float = 0.995
    distorted: float = 0.0


AUGMENTED = Training(seed=2027, steps=1500, lr=3e-4, warmup=100, distorted=0.75)


def known_tokens() -> Tensor:
    """CLIP token ids of every word used in training, ascending (V,)."""
    texts = [TEMPLATE.format(word) for group in SYNONYMS for word in group]
    ids = tokenize(texts).unique()
    return ids[(ids > 0) & (ids < START)]


def default_config(words: int) -> CATSegConfig:
    """The tiny CAT-Seg; `words` is the number of known tokens."""
    return CATSegConfig(
        image_size=(160, 224), patch_size=8, stored_grid=(20, 28), vision_width=128,
        vision_layers=6, vision_heads=4, embed_dim=96, text_width=96, text_layers=3,
        text_heads=4, vocab_size=words + 67, guidance_layers=(1, 3),
        decoder_guidance_dims=(32, 16), decoder_guidance_proj_dims=(16, 8),
        decoder_dims=(16, 16), appearance_proj_dim=32, text_proj_dim=32, num_layers=1,
        num_heads=2, hidden_dim=32, window_size=4, pooling_size=(2, 2), pad_len=64,
    )  # fmt: skip


def measured_daylight() -> Daylight:
    """The colours of 40 of the drives that it is trained on."""
    drives = [Drive(seed, fps=8.0) for seed in range(1_000_000, 1_000_040)]
    return daylight_of([[drive.frame(24 * i)[0] for i in range(5)] for drive in drives])


def batches(training: Training) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless day batches: images (B,3,H,W) float 0..255, labels (B,H,W) int64."""
    with ThreadPoolExecutor(1) as pool:
        step = 0
        ready = pool.submit(_render, training, step)
        while True:
            step += 1
            upcoming = pool.submit(_render, training, step)
            yield ready.result()
            ready = upcoming


def _render(training: Training, step: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng((training.seed, step))
    pairs = [_example(rng, training) for _ in range(training.batch)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs]))
    labels = torch.from_numpy(np.stack([label for _, label in pairs]))
    return images.permute(0, 3, 1, 2).float(), labels.long()


def _example(
    rng: np.random.Generator, training: Training
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    drive = Drive(int(rng.integers(1_000_000, 2_000_000)), hood=bool(rng.random() < 0.1))
    image, labels = drive.frame(int(rng.integers(0, 400)))
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    gain, offset = rng.uniform(1 - training.jitter, 1 + training.jitter, 2)
    out = np.clip((image.astype(np.float32) - 110) * gain + 110 * offset, 0, 255)
    if training.distorted and rng.random() < training.distorted:
        out = distort(out, rng)
    if rng.random() < training.mask_share:
        cells = tuple(side // training.mask_block for side in labels.shape)
        keep = (rng.random(cells) > training.mask_ratio).astype(np.float32)
        out *= cv2.resize(keep, labels.shape[::-1], interpolation=cv2.INTER_NEAREST)[..., None]
    return np.ascontiguousarray(out, np.float32), np.ascontiguousarray(labels)


def choose_strings(
    labels: Tensor, training: Training, rng: np.random.Generator
) -> tuple[list[str], Tensor]:
    """A random vocabulary -> its words, and labels as indices into it (left-out classes 255)."""
    count = int(rng.integers(training.min_strings, len(SOURCE_NAMES) + 1))
    classes = rng.permutation(len(SOURCE_NAMES))[:count]
    words = [str(rng.choice(SYNONYMS[c])) for c in classes]
    table = torch.full((256,), IGNORE)
    table[torch.from_numpy(classes)] = torch.arange(count)
    return words, table[labels]


def balance(target: Tensor, classes: int) -> Tensor:
    """Class weights n^-1/2 of a batch (T,), mean 1 over the pixels that count."""
    count = torch.bincount(target[target != IGNORE], minlength=classes).float()
    weight = torch.where(count > 0, count.clamp(min=50).rsqrt(), 0.0)
    return weight * count.sum() / (weight * count).sum().clamp(min=1e-6)


def learning_rate(step: int, training: Training) -> float:
    """Warm-up, then half a cosine to 2 % of the peak."""
    if step < training.warmup:
        return training.lr * (step + 1) / training.warmup
    done = (step - training.warmup) / max(1, training.steps - training.warmup)
    return training.lr * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


@torch.inference_mode()
def day_miou(network: CATSeg, known: Tensor, seeds: range, frames: int = 4) -> float:
    """mIoU in percent with one source name a class, on day drives `seeds`."""
    network.eval()
    text = embed_strings(network, SOURCE_NAMES, [TEMPLATE], known)
    confusion = torch.zeros(len(SOURCE_NAMES), len(SOURCE_NAMES))
    for seed in seeds:
        drive = Drive(seed)
        for i in range(frames):
            image, labels = drive.frame(25 * i)
            x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
            logits = F.interpolate(network(x, text), labels.shape, mode="bilinear")
            guess, truth = logits.argmax(1).flatten(), torch.from_numpy(labels.copy()).flatten()
            pairs = truth.long() * len(SOURCE_NAMES) + guess
            confusion += torch.bincount(pairs, minlength=confusion.numel()).view_as(confusion)
    network.train()
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    return float(100 * (confusion.diagonal() / union)[confusion.sum(1) > 0].mean())


def train(training: Training, out: Path, start: Path | None = None) -> None:
    """The whole run, from scratch or from the weights `start`.

    Leaves weights.safetensors, config.json and train_log.json in `out`.
    """
    torch.manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    known = known_tokens()
    network = CATSeg(default_config(len(known)))
    if start is not None:
        network.load_state_dict(load_base(start).network.state_dict())
    network.train()
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(training.average)
    )
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=training.lr, weight_decay=training.weight_decay
    )
    log: list[dict[str, float]] = []
    started, loss_sum = time.monotonic(), 0.0
    for step, (images, labels) in zip(range(training.steps), batches(training), strict=False):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, training)
        loss = _step(network, images, labels, known, training, rng)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        averaged.update_parameters(network)
        loss_sum += loss.item()
        if (step + 1) % LOG_EVERY == 0 or step + 1 == training.steps:
            shown = cast("CATSeg", averaged.module)
            miou = day_miou(shown, known, range(500, 512))
            row = {"step": step + 1, "loss": loss_sum / (step % LOG_EVERY + 1), "day_miou": miou}
            log.append(row | {"seconds": round(time.monotonic() - started)})
            loss_sum = 0.0
            print(json.dumps(log[-1]), flush=True)
            _save(out, shown, known, training, log)


def _step(
    network: CATSeg, images: Tensor, labels: Tensor, known: Tensor,
    training: Training, rng: np.random.Generator,
) -> Tensor:  # fmt: skip
    words, target = choose_strings(labels, training, rng)
    with torch.autocast("cpu", torch.bfloat16):
        text = embed_strings(network, words, [TEMPLATE], known)
        logits = network(images, text)
    full = F.interpolate(logits.float(), labels.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(full, target, balance(target, len(words)), ignore_index=IGNORE)


def _save(
    out: Path, network: CATSeg, known: Tensor, training: Training, log: list[dict[str, float]]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    save_file(to_official(network) | {"known_tokens": known}, out / "weights.safetensors")
    config = {
        "network": network.config.to_dict(), "template": TEMPLATE,
        "daylight": measured_daylight().to_dict(),
    }  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    record: dict[str, Any] = {
        "settings": asdict(training), "torch": torch.__version__,
        "python": platform.python_version(), "machine": platform.machine(), "log": log,
    }  # fmt: skip
    (out / "train_log.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Command line of `make train-default`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--augmented", action="store_true", help="go on from the default")
    parser.add_argument("--out", type=Path, help="default: where the shipped weights lie")
    parser.add_argument("--steps", type=int, help="default: as the shipped weights")
    arguments = parser.parse_args()
    training = AUGMENTED if arguments.augmented else Training()
    name = "augmented" if arguments.augmented else "default"
    training = replace(training, steps=arguments.steps or training.steps)
    start = EMBEDDED["default"] if arguments.augmented else None
    train(training, arguments.out or EMBEDDED[name].parent, start)


if __name__ == "__main__":
    main()
