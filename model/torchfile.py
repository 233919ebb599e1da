"""torch's own files, and TorchScript's, without running any code they hold.

Source of the layouts: detectron2 nests tensors under "model", mmengine under "state_dict",
OpenAI published CLIP as TorchScript archives.
"""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - torch.load raises it; nothing is unpickled here
from typing import Any, BinaryIO

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from acclimate.errors import CheckpointError

Named = tuple[str, dict[str, Tensor]]
MOST_INFLATED = 4  # times the file; torch does not compress tensors at all

_NESTED = {"model": "detectron2", "state_dict": "mmseg"}
# What training tools leave beside the tensors (logs, settings). Empty stand-ins take its place.
_BOOKKEEPING = (
    "mmengine.", "mmcv.", "mmseg.", "numpy.", "builtins.getattr", "__builtin__.getattr",
    "argparse.Namespace",
)  # fmt: skip
_TORCHSCRIPT = ("__torch__.", "torch.jit._pickle.")


class _Inert:
    """Stands for any class of a file: takes what it is given, runs nothing, keeps its state."""

    state: object = None

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state


def read_torch(path: Path) -> Named:
    """How the tensors of a torch file were wrapped, and the tensors (CPU, the file's dtypes).

    Raises CheckpointError where there are none, or code would have to run to get at them; what
    torch and zipfile raise for a torn file goes through.
    """
    try:
        if not zipfile.is_zipfile(path):
            return _unwrap(torch.load(path, map_location="cpu", weights_only=True))
        if _is_torchscript(path):
            return "torchscript", _torchscript(path)
        with _stand_ins(path, _BOOKKEEPING):
            return _unwrap(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except UnpicklingError as error:
        raise CheckpointError(_foreign(re.findall(r"GLOBAL (\S+)", str(error)))) from error


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        claimed = sum(item.file_size for item in archive.infolist())
        if claimed > MOST_INFLATED * path.stat().st_size + (1 << 20):
            raise CheckpointError(
                f"it says it unpacks to {claimed} bytes: no weights shrink so far"
            )
        return any(_inside(name) == "constants.pkl" for name in archive.namelist())


def _inside(name: str) -> str:
    return name.partition("/")[2]


@contextlib.contextmanager
def _stand_ins(file: Path | BinaryIO, allowed: tuple[str, ...]) -> Iterator[None]:
    """Replace classes below `allowed` by inert ones; raises CheckpointError for any other."""
    names = get_unsafe_globals_in_checkpoint(file)  # type: ignore[arg-type]
    if refused := sorted(name for name in names if not name.startswith(allowed)):
        raise CheckpointError(_foreign(refused))
    with safe_globals([(_Inert, name) for name in names]):
        yield


def _foreign(names: list[str]) -> str:
    if not names:
        return "it is torn, or no torch file; copy it again"
    return (
        f"it can only be opened by running Python code it names ({', '.join(names)}), which is "
        "not done; save its state_dict alone, best as safetensors, where you trust it"
    )


def _unwrap(payload: object) -> Named:
    """Find the tensors; optimizer state and the like beside them are left."""
    container: str = "torch"
    for key, name in _NESTED.items():
        if isinstance(payload, Mapping) and isinstance(payload.get(key), Mapping):
            payload, container = payload[key], name
            break
    if not isinstance(payload, Mapping) or not payload:
        raise CheckpointError("it holds no state dict; save model.state_dict()")
    if odd := sorted(str(key) for key, value in payload.items() if not _is_entry(key, value)):
        raise CheckpointError(f"these are no tensors: {', '.join(odd)}; save model.state_dict()")
    _check_held(payload)
    state = _without_module({key: value.detach() for key, value in payload.items()})
    if any(key.startswith(("teacher.ema_model.", "model.backbone.")) for key in state):
        return "vocalign", _student(state)
    return container, state


def _check_held(state: Mapping[str, Tensor]) -> None:
    """A view may claim any number of elements of one that is in the file; unrolled it would fill
    the memory."""
    for key, value in state.items():
        if value.layout != torch.strided or value.is_quantized:
            raise CheckpointError(f"{key} is no plain tensor; save it dense")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{key} claims {tuple(value.shape)}, more than the file holds")


def _is_entry(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def _without_module(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Distributed training puts `module.` before every name."""
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state


def _student(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """VocAlign keeps a student and its slow copy, the teacher; the student is what it tests."""
    kept = {k: value for k, value in state.items() if not k.startswith("teacher.ema_model.")}
    return {key.removeprefix("model."): value for key, value in kept.items()}


def _torchscript(path: Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive, read from a copy that has no code in it.

    torch.jit.load would load its programs too; the tensors hang on a tree of objects in data.pkl.
    """
    bare = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(bare, "w") as copy:
        for name in archive.namelist():
            if not _inside(name).startswith(("code/", "constants", "traced_inputs")):
                copy.writestr(name, archive.read(name))
    bare.seek(0)
    with _stand_ins(bare, _TORCHSCRIPT):
        bare.seek(0)
        root = torch.load(bare, map_location="cpu", weights_only=True)
    state = dict(_leaves(root, ""))
    _check_held(state)
    return state


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    state = node.state if isinstance(node, _Inert) else None
    for name, value in state.items() if isinstance(state, dict) else ():
        if isinstance(value, Tensor):
            yield prefix + name, value.detach()
        else:
            yield from _leaves(value, f"{prefix}{name}.")
