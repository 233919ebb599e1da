"""What units measured, as numbers: means over seeds, intervals, raw scores of every row.

mIoU in percent. A value over seeds is the mean of each seed's own mIoU; intervals resample the
scenes of each seed, the same ones on both sides, and take the mean gain over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.adaptation_plan import FREE, WHOLE
from benchmarks.adaptation_rows import CONCEPTS
from benchmarks.resume import Result, Unit
from benchmarks.ungated import UNGATED

Tables = NDArray[np.float64]
Found = Mapping[Unit, Result]
ARRIVING, BEFORE = "arriving", "before_round"


def class_ious(table: Tables) -> Tables:
    """Tables (..., T, T) -> IoU of each class (..., T) in percent, NaN where labels lack it."""
    hit = np.diagonal(table, axis1=-2, axis2=-1)
    truth = table.sum(-1)
    union = truth + table.sum(-2) - hit
    return np.where(truth > 0, 100 * hit / np.maximum(union, 1), np.nan)


def mean_ious(table: Tables) -> Tables:
    """Tables (..., T, T) -> mIoU (...)."""
    return np.asarray(np.nanmean(class_ious(table), -1))


def gain_interval(
    pairs: Sequence[tuple[Tables, Tables]], draws: int = 1000
) -> tuple[float, float, float]:
    """[(after, before)] of each seed, (N,T,T) -> mean gain over seeds and its 95 % interval."""
    rng, total = np.random.default_rng(0), np.zeros(draws)
    for after, before in pairs:
        picks = rng.integers(len(after), size=(draws, len(after)))
        total += mean_ious(after[picks].sum(1)) - mean_ious(before[picks].sum(1))
    exact = np.mean([mean_ious(a.sum(0)) - mean_ious(b.sum(0)) for a, b in pairs])
    low, high = np.percentile(total / len(pairs), [2.5, 97.5])
    return short(exact), short(low), short(high)


class Rows:
    """Tables of every row of one base on one stream, by seed: those that its units have."""

    def __init__(self, found: Found, base: str, stream: str) -> None:
        self.base, self.stream = base, stream
        self.units = {u: r for u, r in found.items() if (u.base, u.stream) == (base, stream)}
        self.free = _names(r for u, r in self.units.items() if u.row == FREE)
        has = {row: {u.seed for u in self.units if u.row == row} for row in (FREE, WHOLE)}
        self.seeds = sorted(has[FREE] & has[WHOLE] or has[FREE])

    def of(self, row: str, segment: str, seed: int) -> Tables | None:
        """(N,T,T), or None where that unit is missing or tells nothing of it."""
        unit = FREE if row in self.free else WHOLE if row in (WHOLE, ARRIVING, BEFORE) else row
        result = self.units.get(Unit(self.base, self.stream, unit, seed))
        said = None if result is None else result["tables"].get(row, {}).get(segment)
        return None if said is None else np.asarray(said, float)

    def score(self, row: str, segment: str) -> float | None:
        """Mean over seeds of mIoU, None unless every seed has it."""
        tables = [self.of(row, segment, seed) for seed in self.seeds]
        scores = [mean_ious(one.sum(0)) for one in tables if one is not None]
        return short(np.mean(scores)) if scores and len(scores) == len(tables) else None

    def best_free(self, segment: str, seed: int) -> str:
        """The free row that labels say is best for this seed: nobody could choose better."""
        rows = [row for row in self.free if row != "frozen"]
        return max(rows, key=lambda row: miou(self.of(row, segment, seed)))

    def best(self, segment: str) -> float:
        """Mean over seeds of each seed's best free row."""
        each = [self.of(self.best_free(segment, s), segment, s) for s in self.seeds]
        return short(np.mean([miou(one) for one in each]))

    def gain(self, segment: str, over: Callable[[str, int], str]) -> list[float] | None:
        """Adapted over another row by segment and seed: mean, low, high."""
        pairs = []
        for seed in self.seeds:
            after, before = (
                self.of(row, segment, seed) for row in (WHOLE, over(segment, seed))
            )  # fmt: skip
            if after is None or before is None:
                return None
            pairs.append((after, before))
        return list(gain_interval(pairs)) if pairs else None


def per_shift(rows: Rows, segments: Sequence[str]) -> dict[str, Any]:
    """The summary's rows of one stream."""
    if not rows.seeds:
        return {}
    return {
        segment: {
            "frozen": rows.score("frozen", segment),
            "frozen_with_concepts": rows.score(CONCEPTS, segment),
            "best_free": rows.best(segment),
            "adapted": rows.score(WHOLE, segment),
            "baselines": _known({name: rows.score(name, segment) for name in UNGATED}),
        }
        for segment in segments
    }


def details(rows: Rows, segments: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Gains with intervals, worst classes, which free row was best, and each seed's raw scores."""
    found = {}
    for segment in segments if rows.seeds else ():
        shown = [*rows.free, ARRIVING, BEFORE, WHOLE, *UNGATED]
        raw = {row: _raw(rows, row, segment, names) for row in shown}
        found[segment] = {
            "gain_over_concepts": rows.gain(segment, lambda *_: CONCEPTS),
            "gain_over_best_free": rows.gain(segment, rows.best_free),
            "best_free": {str(seed): rows.best_free(segment, seed) for seed in rows.seeds},
            "rows": {row: value for row, value in raw.items() if value},
        }
    return found


def _raw(rows: Rows, row: str, segment: str, names: Sequence[str]) -> dict[str, Any]:
    """By seed: mIoU, worst class, each scene's mIoU."""
    found = {}
    for seed in rows.seeds:
        if (table := rows.of(row, segment, seed)) is not None:
            ious = class_ious(table.sum(0))
            worst = int(np.nanargmin(ious))
            found[str(seed)] = {
                "miou": miou(table), "worst": [names[worst], short(ious[worst])],
                "scenes": [short(x) for x in mean_ious(table)],
            }  # fmt: skip
    return found


def _names(results: Any) -> list[str]:
    return list(dict.fromkeys(row for result in results for row in result["tables"]))


def miou(table: Tables | None) -> float:
    """Of all scenes (N,T,T) together; NaN without any."""
    return float("nan") if table is None else short(mean_ious(table.sum(0)))


def _known(scores: Mapping[str, float | None]) -> dict[str, float]:
    return {name: score for name, score in scores.items() if score is not None}


def short(value: Any) -> float:
    """Hundredths are enough."""
    return round(float(value), 2)
