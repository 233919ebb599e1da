"""What a window counts, when it ends, and what it holds against a candidate."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import jaccard_score

from acclimate.configs.schema import ShadowConfig
from acclimate.errors import EngineError
from acclimate.runtime.shadow import Report, Shadow, class_disagreement, compare, share_jump

NAMES = ("road", "sky", "car", "person")
CONFIG = ShadowConfig(frames=5, duty=1.0, min_frames=3)
BUNDLE: Any = SimpleNamespace(classes=len(NAMES))
FRAME = np.zeros((9, 12, 3), np.uint8)
HALF = np.zeros((9, 12), np.uint8)
HALF[:, 6:] = 1


def maps(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 3, (31, 44)).astype(np.uint8)  # "person" is said by nobody
    other = np.where(rng.random(one.shape) < 0.3, rng.integers(0, 3, one.shape), one)
    return one, other.astype(np.uint8)


def test_classes_are_compared_by_iou() -> None:
    one, other = maps(0)
    found = class_disagreement(compare(one, other, len(NAMES)), NAMES)
    reference = jaccard_score(one.ravel(), other.ravel(), labels=[0, 1, 2], average=None)
    assert {name: 1 - found[name] for name in NAMES[:3]} == pytest.approx(
        dict(zip(NAMES[:3], reference, strict=True)), abs=1e-4
    )
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert "person" not in found


def test_regions_are_ninths_and_add_up() -> None:
    one, other = maps(1)
    tally = compare(one, other, len(NAMES))
    assert tally.regions[0].sum() == (one != other).sum()
    assert tally.regions[1].sum() == one.size
    corner = HALF.copy()
    corner[6:, :4] = 3
    differing = compare(HALF, corner, len(NAMES)).regions
    assert differing[0].tolist() == [[0, 0, 0], [0, 0, 0], [12, 0, 0]]
    assert (differing[1] == 12).all()


def test_a_jump_is_of_the_class_whose_share_changed_most() -> None:
    other = HALF.copy()
    other[:, 3:6] = 2  # a quarter of the frame: road loses it, car gains it
    jump, which = share_jump(compare(HALF, other, len(NAMES)))
    assert (jump, which in (0, 2)) == (0.25, True)


def test_frames_add_up() -> None:
    pairs = [maps(seed) for seed in (2, 3)]
    together = compare(*(np.vstack(side) for side in zip(*pairs, strict=True)), len(NAMES))
    total = compare(*pairs[0], len(NAMES)) + compare(*pairs[1], len(NAMES))
    assert (total.classes == together.classes).all()
    assert total.regions.sum() == together.regions.sum()


class Twin:
    """Says what it is told to; the frame after is offered while it thinks."""

    def __init__(self, says: Callable[[int], Any]) -> None:
        self.says, self.asked = says, 0
        self.shadow: Shadow | None = None

    def infer(self, frame: NDArray[np.uint8], bundle: Any) -> Any:
        self.asked += 1
        assert self.shadow is not None
        self.shadow.offer(FRAME, HALF)
        return self.says(self.asked)


def result(labels: NDArray[np.uint8], confidence: float = 0.9) -> Any:
    return SimpleNamespace(
        labels=labels, confidence=np.full(3, confidence), embedding=np.ones(4, np.float32)
    )


def watch(says: Callable[[int], Any], offer: bool = True, **changes: Any) -> tuple[Report, Twin]:
    twin: Any = Twin(says)
    twin.shadow = Shadow(replace(CONFIG, **changes), NAMES, threading.Event())
    if offer:
        twin.shadow.offer(FRAME, HALF)
    return twin.shadow.watch(twin, BUNDLE), twin


def test_a_candidate_that_agrees_passes_after_exactly_its_frames() -> None:
    report, twin = watch(lambda _: result(HALF))
    assert (report.reasons, report.untried, report.frames, twin.asked) == ((), False, 5, 5)
    assert (report.disagreement, report.share_jump) == (0, 0)
    assert report.classes == {"road": 0, "sky": 0}


def test_one_that_disagrees_is_refused_with_its_number() -> None:
    report, _ = watch(lambda _: result(1 - HALF))
    assert report.disagreement == 1
    assert report.reasons == (
        "disagrees with what serves on 100.0% of 5 live frames' pixels, 30.0% are allowed",
    )
    assert not report.untried


def test_one_that_moves_a_class_is_refused_with_its_name() -> None:
    other = HALF.copy()
    other[:, 3:6] = 2
    report, _ = watch(lambda _: result(other), max_share_jump=0.2)
    (reason,) = report.reasons
    assert "share of" in reason
    assert "jump by 25.0%, 20.0% are allowed" in reason


@pytest.mark.parametrize("sick", [np.nan, np.inf])
def test_one_without_finite_signals_is_refused(sick: float) -> None:
    report, twin = watch(lambda n: result(HALF, sick if n == 2 else 0.9))
    assert "not finite" in report.reasons[0]
    assert (twin.asked, report.untried) == (2, False)


def test_one_that_fails_is_refused() -> None:
    def fail(number: int) -> Any:
        raise EngineError("out of device memory")

    report, _ = watch(fail)
    assert report.reasons == ("it failed on a live frame: out of device memory",)
    assert not report.untried


def test_without_frames_nothing_is_held_against_it() -> None:
    report, twin = watch(lambda _: result(HALF), offer=False, deadline_s=0.05)
    assert (report.untried, report.frames, twin.asked) == (True, 0, 0)
    assert "saw 0 frames, 3 are needed" in report.reasons[0]


def test_a_spent_budget_ends_it_and_what_was_seen_is_judged() -> None:
    report, twin = watch(lambda _: result(HALF), max_ms=1e-9, min_frames=1)
    assert (twin.asked, report.frames, report.reasons) == (1, 1, ())
    report, _ = watch(lambda _: result(1 - HALF), max_ms=1e-9, min_frames=3)
    assert report.untried, "one frame of three is no verdict"


def test_it_rests_as_long_as_its_duty_says(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("acclimate.runtime.shadow.time.monotonic", lambda: clock[0])
    rests: list[float] = []
    stop: Any = SimpleNamespace(is_set=lambda: False, wait=rests.append)

    def think(_: int) -> Any:
        clock[0] += 0.03
        return result(HALF)

    twin: Any = Twin(think)
    twin.shadow = Shadow(replace(CONFIG, duty=0.25), NAMES, stop)
    twin.shadow.offer(FRAME, HALF)
    report = twin.shadow.watch(twin, BUNDLE)
    assert rests == pytest.approx([0.09] * 5)
    assert report.computing_ms == pytest.approx(150)


def test_an_offer_never_waits_and_keeps_a_pair_together() -> None:
    shadow = Shadow(CONFIG, NAMES, threading.Event())
    for i in range(3):
        shadow.offer(np.full((9, 12, 3), i, np.uint8), np.full((9, 12), i, np.uint8))
    frame, labels = shadow._slot.get_nowait()
    assert (frame.max(), labels.max()) == (0, 0)
    assert shadow._slot.empty()


def test_a_stop_ends_it() -> None:
    stop = threading.Event()
    stop.set()
    twin: Any = Twin(lambda _: result(HALF))
    assert Shadow(CONFIG, NAMES, stop).watch(twin, BUNDLE).untried
