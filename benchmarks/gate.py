"""`make bench-gate`: the gate is measured itself, on candidates whose effect is known.

Streams under shifts that no threshold was chosen on; in each cell (a stream under a shift) the
court of a round, convened as the daemon's rounds do, judges candidates of every kind, and labels of
40 fresh scenes say what each would really have done to the best of what is free. Harmful: true mIoU
falls by more than 0.5 points; helpful: it rises by more than 1. Writes gate.json and gate.png; a
run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from acclimate.configs.schema import Config, load_config, to_dict
from acclimate.daemon.main import prepare
from acclimate.runtime.durable import write_atomic
from acclimate.world import Shift
from benchmarks.gate_candidates import QUICK, Plan
from benchmarks.gate_cell import Cell, Row, run_cell
from benchmarks.gate_numbers import by_kind, counts, curve
from benchmarks.gate_plot import picture
from benchmarks.machine import machine, results_folder
from benchmarks.resume import one_thread
from benchmarks.scenes import DEV, DEV_STREAMS, STREAMS, fresh_seeds

TAUGHT = 20_000  # drives that helpful candidates learn from, with labels; in no other use
NIGHT, OTHER = Shift("night", 0.8), Shift("fog", 0.6)
CONDITIONS: dict[str, tuple[Shift, ...]] = {
    "night": (Shift("night", 0.95),),
    "deeper night": (Shift("night", 0.5), Shift("night", 0.8)),  # an adapter serves
    "dusk": (Shift("night", 0.45),), "rain": (Shift("rain", 0.7),), "fog": (Shift("fog", 0.6),),
    "cast": (Shift("cast", 0.7),), "noise": (Shift("noise", 0.7),), "day": (Shift(),),
}  # fmt: skip


def cells(seed: int, dev: bool, quick: bool, only: Sequence[str] | None = None) -> list[Cell]:
    """What is run: every condition on every stream, or one of them."""
    streams = DEV_STREAMS if dev else STREAMS
    names = ["night"] if quick else list(CONDITIONS)
    found = []
    for i, stream in enumerate(streams[:1] if quick else streams):
        for j, name in enumerate(names):
            shifts = CONDITIONS[name]
            start = TAUGHT + 400 * (dev * 10 + i + seed) + 48 * j
            found.append(Cell(
                f"{name} {stream + seed}", i * len(names) + j, stream + seed, shifts,
                OTHER if shifts[-1].kind == "night" else NIGHT, range(start, start + 48),
                DEV if dev else fresh_seeds(i + seed), QUICK if quick else Plan(),
            ))  # fmt: skip
    return [cell for cell in found if not only or cell.name.rsplit(" ", 1)[0] in only]


def kept_or_run(config: Config, state: Path, work: Path, cell: Cell) -> list[Row]:
    """A cell's rows: as they were written by an earlier run with the same settings, or made now."""
    path = work / f"{cell.name.replace(' ', '-')}.json"
    asked = json.loads(json.dumps({"config": to_dict(config), "cell": asdict(cell)}, default=repr))
    if path.is_file() and (old := json.loads(path.read_text()))["asked"] == asked:
        return list(old["rows"])
    started = time.process_time()
    rows = run_cell(config, state, work / path.stem, cell)
    seconds = round(time.process_time() - started, 1)
    write_atomic(path, json.dumps({"asked": asked, "rows": rows, "cpu_s": seconds}).encode())
    return rows


def every_cell(
    config: Config, work: Path, todo: Sequence[Cell], jobs: int
) -> Iterator[tuple[Cell, list[Row]]]:
    """One after the other, or `jobs` at once."""
    state = work / "state"
    prepare(config, state)
    if jobs == 1:
        one_thread()
        yield from ((cell, kept_or_run(config, state, work, cell)) for cell in todo)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), one_thread) as pool:
        running = [(cell, pool.submit(kept_or_run, config, state, work, cell)) for cell in todo]
        yield from ((cell, job.result()) for cell, job in running)


def results_of(rows: list[Row], config: Config, todo: Sequence[Cell]) -> dict[str, Any]:
    """gate.json."""
    return {
        "machine": machine(), "settings": to_dict(config), "cells": [cell.name for cell in todo],
        "summary": counts(rows), "kinds": by_kind(rows), "roc": curve(rows),
        "roc_of_the_gain_alone": curve(rows, bounds=False),
        "judge_s": [row["judge_s"] for row in rows if row["judge_s"] is not None], "rows": rows,
    }  # fmt: skip


def table(results: dict[str, Any]) -> str:
    """For a terminal."""
    lines = [f"{'kind':<20}{'harmful':>9}{'accepted':>9}{'helpful':>9}{'accepted':>9}{'neither':>9}"
             f"{'accepted':>9}"]  # fmt: skip
    named = results["kinds"] | {"all": results["summary"]}
    for kind, found in named.items():
        lines.append(f"{kind:<20}" + "".join(f"{value:>9}" for value in found.values()))
    return "\n".join([*lines, f"area under the ROC of the margins: {results['roc']['auc']:.3f}"])


def main() -> None:
    """Every cell, or with --quick one and with --dev those that thresholds are chosen on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results_folder())
    parser.add_argument("--work", type=Path, default=Path("build/gate"), help="cells done so far")
    parser.add_argument("--config", type=Path, help="settings; without: the defaults")
    parser.add_argument("--only", nargs="*", help=f"conditions: {', '.join(CONDITIONS)}")
    parser.add_argument("--seed", type=int, default=0, help="other streams, scenes and draws")
    parser.add_argument("--jobs", type=int, default=1, help="cells at once")
    parser.add_argument("--quick", action="store_true", help="one small cell: gate_quick.json")
    parser.add_argument("--dev", action="store_true", help="dev streams and scenes: gate_dev.json")
    options = parser.parse_args()
    config = load_config(options.config) if options.config else Config()
    todo = cells(options.seed, options.dev, options.quick, options.only)
    rows: list[Row] = []
    for cell, found in every_cell(config, options.work, todo, options.jobs):
        rows += found
        print(cell.name, json.dumps(counts(found)), flush=True)
    results = results_of(rows, config, todo)
    name = "gate" + "_dev" * options.dev + "_quick" * options.quick
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    picture(results, options.out / f"{name}.png")
    print(table(results))


if __name__ == "__main__":
    main()
