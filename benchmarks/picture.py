"""Before and after as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from acclimate.configs.schema import Config
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.engines import open_engine
from acclimate.runtime.sinks import overlay
from benchmarks.scenes import Scene

ROWS = 3


def before_after(config: Config, state: Path, adapter: str, where: list[Scene], path: Path) -> None:
    """Camera, frozen + concepts, adapted and truth, for the first scenes (not picked)."""
    engine = open_engine(state / "engine", threads=2)
    words = load_vocabulary(config.model.vocabulary)
    bundles = [load_bundle(state / "adapters" / name, engine.info) for name in ("base", adapter)]
    figure, axes = plt.subplots(ROWS, 4, figsize=(13, 2.35 * ROWS + 1.0), layout="constrained")
    for row, scene in zip(axes, where, strict=False):
        frame, truth = scene.frames[0], scene.labels[0]
        labels = [engine.infer(frame, bundle).labels for bundle in bundles]
        painted = [overlay(frame, found, words.palette, 0.75) for found in (*labels, truth)]
        for axis, picture in zip(row, [frame, *painted], strict=True):
            axis.imshow(picture)
            axis.set_axis_off()
    titles = ["camera", "before: frozen + concepts", f"after: {adapter}", "truth"]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=11)
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=tuple(v / 255 for v in c.color)) for c in words.classes
    ]
    figure.legend(handles, words.names, loc="outside lower center", ncols=7, fontsize=9,
                  frameon=False)  # fmt: skip
    figure.savefig(path, dpi=110)
    plt.close(figure)
