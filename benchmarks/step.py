"""`make bench-step`: what a step of VocAlign costs, ours against the released one.

CAT-Seg v1 as VocAlign adapts it (ViT-B/16, ResNet-101), random weights: neither time nor memory
depends on them. The 19 classes and 39 concepts of Cityscapes, crops of 384. Every row is a process
of its own, the released ones a plain transcription (benchmarks/released.py). Writes step.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acclimate.adapt.batch import Batch
from acclimate.adapt.compute import compute_for, placed
from acclimate.adapt.learner import Learner
from acclimate.adapt.lora import adapter_for
from acclimate.adapt.views import student_view
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig, preset
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.model.checkpoint import to_official
from acclimate.model.config import V1_R101_VITB, CATSegConfig
from acclimate.model.load import BaseModel, build
from acclimate.model.templates import IMAGENET_SELECT_CLIP
from acclimate.model.text import token_ids
from benchmarks.machine import machine, results_folder
from benchmarks.memory import memory_mib
from benchmarks.released import ReleasedStep, lora_of

MIB = 2**20
WAYS: dict[str, dict[str, Any] | None] = {
    "released": None,
    "ours": {},
    "ours, checkpointing": {"checkpointing": True},
    "ours, checkpointing, bf16": {"checkpointing": True, "precision": "bf16"},
    "ours, bf16": {"precision": "bf16"},
}
BASELINE, CHOSEN = "released", "ours, checkpointing"
Step = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One way of taking steps: `top_k` classes kept of 19, `batch` crops of `side` pixels."""

    way: str
    top_k: int
    batch: int
    device: str
    threads: int
    rounds: int
    seed: int
    side: int = 384


def settings_of(row: Row) -> AdaptConfig:
    """The released settings, as far as a row changes nothing."""
    chosen: Any = row.device
    keys = {"top_k": row.top_k, "batch": row.batch, "warmup_steps": 0, "device": chosen}
    return preset("released", **keys, **(WAYS[row.way] or {}))


def ours(row: Row, config: CATSegConfig) -> Step:
    """A step of the strategy `vocalign`; it stays on the row's device."""
    settings, device = settings_of(row), torch.device(row.device)
    base = _base(config)
    model = adapter_for(base.network, settings)
    words = Words(base, load_vocabulary("cityscapes"))
    placed(model, words, device).__enter__()
    learner = Learner(compute_for(settings), model, words, settings, row.seed)
    images = _images(row).to(device)
    valid = torch.ones(row.batch, row.side, row.side, dtype=torch.bool, device=device)
    return lambda: learner.step(Batch(images, valid))


def released(row: Row, config: CATSegConfig) -> Step:
    """The transcription; its jitter and masks are ours, which cost the same."""
    settings, device = settings_of(row), torch.device(row.device)
    words = load_vocabulary("cityscapes")
    names = [c.text for c in words.classes]
    base = _base(config)
    ids = [
        token_ids(base.network, [t.format(s) for s in strings for t in base.templates]).view(
            len(strings), len(base.templates), -1
        )
        for strings in (list(words.strings), names)
    ]
    state = to_official(base.network) | lora_of(config, settings.blocks, settings.rank)
    owner = torch.from_numpy(words.string_to_class()).argmax(1)
    moved = {name: value.to(device) for name, value in state.items()}
    step = ReleasedStep(
        config, moved, ids[0].to(device), ids[1].to(device), owner.to(device), top_k=row.top_k
    )
    images, generator = _images(row).to(device), torch.Generator().manual_seed(row.seed)
    return lambda: step(images, student_view(images, settings, generator))


def _base(config: CATSegConfig) -> BaseModel:
    torch.manual_seed(0)
    network = build(config).eval().requires_grad_(False)
    return BaseModel(network, IMAGENET_SELECT_CLIP, None, "random")


def _images(row: Row) -> Tensor:
    generator = torch.Generator().manual_seed(row.seed)
    return torch.rand(row.batch, 3, row.side, row.side, generator=generator) * 255


def measure(row: Row, config: CATSegConfig = V1_R101_VITB) -> dict[str, Any]:
    """Milliseconds of each step after the first, by the clock and of the processor's time (which
    other work on the machine lengthens less), and MiB at most: of the whole process, and above
    what it held before there was a network."""
    torch.set_num_threads(row.threads)
    before = memory_mib("VmRSS")
    step = (released if row.way == BASELINE else ours)(row, config)
    _forget_peak(row)
    samples, busy = [], []
    for number in range(row.rounds + 1):
        started, begun = time.perf_counter(), time.process_time()
        step()
        if row.device == "cuda":
            torch.cuda.synchronize()
        if number:
            samples.append(round(1000 * (time.perf_counter() - started), 1))
            busy.append(round(1000 * (time.process_time() - begun), 1))
    peak = torch.cuda.max_memory_allocated() / MIB if row.device == "cuda" else memory_mib("VmHWM")
    above = peak if row.device == "cuda" else peak - before
    return {
        "median_ms": statistics.median(samples), "median_cpu_ms": statistics.median(busy),
        "peak_mib": round(peak, 1), "above_libraries_mib": round(above, 1),
        "samples_ms": samples, "samples_cpu_ms": busy,
    }  # fmt: skip


def ways_of(device: str) -> list[str]:
    """Without bf16 on a processor that emulates it, where a step takes minutes."""
    auto = compute_for(AdaptConfig(device="cpu", precision="auto")).dtype
    return [x for x in WAYS if "bf16" not in x or device == "cuda" or auto == torch.bfloat16]


def _forget_peak(row: Row) -> None:
    """What building took is no part of a step's peak (5: see proc(5), clear_refs)."""
    if row.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def in_a_process(row: Row) -> dict[str, Any]:
    """`measure` in a process of its own, which may take what memory is free and no more."""
    words = [sys.executable, "-m", "benchmarks.step", "--row", json.dumps(asdict(row))]
    free = _free_mib()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return asdict(row) | dict(json.loads(done.stdout.splitlines()[-1]))
    trouble = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return asdict(row) | {"failed": trouble[:200], "free_mib": round(free)}


def _free_mib() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(x.split()[1]) / 1024 for x in lines if x.startswith("MemAvailable"))


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row of ours over the released row of the same task; None where that did not fit."""
    found = []
    for row in rows:
        same = {k: row[k] for k in ("top_k", "batch", "device")}
        base = next(
            (r for r in rows if r["way"] == BASELINE and same.items() <= r.items()), {}
        )  # fmt: skip
        if row["way"] != BASELINE and "median_ms" in row:
            shares = {
                f"{key}_share": round(row[key] / base[key], 3) if key in base else None
                for key in ("median_ms", "median_cpu_ms", "peak_mib", "above_libraries_mib")
            }
            found.append({"way": row["way"], **same, **shares})
    return found


def main() -> None:
    """Every row, one after the other; the tasks are gone through way by way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: in benchmarks/results")
    parser.add_argument("--quick", action="store_true", help="K 19, one crop, two steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--row", metavar="JSON", help="measure this alone, print it, leave")
    options = parser.parse_args()
    if options.row:
        room = int(_free_mib() - 500) * MIB
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))
        print(json.dumps(measure(Row(**json.loads(options.row)))))
        return
    tasks = [(19, 1)] if options.quick else [(15, 1), (15, 2), (19, 1), (19, 2)]
    rounds = 2 if options.quick else options.rounds
    rows = []
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        for top_k, batch in tasks:
            for way in ways_of(device):
                row = Row(way, top_k, batch, device, options.threads, rounds, options.seed)
                rows.append(in_a_process(row))
                print({k: v for k, v in rows[-1].items() if "samples" not in k}, flush=True)
    found = {"machine": machine(), "rows": rows, "summary": summary(rows)}
    file = options.json or results_folder() / f"step{'_quick' * options.quick}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n")
    for line in found["summary"]:
        print(line)


if __name__ == "__main__":
    main()
