"""Milliseconds of every row of `benchmarks.rows`, in turn, with what they are measured against."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peak import Peaks, matmul_peaks
from benchmarks.rows import ON_PROCESSOR, ROWS, TORCH

PLAIN = "plain_eager"


class Row:
    """A row's process. Where it cannot be opened `unavailable` says why."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        self.name, self._labels = name, folder / f"{name}.npy"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.rows", name, str(folder), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.opened = self._answer()
        self.unavailable: str | None = self.opened.get("unavailable")
        self.samples: list[float] = []

    def run(self, number: int) -> NDArray[np.uint8]:
        """Have it look at a frame -> its label map (H,W)."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        self.samples.append(self._answer()["ms"])
        labels: NDArray[np.uint8] = np.load(self._labels, allow_pickle=False)
        return labels

    def close(self) -> dict[str, Any]:
        """End it; what memory it took."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        last = {} if self.unavailable else self._answer()
        self._process.wait()
        return last

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"row {self.name} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def latency(shape: str, classes: int, rounds: int, threads: int) -> dict[str, Any]:
    """One shape ("vitb", "vitl") and number of classes: uint8 frame to label map in every row."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        words = [sys.executable, "-m", "benchmarks.exports", shape, str(classes), scratch]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        gflop = json.loads((folder / "setting.json").read_text())["gflop"]
        rows = [Row(name, folder, threads) for name in ROWS]
        peaks, agree = _take_turns([row for row in rows if not row.unavailable], rounds, threads)
        best = {device: max(peak[device] for peak in peaks) for device in peaks[0]}
        table = {row.name: _summary(row, gflop, best, agree) for row in rows}
    return {"shape": shape, "classes": classes, "matmul_gflops": best,
            "matmul_samples_gflops": peaks, "rows": table}  # fmt: skip


def _take_turns(
    rows: list[Row], rounds: int, threads: int
) -> tuple[list[Peaks], dict[str, list[float]]]:
    """-> matrix products' GFLOP/s after each round; each row's agreement with the plain one."""
    peaks: list[Peaks] = []
    agree: dict[str, list[float]] = {row.name: [] for row in rows}
    for number in range(1, rounds + 1):
        found = {row.name: row.run(number) for row in rows}
        for name, labels in found.items():
            agree[name].append(float((labels == found[PLAIN]).mean()))
        peaks.append(matmul_peaks(threads))
    return peaks, agree


def _summary(
    row: Row, gflop: dict[str, float], best: Peaks, agree: dict[str, list[float]]
) -> dict[str, Any]:
    """`gflop` are the operations of the row's own order; its share is of its device's peak."""
    memory = row.close()
    if row.unavailable:
        return {"unavailable": row.unavailable}
    work = gflop["official" if row.name in TORCH[:2] else "ours"]
    device = "cuda" if "cuda" in best and row.name not in ON_PROCESSOR else "cpu"
    ms = quantiles(row.samples)
    return row.opened | memory | {
        "device": device, "ms": ms, "frames_per_s": 1000 / float(np.mean(row.samples)),
        "gflop": work, "share_of_matmul_peak": work / ms["p50"] * 1000 / best[device],
        "label_agreement": float(np.mean(agree[row.name])), "samples_ms": row.samples,
    }  # fmt: skip


def quantiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and the longest."""
    p50, p99, top = (float(np.percentile(values, q)) for q in (50, 99, 100))
    return {"p50": round(p50, 3), "p99": round(p99, 3), "max": round(top, 3), "n": len(values)}
