"""`benchmarks/serve.py --quick --json FILE`: what a frame costs, and what a swap costs.

ViT-B/16 at 384x384 with random weights (neither depends on them), 19 classes, on the processor:
the official order of operations in eager torch, our network in eager torch, ONNX Runtime with the
adapter's weights as constants, and as inputs (how we serve). All in turn, in one run, uint8 frame
to label map. Swaps are measured on the embedded default through the runtime's own swapper, blocks
of frames with and without swaps in turn. Without --quick also 150 classes and 1,000 swaps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from acclimate.configs.schema import Config
from acclimate.daemon.main import prepare
from acclimate.export.graph import ServingGraph
from acclimate.export.onnx import export_engine
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import to_official
from acclimate.model.colour import UNCHANGED
from acclimate.model.config import VITB_384
from acclimate.model.inference import label_map
from acclimate.model.load import BaseModel
from acclimate.model.projections import merged_projections
from acclimate.model.templates import SINGLE
from acclimate.runtime.bundle import Arrays, Bundle, load_bundle, write_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.runtime.swap import Ready, Swapper
from benchmarks.machine import machine
from benchmarks.official import Official

SIZE, BLOCKS = (384, 384), 4
Frame = NDArray[np.uint8]
Way = Callable[[Frame], NDArray[Any]]


class Constants(torch.nn.Module):
    """The served graph with everything but the frame baked in."""

    def __init__(self, graph: ServingGraph, inputs: list[Tensor]) -> None:
        super().__init__()
        self.served, self.count = graph, len(inputs)
        for number, value in enumerate(inputs):
            self.register_buffer(f"input{number}", value)

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """frame (1,H,W,3) uint8 -> what the served graph gives."""
        inputs = [self.get_buffer(f"input{number}") for number in range(self.count)]
        return tuple(self.served(frame, *inputs))


def ways(network: CATSeg, classes: int, folder: Path, threads: int) -> dict[str, Way]:
    """Each row: uint8 frame (384,384,3) -> label map (384,384)."""
    generator = torch.Generator().manual_seed(1)
    text = torch.nn.functional.normalize(torch.randn(classes, 1, 512, generator=generator), dim=-1)
    owner, official = torch.eye(classes), Official(VITB_384, to_official(network))
    weights = merged_projections(network, BLOCKS)
    inputs = [text, owner, torch.from_numpy(UNCHANGED), *weights.values()]
    base = BaseModel(network, SINGLE, None, "random")
    probe = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    export_engine(base, folder, SIZE, text, owner, BLOCKS, [probe])
    engine = open_engine(folder, threads, "onnxruntime-cpu")
    names = ["text", "string_to_class", "colour", *weights]
    arrays: Arrays = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    bundle = Bundle("random", {}, arrays, np.empty(0, np.uint8), np.empty(0, np.uint8))
    fixed = constant_session(ServingGraph(network, BLOCKS).eval(), inputs, folder, threads)

    def image(frame: Frame) -> Tensor:
        return torch.from_numpy(frame).permute(2, 0, 1)[None].float()

    return {
        "plain_eager": lambda f: official.whole(image(f), text, SIZE).argmax(0).numpy(),
        "eager": lambda f: label_map(network, image(f), text, SIZE)[0].numpy(),
        "onnxruntime_constants": lambda f: np.asarray(fixed.run(["labels"], {"frame": f[None]})[0])[
            0
        ],
        "onnxruntime_inputs": lambda f: engine.infer(f, bundle).labels,
    }


def constant_session(
    graph: ServingGraph, inputs: list[Tensor], folder: Path, threads: int
) -> ort.InferenceSession:
    """The graph that a rebuild for every adapter would give."""
    path = folder / "constants.onnx"
    frame = torch.zeros(1, *SIZE, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        Constants(graph, inputs).eval(), (frame,), dynamo=True, verbose=False,
        input_names=["frame"],
        output_names=["labels", "confidence", "histogram", "embedding", "probability"],
    )  # fmt: skip
    assert program is not None
    program.save(str(path))
    return session_of(str(path), threads)


def matmul_peak(threads: int, size: int = 2048, rounds: int = 3) -> float:
    """GFLOP/s of a float32 matrix product here: the best of torch, NumPy and ONNX Runtime."""
    a, b = (np.random.default_rng(i).random((size, size), np.float32) for i in (0, 1))
    x, y, session = torch.from_numpy(a), torch.from_numpy(b), product_session(size, threads)
    products: list[Callable[[], object]] = [
        lambda: torch.mm(x, y), lambda: a @ b, lambda: session.run(None, {"a": a, "b": b}),
    ]  # fmt: skip
    best = min(timed(product) for product in products for _ in range(rounds))
    return 2 * size**3 / best / 1e9


def product_session(size: int, threads: int) -> ort.InferenceSession:
    """One MatMul and nothing else."""
    kind, shape = onnx.TensorProto.FLOAT, (size, size)
    a, b, c = (onnx.helper.make_tensor_value_info(n, kind, shape) for n in "abc")
    node = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph([node], "product", [a, b], [c])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    return session_of(model.SerializeToString(), threads)


def session_of(model: bytes | str, threads: int) -> ort.InferenceSession:
    """On the processor, quietly."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def timed(run: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


@torch.inference_mode()
def latency(classes: int, rounds: int, threads: int) -> dict[str, Any]:
    """Milliseconds of every row, in turn, and how its labels agree with the official order."""
    torch.manual_seed(0)
    network = CATSeg(VITB_384).eval().requires_grad_(False)
    frames = np.random.default_rng(2).integers(0, 256, (rounds + 1, *SIZE, 3), np.uint8)
    with torch.inference_mode(False), tempfile.TemporaryDirectory() as scratch:
        rows = ways(network, classes, Path(scratch), threads)
    samples: dict[str, list[float]] = {name: [] for name in rows}
    peaks, agree = [], dict.fromkeys(rows, 0.0)
    for number, frame in enumerate(frames):
        found = {}
        for name, way in rows.items():
            started = time.perf_counter()
            found[name] = way(frame)
            if number:
                samples[name].append(round(1000 * (time.perf_counter() - started), 2))
        peaks.append(matmul_peak(threads))
        for name, labels in found.items():
            agree[name] += float((labels == found["plain_eager"]).mean()) / len(frames)
    with FlopCounterMode(display=False) as counter:
        rows["eager"](frames[0])
    gflop = counter.get_total_flops() / 1e9
    medians = {name: statistics.median(values) for name, values in samples.items()}
    peak = max(peaks)
    return {
        "classes": classes, "median_ms": medians, "label_agreement": agree, "gflop": gflop,
        "matmul_gflops": peak, "samples_ms": samples,
        "share_of_matmul_peak": {n: gflop / ms * 1000 / peak for n, ms in medians.items()},
    }  # fmt: skip


def swaps(count: int, block: int, threads: int) -> dict[str, Any]:
    """Gaps between frames of the default engine, in blocks with and without swaps in turn.

    A swap is the whole of it: another bundle is loaded, verified and probed aside, then taken up
    between two frames. A -> B -> A must give the label maps of A, and no frame is skipped.
    """
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch)
        prepare(Config(), state)
        engine = open_engine(state / "engine", threads, "onnxruntime-cpu")
        base = load_bundle(state / "adapters" / "base", engine.info)
        swapping = Swapping(state, engine, [base, shifted(state, engine, base)])
        gaps: dict[str, list[float]] = {"without": [], "with": []}
        while len(swapping.staging) < count:
            for kind, samples in gaps.items():
                samples += swapping.drive(block, kind == "with")
    return {
        "swaps": len(swapping.staging), "threads": threads,
        "frames_with_other_labels": swapping.wrong,
        "gap_ms": {kind: quantiles(values) for kind, values in gaps.items()},
        "staging_ms": quantiles(swapping.staging), "samples_ms": gaps,
    }  # fmt: skip


class Swapping:
    """Frames in a row on one engine; `wrong` counts those whose labels were not the bundle's."""

    def __init__(self, state: Path, engine: Engine, bundles: list[Bundle]) -> None:
        self.state, self.engine, self.serving = state, engine, bundles[0]
        self.swapper, self.pending, self.wrong = Swapper(engine), False, 0
        self.frames, self.staging = bundles[0].probe_frames, list[float]()
        self.expected = {b.id: [engine.infer(f, b).labels for f in self.frames] for b in bundles}

    def drive(self, frames: int, swap: bool) -> list[float]:
        """Milliseconds between the label maps of consecutive frames."""
        gaps, last = [], time.perf_counter()
        for number in range(frames):
            self._take()
            if swap and not self.pending:
                other = next(name for name in self.expected if name != self.serving.id)
                self.swapper.request(other, self.state / "adapters" / other)
                self.pending = True
            index = number % len(self.frames)
            labels = self.engine.infer(self.frames[index], self.serving).labels
            now = time.perf_counter()
            gaps.append(round(1000 * (now - last), 3))
            self.wrong += not np.array_equal(labels, self.expected[self.serving.id][index])
            last = time.perf_counter()
        while self.pending:
            self._take()
            time.sleep(0.002)
        return gaps

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


def quantiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and the longest."""
    p50, p99, top = (float(np.percentile(values, q)) for q in (50, 99, 100))
    return {"p50": round(p50, 3), "p99": round(p99, 3), "max": round(top, 3), "n": len(values)}


def main() -> None:
    """Everything, or the quick part of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="19 classes, fewer rounds and swaps")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    plan = [(19, 7)] if options.quick else [(19, 15), (150, 7)]
    rows = [latency(classes, rounds, options.threads) for classes, rounds in plan]
    change = swaps(60 if options.quick else 1000, 60, 1)
    first, ms = rows[0], rows[0]["median_ms"]
    served = "onnxruntime_inputs"
    summary = {
        "speedup_over_plain_eager": ms["plain_eager"] / ms[served],
        "adapter_inputs_over_constants": ms[served] / ms["onnxruntime_constants"],
        "share_of_matmul_peak": first["share_of_matmul_peak"][served],
        "swap_p99_gap_ratio": change["gap_ms"]["with"]["p99"] / change["gap_ms"]["without"]["p99"],
    }
    print(json.dumps(summary, indent=1), flush=True)
    found = {"machine": machine(), "settings": {"threads": options.threads, "quick": options.quick},
             "summary": summary, "latency": rows, "swap": change}  # fmt: skip
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
