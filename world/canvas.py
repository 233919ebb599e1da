"""Paints meshes back to front into a picture of colours and a picture of slot numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from acclimate.world.camera import Camera
from acclimate.world.mesh import NO_SLOT, Mesh, Slot

_BITS = 3  # sub-pixel bits of polygon corners
_UNIT = 1 << _BITS
_SKY_DEPTH = 250.0  # m


@dataclass(frozen=True)
class Anchor:
    """Where a mesh was painted: u, v in px; its near and far end and its flank in metres."""

    u: float
    v: float
    near: float
    far: float
    flank: float  # across, from the camera to its nearest side


@dataclass(frozen=True)
class Placed:
    """A mesh at x (m from the road's middle) and z (m from the camera)."""

    mesh: Mesh
    x: float
    z: float


class Canvas:
    """image (2H, 2W, 3) uint8 for anti-aliasing; slots (H, W) int32; shade (H, W) uint8."""

    def __init__(self, camera: Camera, sky: NDArray[np.uint8], backdrop: Slot) -> None:
        height, width = camera.size
        self.camera = camera
        self.image: NDArray[np.uint8] = sky
        self.slots: NDArray[np.int32] = np.zeros((height, width), np.int32)
        self.shade: NDArray[np.uint8] = np.zeros((height, width), np.uint8)
        self.table: list[Slot] = [backdrop]
        self.anchors: list[Anchor] = [Anchor(0.0, 0.0, _SKY_DEPTH, _SKY_DEPTH, 0.0)]

    def paint(self, items: Sequence[Placed]) -> None:
        """Paint the items in the order given."""
        if not items:
            return
        fine, coarse, starts = self._project(items, [item.mesh.points for item in items])
        for item, start in zip(items, starts, strict=True):
            self._paint_mesh(item, fine[start:], coarse[start:])

    def cast(self, items: Sequence[Placed]) -> None:
        """Lay the items' shadows on the ground."""
        items = [item for item in items if len(item.mesh.shadow)]
        if not items:
            return
        _, coarse, starts = self._project(items, [item.mesh.shadow for item in items])
        for item, start in zip(items, starts, strict=True):
            ring = coarse[start : start + len(item.mesh.shadow)]
            cv2.fillPoly(self.shade, [ring], 255, cv2.LINE_8, _BITS)

    def _project(
        self, items: Sequence[Placed], points: list[NDArray[np.float32]]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], list[int]]:
        """Fixed-point corners at both scales, and where each item's corners start."""
        counts = [len(p) for p in points]
        offsets = np.array([(item.x, 0.0, item.z) for item in items], np.float32)
        pixels = self.camera.project(np.concatenate(points) + np.repeat(offsets, counts, axis=0))
        # Half a pixel off, since the drawing functions count from pixel centres.
        fine = np.rint((2.0 * pixels - 0.5) * _UNIT).astype(np.int32)
        coarse = np.rint((pixels - 0.5) * _UNIT).astype(np.int32)
        starts = np.concatenate(([0], np.cumsum(counts)[:-1])).tolist()
        return fine, coarse, starts

    def _paint_mesh(self, item: Placed, fine: NDArray[np.int32], coarse: NDArray[np.int32]) -> None:
        base = len(self.table)
        anchor = self._anchor(item, coarse[0])
        self.table.extend(item.mesh.slots)
        self.anchors.extend([anchor] * len(item.mesh.slots))
        for part in item.mesh.parts:
            if anchor.near > part.reach:
                continue
            shape = (-1, part.corners, 2)
            span = slice(part.start, part.stop)
            outlines = list(fine[span].reshape(shape))
            cv2.fillPoly(self.image, outlines, part.colour, cv2.LINE_8, _BITS)
            if part.slot != NO_SLOT:
                outlines = list(coarse[span].reshape(shape))
                cv2.fillPoly(self.slots, outlines, base + part.slot, cv2.LINE_8, _BITS)

    def _anchor(self, item: Placed, corner: NDArray[np.int32]) -> Anchor:
        near = max(item.z, 1.0)
        left = item.x + item.mesh.left - self.camera.lateral
        right = item.x + item.mesh.right - self.camera.lateral
        far = max(item.z + item.mesh.depth, near)
        u, v = (float(c) / _UNIT for c in corner)
        return Anchor(u, v, near, far, max(left, -right, 0.0))
