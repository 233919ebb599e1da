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
    """(N, H, W, C) -> (N*windows, size*size, C)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // size, size, w // size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, c)


def from_windows(x: Tensor, size: int, grid: tuple[int, int]) -> Tensor:
    """Inverse of `to_windows`: (N*windows, size*size, C) -> (N, H, W, C)."""
    h, w = grid
    x = x.reshape(-1, h // size, w // size, size, size, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, h, w, x.shape[-1])


def shift_mask(grid: tuple[int, int], size: int) -> Tensor:
    """Additive mask (windows, size², size²): -100 between regions a cyclic shift joins."""
    regions = torch.zeros(1, *grid, 1)
    cuts = (slice(0, -size), slice(-size, -(size // 2)), slice(-(size // 2), None))
    for i, rows in enumerate(cuts):
        for j, columns in enumerate(cuts):
            regions[:, rows, columns] = 3 * i + j
    ids = to_windows(regions, size).squeeze(-1)
    return torch.where(ids[:, None] == ids[:, :, None], 0.0, -100.0)


class WindowAttention(nn.Module):
    """Window attention; queries and keys also see the appearance guidance."""

    def __init__(self, dim: int, guidance: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim + guidance, dim)
        self.k = nn.Linear(dim + guidance, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, guided: Tensor, mask: Tensor | None) -> Tensor:
        """x (N, L, C), guided (N, L, C+G), mask (windows, L, L) or None -> (N, L, C)."""
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for t in (self.q(guided), self.k(guided), self.v(x))
        )
        if mask is not None:
            mask = mask.repeat(x.shape[0] // mask.shape[0], 1, 1)[:, None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.proj(y.transpose(1, 2).flatten(2))
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
        """x (N, H, W, C), guidance (N, H, W, G) -> (N, H, W, C)."""
        normed = self.norm1(x)
        both = torch.cat([normed, guidance], -1)
        if self.shift:
            both = both.roll((-self.shift, -self.shift), (1, 2))
        windows = to_windows(both, self.size)
        mask = self.attn_mask if self.shift else None
        y = self.attn(windows[..., : x.shape[-1]], windows, mask)
        y = from_windows(y, self.size, (x.shape[1], x.shape[2]))
        if self.shift:
            y = y.roll((self.shift, self.shift), (1, 2))
        x = x + y
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


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
        b, _, t, _, _ = x.shape
        planes = x.permute(0, 2, 3, 4, 1).flatten(0, 1)
        normed = normed.expand(-1, t, -1, -1, -1).flatten(0, 1)
        y = self.block_2(self.block_1(planes, normed), normed)
        out: Tensor = y.unflatten(0, (b, t)).permute(0, 4, 1, 2, 3)
        return out


class LinearAttention(nn.Module):
    """Projections of the class attention; it has no output projection."""

    def __init__(self, dim: int, guidance: int) -> None:
        super().__init__()
        self.q = nn.Linear(dim + guidance, dim)
        self.k = nn.Linear(dim + guidance, dim)
        self.v = nn.Linear(dim, dim)


class ClassAggregation(nn.Module):
    """Linear attention over classes, padded to `pad_len` with learned tokens.

    All padding tokens are equal and their outputs are dropped, so they are folded into the two
    sums of linear attention instead of being computed at every position (exact).
    """

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        dim, guidance = config.hidden_dim, config.text_proj_dim
        self.heads, self.pool, self.pad_len = config.num_heads, config.pooling_size, config.pad_len
        self.normed_residual = config.variant == "v1"
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, dim)) if self.pad_len else None
        self.padding_guidance = nn.Parameter(torch.zeros(1, 1, guidance)) if self.pad_len else None
        self.attention = LinearAttention(dim, guidance)
        self.MLP = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """x (B, C, T, H, W), text guidance (B, T, G) -> (B, C, T, H, W)."""
        b, _, t, h, w = x.shape
        pooled = x.permute(0, 2, 1, 3, 4).flatten(0, 1)
        if self.pool != (1, 1):
            pooled = F.avg_pool2d(pooled, self.pool)
        rows, columns = pooled.shape[-2:]
        y = pooled.unflatten(0, (b, t)).permute(0, 3, 4, 1, 2).flatten(1, 2)
        y = in_chunks(lambda part: self._mix(part, text), y, 1, POSITIONS)
        y = y.unflatten(1, (rows, columns)).permute(0, 3, 4, 1, 2).flatten(0, 1)
        if self.pool != (1, 1):
            y = F.interpolate(y, (h, w), mode="bilinear", align_corners=True)
        return x + y.unflatten(0, (b, t)).permute(0, 2, 1, 3, 4)

    def _mix(self, x: Tensor, text: Tensor) -> Tensor:
        """x (B, N, T, C), text guidance (B, T, G) -> (B, N, T, C); every position is on its own."""
        x = x + self._attend(self.norm1(x), text[:, None].expand(-1, x.shape[1], -1, -1))
        normed = self.norm2(x)
        return x + normed + self.MLP(normed) if self.normed_residual else x + self.MLP(normed)

    def _attend(self, x: Tensor, text: Tensor) -> Tensor:
        """x (B, N, T, C) normed, text (B, N, T, G) -> (B, N, T, C)."""
        q, k, v = self._project(x, text)
        length = max(self.pad_len, x.shape[2]) if self.pad_len else x.shape[2]
        v = v / length
        kv = torch.einsum("bnthd,bnthe->bnhde", k, v)
        k_sum = k.sum(2)
        if self.padding_tokens is not None and self.padding_guidance is not None:
            missing = length - x.shape[2]
            token = self.norm1(self.padding_tokens)[:, :, None]
            _, k_pad, v_pad = self._project(token, self.padding_guidance[:, :, None])
            kv = kv + missing * torch.einsum("bnthd,bnthe->bnhde", k_pad, v_pad / length)
            k_sum = k_sum + missing * k_pad.sum(2)
        z = 1 / (torch.einsum("bnthd,bnhd->bnth", q, k_sum) + 1e-6)
        out = torch.einsum("bnthd,bnhde,bnth->bnthe", q, kv, z) * length
        return out.flatten(-2)

    def _project(self, x: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        guided = torch.cat([x, text], -1)
        attention = self.attention
        q, k, v = (
            y.unflatten(-1, (self.heads, -1))
            for y in (attention.q(guided), attention.k(guided), attention.v(x))
        )
        return F.elu(q) + 1, F.elu(k) + 1, v


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
