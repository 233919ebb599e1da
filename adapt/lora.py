"""The adapter: LoRA on projections of the first blocks of CLIP's towers, kept by PEFT."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from acclimate.configs.adapt import AdaptConfig, Projection, Towers
from acclimate.errors import CorruptBundle, IncompatibleBundle
from acclimate.model.catseg import CATSeg

WEIGHTS = "adapter_model.safetensors"
_TARGET = r"clip\.({towers})\.resblocks\.({blocks})\.attn\.({parts})_proj"


def new_adapter(
    network: CATSeg, rank: int, alpha: float, blocks: int, *,
    projections: Sequence[Projection] = ("q", "k", "v"), towers: Towers = "both",
    root_rank: bool = True,
) -> PeftModel:  # fmt: skip
    """Wrap `network` with a zero LoRA on q, k, v (or out) of the first blocks of its towers.

    Its scale is alpha/sqrt(rank), as in VocAlign's released code, or else alpha/rank.
    """
    target = _TARGET.format(
        towers="visual|text" if towers == "both" else towers,
        blocks="|".join(str(i) for i in range(blocks)), parts="|".join(projections),
    )  # fmt: skip
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=target, use_rslora=root_rank, lora_dropout=0.0
    )
    return get_peft_model(network, config)


def adapter_for(network: CATSeg, settings: AdaptConfig) -> PeftModel:
    """`new_adapter` of the shape that `settings` asks for."""
    return new_adapter(
        network, settings.rank, settings.alpha, settings.blocks,
        projections=settings.projections, towers=settings.towers,
        root_rank=settings.lora_scale == "alpha/sqrt(r)",
    )  # fmt: skip


def load_adapter(network: CATSeg, folder: Path) -> PeftModel:
    """Wrap `network` with a stored PEFT adapter, trainable; raises BundleError kinds."""
    for name in ("adapter_config.json", WEIGHTS):
        if not (folder / name).is_file():
            raise CorruptBundle(f"{folder} holds no {name}; restore the adapter folder")
    try:
        model = PeftModel.from_pretrained(network, str(folder), is_trainable=True)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise CorruptBundle(f"adapter {folder} is unreadable: {error}") from error
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise IncompatibleBundle(f"adapter {folder} does not fit this base: {error}") from error
    copy_tensors(model, folder)
    return model


def lora_tensors(model: PeftModel) -> dict[str, Tensor]:
    """The trainable tensors by name (views, fp32)."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def network_of(model: PeftModel) -> CATSeg:
    """The wrapped network itself."""
    network = model.base_model.model
    assert isinstance(network, CATSeg)
    return network


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write PEFT's two files."""
    model.save_pretrained(str(folder), safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)


def copy_tensors(model: PeftModel, folder: Path) -> None:
    """Give `model` the values of a stored adapter; raises BundleError kinds as `load_adapter`."""
    path = folder / WEIGHTS
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptBundle(f"adapter {path} is unreadable: {error}") from error
    if bad := [name for name, value in stored.items() if not bool(value.isfinite().all())]:
        raise CorruptBundle(f"adapter {path} is not finite in {bad[0]}; quarantine it")
    own = {name.replace(".default.", "."): p for name, p in lora_tensors(model).items()}
    if {n: v.shape for n, v in stored.items()} != {n: p.shape for n, p in own.items()}:
        raise IncompatibleBundle(f"adapter {path} does not fit this base, rank or blocks")
    with torch.no_grad():
        for name, value in stored.items():
            own[name].copy_(value)
