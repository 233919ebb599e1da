"""What a picture shows by itself, and what the daemon is told of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.configs.drift import DriftConfig
from acclimate.runtime.engine import Result
from acclimate.runtime.look import Look, Motion, blinded, look, small
from acclimate.runtime.stats import Stats
from acclimate.world import Drive, Shift

CONFIG = DriftConfig()


def flat(*rgb: int) -> NDArray[np.uint8]:
    return np.full((160, 224, 3), rgb, np.uint8)


def test_light_is_luma() -> None:
    for rgb in ((10, 10, 10), (200, 50, 90)):  # ITU-R BT.601
        wanted = np.dot(rgb, [0.299, 0.587, 0.114])
        seen = look(small(flat(*rgb)), None)
        assert seen.light == pytest.approx(wanted, abs=0.51)
        assert (seen.contrast, seen.change) == (pytest.approx(0, abs=1e-4), None)


def test_contrast_and_change_are_in_grey_levels() -> None:
    half = flat(100, 100, 100)
    half[:, 112:] = 140
    assert look(small(half), None).contrast == pytest.approx(20)
    assert look(small(half), small(flat(100, 100, 100))).change == pytest.approx(20)


def test_the_sensors_noise_is_no_change() -> None:
    noise = np.random.default_rng(0)
    pair = [(flat(90, 90, 90) + noise.normal(0, 8, (160, 224, 3))).clip(0, 255) for _ in range(2)]
    one, other = (small(image.astype(np.uint8)) for image in pair)
    assert (look(other, one).change or 0) < 1.5
    assert blinded(look(other, one), CONFIG), "nor contrast"


@pytest.mark.parametrize("kind", ["none", "night", "fog", "rain", "cast", "noise"])
def test_the_hardest_of_the_world_is_seen_and_moves(kind: str) -> None:
    drive, shift = Drive(3, fps=10.0), Shift(kind, 0.0 if kind == "none" else 1.0)
    frames = [small(drive.frame(i, shift)[0]) for i in (500, 505)]
    seen = look(frames[1], frames[0])
    assert not blinded(seen, CONFIG)
    assert seen.change is not None
    assert seen.change > CONFIG.min_change


@pytest.mark.parametrize(
    ("seen", "blind"),
    [
        (Look(7.9, 30.0, None), True), (Look(8.0, 30.0, None), False),
        (Look(90.0, 5.9, None), True), (Look(90.0, 6.0, None), False),
        (Look(250.0, 1.0, None), True),
    ],
)  # fmt: skip
def test_dark_or_flat_is_blind(seen: Look, blind: bool) -> None:
    assert blinded(seen, CONFIG) == blind


def parked(*changes: float | None) -> str:
    motion = Motion(2.5)
    return "".join("p" if motion.heed(change) else "." for change in changes)


def test_it_is_parked_until_it_moves_for_a_while() -> None:
    assert parked(None, 9, 9) == "...", "until it is seen to stand still"
    assert parked(9, 9, 9, 1, 9, 9, 9) == "...ppp."
    assert parked(0, 9, 0, 0, 9, 9, 0) == "ppppppp", "clouds, exposure"


def test_without_a_limit_it_is_never_parked() -> None:
    assert not Motion(0).heed(0.0)


RESULT = Result(np.zeros((2, 2), np.uint8), *(np.ones(3, np.float32) / 3 for _ in range(3)))


def report(stats: Stats, frame: NDArray[np.uint8]) -> dict[str, Any]:
    stats.add(frame, RESULT, 1.0, 0.0)
    return stats.take()


def test_each_report_says_whether_the_camera_sees_and_moves() -> None:
    stats, drive = Stats(CONFIG), Drive(3, fps=10.0)
    first = report(stats, drive.frame(0)[0])["look"]
    assert (first["change"], first["blind"], first["parked"]) == (None, False, False)
    parked = [report(stats, drive.frame(i)[0])["look"]["parked"] for i in (5, 5, 10, 15, 20, 25)]
    assert parked == [False, True, True, True, False, False]
    covered = report(stats, flat(3, 3, 3))["look"]
    assert (covered["blind"], stats.sees()) == (True, False)
    assert not report(stats, drive.frame(40)[0])["look"]["blind"]
    assert stats.sees()


def test_an_interval_without_frames_has_no_look() -> None:
    assert "look" not in Stats(CONFIG).take()


def test_cameras_weigh_alike_and_a_covered_one_is_left_out() -> None:
    stats, drive, dark = Stats(CONFIG), Drive(3, fps=10.0), flat(3, 3, 3)
    said = {"front": 0.9, "rear": 0.3, "side": 0.1}
    for camera, count in (("front", 9), ("rear", 1), ("side", 5)):
        told = np.full(3, said[camera], np.float32)
        for _ in range(count):
            frame = dark if camera == "side" else drive.frame(40)[0]
            result = Result(RESULT.labels, told, told, told)
            stats.add(frame, result, 1.0, 0.0, camera)
    found = stats.take()
    assert found["confidence"] == pytest.approx([0.6] * 3, abs=1e-5)
    assert (found["frames"], len(found["latency_ms"])) == (10, 15)
    assert (found["look"]["blind"], found["look"]["light"] > CONFIG.min_light) == (False, True)
    assert [stats.sees(camera) for camera in said] == [True, True, False]


def test_all_covered_is_blind() -> None:
    stats = Stats(CONFIG)
    for camera in ("front", "rear"):
        stats.add(flat(3, 3, 3), RESULT, 1.0, 0.0, camera)
    found = stats.take()
    assert (found["frames"], found["look"]["blind"]) == (2, True)
