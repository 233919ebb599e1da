"""CAT-Seg v1 (the port that VocAlign adapts) against tensors of the released code."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from acclimate.model.catseg import cost_volume
from acclimate.model.checkpoint import load_official, to_official
from acclimate.model.config import CATSegConfig
from acclimate.model.files import read_weights
from acclimate.model.inference import label_map, predict
from acclimate.model.text import tokenize
from acclimate.model.v1 import CATSegV1

TOLERANCE = 1e-4
PART = re.compile(r"(.*)_(cls|ch|first|stride)([\d_]+)")
Golden = tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor], CATSegV1]


def network_config(c: dict[str, Any]) -> CATSegConfig:
    """The golden's config.json -> ours."""
    patch, resnet = c["patch_size"], c["feature_extractor"]
    side = c["clip_image_resolution"] // patch
    templates = len(c["templates"])
    return CATSegConfig(
        variant="v1", image_size=tuple(c["clip_input_resolution"]), patch_size=patch,
        stored_grid=(side, side), vision_width=c["vision_width"],
        vision_layers=c["vision_layers"], vision_heads=c["vision_width"] // 64,
        embed_dim=c["embed_dim"], text_width=c["text_width"], text_layers=c["text_layers"],
        text_heads=c["text_width"] // 64, vocab_size=c["vocab_size"], guidance_layers=(),
        decoder_guidance_dims=tuple(c["decoder_guidance_dims"]),
        decoder_guidance_proj_dims=tuple(c["decoder_guidance_proj_dims"]),
        decoder_dims=tuple(c["decoder_dims"]),
        appearance_proj_dim=c["appearance_guidance_proj_dim"],
        text_proj_dim=c["text_guidance_proj_dim"], num_templates=templates,
        template_tiles=c["prompt_channel"] // templates, num_layers=c["num_layers"],
        num_heads=c["num_heads"], hidden_dim=c["hidden_dim"], window_size=c["window_size"],
        pooling_size=tuple(c["pooling_size"]), pad_len=0, resnet_blocks=tuple(resnet["blocks"]),
        resnet_width=resnet["base_channels"],
    )  # fmt: skip


@cache
@torch.inference_mode()
def golden(folder: Path) -> Golden:
    """Config, stored tensors, ours from the same input, the network."""
    config, io = (
        json.loads((folder / "config.json").read_text()),
        load_file(folder / "io.safetensors"),
    )
    network = CATSegV1(network_config(config)).eval()
    load_official(network, read_weights(folder / "weights.safetensors"))
    return config, io, texts(config, io, network) | images(config, io, network), network


def texts(config: dict[str, Any], io: dict[str, Tensor], network: CATSegV1) -> dict[str, Tensor]:
    """Every name in every template, synonyms averaged."""
    rows = io["token_rows_class_template_synonym"].tolist()
    words = [name.split(", ") for name in config["class_names"]]
    ids = tokenize([config["templates"][t].format(words[c][s]) for c, t, s in rows])
    small = torch.searchsorted(torch.tensor(config["compact_vocab"]), ids)
    total = torch.zeros_like(io["text_feats"])
    for (c, t, _), feature in zip(rows, network.encode_text(small), strict=True):
        total[c, t] += feature
    features = F.normalize(total, dim=-1)
    return {"token_ids_full": ids, "token_ids_compact": small, "text_feats": features}


def images(config: dict[str, Any], io: dict[str, Tensor], network: CATSegV1) -> dict[str, Tensor]:
    """The first window step by step, then the whole picture."""
    image, text = io["image"].float()[None], io["text_feats"]
    height, width = network.config.image_size
    features = network.features(image[..., :height, :width])
    dense = features.dense[:, 1:].transpose(1, 2).unflatten(-1, network.config.grid)
    agg, out = network.aggregator, {"clip_img_feat": dense}
    out |= {f"appearance{i}": m for i, m in enumerate(reversed(features.guidance))}
    cost = cost_volume(dense, text[None])
    out["cost_volume"] = cost
    out["guidance_proj"] = appearance = agg.guidance_projection(features.guidance[0])
    words = agg.text_guidance_projection(F.normalize(text.mean(1), dim=-1))[None]
    out["text_guidance_proj"] = words
    for i, project in enumerate(agg.decoder_guidance_projection):
        out[f"decoder_guidance_proj{i}"] = project(features.guidance[1 + i])
    x = agg.embed(cost)
    for i, layer in enumerate(agg.layers):
        out[f"layer{i}_spatial"] = layer.swin_block(x, appearance)
        out[f"layer{i}_out"] = x = layer(x, appearance, words)
    size = (image.shape[-2], image.shape[-1])
    out |= {"logits_crop0": network.decode(features, text)}
    out |= {"logits_full": predict(network, image, text, size)}
    out["argmax_full"], _ = label_map(network, image, text, size)
    return out


def pick(name: str, ours: dict[str, Tensor]) -> Tensor:
    """Our tensor for a stored key, cut the way the key says."""
    if name in ours:
        return ours[name]
    cut = PART.fullmatch(name)
    assert cut, f"no check for golden key {name}"
    base, mark, numbers = cut.groups()
    which = [int(n) for n in numbers.split("_")]
    if mark == "cls":
        return ours[base][:, :, which]
    if mark == "stride":
        return ours[base][..., :: which[0], :: which[0]]
    return ours[base][:, : max(1, which[-1])]


def test_golden(catseg_v1_folder: Path) -> None:
    """Every stored tensor."""
    _, io, ours, _ = golden(catseg_v1_folder)
    for name in sorted(io.keys() - {"image", "token_rows_class_template_synonym"}):
        stored, mine = io[name], pick(name, ours)
        if name == "argmax_full":
            top = ours["logits_full"].topk(2, 0).values
            clear = (top[0] - top[1]) > TOLERANCE
            assert bool((stored.long() == mine)[clear].all()), name
            assert clear.float().mean() > 0.9
        elif stored.is_floating_point():
            torch.testing.assert_close(
                mine.reshape(stored.shape), stored, rtol=TOLERANCE, atol=TOLERANCE,
                msg=lambda text, name=name: f"{name}: {text}",
            )  # fmt: skip
        else:
            assert torch.equal(mine.long(), stored.long()), name


def test_official_file_round_trip(catseg_v1_folder: Path) -> None:
    """Saving back to the official names gives equal tensors."""
    stored = read_weights(catseg_v1_folder / "weights.safetensors")
    official = to_official(golden(catseg_v1_folder)[3])
    assert official.keys() == stored.keys()
    assert all(torch.equal(official[k], stored[k].to(official[k].dtype)) for k in stored)


def test_images_of_a_batch_keep_their_guidance(catseg_v1_folder: Path) -> None:
    """The released code mixes them; ours gives each what it gives it alone."""
    _, io, ours, network = golden(catseg_v1_folder)
    height, width = network.config.image_size
    image = io["image"].float()[None, :, :height, :width]
    with torch.inference_mode():
        both = network(torch.cat([image, image.flip(-1)]), io["text_feats"])
    torch.testing.assert_close(both[:1], ours["logits_crop0"], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("training", [True, False])
def test_statistics_never_move(catseg_v1_folder: Path, training: bool) -> None:
    """BatchNorm stays in eval mode, always."""
    network = golden(catseg_v1_folder)[3]
    network.train(training)
    before = {k: v.clone() for k, v in network.resnet.state_dict().items()}
    with torch.no_grad():
        network.resnet(torch.rand(2, 3, 64, 64) * 255)
    network.eval()
    assert all(torch.equal(v, before[k]) for k, v in network.resnet.state_dict().items())
