"""Ledger, box, tap, engine, evaluation: the parts of the serving path."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from acclimate.errors import EngineError, EngineLoadError, SourceError
from acclimate.runtime.box import FrameBox
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import Engine, Result
from acclimate.runtime.evaluate import class_iou, confusion, labelled, mean_iou, resize_labels
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.signals import jensen_shannon
from acclimate.runtime.source import Captured
from acclimate.runtime.tap import Tap
from tests.conftest import wait_until

IMAGE = np.zeros((4, 4, 3), np.uint8)
RESULT = Result(*(np.zeros(1, np.float32),) * 4)  # type: ignore[arg-type]


def captured(ledger: Ledger, number: int) -> Captured:
    ledger.capture()
    return Captured(number, 0.0, 0.0, IMAGE)


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest=True)
    for number in range(5):
        box.put(captured(ledger, number))
    taken = box.get(0)
    assert taken is not None
    assert taken.frame_id == 4
    ledger.serve()
    assert ledger.totals() == {"captured": 5, "served": 1, "dropped": {"superseded": 4},
                               "balanced": True}  # fmt: skip


@pytest.mark.parametrize("newest", [True, False])
def test_two_threads_and_the_books_balance(newest: bool) -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest)

    def camera() -> None:
        for number in range(500):
            box.put(captured(ledger, number))
        box.end()

    thread = threading.Thread(target=camera)
    thread.start()
    seen = []
    while not box.done:
        if (frame := box.get(0.01)) is not None:
            seen.append(frame.frame_id)
            ledger.serve()
    thread.join(10)
    assert ledger.totals()["balanced"]
    assert seen == sorted(seen)
    if not newest:
        assert seen == list(range(500))


def test_closing_drops_what_waits_and_what_comes_late() -> None:
    ledger = Ledger()
    box = FrameBox(ledger, newest=False)
    box.put(captured(ledger, 0))
    box.close()
    box.put(captured(ledger, 1))
    assert box.done
    assert ledger.totals()["dropped"] == {"stopped": 2}


class SlowDisk:
    """A buffer that holds still until it is let go, then fails."""

    entries: list[Any] = []
    bytes = offered = admitted = 0

    def __init__(self) -> None:
        self.go = threading.Event()

    def offer(self, *_: object) -> bool:
        self.go.wait(10)
        raise OSError(28, "No space left on device")


def test_the_tap_never_waits_and_outlives_a_full_disk() -> None:
    disk = SlowDisk()
    tap = Tap(cast("FrameBuffer", disk))
    for _ in range(20):
        tap.offer(IMAGE, RESULT)
    assert tap.skipped >= 18
    disk.go.set()
    wait_until(lambda: tap.failed >= 1, 5, "the failure")
    assert "No space left" in str(tap.trouble)
    tap.close()


@pytest.fixture(scope="module")
def engine(prepared: Path) -> Engine:
    return Engine(prepared / "engine")


@pytest.fixture(scope="module")
def base(prepared: Path, engine: Engine) -> Bundle:
    return load_bundle(prepared / "adapters" / "base", engine.info)


def test_another_bundle_and_back_gives_the_same_bits(engine: Engine, base: Bundle) -> None:
    frame, weight = base.probe_frames[0], "visual.0.q_proj.weight"
    other = Bundle("b", {}, base.inputs | {weight: -base.inputs[weight]}, *(IMAGE,) * 2)
    first = engine.infer(frame, base)
    between = engine.infer(frame, other)
    again = engine.infer(frame, base)
    assert (between.labels != first.labels).any()
    assert again.labels.tobytes() == first.labels.tobytes()
    assert between.embedding.tobytes() == first.embedding.tobytes()  # an adapter cannot move it


def test_outputs_are_what_they_say(engine: Engine, base: Bundle) -> None:
    result = engine.infer(base.probe_frames[0], base)
    assert (result.labels.shape, result.labels.dtype) == ((160, 224), np.uint8)
    shares = np.bincount(result.labels.ravel(), minlength=14) / result.labels.size
    np.testing.assert_allclose(result.histogram, shares, atol=1e-6)
    assert 0 < result.confidence[0] <= 1
    assert np.linalg.norm(result.embedding) == pytest.approx(1, abs=1e-5)


def test_another_number_of_strings_needs_no_rebuild(engine: Engine, base: Bundle) -> None:
    fewer = dict(base.inputs)
    for name in ("text", "string_to_class"):
        fewer[name] = fewer[name][:10]
    labels = engine.infer(base.probe_frames[0], Bundle("f", {}, fewer, *(IMAGE,) * 2)).labels
    assert set(np.unique(labels)) <= set(fewer["string_to_class"].argmax(1))


@pytest.mark.parametrize(
    "frame", [np.zeros((160, 223, 3), np.uint8), np.zeros((160, 224, 3), np.float32)]
)
def test_a_wrong_frame_is_refused(engine: Engine, base: Bundle, frame: Any) -> None:
    with pytest.raises(EngineError, match="not uint8"):
        engine.infer(frame, base)


def test_an_altered_or_missing_engine_is_named(state: Path) -> None:
    path = state / "engine" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EngineLoadError, match=r"model\.onnx.*altered"):
        Engine(state / "engine")
    (state / "engine" / "engine.json").unlink()
    with pytest.raises(EngineLoadError, match=r"engine\.json"):
        Engine(state / "engine")


def test_serving_imports_no_torch() -> None:
    code = (
        "import acclimate.runtime.main, acclimate.runtime.offline, acclimate.daemon.cli, sys;"
        "print([m for m in ('torch', 'open_clip', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_iou_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
    guess = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    table = confusion(truth, guess, 4)
    np.testing.assert_array_equal(table[:3, :3], [[1, 1, 0], [0, 2, 0], [1, 0, 0]])
    np.testing.assert_allclose(class_iou(table), [100 / 3, 200 / 3, 0, np.nan])
    assert mean_iou(table) == pytest.approx(100 / 3)


def test_a_missing_label_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no"):
        list(labelled(tmp_path, tmp_path))
    import cv2

    cv2.imwrite(str(tmp_path / "one.jpg"), IMAGE)
    with pytest.raises(SourceError, match=r"one\.png"):
        list(labelled(tmp_path, tmp_path / "labels"))


def test_labels_grow_without_new_classes() -> None:
    labels = np.array([[3, 7]], np.uint8)
    assert set(np.unique(resize_labels(labels, (10, 30)))) == {3, 7}


def test_jensen_shannon_is_0_to_1() -> None:
    one, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert jensen_shannon(one, one) == pytest.approx(0, abs=1e-9)
    assert jensen_shannon(one, other) == pytest.approx(1, abs=1e-9)
