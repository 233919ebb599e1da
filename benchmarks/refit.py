"""`benchmarks/refit.py --json FILE`: adapted weights as inputs of an engine, or refitted into one?

On a machine with a GPU: the served ViT-B/16 graph at 384x384 with random weights, 19 classes, built
twice by the same settings, once as it is served (projections are inputs) and once with them as
constants and the REFIT flag. Milliseconds of a frame in turn, milliseconds to change the weights
(staging a bundle; refitting a shadow engine), and whether A -> B -> A gives what A gave. Without a
GPU it says so and ends with 0.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from acclimate.errors import EngineError
from acclimate.export.onnx import export_engine
from acclimate.model.catseg import CATSeg
from acclimate.model.colour import UNCHANGED
from acclimate.model.config import VITB_384
from acclimate.model.load import BaseModel
from acclimate.model.projections import merged_projections
from acclimate.model.templates import SINGLE
from acclimate.runtime.bundle import Arrays, Bundle
from acclimate.runtime.device import Cuda
from acclimate.runtime.engine import Engine, EngineInfo
from acclimate.runtime.found import Found, find
from acclimate.runtime.plan import Plan, load_module
from acclimate.runtime.tensorrt_backend import TensorRT
from benchmarks.machine import machine

SIZE, BLOCKS, CLASSES, CAPACITY = (384, 384), 4, 19, 64
WORDS = ("text", "string_to_class", "colour")
WORTH = 1.05  # refit must win by more than this for each frame to be worth its risks
Frame = NDArray[np.uint8]


def exported(folder: Path) -> Bundle:
    """The graph in `folder`, and the bundle of its own weights."""
    torch.manual_seed(0)
    network = CATSeg(VITB_384).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    text = torch.nn.functional.normalize(torch.randn(CLASSES, 1, 512, generator=generator), dim=-1)
    owner, weights = torch.eye(CLASSES), merged_projections(network, BLOCKS)
    probe = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    base = BaseModel(network, SINGLE, None, "random")
    export_engine(base, folder, SIZE, text, owner, BLOCKS, [probe])
    words = {"text": text.numpy(), "string_to_class": owner.numpy(), "colour": UNCHANGED}
    inputs: Arrays = words | {name: value.numpy() for name, value in weights.items()}
    return Bundle("a", {}, inputs, np.empty(0, np.uint8), np.empty(0, np.uint8))


def other(bundle: Bundle) -> Bundle:
    """The bundle with its projections moved a little."""
    rng = np.random.default_rng(3)
    moved = {
        name: value * (1 + 0.05 * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in bundle.inputs.items()
        if name not in WORDS
    }
    return replace(bundle, id="b", inputs=bundle.inputs | moved)


def with_constants(model: onnx.ModelProto, weights: Arrays) -> onnx.ModelProto:
    """The same graph with these inputs as initializers of the same names."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    kept = [port for port in fixed.graph.input if port.name not in weights]
    del fixed.graph.input[:]
    fixed.graph.input.extend(kept)
    made = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    fixed.graph.initializer.extend(made)
    return fixed


def build(trt: Any, model: onnx.ModelProto, refit: Arrays, path: Path) -> float:
    """A plan of the graph, its weights in `refit` refittable one by one; seconds it took."""
    started = time.monotonic()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    strong = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strong is None else 1 << int(strong))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.SerializeToString()):
        raise EngineError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("text", (2, 1, 512), (CLASSES, 1, 512), (CAPACITY, 1, 512))
    profile.set_shape("string_to_class", (2, 2), (CLASSES, CLASSES), (CAPACITY, CAPACITY))
    config.add_optimization_profile(profile)
    if refit:
        config.set_flag(trt.BuilderFlag.REFIT_INDIVIDUAL)
        for name in refit:
            if not network.mark_weights_refittable(name):
                raise EngineError(f"{name} cannot be refitted")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError("the build failed; see above")
    path.parent.mkdir()
    path.write_bytes(bytes(plan))
    return time.monotonic() - started


def refit(trt: Any, plan: Plan, weights: Arrays) -> None:
    """Change the constants of an engine that is idle."""
    refitter = trt.Refitter(plan.engine, plan.logger)
    held = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    for name, value in held.items():
        plan.ok(refitter.set_named_weights(name, trt.Weights(value)), f"refitting {name}")
    plan.ok(refitter.refit_cuda_engine(), "refitting")


@dataclass(frozen=True)
class Way:
    """A way to serve adapted weights: a frame, and a change of weights."""

    look: Callable[[Frame], NDArray[Any]]
    change: Callable[[Bundle], None]


def as_inputs(trt: Any, name: str, path: Path, info: EngineInfo, first: Bundle) -> Way:
    """How we serve: a change is a bundle in the other set of buffers."""
    engine = Engine(info, TensorRT(name, trt, path, info, Cuda))
    serving = [first]

    def change(bundle: Bundle) -> None:
        engine.stage(bundle)
        serving[0] = bundle

    return Way(lambda frame: engine.infer_map(frame, serving[0])[1], change)


def as_constants(trt: Any, name: str, path: Path, info: EngineInfo, first: Bundle) -> Way:
    """Two engines: one serves while the other, idle, is refitted; then they change places."""
    few = replace(info, inputs={n: v for n, v in info.inputs.items() if n in WORDS})
    words = replace(first, inputs={n: v for n, v in first.inputs.items() if n in WORDS})
    plans = [Plan(name, trt, path, few) for _ in range(2)]
    engines = [Engine(few, TensorRT(name, trt, path, few, Cuda, plan)) for plan in plans]
    order = [0, 1]

    def change(bundle: Bundle) -> None:
        order.reverse()
        refit(trt, plans[order[0]], {n: v for n, v in bundle.inputs.items() if n not in WORDS})

    return Way(lambda frame: engines[order[0]].infer_map(frame, words)[1], change)


def measure(ways: dict[str, Way], bundles: list[Bundle], rounds: int) -> dict[str, Any]:
    """Frames in turn, then A -> B -> A, for every way."""
    frames = np.random.default_rng(2).integers(0, 256, (rounds + 3, *SIZE, 3), np.uint8)
    frame_ms: dict[str, list[float]] = {name: [] for name in ways}
    for number, frame in enumerate(frames):
        for name, way in ways.items():
            took = timed(way.look, frame)
            if number >= 3:
                frame_ms[name].append(took)
    change_ms: dict[str, list[float]] = {name: [] for name in ways}
    seen: dict[str, list[NDArray[Any]]] = {
        name: [way.look(frames[0])] for name, way in ways.items()
    }
    for bundle in [bundles[1], bundles[0]] * 10:
        for name, way in ways.items():
            change_ms[name].append(timed(way.change, bundle))
            seen[name].append(way.look(frames[0]))
    one, two = ways
    return {
        "frame_ms": {n: statistics.median(v) for n, v in frame_ms.items()},
        "change_ms": {n: statistics.median(v) for n, v in change_ms.items()},
        "a_b_a_identical": {n: identical(v) for n, v in seen.items()},
        "b_differs_from_a": {n: not np.array_equal(v[0], v[1]) for n, v in seen.items()},
        "apart_on_b": float(np.abs(seen[one][1] - seen[two][1]).max()),
        "samples": {"frame_ms": frame_ms, "change_ms": change_ms},
    }


def identical(seen: list[NDArray[Any]]) -> bool:
    """A B A B A ...: does every visit give what the first gave, bit by bit?"""
    return all(np.array_equal(seen[number], seen[number % 2]) for number in range(len(seen)))


def timed(do: Callable[[Any], object], what: Any) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    do(what)
    return 1000 * (time.perf_counter() - started)


def compare(name: str, module: str, rounds: int) -> dict[str, Any]:
    """Both ways in one library."""
    trt = load_module(module)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        first = exported(folder / "engine")
        info = replace(EngineInfo.load(folder / "engine"), strings=(2, CAPACITY))
        model = onnx.load(folder / "engine" / "model.onnx")
        weights = {n: v for n, v in first.inputs.items() if n not in WORDS}
        paths = {way: folder / way / "engine.plan" for way in ("inputs", "refit")}
        seconds = {
            "inputs": build(trt, model, {}, paths["inputs"]),
            "refit": build(trt, with_constants(model, weights), weights, paths["refit"]),
        }
        ways = {
            "inputs": as_inputs(trt, name, paths["inputs"], info, first),
            "refit": as_constants(trt, name, paths["refit"], info, first),
        }
        found = measure(ways, [first, other(first)], rounds)
    ratio = found["frame_ms"]["inputs"] / found["frame_ms"]["refit"]
    verdict = {"inputs_over_refit": ratio, "refit_is_worth_it": ratio > WORTH}
    return {"library": trt.__version__, "build_seconds": seconds} | verdict | found


def libraries(found: Found) -> dict[str, str]:
    """Engine -> module, of those that can be tried."""
    names = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
    return {n: m for n, m in names.items() if m in found.libraries} if found.gpu else {}


def main() -> None:
    """Whatever can be compared here, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    found = find()
    told: dict[str, Any] = {"machine": machine(), "gpu": found.gpu and found.gpu.label}
    if found.gpu is None:
        told["skipped"] = "no GPU here"
    elif not libraries(found):
        told["skipped"] = "neither tensorrt nor tensorrt-rtx is installed"
    for name, module in libraries(found).items():
        try:
            told[name] = compare(name, module, options.rounds)
        except EngineError as error:
            told[name] = {"failed": str(error)}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(told, indent=1) + "\n")
    if "skipped" in told:
        print(told["skipped"])
    for name in libraries(found):
        rows = {k: v for k, v in told[name].items() if k != "samples"}
        print(json.dumps({name: rows}, indent=1))


if __name__ == "__main__":
    main()
