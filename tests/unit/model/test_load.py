"""A base by name: the shipped default, a copy of it, and what is wrong with others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from acclimate.errors import CheckpointError
from acclimate.model.config import CATSegConfig
from acclimate.model.load import DEFAULT, load_base


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the default under another name."""
    (tmp_path / "config.json").write_bytes((DEFAULT / "config.json").read_bytes())
    path = tmp_path / "mine.safetensors"
    path.write_bytes((DEFAULT / "weights.safetensors").read_bytes())
    return path


def change_sizes(weights: Path, **sizes: object) -> None:
    """Other numbers in the config beside `weights`."""
    path = weights.with_name("config.json")
    config = json.loads(path.read_text())
    config["network"].update(sizes)
    path.write_text(json.dumps(config))


def test_the_default_loads_and_cannot_learn() -> None:
    base = load_base()
    assert not base.network.training
    assert not any(p.requires_grad for p in base.network.parameters())
    assert base.known is not None
    assert base.known.tolist() == sorted(base.known.tolist())


def test_a_path_gives_the_same_base(weights: Path) -> None:
    ours, theirs = load_base(), load_base(weights)
    assert theirs.template == ours.template
    assert theirs.digest == ours.digest == hashlib.sha256(weights.read_bytes()).hexdigest()
    ours_state, theirs_state = ours.network.state_dict(), theirs.network.state_dict()
    assert ours_state.keys() == theirs_state.keys()
    assert all(torch.equal(ours_state[name], theirs_state[name]) for name in ours_state)


def test_other_bytes_are_another_base(weights: Path) -> None:
    state = load_file(weights)
    state["upsample1.bias"] += 1
    save_file(state, weights)
    assert load_base(weights).digest != load_base().digest


def test_the_config_is_written_as_it_is_read() -> None:
    stored = json.loads((DEFAULT / "config.json").read_text())["network"]
    assert json.loads(json.dumps(CATSegConfig.from_dict(stored).to_dict())) == stored


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"network": {}}', '{"network": 3, "template": "{}"}']
)
def test_a_config_that_cannot_be_read_is_named(weights: Path, text: str) -> None:
    weights.with_name("config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_base(weights)


def test_a_missing_config_is_named(weights: Path) -> None:
    weights.with_name("config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json.*beside the weights"):
        load_base(weights)


def test_unknown_sizes_are_named(weights: Path) -> None:
    text = json.dumps({"network": {"depth": 3, "girth": 4}, "template": "{}"})
    weights.with_name("config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"\['depth', 'girth'\]"):
        load_base(weights)


def test_missing_weights_are_named(weights: Path) -> None:
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"mine\.safetensors"):
        load_base(weights)


@pytest.mark.xfail(reason="a misfit's CheckpointError does not name the file", strict=True)
def test_weights_of_another_size_name_the_file(weights: Path) -> None:
    change_sizes(weights, vision_layers=7)
    with pytest.raises(CheckpointError, match=r"mine\.safetensors"):
        load_base(weights)


@pytest.mark.xfail(reason="from_dict's CheckpointError does not name the file", strict=True)
def test_unknown_sizes_name_the_file(weights: Path) -> None:
    change_sizes(weights, depth=3)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_base(weights)


@pytest.mark.xfail(
    reason="sizes of the wrong kind escape as TypeError and ZeroDivisionError", strict=True,
    raises=(TypeError, ZeroDivisionError),
)  # fmt: skip
@pytest.mark.parametrize("sizes", [{"vision_layers": "six"}, {"decoder_dims": [4, 4]}])
def test_sizes_no_network_has_are_told(weights: Path, sizes: dict[str, object]) -> None:
    change_sizes(weights, **sizes)
    with pytest.raises(CheckpointError):
        load_base(weights)
