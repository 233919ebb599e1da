"""CAT-Seg v2 against tensors of the official implementation."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from acclimate.model.catseg import CATSeg, cost_volume
from acclimate.model.checkpoint import load_official
from acclimate.model.config import CATSegConfig
from acclimate.model.files import read_weights
from acclimate.model.inference import label_map, predict, sliding_views
from acclimate.model.text import tokenize

TOLERANCE = 1e-4
CUT = re.compile(
    r"(?P<base>.+)_(?P<mark>cls|ch|stride|win|global|fp16|selected)(?P<numbers>[\d_]*)"
)


def network_config(c: dict[str, Any]) -> CATSegConfig:
    """The golden's config.json -> ours."""
    size, patch = tuple(c["clip_input_resolution"]), c["patch_size"]
    side = c["clip_image_resolution"] // patch
    return CATSegConfig(
        image_size=size, patch_size=patch, stored_grid=(side, side),
        vision_width=c["vision_width"], vision_layers=c["vision_layers"],
        vision_heads=c["vision_width"] // 64, embed_dim=c["embed_dim"],
        text_width=c["text_width"], text_layers=c["text_layers"],
        text_heads=c["text_width"] // 64, vocab_size=c["vocab_size"],
        guidance_layers=tuple(c["guidance_layers"]),
        decoder_guidance_dims=tuple(c["decoder_guidance_dims"]),
        decoder_guidance_proj_dims=tuple(c["decoder_guidance_proj_dims"]),
        decoder_dims=tuple(c["decoder_dims"]),
        appearance_proj_dim=c["appearance_guidance_proj_dim"],
        text_proj_dim=c["text_guidance_proj_dim"], num_templates=len(c["templates"]),
        num_layers=c["num_layers"], num_heads=c["num_heads"], hidden_dim=c["hidden_dim"],
        window_size=c["window_size"], pooling_size=tuple(c["pooling_size"]),
        pad_len=c["pad_len"],
    )  # fmt: skip


class Golden:
    """One folder: its stored tensors, and ours computed from the same input."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.io = load_file(folder / "io.safetensors")
        self.network = CATSeg(network_config(self.config)).eval()
        load_official(self.network, read_weights(folder / "weights.safetensors"))
        with torch.inference_mode():
            self.ours = self._compute()

    def _compute(self) -> dict[str, Tensor]:
        net, image = self.network, self.io["image"].float()[None]
        ours = self._text()
        text = ours["text_feats"]
        views = (
            sliding_views(net, image) if self.config["sliding_window"] else net.preprocess(image)
        )
        features = net.features(views)
        _, res4, res5 = features.guidance
        ours |= {"clip_dense": features.dense, "res4_ch0_4": res4[:, :4]}
        ours |= {"res5_ch0_1": res5[:, :1]}
        ours["clip_input"] = views
        _, hooks = net.clip.visual.encode(features.tokens)
        ours |= {f"hook{i}": hook.transpose(0, 1) for i, hook in enumerate(hooks)}
        ours |= self._aggregation(features, text)
        logits = net.decode(features, text)
        ours["logits"] = ours["logits_windows"] = logits
        size = tuple(self.config["output_hw"])
        sliding = self.config["sliding_window"]
        ours["sem_seg_prob"] = prob = predict(net, image, text, size, sliding=sliding)
        top = prob.topk(2, 0).values
        ours["clear"] = top[0] - top[1] > TOLERANCE
        ours["argmax"], _ = label_map(net, image, text, size, sliding=sliding)
        return ours

    def _text(self) -> dict[str, Tensor]:
        full = self.io.get("token_ids_full")
        if full is None:
            return {"text_feats": self.io["text_feats"]}
        known = torch.tensor(self.config["compact_vocab"])
        rows = self.io["token_rows_class_template_synonym"].long()
        words = [name.split(", ") for name in self.config["class_names"]]
        templates = self.config["templates"]
        texts = [templates[t].format(words[c][s]) for c, t, s in rows.tolist()]
        ids = tokenize(texts)
        small = torch.searchsorted(known, ids)
        each = self.network.encode_text(small)
        text = self.io["text_feats"].new_zeros(len(words), len(templates), each.shape[-1])
        for (c, t, _), feature in zip(rows.tolist(), each, strict=True):
            text[c, t] += feature
        return {
            "token_ids_full": ids, "token_ids_compact": small,
            "text_feats": F.normalize(text, dim=-1),
        }  # fmt: skip

    def _aggregation(self, features: Any, text: Tensor) -> dict[str, Tensor]:
        agg, out = self.network.aggregator, {}
        image = features.dense[:, 1:].transpose(1, 2).unflatten(-1, self.network.config.grid)
        batched = text.expand(len(image), -1, -1, -1)
        out["cost_volume"] = cost = cost_volume(image, batched)
        out["guidance_proj"] = appearance = agg.guidance_projection(image)
        mean = F.normalize(batched.mean(2), dim=-1)
        out["text_guidance_proj"] = agg.text_guidance_projection(mean)
        guides = zip(agg.decoder_guidance_projection, features.guidance[1:], strict=True)
        for i, (project, res) in enumerate(guides):
            out[f"decoder_guidance_proj{i}"] = project(res)
        pad = self.config["pad_len"]
        if pad and text.shape[0] > pad:
            score = cost.amax((1, 3, 4))
            out["class_scores"] = score
            chosen = score.topk(pad, sorted=False).indices
            out["class_selected"] = out["selected_class_order"] = chosen
            # The order is free: theirs, so that layers can be compared.
            order = self.io.get("selected_class_order", chosen).long().reshape(chosen.shape)
            batched = batched.gather(1, order[..., None, None].expand(-1, -1, *text.shape[1:]))
            out["cost_volume_selected"] = cost = cost_volume(image, batched)
        words = agg.text_guidance_projection(F.normalize(batched.mean(2), dim=-1))
        out["text_guidance_proj_selected"] = words
        b, _, t, _, _ = cost.shape
        x = agg.conv1(cost.permute(0, 2, 1, 3, 4).flatten(0, 1)).unflatten(0, (b, t))
        x = x.permute(0, 2, 1, 3, 4)
        for i, layer in enumerate(agg.layers):
            out[f"layer{i}_swin"] = layer.swin_block(x, appearance)
            out[f"layer{i}_out"] = x = layer(x, appearance, words)
        planes = x.permute(0, 2, 1, 3, 4).flatten(0, 1)
        first = agg.decoder1(planes, out["decoder_guidance_proj0"])
        out["decoder1_out"] = first.unflatten(0, (b, t)).transpose(1, 2)
        return out


@cache
def golden(folder: Path) -> Golden:
    """Each folder is computed once."""
    return Golden(folder)


def pick(name: str, ours: dict[str, Tensor]) -> Tensor:
    """Our tensor for a stored key, cut the way the key says (the last word first)."""
    if name in ours:
        return ours[name]
    word = CUT.fullmatch(name)
    if not word:
        pytest.fail(f"no check for golden key {name}")
    whole, numbers = pick(word["base"], ours), [int(n) for n in word["numbers"].split("_") if n]
    if word["mark"] == "cls":
        return whole.index_select(whole.dim() - 3, torch.tensor(numbers))
    if word["mark"] == "ch":
        return whole[:, : max(1, numbers[-1])]
    if word["mark"] == "stride":
        return whole[..., :: numbers[0], :: numbers[0]]
    if word["mark"] in ("win", "global"):
        return whole[numbers[0] if numbers else -1]
    return whole  # fp16; layers are computed on the selected classes alone


def as_masks(chosen: Tensor, classes: int) -> Tensor:
    """Selected classes, a row for each view, given as masks or as lists -> masks."""
    if chosen.shape[-1] == classes and int(chosen.long().max()) <= 1:
        return chosen.reshape(-1, classes).bool()
    rows = chosen.long().reshape(-1, chosen.shape[-1])
    return torch.zeros(len(rows), classes, dtype=torch.bool).scatter(1, rows, True)


def check(name: str, g: Golden) -> None:
    """One stored tensor against ours."""
    stored, ours = g.io[name], pick(name, g.ours)
    if ours.shape != stored.shape and f"{name}_selected" in g.ours:
        ours = g.ours[f"{name}_selected"]
    if name in ("class_selected", "selected_class_order"):
        classes = len(g.ours["text_feats"])
        assert torch.equal(as_masks(stored, classes), as_masks(ours, classes))
        return
    if stored.numel() == ours.numel():
        ours = ours.reshape(stored.shape)
    if name.startswith("argmax"):
        clear = pick(name.replace("argmax", "clear"), g.ours)
        assert bool((stored.long() == ours)[clear].all())
        assert clear.float().mean() > 0.5
    elif stored.is_floating_point():
        tolerance = 1e-3 if name.endswith("fp16") else TOLERANCE
        torch.testing.assert_close(ours, stored.float(), rtol=TOLERANCE, atol=tolerance)
    else:
        assert torch.equal(ours.long(), stored.long())


def test_golden(catseg_v2_folder: Path) -> None:
    """Every stored tensor, then the official mistake the residual trick invites."""
    g = golden(catseg_v2_folder)
    skip = {"image", "token_rows_class_template_synonym"}
    for name in sorted(set(g.io) - skip):
        try:
            check(name, g)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_official_file_round_trip(catseg_v2_folder: Path) -> None:
    """Saving back to the official names gives equal tensors."""
    from acclimate.model.checkpoint import to_official

    stored = read_weights(catseg_v2_folder / "weights.safetensors")
    official = to_official(golden(catseg_v2_folder).network)
    assert official.keys() == stored.keys()
    assert all(torch.equal(official[k], stored[k].float()) for k in stored)


def test_config_is_used(catseg_v2_folder: Path) -> None:
    """Without class padding and selection the logits differ: the check is not blind to them."""
    g = golden(catseg_v2_folder)
    if g.network.config.pad_len in (0, len(g.ours["text_feats"])):
        pytest.skip("as many classes as pad_len: neither padded nor selected")
    bare = CATSeg(replace(g.network.config, pad_len=0)).eval()
    bare.load_state_dict(g.network.state_dict(), strict=False)
    with torch.inference_mode():
        other = bare.decode(bare.features(g.ours["clip_input"][:1]), g.ours["text_feats"])
    assert not torch.allclose(other, g.ours["logits"][:1], atol=1e-3)
