"""`make bench-camvid`: real frames. A base that learned CamVid by day meets its dusk, unlabelled.

The tiny configuration is trained with labels on 0016E5/train (day), deployed on 0001TP/train (dusk)
without, and tested on 0001TP/test and 0016E5/val: before, with everything that is free, with every
strategy, and behind the gate. Frames lie a second apart: nothing here is said of optical flow.
Writes camvid.json; finished units lie in --work. CamVid is for research and is never shipped, nor
is anything that was trained on it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.configs.schema import Config, ModelConfig, to_dict
from acclimate.configs.vocabulary import NOT_COUNTED, load_vocabulary
from acclimate.daemon.main import prepare
from acclimate.model.load import load_base
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.datasets import find_pairs
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.runtime.evaluate import confusion, read_image, read_labels
from acclimate.runtime.fit import fit, nearest
from acclimate.world import IGNORE
from benchmarks.adaptation_rows import CONCEPTS, FREE, GAMMA, PARTS, WHOLE, recoloured
from benchmarks.adaptation_tables import shifts_table
from benchmarks.camvid_base import Schooling, school
from benchmarks.demo import frozen_bundle
from benchmarks.evidence import Rows, details, per_shift
from benchmarks.machine import machine, results_folder
from benchmarks.resume import Result, Unit, finished, run_units
from benchmarks.scenes import Frame, daylight
from benchmarks.system import System
from benchmarks.ungated import BLOCKS, UNGATED, Learned

DATA = Path(__file__).parents[2] / "shared" / "data" / "camvid"
SCHOOL, ROAD = "0016E5/train", "0001TP/train"
TESTS = {"dusk_test": "0001TP/test", "day_val": "0016E5/val"}
BASE, STREAM = "base", "dusk"
USUAL = Schooling()


@dataclass(frozen=True)
class Plan:
    """Rounds on the same frames; `steps` of each without a gate; every `every`-th test frame."""

    data: str
    schooling: Schooling = USUAL
    rounds: int = 3
    steps: int = 15
    every: int = 1

    def config(self, work: Path, seed: int, blocks: int = 0) -> Config:
        """The product's, on one thread, over this seed's base."""
        config = Config(model=ModelConfig(str(weights(work, seed)), "camvid"))
        adapt = replace(config.adapt, blocks=blocks or config.adapt.blocks, deadline_s=1e4)
        return replace(config, adapt=adapt, serving=replace(config.serving, threads=1))

    def settings(self) -> Result:
        """All of them, JSON-ready; where the data lies is none."""
        ways = {name: asdict(way) for name, way in UNGATED.items()}
        return {"plan": {**asdict(self), "data": None}, "ungated": ways, "normalise": PARTS,
                "config": to_dict(self.config(Path("WORK"), 0))}  # fmt: skip

    def settings_of(self, unit: Unit) -> Result:
        """Those that one unit's result depends on."""
        schooling = {"schooling": asdict(self.schooling)}
        common = schooling | {"every": self.every}
        if unit.row == BASE:
            return schooling
        if unit.row == FREE:
            return common | {"normalise": PARTS}
        if unit.row == WHOLE:
            config = to_dict(self.config(Path("WORK"), unit.seed))
            return common | {"rounds": self.rounds, "config": config}
        return common | {"rounds": self.rounds, "steps": self.steps,
                         "way": asdict(UNGATED[unit.row])}  # fmt: skip


def weights(work: Path, seed: int) -> Path:
    """Where a seed's base lies."""
    return work / "bases" / str(seed) / "weights.safetensors"


def state_folder(work: Path, seed: int, blocks: int) -> Path:
    """Where its engines lie."""
    return work / "states" / f"{seed}-{blocks}"


def read(folder: Path) -> list[tuple[Frame, Frame]]:
    """Pictures (h,w,3) with class indices (h,w), IGNORE where no class is meant."""
    table = load_vocabulary("camvid").from_labels()
    pairs = find_pairs(folder / "images", folder / "labels").pairs
    return [(read_image(one.image), _indices(table[read_labels(one.label)])) for one in pairs]


def _indices(found: np.ndarray[Any, Any]) -> Frame:
    return np.where(found == NOT_COUNTED, IGNORE, found).astype(np.uint8)


class Ground:
    """What a unit stands on: its engine, the frames of the road, and the tests."""

    def __init__(self, seed: int, work: Path, plan: Plan, blocks: int = 0) -> None:
        self.config, self.plan, self.data = plan.config(work, seed, blocks), plan, Path(plan.data)
        self.state = state_folder(work, seed, self.config.adapt.blocks)
        self.engine: Engine = open_engine(self.state / "engine", 1)

    @cached_property
    def frames(self) -> list[Frame]:
        """The road's, at the engine's size."""
        return [fit(image, self.engine.info.size) for image, _ in read(self.data / ROAD)]

    @cached_property
    def tests(self) -> dict[str, list[tuple[Frame, Frame]]]:
        """Pictures and truth by test."""
        return {name: read(self.data / part)[:: self.plan.every] for name, part in TESTS.items()}

    def tables(
        self, bundle: Bundle, prepare: Callable[[Frame], Frame] = lambda frame: frame
    ) -> dict[str, Any]:
        """By test: counts (N,T,T), a table for each picture, at its own size."""
        return {name: [self._table(bundle, prepare, *pair) for pair in pairs]
                for name, pairs in self.tests.items()}  # fmt: skip

    def _table(
        self, bundle: Bundle, prepare: Callable[[Frame], Frame], image: Frame, truth: Frame
    ) -> Any:
        frame = prepare(fit(image, self.engine.info.size))
        labels = nearest(self.engine.infer(frame, bundle).labels, truth.shape)
        return confusion(truth, labels, bundle.classes).astype(int).tolist()


def play_unit(unit: Unit, work: Path, plan: Plan) -> Result:
    """A base, or a row over it: {"tables": {row: {test: (N,T,T)}}}."""
    if unit.row == BASE:
        pairs, words = read(Path(plan.data) / SCHOOL), load_vocabulary("camvid")
        out, size = weights(work, unit.seed).parent, Config().serving.size
        return {"tables": {}, "losses": school(pairs, words, size, unit.seed, plan.schooling, out)}
    if unit.row == FREE:
        return free(Ground(unit.seed, work, plan))
    if unit.row == WHOLE:
        return whole(Ground(unit.seed, work, plan), work / "rounds" / unit.name, unit.seed)
    return ungated(unit, Ground(unit.seed, work, plan, BLOCKS), work)


def free(ground: Ground) -> Result:
    """Frozen, with concepts, normalised."""
    base = load_bundle(ground.state / "adapters" / "base", ground.engine.info)
    colours = load_base(ground.config.model.weights).daylight
    moved = {
        f"colours_moved_{part:g}": recoloured(base, ground.frames, colours, part) for part in PARTS
    }
    bundles = {"frozen": frozen_bundle(ground.config, ground.engine), CONCEPTS: base, **moved}
    said = {row: ground.tables(bundle) for row, bundle in bundles.items()}
    return {"tables": said | {GAMMA: ground.tables(base, daylight)}}


def whole(ground: Ground, work: Path, seed: int) -> Result:
    """The road once, then rounds behind the gate, each from what serves; what serves last."""
    system, rounds = System(ground.config, ground.state, work, seed), []
    system.drive(ground.frames)
    for _ in range(ground.plan.rounds):
        rounds.append(system.adapt())
    return {"tables": {WHOLE: ground.tables(system.serving)}, "rounds": rounds,
            "serves": system.serving.id}  # fmt: skip


def ungated(unit: Unit, ground: Ground, work: Path) -> Result:
    """As many rounds of a strategy or preset, whatever they are worth."""
    words, plan = load_vocabulary("camvid"), ground.plan
    way = Learned(str(weights(work, unit.seed)), words, UNGATED[unit.row], plan.steps)
    newest = ground.frames[-ground.config.adapt.newest :]
    rounds = [way.learn(newest, 100 * unit.seed + number) for number in range(plan.rounds)]
    return {"tables": {unit.row: ground.tables(way.bundle(unit.row))}, "rounds": rounds}


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
