"""Files that survive: the old content or the new, and no file that nobody counts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from acclimate.runtime import durable
from acclimate.runtime.durable import (
    commit_folder,
    fresh_folder,
    remove_folder,
    sha256,
    write_atomic,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def failing_disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """fsync fails for "file" or "folder", whichever is in the list."""
    fails: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        kind = "folder" if Path(f"/proc/self/fd/{handle}").resolve().is_dir() else "file"
        if kind in fails:
            raise OSError(5, "Input/output error")
        real(handle)

    monkeypatch.setattr(durable.os, "fsync", fsync)
    return fails


def test_content_is_replaced_whole(tmp_path: Path) -> None:
    for content in (b"old and long", b"new"):
        write_atomic(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == content
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_new_file_that_could_not_be_synced_is_not_there(
    tmp_path: Path, failing_disk: list[str], kind: str
) -> None:
    failing_disk.append(kind)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(tmp_path / "a", b"new")
    assert names(tmp_path) == []


@pytest.mark.parametrize(("kind", "left"), [("file", b"old"), ("folder", b"new")])
def test_an_old_file_is_never_lost(
    tmp_path: Path, failing_disk: list[str], kind: str, left: bytes
) -> None:
    write_atomic(tmp_path / "a", b"old")
    failing_disk.append(kind)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(tmp_path / "a", b"new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == left


def test_a_folder_is_committed_under_its_name(tmp_path: Path) -> None:
    temporary = fresh_folder(tmp_path / "a.tmp")
    (temporary / "deep").mkdir()
    (temporary / "deep" / "file").write_bytes(b"x")
    commit_folder(temporary, tmp_path / "a")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a" / "deep" / "file").read_bytes() == b"x"


def test_a_folder_that_cannot_be_synced_is_not_committed(
    tmp_path: Path, failing_disk: list[str]
) -> None:
    temporary = fresh_folder(tmp_path / "a.tmp")
    failing_disk.append("folder")
    with pytest.raises(OSError, match="Input/output"):
        commit_folder(temporary, tmp_path / "a")
    assert names(tmp_path) == ["a.tmp"]


def test_a_fresh_folder_is_empty(tmp_path: Path) -> None:
    (fresh_folder(tmp_path / "a") / "left").write_text("x")
    assert names(fresh_folder(tmp_path / "a")) == []


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    (there := tmp_path / "there").mkdir()
    for name in ("a1", "a1.tmp"):
        (tmp_path / name).symlink_to(there)
    remove_folder(tmp_path / "a1")
    assert list(tmp_path.iterdir()) == [there]
