"""A base by name: the shipped default, a copy of it, and what is wrong with others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.checkpoint import save_official, to_clip, to_official
from acclimate.model.config import V1_R101_VITB, VITB_384, CATSegConfig
from acclimate.model.files import Format
from acclimate.model.load import EMBEDDED, build, load_base


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the default under another name."""
    (tmp_path / "config.json").write_bytes(
        (EMBEDDED["default"].parent / "config.json").read_bytes()
    )
    path = tmp_path / "mine.safetensors"
    path.write_bytes((EMBEDDED["default"].parent / "weights.safetensors").read_bytes())
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
    assert theirs.templates == ours.templates
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
    stored = json.loads((EMBEDDED["default"].parent / "config.json").read_text())["network"]
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


def test_weights_of_another_size_name_the_file(weights: Path) -> None:
    change_sizes(weights, vision_layers=7)
    with pytest.raises(CheckpointError, match=r"mine\.safetensors"):
        load_base(weights)


def test_unknown_sizes_name_the_file(weights: Path) -> None:
    change_sizes(weights, depth=3)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_base(weights)


@pytest.mark.parametrize(
    "sizes",
    [
        {"vision_layers": "six"}, {"decoder_dims": [4, 4]}, {"window_size": 0},
        {"vision_heads": 5}, {"guidance_layers": [3, 9]},
    ],
)  # fmt: skip
def test_sizes_no_network_has_are_told(weights: Path, sizes: dict[str, object]) -> None:
    change_sizes(weights, **sizes)
    with pytest.raises(CheckpointError, match=r"config\.json: no network has these sizes"):
        load_base(weights)


def test_weights_that_are_not_numbers_are_named(weights: Path) -> None:
    state = load_file(weights)
    state["upsample1.bias"][3] = float("nan")
    save_file(state, weights)
    with pytest.raises(CheckpointError, match=r"mine\.safetensors.*\n.*upsample1\.bias: .*NaN"):
        load_base(weights)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (lambda known: known.flip(0), "must rise"),
        (lambda known: known[1:], "rows"),
        (lambda known: known.float(), "int64"),
        (lambda known: known[None], "int64"),
    ],
)
def test_a_wrong_table_of_words_is_told(
    weights: Path, words: Callable[[Tensor], Tensor], said: str
) -> None:
    state = load_file(weights)
    state["known_tokens"] = words(state["known_tokens"]).contiguous()
    save_file(state, weights)
    with pytest.raises(CheckpointError, match=rf"mine\.safetensors.*known_tokens.*{said}"):
        load_base(weights)


# Official files need no config.json.

OFFICIAL_V2 = replace(
    VITB_384, vision_width=64, vision_heads=1, embed_dim=32, text_width=64, text_layers=1,
    text_heads=1, vocab_size=90, hidden_dim=32, appearance_proj_dim=16, text_proj_dim=16,
    decoder_dims=(32, 16), decoder_guidance_proj_dims=(16, 8), num_layers=1,
)  # fmt: skip
OFFICIAL_V1 = replace(
    V1_R101_VITB, vision_width=64, vision_heads=1, vision_layers=2, embed_dim=32, text_width=64,
    text_layers=1, text_heads=1, vocab_size=90, hidden_dim=32, appearance_proj_dim=16,
    text_proj_dim=16, decoder_dims=(32, 16), decoder_guidance_proj_dims=(16, 8), num_layers=1,
    resnet_blocks=(1, 1, 1), resnet_width=8, decoder_guidance_dims=(64, 32),
)  # fmt: skip


@pytest.mark.parametrize(("config", "form"), [(OFFICIAL_V2, "detectron2"), (OFFICIAL_V1, "mmseg")])
def test_an_official_file_is_a_base(tmp_path: Path, config: CATSegConfig, form: Format) -> None:
    network = build(config)
    save_official(network, tmp_path / "model_base.pth", form)
    base = load_base(tmp_path / "model_base.pth")
    assert base.network.config == config
    assert base.known is None
    assert base.head == {"v2": "sigmoid", "v1": "softmax"}[config.variant]
    assert base.digest == hashlib.sha256((tmp_path / "model_base.pth").read_bytes()).hexdigest()
    ours, theirs = network.state_dict(), base.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(("told", "head"), [(None, "softmax"), ("sigmoid", "sigmoid")])
def test_a_config_says_how_the_head_was_trained(weights: Path, told: str | None, head: str) -> None:
    path = weights.with_name("config.json")
    config = json.loads(path.read_text()) | ({"head": told} if told else {})
    path.write_text(json.dumps(config))
    assert load_base(weights).head == head
    path.write_text(json.dumps(config | {"head": "linear"}))
    with pytest.raises(CheckpointError, match=r"config\.json: head 'linear' is not softmax or sig"):
        load_base(weights)


def test_v2_as_released_has_one_template(tmp_path: Path) -> None:
    save_official(build(OFFICIAL_V2), tmp_path / "w.pth", "detectron2")
    assert load_base(tmp_path / "w.pth").templates == ("A photo of a {} in the scene",)


def test_v1_as_released_has_ten(tmp_path: Path) -> None:
    save_official(build(OFFICIAL_V1), tmp_path / "w.pth", "mmseg")
    base = load_base(tmp_path / "w.pth")
    assert len(base.templates) == 10
    assert base.templates[0] == "a cropped photo of a {}."
    assert base.templates[-1] == "This is one masked {} in the scene"


def test_a_config_may_list_templates(tmp_path: Path) -> None:
    two = replace(OFFICIAL_V2, num_templates=2)
    save_official(build(two), tmp_path / "w.pth", "detectron2")
    told = {"network": two.to_dict(), "template": ["a {}", "the {}"]}
    (tmp_path / "config.json").write_text(json.dumps(told))
    assert load_base(tmp_path / "w.pth").templates == ("a {}", "the {}")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("a photo", "'a photo' must be a sentence"), ("a {x}", "must be a sentence"),
        (["{}", 3], "template 3 must be"), ([], "0 templates, its network takes 1"),
        (["a {}", "the {}"], "2 templates, its network takes 1"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_told(
    weights: Path, template: object, problem: str
) -> None:
    path = weights.with_name("config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"template": template}))
    with pytest.raises(CheckpointError, match=f"{path}.*{problem}"):
        load_base(weights)


def test_of_a_vocalign_file_the_student_is_the_base(tmp_path: Path) -> None:
    state = to_official(build(OFFICIAL_V1))
    both = {f"model.{name}": value for name, value in state.items()}
    both |= {f"teacher.ema_model.{name}": value * 2 for name, value in state.items()}
    torch.save({"meta": {}, "state_dict": both}, tmp_path / "iter_1000.pth")
    loaded = to_official(load_base(tmp_path / "iter_1000.pth").network)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_towers_alone_are_no_base(tmp_path: Path) -> None:
    torch.save(to_clip(build(OFFICIAL_V2)), tmp_path / "ViT.pt")
    with pytest.raises(CheckpointError, match=r"ViT\.pt: .*CLIP's towers alone"):
        load_base(tmp_path / "ViT.pt")


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth: .*no tensor in it has a name of CAT-Seg"):
        load_base(tmp_path / "w.pth")


def test_a_published_name_is_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCLIMATE_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match="acclimate weights pull catseg-vitb"):
        load_base("catseg-vitb")
    save_official(build(OFFICIAL_V2), tmp_path / "model_base.pth", "detectron2")
    assert load_base("catseg-vitb").network.config == OFFICIAL_V2
    assert load_base(Path("catseg-vitb")).network.config == OFFICIAL_V2


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(CheckpointError, match=r"catseg-vitx.*catseg-vitb, catseg-vitl"):
        load_base("catseg-vitx")
