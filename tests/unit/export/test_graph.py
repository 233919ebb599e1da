"""The served graph: what it says about a frame, and what an adapter cannot move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.errors import EngineError
from acclimate.export.graph import ServingGraph, appearance_embedding
from acclimate.export.onnx import export_engine
from acclimate.model.catseg import CATSeg
from acclimate.model.colour import UNCHANGED, colour_of, recolour_frame
from acclimate.model.inference import predict
from acclimate.model.load import load_base
from acclimate.model.projections import merged_projections, projection_names
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.engines import open_engine
from tests.unit.export.conftest import BLOCKS, SIZE, Exported, noise, words

FRAME = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))
TEXT = F.normalize(torch.randn(6, 1, 32, generator=torch.Generator().manual_seed(1)), dim=-1)
OWNER = torch.eye(4)[[0, 0, 1, 2, 3, 3]]
PLAIN = torch.from_numpy(UNCHANGED)


@pytest.fixture(scope="module")
def network(tiny_weights: Path) -> CATSeg:
    return load_base(tiny_weights).network


@torch.inference_mode()
def served(
    network: CATSeg, frame: Tensor = FRAME, factor: float = 1.0, colour: Tensor = PLAIN
) -> tuple[Tensor, ...]:
    """The graph's outputs with every adapted weight times `factor`, seeing `colour`."""
    weights = [factor * weight for weight in merged_projections(network, BLOCKS).values()]
    outputs = ServingGraph(network, BLOCKS).eval()(frame[None], TEXT, OWNER, colour, *weights)
    assert isinstance(outputs, tuple)
    return tuple(output[0] for output in outputs)


@torch.inference_mode()
def probabilities(network: CATSeg) -> Tensor:
    """What the network itself says of FRAME (T, H, W)."""
    logits = network(FRAME.permute(2, 0, 1)[None].float(), TEXT)
    full = F.interpolate(logits, SIZE, mode="bilinear", align_corners=False).softmax(1)[0]
    return torch.stack([full[:2].sum(0), full[2], full[3], full[4:].sum(0)])


def test_labels_are_the_likeliest_classes(network: CATSeg) -> None:
    labels, *_ = served(network)
    assert (labels.shape, labels.dtype) == (SIZE, torch.uint8)
    assert torch.equal(labels.long(), probabilities(network).argmax(0))


def test_the_map_is_the_probability_of_the_labels(network: CATSeg) -> None:
    *_, top = served(network)
    torch.testing.assert_close(top, probabilities(network).max(0).values)


def test_the_histogram_is_the_labels_share(network: CATSeg) -> None:
    labels, _, histogram, *_ = served(network)
    counts = torch.bincount(labels.flatten().long(), minlength=4)
    torch.testing.assert_close(histogram, counts / labels.numel())


def test_confidence_is_top_share_and_entropy(network: CATSeg) -> None:
    _, confidence, *_ = served(network)
    p = probabilities(network)
    top = p.max(0).values
    entropy = -(p * p.log()).sum(0).mean() / np.log(4)
    expected = torch.stack([top.mean(), (top >= 0.5).float().mean(), entropy])
    torch.testing.assert_close(confidence, expected, rtol=1e-4, atol=1e-5)


def test_a_class_without_strings_costs_no_number(exported: Exported) -> None:
    text, owner = words(2)
    weights = merged_projections(exported.base.network, BLOCKS).values()
    inputs = {"text": text, "string_to_class": owner, "colour": PLAIN}
    inputs |= dict(zip(projection_names(BLOCKS), weights, strict=True))
    engine, arrays = (
        open_engine(exported.folder, 1, "onnxruntime-cpu"),
        {n: t.numpy() for n, t in inputs.items()},
    )
    frame = FRAME.numpy()
    result = engine.infer(frame, Bundle("few", {}, arrays, frame, frame))
    assert np.isfinite(result.confidence).all()
    assert result.histogram.tolist()[2:] == [0, 0, 0]


def test_an_adapter_moves_the_labels_but_not_the_embedding(network: CATSeg) -> None:
    plain, turned = served(network), served(network, factor=-2.0)
    assert not torch.equal(plain[1], turned[1])
    assert torch.equal(plain[3], turned[3])


def test_colours_move_the_labels_but_not_the_embedding(network: CATSeg) -> None:
    colour = torch.from_numpy(colour_of(load_base().daylight, "lifted"))
    moved = torch.from_numpy(recolour_frame(FRAME.numpy(), colour.numpy()))
    found, same = served(network, colour=colour), served(network, moved)
    torch.testing.assert_close(found[1], same[1], rtol=1e-3, atol=1e-3)
    assert torch.equal(found[3], served(network)[3])
    assert not torch.equal(found[3], same[3])


def test_the_networks_own_weights_stay_as_they_are(network: CATSeg) -> None:
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    served(network, factor=3.0)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_a_dark_frame_lies_elsewhere(network: CATSeg) -> None:
    same, dark = served(network)[3], served(network, FRAME // 4)[3]
    assert float(same.norm()) == pytest.approx(1, abs=1e-5)
    assert float(same @ dark) < 0.999


@torch.inference_mode()
def test_frames_of_a_batch_are_on_their_own(network: CATSeg) -> None:
    frames = torch.stack([FRAME, FRAME // 3, FRAME.flip(1)])
    weights = merged_projections(network, BLOCKS).values()
    together = ServingGraph(network, BLOCKS).eval()(frames, TEXT, OWNER, PLAIN, *weights)
    for number, frame in enumerate(frames):
        for one, of_many in zip(served(network, frame), together, strict=True):
            torch.testing.assert_close(of_many[number], one)


@torch.inference_mode()
def test_sliding_is_the_official_evaluation(network: CATSeg) -> None:
    graph = ServingGraph(network, BLOCKS, sliding=True).eval()
    weights = merged_projections(network, BLOCKS).values()
    labels, *_, top = graph(torch.stack([FRAME, FRAME // 3]), TEXT, OWNER, PLAIN, *weights)
    image = (FRAME // 3).permute(2, 0, 1)[None].float()
    expected = predict(network, image, TEXT, SIZE, sliding=True, string_to_class=OWNER)
    assert torch.equal(labels[1].long(), expected.argmax(0))
    torch.testing.assert_close(top[1], expected.max(0).values)


def test_an_engine_of_batches_and_windows_keeps_parity(tiny_weights: Path, tmp_path: Path) -> None:
    base, (text, owner) = load_base(tiny_weights), words(6)
    export_engine(base, tmp_path, SIZE, text, owner, BLOCKS, [noise(0)], batch=2, sliding=True)
    engine = open_engine(tmp_path, 1, "onnxruntime-cpu")
    assert (engine.info.batch, engine.info.sliding) == (2, True)
    weights = {n: w.numpy() for n, w in merged_projections(base.network, BLOCKS).items()}
    inputs = {"text": text.numpy(), "string_to_class": owner.numpy(), "colour": UNCHANGED}
    frames = [noise(1), noise(2)]
    bundle = Bundle("few", {}, inputs | weights, np.stack(frames), np.stack(frames)[..., 0])
    pair = engine.infer_batch(frames, bundle)
    alone = [engine.infer(frame, bundle) for frame in frames]
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(pair, alone, strict=True))
    assert not np.allclose(pair[0].embedding, pair[1].embedding, atol=1e-4)
    np.testing.assert_allclose(pair[1].confidence, alone[1].confidence, atol=1e-6)
    with pytest.raises(EngineError, match="3 frames; this engine takes 1 to 2"):
        engine.infer_batch([*frames, frames[0]], bundle)


def test_the_embedding_is_mean_and_spread_of_the_patches() -> None:
    tokens = torch.tensor([[[9.0, 9.0], [1.0, 2.0], [3.0, 2.0]]])  # the first token is not a patch
    expected = F.normalize(torch.tensor([[2.0, 2.0, 1.0, 0.0]]), dim=-1)
    torch.testing.assert_close(appearance_embedding(tokens), expected)


def test_the_embedding_does_not_know_where_a_patch_lies() -> None:
    tokens = torch.randn(1, 9, 4, generator=torch.Generator().manual_seed(3))
    turned = torch.cat([tokens[:, :1], tokens[:, 1:].flip(1)], 1)
    torch.testing.assert_close(appearance_embedding(tokens), appearance_embedding(turned))
