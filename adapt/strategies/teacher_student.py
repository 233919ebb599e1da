"""Plain teacher-student: no masks, no concepts, no Top-K (the paper's Table 2, second row)."""

from __future__ import annotations

from dataclasses import replace

from acclimate.adapt.strategies.vocalign import VocAlign
from acclimate.adapt.strategy import Setup


class TeacherStudent(VocAlign):
    """Class names on both sides; jitter, weights and the moving average stay as set."""

    def __init__(self, setup: Setup) -> None:
        plain = replace(setup.settings, alignment="none", top_k=0, mask_ratio=0.0)
        super().__init__(replace(setup, settings=plain))
