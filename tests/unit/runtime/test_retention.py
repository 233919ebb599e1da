"""Frames grow old: at the start, when one is offered, and while none is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from acclimate.configs.schema import BufferConfig
from acclimate.runtime import buffer as module
from acclimate.runtime import tap as tap_module
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.keys import new_secret
from acclimate.runtime.retention import expire, memories
from acclimate.runtime.tap import Tap
from tests.conftest import wait_until
from tests.unit.runtime.test_buffer import SHARES, fill, frame, place

DAY = BufferConfig(max_age_hours=24)


def age(path: Path, hours: float) -> None:
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))


def test_what_is_older_goes_and_what_is_younger_stays(tmp_path: Path) -> None:
    for hours in (1, 23, 25, 900):
        (tmp_path / f"{hours}.npz").touch()
        age(tmp_path / f"{hours}.npz", hours)
    gone = expire([*tmp_path.iterdir(), tmp_path / "gone.npz"], 24)
    assert {path.name for path in gone} == {"25.npz", "900.npz"}
    assert {path.name for path in tmp_path.iterdir()} == {"1.npz", "23.npz"}


def test_after_a_clock_that_jumped_back_it_begins_to_age(tmp_path: Path) -> None:
    (tmp_path / "a.npz").touch()
    age(tmp_path / "a.npz", -1000)
    assert expire([tmp_path / "a.npz"], 24) == []
    assert abs((tmp_path / "a.npz").stat().st_mtime - time.time()) < 60


def test_at_the_start(tmp_path: Path) -> None:
    fill(FrameBuffer(tmp_path, BufferConfig()), 4)
    for path in sorted(tmp_path.iterdir())[:2]:
        age(path, 25)
    (tmp_path / "0000000009-ab.npz.tmp").touch()
    age(tmp_path / "0000000009-ab.npz.tmp", 25)
    assert len(FrameBuffer(tmp_path, BufferConfig()).entries) == 4, "0 is no limit"
    again = FrameBuffer(tmp_path, DAY)
    assert ([e.sequence for e in again.entries], again.expired) == ([3, 4], 2)
    assert len(list(tmp_path.iterdir())) == 2


def test_when_one_is_offered_even_if_it_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.0)
    buffer = FrameBuffer(tmp_path, DAY)
    fill(buffer, 3)
    age(buffer.entries[0].path, 25)
    assert not buffer.offer(frame(2), SHARES, place(2))
    assert [e.sequence for e in buffer.entries] == [2, 3]


def test_while_nothing_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(tap_module, "LOOK_EVERY", 0.05)
    buffer = FrameBuffer(tmp_path, DAY)
    fill(buffer, 3)
    tap = Tap(buffer)
    try:
        age(buffer.entries[1].path, 25)
        wait_until(lambda: len(buffer.entries) == 2, 20, "the old one to go")
    finally:
        tap.close()


def test_even_those_that_no_key_opens(tmp_path: Path) -> None:
    new_secret(tmp_path / "key")
    fill(FrameBuffer(tmp_path / "b", BufferConfig(key_file=str(tmp_path / "key"))), 2)
    age(sorted((tmp_path / "b").iterdir())[0], 25)
    locked = FrameBuffer(tmp_path / "b", DAY)
    assert locked.locked is not None
    assert (len(list((tmp_path / "b").iterdir())), locked.expired) == (1, 1)


def test_a_reader_removes_nothing(tmp_path: Path) -> None:
    fill(FrameBuffer(tmp_path, BufferConfig()), 2)
    for path in tmp_path.iterdir():
        age(path, 25)
    FrameBuffer(tmp_path, DAY, reader=True)
    assert len(list(tmp_path.iterdir())) == 2


def test_bundles_frames_are_found_wherever_a_bundle_lies(tmp_path: Path) -> None:
    places = ("adapters/a1", "adapters/a2", "words/ab12/a1", "learned", "candidates/a3",
              "candidates/a3-learned")  # fmt: skip
    for place_ in places:
        (tmp_path / place_).mkdir(parents=True)
        (tmp_path / place_ / "memory.safetensors").touch()
        (tmp_path / place_ / "inputs.safetensors").touch()
    assert len(memories(tmp_path)) == len(places)
