"""`make bench-load`: more cameras than the engine can serve, and a round beside one.

1. One, four and eight cameras at half, once, twice and four times what the engine can do; every
   picture carries its number, so that its age when its labels are there is the camera's own clock's
   and not that of whoever captured it. Degrading well is: nobody lags (`lag_ms` near 0: pictures
   get no older the longer it lasts), every camera loses its share (`fair` near 1), books balance.
2. What frames take beside adaptation rounds, against alone, in turn; see `load_adapting`.

Writes load.json and load.png.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from acclimate import __version__
from acclimate.configs.schema import Config
from acclimate.daemon.main import prepare
from benchmarks.load_adapting import adapting
from benchmarks.load_plot import plot
from benchmarks.load_serving import served
from benchmarks.machine import machine, results_folder

CAMERAS, LOADS = (1, 4, 8), (0.5, 1.0, 2.0, 4.0)
FAR = 2.0  # times of a guess: surely more than the engine can do, and little to decode
GUESS_FPS = 30.0
SHARE = 0.3  # of its capacity that serving needs while rounds run beside it


def saturate(seconds: float, passes: int) -> dict[str, Any]:
    """Every number of cameras under every load, `passes` times in turn."""
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch) / "state"
        prepare(Config(), state)
        capacity = served(state, 1, FAR * GUESS_FPS, seconds)["served_fps"]
        rows = [
            {"load": load, **served(state, count, load * capacity / count, seconds)}
            for _ in range(passes) for load in LOADS for count in CAMERAS
        ]  # fmt: skip
    return {"capacity_fps": capacity, "seconds": seconds, "rows": rows}


def table(found: dict[str, Any]) -> str:
    """For the terminal."""
    lines = ["cameras  load  offered  served  fairness  age p50    p99    lag  books"]
    for row in found["cameras"]["rows"]:
        books = "balance" if row["balanced"] else "DO NOT BALANCE"
        lines.append(
            f"{row['cameras']:7d} {row['load']:5.1f} {row['offered_fps']:8.1f} "
            f"{row['served_fps']:7.1f} {row['fair']:9.2f} {row['age_ms']['p50']:8.0f} "
            f"{row['age_ms']['p99']:6.0f} {row['lag_ms']:6.1f}  {books}"
        )
    for name in ("without", "governor"):
        part = found["adapting"][name]
        lines.append(
            f"{name}: p99 alone {part['alone']['p99']:.0f} ms, beside rounds "
            f"{part['adapting']['p99']:.0f} ms: {part['p99_ratio']:.2f} times; "
            f"p50 {part['p50_ratio']:.2f} times; held {part['held']} times"
        )
    return "\n".join(lines)


def main() -> None:
    """Run it, write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results_folder())
    parser.add_argument("--quick", action="store_true", help="a few minutes; load_quick.json")
    parser.add_argument("--threads", type=int, default=1, help="of serving, beside rounds")
    options = parser.parse_args()
    seconds, passes, rounds = (4.0, 1, 1) if options.quick else (8.0, 2, 4)
    cameras = saturate(seconds, passes)
    beside = adapting(rounds, round(SHARE * cameras["capacity_fps"], 1), options.threads)
    results = {"machine": machine(), "version": __version__, "cameras": cameras,
               "adapting": beside}  # fmt: skip
    name = "load_quick" if options.quick else "load"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    plot(results, options.out / f"{name}.png")
    print(table(results))


if __name__ == "__main__":
    main()
