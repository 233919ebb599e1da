"""What became of candidates: counts by kind, and the ROC of both judges' margins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.gate import GateConfig

HARMFUL, HELPFUL = -0.5, 1.0  # points of true mIoU: falls by more, rises by more
CONTEST = ("gain over ", "duel ", "dressed_gain ")  # how reasons of a lost contest begin
Row = dict[str, Any]
Values = NDArray[np.float64]


def effect(row: Row) -> str:
    """ "harmful", "helpful" or "neither"; what is not finite harms."""
    gain = row["true_gain"]
    if gain is None or gain < HARMFUL:
        return "harmful"
    return "helpful" if gain > HELPFUL else "neither"


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many were harmful and helpful, and how many of each were accepted."""
    found: dict[str, int] = {}
    for name in ("harmful", "helpful", "neither"):
        some = [row for row in rows if effect(row) == name]
        found |= {name: len(some), f"{name}_accepted": sum(row["accepted"] for row in some)}
    return found


def by_kind(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """The same for each kind, in the order of the rows."""
    kinds = dict.fromkeys(row["kind"] for row in rows)
    return {kind: counts([row for row in rows if row["kind"] == kind]) for kind in kinds}


def within_bounds(row: Row) -> bool:
    """Is there no reason to refuse it but the contest?"""
    return all(reason.startswith(CONTEST) for reason in row["reasons"])


def surplus(numbers: Mapping[str, float], gate: GateConfig) -> float | None:
    """Points by which the surer of the two judges is surer than it must be, of those that the other
    does not speak against (`acclimate.adapt.gate.judges`); None where nothing was measured."""
    if "gain_low" not in numbers:
        return None
    by_stream = numbers["gain_low"] - gate.margin_learned
    if "dressed_low" not in numbers:
        return by_stream
    by_labels = numbers["dressed_low"] - gate.margin_dressed
    open_ways = [by_labels] if numbers["gain"] >= -gate.max_duel_loss else []
    open_ways += [by_stream] if numbers["dressed_gain"] >= -gate.max_dressed_loss else []
    return max(open_ways, default=min(by_labels, by_stream))


def scores(rows: Sequence[Row], bounds: bool = True) -> Values:
    """Each one's surplus; -inf where nothing was measured or, with `bounds`, where another bound
    refuses it whatever the margins."""
    return np.array([
        row["score"] if row["score"] is not None and (within_bounds(row) or not bounds)
        else -np.inf for row in rows
    ])  # fmt: skip


def roc(helpful: Values, harmful: Values) -> tuple[Values, Values, Values]:
    """Scores (P,) and (Q,) -> for every margin, falling: it (M,), the share (M,) of harmful ones
    and of helpful ones that reach it. The first margin is +inf, the last -inf."""
    every = np.concatenate([helpful, harmful])
    margins = np.unique(np.concatenate([[np.inf, -np.inf], every]))[::-1]
    false = np.array([(harmful >= m).mean() if len(harmful) else 0.0 for m in margins])
    true = np.array([(helpful >= m).mean() if len(helpful) else 0.0 for m in margins])
    return margins, false, true


def area(false: Values, true: Values) -> float:
    """Under the curve, by trapezoids."""
    return float(((true[1:] + true[:-1]) / 2 * np.diff(false)).sum())


def curve(rows: Sequence[Row], bounds: bool = True) -> dict[str, Any]:
    """JSON-ready ROC of the margin; infinities are null."""
    said = scores(rows, bounds)
    kinds = np.array([effect(row) for row in rows])
    margins, false, true = roc(said[kinds == "helpful"], said[kinds == "harmful"])
    return {
        "auc": round(area(false, true), 4),
        "margin": [round(float(m), 3) if np.isfinite(m) else None for m in margins],
        "harmful_accepted": false.round(4).tolist(), "helpful_accepted": true.round(4).tolist(),
    }  # fmt: skip
