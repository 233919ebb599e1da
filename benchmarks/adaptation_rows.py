"""One unit of `benchmarks.adaptation`: a row on a stream, reported on after every segment."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.configs.vocabulary import Vocabulary, load_vocabulary
from acclimate.model.colour import colour_of
from acclimate.model.load import load_base
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.world import Shift
from benchmarks.adaptation_plan import COLOURS, FIRST_STREAM, FREE, WHOLE, Plan, state_folder
from benchmarks.demo import frozen_bundle
from benchmarks.resume import Result, Unit
from benchmarks.scenes import Frame, daylight, fresh_seeds, miou, tables
from benchmarks.streams import Renders, Segment
from benchmarks.system import System
from benchmarks.ungated import BLOCKS, UNGATED, Learned

CONCEPTS, GAMMA = "frozen_with_concepts", "gamma_and_filter"


class Ground:
    """What a unit stands on: its engine, its stream's frames, and scenes to report on."""

    def __init__(self, unit: Unit, work: Path, plan: Plan, blocks: int = 0) -> None:
        self.config, self.plan = plan.config(unit.base, blocks), plan
        self.state = state_folder(work, unit.base, self.config.adapt.blocks)
        self.engine: Engine = open_engine(self.state / "engine", 1)
        self.words: Vocabulary = load_vocabulary(self.config.model.vocabulary)
        self.segments = plan.segments(unit.stream)
        seeds = fresh_seeds(unit.seed - FIRST_STREAM)[: plan.scenes]
        self._renders = Renders(work / "renders", unit.seed, seeds)

    def frames(self, number: int) -> list[Frame]:
        """Of segment `number`."""
        return self._renders.segment(number, self.segments[number], self.plan.frames)

    def tables(
        self, bundle: Bundle, segment: Segment, prepare: Callable[[Frame], Frame] = lambda x: x
    ) -> list[Any]:
        """Counts (N,T,T), a table for each scene under the segment's shift."""
        where = self._renders.scenes(segment, self.words)
        return tables(self.engine, bundle, where, prepare).astype(int).tolist()  # type: ignore


def play_unit(unit: Unit, work: Path, plan: Plan) -> Result:
    """{"tables": {row: {segment: (N,T,T)}}, "rounds"?, "day_in_the_end"?: (N,T,T)}."""
    if unit.row == FREE:
        return free(Ground(unit, work, plan))
    if unit.row == WHOLE:
        return whole(Ground(unit, work, plan), work / "rounds" / unit.name, unit.seed)
    return ungated(unit, Ground(unit, work, plan, BLOCKS))


def free(ground: Ground) -> Result:
    """Frozen, with concepts, and with every normalisation."""
    base = load_bundle(ground.state / "adapters" / "base", ground.engine.info)
    bundles = {"frozen": frozen_bundle(ground.config, ground.engine), CONCEPTS: base}
    bundles |= in_all_colours(base, ground.config.model.weights)

    @cache
    def once(row: str, shift: Shift) -> Any:
        """What no stream changes."""
        if row == GAMMA:
            return ground.tables(base, Segment(row, shift), daylight)
        return ground.tables(bundles[row], Segment(row, shift))

    return {"tables": {
        row: {segment.name: once(row, segment.shift) for segment in ground.segments}
        for row in (*bundles, GAMMA)
    }}  # fmt: skip


def in_all_colours(base: Bundle, weights: str | None) -> dict[str, Bundle]:
    """The base in all colours that it may be served in, by the row's name."""
    known = load_base(weights).daylight
    return {f"colours_{name}": base.in_colours(colour_of(known, name)) for name in COLOURS}


def ungated(unit: Unit, ground: Ground) -> Result:
    """A strategy or preset that serves whatever it learned; one round a segment."""
    way = Learned(unit.base, ground.words, UNGATED[unit.row], ground.plan.steps)
    said, rounds = {}, []
    for number, segment in enumerate(ground.segments):
        if segment.learns:
            frames = ground.frames(number)[-ground.plan.newest :]
            rounds.append(
                {"segment": segment.name, **way.learn(frames, 100 * unit.seed + number)}
            )  # fmt: skip
        said[segment.name] = ground.tables(way.bundle(unit.row), segment)
    end = ground.tables(way.bundle(unit.row), Segment("day"))
    return {"tables": {unit.row: said}, "rounds": rounds, "day_in_the_end": end}


def whole(ground: Ground, work: Path, seed: int) -> Result:
    """Recall, rounds, gate. Rows: what serves as a segment begins, before its last round, at its
    end. Where the first round found something better that is free, another one may learn."""
    system = System(ground.config, ground.state, work, seed)
    said: dict[str, dict[str, Any]] = {"arriving": {}, "before_round": {}, WHOLE: {}}
    rounds = []
    for number, segment in enumerate(ground.segments):
        bundles, recalls = [system.serving], len(system.recalled)
        system.drive(ground.frames(number))
        bundles.append(system.serving)
        served = [system.serving]
        told = [system.adapt() if segment.learns else {"verdict": "none"}]
        if told[0]["verdict"] == "instead":
            bundles[-1] = system.serving
            served.append(system.serving)
            told.append(system.adapt())
        bundles.append(system.serving)
        served.append(system.serving)
        seen = {bundle.id: bundle for bundle in (*bundles, *served)}
        known = {name: ground.tables(bundle, segment) for name, bundle in seen.items()}
        for row, bundle in zip(said, bundles, strict=True):
            said[row][segment.name] = known[bundle.id]
        where = {"segment": segment.name, "recalled": system.recalled[recalls:]}
        true = [miou(np.asarray(known[bundle.id])) for bundle in served]
        for one, (before, after) in zip(told, pairwise(true), strict=True):
            around = {"miou_before": before, "miou_after": after}
            rounds.append({"serves": system.serving.id, **one, **where, **around})
    end = ground.tables(system.serving, Segment("day"))
    return {"tables": said, "rounds": rounds, "day_in_the_end": end}
