"""VocAlign's released step on CAT-Seg v1 in its own order: what ours is held against.

Facts: Sisso16/VocAlign @ 4f2ed57 with its Cityscapes configuration. A second whole network is the
teacher and every parameter of it is averaged; all 77 places of every prompt go through the text
tower, class by class, and again for every image; LoRA is a second full projection; the ResNet, the
aggregator and the decoder keep their gradients and optimiser states at rate 0, the ResNet its
batch statistics; queries and keys of the dense block are computed though unused. One departure:
each image keeps its own guidance (theirs mixes it up in a batch), at the same cost.
Reads tensors under their official names and shares no code with `acclimate.model`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.model.config import CATSegConfig

CLIP_MEAN, CLIP_STD = (122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.323163)
RESNET_MEAN, RESNET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CLIP, RESNET = "backbone.clip_model.", "backbone.feature_extractor."
NECK, HEAD = "neck.", "decode_head."
EPSILON = torch.finfo(torch.float32).eps


def lora_of(config: CATSegConfig, blocks: int, rank: int) -> dict[str, Tensor]:
    """Fresh LoRA tensors under the released names: A drawn, B zero."""
    towers = {"visual.": config.vision_width, "": config.text_width}
    made = {}
    for tower, width in towers.items():
        for block in range(blocks):
            stem = f"{CLIP}{tower}transformer.resblocks.{block}.attn."
            for part in "qkv":
                a = torch.empty(rank, width)
                torch.nn.init.kaiming_uniform_(a, a=math.sqrt(5))
                made[f"{stem}a_proj_weight_lora_{part}"] = a
                made[f"{stem}b_proj_weight_lora_{part}"] = torch.zeros(width, rank)
    return made


@dataclass
class Released:
    """`state`: every tensor by its released name, LoRA too; `gamma` is LoRA's scale.

    `training`: batch statistics in the ResNet and dropout in the head.
    """

    config: CATSegConfig
    state: Mapping[str, Tensor]
    gamma: float = 1.0
    training: bool = True
    dropout: float = 0.1

    def logits(self, image: Tensor, view: Tensor, text: Tensor) -> Tensor:
        """image, view (B,3,H,W) RGB 0..255, text (B,T,P,C) -> logits (B,T,4h,4w).

        The ResNet looks at `image`, CLIP at `view`.
        """
        near_to_far = self._resnet(_normal(image, RESNET_MEAN, RESNET_STD))[::-1]
        x = _normal(view, CLIP_MEAN, CLIP_STD)
        x = F.interpolate(x, self.config.image_size, mode="bilinear", align_corners=False)
        dense = self._image(x)[:, 1:].permute(0, 2, 1).reshape(len(x), -1, *self.config.grid)
        return self._aggregate(dense, text.repeat(1, 1, self.config.template_tiles, 1), near_to_far)

    def texts(self, ids: Tensor) -> Tensor:
        """Token ids (T,P,77) -> normalised features (T,P,C), class by class."""
        features = [self._text(prompts) for prompts in ids]
        return torch.stack([f / f.norm(dim=-1, keepdim=True) for f in features])

    # ---- CLIP

    def _text(self, ids: Tensor) -> Tensor:
        s, length = self.state, ids.shape[1]
        x = s[CLIP + "token_embedding.weight"][ids] + s[CLIP + "positional_embedding"]
        mask = torch.full((length, length), -torch.inf, device=ids.device).triu(1)
        x = x.permute(1, 0, 2)
        for i in range(self.config.text_layers):
            heads = self.config.text_heads
            x = self._block(x, f"{CLIP}transformer.resblocks.{i}.", heads, mask)
        x = self._norm(x.permute(1, 0, 2), CLIP + "ln_final")
        return x[torch.arange(len(x)), ids.argmax(-1)] @ s[CLIP + "text_projection"]

    def _image(self, x: Tensor) -> Tensor:
        clip, s, c = CLIP + "visual.", self.state, self.config
        x = F.conv2d(x, s[clip + "conv1.weight"], stride=c.patch_size).flatten(2).permute(0, 2, 1)
        first = s[clip + "class_embedding"].expand(len(x), 1, -1)
        x = torch.cat([first, x], 1) + self._positions(clip)
        x = self._norm(x, clip + "ln_pre").permute(1, 0, 2)
        for i in range(c.vision_layers - 1):
            x = self._block(x, f"{clip}transformer.resblocks.{i}.", c.vision_heads, None)
        x = self._dense(x, f"{clip}transformer.resblocks.{c.vision_layers - 1}.")
        return self._norm(x.permute(1, 0, 2), clip + "ln_post") @ s[clip + "proj"]

    def _positions(self, clip: str) -> Tensor:
        stored, grid = self.state[clip + "positional_embedding"], self.config.grid
        maps = stored[1:].reshape(1, *self.config.stored_grid, -1).permute(0, 3, 1, 2)
        maps = F.interpolate(maps, grid, mode="bicubic", align_corners=False)
        return torch.cat([stored[:1], maps[0].flatten(1).T])

    def _block(self, x: Tensor, name: str, heads: int, mask: Tensor | None) -> Tensor:
        y, s, attn = self._norm(x, name + "ln_1"), self.state, name + "attn."
        if attn + "a_proj_weight_lora_q" in s:
            y = self._lora_attention(y, attn, heads, mask)
        else:
            y, _ = F.multi_head_attention_forward(
                y, y, y, y.shape[-1], heads, s[attn + "in_proj_weight"], s[attn + "in_proj_bias"],
                None, None, False, 0.0, s[attn + "out_proj.weight"], s[attn + "out_proj.bias"],
                training=self.training, need_weights=False, attn_mask=mask,
            )  # fmt: skip
        x = x + y
        return x + self._mlp(self._norm(x, name + "ln_2"), name)

    def _lora_attention(self, x: Tensor, attn: str, heads: int, mask: Tensor | None) -> Tensor:
        s, (length, count, width) = self.state, x.shape
        frozen = F.linear(x, s[attn + "in_proj_weight"]).chunk(3, -1)
        biases = s[attn + "in_proj_bias"].chunk(3)
        parts = []
        for part, projected, bias in zip("qkv", frozen, biases, strict=True):
            a, b = (s[f"{attn}{side}_proj_weight_lora_{part}"] for side in "ab")
            moved = projected + F.linear(x, self.gamma * F.linear(b, a.T)) + bias
            parts.append(moved.reshape(length, count * heads, width // heads).transpose(0, 1))
        q, k, v = parts
        scores = torch.bmm(q / math.sqrt(width // heads), k.transpose(-2, -1))
        if mask is not None:
            scores = scores + mask
        y = torch.bmm(scores.softmax(-1), v).transpose(0, 1).reshape(length, count, width)
        return self._linear(y, attn + "out_proj")

    def _dense(self, x: Tensor, name: str) -> Tensor:
        y, attn = self._norm(x, name + "ln_1"), name + "attn."
        projected = F.linear(
            y, self.state[attn + "in_proj_weight"], self.state[attn + "in_proj_bias"]
        )
        _, _, v = (self._linear(part, attn + "out_proj") for part in projected.chunk(3, -1))
        v = v + x
        return v + self._mlp(self._norm(v, name + "ln_2"), name)

    def _mlp(self, x: Tensor, name: str) -> Tensor:
        x = self._linear(x, name + "mlp.c_fc")
        return self._linear(x * torch.sigmoid(1.702 * x), name + "mlp.c_proj")

    # ---- ResNet

    def _resnet(self, x: Tensor) -> list[Tensor]:
        x = self._bn(self._kernel(x, "conv1", 2, 3), "bn1").relu()
        x, maps = F.max_pool2d(x, 3, 2, 1), []
        for stage, count in enumerate(self.config.resnet_blocks):
            for i in range(count):
                stride = 2 if stage and not i else 1
                x = self._bottleneck(x, f"layer{stage + 1}.{i}.", stride)
            maps.append(x)
        return maps

    def _bottleneck(self, x: Tensor, name: str, stride: int) -> Tensor:
        y = self._bn(self._kernel(x, name + "conv1"), name + "bn1").relu()
        y = self._bn(self._kernel(y, name + "conv2", stride, 1), name + "bn2").relu()
        y = self._bn(self._kernel(y, name + "conv3"), name + "bn3")
        if f"{RESNET}{name}downsample.0.weight" in self.state:
            x = self._kernel(x, name + "downsample.0", stride)
            x = self._bn(x, name + "downsample.1")
        return (x + y).relu()

    def _kernel(self, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, self.state[f"{RESNET}{name}.weight"], None, stride, padding)

    def _bn(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.state[f"{RESNET}{name}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias, self.training)

    # ---- neck and head

    def _aggregate(self, image: Tensor, text: Tensor, maps: list[Tensor]) -> Tensor:
        image, text = F.normalize(image, dim=1), F.normalize(text, dim=-1)
        cost = torch.einsum("bchw,btpc->bpthw", image, text)
        b, _, t, h, w = cost.shape
        x = cost.permute(0, 2, 1, 3, 4).reshape(b * t, -1, h, w)
        x = self._conv(x, NECK + "conv1", 3).reshape(b, t, -1, h, w).permute(0, 2, 1, 3, 4)
        appearance = self._conv(maps[0], NECK + "guidance_projection.0", 1).relu()
        words = text.mean(2)
        words = words / words.norm(dim=-1, keepdim=True)
        words = self._linear(words, NECK + "text_guidance_projection.0").relu()
        for i in range(self.config.num_layers):
            x = self._spatial(x, appearance, f"{NECK}layers.{i}.spatial_agg.")
            x = self._classes(x, words, f"{NECK}layers.{i}.class_agg.")
        guides = [
            self._conv(res, f"{HEAD}decoder_guidance_projection.{i}.0", 1).relu()
            for i, res in enumerate(maps[1:])
        ]
        x = x.permute(0, 2, 1, 3, 4).reshape(b * t, -1, h, w)
        x = self._up(x, guides[0], t, HEAD + "decoder1.")
        x = self._up(x, guides[1], t, HEAD + "decoder2.")
        x = F.dropout2d(x, self.dropout, self.training)
        return self._conv(x, HEAD + "conv_seg", 1).reshape(b, t, 4 * h, 4 * w)

    def _spatial(self, x: Tensor, guidance: Tensor, name: str) -> Tensor:
        b, c, t, h, w = x.shape
        x = x.permute(0, 2, 3, 4, 1).reshape(b * t, h, w, c)
        guidance = guidance[:, None].repeat(1, t, 1, 1, 1).flatten(0, 1).permute(0, 2, 3, 1)
        guidance = self._norm(guidance, name + "guidance_norm")
        x = self._window_block(x, guidance, name + "block_1.", 0)
        x = self._window_block(x, guidance, name + "block_2.", self.config.window_size // 2)
        return x.reshape(b, t, h, w, c).permute(0, 4, 1, 2, 3)

    def _window_block(self, x: Tensor, guidance: Tensor, name: str, shift: int) -> Tensor:
        size, heads, msa = self.config.window_size, self.config.num_heads, name + "attn.w_msa."
        n, h, w, c = x.shape
        y = torch.cat([self._norm(x, name + "norm1"), guidance], -1)
        y = _windows(torch.roll(y, (-shift, -shift), (1, 2)), size)

        def split(value: Tensor) -> Tensor:
            return value.reshape(len(y), size * size, heads, -1).permute(0, 2, 1, 3)

        q, k, v = (
            split(self._linear(y[..., :c] if part == "v" else y, msa + part)) for part in "qkv"
        )
        scores = (q * (c // heads) ** -0.5) @ k.transpose(-2, -1)
        if shift:
            mask = _shift_mask(h, w, size, shift).to(scores)
            scores = scores.reshape(n, len(mask), heads, size * size, size * size)
            scores = (scores + mask[None, :, None]).reshape(-1, heads, size * size, size * size)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, size * size, c)
        y = self._linear(y, msa + "proj")
        y = y.reshape(n, h // size, w // size, size, size, c).permute(0, 1, 3, 2, 4, 5)
        x = x + torch.roll(y.reshape(n, h, w, c), (shift, shift), (1, 2))
        y = F.gelu(self._linear(self._norm(x, name + "norm2"), name + "ffn.layers.0.0"))
        return x + self._linear(y, name + "ffn.layers.1")

    def _classes(self, x: Tensor, words: Tensor, name: str) -> Tensor:
        heads = self.config.num_heads
        b, c, t, h, w = x.shape
        y = x.permute(0, 3, 4, 2, 1).reshape(b * h * w, t, c)
        normed = self._norm(y, name + "norm1")
        guide = words[:, None].repeat(1, h * w, 1, 1).flatten(0, 1)
        both = torch.cat([normed, guide], -1)

        def split(value: Tensor) -> Tensor:
            return value.reshape(len(y), t, heads, -1)

        q, k = (F.elu(split(self._linear(both, f"{name}attention.{part}"))) + 1 for part in "qk")
        v = split(self._linear(normed, name + "attention.v")) / t
        kv = torch.einsum("nshd,nshv->nhdv", k, v)
        z = 1 / (torch.einsum("nlhd,nhd->nlh", q, k.sum(1)) + 1e-6)
        out = torch.einsum("nlhd,nhdv,nlh->nlhv", q, kv, z) * t
        y = y + out.reshape(len(y), t, c)
        normed = self._norm(y, name + "norm2")
        hidden = self._linear(normed, name + "MLP.layers.0.0").relu()
        y = y + normed + self._linear(hidden, name + "MLP.layers.1")
        y = y.reshape(b, h, w, t, c).permute(0, 3, 4, 1, 2).flatten(0, 1)
        y = F.interpolate(y, (h, w), mode="bilinear", align_corners=True)
        return x + y.reshape(b, t, c, h, w).permute(0, 2, 1, 3, 4)

    def _up(self, x: Tensor, guidance: Tensor, classes: int, name: str) -> Tensor:
        x = F.conv_transpose2d(x, self.state[name + "up.weight"], self.state[name + "up.bias"], 2)
        x = torch.cat([x, guidance[:, None].repeat(1, classes, 1, 1, 1).flatten(0, 1)], 1)
        for conv in ("conv1.", "conv2."):
            x = F.conv2d(x, self.state[f"{name}{conv}conv.weight"], padding=1)
            weight, bias = (self.state[f"{name}{conv}gn.{part}"] for part in ("weight", "bias"))
            x = F.group_norm(x, x.shape[1] // 16, weight, bias).relu()
        return x

    # ---- layers by name

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.state[name + ".weight"], self.state[name + ".bias"])

    def _conv(self, x: Tensor, name: str, padding: int) -> Tensor:
        weight, bias = self.state[name + ".weight"], self.state[name + ".bias"]
        return F.conv2d(x, weight, bias, padding=padding)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.state[name + ".weight"], self.state[name + ".bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias)


class ReleasedStep:
    """One training step after another; `ids` are prompts as tokens, `owner` concept -> class.

    `teacher_ids` (S,P,77), `student_ids` (T,P,77), `owner` (S,) class of each concept.
    """

    def __init__(
        self, config: CATSegConfig, state: Mapping[str, Tensor], teacher_ids: Tensor,
        student_ids: Tensor, owner: Tensor, *, top_k: int, lr: float = 5e-6, gamma: float = 1.0,
        tau: float = 0.968, ema: float = 0.99,
    ) -> None:  # fmt: skip
        self.ids, self.owner, self.top_k = (teacher_ids, student_ids), owner, top_k
        self.tau, self.ema, self.taken = tau, ema, 0
        own = {name: value.clone() for name, value in state.items()}
        averaged = {name: value.clone() for name, value in state.items()}
        self.student = Released(config, own, gamma)
        self.teacher = Released(config, averaged, gamma, dropout=0.0)
        self.names = [n for n, v in own.items() if v.is_floating_point() and "running" not in n]
        lora = [own[n] for n in self.names if "_lora_" in n]
        rest = [own[n] for n in self.names if not n.startswith(CLIP)]
        for value in (*lora, *rest):
            value.requires_grad_()
        groups: list[dict[str, Any]] = [{"params": lora}, {"params": rest, "lr": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=lr, weight_decay=1e-4)

    def __call__(self, images: Tensor, views: Tensor) -> float:
        """images (B,3,H,W), their jittered and masked views -> the loss."""
        self._average()
        labels, kept = self._teach(images)
        texts = torch.stack([self.student.texts(self.ids[1][chosen]) for chosen in kept])
        logits = self.student.logits(images, views, texts)
        logits = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
        each = F.cross_entropy(logits, labels, reduction="none", ignore_index=255)
        loss = each.sum() / ((labels != 255).sum() + EPSILON)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.taken += 1
        return loss.item()

    @torch.no_grad()
    def _average(self) -> None:
        alpha = min(1 - 1 / (self.taken + 1), self.ema)
        for name in self.names:
            mine, its = self.teacher.state[name], self.student.state[name]
            mine.copy_(alpha * mine + (1 - alpha) * its)

    @torch.no_grad()
    def _teach(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Labels (B,H,W) among the kept classes, those classes (B,K)."""
        text = self.teacher.texts(self.ids[0])[None].repeat(len(images), 1, 1, 1)
        logits = self.teacher.logits(images, images, text)
        size = images.shape[-2:]
        p = F.interpolate(logits, size, mode="bilinear", align_corners=False).softmax(1)
        classes = len(self.ids[1])
        agg = torch.stack([p[:, self.owner == i].sum(1) for i in range(classes)], 1)
        kept = agg.mean((2, 3)).topk(self.top_k, 1).indices.sort(1).values
        agg = agg.gather(1, kept[:, :, None, None].expand(-1, -1, *size))
        prob, labels = agg.max(1)
        self.q = (prob >= self.tau).sum().item() / labels.numel()  # computed, then dropped
        return labels, kept


def _normal(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    centre, spread = (x.new_tensor(values).view(3, 1, 1) for values in (mean, std))
    return (x - centre) / spread


def _windows(x: Tensor, size: int) -> Tensor:
    n, h, w, c = x.shape
    x = x.reshape(n, h // size, size, w // size, size, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, size * size, c)


def _shift_mask(h: int, w: int, size: int, shift: int) -> Tensor:
    regions = torch.zeros(1, h, w, 1)
    cuts = (slice(0, -size), slice(-size, -shift), slice(-shift, None))
    for i, rows in enumerate(cuts):
        for j, columns in enumerate(cuts):
            regions[:, rows, columns] = 3 * i + j
    ids = _windows(regions, size).squeeze(-1)
    return torch.where(ids[:, None] == ids[:, :, None], 0.0, -100.0)
