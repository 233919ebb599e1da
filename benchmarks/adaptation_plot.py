"""adaptation.json as a picture: mIoU along both streams, and what adapting earned at each shift."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.adaptation_tables import worst_class

KEYS = {"default": "summary", "augmented": "summary_augmented"}
LINES = {
    "frozen": ("frozen", "#c9c9c9", 1.5),
    "frozen_with_concepts": ("frozen + concepts", "#8d99ae", 1.5),
    "best_free": ("best that is free", "#e0a458", 2.0),
}
OTHERS = {
    "entropy": "#6a4c93", "teacher_student": "#9d4edd", "masking": "#c77dff", "rdumb": "#3c096c",
    "vocalign_paper": "#bc4749", "vocalign_released": "#f28482", "vocalign_continual": "#7f5539",
}  # fmt: skip
ADAPTED = "#2a9d8f"
GAINS = {"gain_over_concepts": "#8d99ae", "gain_over_best_free": "#e0a458"}


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Write the picture; a base without units has no column."""
    bases = [base for base, key in KEYS.items() if results[key]["per_shift"]]
    if not bases:
        return
    figure, axes = plt.subplots(
        3, len(bases), figsize=(9 * len(bases), 13), layout="constrained", squeeze=False
    )
    for column, base in enumerate(bases):
        for row, (stream, segments) in enumerate(results["segments"].items()):
            _along(axes[row][column], results, base, segments)
            axes[row][column].set_title(f"{stream} stream, {base} base")
        _earned(axes[2][column], results["details"][base])
        axes[2][column].set_title(f"what adapting earned, {base} base")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=3 * len(bases), frameon=False, fontsize=9
    )  # fmt: skip
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _along(axis: Any, results: Mapping[str, Any], base: str, segments: list[str]) -> None:
    """Lines of one stream; the whole system's at each segment's beginning and end."""
    shifts = results[KEYS[base]]["per_shift"]
    names, x = [name for name in segments if name in shifts], np.arange(len(segments))
    if not names:
        return
    for key, color in OTHERS.items():
        values = [shifts[name]["baselines"].get(key, np.nan) for name in names]
        if not np.isnan(values).all():
            label = key.replace("_", " ") + ", no gate"
            axis.plot(x, values, color=color, linewidth=0.9, linestyle="--", label=label)
    for key, (label, color, width) in LINES.items():
        values = [shifts[name][key] for name in names]
        axis.plot(x, values, color=color, linewidth=width, marker="o", markersize=3, label=label)
    _adapted(axis, results["details"][base], names)
    _worst(axis, results["details"][base], names)
    axis.set_xticks(x, [name.replace("_", "\n") for name in names], fontsize=8)
    axis.set_ylabel("mIoU, %; dotted: the worst class's IoU")
    axis.spines[["top", "right"]].set_visible(False)


def _adapted(axis: Any, details: Mapping[str, Any], names: list[str]) -> None:
    """From what serves as a segment begins to what serves at its end; seeds as dots."""
    told = [details[name]["rows"] for name in names]
    if not all("adapted" in rows for rows in told):
        return
    ends = {key: [[one["miou"] for one in rows[key].values()] for rows in told]
            for key in ("arriving", "adapted")}  # fmt: skip
    means = {key: [np.mean(values) for values in rows] for key, rows in ends.items()}
    x = np.ravel([(i - 0.35, i) for i in range(len(names))])
    y = np.ravel(list(zip(means["arriving"], means["adapted"], strict=True)))
    axis.plot(x, y, color=ADAPTED, linewidth=1, alpha=0.6)
    label = "whole system, as a segment ends"
    axis.plot(range(len(names)), means["adapted"], "o", color=ADAPTED, label=label)
    for at, values in enumerate(ends["adapted"]):
        axis.plot([at] * len(values), values, "k.", markersize=2)


def _worst(axis: Any, details: Mapping[str, Any], names: list[str]) -> None:
    """The class known least by the best that is free and by the whole system, dotted."""
    for row, color in (("best_free", LINES["best_free"][1]), ("adapted", ADAPTED)):
        values = [worst_class(details[name], row) for name in names]
        if None not in values:
            axis.plot(range(len(names)), values, ":", color=color, linewidth=1.5)


def _earned(axis: Any, details: Mapping[str, Any]) -> None:
    """Gains of what adapted over both controls with their intervals."""
    names = [name for name, told in details.items() if told["gain_over_concepts"]]
    for column, (key, color) in enumerate(GAINS.items()):
        rows = np.array([details[name][key] for name in names]).reshape(-1, 3)
        x = np.arange(len(names)) + 0.4 * (column - 0.5)
        around = np.stack([rows[:, 0] - rows[:, 1], rows[:, 2] - rows[:, 0]])
        label = key.replace("gain_", "").replace("_", " ")
        axis.bar(x, rows[:, 0], 0.38, color=color, label=label)
        axis.errorbar(x, rows[:, 0], np.maximum(around, 0), fmt="none", ecolor="k", capsize=2)
    axis.axhline(0, color="k", linewidth=0.6)
    axis.set_xticks(np.arange(len(names)), [name.replace("_", "\n") for name in names], fontsize=7)
    axis.set_ylabel("points of mIoU, 95 %")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
