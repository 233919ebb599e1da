"""serve.json as a picture: a panel of bars for each shape, and the gaps around swaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

LABELS = {
    "plain_eager": "official order, eager torch",
    "plain_compiled": "official order, torch.compile",
    "eager": "ours, eager torch",
    "onnxruntime_constants": "ONNX Runtime, constants",
    "onnxruntime_inputs": "ONNX Runtime, adapter inputs",
}
SHAPES = {"vitb": "ViT-B/16", "vitl": "ViT-L/14"}
REST, LIMIT, OTHER = "#8d99ae", "#2a9d8f", "#e76f51"


def draw(results: dict[str, Any], path: Path) -> None:
    """Write the picture."""
    runs = results["latency"]
    rows = (len(runs) + 2) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(12, 3.4 * rows), layout="constrained")
    flat = list(np.ravel(axes))
    for axis, run in zip(flat, runs, strict=False):
        _bars(axis, run)
    _gaps(flat[len(runs)], results["swap"])
    for axis in flat[len(runs) + 1 :]:
        axis.set_visible(False)
    machine, threads = results["machine"], results["settings"]["threads"]
    name = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    figure.suptitle(f"One 384x384 frame, float32, {name}, {threads} threads")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axis: Axes, run: dict[str, Any]) -> None:
    """Median milliseconds; the dark part is what its products take at the machine's peak."""
    rows = [(name, row) for name, row in run["rows"].items() if "ms" in row]
    for at, (_, row) in enumerate(rows):
        ms, share = row["ms"]["p50"], row["share_of_matmul_peak"]
        axis.barh(at, ms, color=REST)
        axis.barh(at, ms * share, color=LIMIT)
        text = f" {ms:.0f} ms, {share:.0%} of the limit, {row['added_mib']:.0f} MiB"
        axis.annotate(text, (ms, at), va="center", fontsize=8)
    axis.set_yticks(range(len(rows)), [LABELS.get(name, name) for name, _ in rows], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.9 * max(row["ms"]["p50"] for _, row in rows))
    axis.set_xlabel("ms a frame, median; green: its products at this machine's peak", fontsize=9)
    axis.locator_params(axis="x", nbins=6)
    axis.set_title(f"{SHAPES[run['shape']]}, {run['classes']} classes", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def _gaps(axis: Axes, swap: dict[str, Any]) -> None:
    """How many gaps between frames are longer than x."""
    for kind, color in (("without", REST), ("with", OTHER)):
        gaps = np.sort(swap["samples_ms"][kind])
        longer = 1 - np.arange(len(gaps)) / len(gaps)
        label = f"{kind} swaps, p99 {swap['gap_ms'][kind]['p99']:.1f} ms"
        axis.step(gaps, longer, where="post", color=color, label=label)
    axis.set_yscale("log")
    axis.axhline(0.01, color="#cccccc", linewidth=0.8)
    axis.set_xlabel("ms between frames (embedded default)")
    axis.set_ylabel("share of gaps that are longer")
    axis.set_title(f"{swap['swaps']} swaps under load", fontsize=10)
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
