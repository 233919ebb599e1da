"""`make bench-drift`: how late drift rings, how often it rings for nothing, and when it must not.

The daemon's own drift, alarm, motion and blindness run over what the engine says of drives of the
driving world, one look a second, each standing for the ten frames of a camera at 10 frames a
second. What a place's own spread is depends on where one begins, so that every stream is begun at
MOMENTS. Streams 3 and 4 chose the settings and, for each way to combine signals, the threshold: the
lowest multiple of STEP without a false alarm there. Streams 11 to 13 were seen before the last
choice was made; `--seed 14` takes three that were not.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.drift import DriftConfig
from acclimate.configs.schema import Config
from acclimate.daemon.drift import Collected, Condition, Drift, Usual
from acclimate.daemon.main import prepare
from acclimate.daemon.trigger import alarmed
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.engines import open_engine
from acclimate.runtime.look import Look, Motion, blinded
from benchmarks.drift_plot import plot
from benchmarks.drift_streams import FPS, STRENGTH, STRIDE, SUDDEN, Seen, cached, joined, part
from benchmarks.machine import machine, results_folder
from benchmarks.scenes import DEV_STREAMS, STREAMS

MOMENTS, STEP, QUICK_S, DEV_S, CALM_S, NEW_PLACE_S = 5, 0.2, 200, 600, 1000, 120
SHIFTS = (*SUDDEN, "gradual night", "another place")
Streams = dict[str, Seen]


@dataclass(frozen=True)
class Course:
    """One drive as the daemon sees it, a row a look: signals (N,3: distance, entropy, histogram, in
    spreads), whole (N,), and where there is an alarm, a covered camera, a parked one (N,)."""

    signals: NDArray[np.float64]
    whole: NDArray[np.float64]
    alarm: NDArray[np.bool_]
    blind: NDArray[np.bool_]
    parked: NDArray[np.bool_]


def course(seen: Seen, config: DriftConfig) -> Course:
    """Drive along; the first `reference_frames` are the condition that drift is measured from."""
    drift, motion, first = (
        Drift(config),
        Motion(config.min_change),
        Collected(config.reference_frames),
    )
    condition, usual, alarm, rows = None, None, False, []
    for embedding, shares, confidence, (light, contrast, change) in seen.rows():
        blind = blinded(Look(light, contrast, None), config)
        parked = motion.heed(None if np.isnan(change) else float(change))
        if not blind:  # as acclimate.daemon.heard does
            signs = (embedding, float(confidence[2]), shares, STRIDE)
            drift.add(*signs)
            if condition is None and not parked and first.add(*signs):
                condition, usual = Condition.around(first.embeddings), Usual.around(first.said)
        level = drift.level(condition, usual)
        alarm = alarmed(alarm, level.whole if level else None, config)
        found = astuple(level) if level else (0.0,) * 4
        rows.append((*found, alarm, blind, parked))
    table = np.array(rows, float)
    flags = table[:, 4:].astype(bool)
    return Course(table[:, :3], table[:, 3], flags[:, 0], flags[:, 1], flags[:, 2])


def rings(alarm: NDArray[np.bool_]) -> int:
    """How often an alarm begins."""
    return int((alarm & ~np.concatenate([[False], alarm[:-1]])).sum())


def shifted(streams: Streams, others: Streams) -> dict[str, Seen]:
    """What follows the calm drive of a seed, by name; `others` is another seed's."""
    found = {name: streams[name] for name in SHIFTS if name in streams}
    return {**found, "another place": part(others["calm"], 0, NEW_PLACE_S)}


def delay(calm: Seen, after: Seen, config: DriftConfig) -> int | None:
    """Looks since the shift when it rings, that one included; None if it never does, or rang before
    and had not ended."""
    alarm = course(joined(calm, after), config).alarm
    during = alarm[len(calm) :]
    return 1 + int(during.argmax()) if during.any() and not alarm[len(calm) - 1] else None


def begun(calm: Seen) -> list[Seen]:
    """A calm drive from each of MOMENTS in its first half on."""
    return [part(calm, i * len(calm) // (2 * MOMENTS), len(calm)) for i in range(MOMENTS)]


def chosen(dev: Sequence[Streams], config: DriftConfig) -> float:
    """The lowest multiple of STEP without a false alarm."""
    drives = [drive for streams in dev for drive in begun(streams["calm"])]
    highest = max(float(course(drive, config).whole.max()) for drive in drives)
    return round(STEP * (highest // STEP + 1), 2)


def measured(test: dict[int, Streams], config: DriftConfig) -> dict[str, Any]:
    """False alarms of the calm drives and delays of every shift, by seed and moment."""
    seeds = list(test)
    calm = {seed: begun(test[seed]["calm"]) for seed in seeds}
    false = {seed: [rings(course(one, config).alarm) for one in calm[seed]] for seed in seeds}
    looks = sum(len(one) - config.reference_frames / STRIDE for row in calm.values() for one in row)
    hours, rung = looks * STRIDE / FPS / 3600, sum(map(sum, false.values()))
    looks_until = {
        name: {
            seed: [delay(one, shifted(test[seed], test[other])[name], config) for one in calm[seed]]
            for seed, other in zip(seeds, [*seeds[1:], seeds[0]], strict=True)
        }
        for name in SHIFTS
        if name != "another place" or len(seeds) > 1
    }
    every = [one for rows in looks_until.values() for row in rows.values() for one in row]
    return {
        "threshold": config.threshold, "distinct_calm_s": sum(len(test[s]["calm"]) for s in seeds),
        "calm_hours": round(hours, 3), "false_alarms": false,
        "false_alarms_per_hour": round(rung / hours, 2), "shifts": len(every),
        "missed": sum(one is None for one in every),
        "delay_s": {name: _quantiles(rows, STRIDE / FPS) for name, rows in looks_until.items()},
        "delay_frames": {name: _quantiles(rows, STRIDE) for name, rows in looks_until.items()},
    }  # fmt: skip


def _quantiles(rows: dict[int, list[int | None]], unit: float) -> dict[str, Any]:
    """Median and longest of those that rang, and all of them by seed."""
    by_seed = {seed: [None if x is None else round(x * unit, 1) for x in row]
               for seed, row in rows.items()}  # fmt: skip
    rang = [x for row in by_seed.values() for x in row if x is not None]
    middle, longest = (float(np.median(rang)), max(rang)) if rang else (None, None)
    return {"median": middle, "longest": longest, "by_seed": by_seed}


def held(streams: Streams, config: DriftConfig) -> dict[str, Any]:
    """Looks of a parked and of a covered stretch at which a round could start, with the daemon's
    rules and without; and alarms in the minute after the camera is uncovered."""
    careless = replace(config, min_change=0.0, min_light=0.0, min_contrast=0.0)
    calm, found = streams["calm"], {}
    for name in ("parked", "covered"):
        drive = joined(calm, streams[name], part(calm, len(calm) - 60, len(calm)))
        inside = slice(len(calm), len(calm) + len(streams[name]))
        with_rules, without = course(drive, config), course(drive, careless)
        found[name] = {
            "looks": len(streams[name]),
            "starts": int(_may_start(with_rules)[inside].sum()),
            "starts_without_rules": int(_may_start(without)[inside].sum()),
            "alarms_afterwards": int(with_rules.alarm[inside.stop :].any()),
            "alarms_afterwards_without_rules": int(without.alarm[inside.stop :].any()),
        }
    driving = course(calm, config)
    found["driving"] = {
        "looks": len(calm), "taken_for_parked": int(driving.parked.sum()),
        "taken_for_blinded": int(driving.blind.sum()),
    }  # fmt: skip
    return found


def _may_start(drive: Course) -> NDArray[np.bool_]:
    return drive.alarm & ~drive.blind & ~drive.parked


BEFORE = DriftConfig(
    reference_frames=60, threshold=2.5, smoothing_frames=10, release=1.0, entropy_weight=0.0
)  # the first defaults, as a control


def variants(config: DriftConfig) -> dict[str, DriftConfig]:
    """Ways to combine the signals."""
    only = replace(config, entropy_weight=0.0, histogram_weight=0.0)
    return {
        "distance alone": only,
        "distance and entropy (default)": config,
        "distance and histogram": replace(only, histogram_weight=1.0),
        "all three": replace(config, histogram_weight=1.0),
        "default, averaged over 1 s": replace(config, smoothing_frames=10),
        "default, 15 s of reference": replace(config, reference_frames=150),
    }


def looked_at(seeds: Iterable[int], calm_s: int, work: Path) -> dict[int, Streams]:
    """What the engine says of every seed's streams."""
    state = work / "state"
    prepare(Config(), state)
    engine = open_engine(state / "engine", 1)
    base = load_bundle(state / "adapters" / "base", engine.info)
    return {seed: cached(engine, base, seed, calm_s, work / "streams") for seed in seeds}


def samples(streams: Streams, config: DriftConfig) -> dict[str, Any]:
    """The signals behind the numbers, of each stream after its calm drive."""
    calm = streams["calm"]
    rows = {"calm": course(calm, config).signals}
    for name, after in streams.items():
        if name != "calm":
            rows[name] = course(joined(calm, after), config).signals[len(calm) :]
    return {name: np.round(signals, 2).tolist() for name, signals in rows.items()}


def brief(results: dict[str, Any]) -> str:
    """A table for the terminal."""
    rows = {"defaults": results["summary"], **results.get("variants", {})}
    lines = []
    for name, row in rows.items():
        delays = [f"{k} {v['median']} ({v['longest']})" for k, v in row["delay_s"].items()]
        lines.append(
            f"{name}, from {row['threshold']:g} up: {row['false_alarms_per_hour']} false alarms/h, "
            f"{row['missed']} of {row['shifts']} missed; s until: {', '.join(delays)}"
        )
    return "\n".join([*lines, json.dumps(results["held"])])


def main() -> None:
    """Write drift.json and drift.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, a short calm drive")
    parser.add_argument("--seed", type=int, default=STREAMS[0], help="the first of three streams")
    parser.add_argument("--out", type=Path, default=None, help="folder for drift.json, drift.png")
    parser.add_argument("--work", type=Path, default=Path("build/drift"), help="what is kept")
    options = parser.parse_args()
    config, started = Config().drift, time.monotonic()
    seeds = [options.seed] if options.quick else [options.seed + i for i in range(len(STREAMS))]
    test = looked_at(seeds, QUICK_S if options.quick else CALM_S, options.work)
    results: dict[str, Any] = {
        "machine": machine(), "quick": options.quick, "seeds": seeds, "dev_seeds": DEV_STREAMS,
        "settings": {
            **asdict(config), "fps": FPS, "frames_a_look": STRIDE, "strength": STRENGTH,
            "calm_s": len(test[seeds[0]]["calm"]), "moments": MOMENTS,
        },
        "summary": measured(test, config),
        "held": {seed: held(test[seed], config) for seed in seeds},
    }  # fmt: skip
    if not options.quick:
        dev = list(looked_at(DEV_STREAMS, DEV_S, options.work).values())
        results["variants"] = {
            name: measured(test, replace(one, threshold=chosen(dev, one)))
            for name, one in variants(config).items()
        } | {"distance over 1 s, 6 s of reference, at 2.5": measured(test, BEFORE)}
    results["seconds"] = round(time.monotonic() - started, 1)
    results["samples"] = {seed: samples(test[seed], config) for seed in seeds}
    out = options.out or results_folder()
    out.mkdir(parents=True, exist_ok=True)
    (out / "drift.json").write_text(json.dumps(results) + "\n")
    plot(results, out / "drift.png")
    print(brief(results))


if __name__ == "__main__":
    main()
