"""Every way of adapting, by the name that `adapt.strategy` gives it."""

from __future__ import annotations

from collections.abc import Callable

from acclimate.adapt.strategies.entropy import Entropy
from acclimate.adapt.strategies.frozen import Frozen
from acclimate.adapt.strategies.masking import Masking
from acclimate.adapt.strategies.rdumb import RDumb
from acclimate.adapt.strategies.teacher_student import TeacherStudent
from acclimate.adapt.strategies.vocalign import VocAlign
from acclimate.adapt.strategy import Setup, Step, Strategy
from acclimate.configs.adapt import StrategyName

__all__ = ["STRATEGIES", "Setup", "Step", "Strategy"]

STRATEGIES: dict[StrategyName, Callable[[Setup], Strategy]] = {
    "vocalign": VocAlign,
    "entropy": Entropy,
    "teacher_student": TeacherStudent,
    "masking": Masking,
    "rdumb": lambda setup: RDumb(setup, STRATEGIES[setup.settings.rdumb_of]),
    "frozen": Frozen,
}
