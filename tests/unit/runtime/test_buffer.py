"""The buffer: bounded, novel, balanced, durable."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.configs.schema import BufferConfig
from acclimate.errors import SourceError
from acclimate.runtime import buffer as module
from acclimate.runtime import durable
from acclimate.runtime.buffer import FrameBuffer
from benchmarks.crash_disk import Disk, Refusal

SHARES = np.array([0.5, 0.5, 0.0], np.float32)


def frame(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (16, 24, 3), dtype=np.uint8)


def place(angle: float) -> NDArray[np.float32]:
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


def fill(buffer: FrameBuffer, count: int, start: int = 0) -> None:
    for seed in range(start, start + count):
        assert buffer.offer(frame(seed), SHARES, place(seed))


def test_it_knows_which_camera_a_frame_came_from(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig())
    buffer.offer(frame(0), SHARES, place(0.0), "front")
    buffer.offer(frame(1), SHARES, place(1.0))
    again = FrameBuffer(tmp_path, BufferConfig(), reader=True)
    assert [entry.camera for entry in again.entries] == ["front", ""]


def test_entries_of_before_cameras_had_names_stay(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig())
    fill(buffer, 1)
    path = buffer.entries[0].path
    with np.load(path) as stored:
        told = {name: stored[name] for name in stored if name != "camera"}
    with path.open("wb") as file:
        np.savez(file, **told)
    again = FrameBuffer(tmp_path, BufferConfig())
    assert (again.removed, [entry.camera for entry in again.entries]) == (0, [""])


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


def test_a_folder_that_cannot_be_synced_leaves_no_uncounted_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Path) -> None:
        raise OSError(5, "Input/output error")

    buffer = FrameBuffer(tmp_path, BufferConfig())
    fill(buffer, 2)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input/output"):
        patched.setattr(durable, "sync", failing)
        buffer.offer(frame(50), SHARES, place(50))
    assert sorted(tmp_path.iterdir()) == [entry.path for entry in buffer.entries]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES, errno.ENOENT])
def test_what_cannot_be_read_now_is_no_rot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fill(FrameBuffer(tmp_path, BufferConfig()), 3)
    read, second = Path.read_bytes, sorted(tmp_path.iterdir())[1]

    def failing(path: Path) -> bytes:
        if path == second:
            raise OSError(number, "not now")
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", failing)
        one = FrameBuffer(tmp_path, BufferConfig())
    assert (one.removed, [e.sequence for e in one.entries]) == (0, [1, 3])
    again = FrameBuffer(tmp_path, BufferConfig())
    assert [e.sequence for e in again.entries] == [1, 2, 3]


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


@pytest.mark.parametrize("kept", [0, 1, 30, 200, -1])
def test_a_file_cut_anywhere_is_removed_and_counted(tmp_path: Path, kept: int) -> None:
    fill(FrameBuffer(tmp_path, BufferConfig()), 3)
    rotten = sorted(tmp_path.glob("*.npz"))[0]
    rotten.write_bytes(rotten.read_bytes()[:kept])
    again = FrameBuffer(tmp_path, BufferConfig())
    assert (again.removed, [e.sequence for e in again.entries]) == (1, [2, 3])
    assert not rotten.exists()


def test_one_flipped_byte_in_the_picture_is_found(tmp_path: Path) -> None:
    fill(FrameBuffer(tmp_path, BufferConfig()), 2)
    rotten = sorted(tmp_path.glob("*.npz"))[0]
    content = bytearray(rotten.read_bytes())
    content[len(content) // 2] ^= 1
    rotten.write_bytes(content)
    assert [e.sequence for e in FrameBuffer(tmp_path, BufferConfig()).entries] == [2]


def entry_bytes(folder: Path) -> bytes:
    """A sound entry's content, its file gone."""
    fill(FrameBuffer(folder, BufferConfig()), 1)
    (path,) = folder.glob("*.npz")
    content = path.read_bytes()
    path.unlink()
    return content


def array_alone() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def other_zip(content: bytes, offset: int, value: int) -> bytes:
    """The zip directory's first entry with one byte changed."""
    at = content.index(b"PK\x01\x02") + offset
    return content[:at] + bytes([value]) + content[at + 1 :]


@pytest.mark.parametrize("rot", ["5.npz", "5-nohex.npz", "no zip", "version 25.5", "deflated"])
def test_odd_names_and_odd_archives_cost_only_themselves(tmp_path: Path, rot: str) -> None:
    sound = entry_bytes(tmp_path)
    contents = {
        "no zip": array_alone(), "version 25.5": other_zip(sound, 6, 255),
        "deflated": other_zip(sound, 10, 8),
    }  # fmt: skip
    name = rot if rot.endswith(".npz") else "0000000005-00ff00ff00ff00ff.npz"
    (tmp_path / name).write_bytes(contents.get(rot, sound))
    (tmp_path / "0000000006-00ff00ff00ff00ff.npz").write_bytes(sound)
    again = FrameBuffer(tmp_path, BufferConfig())
    assert (again.removed, [e.sequence for e in again.entries]) == (1, [6])


def test_a_reader_lists_but_removes_nothing(tmp_path: Path) -> None:
    fill(FrameBuffer(tmp_path, BufferConfig()), 2)
    (tmp_path / "0000000003-abc.npz.tmp").write_bytes(b"being written")
    (tmp_path / "rot.npz").write_bytes(b"rot")
    before = sorted(tmp_path.iterdir())
    reader = FrameBuffer(tmp_path, BufferConfig(), reader=True)
    assert (len(reader.entries), reader.removed) == (2, 1)
    assert sorted(tmp_path.iterdir()) == before


def test_newest_means_the_last_ones_in_order(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig(heldout_share=0.5))
    fill(buffer, 12)
    for part in (buffer.training, buffer.heldout):
        assert part(2) == part(99)[-2:]
        assert [e.sequence for e in part(99)] == sorted(e.sequence for e in part(99))
    assert len(buffer.training(99)) + len(buffer.heldout(99)) == 12


def test_what_is_held_out_stays_so_after_a_restart(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig(heldout_share=0.5))
    fill(buffer, 10)
    again = FrameBuffer(tmp_path, BufferConfig(heldout_share=0.5))
    assert [e.heldout for e in again.entries] == [e.heldout for e in buffer.entries]


def test_the_newer_half_is_never_evicted(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path, BufferConfig(max_entries=6))
    fill(buffer, 20)
    assert {18, 19, 20} <= {e.sequence for e in buffer.entries}


def test_frames_seen_under_other_words_stay_and_are_the_first_to_go(tmp_path: Path) -> None:
    """A frame is worth learning from whatever was looked for in it; its shares are not compared."""
    fill(FrameBuffer(tmp_path, BufferConfig(max_entries=4)), 3)
    again = FrameBuffer(tmp_path, BufferConfig(max_entries=4))
    sequences = []
    for seed in range(50, 54):
        assert again.offer(frame(seed), np.ones(19, np.float32), place(seed))
        sequences.append([entry.sequence for entry in again.entries])
    assert sequences == [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6], [4, 5, 6, 7]]
    assert again.removed == 0


def test_frames_of_another_base_leave(tmp_path: Path) -> None:
    fill(FrameBuffer(tmp_path, BufferConfig()), 3)
    again = FrameBuffer(tmp_path, BufferConfig())
    assert again.offer(frame(50), SHARES, np.array([1, 0, 0], np.float32))
    assert ([entry.sequence for entry in again.entries], again.removed) == ([4], 3)


def test_a_read_only_disk_keeps_nobody_from_starting(tmp_path: Path) -> None:
    fill(FrameBuffer(tmp_path, BufferConfig()), 3)
    (tmp_path / "0000000009-abc.npz.tmp").write_bytes(b"half")
    (tmp_path / "nonsense.npz").write_bytes(b"nonsense")
    with Disk(tmp_path, Refusal(1, errno.EROFS, 10**9)):
        one = FrameBuffer(tmp_path, BufferConfig(max_entries=2))
        assert len(one.entries) == 3
        with pytest.raises(OSError, match="Read-only"):
            one.offer(frame(50), SHARES, place(50))
    assert len(one.entries) == 3, "what is still there is still counted"
    assert len(FrameBuffer(tmp_path, BufferConfig(max_entries=2)).entries) == 2


def test_a_folder_that_is_gone_comes_back(tmp_path: Path) -> None:
    buffer = FrameBuffer(tmp_path / "buffer", BufferConfig())
    (tmp_path / "buffer").rmdir()
    fill(buffer, 1)
    assert len(FrameBuffer(tmp_path / "buffer", BufferConfig()).entries) == 1


@pytest.mark.parametrize("odd", [np.array(["a", "b"]), np.full(2, np.nan), np.float32(1)])
@pytest.mark.parametrize("which", ["histogram", "embedding"])
def test_an_entry_whose_signals_are_no_numbers_is_rotten(
    tmp_path: Path, which: str, odd: Any
) -> None:
    sound = np.full(2, 0.5, np.float32)
    file = io.BytesIO()
    told = {"png": np.zeros(3, np.uint8), "histogram": sound, "embedding": sound, which: odd}
    np.savez(file, **told)
    (tmp_path / "0000000001-0123456789abcdef.npz").write_bytes(file.getvalue())
    buffer = FrameBuffer(tmp_path, BufferConfig())
    assert (buffer.entries, buffer.removed) == ([], 1)
