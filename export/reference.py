"""The official protocols: the network itself in torch, one view of an image or its windows.

    python -m acclimate.export.reference --config resolved.json --state DIR --job JSON

The same jobs as `acclimate.runtime.offline`, slower, and comparable with published results.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor

from acclimate.configs.schema import Config
from acclimate.configs.vocabulary import Vocabulary
from acclimate.errors import IncompatibleBundle
from acclimate.model.catseg import CATSeg
from acclimate.model.colour import recolour
from acclimate.model.inference import label_map, shortest_edge
from acclimate.model.load import load_base
from acclimate.model.projections import projection_names
from acclimate.runtime import offline
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.job import Job, Place
from acclimate.runtime.predict import Image, Predict, Seen


def open_reference(
    config: Config, job: Job, place: Place, words: Vocabulary, concepts: bool
) -> Predict:
    """The base network with the bundle's projections and texts.

    Without concepts every string is a class of its own, as the official code scores it (sigmoid);
    with them the strings of a class are summed after a softmax, as the engine does.
    """
    bundle = load_bundle(place.bundle, EngineInfo.load(place.engine), words.digest)
    base = load_base(config.model.weights)
    if base.digest != bundle.manifest["base_digest"]:
        raise IncompatibleBundle(f"{place.bundle} was made for other weights than model.weights")
    device = _device(config)
    network = with_projections(base.network, bundle).to(device)
    text = torch.from_numpy(bundle.inputs["text"]).to(device)
    owner = torch.from_numpy(bundle.inputs["string_to_class"]).to(device) if concepts else None
    colour = torch.from_numpy(bundle.inputs["colour"]).to(device)
    return _predictor(network, text, owner, colour, job.protocol == "sliding")


def with_projections(network: CATSeg, bundle: Bundle) -> CATSeg:
    """`network` with the image projections that the bundle brings to the engine."""
    blocks = sum(name.endswith("q_proj.weight") for name in bundle.inputs)
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, parameter in projection_names(blocks).items():
            parameters[parameter].copy_(torch.from_numpy(bundle.inputs[name]))
    return network


def _predictor(
    network: CATSeg, text: Tensor, owner: Tensor | None, colour: Tensor, sliding: bool
) -> Predict:
    @torch.inference_mode()
    def predict(image: Image, size: tuple[int, int]) -> Seen:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        if network.config.variant == "v2":
            pixels = shortest_edge(pixels)
        pixels = pixels.to(text.device).float()
        labels, score = label_map(
            network, recolour(pixels, colour), text, size, sliding=sliding, string_to_class=owner
        )
        return Seen(labels.cpu().numpy().astype(np.uint16), score.float().cpu().numpy())

    return predict


def _device(config: Config) -> torch.device:
    use = config.serving.engine != "onnxruntime-cpu" and torch.cuda.is_available()
    if not use:
        torch.set_num_threads(config.serving.threads)
    return torch.device("cuda" if use else "cpu")


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    return offline.main(arguments, open_reference)


if __name__ == "__main__":
    sys.exit(main())
