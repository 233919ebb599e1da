"""A network ready to use, by name: the embedded default, a published file or one of yours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from acclimate.configs.published import locate
from acclimate.configs.vocabulary_checks import is_template
from acclimate.errors import CheckpointError
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import load_official
from acclimate.model.colour import Daylight
from acclimate.model.config import CATSegConfig
from acclimate.model.files import read_weights
from acclimate.model.shapes import build, identify, infer
from acclimate.model.templates import IMAGENET_SELECT_CLIP, SINGLE

__all__ = ["EMBEDDED", "BaseModel", "build", "load_base"]

EMBEDDED = {
    name: Path(__file__).parent / name / "weights.safetensors" for name in ("default", "augmented")
}
_OFFICIAL = {"v2": SINGLE, "v1": IMAGENET_SELECT_CLIP}
_STRANGERS = 67  # rows of a compact token table beside its known words, see text.compact
_NO_BASE = {
    "clip": "this holds CLIP's towers alone; a base has CAT-Seg's aggregator and decoder too",
    "unknown": "no tensor in it has a name of CAT-Seg; see `acclimate weights inspect`",
}

Head = Literal["softmax", "sigmoid"]
Description = tuple[CATSegConfig, tuple[str, ...], Daylight | None]


@dataclass(frozen=True)
class BaseModel:
    """A read-only base: the network (eval mode, no gradients) and what belongs to it.

    `known` lists the CLIP token ids of a compact token table, None for the full one;
    `digest` is the sha256 of the weights file; `daylight` the colours it was trained under, None
    where nobody measured them; `head` how its logits were trained, see `head_of`.
    """

    network: CATSeg
    templates: tuple[str, ...]
    known: Tensor | None
    digest: str
    daylight: Daylight | None = None
    head: Head = "softmax"


def load_base(weights: Path | str | None = None) -> BaseModel:
    """Load an embedded base (None: the default), a published file by its name, or a weights file.

    A config.json beside the file tells its shape; official files need none. Raises
    CheckpointError naming the file and what is wrong with it.
    """
    path, digest = locate(EMBEDDED.get(str(weights or "default"), weights or ""))
    state = read_weights(path)
    known = state.pop("known_tokens", None)
    beside = path.with_name("config.json")
    try:
        shape, templates, daylight = describe(beside, state)
        head = head_of(beside, shape)
        _check_known(known, shape)
        network = build(shape)
        load_official(network, state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    network = network.eval().requires_grad_(False)
    return BaseModel(network, templates, known, digest, daylight, head)


def describe(config: Path, state: dict[str, Tensor]) -> Description:
    """Sizes, templates and daylight, from the file `config` or else from official tensors.

    `config` is {"network": sizes, "template": a sentence or a list of them, "daylight"?, "head"?}.
    Raises CheckpointError that names it if it is wrong.
    """
    if not config.exists():
        kind = identify(state)
        if kind == "clip" or kind == "unknown":
            raise CheckpointError(_NO_BASE[kind])
        return infer(state, kind), _OFFICIAL[kind], None
    try:
        stored = json.loads(config.read_text())
        told, colours = stored["template"], stored.get("daylight")
        templates = tuple(told) if isinstance(told, list) else (told,)
        daylight = None if colours is None else Daylight.from_dict(colours)
        shape = CATSegConfig.from_dict(dict(stored["network"]))
        _check_templates(templates, shape)
        return shape, templates, daylight
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"cannot read {config}: {error!r}; it must describe the weights beside it"
        ) from error
    except CheckpointError as error:
        raise CheckpointError(f"{config}: {error}") from error


def head_of(config: Path, shape: CATSegConfig) -> Head:
    """How logits were trained: a softmax over all strings, or a sigmoid for each.

    What the file `config` says in "head", else softmax; without it the official v2 (KU-CVLAB: BCE)
    is "sigmoid" and v1 "softmax". Raises CheckpointError for another word.
    """
    if not config.exists():
        return "softmax" if shape.variant == "v1" else "sigmoid"
    head: Head = json.loads(config.read_text()).get("head", "softmax")
    if head not in get_args(Head):
        raise CheckpointError(f"{config}: head {head!r} is not {' or '.join(get_args(Head))}")
    return head


def _check_templates(templates: tuple[str, ...], shape: CATSegConfig) -> None:
    if odd := [sentence for sentence in templates if not is_template(sentence)]:
        raise CheckpointError(f"template {odd[0]!r} must be a sentence with one {{}} for the class")
    takes = (shape.num_templates, shape.num_templates * shape.template_tiles)
    if len(templates) not in takes:
        raise CheckpointError(f"{len(templates)} templates, its network takes {takes[0]}")


def _check_known(known: Tensor | None, shape: CATSegConfig) -> None:
    if known is None:
        return
    if known.dtype != torch.int64 or known.dim() != 1:
        raise CheckpointError(f"known_tokens: {known.dtype} {tuple(known.shape)}, not int64 (V,)")
    if not bool((known[1:] > known[:-1]).all()):
        raise CheckpointError("known_tokens: token ids must rise, or words are looked up wrongly")
    if len(known) + _STRANGERS != shape.vocab_size:
        raise CheckpointError(
            f"known_tokens: {len(known)} ids need a token table of {len(known) + _STRANGERS} rows, "
            f"this one has {shape.vocab_size}"
        )
