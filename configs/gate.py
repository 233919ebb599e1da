"""Keys of `gate`: what may serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from acclimate.configs.adapt import Colour


@dataclass(frozen=True)
class GateConfig:
    """What a candidate must show on held-out frames, and what competes with it.

    Bounds (shares 0..1, JS divergence in bits): `max_histogram_js` is for what was learned,
    `max_jump_js` for all that changes in a swap, colours too.
    Contest (points of mIoU, at `confidence` by a paired bootstrap over `frames` frames): what was
    learned must beat the best of what serves, the base, both in the colours `adapt.colour`, the
    base in those of `normalise`, and the `recall` nearest good adapters. The best of them, by the
    stream's frames and dressed scenes together, serves if it beats what does: by `margin` where
    only the base's colours change, by `margin_learned` an adapter's, else as a candidate has to.
    "not_worse" asks of what was learned only that it is not surely worse. In the eyes of the best's
    own changed views it may lose `max_teacher_drop`.
    Labelled scenes of the source in the stream's look (`dressed`; of the embedded bases and
    `model.source_dir`): where there are some, what was learned must gain `margin_dressed` there, at
    `confidence`, and not lose more than `max_duel_loss` in the duel, or gain `margin_learned` in
    the duel and not lose more than `max_dressed_loss` there; then bounds that ask for sameness are
    not asked, unless those labels lack a class that is seen.
    Memory: it may lose `max_memory_drop` on `memory_frames` frames of earlier conditions, of which
    all bundles together keep `memory_mb`, and `max_source_drop` on the source's probe scenes.
    `labelled_dir`: pictures of yours; against what serves and against the base the mean may lose
    `max_labelled_drop`, each safety class `max_safety_drop`.
    """

    min_pseudo_miou: float = 0.5
    min_agreement: float = 0.99
    max_histogram_js: float = 0.02
    max_jump_js: float = 0.3
    min_class_recall: float = 0.5
    contest: Literal["better", "not_worse"] = "better"
    margin: float = 0.5
    confidence: float = 0.9
    margin_learned: float = 1.5
    max_teacher_drop: float = 6.0
    dressed: bool = True
    margin_dressed: float = 0.2
    max_duel_loss: float = 1.0
    max_dressed_loss: float = 1.0
    normalise: tuple[Colour, ...] = ("half", "whole")
    recall: int = 1
    frames: int = 12
    memory_frames: int = 12
    memory_mb: float = 16.0
    max_memory_drop: float = 5.0
    max_source_drop: float = 5.0
    labelled_dir: str | None = None
    max_labelled_drop: float = 1.0
    max_safety_drop: float = 2.0
