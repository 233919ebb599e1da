"""TensorRT for RTX builds the real graph ahead of time: what goes in, what comes out, how many.

An engine cannot run, nor be opened, without a GPU: what the network was asked to be is looked at.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from acclimate.errors import ExportError
from acclimate.export import plan
from acclimate.export.parity import TOLERANCES, check, measure, reference_of
from acclimate.export.plan import Profile, write_plan
from acclimate.export.precision import convert
from acclimate.model.projections import projection_names
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.engines import open_engine
from tests.unit.export.conftest import Exported

trt: Any = pytest.importorskip("tensorrt_rtx")
OUTPUT_SHAPES = {
    "labels": ((1, 384, 384), "uint8"), "confidence": ((1, 3), "float32"),
    "histogram": ((1, -1), "float32"), "embedding": ((1, 1536), "float32"),
    "probability": ((1, 384, 384), "float32"),
}  # fmt: skip


class Watched:
    """The module `tensorrt_rtx` with a builder that keeps the networks and profiles it makes."""

    def __init__(self) -> None:
        self.networks: list[Any] = []
        self.profiles: list[Any] = []
        self.__name__ = trt.__name__
        kept = self

        class Builder(trt.Builder):  # type: ignore[misc]
            def create_network(self, flags: int) -> Any:
                kept.networks.append(super().create_network(flags))
                return kept.networks[-1]

            def create_optimization_profile(self) -> Any:
                kept.profiles.append(super().create_optimization_profile())
                return kept.profiles[-1]

        self.Builder = Builder

    def __getattr__(self, name: str) -> Any:
        return getattr(trt, name)


def build(folder: Path, source: Path, out: Path, module: Any = trt, **given: Any) -> list[str]:
    """What `write_plan` said while it built for up to 150 strings."""
    info, said = EngineInfo.load(folder), list[str]()
    profile = given.pop("profile", None) or Profile.of(info, 150)
    write_plan(module, source, out, given.pop("info", info), profile, None, said.append, **given)
    return said


def tensors(count: int, get: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    every = [get(i) for i in range(count)]
    return {one.name: (tuple(one.shape), trt.nptype(one.dtype).__name__) for one in every}


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    """Bytes of the ViT-B plans of each precision, as the tests go."""
    return {}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_vit_b_with_adapter_inputs_builds(
    vitb: Exported, tmp_path: Path, sizes: dict[str, int], precision: str
) -> None:
    source, out, module = vitb.folder / "model.onnx", tmp_path / "engine.plan", Watched()
    if precision == "fp16":
        convert(source, source := tmp_path / "model.onnx", "fp16")
    said = build(vitb.folder, source, out, module)
    (network,), (profile,) = module.networks, module.profiles
    assert network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert tensors(network.num_inputs, network.get_input) == {
        "frame": ((1, 384, 384, 3), "uint8"), "text": ((-1, 1, 512), "float32"),
        "string_to_class": ((-1, -1), "float32"), "colour": ((7, 3), "float32"),
        **dict.fromkeys(projection_names(4), ((768, 768), "float32")),
    }  # fmt: skip
    assert len(projection_names(4)) == 12
    assert tensors(network.num_outputs, network.get_output) == OUTPUT_SHAPES
    assert profile.get_shape("text") == [(2, 1, 512), (19, 1, 512), (150, 1, 512)]
    assert profile.get_shape("string_to_class") == [(2, 2), (19, 19), (150, 150)]
    assert said[-1] == "Building engine: 100 %"
    sizes[precision] = out.stat().st_size
    weights = sum(p.numel() for p in vitb.base.network.clip.visual.parameters())
    assert sizes[precision] > weights * (4 if precision == "fp32" else 2) * 0.8
    assert len(sizes) < 2 or sizes["fp16"] < 0.6 * sizes["fp32"]


def test_vit_b_in_onnx_runtime_is_what_torch_sees(vitb: Exported) -> None:
    engine, reference = open_engine(vitb.folder, 1, "onnxruntime-cpu"), reference_of(vitb.folder)
    assert (reference.margin > 0.1).mean() > 0.2  # it is no graph that says nothing
    assert len(np.unique(reference.labels)) > 5
    found = measure(engine, reference)
    check(found, "fp32")
    assert found["labels"] <= TOLERANCES["fp32"]["labels"]


def test_bf16_builds(prepared: Path, tmp_path: Path) -> None:
    graph = prepared / "engine"
    convert(graph / "model.onnx", tmp_path / "model.onnx", "bf16")
    build(graph, tmp_path / "model.onnx", tmp_path / "engine.plan")
    assert (tmp_path / "engine.plan").stat().st_size > 1e6


def info(strings: tuple[int, int]) -> EngineInfo:
    return EngineInfo("", (8, 8), 1, False, strings, {}, "", {})


@pytest.mark.parametrize(
    ("strings", "capacity", "expected"),
    [
        ((2, 256), 256, Profile((2, 19, 256), (2, 19, 255))),
        ((2, 64), 256, Profile((2, 19, 64), (2, 19, 64))),
        ((2, 4096), 10, Profile((2, 10, 10), (2, 10, 10))),
        ((257, 4096), 400, Profile((257, 257, 400), (2, 19, 255))),
    ],
)
def test_a_profile_reaches_from_the_graphs_least_to_the_capacity(
    strings: tuple[int, int], capacity: int, expected: Profile
) -> None:
    assert Profile.of(info(strings), capacity) == expected


def test_a_capacity_below_the_graphs_least_is_told() -> None:
    with pytest.raises(ExportError, match="capacity is 256, but this graph takes 257 strings or"):
        Profile.of(info((257, 4096)), 256)


def test_a_node_that_the_library_does_not_know_is_named(exported: Exported, tmp_path: Path) -> None:
    model = onnx.load(exported.folder / "model.onnx")
    node = next(one for one in model.graph.node if one.op_type == "Softmax")
    node.op_type, node.domain = "Frobnicate", "nobody"
    model.opset_import.append(onnx.helper.make_opsetid("nobody", 1))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match=rf"cannot read the graph: Frobnicate {node.name}: ."):
        build(exported.folder, tmp_path / "model.onnx", tmp_path / "engine.plan")
    assert not (tmp_path / "engine.plan").exists()


def test_a_file_that_is_no_graph_is_told(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ExportError, match=r"tensorrt_rtx cannot read the graph: ."):
        build(exported.folder, tmp_path / "model.onnx", tmp_path / "engine.plan")


def test_another_graph_than_the_record_says_is_refused(exported: Exported, tmp_path: Path) -> None:
    other = EngineInfo.load(exported.folder)
    inputs = other.inputs | {"colour": ((3, 3), "float32")}
    with pytest.raises(ExportError, match=r"differ in \['colour'\]; export the graph again"):
        build(
            exported.folder, exported.folder / "model.onnx", tmp_path / "engine.plan",
            info=replace(other, inputs=inputs),
        )  # fmt: skip


def test_a_network_that_cannot_be_built_is_told(exported: Exported, tmp_path: Path) -> None:
    wrong = Profile((8, 4, 2), (5, 4, 2))
    with pytest.raises(ExportError, match=r"tensorrt_rtx cannot build the graph: .*rofile"):
        build(
            exported.folder, exported.folder / "model.onnx", tmp_path / "engine.plan",
            profile=wrong,
        )  # fmt: skip
    assert not (tmp_path / "engine.plan").exists()


class Config:
    """A builder's config that takes measurements of this device only."""

    def __init__(self) -> None:
        self.set: list[bytes] = []

    def create_timing_cache(self, content: bytes) -> bytes | None:
        return None if content == b"torn" else content

    def set_timing_cache(self, kept: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if kept == b"another device":
            return False
        self.set.append(kept)
        return True


@pytest.mark.parametrize(
    ("content", "taken"),
    [(b"measured", b"measured"), (b"torn", b""), (b"another device", b""), (b"", b"")],
)
def test_measurements_that_do_not_fit_are_made_again(content: bytes, taken: bytes) -> None:
    config = Config()
    plan._remember(config, content)
    assert config.set == [taken]
