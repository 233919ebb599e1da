"""One-off jobs on a prepared state folder: `segment` pictures or a film, `evaluate` on labels.

python -m acclimate.runtime.offline segment --config resolved.json --state DIR ...
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import Config, SourceConfig, parse_config
from acclimate.configs.vocabulary import Vocabulary, load_vocabulary
from acclimate.errors import AcclimateError, EngineError, SourceError
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.evaluate import class_iou, evaluate, fit, labelled, mean_iou
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sinks import LabelFolder, OverlayFilm, OverlayFolder
from acclimate.runtime.source import FilmSource, FolderSource, open_source

PAUSE = 2.0


def segment(engine: Engine, bundle: Bundle, words: Vocabulary, url: str, out: Path) -> int:
    """Label PNGs and overlays of an image, a folder or a film; returns the number of frames."""
    source = open_source(SourceConfig(url=url), engine.info.size)
    if not isinstance(source, FolderSource | FilmSource):
        raise SourceError(f"{url} does not end; segment takes an image, a folder or a film")
    out.mkdir(parents=True, exist_ok=True)
    film = OverlayFilm(out / "overlay.mp4", words.palette, source.fps)
    pictures = isinstance(source, FolderSource)
    paint = OverlayFolder(out / "overlays", words.palette) if pictures else film
    store, ledger, due = LabelFolder(out / "labels"), Ledger(), time.monotonic() + PAUSE
    try:
        for frame in source.frames(ledger, threading.Event()):
            labels = engine.infer(fit(frame.image, engine.info.size), bundle).labels
            store(frame, labels, bundle.id)
            paint(frame, labels, bundle.id)
            ledger.serve()
            if time.monotonic() > due:
                print(f"{ledger.served} frames ...", file=sys.stderr, flush=True)
                due = time.monotonic() + PAUSE
    finally:
        film.close()
    unreadable = f", {n} unreadable" if (n := ledger.dropped["unreadable"]) else ""
    print(f"{ledger.served} frames{unreadable}: label maps and overlays are in {out}")
    return ledger.served


def score(engine: Engine, bundle: Bundle, words: Vocabulary, images: Path, labels: Path) -> Any:
    """mIoU, IoU of each class and pixel accuracy, in percent, as a JSON-ready report."""
    if len(words.classes) != engine.info.classes:
        raise EngineError(
            f"the engine has {engine.info.classes} classes, the vocabulary {len(words.classes)}"
        )
    table = evaluate(engine, bundle, labelled(images, labels))
    if not table.sum():
        raise SourceError(f"{labels} holds no pixel of the {len(words.classes)} classes")
    iou: NDArray[np.float64] = class_iou(table)
    pairs = zip(words.names, iou, strict=True)
    return {
        "adapter": bundle.id, "images": str(images), "labels": str(labels),
        "miou": mean_iou(table), "accuracy": float(100 * table.diagonal().sum() / table.sum()),
        "iou": {name: None if np.isnan(value) else float(value) for name, value in pairs},
    }  # fmt: skip


def table_of(report: dict[str, Any]) -> str:
    """The report as people read it."""
    lines = [f"{'class':<16}{'IoU %':>7}"]
    for name, value in report["iou"].items():
        lines.append(f"{name:<16}{'-' if value is None else f'{value:.1f}':>7}")
    lines.append(f"{'mean':<16}{report['miou']:>7.1f}   pixel accuracy {report['accuracy']:.1f} %")
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    """Open the engine and the adapter, do the job."""
    config: Config = parse_config(json.loads(options.config.read_text()))
    engine = Engine(options.state / "engine", config.serving.threads, config.serving.provider)
    bundle = load_bundle(options.state / "adapters" / options.adapter, engine.info)
    words = load_vocabulary(config.model.vocabulary)
    if options.job == "segment":
        segment(engine, bundle, words, options.source, options.out)
        return
    report = score(engine, bundle, words, options.images, options.labels)
    print(json.dumps(report, indent=1) if options.json else table_of(report))


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    jobs = parser.add_subparsers(dest="job", required=True)
    one, two = jobs.add_parser("segment"), jobs.add_parser("evaluate")
    for job in (one, two):
        job.add_argument("--config", type=Path, required=True)
        job.add_argument("--state", type=Path, required=True)
        job.add_argument("--adapter", default="base")
    one.add_argument("--source", required=True)
    one.add_argument("--out", type=Path, required=True)
    two.add_argument("--images", type=Path, required=True)
    two.add_argument("--labels", type=Path, required=True)
    two.add_argument("--json", action="store_true")
    try:
        run(parser.parse_args(arguments))
    except (AcclimateError, OSError, cv2.error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
