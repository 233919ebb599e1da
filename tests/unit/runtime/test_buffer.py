"""The buffer: bounded, novel, balanced, durable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.configs.schema import BufferConfig
from acclimate.errors import SourceError
from acclimate.runtime import buffer as module
from acclimate.runtime.buffer import FrameBuffer

SHARES = np.array([0.5, 0.5, 0.0], np.float32)


def frame(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (16, 24, 3), dtype=np.uint8)


def place(angle: float) -> NDArray[np.float32]:
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


def fill(buffer: FrameBuffer, count: int, start: int = 0) -> None:
    for seed in range(start, start + count):
        assert buffer.offer(frame(seed), SHARES, place(seed))


def test_it_is_bounded_in_count(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig(max_entries=5))
    fill(buffer, 12)
    assert len(buffer.entries) == len(list(tmp_path.glob("*.npz"))) == 5
    assert buffer.entries[-1].sequence == 12


def test_it_is_bounded_in_bytes(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig(max_mb=0.01))
    fill(buffer, 20)
    assert 0 < buffer.bytes <= 0.01 * 2**20
    assert buffer.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.npz"))


def test_it_takes_what_is_new_and_not_what_is_later(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig(novelty=0.01))
    assert buffer.offer(frame(0), SHARES, place(0.0))
    assert not any(buffer.offer(frame(1), SHARES, place(0.001)) for _ in range(50))
    assert buffer.offer(frame(2), SHARES, place(1.0))
    assert (buffer.offered, buffer.admitted) == (52, 2)


def test_held_out_frames_are_fixed_by_their_hash_and_never_trained_on(tmp_path: Path) -> None:
    buffers = [FrameBuffer(tmp_path / n, BufferConfig(heldout_share=0.4)) for n in "ab"]
    fill(buffers[0], 30)
    for seed in reversed(range(30)):
        buffers[1].offer(frame(seed), SHARES, place(seed))
    held = [{e.path.stem.split("-")[1] for e in b.heldout(99)} for b in buffers]
    assert held[0] == held[1]
    assert 3 < len(held[0]) < 22
    trained = {e.path.stem.split("-")[1] for e in buffers[0].training(99)}
    assert not trained & held[0]


def test_it_survives_a_restart_in_order(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig())
    fill(buffer, 6)
    again = FrameBuffer(tmp_path, BufferConfig())
    assert [e.path for e in again.entries] == [e.path for e in buffer.entries]
    fill(again, 1, start=99)
    assert again.entries[-1].sequence == 7
    np.testing.assert_array_equal(again.load(again.entries[2]), frame(2))


def test_a_torn_write_and_rotten_files_cost_only_themselves(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig())
    fill(buffer, 4)
    rotten = buffer.entries[1].path
    rotten.write_bytes(rotten.read_bytes()[:200])
    (tmp_path / "0000000009-abc.npz.tmp").write_bytes(b"half")
    (tmp_path / "nonsense.npz").write_bytes(b"nonsense")
    again = FrameBuffer(tmp_path, BufferConfig())
    assert [e.sequence for e in again.entries] == [1, 3, 4]
    assert again.removed == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [e.path.name for e in again.entries]


def test_a_full_disk_is_told_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    buffer = FrameBuffer(tmp_path, BufferConfig())
    fill(buffer, 3)
    with monkeypatch.context() as patched:
        patched.setattr(module, "write_atomic", full)
        with pytest.raises(OSError, match="No space"):
            buffer.offer(frame(50), SHARES, place(50))
    assert len(buffer.entries) == 3
    fill(buffer, 1, start=60)
    assert len(FrameBuffer(tmp_path, BufferConfig()).entries) == 4


def test_a_frame_with_a_rare_class_stays(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig(max_entries=8))
    rare = np.array([0.4, 0.4, 0.2], np.float32)
    buffer.offer(frame(0), rare, place(0))
    fill(buffer, 20, start=1)
    assert buffer.entries[0].histogram[2] > 0


def test_a_frame_gone_bad_later_is_named(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig())
    fill(buffer, 1)
    entry = buffer.entries[0]
    entry.path.write_bytes(b"rot")
    with pytest.raises(SourceError, match=entry.path.name):
        buffer.load(entry)
