"""What memory a step takes, found by going through its shapes: nothing is computed.

Tensors on torch's device "meta" have shapes alone; what operators make of them is counted as long
as it lives, forwards and backwards. Autocast is left out, so half precision takes less than said.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from acclimate.adapt.augment import flip
from acclimate.adapt.lora import adapter_for, network_of
from acclimate.adapt.views import class_logits, look, student_view
from acclimate.adapt.vocalign import IGNORE, mean_activation, pseudo_labels, top_k, upsample
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.model.catseg import CATSeg
from acclimate.model.chunks import piece, recomputing
from acclimate.model.config import CATSegConfig
from acclimate.model.inference import class_probabilities
from acclimate.model.load import build
from acclimate.model.text import TEXTS_AT_ONCE, token_ids

META = torch.device("meta")
MATTERS = (
    "batch", "blocks", "rank", "projections", "towers", "checkpointing", "alignment", "mirror",
    "teacher_colour", "top_k", "prune_student", "ignore_pruned", "ignore_unsure", "guidance",
    "jitter", "hue", "grayscale", "blur", "flip", "mask_block", "replay", "strategy",
)  # fmt: skip
Size = tuple[int, int]


class Alive(TorchDispatchMode):
    """Bytes of the storages that operators made within: now, and at most (`peak`)."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The operator itself; its results are counted until they are gone."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known[key] = weakref.finalize(storage, self._gone, key, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _gone(self, key: int, size: int) -> None:
        self._known.pop(key, None)
        self.now -= size


@dataclass(frozen=True)
class Shapes:
    """What a step's memory depends on beside its settings.

    `strings`, `classes` and `templates` of the vocabulary, how many tokens its longest string and
    its longest name make, `pixels` (H,W) of what the student sees.
    """

    strings: int
    classes: int
    templates: int
    string_tokens: int
    name_tokens: int
    pixels: Size


def shapes_of(words: Words, pixels: Size) -> Shapes:
    """Of a vocabulary, at a size of views."""
    lengths = _longest(words, words.strings), _longest(words, words.texts)
    return Shapes(len(words.strings), len(words.texts), len(words.templates), *lengths, pixels)


def _longest(words: Words, strings: Sequence[str]) -> int:
    texts = [t.format(one) for s in strings for one in s.split(", ") for t in words.templates]
    ids = token_ids(words.base.network, texts, words.base.known)
    return int(ids.argmax(-1).max()) + 1


def step_bytes(config: CATSegConfig, settings: AdaptConfig, shapes: Shapes) -> int:
    """The most that a step of VocAlign holds at once beside weights and optimiser.

    The other strategies take as much or less, Tent as much as VocAlign without pruning.
    """
    return _peak(config, AdaptConfig(**{name: getattr(settings, name) for name in MATTERS}), shapes)


@lru_cache(maxsize=64)
def _peak(config: CATSegConfig, settings: AdaptConfig, shapes: Shapes) -> int:
    with META:
        network = network_of(adapter_for(build(config).eval().requires_grad_(False), settings))
    with Alive() as alive, recomputing(settings.checkpointing):
        _step(network, settings, shapes)
    return alive.peak


def _step(network: CATSeg, settings: AdaptConfig, shapes: Shapes) -> None:
    """The strategy's passes in its order; what it holds is held. Images come one by one and leave
    nothing behind, so that one of them stands for all."""
    images = torch.empty(settings.batch - settings.replayed, 3, *shapes.pixels, device=META)
    probability = _taught(network, settings, images, shapes)
    told = _labels(probability, settings)
    loss_weights = torch.empty(told.shape, device=META)
    flags = torch.zeros(len(images), dtype=torch.bool)
    clean, labels, weights = (flip(one, flags) for one in (images, told, loss_weights))
    views = student_view(clean, settings, torch.Generator())
    classes, strings = _asked(settings, shapes)
    both = settings.alignment == "both"
    whole = _texts(network, strings if both else classes, shapes, both)
    text = whole.detach().requires_grad_(whole.requires_grad)
    owner = torch.ones(strings, classes, device=META) if both else None
    guide = clean[:1] if settings.guidance == "clean" else None
    logits = look(network, views[:1], text, guide)
    logits = logits if owner is None else class_logits(logits.float(), owner)
    each = F.cross_entropy(
        upsample(logits, shapes.pixels), labels[:1], reduction="none", ignore_index=IGNORE
    )
    (each * weights[:1]).sum().backward()
    del logits, each
    if text.grad is not None:
        whole.backward(text.grad)


def _asked(settings: AdaptConfig, shapes: Shapes) -> tuple[int, int]:
    """How many classes the student tells apart, and by how many strings: on average as many a class
    as there are, all of them where all classes stay, as in replayed scenes and for Tent."""
    kept = min(settings.top_k or shapes.classes, shapes.classes)
    all_stay = settings.strategy == "entropy" or settings.replayed > 0
    if kept == shapes.classes or all_stay or not settings.prune_student:
        return shapes.classes, shapes.strings
    return kept, kept * -(-shapes.strings // shapes.classes)


def _labels(probability: Tensor, settings: AdaptConfig) -> Tensor:
    """As `strategies.vocalign.teach` makes them."""
    valid = torch.ones_like(probability[:, 0], dtype=torch.bool)
    kept = top_k(mean_activation(probability, valid), min(settings.top_k, probability.shape[1]))
    floor = settings.tau if settings.ignore_unsure else None
    return pseudo_labels(probability, kept, valid, floor, settings.ignore_pruned).local


@torch.no_grad()
def _taught(network: CATSeg, settings: AdaptConfig, images: Tensor, shapes: Shapes) -> Tensor:
    """The teacher's class probabilities (B,T,H,W)."""
    concepts = settings.alignment != "none"
    strings = shapes.strings if concepts else shapes.classes
    text = _texts(network, strings, shapes, concepts)
    owner = torch.ones(strings, shapes.classes, device=META)
    logits = network(images[:1], text).expand(len(images), -1, -1, -1).contiguous()
    looks = (1 + (settings.teacher_colour != "plain")) * (1 + settings.mirror)
    said = [class_probabilities(logits, owner, shapes.pixels) for _ in range(looks)]
    return torch.stack(said).mean(0)


def _texts(network: CATSeg, count: int, shapes: Shapes, concepts: bool) -> Tensor:
    """Features (S,P,C) of as many strings or names; with a graph where the tower learns."""
    tower, rows = network.clip.text, count * shapes.templates
    length = shapes.string_tokens if concepts else shapes.name_tokens
    if not any(p.requires_grad for p in tower.parameters()):
        return torch.empty(count, shapes.templates, network.config.embed_dim, device=META)
    parts = []
    for part in torch.empty(rows, 0, device=META).split(TEXTS_AT_ONCE):
        x = torch.empty(len(part), length, network.config.text_width, device=META)
        for block in tower.resblocks:
            x = piece(_causal(block), x)
        parts.append(tower.ln_final(x)[:, -1] @ tower.text_projection)
    features = F.normalize(torch.cat(parts), dim=-1)
    return features.unflatten(0, (count, shapes.templates))


def _causal(block: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    return partial(block, causal=True)
