"""TensorRT's side of the engine on a machine without one, held against ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from acclimate.errors import EngineError, EngineLoadError
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import OUTPUTS, Engine, EngineInfo, Result
from acclimate.runtime.onnxruntime_backend import OnnxRuntime
from acclimate.runtime.swap import probe_check
from acclimate.runtime.tensorrt_backend import TensorRT
from tests.unit.runtime.tensorrt_double import HostDevice, Machine, Profile, module, plan_of

BATCH, SIZE, CAPACITY, CLASSES = 2, (4, 6), 12, 20
INPUTS = {
    "text": ((-1, 1, 3), "float32"), "string_to_class": ((-1, -1), "float32"),
    "colour": ((2, 3), "float32"), "weight": ((3, 3), "float32"),
}  # fmt: skip
INFO = EngineInfo("base", SIZE, BATCH, False, (2, CAPACITY), INPUTS, "0" * 64, {})
PROFILE: Profile = {
    "text": [[2, 1, 3], [5, 1, 3], [CAPACITY, 1, 3]],
    "string_to_class": [[2, 2], [5, 5], [CAPACITY, CLASSES]],
}


def graph(batch: int = BATCH, embedding: str = "embedding") -> bytes:
    """A graph whose every output depends on every input, small enough to read."""
    frame = [batch, *SIZE, 3]
    nodes = [
        helper.make_node("Cast", ["frame"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["raw", "small"], ["x"]),
        helper.make_node("MatMul", ["x", "weight"], ["y"]),
        helper.make_node("Split", ["colour"], ["factor", "offset"], axis=0, num_outputs=2),
        helper.make_node("Mul", ["y", "factor"], ["z"]),
        helper.make_node("Add", ["z", "offset"], ["look"]),
        helper.make_node("Squeeze", ["text", "one"], ["words"]),
        helper.make_node("Transpose", ["words"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["look", "turned"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["strings"], axis=-1),
        helper.make_node("MatMul", ["strings", "string_to_class"], ["p"]),
        helper.make_node("ArgMax", ["p"], ["best"], axis=-1, keepdims=0),
        helper.make_node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
        helper.make_node("ReduceMax", ["p", "last"], ["probability"], keepdims=0),
        helper.make_node("ReduceMean", ["p", "places"], ["histogram"], keepdims=0),
        helper.make_node("ReduceMean", ["look", "places"], ["confidence"], keepdims=0),
        helper.make_node("ReduceMean", ["x", "places"], [embedding], keepdims=0),
    ]
    constants = [
        helper.make_tensor("small", TensorProto.FLOAT, [], [1 / 255]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("last", TensorProto.INT64, [1], [3]),
        helper.make_tensor("places", TensorProto.INT64, [2], [1, 2]),
    ]
    free: dict[str, list[Any]] = {"text": ["s", 1, 3], "string_to_class": ["s", "t"]}
    inputs = [("frame", TensorProto.UINT8, frame)]
    inputs += [(n, TensorProto.FLOAT, free.get(n, list(s))) for n, (s, _) in INPUTS.items()]
    outputs: list[Any] = [
        ("labels", TensorProto.UINT8, frame[:3]), ("confidence", TensorProto.FLOAT, [batch, 3]),
        ("histogram", TensorProto.FLOAT, [batch, "t"]), (embedding, TensorProto.FLOAT, [batch, 3]),
        ("probability", TensorProto.FLOAT, frame[:3]),
    ]  # fmt: skip
    ports = [
        [helper.make_tensor_value_info(*port) for port in ports] for ports in (inputs, outputs)
    ]
    made = helper.make_graph(nodes, "small", *ports, constants)
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(made, opset_imports=opset, ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def bundle(seed: int, strings: int = 5, classes: int = 4) -> Bundle:
    """Another adapter and other words for every seed."""
    rng = np.random.default_rng(seed)
    owner = np.eye(classes, dtype=np.float32)[np.arange(strings) % classes]
    shapes = {"text": (strings, 1, 3), "colour": (2, 3), "weight": (3, 3)}
    inputs: dict[str, Any] = {
        name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    inputs["string_to_class"] = owner
    none = np.empty(0, np.uint8)
    return Bundle(f"seed {seed}", {}, inputs, none, none)


def frame(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    folder = tmp_path / "engines" / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "engine.plan").write_bytes(plan_of(graph(), PROFILE))
    return folder / "engine.plan"


def opened(plan: Path, machine: Machine, info: EngineInfo = INFO, rtx: bool = False) -> Engine:
    name = "tensorrt-rtx" if rtx else "tensorrt"
    backend = TensorRT(name, module(machine, rtx), plan, info, lambda: HostDevice(machine))
    return Engine(info, backend)


@pytest.fixture(params=[False, True], ids=["tensorrt", "tensorrt-rtx"])
def engine(request: pytest.FixtureRequest, plan: Path, machine: Machine) -> Iterator[Engine]:
    one = opened(plan, machine, rtx=request.param)
    yield one
    one.close()
    assert not machine.memory, "whatever was allocated was given back"


@pytest.fixture
def reference(tmp_path: Path) -> Engine:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph())
    return Engine(INFO, OnnxRuntime("onnxruntime-cpu", path, 1, [("CPUExecutionProvider", {})]))


def same(one: Result, other: Result) -> bool:
    return all(
        getattr(one, name).shape == getattr(other, name).shape
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in OUTPUTS[:4]
    )


@pytest.mark.parametrize(("strings", "classes"), [(2, 2), (5, 4), (CAPACITY, 5), (9, CLASSES)])
def test_it_sees_what_onnx_runtime_sees(
    engine: Engine, reference: Engine, strings: int, classes: int
) -> None:
    words = bundle(3, strings, classes)
    assert same(engine.infer(frame(1), words), reference.infer(frame(1), words))
    for got, wanted in zip(
        engine.infer_map(frame(2), words), reference.infer_map(frame(2), words), strict=True
    ):
        assert np.array_equal(got, wanted)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_batch_is_filled_up_and_nothing_of_it_is_answered(
    engine: Engine, reference: Engine, frames: int
) -> None:
    batch = [frame(seed) for seed in range(frames)]
    got = engine.infer_batch(batch, bundle(1))
    wanted = [reference.infer(one, bundle(1)) for one in batch]
    assert [same(*pair) for pair in zip(got, wanted, strict=True)] == [True] * frames


def test_there_and_back_again(engine: Engine, reference: Engine) -> None:
    one, other = bundle(1), bundle(2)
    first, between, again = (engine.infer(frame(1), b) for b in (one, other, one))
    assert same(first, again) and not same(first, between)
    assert same(between, reference.infer(frame(1), other))


def test_a_swap_changes_pointers_only(engine: Engine, machine: Machine, reference: Engine) -> None:
    """Of buffers that were allocated, bound and captured before."""
    bundles = [bundle(seed) for seed in range(6)]
    for one in bundles[:2]:
        engine.infer(frame(1), one)
    before = dict(machine.count)
    for one in bundles[2:]:
        engine.stage(one)
        assert same(engine.infer(frame(1), one), reference.infer(frame(1), one))
    assert machine.count == before | {"launch": before["launch"] + 4}


def test_no_frame_allocates_anything(engine: Engine, machine: Machine) -> None:
    words = bundle(1)
    engine.infer(frame(0), words)
    before = dict(machine.count)
    for seed in range(5):
        engine.infer(frame(seed), words)
    assert machine.count == before | {"launch": before["launch"] + 5}


def test_what_was_answered_stays_as_it_is(engine: Engine) -> None:
    words = bundle(1)
    first = engine.infer(frame(1), words)
    kept = Result(*(getattr(first, name).copy() for name in OUTPUTS[:4]))
    engine.infer(frame(2), words)
    engine.infer(frame(3), bundle(2, 7, 5))
    assert same(first, kept)


def test_staging_does_not_disturb_what_serves(engine: Engine, reference: Engine) -> None:
    serving, wanted = bundle(0), reference.infer(frame(1), bundle(0))
    engine.infer(frame(1), serving)
    later = [bundle(seed, 3 + seed % 8, 4) for seed in range(1, 30)]

    def stage() -> None:
        for one in later:
            engine.stage(one)

    thread = threading.Thread(target=stage)
    thread.start()
    seen = [engine.infer(frame(1), serving) for _ in range(40)]
    thread.join()
    assert all(same(one, wanted) for one in seen)
    last = later[-1]
    assert same(engine.infer(frame(1), last), reference.infer(frame(1), last))


def test_a_bundle_is_copied(engine: Engine, reference: Engine) -> None:
    words = bundle(1)
    wanted = reference.infer(frame(1), bundle(1))
    engine.stage(words)
    for value in words.inputs.values():
        value[:] = np.nan
    assert same(engine.infer(frame(1), words), wanted)


def test_other_words_take_scratch_memory_once(engine: Engine, machine: Machine) -> None:
    for strings in (3, 3, 8, 8, 5, 8):
        engine.infer(frame(1), bundle(strings, strings))
    before = machine.count["allocate"], len(machine.memory)
    assert before[0] - before[1] == 2, "either set gave back what had become too small"
    for strings in (4, 8, 2, 7):
        engine.infer(frame(1), bundle(strings, strings, 2))
    assert (machine.count["allocate"], len(machine.memory)) == before
    assert len(machine.graphs) == 2, "one for each set of buffers"


def test_more_strings_than_were_built_for_are_refused_and_serving_goes_on(
    engine: Engine, reference: Engine
) -> None:
    words = bundle(1)
    engine.infer(frame(1), words)
    with pytest.raises(EngineError, match=r"text .*more than this engine was built for"):
        engine.stage(bundle(2, CAPACITY + 1))
    with pytest.raises(EngineError, match=r"failed at text of .*outside of the profile"):
        engine.stage(bundle(2, 1, 2))
    assert same(engine.infer(frame(1), words), reference.infer(frame(1), words))
    after = bundle(3)
    assert same(engine.infer(frame(1), after), reference.infer(frame(1), after))


@pytest.mark.parametrize("trouble", ["run", "wait", "allocate"])
def test_a_failed_stage_costs_nothing_but_itself(
    engine: Engine, machine: Machine, reference: Engine, trouble: str
) -> None:
    words, other, like = bundle(1), bundle(2, 9), bundle(3)
    for one in (bundle(0), words):
        engine.infer(frame(1), one)
    machine.broken = {trouble}
    with pytest.raises(EngineError):
        engine.stage(other)
    machine.broken = set()
    for one in (words, like, other):
        assert same(engine.infer(frame(1), one), reference.infer(frame(1), one))


def test_a_gpu_that_hangs_costs_frames_and_comes_back(
    engine: Engine, machine: Machine, reference: Engine
) -> None:
    words = bundle(1)
    engine.infer(frame(1), words)
    machine.broken = {"wait"}
    for _ in range(3):
        with pytest.raises(EngineError, match="wait failed"):
            engine.infer(frame(2), words)
    machine.broken = set()
    assert same(engine.infer(frame(3), words), reference.infer(frame(3), words))


def test_where_nothing_can_be_captured_it_serves_without_and_says_so_once(
    plan: Path, machine: Machine, reference: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.broken = {"capture"}
    engine = opened(plan, machine)
    for seed in range(3):
        words = bundle(seed, 3 + seed)
        assert same(engine.infer(frame(1), words), reference.infer(frame(1), words))
    assert machine.count["launch"] == 0
    assert capsys.readouterr().err.count("no CUDA graph") == 1
    machine.broken = {"run"}
    with pytest.raises(EngineError, match=r"running it: .*error: 719"):
        engine.infer(frame(1), words)


def test_a_twin_shares_the_plan_and_outlives_its_sister(
    plan: Path, machine: Machine, reference: Engine
) -> None:
    one = opened(plan, machine)
    twin, words = one.twin(), bundle(1)
    assert same(one.infer(frame(1), words), twin.infer(frame(1), words))
    assert machine.count["load"] == 1
    one.close()
    other = bundle(2)
    assert same(twin.infer(frame(1), other), reference.infer(frame(1), other))
    twin.close()
    assert not machine.memory


def test_too_little_memory_to_open_leaves_none_taken(plan: Path, machine: Machine) -> None:
    for trouble in ("allocate", "context"):
        machine.broken = {trouble}
        with pytest.raises(EngineError, match="failed"):
            opened(plan, machine)
        assert not machine.memory


@pytest.mark.parametrize("spoil", ["short", "empty", "flipped", "another"])
def test_a_plan_that_does_not_load_names_file_reason_and_remedy(
    plan: Path, machine: Machine, spoil: str
) -> None:
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1 if spoil == "flipped" else 0
    spoiled = {"short": content[:-1], "empty": b"", "another": b"ftrt" + content[4:]}
    plan.write_bytes(spoiled.get(spoil, content))
    with pytest.raises(EngineLoadError, match=r"engine\.plan does not load: Serial.*acclimate exp"):
        opened(plan, machine)
    plan.unlink()
    with pytest.raises(EngineLoadError, match=r"engine\.plan cannot be read"):
        opened(plan, machine)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"inputs": INPUTS | {"more": ((1,), "float32")}}, "differ in more"),
        ({"inputs": INPUTS | {"weight": ((3, 3), "float16")}}, "the type of weight"),
        ({"size": (6, 4)}, "the frame"),
        ({"batch": 1}, "the frame"),
        ({"strings": (2, CAPACITY + 1)}, "strings: it takes 12, not 13"),
    ],
)
def test_a_plan_of_another_graph_is_told(
    plan: Path, machine: Machine, change: dict[str, Any], how: str
) -> None:
    with pytest.raises(EngineLoadError, match=f"{how}.*acclimate export --engine tensorrt"):
        opened(plan, machine, replace(INFO, **change))


def test_an_output_of_another_name_is_told(plan: Path, machine: Machine) -> None:
    plan.write_bytes(plan_of(graph(embedding="feature"), PROFILE))
    with pytest.raises(EngineLoadError, match="differ in embedding, feature"):
        opened(plan, machine)


def test_kernels_that_were_compiled_here_are_kept_for_the_next_start(
    plan: Path, machine: Machine
) -> None:
    kept = plan.parent.with_name(f"compiled-{plan.parent.name}.cache")
    engine = opened(plan, machine, rtx=True)
    engine.infer(frame(1), bundle(1, 5, 4))
    first = kept.read_bytes()
    engine.close()
    again = opened(plan, machine, rtx=True)
    again.infer(frame(1), bundle(1, 5, 4))
    assert kept.read_bytes() == first
    again.infer(frame(1), bundle(1, 5, 3))
    assert len(kept.read_bytes()) > len(first)
    kept.write_bytes(b"\xff torn")
    opened(plan, machine, rtx=True).infer(frame(1), bundle(1, 5, 4))


def test_a_full_disk_keeps_no_kernels_and_serves(
    plan: Path, machine: Machine, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("acclimate.runtime.plan.write_atomic", full)
    opened(plan, machine, rtx=True).infer(frame(1), bundle(1))
    assert "No space left" in capsys.readouterr().err


def test_the_default_s_own_graph_passes_its_probe_check(
    prepared: Path, tmp_path: Path, machine: Machine
) -> None:
    info = EngineInfo.load(prepared / "engine")
    text, most = info.inputs["text"][0], 64
    profile: Profile = {
        "text": [[2, *text[1:]], [19, *text[1:]], [most, *text[1:]]],
        "string_to_class": [[2, 2], [19, 19], [most, 255]],
    }
    path = tmp_path / "engine.plan"
    path.write_bytes(plan_of((prepared / "engine" / "model.onnx").read_bytes(), profile))
    engine = opened(path, machine, replace(info, strings=(2, most)))
    probe_check(engine.twin(), load_bundle(prepared / "adapters" / "base", engine.info))
