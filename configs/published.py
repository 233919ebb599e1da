"""Weights that others published: where they are, where they go here, and that they stay the same.

The addresses are the publishers' own: README.md of KU-CVLAB/CAT-Seg @6d3a188, README.md of
projects/CAT-Seg in open-mmlab/mmsegmentation, clip/clip.py of openai/CLIP. Only OpenAI publishes
digests (the last but one part of its addresses, which its own loader checks); for the others the
digest of the first download counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from acclimate.errors import CheckpointError

_HUB = "https://huggingface.co/spaces/hamacojr/CAT-Seg-weights/resolve/main/"
_OPENMMLAB = "https://download.openmmlab.com/mmsegmentation/v0.5/cat_seg/"
_OPENAI = "https://openaipublic.azureedge.net/clip/models/"
_MIT = "MIT in the publisher's repository; the file itself names none"


@dataclass(frozen=True)
class Published:
    """One published file; `sha256` only where its publisher states it."""

    what: str
    publisher: str
    licence: str
    address: str
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """Where the file is kept here."""
        return folder() / self.address.rsplit("/", 1)[1]

    @property
    def record(self) -> Path:
        """What was downloaded first: {"sha256", "bytes", "address", "recorded"}."""
        return self.path.with_name(self.path.name + ".json")


def _openai(what: str, sha256: str, file: str) -> Published:
    return Published(what, "OpenAI", _MIT, f"{_OPENAI}{sha256}/{file}", sha256)


PUBLISHED = {
    "catseg-vitb": Published(
        "CAT-Seg v2, ViT-B/16 at 384, trained on COCO-Stuff", "KU-CVLAB", _MIT,
        _HUB + "model_base.pth",
    ),
    "catseg-vitl": Published(
        "CAT-Seg v2, ViT-L/14 at 336, trained on COCO-Stuff", "KU-CVLAB", _MIT,
        _HUB + "model_large.pth",
    ),
    "catseg-v1": Published(
        "CAT-Seg v1, ViT-B/16 and ResNet-101 at 384, which VocAlign adapts", "OpenMMLab",
        "Apache-2.0 in the publisher's repository; the file itself names none",
        _OPENMMLAB + "catseg_vitb-r101_4xb1-warmcoslr2e-4-adamw-80k_ade20k-384x384-54194d72.pth",
    ),
    "clip-vitb": _openai(
        "CLIP ViT-B/16 (two towers only)",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", "ViT-B-16.pt",
    ),
    "clip-vitl": _openai(
        "CLIP ViT-L/14 at 336 (two towers only)",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02", "ViT-L-14-336px.pt",
    ),
}  # fmt: skip


def folder() -> Path:
    """Where pulled weights live: $ACCLIMATE_WEIGHTS, or the user's cache.

    Raises CheckpointError for a user without a home.
    """
    if given := os.environ.get("ACCLIMATE_WEIGHTS"):
        return Path(given)
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise CheckpointError("no home folder to keep weights in; set ACCLIMATE_WEIGHTS") from error
    return Path(cache) / "acclimate" / "weights"


def locate(weights: Path | str) -> tuple[Path, str]:
    """A published name or a file -> the file and its sha256.

    Raises CheckpointError if it is not there, or no longer what was downloaded first.
    """
    published = PUBLISHED.get(str(weights))
    if published is None or Path(weights).is_file():
        return Path(weights), sha256(Path(weights))
    if not published.path.exists():
        raise CheckpointError(
            f"{weights} is not here yet: `acclimate weights pull {weights}`, or get\n"
            f"  {published.address}\non another machine and put it at\n  {published.path}"
        )
    digest = sha256(published.path)
    check(published, digest)
    return published.path, digest


def check(published: Published, digest: str) -> None:
    """Raises CheckpointError unless `digest` is what the publisher or the first download says."""
    if published.sha256 is not None and digest != published.sha256:
        raise CheckpointError(
            f"{published.path} has the sha256 {digest}, its publisher says {published.sha256}: "
            "it was cut or altered on the way; delete it and pull it again"
        )
    first = recorded(published)
    if first is not None and digest != first:
        raise CheckpointError(
            f"{published.path} has the sha256 {digest}, the first download had {first}: the file "
            f"was altered, here or by its publisher. Put the old one back, or, if you trust the "
            f"new one, delete {published.record} and pull again"
        )


def recorded(published: Published) -> str | None:
    """The sha256 of the first download, None before it; CheckpointError if it is unreadable."""
    try:
        return str(json.loads(published.record.read_text())["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"cannot read {published.record}: {error!r}; delete it and pull again"
        ) from error


def sha256(path: Path) -> str:
    """Hex digest of a file of any size; raises CheckpointError naming it."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        names = ", ".join(PUBLISHED)
        raise CheckpointError(
            f"cannot read weights {path}: {error.strerror}; give a file or one of {names}"
        ) from error
    return digest.hexdigest()
