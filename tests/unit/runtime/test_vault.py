"""Entries, closed: each as a whole, under its own name, with one key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acclimate.configs.schema import BufferConfig
from acclimate.errors import SourceError
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.keys import new_secret
from acclimate.runtime.vault import Vault
from tests.unit.runtime.test_buffer import SHARES, fill, frame, place


@pytest.fixture
def key(tmp_path: Path) -> str:
    new_secret(tmp_path / "key")
    return str(tmp_path / "key")


def another(tmp_path: Path) -> str:
    new_secret(tmp_path / "another")
    return str(tmp_path / "another")


def test_what_was_closed_opens_again_and_shows_nothing(key: str) -> None:
    vault, content = Vault(key), b"a frame of the road " * 50
    closed = [vault.close("1-a.sealed", content) for _ in range(2)]
    assert [vault.open("1-a.sealed", one) for one in closed] == [content, content]
    assert closed[0] != closed[1]
    assert not any(b"frame" in one for one in closed)


@pytest.mark.parametrize("at", range(0, 90, 7))
def test_a_changed_bit_anywhere_is_found(key: str, at: int) -> None:
    vault = Vault(key)
    closed = bytearray(vault.close("1-a.sealed", b"x" * 40))
    closed[at] ^= 1
    with pytest.raises((ValueError, SourceError)):
        vault.open("1-a.sealed", bytes(closed))


def test_an_entry_does_not_take_anothers_place(key: str) -> None:
    vault = Vault(key)
    with pytest.raises(ValueError, match="another entry's"):
        vault.open("2-b.sealed", vault.close("1-a.sealed", b"x"))


def test_the_name_of_a_closed_frame_does_not_tell_which_it_is(key: str, tmp_path: Path) -> None:
    assert Vault(None).digest(b"x") == Vault(None).digest(b"x")
    assert len({Vault(None).digest(b"x"), Vault(key).digest(b"x"),
                Vault(another(tmp_path)).digest(b"x")}) == 3  # fmt: skip


# ---- the buffer behind it


def test_a_buffer_with_a_key_is_as_good_as_one_without(tmp_path: Path, key: str) -> None:
    config = BufferConfig(key_file=key)
    buffer = FrameBuffer(tmp_path / "b", config)
    fill(buffer, 5)
    assert {path.suffix for path in (tmp_path / "b").iterdir()} == {".sealed"}
    png, signature = b"\x89PNG", b"PK\x03\x04"
    for path in (tmp_path / "b").iterdir():
        assert png not in path.read_bytes()
        assert signature not in path.read_bytes()
    again = FrameBuffer(tmp_path / "b", config, reader=True)
    assert [e.sequence for e in again.entries] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(again.load(again.entries[2]), frame(2))


def test_frames_from_before_the_key_are_closed_and_keep_their_place(
    tmp_path: Path, key: str
) -> None:
    plain = FrameBuffer(tmp_path / "b", BufferConfig(heldout_share=0.5))
    fill(plain, 6)
    config = BufferConfig(heldout_share=0.5, key_file=key)
    again = FrameBuffer(tmp_path / "b", config)
    assert {path.suffix for path in (tmp_path / "b").iterdir()} == {".sealed"}
    assert [(e.sequence, e.heldout) for e in again.entries] == [
        (e.sequence, e.heldout) for e in plain.entries
    ]
    np.testing.assert_array_equal(again.load(again.entries[4]), frame(4))


@pytest.mark.parametrize("wrong", ["another", "none", "gone", "readable by all"])
def test_a_wrong_key_costs_nothing_and_says_so(tmp_path: Path, key: str, wrong: str) -> None:
    folder = tmp_path / "b"
    fill(FrameBuffer(folder, BufferConfig(key_file=key)), 3)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    given = {"another": another(tmp_path), "none": None, "gone": str(tmp_path / "gone")}
    if wrong == "readable by all":
        Path(key).chmod(0o644)
    buffer = FrameBuffer(folder, BufferConfig(key_file=given.get(wrong, key)))
    assert buffer.locked is not None
    assert "key" in buffer.locked
    assert (buffer.entries, buffer.removed) == ([], 0)
    with pytest.raises(SourceError, match="key"):
        buffer.offer(frame(9), SHARES, place(9))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    Path(key).chmod(0o600)
    assert len(FrameBuffer(folder, BufferConfig(key_file=key)).entries) == 3


def test_a_rotten_closed_entry_costs_only_itself(tmp_path: Path, key: str) -> None:
    config = BufferConfig(key_file=key)
    fill(FrameBuffer(tmp_path / "b", config), 3)
    rotten = sorted((tmp_path / "b").iterdir())[1]
    content = bytearray(rotten.read_bytes())
    content[-1] ^= 1
    rotten.write_bytes(content)
    again = FrameBuffer(tmp_path / "b", config)
    assert ([e.sequence for e in again.entries], again.removed) == ([1, 3], 1)


def test_without_its_key_nothing_is_left_of_a_purged_buffer(tmp_path: Path, key: str) -> None:
    config = BufferConfig(key_file=key)
    buffer = FrameBuffer(tmp_path / "b", config)
    fill(buffer, 3)
    path = buffer.entries[0].path
    stolen, old = path.read_bytes(), Path(key).read_text()
    assert buffer.purge(0) == 3
    buffer.forget_key()
    assert list((tmp_path / "b").iterdir()) == []
    assert Path(key).read_text() != old
    with pytest.raises(SourceError, match="encrypted with the key"):
        Vault(key).open(path.name, stolen)
    fill(buffer, 2, start=20)
    assert len(FrameBuffer(tmp_path / "b", config).entries) == 2
