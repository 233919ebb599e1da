"""CLIP's two towers in the dense form CAT-Seg uses (batch first, separate q, k and v).

Source: KU-CVLAB/CAT-Seg @6d3a188, third_party/model_vpt.py, behaviour re-implemented.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from open_clip.transformer import LayerNorm, QuickGELU
from torch import Tensor, nn

from acclimate.model.chunks import piece
from acclimate.model.config import CATSegConfig


class Attention(nn.Module):
    """Multi-head self-attention with one Linear per projection, so each can carry a LoRA."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """x (B, L, W) -> (B, L, W)."""
        q, k, v = (self._split(proj(x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self._out(y.transpose(1, 2).flatten(2))

    def values(self, x: Tensor) -> Tensor:
        """The value path alone, token by token: out_proj(v_proj(x))."""
        return self._out(self.v_proj(x))

    def _out(self, x: Tensor) -> Tensor:
        projected: Tensor = self.out_proj(x)
        return projected

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class MLP(nn.Module):
    """CLIP's feed-forward pair."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGELU()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., W) -> (..., W)."""
        y: Tensor = self.c_proj(self.gelu(self.c_fc(x)))
        return y


class Block(nn.Module):
    """One pre-norm residual block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = LayerNorm(width)
        self.mlp = MLP(width)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """x (B, L, W) -> (B, L, W)."""
        x = x + self.attn(self.ln_1(x), causal)
        y: Tensor = x + self.mlp(self.ln_2(x))
        return y

    def dense(self, x: Tensor, residual: Tensor) -> Tensor:
        """The last block's dense form: no attention; `residual` is the CLS token in v2, x in v1."""
        y = residual + self.attn.values(self.ln_1(x))
        out: Tensor = y + self.mlp(self.ln_2(y))
        return out


class ImageTower(nn.Module):
    """CLIP ViT that returns dense features and the outputs of the guidance blocks."""

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        width = config.vision_width
        tokens = 1 + config.stored_grid[0] * config.stored_grid[1]
        self.config = config
        self.conv1 = nn.Conv2d(3, width, config.patch_size, config.patch_size, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(tokens, width))
        self.ln_pre = LayerNorm(width)
        blocks = [Block(width, config.vision_heads) for _ in range(config.vision_layers)]
        self.resblocks = nn.ModuleList(blocks)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, config.embed_dim))

    def embed(self, image: Tensor) -> Tensor:
        """Normalised image (B, 3, H, W) -> tokens before the first block (B, 1+h*w, W)."""
        patches = self.conv1(image)
        grid = (patches.shape[-2], patches.shape[-1])
        patches = patches.flatten(2).transpose(1, 2)
        cls = self.class_embedding.expand(patches.shape[0], 1, -1)
        x: Tensor = self.ln_pre(torch.cat([cls, patches], 1) + self._positions(grid))
        return x

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Tokens of `embed` -> dense features (B, 1+h*w, C) and guidance outputs (B, 1+h*w, W)."""
        hooks = []
        for i, block in enumerate(self.resblocks[:-1]):
            x = piece(block, x)
            if i in self.config.guidance_layers:
                hooks.append(x)
        last = self.resblocks[-1]
        assert isinstance(last, Block)
        residual = x[:, :1] if self.config.variant == "v2" else x
        dense = piece(lambda tokens: last.dense(tokens, residual), x)
        return self.ln_post(dense) @ self.proj, hooks

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        stored = self.config.stored_grid
        if grid == stored:
            return self.positional_embedding
        cls, patches = self.positional_embedding[:1], self.positional_embedding[1:]
        maps = patches.reshape(1, *stored, -1).permute(0, 3, 1, 2)
        maps = F.interpolate(maps, grid, mode="bicubic", align_corners=False)
        return torch.cat([cls, maps.flatten(2).squeeze(0).T])


class TextTower(nn.Module):
    """CLIP's causal text transformer."""

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        width = config.text_width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(config.context_length, width))
        blocks = [Block(width, config.text_heads) for _ in range(config.text_layers)]
        self.resblocks = nn.ModuleList(blocks)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, config.embed_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids (N, 77), the end token being the largest id -> features (N, C).

        Positions after the last end token cannot change the result (causal), so they are cut.
        """
        end = tokens.argmax(-1)
        length = int(end.max()) + 1
        x = self.token_embedding(tokens[:, :length]) + self.positional_embedding[:length]
        for block in self.resblocks:
            x = piece(partial(block, causal=True), x)
        x = self.ln_final(x)[torch.arange(len(tokens), device=tokens.device), end]
        features: Tensor = x @ self.text_projection
        return features


class CLIP(nn.Module):
    """Both towers; `logit_scale` is stored by the official files and used nowhere."""

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        self.visual = ImageTower(config)
        self.text = TextTower(config)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592), requires_grad=False)
