"""`make bench-adaptation`: does adapting pay, over everything that costs nothing, along a drive?

Two streams on the procedural world, sudden and gradual, on both embedded bases, at least three
seeds; streams and scenes that were used for no choice. Rows: frozen, with concepts, with every
normalisation; other strategies and VocAlign's presets without a gate; the whole system. Labels are
used to report and by nothing that adapts. Writes adaptation.json and adaptation.png.

It can be stopped and started again: finished units lie in --work.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acclimate import __version__
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.daemon.main import prepare
from benchmarks.adaptation_plan import FIRST_STREAM, FREE, QUICKLY, WHOLE, Plan, state_folder
from benchmarks.adaptation_plot import plot
from benchmarks.adaptation_rows import play_unit
from benchmarks.adaptation_tables import markdown, targets
from benchmarks.evidence import Found, Rows, details, per_shift
from benchmarks.evidence_rounds import all_rounds, of_rounds, returns
from benchmarks.machine import machine, results_folder
from benchmarks.resume import Unit, finished, run_units
from benchmarks.streams import STREAMS
from benchmarks.ungated import BLOCKS, UNGATED

BASES = {"default": "summary", "augmented": "summary_augmented"}
DAYS = {"sudden": ("day", "day_again"), "gradual": ("day_before", "day_back")}
NOTES = (
    "mIoU in percent on scenes of the segment's shift, after the segment; adapted: what the whole "
    "system serves at the segment's end.",
    "best_free: the best of concepts and every normalisation by true mIoU, for each seed and "
    "segment; nobody could choose better without learning.",
    "Rows without a gate take the same number of steps in each segment, far fewer than their "
    "papers: warm-up and rates of the presets are as published. Baselines have our optimiser, no "
    "colours and no watch; RDumb's reset is shortened to the streams.",
    "A round at every segment's end, also where drift would not ask for one; no probation. All "
    "of its steps are taken, however long that is: there is no adapt.deadline_s.",
)


def units(plan: Plan, seeds: Sequence[int]) -> list[Unit]:
    """In the order they run: seed by seed, the whole system on the plain base first."""
    listed = []
    for seed in seeds:
        for base in BASES:
            for row in (WHOLE, FREE):
                listed += [Unit(base, stream, row, seed) for stream in STREAMS]
        for stream in STREAMS:
            listed += [Unit(base, stream, row, seed) for base in BASES for row in UNGATED]
    return [unit for unit in listed if not (plan.quick and unit.base != "default")]


def results_of(found: Found, plan: Plan, seeds: Sequence[int]) -> dict[str, Any]:
    """The whole JSON from whatever units there are."""
    names = load_vocabulary(plan.config("default").model.vocabulary).names
    rounds, wanted = all_rounds(found), units(plan, seeds)
    back = returns(found, {k: v for k, v in DAYS.items() if not plan.quick or k == "sudden"})
    results: dict[str, Any] = {
        "machine": machine(), "version": __version__, "settings": plan.settings(), "notes": NOTES,
        "missing": [unit.name for unit in wanted if unit not in found],
        "segments": {s: [one.name for one in plan.segments(s)] for s in STREAMS},
        "details": {}, "rounds": rounds, "returns": back,
        "of_rounds": {base: of_rounds([t for t in rounds if t["base"] == base]) for base in BASES},
        "ungated_rounds": {u.name: r["rounds"] for u, r in found.items() if u.row in UNGATED},
        "unit_seconds": {unit.name: result["unit_seconds"] for unit, result in found.items()},
    }  # fmt: skip
    for base, key in BASES.items():
        summary: dict[str, Any] = {"per_shift": {}, "seeds": sorted({u.seed for u in found})}
        results["details"][base] = {}
        for stream, segments in results["segments"].items():
            rows = Rows(found, base, stream)
            summary["per_shift"] |= per_shift(rows, segments)
            results["details"][base] |= details(rows, segments, names)
        results[key] = summary
    return results | {"targets": targets(results)}


def prepare_states(work: Path, plan: Plan, todo: Sequence[Unit]) -> None:
    """The engines that units need."""
    wanted = {(unit.base, BLOCKS if unit.row in UNGATED else 0) for unit in todo}
    for base, blocks in sorted(wanted):
        config = plan.config(base, blocks)
        prepare(config, state_folder(work, base, config.adapt.blocks))


def collect(wanted: Sequence[Unit], work: Path, plan: Plan) -> Found:
    """Those that are finished."""
    stored = {unit: finished(work, unit, plan.settings_of(unit)) for unit in wanted}
    return {unit: result for unit, result in stored.items() if result is not None}


def main() -> None:
    """Run what is missing, then write results of what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results_folder())
    parser.add_argument("--work", type=Path, default=Path("build/adaptation"))
    parser.add_argument("--quick", action="store_true", help="one seed, short; adaptation_quick")
    parser.add_argument("--seed", type=int, default=0, help="other streams and scenes: 11+N, ...")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--report", action="store_true", help="run nothing, report what there is")
    options = parser.parse_args()
    plan, name = (QUICKLY, "adaptation_quick") if options.quick else (Plan(), "adaptation")
    first, work = FIRST_STREAM + options.seed, options.work / ("quick" if options.quick else "full")
    seeds = range(first, first + (1 if options.quick else options.seeds))
    wanted = units(plan, seeds)
    if not options.report:
        prepare_states(work, plan, wanted)
        for unit in run_units(wanted, work, plan.settings_of, options.jobs, play_unit, plan):
            print(unit.name, flush=True)
    results = results_of(collect(wanted, work, plan), plan, seeds)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    plot(results, options.out / f"{name}.png")
    print(markdown(results))


if __name__ == "__main__":
    main()
