"""load.png: served frames and their age by load; what frames take alone and beside rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COLOURS = {1: "#8d99ae", 4: "#e0a458", 8: "#457b9d"}
KINDS = {"alone": "#8d99ae", "adapting": "#c1666b"}
WORDS = {"without": "no limit", "governor": "governor on"}


def plot(results: dict[str, Any], path: Path) -> None:
    """Three panels."""
    figure, (rate, age, beside) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    _rates(rate, results["cameras"])
    _ages(age, results["cameras"])
    _beside(beside, results["adapting"])
    for axis in (rate, age, beside):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _rates(axis: Axes, found: dict[str, Any]) -> None:
    loads = sorted({row["load"] for row in found["rows"]})
    most = found["capacity_fps"] * max(loads)
    axis.plot([0, most], [0, most], color="#bbb", lw=1, ls=":", label="all offered frames")
    for cameras, colour in COLOURS.items():
        rows = [row for row in found["rows"] if row["cameras"] == cameras]
        axis.plot(*_middle(rows, lambda row: row["served_fps"]), "o-", color=colour,
                  label=f"{cameras} camera{'s' * (cameras > 1)}")  # fmt: skip
    axis.set_ylim(0, 1.3 * max(row["served_fps"] for row in found["rows"]))
    axis.set(title="served", xlabel="offered, frames/s", ylabel="frames/s")
    axis.legend(frameon=False)


def _ages(axis: Axes, found: dict[str, Any]) -> None:
    for cameras, colour in COLOURS.items():
        rows = [row for row in found["rows"] if row["cameras"] == cameras]
        for name, style in (("p50", "o-"), ("p99", "o:")):
            axis.plot(*_middle(rows, lambda row, n=name: row["age_ms"][n]), style, color=colour,
                      label=f"{name}, {cameras}")  # fmt: skip
    axis.set_ylim(0)
    axis.set(title="age of a picture with its labels", xlabel="offered, frames/s", ylabel="ms")
    axis.legend(frameon=False, ncols=3, fontsize=8)


def _middle(rows: list[dict[str, Any]], value: Any) -> tuple[list[float], list[float]]:
    offered = sorted({row["offered_fps"] for row in rows})
    at = [[value(row) for row in rows if row["offered_fps"] == x] for x in offered]
    return offered, [float(np.median(values)) for values in at]


def _beside(axis: Axes, found: dict[str, Any]) -> None:
    for part, style in (("without", ":"), ("governor", "-")):
        for kind, colour in KINDS.items():
            values = np.sort([m for k, w in found[part]["samples_ms"] for m in w if k == kind])
            axis.plot(values, np.linspace(0, 100, len(values)), style, color=colour,
                      label=f"{kind}, {WORDS[part]}")  # fmt: skip
    axis.axvline(found["governor"]["limit_ms"], color="#bbb", lw=1)
    axis.set_ylim(50, 100.5)
    axis.set_xlim(0, 3 * found["governor"]["alone"]["p99"])
    axis.set(title="one camera beside rounds", xlabel="capture to labels, ms", ylabel="% of frames")
    axis.legend(frameon=False, fontsize=8, loc="lower right")
