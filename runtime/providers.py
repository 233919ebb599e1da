"""ONNX Runtime's providers for a GPU: their options, and whether they really took the graph.

Option names: onnxruntime.ai/docs/execution-providers, CUDA and TensorRT.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import onnxruntime as ort

from acclimate.errors import EngineLoadError
from acclimate.runtime.engine import EngineInfo

Provider = tuple[str, dict[str, str]]
CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
USUAL_STRINGS, USUAL_CLASSES, MOST_CLASSES = 19, 19, 255
PLACEMENT = "session.record_ep_graph_assignment_info"
# What costs the time of a frame; the handling of shapes stays on the processor rightly.
HEAVY = {"Conv", "ConvTranspose", "Einsum", "FusedMatMul", "Gemm", "LayerNormalization", "MatMul"}


def providers_for(engine: str, info: EngineInfo, folder: Path, label: str) -> list[Provider]:
    """The providers of an engine, the processor's last.

    TensorRT's own files go to `folder` under `label`: ONNX Runtime finds them again by the names
    in a graph, not by its weights, so the label must tell two bases apart.
    """
    cpu: list[Provider] = [(CPU, {})]
    if engine == "onnxruntime-cpu":
        return cpu
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
        ort.preload_dlls()  # NVIDIA's wheels are not where the linker looks
    tensorrt = [(TENSORRT, tensorrt_options(info, folder, label))]
    return [*(tensorrt if engine == "onnxruntime-tensorrt" else []), (CUDA, CUDA_OPTIONS), *cpu]


CUDA_OPTIONS = {
    "device_id": "0",
    "use_tf32": "0",  # ten bits of mantissa are no fp32
    # The default tries every algorithm in the first frame of each new shape.
    "cudnn_conv_algo_search": "HEURISTIC",
}


def tensorrt_options(info: EngineInfo, folder: Path, label: str) -> dict[str, str]:
    """Its engines and timings in `folder`; precisions are the graph's own types."""
    folder.mkdir(parents=True, exist_ok=True)
    least, most = info.strings
    usual = min(max(USUAL_STRINGS, least), most)
    shapes = {
        "min": _shapes(info, least, 2),
        "opt": _shapes(info, usual, USUAL_CLASSES),
        "max": _shapes(info, most, MOST_CLASSES),
    }
    return {
        "device_id": "0",
        "trt_fp16_enable": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_engine_cache_prefix": f"onnxruntime-{label}",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_builder_optimization_level": "3",
        **{f"trt_profile_{name}_shapes": text for name, text in shapes.items()},
    }


def check_placement(session: Any, wanted: str) -> None:
    """Raise EngineLoadError where a provider left the work to the processor.

    ONNX Runtime goes on without a provider that does not load, and without a word.
    """
    if (first := session.get_providers()[0]) != wanted:
        raise EngineLoadError(
            f"onnxruntime could not use its {wanted} and took {first}: its CUDA, cuDNN or TensorRT "
            "libraries do not load (pip install 'onnxruntime-gpu[cuda,cudnn]'), or use auto"
        )
    if astray := heavy_on_cpu(session):
        raise EngineLoadError(
            f"onnxruntime runs {', '.join(astray)} on the processor beside {wanted}; use auto"
        )


def heavy_on_cpu(session: Any) -> list[str]:
    """The kinds of heavy operators that the processor was given; none where it does not tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    parts = session.get_provider_graph_assignment_info()
    nodes = [node for part in parts if part.ep_name == CPU for node in part.get_nodes()]
    return sorted({node.op_type for node in nodes} & HEAVY)


def _shapes(info: EngineInfo, strings: int, classes: int) -> str:
    """name:AxBxC,... of the inputs whose shape is free."""
    text = (strings, *info.inputs["text"][0][1:])
    rows = {"text": text, "string_to_class": (strings, classes)}
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in rows.items())
