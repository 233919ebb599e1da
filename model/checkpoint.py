"""Official CAT-Seg state dicts in and out: every tensor, strictly, under the file's own names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.catseg import CATSeg
from acclimate.model.files import Format, write_weights
from acclimate.model.official import Layout, clip_layout, constants, layout
from acclimate.model.shapes import identify


def load_official(network: CATSeg, state: Mapping[str, Tensor]) -> None:
    """Load official tensors (any float dtype, upcast) into `network`, v2's or v1's.

    Raises CheckpointError that names every missing, extra, misshapen and non-finite key; the
    network is then untouched.
    """
    wrong = misfits(state, to_official(network)) or _altered(state, constants(network))
    _require(_other_variant(network, state) + wrong if wrong else [])
    network.load_state_dict(_unpack(state, layout(network)))


def to_official(network: CATSeg) -> dict[str, Tensor]:
    """The network's tensors under the official names, with the constants these files hold."""
    state = _pack(network.state_dict(), layout(network))
    return state | {key: value.contiguous() for key, value in constants(network).items()}


def save_official(
    network: CATSeg, path: Path, form: Format, like: Mapping[str, Tensor] | None = None
) -> None:
    """Write the network under its official names, in float32 or in the dtypes of `like`.

    Taking a half precision file up to float32 and back down changes no bit, so what was loaded
    from `like` is written as it was. Raises CheckpointError naming the file.
    """
    state = to_official(network)
    if like is not None:
        state = {key: value.to(like[key].dtype) for key, value in state.items()}
    write_weights(path, state, form)


def load_clip(network: CATSeg, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Put CLIP's weights (OpenAI's or open_clip's names, any float dtype) into both towers.

    Returns the official names of the tensors that stay as they were: all outside the towers.
    Raises CheckpointError that names every missing, extra, misshapen and non-finite key; the
    network is then untouched.
    """
    given = {key.removeprefix("text."): v for key, v in state.items() if not _is_extra(key)}
    if "visual.class_embedding" not in given:
        raise CheckpointError("this is no CLIP ViT in OpenAI's or open_clip's names")
    _require(misfits(given, to_clip(network)))
    towers = clip_layout(network)
    network.load_state_dict(_unpack(given, towers), strict=False)
    loaded = {name for names in towers.values() for name in names}
    return tuple(key for key, names in layout(network).items() if not loaded.issuperset(names))


def to_clip(network: CATSeg) -> dict[str, Tensor]:
    """The towers' tensors under CLIP's own names."""
    return _pack(network.state_dict(), clip_layout(network))


def misfits(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Every way in which a file's tensors are not the wanted ones (names, shapes, numbers)."""
    problems = [f"missing {key}" for key in sorted(wanted.keys() - state.keys())]
    problems += [f"unexpected {key}" for key in sorted(state.keys() - wanted.keys())]
    for key in sorted(wanted.keys() & state.keys()):
        have, need = state[key], wanted[key]
        if have.shape != need.shape:
            shapes = f"file has {tuple(have.shape)}, network needs {tuple(need.shape)}"
            problems.append(f"{key}: {shapes}")
        elif have.is_floating_point() != need.is_floating_point():
            problems.append(f"{key}: file has {have.dtype}, network needs {need.dtype}")
        elif not is_finite(have):
            problems.append(f"{key}: holds NaN or infinity")
    return problems


def is_finite(tensor: Tensor) -> bool:
    """No NaN and no infinity, in any dtype."""
    return bool(tensor.float().isfinite().all())


def _other_variant(network: CATSeg, state: Mapping[str, Tensor]) -> list[str]:
    """The likeliest reason for a thousand wrong keys goes first."""
    kind, needed = identify(state), network.config.variant
    names = {"v2": "CAT-Seg v2", "v1": "CAT-Seg v1", "clip": "CLIP's towers alone"}
    if kind == needed or kind == "unknown":
        return []
    return [f"the file is {names[kind]}, the network is CAT-Seg {needed}"]


def _altered(state: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{key}: not what the sizes of this network give; it was made for another"
        for key, value in fixed.items()
        if not torch.equal(state[key].to(value), value)
    ]


def _require(problems: list[str]) -> None:
    if problems:
        raise CheckpointError("weights do not fit this network:\n  " + "\n  ".join(problems))


def _pack(own: Mapping[str, Tensor], table: Layout) -> dict[str, Tensor]:
    return {
        key: (own[names[0]] if len(names) == 1 else torch.cat([own[n] for n in names])).contiguous()
        for key, names in table.items()
    }


def _unpack(state: Mapping[str, Tensor], table: Layout) -> dict[str, Tensor]:
    ours: dict[str, Tensor] = {}
    for key, names in table.items():
        parts = [state[key]] if len(names) == 1 else state[key].chunk(len(names))
        ours |= dict(zip(names, parts, strict=True))
    return ours


def _is_extra(key: str) -> bool:
    """OpenAI's archives hold three sizes as tensors; masks follow from the sizes."""
    sizes = ("input_resolution", "context_length", "vocab_size")
    return key in sizes or key.endswith("attn_mask")
