"""Streams and scenes: rendered once, and seen through the stream's own camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acclimate.configs.vocabulary import load_vocabulary
from acclimate.world import Drive, Shift
from benchmarks import streams
from benchmarks.drive import FPS, STRIDE
from benchmarks.scenes import TIMES, scenes
from benchmarks.streams import GRADUAL, STREAMS, SUDDEN, Renders, Segment, look

NIGHT, CAST = Segment("night", Shift("night", 0.5)), Segment("camera", Shift("cast", 0.7))


def test_segments_have_names_of_their_own_and_end_as_the_issue_asks() -> None:
    names = [segment.name for one in STREAMS.values() for segment in one]
    assert len(names) == len(set(names))
    assert [s.shift.kind for s in SUDDEN] == [
        "none", "night", "fog", "rain", "none", "cast", "night",
    ]  # fmt: skip
    strengths = [segment.shift.strength for segment in GRADUAL]
    top = strengths.index(max(strengths))
    assert strengths[0] == strengths[-1] == 0
    assert strengths[: top + 1] == sorted(strengths[: top + 1])
    assert strengths[top:] == sorted(strengths[top:], reverse=True)


def test_a_segment_goes_on_where_the_one_before_ended(tmp_path: Path) -> None:
    frames = Renders(tmp_path, 3, range(700, 701)).segment(2, NIGHT, 2)
    drive = Drive(3, fps=FPS)
    for frame, index in zip(frames, (4 * STRIDE, 5 * STRIDE), strict=True):
        assert np.array_equal(frame, drive.frame(index, NIGHT.shift)[0])


def test_scenes_are_those_of_the_other_benchmarks(tmp_path: Path) -> None:
    words = load_vocabulary("world")
    ours = Renders(tmp_path, 3, range(700, 702)).scenes(NIGHT, words)
    for one, other in zip(ours, scenes(range(700, 702), NIGHT.shift, words), strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.labels, other.labels)
        assert len(one.frames) == len(TIMES)


def test_what_was_rendered_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renders, words = Renders(tmp_path, 3, range(700, 701)), load_vocabulary("world")
    first = renders.segment(0, NIGHT, 1), renders.scenes(NIGHT, words)
    monkeypatch.setattr(streams, "look", None)
    again = renders.segment(0, NIGHT, 1), renders.scenes(NIGHT, words)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1][0].labels, again[1][0].labels)
    assert not list(tmp_path.glob("*.tmp"))


def test_another_shift_is_another_rendering(tmp_path: Path) -> None:
    renders = Renders(tmp_path, 3, range(700, 701))
    by_day = renders.segment(0, Segment("day"), 1)[0]
    assert by_day.mean() > 1.3 * renders.segment(0, NIGHT, 1)[0].mean()


def test_all_scenes_share_the_cast_of_the_streams_camera() -> None:
    gains = []
    for seed in (700, 701):
        drive = Drive(seed)
        clean = drive.frame(20)[0].astype(float)
        seen = look(drive, 20, CAST.shift, camera=3)[0].astype(float)
        sound = (clean > 40) & (seen < 250)
        gains.append([(seen / clean)[..., c][sound[..., c]].mean() for c in range(3)])
    assert gains[0] == pytest.approx(gains[1], rel=0.01)
    assert max(gains[0]) > 1.2 * min(gains[0])
