"""The rows beside the paper's: results.md for people, results.json for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.adapt.reproduce.score import Table
from acclimate.configs.reproduction import Recipe, Row, Task
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.evaluate import class_iou
from acclimate.runtime.progress import duration

Result = dict[str, Any]
BASE = "zero-shot"
NOTE = """Compared with {weights}, settings `{settings}`, {steps} steps, seed {seed}. The paper's
numbers are single runs on its own weights. Other than in the released code: BatchNorm statistics
and dropout stay as in evaluation, crops are placed without looking at labels, and no label is read
before the last step of a row. "zero-shot + concepts" is the control that the paper lacks."""


def result_of(row: Row, table: Table, names: tuple[str, ...], training: Result) -> Result:
    """One row, JSON-ready; percentages, None for a class that is not in the labels."""
    iou = class_iou(table)
    classes = {n: None if np.isnan(v) else float(v) for n, v in zip(names, iou, strict=True)}
    return {
        "row": row.name, "title": row.title, "miou": float(np.nanmean(iou)), **training,
        "classes": classes, "confusion": table.astype(int).tolist(),
    }  # fmt: skip


def markdown(task: Task, recipe: Recipe, results: list[Result]) -> str:
    """Every row that is there: mIoU, what it gains over zero-shot, and the paper's of both."""
    told = NOTE.format(
        weights=task.weights, settings=task.settings, steps=recipe.settings.steps, seed=task.seed
    )
    head = "| row | mIoU | gain | paper | gain | steps | time |\n|---|---|---|---|---|---|---|"
    ours = {one["row"]: one["miou"] for one in results}
    lines = [_line(one, ours, recipe.published) for one in results]
    return "\n".join([f"# VocAlign on {task.dataset}", "", head, *lines, "", told, ""])


def _line(one: Result, ours: dict[str, float], published: dict[str, float]) -> str:
    numbers = [*_pair(one["row"], ours), *_pair(one["row"], published)]
    steps, seconds = one.get("steps"), one.get("seconds")
    cells = [one["title"], *numbers, "-" if steps is None else str(steps),
             "-" if seconds is None else duration(seconds)]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _pair(row: str, numbers: dict[str, float]) -> tuple[str, str]:
    """A row's number and its gain over zero-shot; dashes where there is none."""
    if row not in numbers:
        return "-", "-"
    gain = f"{numbers[row] - numbers[BASE]:+.2f}" if BASE in numbers and row != BASE else "-"
    return f"{numbers[row]:.2f}", gain


def write(task: Task, recipe: Recipe, results: list[Result]) -> None:
    """Both files, anew after every row."""
    out = Path(task.out)
    content = {
        "dataset": task.dataset, "settings": task.settings, "weights": task.weights,
        "seed": task.seed, "limit": task.limit, "rows": results,
        "published": recipe.published,
    }  # fmt: skip
    write_atomic(out / "results.json", (json.dumps(content, indent=1) + "\n").encode())
    write_atomic(out / "results.md", markdown(task, recipe, results).encode())
