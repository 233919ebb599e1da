"""`benchmarks/serve.py [--quick] [--json FILE]`: what a frame costs, and what a swap costs.

Rows (`benchmarks.rows`): the official order of operations in eager torch, the same compiled, our
network in eager torch, ONNX Runtime with the adapter's weights as constants, and every engine with
them as inputs, which is how we serve. ViT-B/16 and ViT-L/14 with random weights, which time does
not depend on, 384x384, in turn, each in a process of its own; beside them the fastest matrix
product of this machine. Swaps: `benchmarks.swap`. Writes FILE and a plot beside it;
--quick: ViT-B, 19 classes, fewer frames and swaps, under five minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.latency import PLAIN, latency
from benchmarks.machine import machine, results_folder
from benchmarks.rows import CONSTANTS, SERVED
from benchmarks.serve_plot import draw
from benchmarks.swap import swaps

QUICK = {"plan": [("vitb", 19, 7)], "swaps": 150}
FULL = {
    "plan": [("vitb", 19, 15), ("vitb", 150, 7), ("vitl", 19, 5), ("vitl", 150, 3)],
    "swaps": 1000,
}


def summary(rows: dict[str, Any], swap: dict[str, Any]) -> dict[str, float]:
    """What the targets speak of; `rows` are those of ViT-B with 19 classes."""
    ms = {name: rows[name]["ms"]["p50"] for name in (PLAIN, CONSTANTS, SERVED)}
    return {
        "speedup_over_plain_eager": ms[PLAIN] / ms[SERVED],
        "adapter_inputs_over_constants": ms[SERVED] / ms[CONSTANTS],
        "share_of_matmul_peak": rows[SERVED]["share_of_matmul_peak"],
        "swap_p99_gap_ratio": swap["p99_gap_ratio"],
    }


def main() -> None:
    """Everything, or the quick part of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: in benchmarks/results")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    file: Path = options.json or results_folder() / "serve.json"
    settings: dict[str, Any] = QUICK if options.quick else FULL
    where, found = machine(), []
    for shape, classes, rounds in settings["plan"]:
        found.append(latency(shape, classes, rounds, options.threads))
        print(json.dumps({k: _short(row) for k, row in found[-1]["rows"].items()}), flush=True)
    swap = swaps(settings["swaps"], 1)
    short = summary(found[0]["rows"], swap)
    print(json.dumps(short, indent=1), flush=True)
    settings |= {"threads": options.threads, "frame": "384x384", "precision": "float32"}
    results = {"machine": where, "settings": settings, "summary": short,
               "latency": found, "swap": swap}  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")
    draw(results, file.with_suffix(".png"))


def _short(row: dict[str, Any]) -> Any:
    return row.get("unavailable") or row["ms"]["p50"]


if __name__ == "__main__":
    main()
