"""What units measured, as numbers: means over seeds, intervals, curves, rounds, targets.

mIoU in percent. A value over seeds is the mean of each seed's own mIoU; intervals resample the
scenes of each seed, the same ones on both sides, and take the mean gain over seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.adaptation_rows import CONCEPTS, FREE, WHOLE
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
    return _short(exact), _short(low), _short(high)


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
        return _short(np.mean(scores)) if scores and len(scores) == len(tables) else None

    def best_free(self, segment: str, seed: int) -> str:
        """The free row that labels say is best for this seed: nobody could choose better."""
        rows = [row for row in self.free if row != "frozen"]
        return max(rows, key=lambda row: _miou(self.of(row, segment, seed)))

    def best(self, segment: str) -> float:
        """Mean over seeds of each seed's best free row."""
        each = [self.of(self.best_free(segment, s), segment, s) for s in self.seeds]
        return _short(np.mean([_miou(one) for one in each]))

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
                "miou": _miou(table), "worst": [names[worst], _short(ious[worst])],
                "scenes": [_short(x) for x in mean_ious(table)],
            }  # fmt: skip
    return found


def all_rounds(found: Found) -> list[dict[str, Any]]:
    """Of the whole system, with the true mIoU before and after each on its segment's scenes."""
    listed = []
    for unit, result in found.items():
        for told in result["rounds"] if unit.row == WHOLE else ():
            before, after = (
                _miou(np.asarray(result["tables"][row][told["segment"]])) for row in (BEFORE, WHOLE)
            )  # fmt: skip
            where = {"base": unit.base, "stream": unit.stream, "seed": unit.seed}
            listed.append(where | told | {"miou_before": before, "miou_after": after,
                                          "change": _short(after - before)})  # fmt: skip
    return listed


def of_rounds(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts by verdict, recalls, seconds, memory, the worst exchange."""
    ran = [told for told in rounds if told["verdict"] != "none"]
    taken = [told["change"] for told in ran if told["verdict"] in ("accepted", "instead")]
    seconds = [told["seconds"] for told in ran if "seconds" in told]
    return {
        "verdicts": dict(Counter(told["verdict"] for told in ran)),
        "recalls": sum(len(told["recalled"]) for told in rounds),
        "seconds_median": _short(np.median(seconds)) if seconds else None,
        "seconds_max": max(seconds, default=None),
        "peak_mb": max((told["peak_mb"] for told in ran if "peak_mb" in told), default=None),
        "worst_exchange": min(taken, default=None),
        "worst_accepted": min(
            (told["change"] for told in ran if told["verdict"] == "accepted"), default=None
        ),
    }


def returns(found: Found, days: Mapping[str, tuple[str, str | None]]) -> list[dict[str, Any]]:
    """By unit: mIoU by day in the beginning (of the base), once the stream is back in the day, and
    of what served in the end if it met the day at once. `days` are a stream's first and last."""
    listed = []
    for unit, result in found.items():
        if unit.row == FREE or unit.stream not in days:
            continue
        first, last = days[unit.stream]
        start = found.get(unit._replace(row=FREE))
        if start is None:
            continue
        said, before = result["tables"][unit.row], _of(start["tables"][CONCEPTS][first])
        back = _short(_of(said[last]) - before) if last else None
        end = _short(_of(result["day_in_the_end"]) - before)
        listed.append(unit._asdict() | {"before": before, "returned": back, "end_on_day": end})
    return listed


def _names(results: Any) -> list[str]:
    return list(dict.fromkeys(row for result in results for row in result["tables"]))


def _of(table: Any) -> float:
    return _miou(np.asarray(table, float))


def _miou(table: Tables | None) -> float:
    return float("nan") if table is None else _short(mean_ious(table.sum(0)))


def _known(scores: Mapping[str, float | None]) -> dict[str, float]:
    return {name: score for name, score in scores.items() if score is not None}


def _short(value: Any) -> float:
    return round(float(value), 2)
