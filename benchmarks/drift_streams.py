"""What the engine says of long drives, with and without shifts, kept for another look at them.

One row a second of a drive at 10 frames a second: each frame looked at stands for ten. A `calm`
drive; shifts that come at once or over two minutes; a parked stretch, while the night falls; a
stretch with the camera covered. All of them go on from the calm drive of their seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.look import Grey, look, small
from acclimate.world import Drive, Shift
from acclimate.world.weather import add_noise, apply

FPS, STRIDE = 10, 10
SUDDEN = ("night", "fog", "rain", "cast")
STRENGTH, SUDDEN_S, GRADUAL_S, PARKED_S, COVER_S = 0.8, 30, 120, 60, 15
COVERS = {"dark": 4.0, "mud": 110.0, "glare": 248.0}  # grey level of a covered or dazzled camera

Rows = NDArray[np.float64]
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """One row a second: embedding (N,D), histogram (N,T), confidence (N,3), look (N,3: light,
    contrast, change since the row before; NaN for the first)."""

    embedding: Rows
    histogram: Rows
    confidence: Rows
    look: Rows

    def __len__(self) -> int:
        return len(self.embedding)

    def rows(self) -> Iterator[tuple[Rows, ...]]:
        """Embedding, histogram, confidence and look of one row after the other."""
        return zip(self.embedding, self.histogram, self.confidence, self.look, strict=True)


def joined(*parts: Seen) -> Seen:
    """One after the other."""
    return Seen(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Seen)))


def part(whole: Seen, first: int, end: int) -> Seen:
    """Rows from `first` to `end`."""
    return Seen(*(getattr(whole, f.name)[first:end] for f in fields(Seen)))


def streams(seed: int, calm_s: int) -> Iterator[tuple[str, Iterator[Frame]]]:
    """(name, frames) of everything that is shown of one seed."""
    drive = Drive(seed, fps=float(FPS))
    yield "calm", (drive.frame(STRIDE * i)[0] for i in range(calm_s))
    for kind in SUDDEN:
        yield kind, _shifted(drive, calm_s, [Shift(kind, STRENGTH)] * SUDDEN_S)
    falling = [Shift("night", STRENGTH * (i + 1) / GRADUAL_S) for i in range(GRADUAL_S)]
    yield "gradual night", _shifted(drive, calm_s, falling)
    yield "parked", _parked(drive, calm_s)
    yield "covered", _covered(drive.size, seed)


def _shifted(drive: Drive, first: int, shifts: list[Shift]) -> Iterator[Frame]:
    for i, shift in enumerate(shifts):
        yield drive.frame(STRIDE * (first + i), shift)[0]


def _parked(drive: Drive, first: int) -> Iterator[Frame]:
    """One view for a minute: the sensor's noise, a flicker of the exposure, and night falls."""
    view, noise = drive.view(STRIDE * first), np.random.default_rng((drive.seed, 1))
    for i in range(PARKED_S):
        dusk = apply(view, Shift("night", 0.6 * i / PARKED_S), drive.seed, first + i)
        exposed = dusk.astype(np.float32) * noise.normal(1, 0.01)
        yield np.clip(add_noise(exposed, 3.0, noise), 0, 255).astype(np.uint8)


def _covered(size: tuple[int, int], seed: int) -> Iterator[Frame]:
    """Nothing but one grey with a soft gradient and the sensor's noise."""
    noise = np.random.default_rng((seed, 2))
    slope = np.linspace(-4, 4, size[1], dtype=np.float32)[None, :, None]
    for grey in COVERS.values():
        for _ in range(COVER_S):
            flat = np.full((*size, 3), grey, np.float32) + slope
            yield np.clip(add_noise(flat, 3.0, noise), 0, 255).astype(np.uint8)


def seen(engine: Engine, bundle: Bundle, frames: Iterator[Frame]) -> Seen:
    """What the engine says of them."""
    rows: list[tuple[NDArray[np.floating[Any]], ...]] = []
    before: Grey | None = None
    for frame in frames:
        image = np.ascontiguousarray(frame)
        result, grey = engine.infer(image, bundle), small(image)
        shows = look(grey, before)
        change = np.nan if shows.change is None else shows.change
        picture = np.array([shows.light, shows.contrast, change])
        rows.append((result.embedding, result.histogram, result.confidence, picture))
        before = grey
    return Seen(*(np.stack(column).astype(float) for column in zip(*rows, strict=True)))


def cached(engine: Engine, bundle: Bundle, seed: int, calm_s: int, folder: Path) -> dict[str, Seen]:
    """All streams of a seed, from `folder` where they were looked at with this base before."""
    found = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, frames in streams(seed, calm_s):
        digest = engine.info.base_digest[:8]
        path = folder / f"{digest}-{seed}-{calm_s}-{name.replace(' ', '-')}.npz"
        if not path.is_file():
            one = seen(engine, bundle, frames)
            np.savez(path, **vars(one))
        with np.load(path, allow_pickle=False) as kept:
            found[name] = Seen(**{key: kept[key] for key in kept.files})
    return found
