"""A mirrored and a larger picture, and where their pixels lie in the first."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
EDGE = 8  # a zoomed view leaves out this part of each side


def mirror(frame: Frame) -> Frame:
    """(H,W,3) or (H,W) -> left and right changed."""
    return np.ascontiguousarray(frame[:, ::-1])


def zoom(frame: Frame) -> Frame:
    """(H,W,3) -> its middle three quarters at the frame's size."""
    height, width = frame.shape[:2]
    y, x = height // EDGE, width // EDGE
    middle = np.ascontiguousarray(frame[y : height - y, x : width - x])
    return np.asarray(cv2.resize(middle, (width, height)), np.uint8)


def unzoom(labels: NDArray[np.generic], outside: float) -> NDArray[np.generic]:
    """Map (H,W) of a zoomed view -> where it lies in the frame; `outside` beyond its edge."""
    height, width = labels.shape
    y, x = height // EDGE, width // EDGE
    small = cv2.resize(labels, (width - 2 * x, height - 2 * y), interpolation=cv2.INTER_NEAREST)
    whole = np.full_like(labels, outside)
    whole[y : height - y, x : width - x] = small
    return whole
