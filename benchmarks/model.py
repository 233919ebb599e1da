"""`make bench-model`: our CAT-Seg ViT-B/16 against the official order of operations.

Random weights: neither time nor memory depends on them. Both forwards are measured in turn in one
run, one 384x384 view each; memory is the peak of a process of its own. Writes model.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import to_official
from acclimate.model.config import VITB_384
from benchmarks.machine import machine, results_folder
from benchmarks.memory import memory_mib
from benchmarks.official import Official

Forward = Callable[[Tensor, Tensor], Tensor]
METHODS = ("ours", "official")


def forwards(device: str, dtype: torch.dtype) -> dict[str, Forward]:
    """Both ways from an image (1,3,384,384) and text (T,1,C) to logits, on the same weights."""
    torch.manual_seed(0)
    network = CATSeg(VITB_384).eval().requires_grad_(False).to(device, dtype)
    official = Official(VITB_384, to_official(network))
    return {
        "ours": network,
        "official": lambda image, text: official.logits(network.preprocess(image), text),
    }


def inputs(classes: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A noisy image and random text features."""
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 384, 384, generator=generator) * 255
    text = torch.nn.functional.normalize(torch.randn(classes, 1, 512, generator=generator), dim=-1)
    return image.to(device, dtype), text.to(device, dtype)


@torch.inference_mode()
def compare(classes: int, rounds: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Milliseconds of both, in turn, and how far their logits lie apart."""
    ways, (image, text) = forwards(device, dtype), inputs(classes, device, dtype)
    samples: dict[str, list[float]] = {name: [] for name in METHODS}
    logits: dict[str, Tensor] = {}
    for number in range(rounds + 1):
        for name in METHODS:
            started = time.perf_counter()
            logits[name] = ways[name](image, text)
            if device == "cuda":
                torch.cuda.synchronize()
            if number:
                samples[name].append(round(1000 * (time.perf_counter() - started), 2))
    apart = (logits["ours"].float() - logits["official"].float()).abs().max().item()
    same = (logits["ours"].argmax(1) == logits["official"].argmax(1)).float().mean().item()
    medians = {name: statistics.median(values) for name, values in samples.items()}
    return {
        "classes": classes, "dtype": str(dtype).removeprefix("torch."), "device": device,
        "median_ms": medians, "official_over_ours": medians["official"] / medians["ours"],
        "max_abs_logits": apart, "label_agreement": same, "samples_ms": samples,
    }  # fmt: skip


@torch.inference_mode()
def peak(method: str, classes: int) -> float:
    """MiB that one forward adds to this process's peak."""
    way, given = forwards("cpu", torch.float32)[method], inputs(classes, "cpu", torch.float32)
    before = memory_mib("VmHWM")
    way(*given)
    return memory_mib("VmHWM") - before


def peaks(classes: list[int]) -> list[dict[str, Any]]:
    """`peak` of both methods, each in a process of its own."""
    rows = []
    for count in classes:
        row: dict[str, Any] = {"classes": count}
        for method in METHODS:
            words = [sys.executable, "-m", "benchmarks.model", "--peak", method, str(count)]
            row[f"{method}_mib"] = round(float(subprocess.check_output(words)), 1)
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    """Time and memory on the processor; with a CUDA device, time in three precisions there too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=results_folder())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", nargs=2, metavar=("METHOD", "CLASSES"), help="print MiB, leave")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print(peak(options.peak[0], int(options.peak[1])))
        return
    places = [("cpu", torch.float32)]
    if torch.cuda.is_available():
        places += [("cuda", t) for t in (torch.float32, torch.float16, torch.bfloat16)]
    speed = []
    for device, dtype in places:
        for classes in (19, 150):
            speed.append(compare(classes, options.rounds, device, dtype))
            print({k: v for k, v in speed[-1].items() if k != "samples_ms"}, flush=True)
    settings = {"rounds": options.rounds, "threads": options.threads, "view": [384, 384]}
    found = {"machine": machine(), "settings": settings, "forward": speed,
             "peak_memory": peaks([19, 150, 847])}  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "model.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
