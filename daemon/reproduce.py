"""`acclimate reproduce vocalign`: the paper's table as a recipe, in a process of its own."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acclimate.configs.reproduction import DATASETS, ROWS, SETTINGS, Task, rows_named
from acclimate.daemon.jobs import positive
from acclimate.daemon.processes import can_adapt, command
from acclimate.errors import AdaptError


def reproduce_action(options: argparse.Namespace) -> int:
    """Train and score every row of VocAlign's table; go on where a run was stopped."""
    rows_named(options.rows)
    if not can_adapt():
        raise AdaptError("training needs torch: pip install 'acclimate[adapt]'")
    task = Task(
        options.dataset, str(options.data), options.weights,
        str(options.out or Path("reproduce") / f"{options.dataset}-{options.settings}"),
        options.settings, options.rows, options.vocabulary, options.steps, options.limit,
        options.seed, options.device, options.threads,
    )  # fmt: skip
    return subprocess.run(command("reproduce", ["--task", task.dumps()]), check=False).returncode


def add_commands(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """`reproduce vocalign` for the command line."""
    text = "Run a paper's experiments on your data and weights."
    top = commands.add_parser("reproduce", help=text, description=text)
    kinds = top.add_subparsers(title="papers", required=True, metavar="PAPER")
    one = add(kinds, "vocalign", reproduce_action, [])
    one.add_argument("--dataset", required=True, choices=DATASETS)
    one.add_argument("--data", required=True, type=Path, metavar="DIR", help="where it lies")
    one.add_argument(
        "--weights", required=True, metavar="FILE",
        help="a CAT-Seg checkpoint; the paper's: catseg-v1 (see `acclimate weights`)",
    )  # fmt: skip
    one.add_argument(
        "--out", type=Path, metavar="DIR",
        help="results.md, results.json, adapters; the same command again goes on from here "
        "(default: reproduce/DATASET-SETTINGS)",
    )  # fmt: skip
    one.add_argument(
        "--settings", choices=SETTINGS, default="paper",
        help="paper: for this data set (default); generic: the paper's one for all three; "
        "released: those of its code",
    )  # fmt: skip
    names = ",".join(row.name for row in ROWS)
    one.add_argument("--rows", default=names, metavar="NAMES", help=f"default: {names}")
    one.add_argument(
        "--vocabulary", metavar="NAME|FILE", help="classes with other concepts (default: packaged)"
    )
    _cost_options(one)


def _cost_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("--steps", type=positive, default=0, metavar="N", help="fewer than published")
    one.add_argument("--limit", type=positive, default=0, metavar="N", help="score N pictures only")
    one.add_argument("--seed", type=int, default=0, metavar="N")
    one.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    one.add_argument("--threads", type=positive, default=2, metavar="N")
