"""`evaluate`: label maps compared with the truth of a whole data set."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acclimate.configs.vocabulary import Vocabulary, load_vocabulary
from acclimate.errors import ConfigError, SourceError
from acclimate.runtime.datasets import VOCABULARIES, Found, find_dataset, find_pairs
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.evaluate import read_image
from acclimate.runtime.job import WITH, Job
from acclimate.runtime.picture import confusion_picture, save
from acclimate.runtime.predict import Predict
from acclimate.runtime.progress import Progress
from acclimate.runtime.scores import Scores
from acclimate.runtime.truth import read_truth

Report = dict[str, Any]
COLUMNS = (9, 11, 11)
HEAD = f"{'IoU %':>9}{'boundary %':>11}{'accuracy %':>11}"
ROW = ("iou", "boundary_iou", "accuracy")
MEANS = ("miou", "boundary_miou", "mean_accuracy")


def find(job: Job) -> Found:
    """The labelled images that the job names; raises SourceError."""
    if job.root:
        return find_dataset(Path(job.root), job.dataset or None, job.split or None)
    return find_pairs(Path(job.images), Path(job.labels), job.label_ids)


def check_order(found: Found, words: Vocabulary) -> None:
    """Indices say nothing of names: their number, at least, must be right; else ConfigError."""
    if found.values == "dataset" or found.dataset not in VOCABULARIES:
        return
    wanted = load_vocabulary(VOCABULARIES[found.dataset]).classes
    if len(words.classes) != len(wanted):
        raise ConfigError([
            f"these labels of {found.dataset} number its {len(wanted)} classes, "
            f"the vocabulary has {len(words.classes)}; leave --vocabulary away"
        ])  # fmt: skip


def score(job: Job, words: Vocabulary, found: Found, predict: Predict) -> Scores:
    """Every pair of image and label map, compared at the label map's own size."""
    check_order(found, words)
    pairs = found.pairs[: job.limit or None]
    scores, progress = Scores(len(words.classes)), Progress("images", len(pairs))
    for pair in pairs:
        truth = read_truth(pair.label, found.values, words)
        seen = predict(read_image(pair.image), (truth.shape[0], truth.shape[1]))
        scores.add(truth, seen.labels)
        progress.step()
    if not scores.table.sum():
        where, classes = pairs[0].label.parent, len(words.classes)
        raise SourceError(f"{where} holds no pixel of the {classes} classes")
    return scores


def publish(job: Job, found: Found, names: Sequence[str], results: dict[str, Scores]) -> None:
    """Table or JSON on the terminal; report.json and confusion pictures below --out.

    `results` maps WITH and WITHOUT (concepts), or one of them, to scores; the first is the
    report, another is one of its entries.
    """
    reports = {name: scores.report(names) for name, scores in results.items()}
    report = _story(job, found, reports)
    print(json.dumps(report, indent=1) if job.json else table_of(reports))
    if not job.out:
        return
    out = Path(job.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, scores in results.items():
        file = f"confusion_{name.replace(' ', '_')}.png" if len(results) > 1 else "confusion.png"
        title = f"{job.adapter}, {name}: mIoU {reports[name]['miou']:.1f} %"
        save(out / file, confusion_picture(scores.table, names, title))
    counts = {name: scores.table.astype(int).tolist() for name, scores in results.items()}
    text = json.dumps(report | {"names": list(names), "confusion": counts})
    write_atomic(out / "report.json", (text + "\n").encode())
    print(f"report.json and the confusion picture are in {out}", file=sys.stderr)


def _story(job: Job, found: Found, reports: dict[str, Report]) -> Report:
    (first, report), *others = reports.items()
    image, label = found.pairs[0].image, found.pairs[0].label
    story = {
        "adapter": job.adapter, "protocol": job.protocol, "dataset": found.dataset,
        "images": str(image.parent), "labels": str(label.parent), "concepts": first == WITH,
    }  # fmt: skip
    return story | report | {name.replace(" ", "_"): other for name, other in others}


def table_of(reports: dict[str, Report]) -> str:
    """Reports side by side, as people read them."""
    (_, first), *_ = reports.items()
    width = max(len(name) for name in ("class", *first["classes"])) + 2
    lines = [f"{'class':<{width}}{'share %':>7}" + HEAD * len(reports)]
    if len(reports) > 1:
        lines.insert(0, " " * (width + 7) + "".join(f"{name:>{len(HEAD)}}" for name in reports))
    for name, row in first["classes"].items():
        rows = [_cells(report["classes"][name], ROW) for report in reports.values()]
        lines.append(f"{name:<{width}}{row['share']:>7.1f}" + "".join(rows))
    means = "".join(_cells(report, MEANS) for report in reports.values())
    pixels = ", ".join(f"{report['accuracy']:.1f} %" for report in reports.values())
    lines.append(f"{'mean':<{width}}{'':>7}{means}")
    images = "1 image" if first["frames"] == 1 else f"{first['frames']} images"
    return "\n".join([*lines, f"pixel accuracy {pixels} on {images}"])


def _cells(numbers: Report, keys: tuple[str, ...]) -> str:
    """Numbers under the columns of HEAD; a dash for what is not in the labels."""
    texts = ["-" if numbers[key] is None else f"{numbers[key]:.1f}" for key in keys]
    return "".join(f"{text:>{wide}}" for text, wide in zip(texts, COLUMNS, strict=True))
