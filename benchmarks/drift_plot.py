"""drift.json as a picture: the calm drives, and what follows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

COLORS = {
    "night": "#3d5a80", "fog": "#8d99ae", "rain": "#2a9d8f", "cast": "#e0a458",
    "gradual night": "#22223b",
}  # fmt: skip


def plot(results: dict[str, Any], path: Path) -> None:
    """Write the picture."""
    settings = results["settings"]
    weights = [1.0, settings["entropy_weight"], settings["histogram_weight"]]
    figure, (calm, shifts) = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    for seed, streams in results["samples"].items():
        calm.plot(_whole(streams["calm"], weights), lw=0.8, label=f"stream {seed}")
        for name, color in COLORS.items():
            first = seed == next(iter(results["samples"]))
            shifts.plot(_whole(streams[name], weights), color=color, lw=1.1,
                        label=name if first else None)  # fmt: skip
    for axis, title in ((calm, "no shift"), (shifts, "from the moment of the shift")):
        axis.axhline(settings["threshold"], color="#c1121f", lw=1, ls="--")
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("s")
        axis.set_ylim(0, 4 * settings["threshold"])
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    calm.set_ylabel("drift, in spreads (dashed: alarm)")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _whole(signals: list[list[float]], weights: list[float]) -> Any:
    return np.linalg.norm(np.array(signals) * weights, axis=1)
