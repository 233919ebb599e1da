"""One unit of `benchmarks.adaptation`: a row on a stream, reported on after every segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.configs.schema import Config, ModelConfig, to_dict
from acclimate.configs.vocabulary import Vocabulary, load_vocabulary
from acclimate.model.colour import UNCHANGED, Daylight, towards_daylight
from acclimate.model.load import load_base
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.world import Shift
from benchmarks.demo import frozen_bundle
from benchmarks.resume import Result, Unit
from benchmarks.scenes import Frame, daylight, fresh_seeds, tables
from benchmarks.streams import QUICK, STREAMS, Renders, Segment
from benchmarks.system import System
from benchmarks.ungated import BLOCKS, UNGATED, Learned

FREE, WHOLE = "free", "adapted"
CONCEPTS, GAMMA = "frozen_with_concepts", "gamma_and_filter"
PARTS = (0.5, 0.75, 1.0)
FIRST_STREAM = 11


@dataclass(frozen=True)
class Plan:
    """How much: frames a segment, newest of them that rows without a gate train on and for how many
    steps, scenes a seed; `round_steps` and `gate_frames` of the whole system, 0 = as it comes."""

    quick: bool = False
    frames: int = 60
    newest: int = 48
    steps: int = 15
    scenes: int = 20
    round_steps: int = 0
    gate_frames: int = 0

    def segments(self, stream: str) -> tuple[Segment, ...]:
        """Of a stream by its name."""
        return (QUICK if self.quick else STREAMS)[stream]

    def config(self, base: str, blocks: int = 0) -> Config:
        """The product's, on one thread."""
        config = Config(model=ModelConfig(base))
        adapt = replace(
            config.adapt, steps=self.round_steps or config.adapt.steps,
            blocks=blocks or config.adapt.blocks, deadline_s=1e4,
            newest=min(config.adapt.newest, self.frames * 4 // 5),
        )  # fmt: skip
        gate = replace(config.gate, frames=self.gate_frames or config.gate.frames)
        drift = replace(config.drift, reference_frames=min(60, self.frames))
        serving = replace(config.serving, threads=1)
        return replace(config, adapt=adapt, gate=gate, drift=drift, serving=serving)

    def settings(self) -> Result:
        """All of them, JSON-ready."""
        ways = {name: asdict(way) for name, way in UNGATED.items()}
        streams = {name: [asdict(s) for s in self.segments(name)] for name in STREAMS}
        return {"plan": asdict(self), "config": to_dict(self.config("BASE")), "ungated": ways,
                "streams": streams, "normalise": PARTS}  # fmt: skip

    def settings_of(self, unit: Unit) -> Result:
        """Those that one unit's result depends on."""
        common = {"frames": self.frames, "scenes": self.scenes,
                  "segments": [asdict(one) for one in self.segments(unit.stream)]}  # fmt: skip
        if unit.row == FREE:
            return common | {"normalise": PARTS}
        if unit.row == WHOLE:
            return common | {"config": to_dict(self.config(unit.base))}
        return common | {"way": asdict(UNGATED[unit.row]), "steps": self.steps,
                         "newest": self.newest}  # fmt: skip


QUICKLY = Plan(True, frames=36, newest=16, steps=2, scenes=3, round_steps=2, gate_frames=6)


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


def state_folder(work: Path, base: str, blocks: int) -> Path:
    """Where the engine that adapts so many blocks of a base lies."""
    return work / "states" / f"{base}-{blocks}"


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
    colours = load_base(ground.config.model.weights).daylight
    still = {"frozen": frozen_bundle(ground.config, ground.engine), CONCEPTS: base}

    @cache
    def once(row: str, shift: Shift) -> Any:
        """What no stream changes."""
        if row == GAMMA:
            return ground.tables(base, Segment(row, shift), daylight)
        return ground.tables(still[row], Segment(row, shift))

    found: dict[str, dict[str, Any]] = {}
    for number, segment in enumerate(ground.segments):
        rows = {row: once(row, segment.shift) for row in (*still, GAMMA)}
        for part in PARTS:
            moved = recoloured(base, ground.frames(number), colours, part)
            same = np.array_equal(moved.inputs["colour"], UNCHANGED)
            said = rows[CONCEPTS] if same else ground.tables(moved, segment)
            rows[f"colours_moved_{part:g}"] = said
        for row, said in rows.items():
            found.setdefault(row, {})[segment.name] = said
    return {"tables": found}


def recoloured(base: Bundle, frames: list[Frame], known: Daylight | None, part: float) -> Bundle:
    """The base in colours that the stream's frames ask for, moved `part` of the way."""
    colour = towards_daylight(frames, known, part)
    return replace(base, inputs=base.inputs | {"colour": colour})


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
    """Recall, rounds, gate. Rows: what serves as a segment begins, before its round, at its end."""
    system = System(ground.config, ground.state, work, seed)
    said: dict[str, dict[str, Any]] = {"arriving": {}, "before_round": {}, WHOLE: {}}
    rounds = []
    for number, segment in enumerate(ground.segments):
        bundles, recalls = [system.serving], len(system.recalled)
        system.drive(ground.frames(number))
        bundles.append(system.serving)
        told = system.adapt() if segment.learns else {"verdict": "none"}
        bundles.append(system.serving)
        seen = {bundle.id: bundle for bundle in bundles}
        known = {name: ground.tables(bundle, segment) for name, bundle in seen.items()}
        for row, bundle in zip(said, bundles, strict=True):
            said[row][segment.name] = known[bundle.id]
        told |= {"segment": segment.name, "recalled": system.recalled[recalls:]}
        rounds.append({"serves": system.serving.id, **told})
    end = ground.tables(system.serving, Segment("day"))
    return {"tables": said, "rounds": rounds, "day_in_the_end": end}
