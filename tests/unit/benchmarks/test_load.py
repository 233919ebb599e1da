"""The load benchmark's own arithmetic, and one camera through the real serving process."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from acclimate.configs.source import SourceConfig
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.source import open_source
from benchmarks.load_cameras import NUMBERS, Street, marked, number_of, street
from benchmarks.load_serving import summary


def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (160, 224, 3), np.uint8)


@pytest.mark.parametrize("number", [0, 1, 85, 170, NUMBERS - 1])
def test_a_number_survives_jpeg(number: int) -> None:
    ok, jpg = cv2.imencode(".jpg", marked(picture(), number))
    assert ok
    assert number_of(np.asarray(cv2.imdecode(jpg, cv2.IMREAD_COLOR), np.uint8)) == number


@pytest.mark.parametrize("late", [0.001, 0.3, 20.0])
@pytest.mark.parametrize("camera", [0, 3])
def test_age_is_by_the_cameras_clock_over_turns_of_the_numbers(late: float, camera: int) -> None:
    watched = Street(cameras=4, fps=10.0, port=1, start=1000.0)
    shown = 1000.0 + (700 + camera / 4) / 10.0
    image = marked(picture(), 700 % NUMBERS)
    assert watched.age(image, camera, shown + late) == pytest.approx(late)


def test_a_camera_keeps_its_clock_whoever_looks() -> None:
    ledger, ages = Ledger(), []
    with street(2, 20.0) as watched:
        source = open_source(SourceConfig(url=watched.url(1)), (160, 224))
        stop = threading.Event()
        for frame in source.frames(ledger, stop):
            if len(ages) == 3:
                time.sleep(0.4)  # eight pictures pass by meanwhile
            ages.append(watched.age(frame.image, 1, time.monotonic()))
            if len(ages) == 8:
                stop.set()
    assert min(ages) >= 0
    assert np.median(ages[5:]) < 0.4


def test_unfairness_and_lag_are_seen() -> None:
    books = {"c0": {"balanced": True, "dropped": {}}, "c1": {"balanced": False, "dropped": {}}}
    seen = [(k % 4 // 3, float(k), 10.0 + k) for k in range(120)]
    found = summary(2, 10.0, 12.0, seen, books)
    assert found["served"] == [90, 30]
    assert found["fair"] == pytest.approx(1 / 3, abs=1e-3)
    assert found["lag_ms"] == pytest.approx(80.0)
    assert found["served_fps"] == 10.0
    assert not found["balanced"]


def test_even_service_is_fair_and_does_not_lag() -> None:
    books = {f"c{n}": {"balanced": True, "dropped": {"superseded": 3}} for n in range(4)}
    found = summary(4, 10.0, 10.0, [(k % 4, float(k), 30.0) for k in range(100)], books)
    assert (found["fair"], found["lag_ms"], found["balanced"]) == (1.0, 0.0, True)
