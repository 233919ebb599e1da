"""CAT-Seg v2 in the official order of operations, without a rewrite: what ours is held against.

Facts: KU-CVLAB/CAT-Seg @6d3a188. Tokens first (L, B, W), queries and keys of the dense block
computed though unused, classes padded to `pad_len` with learned tokens at every position and
enlarged with the rest, nothing chunked; every tensor is laid out in memory as theirs is, which is
where half of their time goes. Reads tensors under their official names and shares no code with
`acclimate.model`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.model.config import CATSegConfig

MEAN = torch.tensor([122.7709383, 116.7460125, 104.09373615]).view(3, 1, 1)
STD = torch.tensor([68.5005327, 66.6321579, 70.3231630]).view(3, 1, 1)
HEAD = "sem_seg_head.predictor."


@dataclass(frozen=True)
class Official:
    """`state` holds float32 tensors under the official names."""

    config: CATSegConfig
    state: Mapping[str, Tensor]

    def whole(self, image: Tensor, text: Tensor, size: tuple[int, int]) -> Tensor:
        """image (1,3,H,W) RGB 0..255, text (T,P,C) -> probabilities (T, *size)."""
        x = (image - MEAN.to(image)) / STD.to(image)
        h, w = x.shape[-2:]
        x = F.pad(x, (0, math.ceil(w / 32) * 32 - w, 0, math.ceil(h / 32) * 32 - h))
        x = F.interpolate(x, self.config.image_size, mode="bilinear", align_corners=False)
        low = self.logits(x, text).sigmoid()
        return F.interpolate(low, size, mode="bilinear", align_corners=False)[0]

    def sliding(self, image: Tensor, text: Tensor, size: tuple[int, int]) -> Tensor:
        """The released evaluation: four windows of a 640 canvas and an overview, one batch."""

        def grow(x: Tensor, to: tuple[int, int]) -> Tensor:
            return F.interpolate(x, to, mode="bilinear", align_corners=False)

        canvas = grow(image, (640, 640))
        corners = [(y, x) for y in (0, 256) for x in (0, 256)]
        views = [canvas[..., y : y + 384, x : x + 384] for y, x in corners]
        batch = torch.cat([*views, grow(image, (384, 384))])
        batch = (batch - MEAN.to(image)) / STD.to(image)
        logits = self.logits(grow(batch, self.config.image_size), text)
        scores = grow(logits, (384, 384)).sigmoid()
        total = scores.new_zeros(scores.shape[1], 640, 640)
        count = scores.new_zeros(640, 640)
        for (y, x), window in zip(corners, scores[:4], strict=True):
            total[:, y : y + 384, x : x + 384] += window
            count[y : y + 384, x : x + 384] += 1
        both = (total / count + grow(scores[4:], (640, 640))[0]) / 2
        return grow(both[None], size)[0]

    def logits(self, x: Tensor, text: Tensor) -> Tensor:
        """Normalised views (B,3,H,W), text (T,P,C) -> logits (B,T,4h,4w)."""
        dense, hooks = self._image(x)
        near = self._transposed(hooks[0], "upsample1", 2)
        fine = self._transposed(hooks[1], "upsample2", 4)
        text = text[None].repeat(len(x), 1, 1, 1)
        return self._aggregate(self._map(dense), text, near, fine)

    # ---- CLIP

    def _image(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        clip = HEAD + "clip_model.visual."
        c = self.config
        x = F.conv2d(x, self.state[clip + "conv1.weight"], stride=c.patch_size).flatten(2)
        x = x.permute(0, 2, 1)
        first = self.state[clip + "class_embedding"].expand(len(x), 1, -1)
        x = torch.cat([first, x], 1) + self._positions(clip)
        x = self._norm(x, clip + "ln_pre").permute(1, 0, 2)
        hooks = []
        for i in range(c.vision_layers):
            block = f"{clip}transformer.resblocks.{i}."
            x = self._dense_block(x, block) if i == c.vision_layers - 1 else self._block(x, block)
            hooks += [x] if i in c.guidance_layers else []
        x = self._norm(x.permute(1, 0, 2), clip + "ln_post") @ self.state[clip + "proj"]
        return x, [hook.permute(1, 0, 2) for hook in hooks]

    def _positions(self, clip: str) -> Tensor:
        stored, grid = self.state[clip + "positional_embedding"], self.config.grid
        if len(stored) == 1 + grid[0] * grid[1]:
            return stored
        maps = stored[1:].reshape(1, *self.config.stored_grid, -1).permute(0, 3, 1, 2)
        maps = F.interpolate(maps, grid, mode="bicubic", align_corners=False)
        return torch.cat([stored[:1], maps[0].flatten(1).T])

    def _block(self, x: Tensor, name: str) -> Tensor:
        y, s, attn = self._norm(x, name + "ln_1"), self.state, name + "attn."
        y, _ = F.multi_head_attention_forward(
            y, y, y, y.shape[-1], self.config.vision_heads, None, s[attn + "in_proj_bias"],
            None, None, False, 0.0, s[attn + "out_proj.weight"], s[attn + "out_proj.bias"],
            training=False, need_weights=False, use_separate_proj_weight=True,
            q_proj_weight=s[attn + "q_proj_weight"], k_proj_weight=s[attn + "k_proj_weight"],
            v_proj_weight=s[attn + "v_proj_weight"],
        )  # fmt: skip
        x = x + y
        return x + self._mlp(self._norm(x, name + "ln_2"), name)

    def _dense_block(self, x: Tensor, name: str) -> Tensor:
        attn, (tokens, batch, width) = name + "attn.", x.shape
        weight = torch.cat([self.state[f"{attn}{n}_proj_weight"] for n in "qkv"])
        y = F.linear(self._norm(x, name + "ln_1"), weight, self.state[attn + "in_proj_bias"])
        y = y.reshape(tokens, batch, 3, width).permute(2, 1, 0, 3).flatten(0, 1)
        v = self._linear(y, attn + "out_proj")[2 * batch :].transpose(1, 0) + x[:1]
        return v + self._mlp(self._norm(v, name + "ln_2"), name)

    def _mlp(self, x: Tensor, name: str) -> Tensor:
        x = self._linear(x, name + "mlp.c_fc")
        return self._linear(x * torch.sigmoid(1.702 * x), name + "mlp.c_proj")

    # ---- aggregation

    def _aggregate(self, image: Tensor, text: Tensor, near: Tensor, fine: Tensor) -> Tensor:
        agg = HEAD + "transformer."
        cost, classes, pad_len = self._cost(image, text), text.shape[1], self.config.pad_len
        chosen = None
        if pad_len and classes > pad_len:
            score = cost.permute(0, 2, 1, 3, 4).flatten(2).max(-1).values
            chosen = score.topk(pad_len, dim=1, sorted=False).indices
            text = torch.stack([t[i] for t, i in zip(text, chosen, strict=True)])
            cost = self._cost(image, text)
        b, _, t, h, w = cost.shape
        x = cost.permute(0, 2, 1, 3, 4).reshape(b * t, -1, h, w)
        x = self._conv(x, agg + "conv1", 3).reshape(b, t, -1, h, w).permute(0, 2, 1, 3, 4)
        appearance = self._conv(image, agg + "guidance_projection.0", 1).relu()
        words = text.mean(2)
        words = words / words.norm(dim=-1, keepdim=True)
        words = self._linear(words, agg + "text_guidance_projection.0").relu()
        for i in range(self.config.num_layers):
            x = self._spatial(x, appearance, f"{agg}layers.{i}.swin_block.")
            x = self._classes(x, words, f"{agg}layers.{i}.attention.")
        near = self._conv(near, agg + "decoder_guidance_projection.0.0", 1).relu()
        fine = self._conv(fine, agg + "decoder_guidance_projection.1.0", 1).relu()
        x = x.permute(0, 2, 1, 3, 4).reshape(b * t, -1, h, w)
        x = self._up(self._up(x, near, t, agg + "decoder1."), fine, t, agg + "decoder2.")
        logits = self._conv(x, agg + "head", 1).reshape(b, t, 4 * h, 4 * w)
        if chosen is None:
            return logits
        full = logits.new_full((b, classes, 4 * h, 4 * w), -100.0)
        for i, index in enumerate(chosen):
            full[i, index] = logits[i]
        return full

    def _cost(self, image: Tensor, text: Tensor) -> Tensor:
        image, text = F.normalize(image, dim=1), F.normalize(text, dim=-1)
        return torch.einsum("bchw,btpc->bpthw", image, text)

    def _spatial(self, x: Tensor, guidance: Tensor, name: str) -> Tensor:
        b, c, t, h, w = x.shape
        x = x.permute(0, 2, 3, 4, 1).reshape(b * t, h, w, c)
        guidance = guidance[:, None].repeat(1, t, 1, 1, 1).flatten(0, 1).permute(0, 2, 3, 1)
        guidance = self._norm(guidance, name + "guidance_norm")
        for block, shift in (("block_1.", 0), ("block_2.", self.config.window_size // 2)):
            x = self._window_block(x, guidance, name + block, shift)
        return x.reshape(b, t, h, w, c).permute(0, 4, 1, 2, 3)

    def _window_block(self, x: Tensor, guidance: Tensor, name: str, shift: int) -> Tensor:
        size, heads = self.config.window_size, self.config.num_heads
        n, h, w, c = x.shape
        y = torch.cat([self._norm(x, name + "norm1"), guidance], -1)
        y = torch.roll(y, (-shift, -shift), (1, 2))
        y = y.reshape(n, h // size, size, w // size, size, -1).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(-1, size * size, y.shape[-1])

        def split(value: Tensor) -> Tensor:
            return value.reshape(len(y), size * size, heads, -1).permute(0, 2, 1, 3)

        q, k = (split(self._linear(y, f"{name}attn.{part}")) for part in "qk")
        v = split(self._linear(y[..., :c], name + "attn.v"))
        scores = (q * (c // heads) ** -0.5) @ k.transpose(-2, -1)
        if shift:
            mask = self.state[name + "attn_mask"]
            scores = scores.reshape(n, len(mask), heads, size * size, size * size)
            scores = (scores + mask[None, :, None]).reshape(-1, heads, size * size, size * size)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, size * size, c)
        y = self._linear(y, name + "attn.proj")
        y = y.reshape(n, h // size, w // size, size, size, c).permute(0, 1, 3, 2, 4, 5)
        x = x + torch.roll(y.reshape(n, h, w, c), (shift, shift), (1, 2))
        y = F.gelu(self._linear(self._norm(x, name + "norm2"), name + "mlp.fc1"))
        return x + self._linear(y, name + "mlp.fc2")

    def _classes(self, x: Tensor, words: Tensor, name: str) -> Tensor:
        pool, pad_len, heads = self.config.pooling_size, self.config.pad_len, self.config.num_heads
        b, c, t, h, w = x.shape
        y = F.avg_pool2d(x.permute(0, 2, 1, 3, 4).flatten(0, 1), pool)
        y = y.unflatten(0, (b, t)).permute(0, 2, 1, 3, 4)
        rows, columns = y.shape[-2:]
        if pad_len and t < pad_len:
            missing = pad_len - t
            token = self.state[name + "padding_tokens"].reshape(1, c, 1, 1, 1)
            y = torch.cat([y, token.expand(b, c, missing, rows, columns)], 2)
            words = torch.cat(
                [words, self.state[name + "padding_guidance"].expand(b, missing, -1)], 1
            )
        length = y.shape[2]
        # With one image a view: channels stay far apart in memory, and the sums below keep it so.
        y = y.permute(0, 3, 4, 2, 1).reshape(b * rows * columns, length, c)
        guide = words[:, None].repeat(1, rows * columns, 1, 1).flatten(0, 1)
        y = y + self._linear_attention(self._norm(y, name + "norm1"), guide, heads, name)
        hidden = self._linear(self._norm(y, name + "norm2"), name + "MLP.0").relu()
        y = y + self._linear(hidden, name + "MLP.2")
        y = y.reshape(b, rows, columns, length, c).permute(0, 3, 4, 1, 2).flatten(0, 1)
        y = F.interpolate(y, (h, w), mode="bilinear", align_corners=True)
        return x + y.unflatten(0, (b, length)).permute(0, 2, 1, 3, 4)[:, :, :t]

    def _linear_attention(self, x: Tensor, guide: Tensor, heads: int, name: str) -> Tensor:
        def split(value: Tensor) -> Tensor:
            return value.unflatten(-1, (heads, -1))

        q, k = (
            F.elu(split(self._linear(torch.cat([x, guide], -1), f"{name}attention.{part}"))) + 1
            for part in "qk"
        )
        v = split(self._linear(x, name + "attention.v")) / x.shape[1]
        kv = torch.einsum("nshd,nshv->nhdv", k, v)
        z = 1 / (torch.einsum("nlhd,nhd->nlh", q, k.sum(1)) + 1e-6)
        return (torch.einsum("nlhd,nhdv,nlh->nlhv", q, kv, z) * x.shape[1]).flatten(-2)

    def _up(self, x: Tensor, guidance: Tensor, classes: int, name: str) -> Tensor:
        x = F.conv_transpose2d(x, self.state[name + "up.weight"], self.state[name + "up.bias"], 2)
        guidance = guidance[:, None].repeat(1, classes, 1, 1, 1).flatten(0, 1)
        x = torch.cat([x, guidance], 1)
        for conv, norm in ((0, 1), (3, 4)):
            x = F.conv2d(x, self.state[f"{name}conv.double_conv.{conv}.weight"], padding=1)
            weight, bias = (
                self.state[f"{name}conv.double_conv.{norm}.{part}"] for part in ("weight", "bias")
            )
            x = F.group_norm(x, x.shape[1] // 16, weight, bias).relu_()
        return x

    # ---- layers by name

    def _map(self, tokens: Tensor) -> Tensor:
        return tokens[:, 1:].permute(0, 2, 1).unflatten(-1, self.config.grid)

    def _transposed(self, tokens: Tensor, name: str, stride: int) -> Tensor:
        weight, bias = self.state[name + ".weight"], self.state[name + ".bias"]
        return F.conv_transpose2d(self._map(tokens), weight, bias, stride)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.state[name + ".weight"], self.state[name + ".bias"])

    def _conv(self, x: Tensor, name: str, padding: int) -> Tensor:
        weight, bias = self.state[name + ".weight"], self.state[name + ".bias"]
        return F.conv2d(x, weight, bias, padding=padding)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(
            x, x.shape[-1:], self.state[name + ".weight"], self.state[name + ".bias"]
        )
