"""Weights files in and out: safetensors and torch's own. No code in a file is ever run."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.torchfile import read_torch

Format = Literal["detectron2", "mmseg", "safetensors"]

_ZIP, _LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\x0a"
_TORCH_NAMES = {".pth", ".pt", ".bin", ".ckpt", ".pkl"}
_TORN = (
    OSError, RuntimeError, SafetensorError, zipfile.BadZipFile, EOFError, ValueError, LookupError,
    TypeError, AttributeError, OverflowError, MemoryError, RecursionError, AssertionError,
    struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A file's tensors (CPU, the file's dtypes) and how they were wrapped."""

    container: str
    tensors: dict[str, Tensor]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name; see `read_checkpoint`."""
    return read_checkpoint(path).tensors


def read_checkpoint(path: Path) -> Checkpoint:
    """Read safetensors, .pth/.pt/.bin (detectron2, mmseg or plain) or OpenAI's TorchScript .pt.

    Raises CheckpointError naming the file if it is missing, torn, holds no tensors or needs
    Python code to be opened.
    """
    try:
        if _is_torch(path):
            return Checkpoint(*read_torch(path))
        return Checkpoint("safetensors", load_file(path))
    except CheckpointError as error:
        raise CheckpointError(f"cannot read weights {path}: {error}") from error
    except _TORN as error:
        raise CheckpointError(
            f"cannot read weights {path}: {error}; copy the file again"
        ) from error


def write_weights(path: Path, tensors: Mapping[str, Tensor], form: Format) -> None:
    """Write `tensors` as `form`, fsynced; on any failure the old file stays.

    Raises CheckpointError that names the file.
    """
    temporary = path.with_name(path.name + ".tmp")
    state = {name: value.contiguous() for name, value in tensors.items()}
    try:
        _write(temporary, state, form)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except (OSError, RuntimeError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {path}: {error}; is there room, and may you write there? "
            "What was there before is untouched"
        ) from error


def _write(path: Path, state: dict[str, Tensor], form: Format) -> None:
    if form == "safetensors":
        save_file(state, path, {"format": "pt"})
    elif form == "mmseg":
        torch.save({"meta": {}, "state_dict": state}, path)
    else:
        torch.save({"model": state}, path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_torch(path: Path) -> bool:
    """By content first: names lie."""
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith((_ZIP, _LEGACY)):
        if path.suffix == ".safetensors":
            raise CheckpointError("it is a torch file by its content; rename it to .pth")
        return True
    return head[8:] != b"{" and path.suffix in _TORCH_NAMES
