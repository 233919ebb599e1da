"""What a swap costs the frames around it: gaps with and without swaps, finely in turn.

On the embedded default through the runtime's own swapper. A swap is the whole of it: another bundle
is loaded, verified and probed aside, staged, then taken up between two frames.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import Config
from acclimate.daemon.main import prepare
from acclimate.runtime.bundle import Bundle, load_bundle, write_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.runtime.swap import Ready, Swapper
from benchmarks.latency import quantiles
from benchmarks.memory import memory_mib

WARM, BLOCK = 8, 12  # swaps before anything counts; frames of one kind in a row


def swaps(count: int, threads: int, name: str = "auto") -> dict[str, Any]:
    """At least `count` swaps under load; A -> B -> A must give the label maps of A."""
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch)
        prepare(Config(), state)
        engine = open_engine(state / "engine", threads, name)
        base = load_bundle(state / "adapters" / "base", engine.info)
        swapping = Swapping(state, engine, [base, shifted(state, engine, base)])
        while len(swapping.staging) < WARM:
            swapping.drive(BLOCK, swap=True)
        swapping.staging.clear()
        before, gaps = memory_mib("VmRSS"), _gaps(swapping, count)
        grown, same = memory_mib("VmRSS") - before, swapping.back_and_forth()
        engine.close()
    with_swaps, without = quantiles(gaps["with"]), quantiles(gaps["without"])
    return {
        "engine": engine.name, "threads": threads, "swaps": len(swapping.staging),
        "gap_ms": {"with": with_swaps, "without": without},
        "p99_gap_ratio": with_swaps["p99"] / without["p99"],
        "p99_gap_ratio_95": _interval(gaps), "staging_ms": quantiles(swapping.staging),
        "frames": swapping.asked, "frames_lost": swapping.asked - swapping.served,
        "frames_with_other_labels": swapping.wrong, "a_b_a_identical": same,
        "memory_growth_mib": round(grown, 2), "samples_ms": gaps,
    }  # fmt: skip


def _gaps(swapping: Swapping, count: int) -> dict[str, list[float]]:
    gaps: dict[str, list[float]] = {"without": [], "with": []}
    while len(swapping.staging) < count:
        for kind, samples in gaps.items():
            samples += swapping.drive(BLOCK, kind == "with")
    return gaps


def _interval(gaps: dict[str, list[float]], rounds: int = 2000) -> list[float]:
    """95 % of the ratio of p99s, blocks drawn again (the gaps of one block are alike)."""
    rng = np.random.default_rng(0)
    one, two = (np.array(gaps[kind]).reshape(-1, BLOCK) for kind in ("with", "without"))
    drawn = rng.integers(0, len(one), (rounds, len(one)))
    ratios = [np.percentile(one[d], 99) / np.percentile(two[d], 99) for d in drawn]
    return [round(float(np.percentile(ratios, q)), 4) for q in (2.5, 97.5)]


class Swapping:
    """Frames in a row on one engine; `wrong` counts those whose labels were not the bundle's."""

    def __init__(self, state: Path, engine: Engine, bundles: list[Bundle]) -> None:
        self.state, self.engine, self.serving = state, engine, bundles[0]
        self.swapper, self.pending, self.bundles = Swapper(engine), False, bundles
        self.asked = self.served = self.wrong = 0
        self.frames, self.staging = bundles[0].probe_frames, list[float]()
        self.expected = {b.id: self._labels(b) for b in bundles}

    def drive(self, frames: int, swap: bool) -> list[float]:
        """Milliseconds between the label maps of consecutive frames."""
        gaps, last = [], time.perf_counter()
        for number in range(frames):
            self._take()
            if swap and not self.pending:
                other = next(name for name in self.expected if name != self.serving.id)
                self.swapper.request(other, self.state / "adapters" / other)
                self.pending = True
            self._infer(number % len(self.frames))
            now = time.perf_counter()
            gaps.append(round(1000 * (now - last), 3))
            last = now
        while self.pending:
            self._take()
            time.sleep(0.002)
        return gaps

    def back_and_forth(self) -> bool:
        """A, B, A in turn: are both A's label maps the same, and B's others?"""
        a, b, again = (self._labels(self.bundles[i]) for i in (0, 1, 0))
        return np.array_equal(a, again) and not np.array_equal(a, b)

    def _infer(self, index: int) -> None:
        self.asked += 1
        labels = self.engine.infer(self.frames[index], self.serving).labels
        self.served += 1
        self.wrong += not np.array_equal(labels, self.expected[self.serving.id][index])

    def _labels(self, bundle: Bundle) -> NDArray[np.uint8]:
        return np.stack([self.engine.infer(frame, bundle).labels for frame in self.frames])

    def _take(self) -> None:
        outcome = self.swapper.take()
        if isinstance(outcome, Ready):
            self.serving = outcome.bundle
            self.staging.append(outcome.load_ms)
        elif outcome is not None:
            raise RuntimeError(f"{outcome.id} was refused: {outcome.reason}")
        self.pending = self.pending and outcome is None


def shifted(state: Path, engine: Engine, base: Bundle) -> Bundle:
    """Another adapter: the base with its projections moved a little."""
    rng = np.random.default_rng(0)
    inputs = {
        name: value * (1 + 0.05 * rng.standard_normal(value.shape)).astype(np.float32)
        if name.endswith("proj.weight") else value
        for name, value in base.inputs.items()
    }  # fmt: skip
    manifest = base.manifest | {"id": "b"}
    made = replace(base, id="b", manifest=manifest, inputs=inputs)
    labels = np.stack([engine.infer(frame, made).labels for frame in base.probe_frames])
    write_bundle(state / "adapters" / "b", manifest, inputs, base.probe_frames, labels)
    return load_bundle(state / "adapters" / "b", engine.info)
