"""soak.png: what daemon and runtime hold over thousands of swaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

PANELS = {
    "resident memory, MiB": ("runtime_mib", "daemon_mib"),
    "open descriptors": ("runtime_descriptors", "daemon_descriptors"),
    "capture to label map, ms": ("latency_p50_ms", "latency_p99_ms"),
    "adapters on disk": ("adapter_folders",),
}
WORDS = {"runtime": "serving process", "daemon": "daemon", "latency": ""}


def plot(results: dict[str, Any], path: Path) -> None:
    """Each column over the swaps so far."""
    rows = results["samples"]
    swaps = [2 * row["cycles"] for row in rows]
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), sharex=True)
    for axis, (title, names) in zip(axes.flat, PANELS.items(), strict=True):
        for name in names:
            head, _, tail = name.partition("_")
            label = tail.split("_")[0] if head == "latency" else WORDS.get(head, "")
            axis.plot(swaps, [row[name] for row in rows], lw=1.2, label=label or None)
        axis.set_title(title)
        axis.set_ylim(0)
        axis.spines[["top", "right"]].set_visible(False)
        if len(names) > 1:
            axis.legend(frameon=False)
    for axis in axes[1]:
        axis.set_xlabel("swaps")
    served, captured = (results["ledger"][name] for name in ("served", "captured"))
    figure.suptitle(f"{served:,} of {captured:,} frames served, {results['swaps']:,} swaps")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
