"""gate.json as a picture: measured against true gain, and the ROC of the margins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.gate_numbers import HARMFUL, HELPFUL, within_bounds

SHOWN = (-12.0, 12.0)  # points; what lies beyond sits on the edge


def picture(results: dict[str, Any], path: Path) -> None:
    """Write it."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 5.2), layout="constrained", width_ratios=(3, 2)
    )
    scatter(left, results)
    curves(right, results)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def scatter(axis: Axes, results: dict[str, Any]) -> None:
    """A point a candidate: full where only the contest decides, a cross where a bound refuses."""
    axis.axvspan(SHOWN[0], HARMFUL, color="#f6dcdc", lw=0)
    axis.axvspan(HELPFUL, SHOWN[1], color="#dcefe4", lw=0)
    axis.axhline(0, color="black", lw=0.8, ls="--")
    shown = [row for row in results["rows"] if None not in (row["true_gain"], row["score"])]
    for number, kind in enumerate(results["kinds"]):
        for sound, marker in ((True, "o"), (False, "x")):
            some = [r for r in shown if r["kind"] == kind and within_bounds(r) is sound]
            x, y = ([clip(row[key]) for row in some] for key in ("true_gain", "score"))
            label = kind if sound else None
            axis.scatter(x, y, s=26, marker=marker, color=f"C{number}", label=label, lw=1.1)
    axis.set(
        xlim=SHOWN, ylim=SHOWN, xlabel="true gain over the best that is free, points of mIoU",
        ylabel="points by which a judge is surer of a gain than it must be",
    )  # fmt: skip
    axis.set_title("red: harmful, green: helpful; x: refused by another bound", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left")


def clip(value: float) -> float:
    """Onto the edge."""
    return min(max(value, SHOWN[0]), SHOWN[1])


def curves(axis: Axes, results: dict[str, Any]) -> None:
    """Helpful accepted over harmful accepted as the margin falls, and where the gate stands."""
    for key, label in (("roc", "all bounds"), ("roc_of_the_gain_alone", "the gain alone")):
        found = results[key]
        axis.plot(
            found["harmful_accepted"], found["helpful_accepted"],
            label=f"{label}, area {found['auc']:.3f}",
        )  # fmt: skip
    told = results["summary"]
    here = [told[f"{n}_accepted"] / max(1, told[n]) for n in ("harmful", "helpful")]
    axis.plot(*here, "k*", ms=12, label="the gate as it is")
    axis.set(xlabel="share of harmful accepted", ylabel="share of helpful accepted")
    axis.set(xlim=(-0.02, 1), ylim=(0, 1.02))
    axis.legend(frameon=False, loc="lower right")
