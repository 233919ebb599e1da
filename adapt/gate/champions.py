"""Who competes with what is learned: all that costs nothing.

What serves; the base; both in colours moved towards those the base knows; the good adapters whose
condition was nearest. Each is a bundle that could serve at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acclimate.adapt.gate.contest import BASE, SERVING
from acclimate.configs.schema import Config
from acclimate.errors import BundleError
from acclimate.model.colour import Daylight, colour_of
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import EngineInfo

HERE = 1.0  # spreads; on the world the same condition lies within 0.8, another beyond 1.1


@dataclass(frozen=True)
class Champion:
    """A bundle, and the folder it came from (its adapter lies there, if it has one)."""

    bundle: Bundle
    folder: Path


def earlier(folders: Sequence[Path], engine: EngineInfo, digest: str) -> list[Champion]:
    """Good bundles, oldest first; one that does not load is left out: the rest can do without."""
    found = []
    for folder in folders:
        with suppress(BundleError):
            found.append(Champion(load_bundle(folder, engine, digest), folder))
    return found


def champions(
    config: Config, serving: Champion, good: Sequence[Champion], daylight: Daylight | None,
    here: NDArray[np.float32],
) -> dict[str, Champion]:  # fmt: skip
    """By name; no two with the same inputs. `here` (D,) is where the stream lies in embedding
    space."""
    base = next((one for one in good if one.bundle.manifest.get("kind") == "base"), serving)
    found = {SERVING: serving, BASE: base}
    learnt = [one for one in good if one.bundle.id not in (serving.bundle.id, base.bundle.id)]
    for one in nearest(learnt, here)[: config.gate.recall]:
        found[one.bundle.id] = one
    if (usual := config.adapt.colour) != "plain":
        for name in dict.fromkeys((usual, *config.gate.normalise)):
            found[f"{BASE}, {name}"] = in_colours(base, colour_of(daylight, name))
        found[f"{serving.bundle.id}, {usual}"] = in_colours(serving, colour_of(daylight, usual))
    return different(found)


def in_colours(one: Champion, colour: NDArray[np.float32]) -> Champion:
    """The same weights and words in other colours."""
    return replace(one, bundle=one.bundle.in_colours(colour))


def nearest(good: Sequence[Champion], here: NDArray[np.float32]) -> list[Champion]:
    """Those whose condition is known, nearest first."""
    known = [one for one in good if one.bundle.manifest.get("condition")]
    return sorted(known, key=lambda one: _far(one, here))


def elsewhere(good: Sequence[Champion], here: NDArray[np.float32]) -> list[Champion]:
    """Those made in a condition that the stream is not in: what they remember may not be forgotten,
    while here it is the contest that judges, and it has more than what was said then to go by."""
    return [one for one in good if _far(one, here) > HERE]


def _far(one: Champion, here: NDArray[np.float32]) -> float:
    """From where it was made, in units of that condition's spread; infinite if nobody knows."""
    condition = one.bundle.manifest.get("condition")
    if not condition:
        return np.inf
    away = np.linalg.norm(np.asarray(condition["mean"]) - here)
    return float(away / max(condition["spread"], 1e-6))


def different(found: dict[str, Champion]) -> dict[str, Champion]:
    """Without those that repeat an earlier one."""
    kept: dict[str, Champion] = {}
    for name, one in found.items():
        if not any(_same(one.bundle, other.bundle) for other in kept.values()):
            kept[name] = one
    return kept


def _same(one: Bundle, other: Bundle) -> bool:
    a, b = one.inputs, other.inputs
    return a.keys() == b.keys() and all(a[n] is b[n] or np.array_equal(a[n], b[n]) for n in a)
