"""Small films, encoded here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np


def encode(
    path: Path, frames: int = 12, size: tuple[int, int] = (48, 64), codec: str = "libx264",
    rate: int = 10, **options: Any,
) -> Path:  # fmt: skip
    """A film of noise over a grey that grows by 10 a frame; `size` (H, W)."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=rate, options={"g": "10", "bf": "2", **options})
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(frames):
            noise = rng.normal(20 + 10 * index % 200, 30, (*size, 3))
            picture = av.VideoFrame.from_ndarray(np.clip(noise, 0, 255).astype(np.uint8))
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))
    return path
