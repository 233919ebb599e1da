"""The real serving process, watched: how old is a picture when its labels are there?

    python -m benchmarks.load_serving STATE CAMERAS FPS SECONDS

Everything that a `Runtime` does with its default settings, and one thing more: an output that reads
each picture's number. The first WARM_S seconds count for nothing. Says one JSON line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.configs.schema import Config
from acclimate.configs.source import SourceConfig
from acclimate.configs.vocabulary import Vocabulary
from acclimate.runtime.main import Runtime
from acclimate.runtime.outputs import Outputs
from acclimate.runtime.source import Captured
from benchmarks.latency import quantiles
from benchmarks.load_cameras import Street, street

WARM_S = 3.0


class Ages(Outputs):
    """Of every labelled picture: its camera, when, how many ms after it was shown."""

    def __init__(self, config: Config, words: Vocabulary, watched: Street) -> None:
        super().__init__(config.outputs, words)
        self._street = watched
        self.seen: list[tuple[int, float, float]] = []

    def offer(self, camera: str, frame: Captured, labels: NDArray[np.uint8], adapter: str) -> None:
        """Noted, then as usual."""
        now, number = time.monotonic(), int(camera[1:])
        self.seen.append((number, now, 1000 * self._street.age(frame.image, number, now)))
        super().offer(camera, frame, labels, adapter)


def serve(state: Path, cameras: int, fps: float, seconds: float) -> dict[str, Any]:
    """What one serving process makes of so many cameras."""
    with street(cameras, fps) as watched:
        sources = {f"c{n}": SourceConfig(url=watched.url(n)) for n in range(cameras)}
        config = Config(cameras=sources)
        runtime = Runtime(config, state, None, "base", lambda _: None)
        ages = Ages(config, runtime.outputs.words, watched)
        runtime.outputs = ages
        began = time.monotonic()
        runtime.run(began + WARM_S + seconds)
        story = runtime.cameras.story()
    return summary(cameras, fps, seconds, [s for s in ages.seen if s[1] > began + WARM_S], story)


def summary(
    cameras: int, fps: float, seconds: float, seen: list[tuple[int, float, float]],
    story: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """`lag_ms`: how much older pictures are in the last third of the time than in the first.
    `fair`: the frames of the camera that got least, as a share of those that got most."""
    served = [sum(1 for number, *_ in seen if number == n) for n in range(cameras)]
    first, last = seen[: len(seen) // 3], seen[-len(seen) // 3 :]
    older = np.median([age for *_, age in last]) - np.median([age for *_, age in first])
    return {
        "cameras": cameras, "fps": fps, "offered_fps": cameras * fps,
        "served_fps": round(len(seen) / seconds, 2),
        "served": served, "fair": round(min(served) / max(served), 3),
        "age_ms": quantiles([age for *_, age in seen]), "lag_ms": round(float(older), 2),
        "balanced": all(book["balanced"] for book in story.values()),
        "dropped": {name: book["dropped"] for name, book in story.items()},
        "samples_age_ms": [round(age, 1) for *_, age in seen],
    }  # fmt: skip


def served(state: Path, cameras: int, fps: float, seconds: float) -> dict[str, Any]:
    """`serve` in a process of its own."""
    words = [str(state), str(cameras), str(fps), str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load_serving", *words],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    print(json.dumps(serve(Path(place), int(numbers[0]), float(numbers[1]), float(numbers[2]))))
