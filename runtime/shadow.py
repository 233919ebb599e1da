"""A candidate on live frames beside the one that serves, before it may serve itself.

The serving thread hands over a frame with the labels it served, and never waits; the thread that
checks bundles asks the candidate about it on the engine's twin, and compares.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import ShadowConfig
from acclimate.errors import EngineError
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engine import Engine

GRID = 3
WORST = 5  # classes that are named
WAIT = 0.1  # s for a frame, before another look at the clock
Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Tally:
    """Pixels: `regions` (2,3,3) that differ and all; `classes` (3,T) that the active one, the
    candidate and both call so."""

    regions: Counts
    classes: Counts

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.regions + other.regions, self.classes + other.classes)


@dataclass(frozen=True)
class Report:
    """How a window went: `frames` of `wanted` compared in `seconds`, of which `computing_ms`.

    Shares: `disagreement` of all pixels, `regions` (3,3) of each region's from the top left,
    `classes` of the WORST of those that either called so, and the greatest `share_jump` of a
    class's share, of `jumped`. `reasons` against the candidate; `untried` if it saw too little.
    """

    frames: int
    wanted: int
    seconds: float
    computing_ms: float
    disagreement: float
    regions: list[list[float]]
    classes: dict[str, float]
    share_jump: float
    jumped: str
    reasons: tuple[str, ...]
    untried: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def compare(active: Labels, candidate: Labels, classes: int) -> Tally:
    """Two label maps (H,W) of one frame."""
    differ, (height, width) = active != candidate, active.shape
    row, column = (np.arange(n) * GRID // n for n in (height, width))
    region = (row[:, None] * GRID + column[None, :]).ravel()
    cells = [np.bincount(region, mask.ravel(), GRID**2) for mask in (differ, differ >= 0)]
    said = [np.bincount(one.ravel(), minlength=classes)[:classes]
            for one in (active, candidate, active[~differ])]  # fmt: skip
    regions = np.stack(cells).reshape(2, GRID, GRID).astype(np.int64)
    return Tally(regions, np.stack(said).astype(np.int64))


def class_disagreement(tally: Tally, names: tuple[str, ...]) -> dict[str, float]:
    """1 - IoU of the two maps in each class that one of them says; the WORST first."""
    active, candidate, both = tally.classes
    union = active + candidate - both
    found = {names[i]: round(float(1 - both[i] / union[i]), 4) for i in np.flatnonzero(union)}
    return dict(sorted(found.items(), key=lambda pair: -pair[1])[:WORST])


def share_jump(tally: Tally) -> tuple[float, int]:
    """The greatest change of a class's share of all pixels, and the class."""
    total = max(1, int(tally.regions[1].sum()))
    jumps = np.abs(tally.classes[1] - tally.classes[0]) / total
    return float(jumps.max()), int(jumps.argmax())


class Shadow:
    """One window: `offer` is the serving thread's side, `watch` the checking thread's."""

    def __init__(self, config: ShadowConfig, names: tuple[str, ...], stop: threading.Event) -> None:
        """`names` of the classes served; `stop` ends the window early."""
        self._config, self._names, self._stop = config, names, stop
        self._slot: queue.Queue[tuple[NDArray[np.uint8], Labels]] = queue.Queue(1)
        self._seen: list[Tally] = []
        self._computing = 0.0

    def offer(self, frame: NDArray[np.uint8], labels: Labels) -> None:
        """A served frame (H,W,3) with its labels (H,W); passes by while the last one is busy."""
        if not self._slot.full():
            self._slot.put_nowait((frame, labels))

    def watch(self, twin: Engine, bundle: Bundle) -> Report:
        """Compare until enough was seen or time or budget are spent; never raises for what the
        candidate does."""
        started = time.monotonic()
        try:
            while not self._over(time.monotonic() - started):
                self._look(twin, bundle)
        except EngineError as error:
            return self._report(started, [f"it failed on a live frame: {error}"])
        return self._report(started, [])

    def _over(self, seconds: float) -> bool:
        config = self._config
        spent = 1000 * self._computing >= config.max_ms or seconds >= config.deadline_s
        return spent or len(self._seen) >= config.frames or self._stop.is_set()

    def _look(self, twin: Engine, bundle: Bundle) -> None:
        """One frame, and the rest that follows from the duty cycle."""
        try:
            frame, served = self._slot.get(timeout=WAIT)
        except queue.Empty:
            return
        started = time.monotonic()
        result = twin.infer(frame, bundle)
        if not all(np.isfinite(x).all() for x in (result.confidence, result.embedding)):
            raise EngineError("its confidence or embedding is not finite")
        self._seen.append(compare(served, result.labels, bundle.classes))
        took = time.monotonic() - started
        self._computing += took
        self._stop.wait(took * (1 - self._config.duty) / self._config.duty)

    def _report(self, started: float, failures: list[str]) -> Report:
        seen, config = self._seen, self._config
        nothing = np.zeros((2, GRID, GRID), np.int64), np.zeros((3, len(self._names)), np.int64)
        tally = sum(seen, Tally(*nothing))
        share = tally.regions[0] / np.maximum(tally.regions[1], 1)
        whole = round(float(tally.regions[0].sum() / max(1, tally.regions[1].sum())), 4)
        jump, which = share_jump(tally)
        jump = round(jump, 4)
        untried = not failures and len(seen) < min(config.min_frames, config.frames)
        wrong = failures or _reasons(config, len(seen), untried, whole, jump, self._names[which])
        return Report(
            len(seen), config.frames, round(time.monotonic() - started, 2),
            round(1000 * self._computing, 1), whole, np.round(share, 4).tolist(),
            class_disagreement(tally, self._names), jump, self._names[which],
            tuple(wrong), untried,
        )  # fmt: skip


def _reasons(
    config: ShadowConfig, seen: int, untried: bool, disagreement: float, jump: float, name: str
) -> list[str]:
    if untried:
        return [
            f"its shadow window saw {seen} frames, {min(config.min_frames, config.frames)} are "
            "needed; raise shadow.max_ms, shadow.duty or shadow.deadline_s"
        ]
    wrong = []
    if disagreement > config.max_disagreement:
        wrong.append(f"disagrees with what serves on {disagreement:.1%} of {seen} live frames' "
                     f"pixels, {config.max_disagreement:.1%} are allowed")  # fmt: skip
    if jump > config.max_share_jump:
        wrong.append(f"the share of {name} would jump by {jump:.1%}, "
                     f"{config.max_share_jump:.1%} are allowed")  # fmt: skip
    return wrong
