"""How many strings an exported graph serves: within its range as torch does, and none beyond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from acclimate.errors import IncompatibleBundle, ParityError
from acclimate.export import onnx as module
from acclimate.export.graph import ServingGraph
from acclimate.export.onnx import export_engine, string_range
from acclimate.model.colour import UNCHANGED
from acclimate.model.load import BaseModel, load_base
from acclimate.model.projections import merged_projections
from acclimate.runtime.bundle import load_bundle, write_bundle
from acclimate.runtime.engine import EngineInfo
from tests.unit.export.conftest import BLOCKS, SIZE, Exported, noise, words

PROBES = [noise(5), noise(6)]


def inputs(base: BaseModel, strings: int = 6) -> tuple[Tensor, ...]:
    weights = merged_projections(base.network, BLOCKS).values()
    return (*words(strings), torch.from_numpy(UNCHANGED), *weights)


def parity(exported: Exported, strings: int = 6) -> dict[str, float]:
    """The engine's file against torch, with so many strings."""
    graph = ServingGraph(exported.base.network, BLOCKS).eval()
    arguments = inputs(exported.base, strings)
    frames = [probe[None] for probe in PROBES]
    seen = [module.see(graph, frame, arguments) for frame in frames]
    return module._parity(exported.folder / "model.onnx", frames, arguments, seen)


@pytest.mark.parametrize("strings", [2, 5, 8])
def test_other_strings_need_no_other_engine(exported: Exported, strings: int) -> None:
    assert EngineInfo.load(exported.folder).takes(strings)
    assert parity(exported, strings)["max_abs"] < 1e-4


def test_strings_beyond_the_networks_padding_are_refused(
    exported: Exported, tmp_path: Path
) -> None:
    with pytest.raises(ParityError):  # the graph would answer, and wrongly
        parity(exported, 9)
    info = EngineInfo.load(exported.folder)
    arrays = zip(info.inputs, inputs(exported.base, 9), strict=True)
    manifest = {"id": "many", "base_digest": info.base_digest}
    labels = np.zeros((1, *SIZE), np.uint8)
    bundle = {name: value.numpy() for name, value in arrays}
    write_bundle(tmp_path / "many", manifest, bundle, noise(0)[None], labels)
    with pytest.raises(IncompatibleBundle, match="9 strings, the engine takes 2 to 8"):
        load_bundle(tmp_path / "many", info)


@pytest.mark.parametrize(
    ("pad_len", "strings", "expected"),
    [(8, 2, (2, 8)), (8, 8, (2, 8)), (8, 9, (9, 4096)), (0, 9, (2, 4096)), (256, 300, (257, 4096))],
)
def test_a_graph_selects_or_pads(pad_len: int, strings: int, expected: tuple[int, int]) -> None:
    assert string_range(pad_len, strings) == expected


def test_more_strings_than_padding_are_exported_with_the_selection(
    exported: Exported, tmp_path: Path
) -> None:
    info = export_engine(exported.base, tmp_path, SIZE, *words(300), BLOCKS, PROBES)
    assert info["strings"] == [9, 4096]
    assert parity(Exported(tmp_path, exported.base, info), 12)["max_abs"] < 1e-4


def test_numbers_that_are_none_are_no_parity(exported: Exported, tiny_weights: Path) -> None:
    other = load_base(tiny_weights)
    other.network.aggregator.head.bias.fill_(torch.nan)
    with pytest.raises(ParityError, match="nan"):
        parity(Exported(exported.folder, other, {}))
