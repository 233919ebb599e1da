"""Bundles: whole or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from acclimate.errors import BundleError, CorruptBundle, IncompatibleBundle
from acclimate.runtime.bundle import INPUTS, MANIFEST, PROBE, load_bundle, write_bundle
from acclimate.runtime.durable import sha256
from acclimate.runtime.engine import EngineInfo


@pytest.fixture
def folder(state: Path) -> Path:
    return state / "adapters" / "base"


@pytest.fixture
def info(state: Path) -> EngineInfo:
    return EngineInfo.load(state / "engine")


def rewrite(folder: Path, change: dict[str, np.ndarray | None]) -> None:
    """Change or drop inputs and sign the manifest anew."""
    inputs = {**load_file(folder / INPUTS), **change}
    save_file({k: v for k, v in inputs.items() if v is not None}, folder / INPUTS)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][INPUTS] = sha256(folder / INPUTS)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_round_trip_changes_nothing(folder: Path, info: EngineInfo, tmp_path: Path) -> None:
    one = load_bundle(folder, info)
    manifest = {key: value for key, value in one.manifest.items() if key != "files"}
    write_bundle(tmp_path / "copy", manifest, one.inputs, one.probe_frames, one.probe_labels)
    two = load_bundle(tmp_path / "copy", info)
    assert two.manifest == one.manifest
    for name, value in one.inputs.items():
        np.testing.assert_array_equal(two.inputs[name], value)
    assert not (tmp_path / "copy.tmp").exists()


@pytest.mark.parametrize("name", [INPUTS, PROBE])
@pytest.mark.parametrize("at", [0, -1])
def test_one_flipped_bit_is_found(folder: Path, info: EngineInfo, name: str, at: int) -> None:
    content = bytearray((folder / name).read_bytes())
    content[at] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CorruptBundle, match=name):
        load_bundle(folder, info)


@pytest.mark.parametrize("name", [INPUTS, PROBE, MANIFEST])
def test_a_missing_file_is_named(folder: Path, info: EngineInfo, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CorruptBundle, match="manifest" if name == MANIFEST else name):
        load_bundle(folder, info)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": "x"}'])
def test_a_rotten_manifest_is_named(folder: Path, info: EngineInfo, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(CorruptBundle, match="manifest"):
        load_bundle(folder, info)


def test_files_outside_the_bundle_are_not_read(folder: Path, info: EngineInfo) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["../../../secret"] = "0"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptBundle, match="outside"):
        load_bundle(folder, info)


def test_another_base_is_incompatible(folder: Path, info: EngineInfo) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"base_digest": "f" * 64}))
    with pytest.raises(IncompatibleBundle, match="another base"):
        load_bundle(folder, info)


@pytest.mark.parametrize(
    ("value", "kind", "word"),
    [
        (np.full((128, 128), np.nan, np.float32), CorruptBundle, "NaN"),
        (np.full((128, 128), np.inf, np.float32), CorruptBundle, "infinity"),
        (np.zeros((128, 127), np.float32), IncompatibleBundle, "128"),
        (np.zeros((128, 128), np.float64), IncompatibleBundle, "float64"),
        (None, IncompatibleBundle, "visual.0.q_proj"),
    ],
)
def test_bad_weights_are_named_even_when_signed(
    folder: Path, info: EngineInfo, value: np.ndarray | None, kind: type[BundleError], word: str
) -> None:
    rewrite(folder, {"visual.0.q_proj.weight": value})
    with pytest.raises(kind, match=word):
        load_bundle(folder, info)
