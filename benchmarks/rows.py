"""What `benchmarks.serve` compares: the rows by name, each a process of its own.

`python -m benchmarks.rows NAME FOLDER THREADS` opens one on what `benchmarks.exports` wrote, says
so, and then answers a line with a frame's number by a line of JSON. In a process of its own a row's
memory is its own, and no row's library is loaded that it does not need.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from safetensors.numpy import load_file

from acclimate.errors import EngineLoadError
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.choice import CPU, KINDS
from acclimate.runtime.engines import open_engine
from benchmarks.memory import memory_mib

Frame = NDArray[np.uint8]
Way = Callable[[Frame], NDArray[Any]]

PRECISIONS = ("fp32", "fp16")
TORCH = ("plain_eager", "plain_compiled", "eager")
CONSTANTS = "onnxruntime_constants"
SERVED = "onnxruntime_inputs"
# Row -> engine and precision: those that this machine cannot open say so in their row.
ENGINES = {SERVED: (CPU, "fp32")} | {
    f"{engine}_{precision}": (engine, precision) for engine in KINDS for precision in PRECISIONS
}
ROWS = (*TORCH, CONSTANTS, *ENGINES)
ON_PROCESSOR = (CONSTANTS, SERVED)  # even beside a GPU


def open_row(name: str, folder: Path, threads: int) -> Way:
    """Frame (H,W,3) uint8 -> label map (H,W); raises EngineLoadError where there is no such."""
    if name in ENGINES:
        return _engine(folder, threads, *ENGINES[name])
    if name == CONSTANTS:
        return _constants(folder / "constants.onnx", threads)
    from benchmarks import torch_rows  # torch weighs on no other row

    return torch_rows.open_row(name, folder, threads)


def frame_of(number: int, size: tuple[int, int]) -> Frame:
    """Noise (H,W,3); every row sees the same."""
    return np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)


def _engine(folder: Path, threads: int, name: str, precision: str) -> Way:
    inputs, nothing = load_file(folder / "inputs.safetensors"), np.empty(0, np.uint8)
    engine = open_engine(folder, threads, name, precision, capacity=len(inputs["text"]))
    bundle = Bundle("random", {}, inputs, nothing, nothing)
    return lambda frame: engine.infer(frame, bundle).labels


def _constants(path: Path, threads: int) -> Way:
    session = session_of(str(path), threads)
    return lambda frame: np.asarray(session.run(None, {"frame": frame[None]})[0])[0]


def session_of(model: bytes | str, threads: int) -> ort.InferenceSession:
    """ONNX Runtime on the processor, quietly."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Answer until stdin ends; the last line says how much memory it took."""
    name, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    height, width = json.loads((folder / "setting.json").read_text())["size"]
    before, started = memory_mib("VmRSS"), time.perf_counter()
    try:
        way = open_row(name, folder, threads)
    except EngineLoadError as error:
        _say({"unavailable": str(error)})
        return
    way(frame_of(0, (height, width)))
    _say({"opened_s": round(time.perf_counter() - started, 2)})
    for line in sys.stdin:
        frame, started = frame_of(int(line), (height, width)), time.perf_counter()
        labels = way(frame)
        taken = 1000 * (time.perf_counter() - started)
        np.save(folder / f"{name}.npy", labels.astype(np.uint8))
        _say({"ms": round(taken, 3)})
    peak = memory_mib("VmHWM")
    _say({"peak_mib": round(peak, 1), "added_mib": round(peak - before, 1)})


def _say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
