"""`make bench-default`: the embedded default by day, into the night, and under sudden shifts.

Three seeds: each has its own stream to adapt on and its own 40 scenes to report on, none of them
used for any choice. Rounds, gate and engine are the ones the daemon uses; only the clock is gone.
Writes default.json and default.png.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acclimate.configs.schema import Config, ModelConfig, load_config, to_dict
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.daemon.main import prepare
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.engines import open_engine
from acclimate.runtime.evaluate import class_iou
from acclimate.world import Shift
from benchmarks.demo import frozen_bundle, recoloured, spread
from benchmarks.drive import Adapted, adapt_along
from benchmarks.machine import machine, results_folder
from benchmarks.plot import bars
from benchmarks.scenes import (
    DEV,
    DEV_STREAMS,
    STREAMS,
    Tables,
    daylight,
    fresh_seeds,
    interval,
    miou,
    scenes,
    tables,
)

NIGHT = tuple(Shift("night", s) for s in (0.15, 0.32, 0.5, 0.7, 0.95))
SUDDEN = {
    "rain": Shift("rain", 0.7), "dusk": Shift("night", 0.45), "fog": Shift("fog", 0.6),
    "cast": Shift("cast", 0.7), "noise": Shift("noise", 0.7),
}  # fmt: skip
SUDDEN_ROUNDS, FRAMES = 1, 60
METHODS = (
    "frozen", "frozen_with_concepts", "frozen_normalised", "frozen_recoloured", "adapted",
)  # fmt: skip


def condition(
    config: Config, state: Path, work: Path, stream: int, shifts: Sequence[Shift], report_on: range
) -> dict[str, Any]:
    """Adapt along `shifts`, report under the last one: mIoU by method, gains, rounds."""
    words, engine = load_vocabulary(config.model.vocabulary), open_engine(state / "engine", 1)
    led = adapt_along(config, state, work, stream, shifts, FRAMES)
    base = load_bundle(state / "adapters" / "base", engine.info)
    where = scenes(report_on, shifts[-1], words)
    rows = {
        "frozen": tables(engine, frozen_bundle(config, engine), where),
        "frozen_with_concepts": tables(engine, base, where),
        "frozen_normalised": tables(engine, base, where, daylight),
        "frozen_recoloured": tables(engine, recoloured(base, led.bundle), where),
        "adapted": tables(engine, led.bundle, where),
    }
    by_day = scenes(report_on, Shift(), words)
    return {
        "stream": stream, "scenes": [report_on.start, report_on.stop],
        "miou": {name: round(miou(rows[name]), 2) for name in METHODS},
        "gain_95": {n: interval(rows["adapted"], rows[n]) for n in METHODS[:-1]},
        "scene_miou": {name: per_scene(rows[name]) for name in METHODS},
        "day_miou": {
            "frozen_with_concepts": round(miou(tables(engine, base, by_day)), 2),
            "adapted": round(miou(tables(engine, led.bundle, by_day)), 2),
        },
        "rounds": brief(led),
    }  # fmt: skip


def per_scene(rows: Tables) -> list[float]:
    """Raw samples: each scene's own mIoU."""
    return [round(miou(row[None]), 2) for row in rows]


def brief(led: Adapted) -> list[dict[str, Any]]:
    """The rounds without their long lists."""
    keep = ("id", "shift", "strength", "seconds", "accepted", "reasons", "numbers")
    return [{key: row[key] for key in keep} for row in led.rounds]


def over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over seeds of every method, and of the gain over each control."""
    scores = {name: np.array([run["miou"][name] for run in runs]) for name in METHODS}
    gains = {name: scores["adapted"] - scores[name] for name in METHODS[:-1]}
    return {"miou": {n: stats(v) for n, v in scores.items()},
            "gain_over": {n: stats(v) for n, v in gains.items()}, "runs": runs}  # fmt: skip


def stats(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """mean, std (of the sample) and the values themselves."""
    return {"mean": round(float(values.mean()), 2), "std": round(float(values.std(ddof=1)), 2),
            "seeds": [round(float(v), 2) for v in values]}  # fmt: skip


def by_day(config: Config, state: Path) -> dict[str, Any]:
    """Day scenes in the words of training, and in the deployed words with and without concepts."""
    source = replace(config, model=ModelConfig(config.model.weights, "world-source"))
    prepare(source, state / "source-names")
    engine = open_engine(state / "source-names" / "engine", 2)
    bundle = load_bundle(state / "source-names" / "adapters" / "base", engine.info)
    words, deployed = load_vocabulary("world-source"), load_vocabulary(config.model.vocabulary)
    served = open_engine(state / "engine", 2)
    plain = frozen_bundle(config, served)
    concepts = load_bundle(state / "adapters" / "base", served.info)
    scores: dict[str, list[float]] = {"source_names": [], "frozen": [], "frozen_with_concepts": []}
    total: Any = 0
    for seed in range(len(STREAMS)):
        rows = tables(engine, bundle, scenes(fresh_seeds(seed), Shift(), words))
        total = total + rows.sum(0)
        where = scenes(fresh_seeds(seed), Shift(), deployed)
        scores["source_names"].append(miou(rows))
        scores["frozen"].append(miou(tables(served, plain, where)))
        scores["frozen_with_concepts"].append(miou(tables(served, concepts, where)))
    iou = {n: round(float(v), 1) for n, v in zip(words.names, class_iou(total), strict=True)}
    return {name: stats(np.array(v)) for name, v in scores.items()} | {"iou_source_names": iou}


def latency(config: Config, state: Path, frames: int = 200) -> dict[str, Any]:
    """Milliseconds a frame of the engine alone, 1 and 2 threads measured in turn."""
    samples: dict[str, list[float]] = {"threads_1": [], "threads_2": []}
    engines = {name: open_engine(state / "engine", int(name[-1])) for name in samples}
    bundle = load_bundle(state / "adapters" / "base", engines["threads_1"].info)
    frame = bundle.probe_frames[0]
    for number in range(frames + 10):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine.infer(frame, bundle)
            if number >= 10:
                samples[name].append(1000 * (time.perf_counter() - started))
    return {name: spread(values) | {"samples": [round(v, 2) for v in values]}
            for name, values in samples.items()}  # fmt: skip


def main() -> None:
    """Everything, or with --dev the streams and scenes that settings are chosen on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results_folder())
    parser.add_argument("--config", type=Path, help="settings; without: the defaults")
    parser.add_argument("--only", nargs="*", help="conditions: night, rain, dusk, fog, ...")
    parser.add_argument("--dev", action="store_true")
    options = parser.parse_args()
    config = load_config(options.config) if options.config else Config()
    results: dict[str, Any] = {"machine": machine(), "settings": to_dict(config)}
    plan = {"night": NIGHT} | {name: (shift,) * SUDDEN_ROUNDS for name, shift in SUDDEN.items()}
    plan = {name: plan[name] for name in options.only or plan}
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch) / "state"
        prepare(config, state)
        if not options.dev:
            results |= {"day": by_day(config, state), "latency_ms": latency(config, state)}
        runs = all_runs(config, state, Path(scratch), plan, options.dev)
    results["conditions"] = {name: over_seeds(runs[name]) for name in plan}
    (options.out / "default.json").write_text(json.dumps(results, indent=1) + "\n")
    bars(results, options.out / "default.png")


def all_runs(
    config: Config, state: Path, scratch: Path, plan: dict[str, Sequence[Shift]], dev: bool
) -> dict[str, list[dict[str, Any]]]:
    """Every condition on every stream, one process a core, one thread each."""
    streams = DEV_STREAMS if dev else STREAMS
    environment = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), environment, set_threads) as pool:
        jobs = {}
        for name, shifts in plan.items():
            for number, stream in enumerate(streams):
                report_on = DEV if dev else fresh_seeds(number)
                work = scratch / f"{name}-{stream}"
                job = pool.submit(condition, config, state, work, stream, shifts, report_on)
                jobs[name, stream] = job
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in plan}
        for (name, stream), job in jobs.items():
            runs[name].append(job.result())
            verdicts = [r["accepted"] for r in runs[name][-1]["rounds"]]
            print(name, stream, json.dumps(runs[name][-1]["miou"]), verdicts, flush=True)
    return runs


def set_threads() -> None:
    """One thread a process: its neighbours have the other cores."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
