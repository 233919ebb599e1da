"""Which appearance shift applies, and how strongly."""

from __future__ import annotations

from dataclasses import dataclass

KINDS: tuple[str, ...] = ("none", "night", "fog", "rain", "cast", "noise")


@dataclass(frozen=True)
class Shift:
    """A kind from KINDS at a strength from 0 (the clean image) to 1."""

    kind: str = "none"
    strength: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown shift {self.kind!r}; allowed: {', '.join(KINDS)}")
        if not 0.0 <= self.strength <= 1.0:
            raise ValueError(f"shift strength {self.strength!r} is not within 0..1")
