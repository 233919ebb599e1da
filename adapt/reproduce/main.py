"""VocAlign's table, row by row, on a data set and weights of yours.

    python -m acclimate.adapt.reproduce.main --task JSON

What is done is kept in the task's folder; started again with the same task, it goes on there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch

from acclimate.adapt.compute import compute_for
from acclimate.adapt.reproduce.learn import learned, spent
from acclimate.adapt.reproduce.pictures import scored_pictures, training_pictures
from acclimate.adapt.reproduce.score import look_with, score
from acclimate.adapt.reproduce.table import Result, markdown, result_of, write
from acclimate.adapt.words import Words
from acclimate.configs.published import locate
from acclimate.configs.reproduction import Recipe, Row, Task, read_task, rows_named
from acclimate.configs.vocabulary import Vocabulary, load_vocabulary
from acclimate.errors import AcclimateError, ConfigError
from acclimate.model.load import load_base
from acclimate.runtime.assess import check_order
from acclimate.runtime.datasets import Found
from acclimate.runtime.durable import write_atomic

CARD = "task.json"


@dataclass(frozen=True)
class Material:
    """What all rows share."""

    vocabulary: Vocabulary
    training: tuple[Path, ...]
    scored: Found


def run(task: Task, recipe: Recipe) -> list[Result]:
    """Every row of the task; results.md and results.json below its `out` after each.

    Raises ConfigError, SourceError, CheckpointError, AdaptError, CorruptBundle.
    """
    torch.set_num_threads(task.threads)
    compute_for(recipe.settings)
    material = _material(task, recipe)
    rows, out, results = rows_named(task.rows), Path(task.out), list[Result]()
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, task, recipe, material)
    for number, row in enumerate(rows, 1):
        print(f"row {number} of {len(rows)}: {row.title}", file=sys.stderr, flush=True)
        results.append(_row(task, recipe, row, material))
        write(task, recipe, results)
    return results


def _material(task: Task, recipe: Recipe) -> Material:
    root, vocabulary = Path(task.data), load_vocabulary(task.vocabulary or recipe.vocabulary)
    training = training_pictures(root, recipe)
    scored = scored_pictures(root, recipe, training)
    check_order(scored, vocabulary)
    return Material(vocabulary, training, scored)


def _row(task: Task, recipe: Recipe, row: Row, material: Material) -> Result:
    """Learned, if it is one that learns, and scored."""
    folder = Path(task.out) / row.name
    folder.mkdir(exist_ok=True)
    base = load_base(task.weights)
    words = Words(base, material.vocabulary)
    if row.keys is not None:
        own = replace(recipe, settings=recipe.settings_of(row))
        learned(base, words, own, material.training, folder, row.title)
    look = look_with(words, recipe, row.concepts, compute_for(recipe.settings).device)
    table = score(look, material.scored, material.vocabulary, folder, row.title, task.limit)
    training = spent(folder) if row.keys is not None else {}
    return result_of(row, table, material.vocabulary.names, training)


def _claim(out: Path, task: Task, recipe: Recipe, material: Material) -> None:
    """The folder is this task's, now or from before; raises ConfigError if it is another's."""
    card = {
        "dataset": task.dataset, "settings": asdict(recipe.settings), "limit": task.limit,
        "weights": locate(task.weights)[1], "vocabulary": material.vocabulary.digest,
        "training": len(material.training), "scored": len(material.scored.pairs),
    }  # fmt: skip
    mine: dict[str, Any] = json.loads(json.dumps(card))
    file = out / CARD
    if not file.exists():
        write_atomic(file, (json.dumps(mine, indent=1) + "\n").encode())
    elif differs := _differences(file, mine):
        raise ConfigError([
            f"{out} was begun with another {name}; give another --out, or what it was begun with"
            for name in differs
        ])  # fmt: skip


def _differences(file: Path, mine: dict[str, Any]) -> list[str]:
    """Keys, those of the settings one by one; threads and device may change."""
    try:
        theirs: dict[str, Any] = json.loads(file.read_text())
        pairs = {**mine, **mine["settings"]}, {**theirs, **theirs["settings"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError([f"cannot read {file}: {error!r}; give another --out"]) from error
    free = {"settings", "threads", "device"}
    return [name for name in pairs[0] if name not in free and pairs[0][name] != pairs[1].get(name)]


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True, help="configs.reproduction.Task as JSON")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        task = read_task(parser.parse_args(arguments).task)
        results = run(task, task.recipe)
        print(markdown(task, task.recipe, results))
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return os.EX_CONFIG
    except (AcclimateError, OSError, cv2.error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on from {task.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
