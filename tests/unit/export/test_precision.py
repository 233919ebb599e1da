"""The graph at other precisions: what is computed how, and how far it is from fp32 torch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, parser

from acclimate.errors import ExportError
from acclimate.export.parity import TOLERANCES, check, measure, reference_of
from acclimate.export.precision import HALF, PRODUCTS, convert, half
from acclimate.runtime.cache import Entry
from acclimate.runtime.choice import CPU, Choice, key_for
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.engines import open_entry

PRECISE = {
    "Clip", "Div", "Einsum", "Elu", "InstanceNormalization", "LayerNormalization", "Log",
    "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum", "Resize", "Sqrt",
}  # fmt: skip


def parity(graph: Path, path: Path) -> dict[str, float]:
    """A file on the processor against what torch saw."""
    key = key_for(EngineInfo.load(graph), Choice(CPU, "any", ""), 64)
    entry = Entry(path.parent, key, {path.name: ""}, None, {})
    return measure(open_entry(graph, entry, 1), reference_of(graph))


def kinds(model: ModelProto) -> dict[str, int]:
    """Element type of every tensor, as ONNX infers it."""
    typed = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    values = (*typed.graph.input, *typed.graph.output, *typed.graph.value_info)
    found = {one.name: one.type.tensor_type.elem_type for one in values}
    return found | {one.name: one.data_type for one in typed.graph.initializer}


def emulated(model: ModelProto) -> ModelProto:
    """bf16 where nothing computes in it: in fp32, rounded to bf16 after every node."""
    kind, nodes = kinds(model), []
    for node in list(model.graph.node):
        if node.op_type != "Cast":
            for place, name in enumerate(node.input):
                if kind.get(name) == TensorProto.BFLOAT16:
                    node.input[place] = f"{name} for {node.name}"
                    nodes.append(helper.make_node("Cast", [name], [node.input[place]], to=1))
        nodes.append(node)
        for place, name in enumerate(node.output):
            if node.op_type != "Cast" and kind.get(name) == TensorProto.BFLOAT16:
                node.output[place] = f"{name} in fp32"
                cast = {"to": TensorProto.BFLOAT16}
                nodes.append(helper.make_node("Cast", [node.output[place]], [name], **cast))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


@pytest.mark.parametrize(("precision", "times"), [("fp16", 5), ("int8", 4)])
def test_the_default_is_far_within_tolerance(
    prepared: Path, tmp_path: Path, precision: str, times: int
) -> None:
    graph, path = prepared / "engine", tmp_path / "model.onnx"
    convert(graph / "model.onnx", path, precision)
    found = parity(graph, path)
    assert found.keys() == TOLERANCES[precision].keys()
    for name, most in TOLERANCES[precision].items():
        assert found[name] <= most / times, name
    assert found["probability"] > 0


def test_bf16_of_the_default_is_far_within_tolerance(prepared: Path, tmp_path: Path) -> None:
    graph, path = prepared / "engine", tmp_path / "model.onnx"
    convert(graph / "model.onnx", path, "bf16")
    onnx.save(emulated(onnx.load(path)), path)
    found = parity(graph, path)
    check(found, "bf16")
    assert TOLERANCES["fp16"]["embedding"] / 10 < found["embedding"]  # it is bf16's rounding
    assert found["probability"] <= TOLERANCES["bf16"]["probability"] / 6


@pytest.mark.parametrize("precision", HALF)
def test_products_are_half_and_sums_are_not(prepared: Path, precision: str) -> None:
    model = onnx.load(prepared / "engine" / "model.onnx")
    before = kinds(model)
    count = Counter(node.op_type for node in model.graph.node)
    model = half(model, precision)
    after, low = kinds(model), HALF[precision][0]
    table = [(node.op_type, after[node.output[0]]) for node in model.graph.node]
    assert {(op, TensorProto.FLOAT) for op, _ in table if op in PRECISE} >= {
        pair for pair in table if pair[0] in PRECISE and pair[1] != TensorProto.INT64
    }
    products = [kind for op, kind in table if op in PRODUCTS[precision]]
    assert products.count(low) >= 0.9 * len(products)  # the rest hangs on constants alone
    named = (*model.graph.input, *model.graph.output)
    assert {one.name: before[one.name] for one in named} == {
        one.name: after[one.name] for one in named
    }
    assert Counter(op for op, _ in table if op != "Cast") == count - Counter(Cast=count["Cast"])


def test_no_value_is_rounded_between_two_precise_nodes(prepared: Path) -> None:
    model = half(onnx.load(prepared / "engine" / "model.onnx"), "fp16")
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    assert not [name for name in casts.values() if name in casts and name.endswith("fp16")]


TRAPS = """<ir_version: 9, opset_import: ["" : 20]>
traps (float[2, 4] x, float[4, 4] w) => (float[2, 4] y, float[2] z) {
    p = MatMul (x, w)
    n = ReduceL2 <keepdims = 1> (x, axes)
    c = Max (n, eps)
    u = Div (x, c)
    s = Einsum <equation = "ij,ij->i"> (p, p)
    t = Add (s, tiny)
    z = Reciprocal (t)
    y = Add (u, u)
}"""


def traps() -> ModelProto:
    model = parser.parse_model(TRAPS)
    for name, value in (
        ("axes", np.array([1])), ("eps", np.float32(1e-12)), ("tiny", np.float32(1e-6)),
    ):  # fmt: skip
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    return model


def run(model: ModelProto, **feed: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def test_small_epsilons_and_great_sums_survive() -> None:
    x = np.float32([[0, 0, 0, 0], [200, 0, 0, 0]])
    w = np.eye(4, dtype=np.float32) * 2
    y, z = run(half(traps(), "fp16"), x=x, w=w)
    np.testing.assert_array_equal(y, [[0, 0, 0, 0], [2, 0, 0, 0]])  # no 0/0
    np.testing.assert_allclose(z, [1e6, 1 / 400**2], rtol=1e-3)  # 400² is no fp16


def test_a_constant_that_both_need_is_kept_in_both() -> None:
    model = parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20]>
        shared (float[1, 2] x) => (float[1, 2] y) {
            a = MatMul (x, w)
            b = Div (x, w)
            c = ReduceSum <keepdims = 1> (b, axes)
            y = Add (a, c)
        }"""
    )
    w = np.float32([[1, 1 / 3], [3, 7]])
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "axes"))
    result = half(model, "fp16")
    stored = {one.name: one.data_type for one in result.graph.initializer}
    assert stored == {"w": 1, "w.fp16": 10, "axes": 7}
    x = np.float32([[1, 2]])
    np.testing.assert_allclose(run(result, x=x)[0], x @ w + (x / w).sum(0), rtol=1e-3)


def test_weights_that_fp16_cannot_hold_are_refused() -> None:
    model = parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20]>
        great (float[1, 1] x) => (float[1, 1] y) <float[1, 1] w = {70000.0}> {
            a = MatMul (x, w)
            y = Neg (a)
        }"""
    )
    with pytest.raises(ExportError, match=r"w holds values beyond fp16"):
        half(model, "fp16")
    half(model, "bf16")


def test_int8_leaves_adapted_projections_and_convolutions(prepared: Path, tmp_path: Path) -> None:
    graph, path = prepared / "engine" / "model.onnx", tmp_path / "model.onnx"
    convert(graph, path, "int8")
    before, after = onnx.load(graph).graph, onnx.load(path).graph
    fixed = {one.name for one in before.initializer}
    constant = sum(n.op_type == "MatMul" and n.input[1] in fixed for n in before.node)
    ops = [Counter(node.op_type for node in g.node) for g in (before, after)]
    assert ops[1]["MatMulInteger"] == constant > 20
    assert ops[1]["MatMul"] == ops[0]["MatMul"] - constant >= 12
    assert [ops[1][op] for op in ("Conv", "ConvTranspose")] == [
        ops[0][op] for op in ("Conv", "ConvTranspose")
    ]


def test_int8_weights_have_no_sign(prepared: Path, tmp_path: Path) -> None:
    """With one, what comes out depends on the processor: not all add such products exactly."""
    convert(prepared / "engine" / "model.onnx", tmp_path / "model.onnx", "int8")
    graph = onnx.load(tmp_path / "model.onnx").graph
    kind = {one.name: one.data_type for one in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMulInteger"]
    assert {kind[node.input[1]] for node in products} == {TensorProto.UINT8}


def test_fp32_is_no_other_precision(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="fp32 is no other precision"):
        convert(prepared / "engine" / "model.onnx", tmp_path / "model.onnx", "fp32")
