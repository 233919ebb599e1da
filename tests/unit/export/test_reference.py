"""The official protocols against the engine and against the network called by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from acclimate.configs.schema import Config
from acclimate.configs.serving import ServingConfig
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.errors import IncompatibleBundle
from acclimate.export import reference as module
from acclimate.export.reference import open_reference, with_projections
from acclimate.model.inference import predict
from acclimate.model.load import load_base
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.job import Job, place_of
from acclimate.runtime.offline import open_served
from acclimate.world import Drive

CONFIG = Config(serving=ServingConfig(threads=1, engine="onnxruntime-cpu"))
WORDS = load_vocabulary("world")


@pytest.fixture
def frame() -> np.ndarray:
    return np.ascontiguousarray(Drive(5, (160, 224)).frame(40)[0])


def test_whole_with_concepts_is_what_the_engine_serves(
    prepared: Path, frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the size to which the official evaluation brings every image first."""
    monkeypatch.setattr(module, "shortest_edge", lambda image: image)
    place, size = place_of(prepared, "base", WORDS), (160, 224)
    ours = open_served(CONFIG, Job("segment"), place, WORDS, True)(frame, size)
    whole = Job("segment", protocol="whole")
    theirs = open_reference(CONFIG, whole, place, WORDS, True)(frame, size)
    assert (ours.labels == theirs.labels).mean() > 0.999
    np.testing.assert_allclose(ours.probability, theirs.probability, atol=1e-3)


@pytest.mark.parametrize("protocol", ["whole", "sliding"])
def test_without_concepts_every_string_is_scored_alone(
    prepared: Path, frame: np.ndarray, protocol: str
) -> None:
    """Sigmoid scores: they are independent, so each is that of the network asked for it."""
    place, size = place_of(prepared, "base", WORDS), (90, 120)
    job = Job("segment", protocol=protocol)  # type: ignore[arg-type]
    seen = open_reference(CONFIG, job, place, WORDS, False)(frame, size)
    text = torch.from_numpy(load_bundle(place.bundle, EngineInfo.load(place.engine)).inputs["text"])
    large = Image.fromarray(frame).resize((896, 640), Image.Resampling.BILINEAR)
    image = torch.from_numpy(np.array(large)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        scores = predict(load_base().network, image, text, size, sliding=protocol == "sliding")
    np.testing.assert_allclose(seen.probability, scores.max(0).values.numpy(), atol=2e-3)
    assert (seen.labels == scores.argmax(0).numpy()).mean() > 0.999


def test_projections_come_from_the_bundle(prepared: Path) -> None:
    place = place_of(prepared, "base", WORDS)
    bundle = load_bundle(place.bundle, EngineInfo.load(place.engine))
    turned = {k: -v if k == "visual.1.q_proj.weight" else v for k, v in bundle.inputs.items()}
    bundle.inputs.update(turned)
    network, plain = with_projections(load_base().network, bundle), load_base().network
    name = "clip.visual.resblocks.1.attn.q_proj.weight"
    ours, theirs = dict(network.named_parameters()), dict(plain.named_parameters())
    torch.testing.assert_close(ours[name], -theirs[name])
    changed = [n for n, p in ours.items() if not torch.equal(p, theirs[n])]
    assert changed == [name]


def test_other_weights_are_refused(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = replace(load_base(), digest="another")
    monkeypatch.setattr(module, "load_base", lambda _: base)
    place = place_of(prepared, "base", WORDS)
    with pytest.raises(IncompatibleBundle, match=r"model\.weights"):
        open_reference(CONFIG, Job("segment", protocol="whole"), place, WORDS, True)
