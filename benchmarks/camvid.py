"""`make bench-camvid`: real frames. A base that learned CamVid by day meets its dusk, unlabelled.

The tiny configuration is trained with labels on 0016E5/train (day), deployed on 0001TP/train (dusk)
without, and tested on 0001TP/test and 0016E5/val: before, with everything that is free, with every
strategy, and behind the gate, which has the day's frames at hand (`model.source_dir`). Frames lie a
second apart: nothing here is said of optical flow. Writes camvid.json; finished units lie in
--work. CamVid is for research and is never shipped, nor is anything that was trained on it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from acclimate.configs.vocabulary import load_vocabulary
from acclimate.daemon.main import prepare
from benchmarks.adaptation_plan import FREE, WHOLE
from benchmarks.adaptation_tables import shifts_table
from benchmarks.camvid_rows import BASE, ROAD, SCHOOL, TESTS, Plan, play_unit, state_folder
from benchmarks.evidence import Rows, details, per_shift
from benchmarks.machine import machine, results_folder
from benchmarks.resume import Unit, finished, run_units
from benchmarks.ungated import BLOCKS, UNGATED

DATA = Path(__file__).parents[2] / "shared" / "data" / "camvid"
STREAM = "dusk"


def units(seeds: Sequence[int]) -> list[Unit]:
    """The bases first: all others stand on them."""
    rows = (FREE, WHOLE, *UNGATED)
    return [Unit("camvid", STREAM, BASE, seed) for seed in seeds] + [
        Unit("camvid", STREAM, row, seed) for seed in seeds for row in rows
    ]


def run(plan: Plan, work: Path, seeds: Sequence[int], jobs: int) -> None:
    """Everything that is not finished."""
    wanted = units(seeds)
    bases, rest = wanted[: len(seeds)], wanted[len(seeds) :]
    for unit in run_units(bases, work, plan.settings_of, jobs, play_unit, plan):
        print(unit.name, flush=True)
    for seed in seeds:
        for blocks in (0, BLOCKS):
            config = plan.config(work, seed, blocks)
            prepare(config, state_folder(work, seed, config.adapt.blocks))
    for unit in run_units(rest, work, plan.settings_of, jobs, play_unit, plan):
        print(unit.name, flush=True)


def results_of(plan: Plan, work: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """The whole JSON from whatever units there are."""
    stored = {unit: finished(work, unit, plan.settings_of(unit)) for unit in units(seeds)}
    found = {unit: result for unit, result in stored.items() if result is not None}
    rows, names = Rows(found, "camvid", STREAM), load_vocabulary("camvid").names
    return {
        "machine": machine(), "settings": plan.settings(),
        "missing": [unit.name for unit in stored if unit not in found],
        "summary": {"per_shift": per_shift(rows, list(TESTS)), "seeds": rows.seeds},
        "details": {"camvid": details(rows, list(TESTS), names)},
        "rounds": {u.name: r["rounds"] for u, r in found.items() if "rounds" in r},
        "losses": {u.name: r["losses"] for u, r in found.items() if "losses" in r},
        "unit_seconds": {unit.name: result["unit_seconds"] for unit, result in found.items()},
    }  # fmt: skip


def main() -> int:
    """Run what is missing, then write results of what there is; says so where the data is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder camvid")
    parser.add_argument("--out", type=Path, default=results_folder())
    parser.add_argument("--work", type=Path, default=Path("build/camvid"))
    parser.add_argument("--quick", action="store_true", help="one seed, few steps; camvid_quick")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    options = parser.parse_args()
    if lacks := [part for part in (SCHOOL, ROAD, *TESTS.values())
                 if not (options.data / part / "images").is_dir()]:  # fmt: skip
        print(f"skipped: {options.data} has no {', '.join(lacks)}; --data names another folder")
        return 0
    plan, name = Plan(str(options.data)), "camvid"
    if options.quick:
        short = replace(plan.schooling, steps=2)
        plan, name = replace(plan, schooling=short, rounds=1, steps=1, every=20), "camvid_quick"
    work = options.work / name
    seeds = range(options.seed, options.seed + (1 if options.quick else 3))
    run(plan, work, seeds, options.jobs)
    results = results_of(plan, work, seeds)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    print(shifts_table("CamVid", results["summary"]["per_shift"], results["details"]["camvid"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
