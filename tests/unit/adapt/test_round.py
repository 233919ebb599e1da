"""One round as a process sees it, from a filled buffer to a verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acclimate.adapt.lora import lora_tensors, new_adapter, save_adapter
from acclimate.adapt.main import main
from acclimate.configs.schema import Config, GateConfig, to_dict
from acclimate.model.load import load_base
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.engine import Engine
from acclimate.runtime.swap import probe_check
from acclimate.world import Drive

CONFIG = replace(Config(), adapt=replace(Config().adapt, steps=2, min_frames=8, newest=8))


@pytest.fixture
def filled(state: Path) -> Path:
    """A state folder whose buffer has seen a drive."""
    engine, drive = Engine(state / "engine"), Drive(4)
    base = load_bundle(state / "adapters" / "base", engine.info)
    buffer = FrameBuffer(state / "buffer", replace(CONFIG.buffer, heldout_share=0.35))
    for index in range(24):
        frame = np.ascontiguousarray(drive.frame(6 * index)[0])
        result = engine.infer(frame, base)
        buffer.offer(frame, result.histogram, result.embedding)
    return state


def play(
    state: Path, capsys: pytest.CaptureFixture[str], config: Config = CONFIG, **more: Any
) -> tuple[int, list[dict[str, Any]]]:
    """Run a round; exit code and what it said."""
    config = replace(config, buffer=replace(config.buffer, heldout_share=0.35))
    task = {
        "id": "a1", "sequence": 1, "parent_dir": str(state / "adapters" / "base"),
        "engine_dir": str(state / "engine"), "buffer_dir": str(state / "buffer"),
        "out_dir": str(state / "candidates" / "a1"), "config": to_dict(config), **more,
    }  # fmt: skip
    (state / "candidates").mkdir(exist_ok=True)
    path = state / "round.json"
    path.write_text(json.dumps(task))
    code = main(["--round", str(path)])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_candidate_tells_its_story_and_passes_its_probe_check(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = play(filled, capsys)
    assert code == 0
    assert [event["event"] for event in said] == ["progress", "progress", "verdict"]
    assert said[-1]["accepted"], said[-1]["reasons"]
    engine = Engine(filled / "engine")
    bundle = load_bundle(filled / "candidates" / "a1", engine.info)
    probe_check(engine, bundle)
    assert bundle.manifest["parent"] == "base"
    assert bundle.manifest["training"]["steps"] == 2
    assert bundle.manifest["verdict"]["numbers"] == said[-1]["numbers"]
    assert bundle.manifest["condition"]["spread"] > 0
    assert "adapter/adapter_model.safetensors" in bundle.manifest["files"]
    again, _ = play(filled, capsys, parent_dir=str(filled / "candidates" / "a1"), id="a2",
                    out_dir=str(filled / "candidates" / "a2"))  # fmt: skip
    assert again == 0


def test_a_sabotaged_adapter_is_refused_and_leaves_nothing(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = CONFIG.adapt
    model = new_adapter(load_base().network, settings.rank, settings.alpha, settings.blocks)
    with torch.no_grad():
        for tensor in lora_tensors(model).values():
            tensor.normal_(0, 0.15, generator=torch.Generator().manual_seed(3))
    save_adapter(model, tmp_path / "bad")
    code, said = play(filled, capsys, mode="validate", adapter_dir=str(tmp_path / "bad"))
    assert code == 0
    assert not said[-1]["accepted"]
    assert said[-1]["reasons"]
    assert list((filled / "candidates").iterdir()) == []


def test_a_round_that_blows_up_is_refused_or_told(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = replace(CONFIG, adapt=replace(CONFIG.adapt, lr=1e6, steps=4))
    code, said = play(filled, capsys, wild)
    assert code == 1 or not said[-1]["accepted"]
    assert list((filled / "candidates").iterdir()) == []


def test_a_labelled_folder_is_asked_too(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = replace(CONFIG, gate=GateConfig(labelled_dir=str(filled / "labelled")))
    code, said = play(filled, capsys, missing)
    assert code == 1
    assert "labelled" in said[-1]["message"]


def test_too_few_frames_is_not_an_error_of_ours(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    greedy = replace(CONFIG, adapt=replace(CONFIG.adapt, min_frames=500))
    code, said = play(filled, capsys, greedy)
    assert code == 75
    assert "needs 500" in said[-1]["message"]


def test_a_rotten_round_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "round.json").write_text("{")
    assert main(["--round", str(tmp_path / "round.json")]) == 1
    assert "round.json" in capsys.readouterr().out
