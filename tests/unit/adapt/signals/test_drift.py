"""Drift of features and generic words, against PEFT's own forward and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import paired_cosine_distances

from acclimate.adapt.batch import to_images
from acclimate.adapt.lora import lora_tensors, network_of, new_adapter
from acclimate.adapt.signals.drift import dense_features, feature_drift, generic_words
from acclimate.model.colour import UNCHANGED
from acclimate.model.load import load_base
from acclimate.model.projections import merged_projections
from acclimate.world import Drive

FRAMES = [np.ascontiguousarray(Drive(5).frame(i)[0]) for i in (0, 40)]


@torch.no_grad()
def test_features_are_those_of_the_adapted_network() -> None:
    plain = load_base().network
    model = new_adapter(load_base().network, 2, 2, 4)
    torch.manual_seed(0)
    for tensor in lora_tensors(model).values():
        tensor.copy_(0.3 * torch.randn(tensor.shape))
    inputs = {n: v.numpy() for n, v in merged_projections(network_of(model), 4).items()}
    ours = dense_features(plain, {**inputs, "colour": UNCHANGED}, FRAMES)
    network = network_of(model)
    theirs = network.features(network.preprocess(to_images(FRAMES))).dense[:, 1:]
    torch.testing.assert_close(ours, theirs, atol=2e-2, rtol=2e-2)
    base = dense_features(
        plain, {n: v.numpy() for n, v in merged_projections(plain, 4).items()}
        | {"colour": UNCHANGED}, FRAMES,
    )  # fmt: skip
    inside = dense_features(network, {**inputs, "colour": UNCHANGED}, FRAMES)
    torch.testing.assert_close(inside, ours, atol=1e-5, rtol=1e-5)
    after = network.features(network.preprocess(to_images(FRAMES))).dense[:, 1:]
    assert torch.equal(after, theirs)  # its own adapter is back
    flat = [features.flatten(0, 1).numpy() for features in (base, ours)]
    assert feature_drift(base, ours) == pytest.approx(paired_cosine_distances(*flat).mean(), 1e-3)
    assert feature_drift(base, base) == pytest.approx(0, abs=1e-6)


def test_generic_words_are_known_and_not_ours() -> None:
    base = load_base()
    words = generic_words(base, ("road", "pavement", "street, lane"))
    assert len(words) >= 8
    assert not {"road", "street"} & set(words)
    assert "animal" not in words  # the default never learned it
