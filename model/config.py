"""The shape of one CAT-Seg network, as plain numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from acclimate.errors import CheckpointError

_LARGEST = 1_000_000
_MAY_BE_ZERO = {"pad_len", "guidance_layers"}
_ANY_LENGTH = {"guidance_layers", "resnet_blocks"}


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
        """Read `to_dict`'s form; raises CheckpointError on unknown keys and impossible sizes."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise CheckpointError(
                f"network config has unknown keys {unknown}; known: {sorted(known)}"
            )
        ready: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        problems = _wrong_kinds(ready) or _impossible(config := cls(**ready))
        if problems:
            raise CheckpointError("no network has these sizes: " + "; ".join(problems))
        return config


def _wrong_kinds(values: dict[str, Any]) -> list[str]:
    """Sizes that are no whole numbers in range, or not as many as there should be."""
    variant = values.get("variant", "v2")
    problems = [] if variant in ("v2", "v1") else [f"variant {variant!r} is not v2 or v1"]
    for name, value in values.items():
        usual = getattr(VITB_384, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if name == "variant":
            continue
        if isinstance(usual, tuple) != isinstance(value, tuple) or not all(
            type(number) is int for number in numbers
        ):
            problems.append(f"{name} {value!r} should be like {usual!r}")
        elif name not in _ANY_LENGTH and isinstance(usual, tuple) and len(numbers) != len(usual):
            problems.append(f"{name} {value!r} should be {len(usual)} numbers")
        elif not all(name in _MAY_BE_ZERO or number > 0 for number in numbers):
            problems.append(f"{name} {value!r} must be greater than 0")
        elif not all(0 <= number <= _LARGEST for number in numbers):
            problems.append(f"{name} {value!r} is out of range")
    return problems


def _impossible(c: CATSegConfig) -> list[str]:
    """What the sizes say about each other; each alone is sound."""
    return [problem for bad, problem in (*_divisions(c), *_orders(c)) if bad]


def _divisions(c: CATSegConfig) -> Iterator[tuple[bool, str]]:
    for whole, part in (
        ("image_size", "patch_size"), ("vision_width", "vision_heads"),
        ("text_width", "text_heads"), ("hidden_dim", "num_heads"),
    ):  # fmt: skip
        size, by = getattr(c, whole), getattr(c, part)
        numbers = size if isinstance(size, tuple) else (size,)
        yield any(n % by for n in numbers), f"{whole} {size!r} is not a multiple of {part} {by}"
    window, dims = c.window_size, c.decoder_dims
    yield any(n % window for n in c.grid), f"window_size {window} does not divide grid {c.grid}"
    yield any(n % 16 for n in dims), f"decoder_dims {dims} are not multiples of 16"


def _orders(c: CATSegConfig) -> Iterator[tuple[bool, str]]:
    guides = c.decoder_guidance_proj_dims
    for room, guide in zip((c.hidden_dim, c.decoder_dims[0]), guides, strict=True):
        yield guide >= room, f"decoder_guidance_proj_dims: {guide} must be below {room}"
    small = any(pool > n for pool, n in zip(c.pooling_size, c.grid, strict=True))
    yield small, f"pooling_size {c.pooling_size} is larger than the grid {c.grid}"
    if c.variant == "v2":
        blocks = c.guidance_layers
        sound = len(blocks) == 2 and blocks[0] < blocks[1] < c.vision_layers - 1
        yield not sound, f"guidance_layers {blocks} are not two that rise, before the last block"
    else:
        width, dims = c.resnet_width, c.decoder_guidance_dims
        yield len(c.resnet_blocks) != 3, f"resnet_blocks {c.resnet_blocks} are not three stages"
        yield dims != (8 * width, 4 * width), f"decoder_guidance_dims {dims} are not the ResNet's"
        yield c.patch_size != 16, f"patch_size {c.patch_size} is not the ResNet's stride, 16"


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
