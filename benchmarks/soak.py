"""`make bench-soak`: thousands of swaps and rollbacks under way, and what they leave behind.

A daemon with its real serving process plays a folder of frames as fast as it can. Again and again
another adapter (the base with its projections moved a little) is forced past the gate, serves, and
is rolled back and quarantined, as in years on the road. Every two seconds it is asked what daemon
and runtime hold: memory, descriptors, threads, files; and how long frames took. Flat means that the
last quarter of the run holds what the second held. Writes soak.json and soak.png.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from acclimate import __version__
from acclimate.configs.schema import Config
from acclimate.configs.source import SourceConfig
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.main import prepare, run
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.engines import open_engine
from acclimate.world import Drive
from benchmarks.latency import quantiles
from benchmarks.machine import machine, results_folder
from benchmarks.soak_plot import plot
from benchmarks.swap import shifted

PICTURES, EVERY_S = 60, 2.0
LIMITS = {  # how much more the last quarter may hold than the second
    "runtime_mib": 8.0, "daemon_mib": 8.0, "runtime_descriptors": 2, "daemon_descriptors": 2,
    "runtime_threads": 1, "daemon_threads": 1, "adapter_folders": 2,
}  # fmt: skip


def frames_of(folder: Path, count: int) -> Path:
    """`count` pictures to serve, a few of them again and again."""
    shown, drive = [], Drive(9, fps=2.0)
    for number in range(PICTURES):
        shown.append(folder / f"shown-{number}.png")
        cv2.imwrite(str(shown[-1]), drive.frame(number)[0][:, :, ::-1])
    many = folder / "frames"
    many.mkdir()
    for number in range(count):
        (many / f"{number:07d}.png").symlink_to(shown[number % PICTURES])
    return many


class Tireless:
    """Forces an adapter in, lets it serve, rolls it back, and notes what is held."""

    def __init__(self, state: Path, template: Path) -> None:
        self.cycles, self.samples = 0, list[dict[str, float]]()
        self._state, self._template = state, template
        self._started, self._due = time.monotonic(), 0.0
        self._latency: list[float] = []
        self._seen: dict[str, Any] = {}

    def __call__(self, life: Lifecycle) -> None:
        """Looked in at every tick."""
        if life.stream.last is not self._seen:
            self._seen = life.stream.last
            self._latency += self._seen.get("latency_ms", [])
        if life.swapping is None and life.stream.last:
            self._next(life)
        if time.monotonic() > self._due:
            self._due = time.monotonic() + EVERY_S
            self._sample(life)

    def _next(self, life: Lifecycle) -> None:
        if life.registry.state.active == "base":
            life.registry.prune()
            self.cycles += 1
            life.force(name := f"s{self.cycles:05d}", self._copy(name))
        else:
            life.roll_back("manual")

    def _copy(self, name: str) -> Path:
        """Another bundle of the same content."""
        folder = self._state / "candidates" / name
        shutil.copytree(self._template, folder)
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"id": name}))
        return folder

    def _sample(self, life: Lifecycle) -> None:
        runtime = life.serving.pid
        if runtime is None or not self._latency:
            return
        row = {
            "t": round(time.monotonic() - self._started, 1), "cycles": self.cycles,
            "served": life.serving.ledger["served"],
            "latency_p50_ms": float(np.percentile(self._latency, 50)),
            "latency_p99_ms": float(np.percentile(self._latency, 99)),
            "adapter_folders": len(list((self._state / "adapters").iterdir())),
            "state_kib": sum(p.stat().st_size for p in self._state.glob("*.json*")) / 1024,
        }  # fmt: skip
        for name, pid in (("runtime", runtime), ("daemon", os.getpid())):
            row |= {f"{name}_{what}": value for what, value in held(pid).items()}
        self.samples.append(row)
        self._latency = []


def held(pid: int) -> dict[str, float]:
    """Resident MiB, open descriptors and threads of a process."""
    folder = Path("/proc") / str(pid)
    rows = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return {
        "mib": int(rows["VmRSS"].split()[0]) / 1024, "threads": int(rows["Threads"]),
        "descriptors": len(list((folder / "fd").iterdir())),
    }  # fmt: skip


def growth(samples: list[dict[str, float]]) -> dict[str, float]:
    """Median of the last quarter less that of the second, for every column that should be flat."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples, samples[-quarter:]

    def middle(rows: Iterable[dict[str, float]], name: str) -> float:
        return float(np.median([row[name] for row in rows]))

    names = [*LIMITS, "latency_p50_ms", "latency_p99_ms"]
    return {name: round(middle(late, name) - middle(early, name), 3) for name in names}


def soak(frames: int) -> dict[str, Any]:
    """Everything in soak.json but the machine."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        state, config = work / "state", Config()
        config = replace(
            config, source=SourceConfig(url=str(frames_of(work, frames))),
            serving=replace(config.serving, threads=1),
            adapt=replace(config.adapt, enabled=False),
            daemon=replace(config.daemon, http_port=0),
        )  # fmt: skip
        prepare(config, state)
        engine = open_engine(state / "engine")
        shifted(state, engine, load_bundle(state / "adapters" / "base", engine.info))
        engine.close()
        template = (state / "adapters" / "b").rename(work / "template")
        events: dict[str, int] = {}
        gaps: list[float] = []

        def note(event: dict[str, Any]) -> None:
            events[event["event"]] = events.get(event["event"], 0) + 1
            if event["event"] == "swapped":
                gaps.append(round(event["gap_ms"], 3))

        tireless = Tireless(state, template)
        last = run(config, state, listener=note, hook=tireless)
    grown = growth(tireless.samples)
    return {
        "cycles": tireless.cycles, "swaps": len(gaps), "events": events,
        "ledger": last["frames"], "gap_ms": quantiles(gaps), "growth": grown, "limits": LIMITS,
        "flat": {name: grown[name] <= limit for name, limit in LIMITS.items()},
        "samples": tireless.samples,
    }  # fmt: skip


def main() -> None:
    """Run it, write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results_folder())
    parser.add_argument("--quick", action="store_true", help="one minute; soak_quick.json")
    parser.add_argument("--frames", type=int, default=30000, help="how many (default: 30000)")
    options = parser.parse_args()
    found = soak(1500 if options.quick else options.frames)
    results = {"machine": machine(), "version": __version__, **found}
    name = "soak_quick" if options.quick else "soak"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    plot(results, options.out / f"{name}.png")
    print(json.dumps({k: v for k, v in results.items() if k != "samples"}, indent=1))


if __name__ == "__main__":
    main()
