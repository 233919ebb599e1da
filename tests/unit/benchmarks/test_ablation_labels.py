"""Labels along flow and colours of a whole drive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acclimate.model.colour import Daylight
from benchmarks.ablation_labels import Seen, along_flow, in_drive_colours
from benchmarks.scenes import Frame

Said = tuple[Frame, NDArray[np.float32]]
RNG = np.random.default_rng(0)
WALL = np.repeat(np.repeat(RNG.integers(40, 215, (20, 30, 3)), 8, 0), 8, 1).astype(np.uint8)


def part(moved: int) -> Frame:
    """A camera looks along a wall."""
    return np.ascontiguousarray(WALL[:, moved : moved + 200])


def test_what_the_frames_before_said_outvotes_an_unsure_frame() -> None:
    now, before = part(0), (part(2), part(4), part(6))

    def say(frame: Frame) -> Said:
        """1 where 90 columns of the wall are, but 0 on the newest frame."""
        labels = np.zeros(frame.shape[:2], np.uint8)
        moved = [np.array_equal(frame, one) for one in before]
        if any(moved):
            labels[:, : 90 - 2 * (moved.index(True) + 1)] = 1
        return labels, np.full(labels.shape, 0.5, np.float32)

    labels, found = along_flow(Seen(now, now[..., 0], before), say, 3)
    assert found > 0.7
    assert (labels[30:130, 20:80] == 1).mean() > 0.95
    assert (labels[30:130, 100:180] == 0).mean() > 0.95


def test_a_sure_frame_outvotes_unsure_ones_before() -> None:
    now, before = part(0), (part(0),)

    def say(frame: Frame) -> Said:
        first = frame is now
        sure = np.full(frame.shape[:2], 0.9 if first else 0.4, np.float32)
        return np.full(frame.shape[:2], 2 if first else 1, np.uint8), sure

    assert (along_flow(Seen(now, now[..., 0], before), say, 3)[0] == 2).all()


def test_all_frames_of_a_drive_are_moved_alike() -> None:
    dark, darker = np.full((8, 8, 3), 40, np.uint8), np.full((8, 8, 3), 20, np.uint8)
    dark[:4], darker[:4] = 60, 40
    known = Daylight(np.full((2, 3), 60, np.float32), np.full((2, 3), 20, np.float32))
    first, second = in_drive_colours([dark, darker], known, 1.0)
    assert (first[4:] == second[:4]).all()  # 40 in both
    assert np.mean([first.mean(), second.mean()]) == 60
    assert first.std() == second.std() == 20
    half = in_drive_colours([dark, darker], known, 0.5)
    assert np.mean([one.mean() for one in half]) == 50
