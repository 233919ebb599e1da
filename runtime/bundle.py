"""A bundle: everything the engine takes besides the frame, with the story of how it was made.

inputs.safetensors   every engine input except `frame`
probe.safetensors    frames (N,H,W,3) and the labels (N,H,W) the maker saw on them
adapter/             the LoRA in PEFT's own format; absent for the base
memory.safetensors   frames it was judged on and what was to be said of them, for later gates;
                     frames of the road, so that they may be taken away later
manifest.json        who, from whom, gate report, condition, sha256 of every file; written last
manifest.json.sig    who vouches for it, see acclimate.runtime.trust; only where a key is configured
"""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from acclimate.errors import CorruptBundle, IncompatibleBundle
from acclimate.runtime import trust
from acclimate.runtime.durable import commit_folder, fresh_folder, sha256
from acclimate.runtime.engine import EngineInfo

Arrays = dict[str, NDArray[Any]]
MANIFEST, INPUTS, PROBE, MEMORY, ADAPTER = (
    "manifest.json", "inputs.safetensors", "probe.safetensors", "memory.safetensors", "adapter",
)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory."""

    id: str
    manifest: dict[str, Any]
    inputs: Arrays
    probe_frames: NDArray[np.uint8]
    probe_labels: NDArray[np.uint8]

    @property
    def classes(self) -> int:
        """How many classes it serves."""
        return int(self.inputs["string_to_class"].shape[1])

    def in_colours(self, colour: NDArray[np.float32]) -> Bundle:
        """The same weights and words in other colours (7,3), see `acclimate.model.colour`."""
        return replace(self, inputs=self.inputs | {"colour": colour})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle folder; raises CorruptBundle, or UntrustedBundle where signatures
    are required."""
    try:
        content = (folder / MANIFEST).read_bytes()
        trust.verify(folder / MANIFEST, content)
        manifest = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptBundle(f"{folder} has no readable manifest: {error}") from error
    if not isinstance(manifest, dict) or not {"id", "files", "base_digest"} <= manifest.keys():
        raise CorruptBundle(f"{folder / MANIFEST} lacks id, files or base_digest")
    if not isinstance(manifest["files"], dict):
        raise CorruptBundle(f"{folder / MANIFEST}: files must map names to digests")
    return manifest


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle whose files are all there and what they were; raises CorruptBundle
    naming the one that is not, or UntrustedBundle."""
    manifest = read_manifest(folder)
    try:
        _check_files(folder, manifest["files"])
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, names of no file
        raise CorruptBundle(
            f"a file of {folder} cannot be read ({error}); quarantine this adapter"
        ) from error
    return manifest


def _check_files(folder: Path, files: dict[str, Any]) -> None:
    for name, digest in files.items():
        path = folder / name
        if not _lies_in(folder, name):
            raise CorruptBundle(f"{folder / MANIFEST} lists {name!r}, a file outside the bundle")
        if name == MEMORY and not path.exists():
            continue  # purged
        if not path.is_file() or sha256(path) != digest:
            raise CorruptBundle(f"{path} is missing or was altered; quarantine this adapter")
    for path in [folder / MEMORY, *(folder / ADAPTER).rglob("*")]:
        if path.is_file() and str(path.relative_to(folder)) not in files:
            raise CorruptBundle(f"{path} is not in the manifest; remove it, nobody vouches for it")


def _lies_in(folder: Path, name: str) -> bool:
    """Is it a name that a file of this folder could have?"""
    try:
        (folder / name).lstat()
    except ValueError:  # nothing that a file system could write
        return False
    except OSError as error:  # any other is for who reads the file
        if error.errno == errno.ENAMETOOLONG:
            return False
    return (folder / name).resolve().is_relative_to(folder.resolve())


def load_bundle(folder: Path, engine: EngineInfo, vocabulary: str | None = None) -> Bundle:
    """Read and verify a bundle for `engine`, and for the vocabulary of this digest if given.

    Raises CorruptBundle (missing, altered, torn or non-finite content), IncompatibleBundle
    (another base or vocabulary, other shapes) or UntrustedBundle (see `acclimate.runtime.trust`);
    each names the file.
    """
    manifest = verify(folder)
    if missing := {INPUTS, PROBE} - manifest["files"].keys():
        raise CorruptBundle(f"{folder / MANIFEST} does not list {sorted(missing)}")
    if manifest["base_digest"] != engine.base_digest:
        raise IncompatibleBundle(f"{folder} was made for another base model than the engine's")
    if vocabulary not in (None, manifest.get("vocabulary_digest")):
        raise IncompatibleBundle(f"{folder} was made for another vocabulary than is served here")
    inputs, probe = read_arrays(folder / INPUTS), read_arrays(folder / PROBE)
    _check_inputs(folder / INPUTS, inputs, engine)
    if not {"frames", "labels"} <= probe.keys():
        raise CorruptBundle(f"{folder / PROBE} lacks frames or labels")
    return Bundle(manifest["id"], manifest, inputs, probe["frames"], probe["labels"])


def write_bundle(
    folder: Path, manifest: dict[str, Any], inputs: Arrays, probe_frames: NDArray[np.uint8],
    probe_labels: NDArray[np.uint8], adapter: Path | None = None, memory: Arrays | None = None,
) -> None:  # fmt: skip
    """Write a bundle so that it exists whole, and signed if there is a key, or not at all."""
    temporary = fresh_folder(folder.with_name(folder.name + ".tmp"))
    arrays = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
    save_file(arrays, temporary / INPUTS)
    probe = {"frames": probe_frames, "labels": probe_labels}
    save_file({k: np.ascontiguousarray(v) for k, v in probe.items()}, temporary / PROBE)
    if memory:
        save_file({k: np.ascontiguousarray(v) for k, v in memory.items()}, temporary / MEMORY)
    if adapter is not None:
        shutil.copytree(adapter, temporary / ADAPTER)
    paths = sorted(p for p in temporary.rglob("*") if p.is_file())
    files = {str(p.relative_to(temporary)): sha256(p) for p in paths}
    text = json.dumps({**manifest, "files": files}, indent=1)
    (temporary / MANIFEST).write_text(text + "\n")
    trust.sign(temporary / MANIFEST)
    commit_folder(temporary, folder)


def read_arrays(path: Path) -> Arrays:
    """Every array of a safetensors file; raises CorruptBundle."""
    try:
        arrays: Arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptBundle(f"{path} is unreadable: {error}") from error
    return arrays


def _check_inputs(path: Path, inputs: Arrays, engine: EngineInfo) -> None:
    if inputs.keys() != engine.inputs.keys():
        odd = sorted(inputs.keys() ^ engine.inputs.keys())
        raise IncompatibleBundle(f"{path} and the engine differ in the inputs {odd}")
    for name, value in inputs.items():
        shape, kind = engine.inputs[name]
        fits = len(shape) == value.ndim and all(
            want in (-1, have) for want, have in zip(shape, value.shape, strict=True)
        )
        if not fits or str(value.dtype) != kind:
            raise IncompatibleBundle(f"{path}: {name} is {value.dtype}{value.shape}, not {shape}")
        if not np.isfinite(value).all():
            raise CorruptBundle(f"{path}: {name} holds NaN or infinity")
    if len(inputs["text"]) != len(inputs["string_to_class"]):
        raise IncompatibleBundle(f"{path}: text and string_to_class differ in strings")
    if not 2 <= (classes := inputs["string_to_class"].shape[1]) <= 255:
        raise IncompatibleBundle(f"{path} has {classes} classes, the engine takes 2 to 255")
    if not engine.takes(count := len(inputs["text"])):
        least, most = engine.strings
        raise IncompatibleBundle(f"{path} has {count} strings, the engine takes {least} to {most}")
