"""Both sides of self-training: what the teacher says of clean images, what the student sees."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.adapt.augment import Jitter, blur, colour_jitter, grayscale
from acclimate.adapt.lora import network_of
from acclimate.adapt.masking import block_mask, draw
from acclimate.adapt.strategy import Setup
from acclimate.adapt.texts import StudentTexts
from acclimate.adapt.vocalign import aggregate
from acclimate.configs.adapt import AdaptConfig
from acclimate.model.catseg import CATSeg
from acclimate.model.colour import recolour
from acclimate.model.v1 import CATSegV1


@torch.no_grad()
def teacher_probability(setup: Setup, images: Tensor) -> Tensor:
    """Clean images (B,3,H,W) -> class probabilities (B,T,H,W) of the tensors now in the model.

    The mean over its looks: as they are, in its second colours, and both mirrored, as set.
    One image at a time, as the student: memory must not grow with the batch.
    """
    network, words, settings = network_of(setup.model), setup.words, setup.settings
    plain = settings.alignment == "none"
    text, owner = (words.embed_names(), None) if plain else (words.embed(), words.owner)
    owner = torch.eye(len(text), device=text.device) if owner is None else owner
    size = (images.shape[-2], images.shape[-1])

    def say(views: Tensor) -> Tensor:
        logits = torch.cat([network(view, text) for view in views.split(1)])
        return aggregate(logits / words.temperature, owner, size)

    looks = [images]
    if settings.teacher_colour != "plain":
        looks.append(recolour(images, setup.daylight.to(images.device)))
    said = [say(look) for look in looks]
    if settings.mirror:
        said += [say(look.flip(-1)).flip(-1) for look in looks]
    return torch.stack(said).mean(0)


def student_view(images: Tensor, settings: AdaptConfig, generator: torch.Generator) -> Tensor:
    """Jittered, then masked (B,3,H,W), as released: hidden blocks are black."""
    strength = settings.jitter
    jitter = Jitter(strength, strength, strength, min(settings.hue, 0.5))
    views = colour_jitter(images, jitter, generator)
    views = grayscale(views, settings.grayscale, generator)
    views = blur(views, settings.blur, generator)
    size, block = (views.shape[-2], views.shape[-1]), settings.mask_block
    noise = draw(len(views), size, block, generator)
    return views * block_mask(noise, size, block, settings.mask_ratio).to(views.device)


def student_texts(setup: Setup, kept: Tensor) -> StudentTexts:
    """What the student looks for in images of the classes `kept` (B,K)."""
    return StudentTexts(setup.words, kept, setup.settings.alignment == "both")


def student_logits(
    setup: Setup, texts: StudentTexts, image: Tensor, kept: Tensor, clean: Tensor
) -> Tensor:
    """One view (1,3,H,W) -> class logits (1,K,h,w) of the classes `kept` (K,), differentiable.

    From all strings of a class or from its name alone, by `alignment`. `clean` is the same view
    without jitter and mask, for v1's guidance.
    """
    guide = clean if setup.settings.guidance == "clean" else None
    text, owner = texts.of(kept)
    logits = look(network_of(setup.model), image, text, guide) / setup.words.temperature
    return logits if owner is None else class_logits(logits.float(), owner)


def look(network: CATSeg, image: Tensor, text: Tensor, guide: Tensor | None) -> Tensor:
    """Logits (B,S,h,w); v1's ResNet looks at `guide` where there is one. v2's guide is CLIP."""
    if guide is None or not isinstance(network, CATSegV1):
        logits: Tensor = network(image, text)
        return logits
    views = [network.preprocess(view) for view in (image, guide)]
    return network.decode(network.features(views[0], views[1]), text)


def class_logits(logits: Tensor, owner: Tensor) -> Tensor:
    """String logits (B,S,h,w), one-hot (S,K) -> class logits (B,K,h,w).

    The log of summed exponentials, so that their softmax is the sum of Eq. 7.
    """
    lost = torch.where(owner.T[None, :, :, None, None] > 0, 0.0, -torch.inf)
    return (logits[:, None] + lost).logsumexp(2)


@torch.no_grad()
def count_classes(logits: Tensor, kept: Tensor, seen: Tensor, classes: int) -> Tensor:
    """Logits (1,K,h,w) of the classes `kept` (K,), seen (H,W) -> pixels of each class (T,)."""
    small = F.interpolate(seen[None, None].float(), logits.shape[-2:], mode="nearest")[0] > 0
    labels = kept[logits.argmax(1)]
    return torch.bincount(labels[small], minlength=classes).cpu()
