"""Teacher-student with masks, without concepts and Top-K (the paper's Table 2, third row)."""

from __future__ import annotations

from dataclasses import replace

from acclimate.adapt.strategies.vocalign import VocAlign
from acclimate.adapt.strategy import Setup


class Masking(VocAlign):
    """Class names on both sides; the student's blocks are hidden as set."""

    def __init__(self, setup: Setup) -> None:
        plain = replace(setup.settings, alignment="none", top_k=0)
        super().__init__(replace(setup, settings=plain))
