"""How much `benchmarks.adaptation` measures, and where its parts lie."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from acclimate.configs.schema import Config, ModelConfig, to_dict
from acclimate.model.colour import SHARES
from benchmarks.resume import Result, Unit
from benchmarks.streams import QUICK, STREAMS, Segment
from benchmarks.ungated import UNGATED

FREE, WHOLE = "free", "adapted"
COLOURS = tuple(name for name in SHARES if name != "plain")
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
        """The product's on one thread, but for rounds without a deadline, over a segment's frames,
        and a drift trigger that learns what is usual from few of them."""
        config = Config(model=ModelConfig(base))
        adapt = replace(
            config.adapt, steps=self.round_steps or config.adapt.steps,
            blocks=blocks or config.adapt.blocks, deadline_s=1e4,
            newest=min(config.adapt.newest, self.frames * 4 // 5),
        )  # fmt: skip
        gate = replace(config.gate, frames=self.gate_frames or config.gate.frames)
        drift = replace(  # a segment is short, and few of its frames are looked at
            config.drift, reference_frames=min(60, self.frames), smoothing_frames=10, threshold=2.5,
        )  # fmt: skip
        serving = replace(config.serving, threads=1)
        return replace(config, adapt=adapt, gate=gate, drift=drift, serving=serving)

    def settings(self) -> Result:
        """All of them, JSON-ready."""
        ways = {name: asdict(way) for name, way in UNGATED.items()}
        streams = {name: [asdict(s) for s in self.segments(name)] for name in STREAMS}
        return {"plan": asdict(self), "config": to_dict(self.config("BASE")), "ungated": ways,
                "streams": streams, "normalise": COLOURS}  # fmt: skip

    def settings_of(self, unit: Unit) -> Result:
        """Those that one unit's result depends on."""
        common = {"frames": self.frames, "scenes": self.scenes,
                  "segments": [asdict(one) for one in self.segments(unit.stream)]}  # fmt: skip
        if unit.row == FREE:
            return common | {"normalise": COLOURS}
        if unit.row == WHOLE:
            return common | {"config": to_dict(self.config(unit.base))}
        return common | {"way": asdict(UNGATED[unit.row]), "steps": self.steps,
                         "newest": self.newest}  # fmt: skip


QUICKLY = Plan(True, frames=36, newest=16, steps=2, scenes=3, round_steps=2, gate_frames=6)


def state_folder(work: Path, base: str, blocks: int) -> Path:
    """Where the engine that adapts so many blocks of a base lies."""
    return work / "states" / f"{base}-{blocks}"
