"""torch -> one ONNX file per base model and resolution, checked against torch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from acclimate.configs.vocabulary import MOST_SERVED, MOST_STRINGS
from acclimate.errors import ParityError
from acclimate.export.graph import OUTPUTS, ServingGraph
from acclimate.export.parity import REFERENCE, UNKNOWN, Reference
from acclimate.model.colour import UNCHANGED
from acclimate.model.load import BaseModel
from acclimate.model.projections import merged_projections
from acclimate.runtime import trust
from acclimate.runtime.bundle import Arrays
from acclimate.runtime.durable import sha256
from acclimate.runtime.engine import GRAPH

TOLERANCE = 1e-3
AGREEMENT = 0.999
APART = 0.02


def export_engine(
    base: BaseModel, out: Path, size: tuple[int, int], text: Tensor, string_to_class: Tensor,
    blocks: int, probes: Sequence[NDArray[np.uint8]], batch: int = 1, sliding: bool = False,
    truth: NDArray[np.uint8] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write the graph into `out`: model.onnx, engine.json, reference.safetensors.

    text (S,P,C), string_to_class (S,T), probes frames (H,W,3) uint8 for the parity check and, if
    known, the class indices `truth` (K,H,W) of their pixels; `batch` frames at a time; `sliding`:
    windows and an overview of each. Strings and classes stay free in a range.
    Returns engine.json's content; raises ParityError if the file does not match torch.
    """
    out.mkdir(parents=True, exist_ok=True)
    graph = ServingGraph(base.network, blocks, sliding).eval()
    weights = merged_projections(base.network, blocks)
    text, colour = told_apart(text), torch.from_numpy(UNCHANGED)
    inputs = (text, string_to_class, colour, *weights.values())
    frame = torch.zeros(batch, *size, 3, dtype=torch.uint8)
    path = out / "model.onnx"
    strings = string_range(base.network.config.pad_len, len(text))
    names = ["frame", "text", "string_to_class", "colour", *weights]
    _write_onnx(graph, (frame, *inputs), path, names, strings)
    frames = [np.stack([probe] * batch) for probe in probes]
    seen = [see(graph, frame, inputs) for frame in frames]
    parity = _parity(path, frames, inputs, seen)
    given = dict(zip(names[1:], inputs, strict=True))
    _reference(probes, given, seen, truth).save(out / REFERENCE)
    info = {
        "graph": GRAPH,
        "base_digest": base.digest,
        "size": list(size),
        "batch": batch,
        "sliding": sliding,
        "strings": list(strings),
        "templates": list(base.templates),
        "inputs": _input_table(text, weights),
        "parity": parity,
        "onnx_sha256": sha256(path),
        "reference_sha256": sha256(out / REFERENCE),
    }
    (out / "engine.json").write_text(json.dumps(info, indent=1) + "\n")
    trust.sign(out / "engine.json")
    return info


def told_apart(text: Tensor) -> Tensor:
    """Texts (S,P,C) for the parity check: where some are equal, all are moved a little.

    Words that a small base does not know may share one embedding; which of two equal strings gets
    the pixel is no matter of parity, and torch and ONNX Runtime choose differently.
    """
    if len(text.unique(dim=0)) == len(text):
        return text
    noise = torch.randn(text.shape, generator=torch.Generator().manual_seed(0))
    return F.normalize(text + APART * F.normalize(noise, dim=-1), dim=-1)


def string_range(pad_len: int, strings: int) -> tuple[int, int]:
    """How many strings a graph traced with `strings` serves: past `pad_len` the network selects."""
    if pad_len and strings > pad_len:
        return pad_len + 1, MOST_STRINGS
    return 2, pad_len or MOST_STRINGS


def _write_onnx(
    graph: ServingGraph, arguments: tuple[Tensor, ...], path: Path, names: list[str],
    string_range: tuple[int, int],
) -> None:  # fmt: skip
    strings = torch.export.Dim("strings", min=string_range[0], max=string_range[1])
    classes = torch.export.Dim("classes", min=2, max=MOST_SERVED)
    weights: tuple[dict[int, object], ...] = tuple({} for _ in range(len(arguments) - 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph, arguments, dynamo=True, verbose=False, input_names=names,
            output_names=list(OUTPUTS),
            dynamic_shapes=({}, {0: strings}, {0: strings, 1: classes}, {}, weights),
        )  # fmt: skip
        assert program is not None
        program.save(str(path))


@torch.inference_mode()
def see(graph: ServingGraph, frames: NDArray[np.uint8], inputs: tuple[Tensor, ...]) -> Arrays:
    """What torch makes of frames (N,H,W,3): the graph's outputs, and "margin" (N,H,W)."""
    kept: list[Tensor] = []
    hook = graph.look.register_forward_hook(lambda module, given, made: kept.append(made[0]))
    try:
        outputs = graph(torch.from_numpy(frames.copy()), *inputs)
    finally:
        hook.remove()
    best, second = kept[0].topk(2, 1).values.unbind(1)
    named = zip((*OUTPUTS, "margin"), (*outputs, best - second), strict=True)
    return {name: value.numpy() for name, value in named}


def _reference(
    probes: Sequence[NDArray[np.uint8]], inputs: dict[str, Tensor], seen: Sequence[Arrays],
    truth: NDArray[np.uint8] | None,
) -> Reference:  # fmt: skip
    """The first of each batch, which holds the same frame several times."""
    given = {name: value.numpy() for name, value in inputs.items()}
    first = {name: np.stack([one[name][0] for one in seen]) for name in seen[0]}
    frames = np.stack(probes)
    known = np.full(frames.shape[:3], UNKNOWN, np.uint8) if truth is None else truth
    return Reference(frames, given, truth=known, **first)


def _parity(
    path: Path, frames: Sequence[NDArray[np.uint8]], inputs: tuple[Tensor, ...],
    seen: Sequence[Arrays],
) -> dict[str, float]:  # fmt: skip
    """Worst difference of the file from what torch saw of (N,H,W,3) each; raises ParityError."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    apart, agree = [0.0], []
    for frame, expected in zip(frames, seen, strict=True):
        arguments = (frame, *(value.numpy() for value in inputs))
        got = session.run(list(OUTPUTS), dict(zip(names, arguments, strict=True)))
        agree.append(float((got[0] == expected["labels"]).mean()))
        pairs = zip(got[1:], OUTPUTS[1:], strict=True)
        apart += [float(np.abs(value - expected[name]).max()) for value, name in pairs]
    worst, agreement = float(np.max(apart)), min(agree)
    if not (worst <= TOLERANCE and agreement >= AGREEMENT):  # NaN is no parity either
        raise ParityError(max(worst, 1 - agreement), TOLERANCE)
    return {"max_abs": worst, "label_agreement": agreement, "tolerance": TOLERANCE}


def _input_table(text: Tensor, weights: dict[str, Tensor]) -> dict[str, Any]:
    table: dict[str, Any] = {
        "text": [[-1, *text.shape[1:]], "float32"],
        "string_to_class": [[-1, -1], "float32"],
        "colour": [[7, 3], "float32"],
    }
    return table | {name: [list(w.shape), "float32"] for name, w in weights.items()}
