"""How far a candidate has moved from the base: in its features, and on words nobody asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.func import functional_call

from acclimate.adapt.batch import Frames, to_images
from acclimate.model.catseg import CATSeg
from acclimate.model.colour import recolour
from acclimate.model.load import BaseModel
from acclimate.model.projections import projection_names
from acclimate.model.text import unlearned

# Things and places of everyday life, from many data sets' lists; ours is the choice.
GENERIC = (
    "road", "street", "asphalt", "footpath", "lawn", "meadow", "dirt", "earth", "water", "rock",
    "snow", "house", "facade", "wall", "roof", "bridge", "trees", "hedge", "shrub", "clouds",
    "post", "lamp post", "road sign", "stop light", "sedan", "hatchback", "lorry", "coach",
    "walker", "bicyclist", "animal", "furniture", "door", "window", "train", "boat",
)  # fmt: skip
MOST = 16
Inputs = Mapping[str, NDArray[np.generic]]


class _Dense(nn.Module):
    def __init__(self, network: CATSeg) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network.features(self.network.preprocess(image)).dense[:, 1:]


@torch.no_grad()
def dense_features(network: CATSeg, inputs: Inputs, frames: Frames) -> Tensor:
    """Image tower of `network` with a bundle's projections and colours -> (N,hw,C), one by one.

    A LoRA that the network may be wrapped in takes no part: the bundle's weights have it merged.
    """
    count = sum(name.endswith("q_proj.weight") for name in inputs)
    there, weights = dict(network.named_parameters()), {}
    for name, place in projection_names(count).items():
        wrapped = place.replace("_proj.weight", "_proj.base_layer.weight")
        where = wrapped if wrapped in there else place
        weights[f"network.{where}"] = torch.from_numpy(np.asarray(inputs[name]))
    colour, look = torch.from_numpy(np.asarray(inputs["colour"])), _Dense(network)
    with bare(network):
        images = (recolour(to_images([frame]), colour) for frame in frames)
        return torch.cat([functional_call(look, weights, (image,)) for image in images])


@contextmanager
def bare(network: nn.Module) -> Iterator[None]:
    """The base that PEFT wrapped, as long as this lasts."""
    layers = [part for part in network.modules() if isinstance(part, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def feature_drift(base: Tensor, candidate: Tensor) -> float:
    """Features (N,hw,C) of the same frames -> 1 - mean cosine: 0 the same, 1 unrelated."""
    return 1 - float(F.cosine_similarity(base, candidate, dim=-1).mean())


def generic_words(base: BaseModel, ours: tuple[str, ...]) -> tuple[str, ...]:
    """Up to MOST words that the base's text tower knows and that are not in the list `ours`."""
    taken = {word for string in ours for word in string.split(", ")}
    told = [word for word in GENERIC if word not in taken]
    known = [
        w for w in told if not unlearned([t.format(w) for t in base.templates], base.known)
    ]  # fmt: skip
    return tuple(known[:MOST])
