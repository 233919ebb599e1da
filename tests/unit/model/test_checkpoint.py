"""Official state dicts: there and back, every wrong key named, nothing unpickled."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import load_official, read_weights, to_official
from acclimate.model.config import CATSegConfig
from acclimate.model.load import DEFAULT

TINY = CATSegConfig(
    image_size=(32, 32), patch_size=8, stored_grid=(4, 4), vision_width=16, vision_layers=3,
    vision_heads=2, embed_dim=8, text_width=8, text_layers=1, text_heads=2, vocab_size=70,
    guidance_layers=(0, 1), decoder_guidance_dims=(8, 4), decoder_guidance_proj_dims=(4, 4),
    decoder_dims=(16, 16), appearance_proj_dim=4, text_proj_dim=4, num_layers=1, num_heads=2,
    hidden_dim=8, window_size=2, pad_len=4,
)  # fmt: skip
HEAD = "sem_seg_head.predictor."


@pytest.fixture
def network() -> CATSeg:
    return CATSeg(TINY)


@pytest.fixture
def official(network: CATSeg) -> dict[str, Tensor]:
    """Another network's tensors under the official names."""
    torch.manual_seed(1)
    return {name: torch.randn_like(value) for name, value in to_official(network).items()}


def test_there_and_back_is_the_same(network: CATSeg, official: dict[str, Tensor]) -> None:
    load_official(network, official)
    again = to_official(network)
    assert again.keys() == official.keys()
    learned = [name for name in official if not name.endswith("attn_mask")]
    assert [n for n in learned if not torch.equal(again[n], official[n])] == []


def test_half_precision_is_taken_up_to_float32(
    network: CATSeg, official: dict[str, Tensor]
) -> None:
    load_official(network, {name: value.half() for name, value in official.items()})
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_every_wrong_key_is_named_at_once(network: CATSeg, official: dict[str, Tensor]) -> None:
    missing = [HEAD + "transformer.head.weight", HEAD + "clip_model.text_projection"]
    misshapen = [HEAD + "transformer.conv1.weight", "upsample1.bias"]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for name in missing:
        del official[name]
    for name in misshapen:
        official[name] = official[name][:1]
    official["stranger"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_official(network, official)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert sorted(line for line in lines if line.startswith("missing")) == sorted(
        f"missing {name}" for name in missing
    )
    assert [line for line in lines if line.startswith("unexpected")] == ["unexpected stranger"]
    assert sorted(line.split(":")[0] for line in lines if ": file has" in line) == sorted(misshapen)
    assert len(lines) == 5
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)


def test_a_misshapen_joint_bias_is_named(network: CATSeg, official: dict[str, Tensor]) -> None:
    name = next(name for name in official if name.endswith("in_proj_bias"))
    official[name] = official[name][:1]
    with pytest.raises(CheckpointError, match="in_proj_bias"):
        load_official(network, official)


def test_a_missing_joint_bias_is_named(network: CATSeg, official: dict[str, Tensor]) -> None:
    name = next(name for name in official if name.endswith("in_proj_bias"))
    del official[name]
    with pytest.raises(CheckpointError, match=f"missing {name}"):
        load_official(network, official)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, share: float) -> None:
    whole = (DEFAULT / "weights.safetensors").read_bytes()
    path = tmp_path / "torn.safetensors"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"torn\.safetensors.*copy the file again"):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        read_weights(tmp_path / "gone.safetensors")


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (witness,)

    path = tmp_path / "weights.pth"
    torch.save({"model": Evil()}, path)
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        read_weights(path)
    assert not witness.exists()
    torch.load(path, weights_only=False)
    assert witness.exists(), "the file is harmless, so refusing it shows nothing"


def test_written_weights_read_back(
    tmp_path: Path, network: CATSeg, official: dict[str, Tensor]
) -> None:
    save_file(official, tmp_path / "w.safetensors")
    assert load_file(tmp_path / "w.safetensors").keys() == official.keys()
    load_official(network, read_weights(tmp_path / "w.safetensors"))
