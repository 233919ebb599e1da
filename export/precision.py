"""The graph at another precision; what goes in and comes out keeps its type, casts are inside.

fp16, bf16: products (matrices, convolutions) and what directly follows them are computed in half
precision. All else stays fp32: normalisations (their epsilon 1e-12 is zero in fp16), the sums of
linear attention (they may pass 65504), the residual stream, the softmax over strings, the signals.
Types are in the graph itself, so that every library computes the same.

int8 (ONNX Runtime on the processor): products with constant weights, quantised per channel; the
other side is quantised as it comes, so that nothing needs calibration. Weights are unsigned: where
they have a sign, processors without VNNI add products in 16 bits and cut them off (ONNX Runtime,
quantization guide, "U8S8"). Adapted projections are inputs and stay fp32, convolutions too: the
patch embedding feeds the frames' index.
"""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.shape_inference
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from acclimate.errors import ExportError

PRODUCTS = {
    "fp16": {"MatMul", "Gemm", "Conv", "ConvTranspose"},
    "bf16": {"MatMul", "Gemm", "Conv"},  # TensorRT has no transposed convolution in bf16
}
FOLLOW = {
    "Add", "Concat", "Expand", "Gather", "Gelu", "Identity", "Mul", "Neg", "Relu", "Reshape",
    "Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
HALF = {
    "fp16": (TensorProto.FLOAT16, np.float16),
    "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
}


def convert(graph: Path, out: Path, precision: str) -> None:
    """Read the fp32 graph's file, write it in fp16, bf16 or int8 to `out`; raises ExportError."""
    if precision in HALF:
        onnx.save(half(onnx.load(graph), precision), out)
    elif precision == "int8":
        model = onnx.load(graph)
        # Its shapes are known: without this word the quantiser warns that they may not be.
        helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
        quantize_dynamic(
            model, out, op_types_to_quantize=["MatMul"], per_channel=True,
            weight_type=QuantType.QUInt8, extra_options={"MatMulConstBOnly": True},
        )  # fmt: skip
    else:
        raise ExportError(f"the graph is fp32; {precision} is no other precision of it")


def half(model: ModelProto, precision: str) -> ModelProto:
    """An fp32 model with its products in half precision; raises ExportError."""
    if precision == "bf16":
        model = onnx.version_converter.convert_version(model, 22)  # where convolutions know it
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    floats = _floats(graph)
    writer = _Writer(graph, floats, precision)
    low = _low(graph, floats, PRODUCTS[precision])
    for node in list(graph.node):
        writer.add(node, node.output[0] in low)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(writer.nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [one for one in (*graph.initializer, *writer.constants.values()) if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return model


def _floats(graph: GraphProto) -> set[str]:
    """Names of all fp32 tensors."""
    values = (*graph.input, *graph.output, *graph.value_info)
    kinds = {one.name: one.type.tensor_type.elem_type for one in values}
    kinds |= {one.name: one.data_type for one in graph.initializer}
    if unknown := [o for node in graph.node for o in node.output if o and not kinds.get(o)]:
        raise ExportError(f"the graph does not say of what type {unknown[:3]} are; export it again")
    return {name for name, kind in kinds.items() if kind == TensorProto.FLOAT}


def _low(graph: GraphProto, floats: set[str], products: set[str]) -> set[str]:
    """Outputs of the nodes to compute in half precision.

    What hangs on constants and shapes alone is folded by the library: it has no say.
    """
    data, low = {one.name for one in graph.input}, set[str]()
    kept = {one.name for one in graph.output}
    for node in graph.node:
        if node.op_type == "Shape" or data.isdisjoint(node.input):
            continue
        data.update(node.output)
        bound = floats.intersection(node.input) & data
        follows = node.op_type in FOLLOW and bound and low.issuperset(bound)
        if (follows or node.op_type in products) and kept.isdisjoint(node.output):
            low.update(floats.intersection(node.output))
    return low


class _Writer:
    """Nodes one after the other, each tensor cast at most once for all who want it so."""

    def __init__(self, graph: GraphProto, floats: set[str], precision: str) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._given = {one.name: one for one in graph.initializer}
        self._floats, self._precision = floats, precision
        self._low, self._cast = set[str](), dict[str, str]()

    def add(self, node: NodeProto, low: bool) -> None:
        for place, name in enumerate(node.input):
            if name in self._floats and (name in self._low) != low:
                node.input[place] = self._other(name)
        if low:
            self._low.update(node.output)
        self.nodes.append(node)

    def _other(self, name: str) -> str:
        """`name` in the type that it does not have."""
        if name not in self._cast:
            self._cast[name] = self._constant(name) if name in self._given else self._node(name)
        return self._cast[name]

    def _node(self, name: str) -> str:
        wanted = TensorProto.FLOAT if name in self._low else HALF[self._precision][0]
        other = f"{name}.{'fp32' if name in self._low else self._precision}"
        self.nodes.append(helper.make_node("Cast", [name], [other], f"Cast {other}", to=wanted))
        return other

    def _constant(self, name: str) -> str:
        kind, dtype = HALF[self._precision]
        values = numpy_helper.to_array(self._given[name])
        with np.errstate(over="ignore"):
            cast = values.astype(dtype)
        if not np.isfinite(cast.astype(np.float32)).all():
            raise ExportError(f"{name} holds values beyond {self._precision}; serve in fp32")
        other = f"{name}.{self._precision}"
        self.constants[other] = TensorProto(
            name=other, data_type=kind, dims=values.shape, raw_data=cast.tobytes()
        )
        return other
