"""A pinhole camera over a gently curving road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR = 1.0  # m; closer points are pulled out to here


@dataclass(frozen=True)
class Camera:
    """Pixel coordinates have their origin at the top left corner of the image."""

    size: tuple[int, int]
    focal: float  # px
    height: float  # m above the road
    lateral: float  # m right of the road's middle
    horizon: float  # px from the top
    curvature: float  # 1/m, positive to the right

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3) points in metres, z from the camera, to (N, 2) pixel coordinates."""
        z = np.maximum(points[:, 2], NEAR)
        scale = self.focal / z
        x = points[:, 0] - self.lateral + 0.5 * self.curvature * z * z
        pixels = np.empty((len(points), 2), np.float32)
        pixels[:, 0] = 0.5 * self.size[1] + x * scale
        pixels[:, 1] = self.horizon + (self.height - points[:, 1]) * scale
        return pixels

    def ground_depth(self, limit: float = 250.0) -> NDArray[np.float32]:
        """(H, 1) distance of the ground in each row; the limit at and above the horizon."""
        below = np.arange(self.size[0], dtype=np.float32)[:, None] + 0.5 - self.horizon
        depth = self.focal * self.height / np.maximum(below, 1e-3)
        return np.asarray(np.minimum(depth, limit), np.float32)
