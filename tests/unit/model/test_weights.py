"""Looking into weights files, and writing them for other tools."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.checkpoint import save_official, to_clip, to_official
from acclimate.model.files import read_weights
from acclimate.model.load import EMBEDDED, build, load_base
from acclimate.model.weights import export, inspect, main
from tests.unit.model.test_load import OFFICIAL_V1, OFFICIAL_V2


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    path = tmp_path / "model_base.pth"
    save_official(build(OFFICIAL_V2), path, "detectron2")
    return path


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    path = tmp_path / "catseg-v1.pth"
    save_official(build(OFFICIAL_V1), path, "mmseg")
    return path


def change(path: Path, key: str, **tensors: Tensor) -> None:
    """Other tensors in a torch file."""
    payload = torch.load(path, weights_only=True)
    payload[key] |= tensors
    torch.save(payload, path)


def test_v2(v2: Path) -> None:
    report = inspect(str(v2))
    state = torch.load(v2, weights_only=True)["model"]
    assert (report.kind, report.container) == ("v2", "detectron2")
    assert report.tensors == len(state)
    assert report.elements == sum(value.numel() for value in state.values())
    assert report.dtypes == {"float32": len(state)}
    assert report.sha256 == hashlib.sha256(v2.read_bytes()).hexdigest()
    assert (report.sizes["image_size"], report.sizes["grid"]) == ((384, 384), (24, 24))
    assert (report.sizes["text_width"], report.sizes["embed_dim"]) == (64, 32)
    assert report.problems == report.not_finite == []
    assert "segment" in report.used_by


def test_v1(v1: Path) -> None:
    report = inspect(str(v1))
    assert (report.kind, report.container) == ("v1", "mmseg")
    # a ResNet of three blocks: one count a BatchNorm; two windows' index tables
    assert report.dtypes["int64"] == 1 + 3 * 4 + 2
    assert report.sizes["variant"] == "v1"
    assert report.problems == []


def test_the_default() -> None:
    report = inspect(str(EMBEDDED["default"].parent / "weights.safetensors"))
    assert (report.kind, report.container) == ("v2", "safetensors")
    assert "a table of 56 words" in report.what
    assert report.sizes["image_size"] == (160, 224)
    assert report.problems == []


def test_clip(tmp_path: Path) -> None:
    towers = to_clip(build(OFFICIAL_V2))
    torch.save({k: v.half() for k, v in towers.items()}, tmp_path / "ViT.pt")
    report = inspect(str(tmp_path / "ViT.pt"))
    assert report.kind == "clip"
    assert report.dtypes == {"float16": len(towers)}
    assert report.sizes == {
        "image_size": (224, 224), "grid": (14, 14), "patch_size": 16, "vision_width": 64,
        "embed_dim": 32, "text_width": 64,
    }  # fmt: skip
    assert report.problems == []


def test_clip_with_a_resnet_is_told(tmp_path: Path) -> None:
    torch.save({"visual.layer1.0.conv1.weight": torch.ones(1)}, tmp_path / "RN50.pt")
    assert "no CLIP ViT" in inspect(str(tmp_path / "RN50.pt")).problems[0]


def test_what_is_unknown_has_no_use(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "w.pth")
    report = inspect(str(tmp_path / "w.pth"))
    assert (report.kind, report.tensors, report.elements) == ("unknown", 2, 9)
    assert report.used_by == "no command"


def test_problems_and_broken_numbers_are_listed(
    v2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bent = {"upsample1.bias": torch.full((256,), torch.inf), "stranger": torch.ones(1)}
    change(v2, "model", **bent)
    report = inspect(str(v2))
    assert report.not_finite == ["upsample1.bias"]
    assert report.problems == ["unexpected stranger", "upsample1.bias: holds NaN or infinity"]
    assert report.used_by.startswith("no command")
    assert main(["inspect", str(v2)]) == 1
    assert "problem       unexpected stranger" in capsys.readouterr().out


def test_the_table_and_the_json_say_the_same(v1: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(v1), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert main(["inspect", str(v1)]) == 0
    said = capsys.readouterr().out
    assert report["sha256"] in said and f"{report['elements']:,}" in said
    assert "384x384" in said and "CAT-Seg v1" in said


def test_a_file_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "gone.pth"]) == 1
    assert "gone.pth" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.pth", "out.safetensors"])
@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("half", [False, True])
def test_export_keeps_every_byte(
    tmp_path: Path, request: pytest.FixtureRequest, name: str, variant: str, half: bool
) -> None:
    source: Path = request.getfixturevalue(variant)
    state = {key: value.clone() for key, value in read_weights(source).items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        torch.save(state, source)
    said = export(str(source), tmp_path / name, None)
    kind = {"v2": "detectron2", "v1": "mmseg"}[variant]
    assert f"({'safetensors' if name.endswith('rs') else kind})" in said
    again = read_weights(tmp_path / name)
    assert again.keys() == state.keys()
    for key in state:
        assert again[key].dtype == state[key].dtype
        assert again[key].numpy().tobytes() == state[key].numpy().tobytes()


def test_what_was_exported_is_a_base(v2: Path, tmp_path: Path) -> None:
    assert main(["export", str(v2), "--to", str(tmp_path / "w.safetensors")]) == 0
    one, two = (to_official(load_base(p).network) for p in (v2, tmp_path / "w.safetensors"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_format_may_be_chosen(v1: Path, tmp_path: Path) -> None:
    assert main(["export", str(v1), "--to", str(tmp_path / "w"), "--format", "safetensors"]) == 0
    assert (tmp_path / "w").read_bytes()[8:9] == b"{"


def test_a_damaged_file_is_not_exported(v2: Path, tmp_path: Path) -> None:
    change(v2, "model", stranger=torch.ones(1))
    with pytest.raises(CheckpointError, match="unexpected stranger"):
        export(str(v2), tmp_path / "w.pth", None)
    assert not (tmp_path / "w.pth").exists()


def test_a_compact_table_has_no_official_form(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="copy both"):
        export(str(EMBEDDED["default"].parent / "weights.safetensors"), tmp_path / "w.pth", None)
