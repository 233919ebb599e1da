"""What one adaptation round does: every choice of VocAlign's paper, of its code, and ours, by name.

Sources: P = the paper (arXiv 2509.15225), R = its released code (Sisso16/VocAlign @ 4f2ed57, the
Cityscapes configuration; U = uda_decorator.py, T = teacher_module.py), ours = for a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Point = tuple[float, float]
Preset = Literal["continual", "paper", "released"]
Weighting = Literal["none", "q_image", "q_batch", "pixel"]
Learner = Literal["vocalign", "entropy", "teacher_student", "masking"]
StrategyName = Literal["vocalign", "entropy", "teacher_student", "masking", "rdumb", "frozen"]
Alignment = Literal["none", "teacher", "both"]
Projection = Literal["q", "k", "v", "out"]
Towers = Literal["both", "visual", "text"]
Colour = Literal["plain", "half", "whole", "lifted"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class AdaptConfig:
    """One round of `strategy`; the defaults are the preset "continual", keys override a preset.

    The round. `rdumb` resets `rdumb_of` to the base every `rdumb_steps` of an adapter's life
    (RDumb: entropy, 1000). `seed` is of the first round; `deadline_s`, `memory_mb`, `threads`,
    `cooldown_s` bound the process; `min_frames` in the buffer before it starts, on the `newest`.
    Where the daemon has a cgroup of its own the kernel keeps `memory_mb`, and `cpus` processors'
    worth of time (0 = what serving leaves); `gpu_share` is a round's part of a GPU shared by
    NVIDIA MPS (0 = no cap; docs/gpu-sharing.md).
    Optimiser, AdamW. `lr` P 5e-5, R 5e-6 (its multiplier 0.1); `schedule` falls over the round
    (P, R constant: R's cosine takes 0.24 % off and is left out); `warmup_steps` rise from the share
    `warmup_from` (P 500 from 0.1, R 100 from 0.01); `weight_decay` R 1e-4; `clip_norm` of all
    gradients, 0 = none (P, R).
    Adapter. LoRA in the first `blocks` (P 4, R 5) of `towers` (P, R both), on `projections` (R q,
    k, v; the engine takes no other of the image tower); `rank` P 2, R 1; `alpha` R = rank; scale
    alpha/sqrt(rank) (R) or alpha/rank by `lora_scale`. An accepted adapter keeps its shape.
    Teacher. Moving average `ema` (P, R 0.99; `ema_warmup` R; 1 = fixed for the round); `mirror`:
    mean with its mirrored view (ours); `teacher_colour`: mean with its view of the frames in these
    colours, which the student does not see (ours); `alignment`: concepts for nobody, for the
    teacher while the student reads class names (P, R), or for both, as we serve (ours);
    `temperature` of the softmax over strings, 0 = fitted on the buffer where the head was trained
    with sigmoids, else 1 (ours).
    Labels. `top_k` classes an image, 0 or more than there are = all (P 15, R 19 of 19);
    `keep_safety` classes always among them (ours); pixels of pruned ones are relabelled (R) or
    `ignore_pruned` (ours); `prune_student`: it tells only the kept ones apart (P, R); sure is
    a probability >= `tau` (R 0.968) or > (`tau_strict`, P); `ignore_unsure` pixels (ours).
    Loss. `weighting` P q_image (Eq. 4), R none (q is computed and dropped), or q_batch, pixel;
    `balance`: class weight n^-balance (ours); `anchor` times the relative squared distance of the
    product B A from the base (ours).
    Source (ours). `replay`: so many of a batch, all but one at most, are labelled scenes of the
    source in the stream's light, where there are some (see `model.source_dir`), whatever the
    strategy does with the others: 0 for a method as published.
    Student's view. Black blocks of `mask_block` px (R 16) over the share `mask_ratio` (P, R 0.7);
    `guidance`: v1's ResNet sees the same view (P Eq. 6) or the clean one (R, U:212); `jitter` of
    brightness, contrast, saturation (R 0.5) and `hue` (R 0.25, at most 0.5); chances of
    `grayscale` (R 0.2), `blur` (R 0.5, one draw a batch) and `flip` (R 0 on Cityscapes).
    Crop. Squares of `crop` px (P 512, R 384, at most the frame's shorter side; 0 = whole frames)
    after a factor drawn from `crop_scale` (R 0.5 to 2); placed without labels, unlike R.
    Stream (ours). `colour`: each frame's colours, moved towards those the base was trained under,
    half of the way or the whole, or lifted from the dark and then half of it, in which what serves
    competes too; plain = none are moved at all (model/colour.py; a round learns in those of the
    best that is free and as it looks, by turns); `hood`: polygons of (x, y) in 0..1 of the engine's
    frame that nothing is learned from, on all cameras; `hood_auto` adds what never moves at the
    lower edge of each in a dozen frames of it; `adapter_decay`: share by which B shrinks before a
    round, 1 = every round from the base; `go_on`: what is sound but does not beat what serves is
    where the next round starts. A round ends as diverged where one class fills more than
    `max_class_share` or the entropy of the student's labels falls below `min_entropy` of its start.
    Cost (ours). `device` to train on, auto = a CUDA device if there is one; `precision` of its
    products, auto = bf16 or fp16 on a CUDA device and bf16 on a processor with units for it (one
    without them is over ten times slower in bf16 than in fp32), the adapter and its average always
    fp32; `checkpointing` computes activations twice and keeps few, and goes on by itself, then
    `batch` and `crop` shrink, where a step would pass `memory_mb`;
    a round stands still while frames take longer to serve than `max_latency_ms` (capture to
    labels, nine in ten; 0 = no limit).
    Not offered: R's moving BatchNorm statistics and dropout while training; ours stay frozen.
    """

    enabled: bool = True
    preset: Preset = "continual"
    strategy: StrategyName = "vocalign"
    rdumb_of: Learner = "entropy"
    rdumb_steps: int = 1000
    steps: int = 40
    batch: int = 2
    lr: float = 1.5e-3
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: int = 0
    warmup_from: float = 0.0
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    rank: int = 4
    alpha: float = 4.0
    lora_scale: Literal["alpha/sqrt(r)", "alpha/r"] = "alpha/sqrt(r)"
    blocks: int = 4
    projections: tuple[Projection, ...] = ("q", "k", "v")
    towers: Towers = "both"
    ema: float = 0.999
    ema_warmup: bool = False
    mirror: bool = True
    teacher_colour: Colour = "plain"
    alignment: Alignment = "both"
    temperature: float = 0.0
    top_k: int = 0
    keep_safety: bool = True
    ignore_pruned: bool = True
    prune_student: bool = True
    tau: float = 0.5
    tau_strict: bool = False
    ignore_unsure: bool = True
    weighting: Weighting = "q_image"
    balance: float = 0.5
    anchor: float = 0.0
    replay: int = 1
    mask_ratio: float = 0.2
    mask_block: int = 16
    guidance: Literal["student", "clean"] = "student"
    jitter: float = 0.2
    hue: float = 0.05
    grayscale: float = 0.0
    blur: float = 0.0
    flip: float = 0.5
    crop: int = 0
    crop_scale: tuple[float, float] = (0.5, 2.0)
    colour: Colour = "lifted"
    hood: tuple[tuple[Point, ...], ...] = ()
    hood_auto: bool = False
    adapter_decay: float = 0.0
    go_on: bool = True
    max_class_share: float = 0.95
    min_entropy: float = 0.5
    min_frames: int = 24
    newest: int = 48
    deadline_s: float = 300.0
    memory_mb: float = 3000.0
    cooldown_s: float = 5.0
    max_latency_ms: float = 0.0
    threads: int = 1
    cpus: float = 0.0
    gpu_share: float = 0.0
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    precision: Precision = "fp32"
    checkpointing: bool = False
    seed: int = 0

    @property
    def replayed(self) -> int:
        """How many of a batch are scenes of the source: never all."""
        return min(self.replay, self.batch - 1)

    def problems(self) -> list[str]:
        """What its keys say about each other; each alone is sound."""
        low, high = self.crop_scale
        image_out = "out" in self.projections and self.towers != "text"
        found = {
            "projections: name one or more of q, k, v, out, each once":
                not self.projections or len(set(self.projections)) < len(self.projections),
            "projections: out of the image tower is no input of the engine; "
            "leave it out or use towers: text": image_out,
            f"crop_scale: {low:g} must not be above {high:g}": low > high,
        }  # fmt: skip
        return [problem for problem, wrong in found.items() if wrong]


SHARES = frozenset({
    "tau", "mask_ratio", "ema", "hood", "hue", "grayscale", "blur",
    "flip", "warmup_from", "adapter_decay", "max_class_share", "min_entropy",
    "gpu_share",
})  # fmt: skip
MAY_BE_ZERO = frozenset({
    "top_k", "balance", "jitter", "seed", "cooldown_s", "warmup_steps", "weight_decay", "clip_norm",
    "temperature", "anchor", "replay", "crop", "max_latency_ms", "cpus",
})  # fmt: skip

_PUBLISHED: dict[str, Any] = {
    "steps": 40_000, "batch": 2, "schedule": "constant", "clip_norm": 0.0, "ema": 0.99,
    "mirror": False, "alignment": "teacher", "keep_safety": False, "ignore_pruned": False,
    "tau": 0.968, "ignore_unsure": False, "balance": 0.0, "mask_ratio": 0.7, "jitter": 0.5,
    "hue": 0.25, "flip": 0.0, "colour": "plain", "max_class_share": 1.0, "min_entropy": 0.0,
    "replay": 0,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "continual": {},
    "paper": _PUBLISHED | {
        "lr": 5e-5, "warmup_steps": 500, "warmup_from": 0.1, "rank": 2, "alpha": 2.0, "blocks": 4,
        "top_k": 15, "tau_strict": True, "weighting": "q_image", "crop": 512,
    },
    "released": _PUBLISHED | {
        "lr": 5e-6, "warmup_steps": 100, "warmup_from": 0.01, "rank": 1, "alpha": 1.0, "blocks": 5,
        "ema_warmup": True, "weighting": "none", "guidance": "clean", "grayscale": 0.2, "blur": 0.5,
        "crop": 384,
    },
}  # fmt: skip


def with_preset(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a configuration over those of the preset that it names."""
    name = raw.get("preset")
    return {**(PRESETS.get(name, {}) if isinstance(name, str) else {}), **raw}


def preset(name: Preset, **keys: Any) -> AdaptConfig:
    """A preset with some keys changed."""
    return AdaptConfig(**with_preset({"preset": name, **keys}))
