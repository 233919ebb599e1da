"""`make bench-ablation`: what only a stream has, each option alone beside the default round.

No gate and no clock: rounds straight on a drive's frames, each from the adapter before, as many
steps in all for every option, judged by the engine on scenes of other drives. "labelled" is no
option: the same LoRA, taught the truth of the same frames, is how far any labels would bring it.
Settings are chosen with --dev, on streams and scenes that are reported nowhere. Writes
ablation.json.

Left out after a look at the labels that a teacher gives at night (stream 3, strength 0.95, mIoU):
38.6 of the frames as they are, 40.6 with a second look half of the way to daylight's colours, but
33.0 of frames lifted by a gamma; accumulated along optical flow 38.1 where 38.5 without, as hardly
half of the pixels are found again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.adapt.source import scenes_to_learn_from
from acclimate.configs.schema import Config, to_dict
from acclimate.configs.vocabulary import Vocabulary, load_vocabulary
from acclimate.daemon.main import prepare
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.world import Drive, Shift
from benchmarks.adaptation_rows import in_all_colours
from benchmarks.drive import FPS, STRIDE
from benchmarks.labelled import learn_truth
from benchmarks.machine import machine, results_folder
from benchmarks.scenes import (
    DEV,
    DEV_STREAMS,
    STREAMS,
    Frame,
    Scene,
    fresh_seeds,
    interval,
    miou,
    scenes,
    tables,
)
from benchmarks.ungated import BLOCKS, Learned

STEPS, ROUND_FRAMES, DRIVE = 30, 36, 600  # of a usual round; of the drive, all the way in
NIGHT = (0.15, 0.32, 0.5, 0.7, 0.95)
FINER = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88, 0.95)
Stretch = list[tuple[Frame, Frame]]


@dataclass(frozen=True)
class Option:
    """Keys of `adapt` that differ from the default; `finer`: twice the rounds, half as long."""

    keys: dict[str, Any] = field(default_factory=dict)
    finer: bool = False
    labelled: bool = False


OPTIONS = {
    "default": Option(),
    "no_replay": Option({"replay": 0}),
    "fixed_teacher": Option({"ema": 1.0}),
    "short_rounds": Option({"ema": 1.0}, finer=True),
    "as_it_looks": Option({"colour": "plain"}),
    "two_looks": Option({"colour": "plain", "teacher_colour": "lifted"}),
    "labelled": Option({"colour": "plain"}, labelled=True),
}
CONDITIONS = {
    "gradual_night": [Shift("night", s) for s in NIGHT],
    "sudden_rain": [Shift("rain", 0.7)],
    "sudden_fog": [Shift("fog", 0.6)],
}


def finer(shifts: Sequence[Shift]) -> list[Shift]:
    """Twice as many rounds on the same way in."""
    if len(shifts) == 1:
        return [shifts[0]] * 2
    return [Shift(shifts[0].kind, s) for s in FINER]


def stretches(stream: int, shifts: Sequence[Shift], words: Vocabulary) -> list[Stretch]:
    """What each round sees of one drive: frames (H,W,3) with their truth (H,W)."""
    drive, table = Drive(stream, fps=FPS), words.from_source()

    def one(start: int, shift: Shift) -> Stretch:
        at = range(start, start + STRIDE * ROUND_FRAMES, STRIDE)
        seen = [drive.frame(i, shift) for i in at]
        return [(np.ascontiguousarray(image), table[truth]) for image, truth in seen]

    return [one(number * DRIVE // len(shifts), shift) for number, shift in enumerate(shifts)]


def along(config: Config, option: Option, seen: Sequence[Stretch], seed: int) -> Bundle:
    """All rounds of one option -> what it would serve."""
    steps = config.adapt.steps // 2 if option.finer else config.adapt.steps
    words, settings = load_vocabulary(config.model.vocabulary), replace(config.adapt, **option.keys)
    source = scenes_to_learn_from(replace(config, adapt=settings), words, config.serving.size)
    way = Learned("default", words, settings, steps, source)
    for number, stretch in enumerate(seen):
        frames, truth = [list(part) for part in zip(*stretch, strict=True)]
        if option.labelled:
            learn_truth(way, frames, truth, seed * 100 + number)
        else:
            way.learn(frames, seed * 100 + number)
    return way.bundle("learned")


def condition(
    config: Config, engine: Engine, base: Bundle, stream: int, shifts: Sequence[Shift],
    where: list[Scene], options: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """One way in on one stream: each option's mIoU under its last shift, and gains with 95 %
    intervals over scenes."""
    words = load_vocabulary(config.model.vocabulary)
    ways = {False: stretches(stream, shifts, words), True: stretches(stream, finer(shifts), words)}
    free = {"concepts": base} | in_all_colours(base, config.model.weights)
    rows = {name: tables(engine, bundle, where) for name, bundle in free.items()}
    best, seconds = max(rows, key=lambda name: miou(rows[name])), {}
    for name in options:
        option, started = OPTIONS[name], time.monotonic()
        bundle = along(config, option, ways[option.finer], stream)
        seconds[name] = round(time.monotonic() - started, 1)
        rows[name] = tables(engine, bundle, where)
        print(stream, shifts[-1].kind, name, round(miou(rows[name]), 2), flush=True)
    return {
        "stream": stream, "best_free": best, "seconds": seconds,
        "miou": {name: round(miou(row), 2) for name, row in rows.items()},
        "gain_95": {
            name: {over: interval(rows[name], rows[over]) for over in ("concepts", best)}
            for name in options
        },
        "scene_miou": {name: [round(miou(r[None]), 2) for r in row] for name, row in rows.items()},
    }  # fmt: skip


def summary(runs: Sequence[dict[str, Any]], options: Sequence[str]) -> dict[str, Any]:
    """Over streams: each option's mean mIoU, and its mean gains."""
    scores = {name: np.array([run["miou"][name] for run in runs]) for name in runs[0]["miou"]}
    best = np.array([run["miou"][run["best_free"]] for run in runs])
    found: dict[str, Any] = {
        name: {"miou": round(float(v.mean()), 2)} for name, v in scores.items()
    }
    for name in options:
        found[name]["over_concepts"] = round(float((scores[name] - scores["concepts"]).mean()), 2)
        found[name]["over_best_free"] = round(float((scores[name] - best).mean()), 2)
    return found


def main() -> None:
    """Every option on the chosen conditions and streams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results_folder())
    parser.add_argument("--seed", type=int, default=0, help="added to the numbers of the streams")
    parser.add_argument("--quick", action="store_true", help="one stream, few steps, few scenes")
    parser.add_argument("--dev", action="store_true", help="what settings are chosen on")
    parser.add_argument("--only", nargs="*", default=list(CONDITIONS), choices=list(CONDITIONS))
    parser.add_argument("--options", nargs="*", default=list(OPTIONS), choices=list(OPTIONS))
    asked = parser.parse_args()
    config = Config()
    config = replace(config, adapt=replace(config.adapt, steps=2 if asked.quick else STEPS))
    results = measure(config, asked)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "ablation.json").write_text(json.dumps(results, indent=1) + "\n")


def measure(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything that ablation.json holds."""
    words = load_vocabulary(config.model.vocabulary)
    streams = (DEV_STREAMS if asked.dev else STREAMS[:2])[: 1 if asked.quick else None]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        prepare(replace(config, adapt=replace(config.adapt, blocks=BLOCKS)), Path(scratch))
        engine = open_engine(Path(scratch) / "engine", 1, "onnxruntime-cpu")
        base = load_bundle(Path(scratch) / "adapters" / "base", engine.info)
        for name in asked.only:
            shifts, runs = CONDITIONS[name], []
            for number, stream in enumerate(streams):
                seeds = DEV if asked.dev else fresh_seeds(number)
                where = scenes(seeds[:2] if asked.quick else seeds, shifts[-1], words)
                runs.append(
                    condition(
                        config, engine, base, stream + asked.seed, shifts, where, asked.options
                    )
                )
            found[name] = {"summary": summary(runs, asked.options), "runs": runs}
    return {
        "machine": machine(), "settings": to_dict(config), "seed": asked.seed, "dev": asked.dev,
        "options": {name: asdict(OPTIONS[name]) for name in asked.options}, "conditions": found,
    }  # fmt: skip


if __name__ == "__main__":
    main()
