"""CAT-Seg's cost aggregation: shifted windows over space, linear attention over classes.

Source: KU-CVLAB/CAT-Seg @6d3a188, cat_seg/modeling/transformer/model.py, behaviour re-implemented.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acclimate.model.chunks import CLASSES, POSITIONS, in_chunks
from acclimate.model.config import CATSegConfig


def to_windows(x: Tensor, size: int) -> Tensor:
    """(B, T, H, W, C) -> (B, T, windows, size*size, C)."""
    b, t, h, w, c = x.shape
    x = x.reshape(b * t, h // size, size, w // size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(b, t, -1, size * size, c)


def from_windows(x: Tensor, size: int, grid: tuple[int, int]) -> Tensor:
    """Inverse of `to_windows`: (B, T, windows, size*size, C) -> (B, T, H, W, C)."""
    (b, t, _, _, c), (h, w) = x.shape, grid
    x = x.reshape(b * t, h // size, w // size, size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(b, t, h, w, c)


def shift_mask(grid: tuple[int, int], size: int) -> Tensor:
    """Additive mask (windows, size², size²): -100 between regions a cyclic shift joins."""
    regions = torch.zeros(1, 1, *grid, 1)
    cuts = (slice(0, -size), slice(-size, -(size // 2)), slice(-(size // 2), None))
    for i, rows in enumerate(cuts):
        for j, columns in enumerate(cuts):
            regions[:, :, rows, columns] = 3 * i + j
    ids = to_windows(regions, size)[0, 0, :, :, 0]
    return torch.where(ids[:, None] == ids[:, :, None], 0.0, -100.0)


class GuidedAttention(nn.Module):
    """Projections of an attention whose queries and keys also see a guidance.

    The guidance is shared (by all classes over space, by all positions over classes), so its part
    of a projection is computed once and added: exact, and half of the work of queries and keys.
    """

    def __init__(self, dim: int, guidance: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim + guidance, dim)
        self.k = nn.Linear(dim + guidance, dim)
        self.v = nn.Linear(dim, dim)

    def project(self, x: Tensor, guidance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (..., C), guidance (..., G) that broadcasts to it -> q, k, v (..., heads, D)."""
        dim = x.shape[-1]
        q, k = (
            F.linear(x, part.weight[:, :dim]) + F.linear(guidance, part.weight[:, dim:], part.bias)
            for part in (self.q, self.k)
        )
        q, k, v = (y.unflatten(-1, (self.heads, -1)) for y in (q, k, self.v(x)))
        return q, k, v


class WindowAttention(GuidedAttention):
    """Softmax attention within windows."""

    def __init__(self, dim: int, guidance: int, heads: int) -> None:
        super().__init__(dim, guidance, heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, guidance: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, N, L, C), guidance (B, 1, N, L, G), mask (N, L, L) or None -> as x."""
        b, t, n, length, c = x.shape
        q, k, v = (y.flatten(0, 1).transpose(2, 3).flatten(1, 2) for y in self.project(x, guidance))
        if mask is not None:
            mask = mask.repeat_interleave(self.heads, 0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = y.unflatten(1, (n, self.heads)).transpose(2, 3).reshape(b, t, n, length, c)
        out: Tensor = self.proj(y)
        return out


class SwinMLP(nn.Module):
    """Feed-forward pair with exact GELU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C)."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class SwinBlock(nn.Module):
    """One window block; `shift` is 0 or half a window."""

    def __init__(self, config: CATSegConfig, shift: int) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.size, self.shift = config.window_size, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, config.appearance_proj_dim, config.num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = SwinMLP(dim)
        mask = shift_mask(config.grid, config.window_size) if shift else None
        self.register_buffer("attn_mask", mask, persistent=False)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """x (B, T, H, W, C), guidance (B, 1, H, W, G) -> as x."""
        mask = self.attn_mask if self.shift else None
        y = self.attn(self._windows(self.norm1(x)), self._windows(guidance), mask)
        y = from_windows(y, self.size, (x.shape[2], x.shape[3]))
        if self.shift:
            y = y.roll((self.shift, self.shift), (2, 3))
        x = x + y
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _windows(self, x: Tensor) -> Tensor:
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (2, 3))
        return to_windows(x, self.size)


class SpatialAggregation(nn.Module):
    """A plain and a shifted window block; every class plane is on its own."""

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        self.block_1 = SwinBlock(config, 0)
        self.block_2 = SwinBlock(config, config.window_size // 2)
        self.guidance_norm = nn.LayerNorm(config.appearance_proj_dim)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """x (B, C, T, H, W), guidance (B, G, H, W) -> (B, C, T, H, W)."""
        normed = self.guidance_norm(guidance.permute(0, 2, 3, 1))[:, None]
        return in_chunks(lambda part: self._planes(part, normed), x, 2, CLASSES)

    def _planes(self, x: Tensor, normed: Tensor) -> Tensor:
        """x (B, C, T, H, W), guidance (B, 1, H, W, G) -> (B, C, T, H, W)."""
        y: Tensor = self.block_2(self.block_1(x.permute(0, 2, 3, 4, 1), normed), normed)
        return y.permute(0, 4, 1, 2, 3)


class ClassAggregation(nn.Module):
    """Linear attention over classes, padded to `pad_len` with learned tokens.

    All padding tokens are equal and their outputs are dropped, so they are folded into the two
    sums of linear attention instead of being computed at every position (exact).
    """

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        dim, guidance = config.hidden_dim, config.text_proj_dim
        self.pool, self.pad_len = config.pooling_size, config.pad_len
        self.normed_residual = config.variant == "v1"
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, dim)) if self.pad_len else None
        self.padding_guidance = nn.Parameter(torch.zeros(1, 1, guidance)) if self.pad_len else None
        self.attention = GuidedAttention(dim, guidance, config.num_heads)
        self.MLP = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """x (B, C, T, H, W), text guidance (B, T, G) -> (B, C, T, H, W)."""
        b, _, t, h, w = x.shape
        x = x.permute(0, 2, 3, 4, 1)
        y = self._pooled(x)
        rows, columns = y.shape[2:4]
        y = in_chunks(lambda part: self._mix(part, text), y.flatten(2, 3), 2, POSITIONS)
        y = y.unflatten(2, (rows, columns))
        if self.pool != (1, 1):
            planes = y.flatten(0, 1).permute(0, 3, 1, 2)
            planes = F.interpolate(planes, (h, w), mode="bilinear", align_corners=True)
            y = planes.permute(0, 2, 3, 1).unflatten(0, (b, t))
        return (x + y).permute(0, 4, 1, 2, 3)

    def _pooled(self, x: Tensor) -> Tensor:
        """x (B, T, H, W, C) -> fewer rows and columns."""
        if self.pool == (1, 1):
            return x
        planes = F.avg_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), self.pool)
        return planes.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])

    def _mix(self, x: Tensor, text: Tensor) -> Tensor:
        """x (B, T, N, C), text guidance (B, T, G) -> (B, T, N, C); every position is on its own."""
        x = x + self._attend(self.norm1(x), text[:, :, None])
        normed = self.norm2(x)
        return x + normed + self.MLP(normed) if self.normed_residual else x + self.MLP(normed)

    def _attend(self, x: Tensor, text: Tensor) -> Tensor:
        """x (B, T, N, C) normed, text (B, T, 1, G) -> (B, T, N, C)."""
        q, k, v = self._project(x, text)  # (B, N, heads, T, D)
        length = max(self.pad_len, x.shape[1]) if self.pad_len else x.shape[1]
        kv = k.transpose(-1, -2) @ (v / length)
        k_sum = k.sum(-2, keepdim=True)
        if self.padding_tokens is not None and self.padding_guidance is not None:
            missing = length - x.shape[1]
            token = self.norm1(self.padding_tokens)[:, :, None]
            _, k_pad, v_pad = self._project(token, self.padding_guidance[:, :, None])
            kv = kv + missing * (k_pad.transpose(-1, -2) @ (v_pad / length))
            k_sum = k_sum + missing * k_pad
        z = length / (q @ k_sum.transpose(-1, -2) + 1e-6)
        return (q @ kv * z).permute(0, 3, 1, 2, 4).flatten(-2)

    def _project(self, x: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, T, N, C), text (B, T, 1, G) -> q, k, v (B, N, heads, T, D); q and k positive."""
        q, k, v = (y.permute(0, 2, 3, 1, 4) for y in self.attention.project(x, text))
        return _positive(q), _positive(k), v


def _positive(x: Tensor) -> Tensor:
    """elu(x) + 1, without taking 1 away first."""
    return x.clamp(max=0).exp() + x.relu()


class AggregatorLayer(nn.Module):
    """Spatial, then class aggregation."""

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        self.swin_block = SpatialAggregation(config)
        self.attention = ClassAggregation(config)

    def forward(self, x: Tensor, appearance: Tensor, text: Tensor) -> Tensor:
        """x (B, C, T, H, W), appearance (B, G, H, W), text (B, T, G) -> (B, C, T, H, W)."""
        y: Tensor = self.attention(self.swin_block(x, appearance), text)
        return y
