"""A round as a process: what it says, what it leaves, and its exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acclimate.adapt.lora import load_adapter, lora_tensors, new_adapter, save_adapter
from acclimate.adapt.main import MIN_HELDOUT, NO_DATA, PROBES, condition, main
from acclimate.configs.schema import Config, to_dict
from acclimate.model.load import load_base
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.bundle import ADAPTER, load_bundle
from acclimate.runtime.durable import fresh_folder
from acclimate.runtime.engine import Engine
from acclimate.runtime.swap import probe_check
from acclimate.world import Drive

FRAMES = 30
CONFIG = replace(
    Config(),
    adapt=replace(Config().adapt, steps=2, min_frames=8, newest=8),
    buffer=replace(Config().buffer, heldout_share=0.35, novelty=0.0),
)
Said = list[dict[str, Any]]


@pytest.fixture(scope="module")
def driven(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A buffer that has seen a drive through the engine's eyes; rounds only read it."""
    engine, drive = Engine(prepared / "engine", provider="cpu"), Drive(4)
    base = load_bundle(prepared / "adapters" / "base", engine.info)
    buffer = FrameBuffer(tmp_path_factory.mktemp("driven") / "buffer", CONFIG.buffer)
    for index in range(FRAMES):
        frame = np.ascontiguousarray(drive.frame(6 * index)[0])
        seen = engine.infer(frame, base)
        assert buffer.offer(frame, seen.histogram, seen.embedding)
    assert len(buffer.heldout(FRAMES)) >= MIN_HELDOUT
    return buffer.folder


@pytest.fixture
def play(prepared: Path, driven: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a round with other fields; exit code and what it said."""

    def play_one(config: Config = CONFIG, **fields: Any) -> tuple[int, Said]:
        task = {
            "id": "a1", "sequence": 1, "parent_dir": str(prepared / "adapters" / "base"),
            "engine_dir": str(prepared / "engine"), "buffer_dir": str(driven),
            "out_dir": str(tmp_path / "candidates" / "a1"), "config": to_dict(config), **fields,
        }  # fmt: skip
        (tmp_path / "candidates").mkdir(exist_ok=True)
        (tmp_path / "round.json").write_text(json.dumps(task))
        code = main(["--round", str(tmp_path / "round.json")])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return play_one


@pytest.fixture
def sabotaged(tmp_path: Path) -> Path:
    """A sound file of a mad adapter."""
    settings = CONFIG.adapt
    model = new_adapter(load_base().network, settings.rank, settings.alpha, settings.blocks)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in lora_tensors(model).values():
            tensor.copy_(0.15 * torch.randn(tensor.shape, generator=generator))
    save_adapter(model, fresh_folder(tmp_path / "sabotaged"))
    return tmp_path / "sabotaged"


def test_an_accepted_candidate_is_whole(play: Any, prepared: Path, tmp_path: Path) -> None:
    code, said = play()
    assert code == 0
    assert [(e["step"], e["steps"]) for e in said if e["event"] == "progress"] == [(1, 2), (2, 2)]
    verdict = said[-1]
    assert (verdict["event"], verdict["accepted"]) == ("verdict", True), verdict
    folder = tmp_path / "candidates" / "a1"
    assert verdict["candidate"] == str(folder)
    assert list(folder.parent.iterdir()) == [folder]

    engine = Engine(prepared / "engine", provider="cpu")
    bundle = load_bundle(folder, engine.info)
    probe_check(engine, bundle)
    assert len(bundle.probe_frames) == PROBES
    load_adapter(load_base().network, folder / ADAPTER)
    base = load_bundle(prepared / "adapters" / "base", engine.info)
    assert any(not np.array_equal(bundle.inputs[n], base.inputs[n]) for n in base.inputs)
    assert np.array_equal(bundle.inputs["string_to_class"], base.inputs["string_to_class"])


def test_its_manifest_tells_how_it_was_made(play: Any, driven: Path, tmp_path: Path) -> None:
    _, said = play()
    made = json.loads((tmp_path / "candidates" / "a1" / "manifest.json").read_text())
    assert (made["id"], made["parent"], made["sequence"], made["kind"]) == (
        "a1", "base", 1, "adapter",
    )  # fmt: skip
    losses = [e["loss"] for e in said if e["event"] == "progress"]
    assert made["training"]["losses"] == pytest.approx(losses)
    names = made["training"]["frames"]
    entries = {e.path.stem: e for e in FrameBuffer(driven, CONFIG.buffer, reader=True).entries}
    assert len(names) == CONFIG.adapt.newest
    assert not any(entries[name].heldout for name in names)
    assert made["verdict"] == {key: said[-1][key] for key in ("accepted", "reasons", "numbers")}
    expected = condition([entries[name].embedding for name in names])
    assert made["condition"]["spread"] == pytest.approx(expected["spread"])
    assert made["condition"]["mean"] == pytest.approx(expected["mean"])


def test_only_the_candidate_is_written(play: Any, prepared: Path, driven: Path) -> None:
    def content() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for f in (prepared, driven) for p in f.rglob("*")}

    before = content()
    assert play()[0] == 0
    assert content() == before


def test_a_sabotaged_adapter_is_refused_and_leaves_nothing(
    play: Any, sabotaged: Path, tmp_path: Path
) -> None:
    code, said = play(mode="validate", adapter_dir=str(sabotaged))
    assert code == 0
    assert [event["event"] for event in said] == ["verdict"]
    assert (said[0]["accepted"], said[0]["candidate"]) == (False, None)
    assert said[0]["reasons"]
    assert list((tmp_path / "candidates").iterdir()) == []


def test_too_few_frames_name_the_buffer(play: Any, driven: Path, tmp_path: Path) -> None:
    hungry = replace(CONFIG, adapt=replace(CONFIG.adapt, min_frames=500, newest=500))
    code, said = play(hungry)
    assert code == NO_DATA == 75
    assert [event["event"] for event in said] == ["error"]
    assert str(driven) in said[0]["message"] and "500" in said[0]["message"]
    assert list((tmp_path / "candidates").iterdir()) == []


def test_an_empty_buffer_is_too_few(play: Any, tmp_path: Path) -> None:
    code, said = play(buffer_dir=str(tmp_path / "empty"))
    assert code == NO_DATA
    assert str(tmp_path / "empty") in said[0]["message"]


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", "3", "\udcff"])
def test_a_round_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    path = tmp_path / "round.json"
    if text is not None:
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
    assert main(["--round", str(path)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["event"] == "error"
    assert "round.json" in said["message"]
