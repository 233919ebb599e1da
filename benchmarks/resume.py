"""Long benchmarks in units that do not need each other: each leaves a file, and is not run again.

A file counts only for the settings it was made with; one that is torn does not count at all.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import torch

from acclimate.runtime.durable import write_atomic

Result = dict[str, Any]


class Unit(NamedTuple):
    """One row on one stream of one seed, over one base."""

    base: str
    stream: str
    row: str
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return "-".join((self.base, self.stream, self.row, str(self.seed)))


Play = Callable[[Unit, Path, Any], Result]
Settings = Callable[[Unit], Result]


def finished(work: Path, unit: Unit, settings: Result) -> Result | None:
    """What a unit left, if it ended and was made with these settings."""
    try:
        stored = json.loads(_file(work, unit).read_text())
    except (OSError, ValueError):
        return None
    same = isinstance(stored, dict) and stored.get("settings") == json.loads(json.dumps(settings))
    return stored if same else None


def run_units(
    units: Sequence[Unit], work: Path, settings: Settings, jobs: int, play: Play, plan: Any
) -> Iterator[Unit]:
    """Run those that are not finished, in order, `jobs` processes of one thread each; yields each
    unit as it ends. The first that fails ends the run: what was finished stays."""
    todo = [unit for unit in units if finished(work, unit, settings(unit)) is None]
    (work / "units").mkdir(parents=True, exist_ok=True)
    environment = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, environment, one_thread) as pool:
        waiting = {pool.submit(keep, u, work, settings(u), play, plan): u for u in todo}
        try:
            for done in as_completed(waiting):
                done.result()
                yield waiting[done]
        finally:
            pool.shutdown(cancel_futures=True)


def keep(unit: Unit, work: Path, settings: Result, play: Play, plan: Any) -> None:
    """Run one and leave its file."""
    started = time.monotonic()
    found = play(unit, work, plan)
    whole = {
        "unit": unit._asdict(), "settings": settings,
        "unit_seconds": round(time.monotonic() - started, 1), **found,
    }  # fmt: skip
    write_atomic(_file(work, unit), json.dumps(whole).encode())


def one_thread() -> None:
    """Its neighbours have the other cores."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def _file(work: Path, unit: Unit) -> Path:
    return work / "units" / f"{unit.name}.json"
