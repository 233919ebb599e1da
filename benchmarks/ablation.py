"""`make bench-ablation`: what only a stream has, each option alone beside the default round.

No gate and no clock: rounds straight on a drive's frames, each from the adapter before, as many
steps in all for every option, judged by the engine on scenes of other drives. Three options are
taught labels made beforehand, with no threshold: "own_labels" by what was learned so far,
"flow_labels" by the same along optical flow, and "labelled", which is how far any labels would
bring it, the truth. `labels` tells what a frozen teacher's labels are worth by how they are made;
`unloading_95` what it is worth to serve the base again by day. Settings are chosen with --dev, on
streams and scenes that are reported nowhere. Writes ablation.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from acclimate.adapt.source import scenes_to_learn_from
from acclimate.configs.schema import Config, to_dict
from acclimate.configs.vocabulary import Vocabulary, load_vocabulary
from acclimate.daemon.main import prepare
from acclimate.model.load import load_base
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.world import Drive, Shift
from benchmarks.ablation_labels import Seen, along_flow, saying, worth
from benchmarks.adaptation_rows import in_all_colours
from benchmarks.drive import FPS, STRIDE
from benchmarks.labelled import learn_pairs
from benchmarks.machine import machine, results_folder
from benchmarks.resume import one_thread
from benchmarks.scenes import (
    DEV,
    DEV_STREAMS,
    STREAMS,
    Frame,
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
BEFORE = 3  # frames that a pixel's label is followed from
Stretch = list[Seen]


@dataclass(frozen=True)
class Option:
    """Keys of `adapt` that differ from the default; `finer`: twice the rounds, half as long;
    `taught`: labels made before a round, by whom."""

    keys: dict[str, Any] = field(default_factory=dict)
    finer: bool = False
    taught: Literal["", "itself", "flow", "truth"] = ""


OPTIONS = {
    "default": Option(),
    "no_replay": Option({"replay": 0}),
    "fixed_teacher": Option({"ema": 1.0}),
    "short_rounds": Option({"ema": 1.0}, finer=True),
    "as_it_looks": Option({"colour": "plain"}),
    "two_looks": Option({"colour": "plain", "teacher_colour": "lifted"}),
    "own_labels": Option({"colour": "plain"}, taught="itself"),
    "flow_labels": Option({"colour": "plain"}, taught="flow"),
    "labelled": Option({"colour": "plain"}, taught="truth"),
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


def stretches(
    stream: int, shifts: Sequence[Shift], words: Vocabulary, before: int = BEFORE
) -> list[Stretch]:
    """What each round sees of one drive, each frame with those `before` it."""
    drive, table = Drive(stream, fps=FPS), words.from_source()

    def seen(index: int, shift: Shift) -> Seen:
        """Before a drive's first frame there is only itself, again and again."""
        nearby = [drive.frame(max(index - n, 0), shift) for n in range(before + 1)]
        frame, *others = (np.ascontiguousarray(image) for image, _ in nearby)
        return Seen(frame, table[nearby[0][1]], tuple(others))

    return [
        [seen(start + STRIDE * n, shift) for n in range(ROUND_FRAMES)]
        for start, shift in ((n * DRIVE // len(shifts), shift) for n, shift in enumerate(shifts))
    ]


def along(
    config: Config, engine: Engine, option: Option, seen: Sequence[Stretch], seed: int
) -> Bundle:
    """All rounds of one option -> what it would serve."""
    steps = config.adapt.steps // 2 if option.finer else config.adapt.steps
    words, settings = load_vocabulary(config.model.vocabulary), replace(config.adapt, **option.keys)
    source = scenes_to_learn_from(replace(config, adapt=settings), words, config.serving.size)
    way = Learned("default", words, settings, steps, source)
    for number, stretch in enumerate(seen):
        frames = [one.frame for one in stretch]
        if option.taught:
            labels = taught(option, engine, way.bundle("so far"), stretch)
            learn_pairs(way, frames, labels, seed * 100 + number)
        else:
            way.learn(frames, seed * 100 + number)
    return way.bundle("learned")


def taught(option: Option, engine: Engine, so_far: Bundle, stretch: Stretch) -> list[Frame]:
    """The labels (H,W) of a round's frames, made by what was learned so far or true."""
    if option.taught == "truth":
        return [one.truth for one in stretch]
    if option.taught == "itself":
        return [engine.infer(one.frame, so_far).labels for one in stretch]
    return [along_flow(one, saying(engine, so_far), so_far.classes)[0] for one in stretch]


def condition(
    config: Config, engine: Engine, base: Bundle, stream: int, shifts: Sequence[Shift],
    seeds: Sequence[int], options: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """One way in on one stream: each option's mIoU under its last shift and by day, gains with 95 %
    intervals over scenes, and what a teacher's labels are worth at its end."""
    words, known = load_vocabulary(config.model.vocabulary), load_base("default").daylight
    assert known is not None
    where, day = scenes(seeds, shifts[-1], words), scenes(seeds, Shift(), words)
    steep, gentle = stretches(stream, shifts, words), stretches(stream, finer(shifts), words, 0)
    coloured = in_all_colours(base, config.model.weights)
    rows = {name: tables(engine, b, where) for name, b in ({"concepts": base} | coloured).items()}
    by_day = {"concepts": tables(engine, base, day)}
    best = max(rows, key=lambda name: miou(rows[name]))
    for name in options:
        option = OPTIONS[name]
        bundle = along(config, engine, option, gentle if option.finer else steep, stream)
        rows[name], by_day[name] = tables(engine, bundle, where), tables(engine, bundle, day)
        print(stream, shifts[-1].kind, name, round(miou(rows[name]), 2), flush=True)
    return {
        "stream": stream, "best_free": best,
        "labels": worth(engine, base, known, coloured, steep[-1]),
        "miou": {name: round(miou(row), 2) for name, row in rows.items()},
        "by_day": {name: round(miou(row), 2) for name, row in by_day.items()},
        "gain_95": {
            name: {over: interval(rows[name], rows[over]) for over in ("concepts", best)}
            for name in options
        },
        "unloading_95": {name: interval(by_day["concepts"], by_day[name]) for name in options},
        "scene_miou": {name: [round(miou(r[None]), 2) for r in row] for name, row in rows.items()},
    }  # fmt: skip


def summary(runs: Sequence[dict[str, Any]], options: Sequence[str]) -> dict[str, Any]:
    """Over streams: each option's mean mIoU, its mean gains, and what unloading it by day wins."""
    scores = {name: np.array([run["miou"][name] for run in runs]) for name in runs[0]["miou"]}
    best = np.array([run["miou"][run["best_free"]] for run in runs])
    found: dict[str, Any] = {
        name: {"miou": round(float(v.mean()), 2)} for name, v in scores.items()
    }
    for name in options:
        found[name]["over_concepts"] = round(float((scores[name] - scores["concepts"]).mean()), 2)
        found[name]["over_best_free"] = round(float((scores[name] - best).mean()), 2)
        won = [run["by_day"]["concepts"] - run["by_day"][name] for run in runs]
        found[name]["unloading"] = round(float(np.mean(won)), 2)
    return found


def worth_of(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Over streams: what labels are worth, in the mean."""
    names = runs[0]["labels"]
    return {n: round(float(np.mean([run["labels"][n] for run in runs])), 2) for n in names}


def main() -> None:
    """Every option on the chosen conditions and streams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results_folder())
    parser.add_argument("--seed", type=int, default=0, help="added to the numbers of the streams")
    parser.add_argument("--quick", action="store_true", help="one stream, few steps, few scenes")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
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
    streams = (DEV_STREAMS if asked.dev else STREAMS[:2])[: 1 if asked.quick else None]
    with tempfile.TemporaryDirectory() as scratch:
        prepare(replace(config, adapt=replace(config.adapt, blocks=BLOCKS)), Path(scratch))
        environment = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(asked.jobs, environment, one_thread) as pool:
            todo = [
                pool.submit(play, config, Path(scratch), name, number, stream, asked)
                for name, (number, stream) in product(asked.only, enumerate(streams))
            ]
            runs = [one.result() for one in todo]
    found = {name: runs[i * len(streams) :][: len(streams)] for i, name in enumerate(asked.only)}
    return {
        "machine": machine(), "settings": to_dict(config), "seed": asked.seed, "dev": asked.dev,
        "options": {name: asdict(OPTIONS[name]) for name in asked.options},
        "conditions": {
            name: {"summary": summary(rows, asked.options), "labels": worth_of(rows), "runs": rows}
            for name, rows in found.items()
        },
    }  # fmt: skip


def play(
    config: Config, state: Path, name: str, number: int, stream: int, asked: argparse.Namespace
) -> dict[str, Any]:
    """One condition on one stream, on the engine in `state`."""
    engine = open_engine(state / "engine", 1, "onnxruntime-cpu")
    base = load_bundle(state / "adapters" / "base", engine.info)
    seeds = DEV if asked.dev else fresh_seeds(number)
    return condition(
        config, engine, base, stream + asked.seed, CONDITIONS[name],
        seeds[:2] if asked.quick else seeds, asked.options,
    )  # fmt: skip


if __name__ == "__main__":
    main()
