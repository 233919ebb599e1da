"""What is remembered of earlier conditions, and of the source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from acclimate.adapt.gate.memory import BUNDLES, SCENES, Lesson, kept, remembered, source_lesson
from acclimate.adapt.source import Scenes
from acclimate.configs.gate import GateConfig
from acclimate.model.colour import UNCHANGED
from acclimate.runtime.bundle import MEMORY, Bundle
from tests.unit.adapt.gate.conftest import HEIGHT, WIDTH, contender


def written(folder: Path, count: int, **changed: Any) -> Path:
    folder.mkdir()
    arrays = {
        "frames": np.full((count, HEIGHT, WIDTH, 3), count, np.uint8),
        "labels": np.zeros((count, HEIGHT, WIDTH), np.uint8),
    }
    save_file({**arrays, **changed}, folder / MEMORY)
    return folder


def test_the_newest_come_first_and_all_have_a_bound(tmp_path: Path) -> None:
    bundles = [replace(contender(n), inputs={"colour": np.full((7, 3), i)}) for i, n in
               enumerate("abc")]  # fmt: skip
    folders = [written(tmp_path / "a", 3), written(tmp_path / "b", 4), tmp_path / "none"]
    found = remembered(bundles, folders, 6)
    assert [len(one.frames) for one in found] == [4, 2]
    assert [float(one.colour[0, 0]) for one in found] == [1, 0]
    assert remembered(bundles, folders, 0) == []


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    folders = [written(tmp_path / "a", 2), tmp_path / "rot", written(
        tmp_path / "small", 2, frames=np.zeros((2, 8, 8, 3), np.uint8)
    ), written(tmp_path / "odd", 2, labels=np.zeros((1, HEIGHT, WIDTH), np.uint8))]  # fmt: skip
    (tmp_path / "rot").mkdir()
    (tmp_path / "rot" / MEMORY).write_bytes(b"no such thing")
    found = remembered([contender()] * 4, folders, 12)
    assert [len(one.frames) for one in found] == [2]


def test_a_bundle_keeps_its_part_of_the_room(frames: Any) -> None:
    labels = np.zeros((12, HEIGHT, WIDTH), np.uint8)
    each = HEIGHT * WIDTH * 4
    room = GateConfig(memory_mb=5.5 * each * BUNDLES / 2**20)
    assert len(kept(frames, labels, room)["frames"]) == 5
    assert len(kept(frames, labels, replace(room, memory_frames=3))["labels"]) == 3
    assert kept(frames, labels, replace(room, memory_mb=1e-6)) == {}
    chosen = kept(frames, labels, room)["frames"]
    assert np.array_equal(chosen[0], frames[0])
    assert np.array_equal(chosen[-1], frames[-1])


def test_lessons_are_asked_in_their_own_colours(frames: Any, truth: Any) -> None:
    seen: list[float] = []

    class Engine:
        def infer_map(self, frame: Any, bundle: Bundle) -> Any:
            seen.append(float(bundle.inputs["colour"][0, 0]))
            return frame[..., 0] // 50, np.ones(frame.shape[:2], np.float32)

    lesson = Lesson(np.stack(frames), truth.astype(np.uint8), np.full((7, 3), 7, np.float32))
    tables = lesson.tables(Engine(), contender())  # type: ignore[arg-type]
    assert set(seen) == {7.0}
    assert tables.sum(0).trace() == truth.size


def test_the_source_is_its_scenes_or_what_the_base_says_of_its_own_frames(frames: Any) -> None:
    base = contender("base")
    many = Scenes(np.stack([*frames, *frames]), np.zeros((24, HEIGHT, WIDTH), np.uint8))
    lesson = source_lesson(base, many)
    assert len(lesson.frames) == len(lesson.labels) == SCENES
    assert lesson.colour is UNCHANGED
    other = source_lesson(base, None)
    assert other.frames is base.probe_frames
    assert other.labels is base.probe_labels
