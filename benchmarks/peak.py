"""The most a device can do: float32 matrix products by whichever library is fastest."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import torch

from benchmarks.rows import session_of

Peaks = dict[str, float]


def matmul_peaks(threads: int) -> Peaks:
    """GFLOP/s of float32 matrix products: `cpu`, and `cuda` where there is such a device."""
    peaks = {"cpu": round(matmul_peak(threads), 1)}
    return peaks | ({"cuda": round(cuda_peak(), 1)} if torch.cuda.is_available() else {})


def cuda_peak(size: int = 8192, rounds: int = 3) -> float:
    """GFLOP/s of a float32 product on the GPU, without TF32 (torch's default)."""
    x = torch.rand(size, size, device="cuda")

    def product() -> None:
        torch.mm(x, x)
        torch.cuda.synchronize()

    product()
    return 2 * size**3 / min(timed(product) for _ in range(rounds)) / 1e9


def matmul_peak(threads: int, size: int = 2048, rounds: int = 3) -> float:
    """GFLOP/s of a float32 matrix product here: the best of torch, NumPy and ONNX Runtime."""
    torch.set_num_threads(threads)
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


def timed(run: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
