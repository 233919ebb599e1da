"""Why now? The one place that decides to start a round."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.configs.schema import Config

NEW_FRAMES = 6


@dataclass(frozen=True)
class Situation:
    """`busy`: a round, a swap or a probation is under way; `drift` None while it is unknown;
    `since_round` in seconds; `new_frames` admitted to the buffer since the last round began."""

    busy: bool
    drift: float | None
    since_round: float
    buffered: int
    new_frames: int


def why_now(now: Situation, config: Config) -> str | None:
    """The reason for a round, or None."""
    adapt, limit = config.adapt, config.drift.threshold
    if not adapt.enabled or now.busy or now.drift is None or now.drift < limit:
        return None
    if now.since_round < adapt.cooldown_s or now.buffered < adapt.min_frames:
        return None
    if now.new_frames < NEW_FRAMES:
        return None
    return f"drift {now.drift:.1f} is above {limit:g}"
