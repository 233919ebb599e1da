"""One unit of `benchmarks.camvid`: a base that learned the day, or a row over it at dusk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.configs.schema import Config, ModelConfig, to_dict
from acclimate.configs.vocabulary import NOT_COUNTED, load_vocabulary
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.datasets import find_pairs
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.runtime.evaluate import confusion, read_image, read_labels
from acclimate.runtime.fit import fit, nearest
from acclimate.world import IGNORE
from benchmarks.adaptation_plan import COLOURS, FREE, WHOLE
from benchmarks.adaptation_rows import CONCEPTS, GAMMA, in_all_colours
from benchmarks.camvid_base import Schooling, school
from benchmarks.demo import frozen_bundle
from benchmarks.resume import Result, Unit
from benchmarks.scenes import Frame, daylight
from benchmarks.system import System
from benchmarks.ungated import BLOCKS, UNGATED, Learned

SCHOOL, ROAD = "0016E5/train", "0001TP/train"
TESTS = {"dusk_test": "0001TP/test", "day_val": "0016E5/val"}
BASE = "base"
USUAL = Schooling()


@dataclass(frozen=True)
class Plan:
    """Rounds on the same frames; `steps` of each without a gate; every `every`-th test frame."""

    data: str
    schooling: Schooling = USUAL
    rounds: int = 2
    steps: int = 15
    every: int = 1

    def config(self, work: Path, seed: int, blocks: int = 0) -> Config:
        """The product's, on one thread, over this seed's base."""
        learned = str(Path(self.data) / SCHOOL)
        config = Config(model=ModelConfig(str(weights(work, seed)), "camvid", learned))
        adapt = replace(config.adapt, blocks=blocks or config.adapt.blocks, deadline_s=1e4)
        return replace(config, adapt=adapt, serving=replace(config.serving, threads=1))

    def settings(self) -> Result:
        """All of them, JSON-ready; where the data lies is none."""
        ways = {name: asdict(way) for name, way in UNGATED.items()}
        return {"plan": {**asdict(self), "data": None}, "ungated": ways, "normalise": COLOURS,
                "config": self._anywhere(0)}  # fmt: skip

    def _anywhere(self, seed: int) -> Result:
        """The configuration without this machine's folders."""
        return to_dict(replace(self, data="DATA").config(Path("WORK"), seed))

    def settings_of(self, unit: Unit) -> Result:
        """Those that one unit's result depends on."""
        schooling = {"schooling": asdict(self.schooling)}
        common = schooling | {"every": self.every}
        if unit.row == BASE:
            return schooling
        if unit.row == FREE:
            return common | {"normalise": COLOURS}
        if unit.row == WHOLE:
            return common | {"rounds": self.rounds, "config": self._anywhere(unit.seed)}
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
    moved = in_all_colours(base, ground.config.model.weights)
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
