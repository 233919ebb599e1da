"""What the rows of `benchmarks.serve` open: `python -m benchmarks.exports SHAPE CLASSES FOLDER`.

Writes the served graph (adapter inputs), the same with everything but the frame baked in (what a
rebuild for every adapter would give), the inputs, and how many operations a frame takes.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch
from safetensors.numpy import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from acclimate.export.graph import OUTPUTS, ServingGraph
from acclimate.export.onnx import export_engine
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import to_official
from acclimate.model.colour import UNCHANGED
from acclimate.model.load import BaseModel
from acclimate.model.projections import merged_projections
from acclimate.model.templates import SINGLE
from benchmarks.official import Official
from benchmarks.rows import frame_of
from benchmarks.torch_rows import SIZE, network_of, text_of

BLOCKS = 4


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


def write(shape: str, classes: int, folder: Path) -> None:
    """model.onnx, engine.json, constants.onnx, inputs.safetensors and setting.json."""
    network, text = network_of(shape), text_of(shape, classes)
    weights = merged_projections(network, BLOCKS)
    named = {"text": text, "string_to_class": torch.eye(classes)}
    named |= {"colour": torch.from_numpy(UNCHANGED), **weights}
    base = BaseModel(network, SINGLE, None, "random")
    export_engine(base, folder, SIZE, text, torch.eye(classes), BLOCKS, [frame_of(0, SIZE)])
    save_file({name: value.numpy() for name, value in named.items()}, folder / "inputs.safetensors")
    _write_constants(ServingGraph(network, BLOCKS), [*named.values()], folder / "constants.onnx")
    setting = {"shape": shape, "classes": classes, "size": SIZE, "gflop": gflop(network, text)}
    (folder / "setting.json").write_text(json.dumps(setting))


def _write_constants(graph: ServingGraph, inputs: list[Tensor], path: Path) -> None:
    frame = torch.zeros(1, *SIZE, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Constants(graph, inputs).eval(), (frame,), dynamo=True, verbose=False,
            input_names=["frame"], output_names=list(OUTPUTS),
        )  # fmt: skip
    assert program is not None
    program.save(str(path))


def gflop(network: CATSeg, text: Tensor) -> dict[str, float]:
    """10^9 operations (two per multiplication and addition) of a frame, in either order."""
    official, image = Official(network.config, to_official(network)), torch.zeros(1, 3, *SIZE)
    ways = {
        "official": lambda: official.logits(network.preprocess(image), text),
        "ours": lambda: network(image, text),
    }
    counts = {}
    for name, way in ways.items():
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            way()
        counts[name] = counter.get_total_flops() / 1e9
    return counts


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
