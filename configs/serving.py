"""Keys of `serving`: what serves, and what is written out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EngineName = Literal[
    "auto", "onnxruntime-cpu", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt",
    "tensorrt-rtx",
]  # fmt: skip
Precision = Literal["auto", "fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class ServingConfig:
    """What serves, and what is written out.

    `size` (H, W) of a frame in pixels, `batch` frames at a time, `capacity` the most strings that
    an engine built for a GPU takes; `sliding`: windows and an overview of each frame, slower.
    `fit`: how a picture of another size comes into the frame, stretched or with its own aspect.
    """

    size: tuple[int, int] = (160, 224)
    threads: int = 2
    engine: EngineName = "auto"
    precision: Precision = "auto"
    capacity: int = 256
    batch: int = 1
    sliding: bool = False
    fit: Literal["squash", "letterbox"] = "squash"
    overlay_video: bool = True
    label_png: bool = False
    latest_hz: float = 2.0
