"""An adapter from another device, or for one: examined whole before it gets a name here.

What comes in never serves by itself: it lies there as `kept`, until `acclimate adapters try` puts
it on probation.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from acclimate.daemon.parcel import LORA, LORA_CONFIG, bounds, pack, unpack
from acclimate.daemon.registry import BASE, Registry
from acclimate.errors import CorruptBundle, IncompatibleBundle, SwapRefused
from acclimate.runtime import trust
from acclimate.runtime.bundle import MANIFEST, MEMORY, load_bundle, read_arrays, verify
from acclimate.runtime.durable import commit_folder, make_folder
from acclimate.runtime.engine import EngineInfo

ARRIVALS, ABANDONED = "imports", 3600.0
_KINDS = ("adapter", "normalisation")
_TARGETS = re.compile(
    r"clip\\\.\([a-z|]+\)\\\.resblocks\\\.\([0-9|]+\)\\\.attn\\\.\([a-z|]+\)_proj"
)
_MOST_RANK = 512
# what PEFT writes for a LoRA that is nothing but one; all else is off: null, false, zero or empty
_USUAL = {
    "bias": "none", "inference_mode": True, "init_lora_weights": True, "peft_type": "LORA",
    "megatron_core": "megatron.core", "qalora_group_size": 16,
    "auto_mapping": {
        "base_model_class": "CATSeg", "parent_library": "acclimate.model.catseg",
    },
}  # fmt: skip
_OWN = ("r", "lora_alpha", "target_modules", "use_rslora", "peft_version")


def export(registry: Registry, name: str, file: Path) -> int:
    """Write an adapter to `file`; returns its size. Raises SwapRefused or BundleError kinds."""
    if name == BASE:
        raise SwapRefused("the base stays: it is made from its weights on every device")
    folder = registry.folder / "adapters" / name
    made = verify(folder)
    try:
        return pack(folder, file, float(made.get("created", 0)))
    except FileExistsError as error:
        raise SwapRefused(f"{file} is there already; name another file") from error


@contextmanager
def arrived(state: Path, file: Path) -> Iterator[Path]:
    """A folder in `state` with what is in a parcel, examined; gone afterwards unless moved.

    Raises BundleError kinds that say what is wrong with it.
    """
    engine = EngineInfo.load(state / "engine")
    for left in (state / ARRIVALS).glob("*"):  # by one that was killed
        if time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    folder = state / ARRIVALS / f"{os.getpid()}-{time.time_ns()}"
    make_folder(folder)
    try:
        unpack(file, folder, bounds(engine))
        examine(folder, engine)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def examine(folder: Path, engine: EngineInfo) -> None:
    """Would the bundle serve on this engine, and could a round start from it? BundleError if not.

    Whether it sees what its maker saw is asked by the runtime, before it serves.
    """
    bundle = load_bundle(folder, engine)
    if bundle.manifest.get("kind") not in _KINDS:
        raise IncompatibleBundle(f"{folder / MANIFEST}: kind is not one of {', '.join(_KINDS)}")
    frames, labels = bundle.probe_frames, bundle.probe_labels
    sized = frames.ndim == 4 and frames.shape[1:] == (*engine.size, 3) and len(frames) > 0
    bytes_each = frames.dtype == np.uint8 and labels.dtype == np.uint8
    if not sized or not bytes_each or labels.shape != frames.shape[:3]:
        raise IncompatibleBundle(
            f"{folder}: its probe frames are not of this engine's {engine.size}"
        )
    if (folder / LORA).exists() != (folder / LORA_CONFIG).exists():
        raise CorruptBundle(f"{folder} holds half of a LoRA")
    if (folder / LORA).exists():
        _examine_lora(folder)


def _examine_lora(folder: Path) -> None:
    for name, value in read_arrays(folder / LORA).items():
        if value.dtype != np.float32 or value.ndim != 2 or not np.isfinite(value).all():
            raise CorruptBundle(f"{folder / LORA}: {name} is no finite float32 matrix")
    try:
        told = json.loads((folder / LORA_CONFIG).read_bytes())
        odd = [k for k, v in told.items() if k not in _OWN and v != _USUAL.get(k) and bool(v)]
        sound = (
            type(told["r"]) is int and 1 <= told["r"] <= _MOST_RANK
            and type(told["lora_alpha"]) in (int, float) and math.isfinite(told["lora_alpha"])
            and told["peft_type"] == "LORA" and isinstance(told["use_rslora"], bool)
            and _TARGETS.fullmatch(told["target_modules"])
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptBundle(f"{folder / LORA_CONFIG} is no LoRA's: {error!r}") from error
    if odd or not sound:
        raise CorruptBundle(
            f"{folder / LORA_CONFIG} asks for more than a LoRA on attention: "
            f"{', '.join(odd) or 'its rank, scale or targets'}"
        )


def arrival(state: Path, name: str) -> Path:
    """The folder of an import that another process examined; raises SwapRefused for any other."""
    folder = state / ARRIVALS / name
    if name in ("", ".", "..") or Path(name).name != name or folder.is_symlink():
        raise SwapRefused(f"{name!r} is no import")
    return folder


def take_in(registry: Registry, folder: Path) -> str:
    """Give an examined bundle a name and a story here; returns the name.

    Digests and signature are looked at again, for between the two another process may have written
    there; then this device's own key signs it. Raises BundleError kinds, and nothing was changed.
    """
    trust.must_sign("the manifest of an import")
    made, content = verify(folder), (folder / MANIFEST).read_bytes()
    base = registry.manifest(BASE) or {}
    if made["base_digest"] != base.get("base_digest"):
        raise IncompatibleBundle(f"{folder} was made for another base model than this device's")
    if (why := registry.condemned(made)) is not None:
        raise IncompatibleBundle(f"{folder} is not taken in: {why}")
    sequence, name = registry.next_name()
    whole = _story(made, registry.folder) | {
        "id": name, "parent": BASE, "sequence": sequence, "created": time.time(),
        "imported": {
            "sha256": hashlib.sha256(content).hexdigest(),
            "signed_by": trust.verify(folder / MANIFEST, content),
            "manifest": {key: value for key, value in made.items() if key != "condition"},
        },
    }  # fmt: skip
    (folder / (MANIFEST + trust.SUFFIX)).unlink(missing_ok=True)
    (folder / MANIFEST).write_text(json.dumps(whole, indent=1) + "\n")
    trust.sign(folder / MANIFEST)
    commit_folder(folder, registry.folder / "adapters" / name)
    return name


def _story(made: dict[str, Any], state: Path) -> dict[str, Any]:
    """What of another device's manifest counts here: each value of the kind it has to be. Neither
    what it earned there does nor the class shares it expects: a probation would believe those."""
    files = {name: digest for name, digest in made["files"].items() if name != MEMORY}
    training = made.get("training")
    age = training.get("age", 0) if isinstance(training, dict) else 0
    return {
        "kind": made["kind"], "base_digest": made["base_digest"], "verdict": {}, "card": {},
        "vocabulary_digest": str(made.get("vocabulary_digest")), "files": files,
        "training": {"age": age} if type(age) is int and 0 <= age < 2**31 else {},
        "condition": _condition(made.get("condition"), state),
    }  # fmt: skip


def _condition(told: Any, state: Path) -> dict[str, Any] | None:
    """Where it was made, if that is a place in this engine's embedding space."""
    if not isinstance(told, dict) or not _numbers(told.get("mean")):
        return None
    spread, mean = told.get("spread"), told["mean"]
    if not isinstance(spread, float) or not 0 < spread < math.inf:
        return None
    if len(mean) != _embedding(state):
        return None
    return {"mean": mean, "spread": spread}


def _embedding(state: Path) -> int | None:
    try:
        with safe_open(state / "engine" / "reference.safetensors", "numpy") as file:
            return int(file.get_slice("embedding").get_shape()[-1])
    except (OSError, SafetensorError):
        return None


def _numbers(told: Any) -> bool:
    return isinstance(told, list) and all(
        type(one) in (int, float) and math.isfinite(one) for one in told
    )
