"""Bundles: whole or refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from acclimate.errors import BundleError, CorruptBundle, IncompatibleBundle
from acclimate.runtime.bundle import (
    INPUTS,
    MANIFEST,
    PROBE,
    Bundle,
    load_bundle,
    verify,
    write_bundle,
)
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


@pytest.mark.parametrize("name", ["x" * 300, "\ud800", "a\0b", "."])
def test_a_name_of_no_file_is_told(folder: Path, info: EngineInfo, name: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptBundle, match="base"):
        load_bundle(folder, info)


def test_links_in_a_circle_are_told(folder: Path, info: EngineInfo) -> None:
    (folder / INPUTS).unlink()
    (folder / INPUTS).symlink_to(INPUTS)
    with pytest.raises(CorruptBundle, match="quarantine"):
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


def remanifest(folder: Path, **change: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | change))


def copy(one: Bundle, folder: Path, adapter: Path | None = None) -> None:
    manifest = {key: value for key, value in one.manifest.items() if key != "files"}
    write_bundle(folder, manifest, one.inputs, one.probe_frames, one.probe_labels, adapter)


def test_the_adapter_travels_along_and_is_watched(
    folder: Path, info: EngineInfo, tmp_path: Path
) -> None:
    (tmp_path / "lora" / "deep").mkdir(parents=True)
    (tmp_path / "lora" / "deep" / "weights.bin").write_bytes(b"abc")
    copy(load_bundle(folder, info), tmp_path / "copy", tmp_path / "lora")
    load_bundle(tmp_path / "copy", info)
    (tmp_path / "copy" / "adapter" / "deep" / "weights.bin").write_bytes(b"abd")
    with pytest.raises(CorruptBundle, match=r"weights\.bin"):
        load_bundle(tmp_path / "copy", info)


def test_a_torn_earlier_attempt_is_replaced(folder: Path, info: EngineInfo, tmp_path: Path) -> None:
    (tmp_path / "copy.tmp").mkdir()
    (tmp_path / "copy.tmp" / "half.safetensors").write_bytes(b"half")
    copy(load_bundle(folder, info), tmp_path / "copy")
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == sorted(
        [INPUTS, MANIFEST, PROBE]
    )


def test_a_bundle_is_never_overwritten(folder: Path, info: EngineInfo) -> None:
    before = sha256(folder / MANIFEST)
    with pytest.raises(OSError, match="not empty"):
        copy(load_bundle(folder, info), folder)
    assert sha256(folder / MANIFEST) == before


@pytest.mark.parametrize("name", ["/etc/hostname", "../base.txt", "adapter/../../x"])
def test_no_path_leads_out(folder: Path, info: EngineInfo, name: str) -> None:
    files = json.loads((folder / MANIFEST).read_text())["files"]
    remanifest(folder, files={name: "0" * 64} | files)
    with pytest.raises(CorruptBundle, match=r"manifest\.json lists .* outside"):
        load_bundle(folder, info)


def test_a_link_that_leads_out_is_not_followed(
    folder: Path, info: EngineInfo, tmp_path: Path
) -> None:
    outside = (folder / INPUTS).rename(tmp_path / "inputs")
    (folder / INPUTS).symlink_to(outside)
    with pytest.raises(CorruptBundle, match="outside"):
        load_bundle(folder, info)


@pytest.mark.parametrize("name", [INPUTS, PROBE])
def test_a_file_that_is_not_listed_is_not_trusted(
    folder: Path, info: EngineInfo, name: str
) -> None:
    files = json.loads((folder / MANIFEST).read_text())["files"]
    remanifest(folder, files={n: d for n, d in files.items() if n != name})
    with pytest.raises(CorruptBundle, match=rf"does not list .*{name}"):
        load_bundle(folder, info)


def test_a_signed_file_that_is_no_safetensors_is_named(folder: Path, info: EngineInfo) -> None:
    (folder / PROBE).write_bytes(b"signed nonsense")
    files = json.loads((folder / MANIFEST).read_text())["files"]
    remanifest(folder, files=files | {PROBE: sha256(folder / PROBE)})
    with pytest.raises(CorruptBundle, match=rf"{PROBE} is unreadable"):
        load_bundle(folder, info)


def test_a_probe_needs_frames_and_labels(folder: Path, info: EngineInfo) -> None:
    save_file({"frames": np.zeros((1, 2, 2, 3), np.uint8)}, folder / PROBE)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    remanifest(folder, files=files | {PROBE: sha256(folder / PROBE)})
    with pytest.raises(CorruptBundle, match=rf"{PROBE} lacks"):
        load_bundle(folder, info)


def test_every_string_needs_its_class(folder: Path, info: EngineInfo) -> None:
    rewrite(folder, {"text": load_file(folder / INPUTS)["text"][:-1]})
    with pytest.raises(IncompatibleBundle, match="differ in strings"):
        load_bundle(folder, info)


def test_an_input_too_many_is_named(folder: Path, info: EngineInfo) -> None:
    rewrite(folder, {"visual.99.weight": np.zeros(1, np.float32)})
    with pytest.raises(IncompatibleBundle, match=r"visual\.99\.weight"):
        load_bundle(folder, info)


@pytest.mark.parametrize("files", [None, ["a"], {"a\0b": "0"}])
def test_an_odd_list_of_files_is_corrupt(folder: Path, info: EngineInfo, files: object) -> None:
    remanifest(folder, files=files)
    with pytest.raises(CorruptBundle, match="manifest"):
        load_bundle(folder, info)


def test_strided_probes_are_written_as_they_are(
    folder: Path, info: EngineInfo, tmp_path: Path
) -> None:
    one = load_bundle(folder, info)
    strided = replace(one, probe_frames=one.probe_frames[..., ::-1])
    copy(strided, tmp_path / "copy")
    again = load_bundle(tmp_path / "copy", info)
    np.testing.assert_array_equal(again.probe_frames, strided.probe_frames)


def test_another_vocabulary_is_refused(folder: Path, info: EngineInfo) -> None:
    digest = json.loads((folder / MANIFEST).read_text())["vocabulary_digest"]
    assert load_bundle(folder, info, digest).classes == 14
    with pytest.raises(IncompatibleBundle, match="another vocabulary"):
        load_bundle(folder, info, "0" * 64)


@pytest.mark.parametrize("classes", [1, 256])
def test_labels_of_one_byte_bound_the_classes(folder: Path, info: EngineInfo, classes: int) -> None:
    text = load_file(folder / INPUTS)["text"]
    rewrite(folder, {"string_to_class": np.zeros((len(text), classes), np.float32)})
    with pytest.raises(IncompatibleBundle, match=f"{classes} classes"):
        load_bundle(folder, info)


@pytest.mark.parametrize("name", ["\ud800", "a" * 300, "a\0b", "../../secret", "/etc/passwd"])
def test_a_listed_name_that_is_none_of_a_file_here_is_refused(folder: Path, name: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptBundle, match="outside the bundle"):
        verify(folder)


def test_a_folder_that_may_not_be_read_is_not_called_corrupt(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", refuse)
    verify(folder)
