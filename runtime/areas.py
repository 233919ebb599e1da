"""How much of the picture each class takes, and how sure the model is of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.runtime.predict import Seen

Numbers = NDArray[np.float64]


class Areas:
    """Shares and mean confidences frame by frame; every frame weighs the same in the whole."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._rows: list[dict[str, Any]] = []
        self._share = np.zeros(len(names))
        self._sure = np.zeros(len(names))

    def add(self, frame: dict[str, Any], seen: Seen) -> None:
        """One frame; `frame` says which (name, time ...) and begins its entry."""
        share, sure = shares(seen, len(self._names))
        self._share += share
        self._sure += sure
        self._rows.append(frame | self._entry(share, sure))

    def report(self) -> dict[str, Any]:
        """{overall, frames}: shares and confidences 0..1, classes that were not seen left out."""
        count = max(1, len(self._rows))
        whole = {"frames": len(self._rows)} | self._entry(self._share / count, self._sure / count)
        return {"overall": whole, "frames": self._rows}

    def _entry(self, share: Numbers, sure: Numbers) -> dict[str, Any]:
        classes = {
            name: {"share": round(float(s), 6), "confidence": round(float(c / s), 4)}
            for name, s, c in zip(self._names, share, sure, strict=True)
            if s > 0
        }
        return {"confidence": round(float(sure.sum()), 4), "classes": classes}


def shares(seen: Seen, classes: int) -> tuple[Numbers, Numbers]:
    """Share (T,) of each class, and that share times its mean confidence (T,)."""
    flat = seen.labels.ravel()
    share = np.bincount(flat, minlength=classes) / flat.size
    sure = np.bincount(flat, seen.probability.ravel(), minlength=classes) / flat.size
    return share, sure


def table_of(overall: dict[str, Any]) -> str:
    """The whole as people read it, the largest first."""
    rows = sorted(overall["classes"].items(), key=lambda row: -row[1]["share"])
    width = max([len(name) for name, _ in rows] + [5])
    lines = [f"{'class':<{width}}  area %  confidence %"]
    lines += [
        f"{name:<{width}}  {100 * row['share']:6.1f}  {100 * row['confidence']:12.1f}"
        for name, row in rows
    ]
    return "\n".join([*lines, f"{'all':<{width}}  {100:6.1f}  {100 * overall['confidence']:12.1f}"])
