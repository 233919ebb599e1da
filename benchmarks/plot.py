"""default.json as a picture: five bars a condition, spread over seeds, every seed a dot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

LOOK = {
    "frozen": ("frozen", "#c9c9c9"),
    "frozen_with_concepts": ("frozen + concepts", "#8d99ae"),
    "frozen_normalised": ("frozen + concepts + normalised frames", "#e0a458"),
    "frozen_recoloured": ("frozen + concepts + the adapter's colours", "#b5838d"),
    "adapted": ("adapted (gated)", "#2a9d8f"),
}


def bars(results: dict[str, Any], path: Path) -> None:
    """Write the picture."""
    names = list(results["conditions"])
    figure, axis = plt.subplots(figsize=(10, 4.6), layout="constrained")
    for column, (method, (label, color)) in enumerate(LOOK.items()):
        rows = [results["conditions"][name]["miou"][method] for name in names]
        x = np.arange(len(names)) + 0.16 * (column - 2)
        axis.bar(x, [r["mean"] for r in rows], 0.15, color=color, label=label)
        for at, row in zip(x, rows, strict=True):
            axis.plot([at] * len(row["seeds"]), row["seeds"], "k.", markersize=3)
            axis.annotate(f"{row['mean']:.0f}", (at, 0.8), ha="center", fontsize=8)
    axis.set_xticks(np.arange(len(names)), names)
    axis.set_ylabel("mIoU, %")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
