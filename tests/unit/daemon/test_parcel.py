"""Parcels: only plain files of known names and sizes get out of one."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from acclimate.daemon import parcel
from acclimate.daemon.parcel import bounds, pack, unpack
from acclimate.errors import CorruptBundle
from acclimate.runtime.engine import EngineInfo

MOST = {
    "manifest.json": 100, "manifest.json.sig": 50, "inputs.safetensors": 2000,
    "probe.safetensors": 2000, "adapter/adapter_config.json": 100,
    "adapter/adapter_model.safetensors": 2000,
}  # fmt: skip
WHOLE = {"manifest.json": b"{}", "inputs.safetensors": b"i" * 700, "probe.safetensors": b"p"}
Change = Callable[[tarfile.TarInfo], None]


def tar(path: Path, files: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as out:
        for name, content in files.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            out.addfile(item, io.BytesIO(content))
    return path


def with_one(path: Path, change: Change, files: dict[str, bytes] | None = None) -> Path:
    """A whole parcel, before it one entry without content that `change` makes."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as out:
        item = tarfile.TarInfo("adapter/adapter_config.json")
        change(item)
        out.addfile(item)
    path.write_bytes(path.read_bytes()[:512] + tar(path, files or WHOLE).read_bytes())
    return path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def test_what_was_packed_is_unpacked_without_the_frames_it_keeps(
    tmp_path: Path, into: Path
) -> None:
    folder = tmp_path / "a1"
    (folder / "adapter").mkdir(parents=True)
    for name in (*MOST, "memory.safetensors", "note.txt"):
        (folder / name).write_bytes(name.encode())
    size = pack(folder, tmp_path / "a1.tar", 7.0)
    assert size == (tmp_path / "a1.tar").stat().st_size
    unpack(tmp_path / "a1.tar", into, MOST)
    found = {str(p.relative_to(into)): p.read_bytes() for p in into.rglob("*") if p.is_file()}
    assert found == {name: name.encode() for name in MOST}
    with pytest.raises(FileExistsError):
        pack(folder, tmp_path / "a1.tar", 7.0)
    assert not (tmp_path / "a1.tar.tmp").exists()


@pytest.mark.parametrize(
    "name",
    ["../manifest.json", "/etc/passwd", "adapter/../../x", "./manifest.json", "manifest.json/",
     "memory.safetensors", "adapter/adapter_model.bin", "adapter/adapter_model.safetensors/x",
     "MANIFEST.JSON", "", "a" * 99, "manifest.json "],
)  # fmt: skip
def test_no_other_name_is_taken(tmp_path: Path, into: Path, name: str) -> None:
    with pytest.raises(CorruptBundle):
        unpack(tar(tmp_path / "a.tar", {name: b"x", **WHOLE}), into, MOST)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "into"]
    assert list(into.iterdir()) == []


def link(kind: bytes, to: str) -> Change:
    def change(item: tarfile.TarInfo) -> None:
        item.type, item.linkname = kind, to

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(link(kind, "/etc/passwd") for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE)),
        *(link(kind, "") for kind in (tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
                                      tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE,
                                      tarfile.GNUTYPE_LONGNAME, tarfile.CONTTYPE)),
        link(tarfile.REGTYPE, "manifest.json"),
    ],
)  # fmt: skip
def test_only_plain_files_are_taken(tmp_path: Path, into: Path, change: Change) -> None:
    with pytest.raises(CorruptBundle, match="no plain file"):
        unpack(with_one(tmp_path / "a.tar", change), into, MOST)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("size", [101, 10**9, 2**62, -1, -(2**60)])
def test_no_size_is_believed_beyond_its_bound(tmp_path: Path, into: Path, size: int) -> None:
    item = tarfile.TarInfo("manifest.json")
    item.size = size
    block = item.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(block + bytes(2048))
    with pytest.raises(CorruptBundle):
        unpack(tmp_path / "a.tar", into, MOST)


def test_a_file_twice_is_one_too_many(tmp_path: Path, into: Path) -> None:
    one = tar(tmp_path / "a.tar", WHOLE).read_bytes()[:1024]
    (tmp_path / "a.tar").write_bytes(one + tar(tmp_path / "b.tar", WHOLE).read_bytes())
    with pytest.raises(CorruptBundle, match=r"manifest\.json twice"):
        unpack(tmp_path / "a.tar", into, MOST)


@pytest.mark.parametrize("missing", sorted(WHOLE))
def test_what_lacks_is_named(tmp_path: Path, into: Path, missing: str) -> None:
    files = {name: content for name, content in WHOLE.items() if name != missing}
    with pytest.raises(CorruptBundle, match=f"lacks {missing}"):
        unpack(tar(tmp_path / "a.tar", files), into, MOST)


def test_a_parcel_that_is_too_large_is_not_even_opened(tmp_path: Path, into: Path) -> None:
    path = tar(tmp_path / "a.tar", WHOLE)
    os.truncate(path, 2**40)  # sparse
    with pytest.raises(CorruptBundle, match="no adapter for this engine has over"):
        unpack(path, into, MOST)


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 60 << 20))
    with pytest.raises(CorruptBundle, match="make room"):
        unpack(tar(tmp_path / "a.tar", WHOLE), into, MOST)
    assert list(into.iterdir()) == []


def test_compression_is_refused(tmp_path: Path, into: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as out:
        out.addfile(tarfile.TarInfo("manifest.json"))
    with pytest.raises(CorruptBundle, match="not a plain tar"):
        unpack(tmp_path / "a.tar.gz", into, MOST)


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 1024, 1600, 2000, 2048])
def test_a_torn_parcel_is_refused(tmp_path: Path, into: Path, length: int) -> None:
    path = tar(tmp_path / "a.tar", WHOLE)
    os.truncate(path, length)
    with pytest.raises(CorruptBundle, match=r"torn|lacks"):
        unpack(path, into, MOST)


@settings(max_examples=150, deadline=None)
@given(some.lists(some.tuples(some.integers(0, 4000), some.integers(0, 255)), max_size=12))
def test_whatever_it_holds_it_stays_in_its_folder(changes: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        content = bytearray(tar(root / "a.tar", WHOLE).read_bytes())
        for at, value in changes:
            content[at] = value
        (root / "a.tar").write_bytes(content)
        (root / "into").mkdir()
        with contextlib.suppress(CorruptBundle):
            unpack(root / "a.tar", root / "into", MOST)
        found = {str(p.relative_to(root / "into")) for p in (root / "into").rglob("*")}
        assert found <= {*MOST, "adapter"}
        assert sorted(p.name for p in root.iterdir()) == ["a.tar", "into"]


def test_bounds_follow_from_the_engine() -> None:
    inputs = {"text": ((-1, 1, 64), "float32"), "w": ((10, 10), "float32")}
    info = EngineInfo("b", (16, 24), 1, False, (2, 1000), inputs, "", {})
    most = bounds(info)
    assert most["inputs.safetensors"] == (1 << 20) + 8 * (1000 * 64 + 100)
    assert set(most) == set(parcel.NAMES)
