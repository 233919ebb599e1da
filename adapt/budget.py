"""A step that fits into the memory that the user states: first slower, then smaller."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from acclimate.adapt.rehearsal import shapes_of, step_bytes
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.errors import OutOfMemory

MIB = 2**20
SLACK, SCRATCH = 1.2, 256 * MIB  # what allocators keep and convolutions use: see benchmarks/step.py
SHRINK = 0.75


def fitted(
    settings: AdaptConfig, words: Words, frame: tuple[int, int], device: torch.device
) -> tuple[AdaptConfig, str]:
    """The settings as they are or, where a step on frames (H,W) would pass `memory_mb`, the first
    of `cheaper` that does not; and what to say of it, "" for nothing.

    Counts what is held now: of the process, or on a CUDA device what torch has there. Raises
    OutOfMemory naming what would be needed.
    """
    if settings.strategy == "frozen":
        return settings, ""
    config, now, shapes = words.base.network.config, held(device), shapes_of(words, frame)
    needs = list[float]()
    for one in (settings, *cheaper(settings, min(config.image_size))):
        seen = replace(shapes, pixels=_pixels(one, frame))
        needs.append((now + SCRATCH + SLACK * step_bytes(config, one, seen)) / MIB)
        if needs[-1] <= settings.memory_mb:
            return one, "" if one == settings else _told(settings, one, needs[0])
    raise OutOfMemory(
        f"a step needs {min(needs):.0f} MiB at least, adapt.memory_mb allows "
        f"{settings.memory_mb:g}: raise it, or lower adapt.top_k or the number of concepts"
    )


def cheaper(settings: AdaptConfig, least: int) -> Iterator[AdaptConfig]:
    """Activations computed again, which changes no gradient; then one image a step, and nothing
    replayed; then smaller crops, of `least` px at least. Each on top of the one before."""
    if not settings.checkpointing:
        settings = replace(settings, checkpointing=True)
        yield settings
    while settings.batch > 1:
        settings = replace(settings, batch=settings.batch // 2)
        settings = replace(settings, replay=settings.replayed)
        yield settings
    while settings.crop > least:
        settings = replace(settings, crop=max(least, int(settings.crop * SHRINK)))
        yield settings


def held(device: torch.device) -> int:
    """Bytes in use before a step; 0 where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _pixels(settings: AdaptConfig, frame: tuple[int, int]) -> tuple[int, int]:
    """What the student sees of a frame."""
    side = min(settings.crop, *frame)
    return (side, side) if settings.crop else frame


def _told(before: AdaptConfig, after: AdaptConfig, needed: float) -> str:
    changes = [
        f"adapt.{key} {getattr(before, key)} -> {getattr(after, key)}"
        for key in ("checkpointing", "batch", "replay", "crop")
        if getattr(before, key) != getattr(after, key)
    ]
    return (
        f"a step needs {needed:.0f} MiB, adapt.memory_mb allows {before.memory_mb:g}: "
        + ", ".join(changes)
    )
