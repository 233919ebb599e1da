"""The shape of one CAT-Seg network, as plain numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from acclimate.errors import CheckpointError


@dataclass(frozen=True)
class CATSegConfig:
    """Sizes of CAT-Seg; the defaults are the official v2 ViT-B/16 release.

    Lengths are pixels of the network input, channel counts or token counts. `template_tiles`
    is how often the templates are repeated to fill conv1; the `resnet_` sizes matter to v1 only.
    """

    variant: Literal["v2", "v1"] = "v2"
    image_size: tuple[int, int] = (384, 384)
    patch_size: int = 16
    stored_grid: tuple[int, int] = (14, 14)
    vision_width: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    embed_dim: int = 512
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    context_length: int = 77
    vocab_size: int = 49408
    guidance_layers: tuple[int, ...] = (3, 7)
    decoder_guidance_dims: tuple[int, int] = (256, 128)
    decoder_guidance_proj_dims: tuple[int, int] = (32, 16)
    decoder_dims: tuple[int, int] = (64, 32)
    appearance_proj_dim: int = 128
    text_proj_dim: int = 128
    num_templates: int = 1
    template_tiles: int = 1
    num_layers: int = 2
    num_heads: int = 4
    hidden_dim: int = 128
    window_size: int = 12
    pooling_size: tuple[int, int] = (1, 1)
    pad_len: int = 256
    resnet_blocks: tuple[int, ...] = (3, 4, 23)
    resnet_width: int = 64

    @property
    def guidance_dim(self) -> int:
        """Channels of the coarsest guidance map: CLIP's own features in v2, ResNet's in v1."""
        return self.embed_dim if self.variant == "v2" else 16 * self.resnet_width

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the cost volume."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, read back by `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CATSegConfig:
        """Read `to_dict`'s form; raises CheckpointError on unknown keys."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise CheckpointError(
                f"network config has unknown keys {unknown}; known: {sorted(known)}"
            )
        ready: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**ready)


VITB_384 = CATSegConfig()
VITL_336 = CATSegConfig(
    image_size=(336, 336), patch_size=14, stored_grid=(24, 24), vision_width=1024,
    vision_layers=24, vision_heads=16, embed_dim=768, text_width=768, text_heads=12,
    guidance_layers=(7, 15),
)  # fmt: skip
V1_R101_VITB = CATSegConfig(
    variant="v1", num_templates=10, template_tiles=8, pad_len=0, guidance_layers=(),
    decoder_guidance_dims=(512, 256),
)  # fmt: skip
