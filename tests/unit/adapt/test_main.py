"""A round as a process: what it says, what it leaves, and its exit codes."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from acclimate.adapt.gate.contest import Contest
from acclimate.adapt.leave import PROBES, condition
from acclimate.adapt.lora import load_adapter, lora_tensors, new_adapter, save_adapter
from acclimate.adapt.main import MIN_HELDOUT, NO_DATA, main
from acclimate.adapt.source import LEARNED
from acclimate.adapt.train import Trained, train_round
from acclimate.configs.gate import GateConfig
from acclimate.configs.schema import Config, to_dict
from acclimate.configs.source import SourceConfig
from acclimate.configs.vocabulary import load_vocabulary
from acclimate.model.load import load_base
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.bundle import ADAPTER, MEMORY, load_bundle
from acclimate.runtime.durable import fresh_folder
from acclimate.runtime.engines import open_engine
from acclimate.runtime.swap import probe_check
from acclimate.world import Drive, Shift

FRAMES = 30
CONFIG = replace(
    Config(),
    adapt=replace(Config().adapt, steps=2, min_frames=8, newest=8, deadline_s=600, threads=2),
    buffer=replace(Config().buffer, heldout_share=0.35, novelty=0.0),
    gate=GateConfig(contest="not_worse", max_duel_loss=5.0),  # two steps earn nothing
)
PLAIN = replace(CONFIG, adapt=replace(CONFIG.adapt, colour="plain"))  # one champion, not a handful


@dataclass(frozen=True)
class Played:
    """A round's exit code, what it said, and the folder it may have left."""

    code: int
    said: list[dict[str, Any]]
    folder: Path


Play = Callable[..., Played]


@pytest.fixture(scope="module")
def driven(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A buffer that has seen a drive through the engine's eyes; rounds only read it."""
    return drive_through(prepared, tmp_path_factory.mktemp("driven") / "buffer", Shift())


def drive_through(prepared: Path, folder: Path, shift: Shift) -> Path:
    """Fill a buffer with a drive under a shift."""
    engine, drive = open_engine(prepared / "engine", name="onnxruntime-cpu"), Drive(4)
    base = load_bundle(prepared / "adapters" / "base", engine.info)
    buffer = FrameBuffer(folder, CONFIG.buffer)
    for index in range(FRAMES):
        frame = np.ascontiguousarray(drive.frame(6 * index, shift)[0])
        seen = engine.infer(frame, base)
        camera = ("front", "rear")[index % 2]
        assert buffer.offer(frame, seen.histogram, seen.embedding, camera)
    assert len(buffer.heldout(FRAMES)) >= MIN_HELDOUT
    return buffer.folder


@pytest.fixture(scope="module")
def play_in(prepared: Path, driven: Path) -> Play:
    """Run a round in a folder, with other fields."""

    def play_one(folder: Path, config: Config = CONFIG, **fields: Any) -> Played:
        task = {
            "id": "a1", "sequence": 1, "parent_dir": str(prepared / "adapters" / "base"),
            "engine_dir": str(prepared / "engine"), "buffer_dir": str(driven),
            "out_dir": str(folder / "candidates" / "a1"), "config": to_dict(config), **fields,
        }  # fmt: skip
        (folder / "candidates").mkdir(exist_ok=True)
        (folder / "round.json").write_text(json.dumps(task))
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = main(["--round", str(folder / "round.json")])
        said = [json.loads(line) for line in out.getvalue().splitlines()]
        return Played(code, said, Path(task["out_dir"]))

    return play_one


@pytest.fixture
def play(play_in: Play, tmp_path: Path) -> Play:
    """Run a round in a folder of its own."""
    return lambda *config, **fields: play_in(tmp_path, *config, **fields)


@pytest.fixture(scope="module")
def accepted(
    play_in: Play, prepared: Path, driven: Path, tmp_path_factory: pytest.TempPathFactory
) -> Played:
    """A round that went well, and wrote nowhere but to its candidate; don't write to it."""

    def written() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for f in (prepared, driven) for p in f.rglob("*")}

    before = written()
    played = play_in(tmp_path_factory.mktemp("accepted"))
    assert written() == before
    return played


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


def test_it_tells_of_every_step_and_of_its_verdict(accepted: Played) -> None:
    assert accepted.code == 0
    *steps, verdict = accepted.said
    assert [(e["event"], e["step"], e["steps"]) for e in steps] == [
        ("progress", 1, 2), ("progress", 2, 2),
    ]  # fmt: skip
    assert (verdict["event"], verdict["accepted"]) == ("verdict", True), verdict
    assert verdict["candidate"] == str(accepted.folder)
    assert list(accepted.folder.parent.iterdir()) == [accepted.folder]


def test_an_accepted_candidate_is_whole(accepted: Played, prepared: Path) -> None:
    engine = open_engine(prepared / "engine", name="onnxruntime-cpu")
    bundle = load_bundle(accepted.folder, engine.info)
    probe_check(engine, bundle)
    assert len(bundle.probe_frames) == PROBES
    load_adapter(load_base().network, accepted.folder / ADAPTER)
    base = load_bundle(prepared / "adapters" / "base", engine.info)
    assert any(not np.array_equal(bundle.inputs[n], base.inputs[n]) for n in base.inputs)
    assert np.array_equal(bundle.inputs["string_to_class"], base.inputs["string_to_class"])


def test_its_manifest_tells_how_it_was_made(accepted: Played, driven: Path) -> None:
    said, made = accepted.said, json.loads((accepted.folder / "manifest.json").read_text())
    assert (made["id"], made["parent"], made["sequence"], made["kind"]) == (
        "a1", "base", 1, "adapter",
    )  # fmt: skip
    losses = [e["loss"] for e in said if e["event"] == "progress"]
    assert made["training"]["losses"] == pytest.approx(losses)
    names = made["training"]["frames"]
    entries = {e.path.stem: e for e in FrameBuffer(driven, CONFIG.buffer, reader=True).entries}
    assert len(names) == CONFIG.adapt.newest
    assert not any(entries[name].heldout for name in names)
    assert made["verdict"] == {
        key: said[-1][key] for key in ("accepted", "reasons", "numbers", "card", "instead", "sound")
    }
    expected = condition([entries[name].embedding for name in names])
    assert made["condition"]["spread"] == pytest.approx(expected["spread"])
    assert made["condition"]["mean"] == pytest.approx(expected["mean"])


def test_the_next_round_starts_from_the_accepted_adapter(
    accepted: Played, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def load(network: Any, folder: Path) -> Any:
        opened.append(folder)
        return load_adapter(network, folder)

    monkeypatch.setattr("acclimate.adapt.main.load_adapter", load)
    again = play(id="a2", parent_dir=str(accepted.folder))
    assert (again.code, again.said[-1]["event"]) == (0, "verdict"), again.said
    assert opened == [accepted.folder / ADAPTER]
    made = json.loads((again.folder / "manifest.json").read_text())["training"]
    assert (made["steps"], made["age"]) == (2, 4), "it counts the steps since the base"
    assert made["distance"] > 0


def test_a_sabotaged_adapter_is_refused_and_leaves_nothing(play: Play, sabotaged: Path) -> None:
    refused = play(mode="validate", adapter_dir=str(sabotaged))
    assert refused.code == 0
    (verdict,) = refused.said
    assert (verdict["accepted"], verdict["candidate"]) == (False, None)
    assert verdict["reasons"]
    assert list(refused.folder.parent.iterdir()) == []


def test_a_round_that_blows_up_is_refused_or_told(play: Play) -> None:
    wild = play(replace(PLAIN, adapt=replace(PLAIN.adapt, lr=1e6, steps=4)))
    assert wild.code == 1 or not wild.said[-1]["accepted"]
    assert list(wild.folder.parent.iterdir()) == []


def test_frozen_leaves_its_parent_as_it_is(play: Play, prepared: Path) -> None:
    """Words, projections and colours: so that the whole path is measured without a gain."""
    frozen = play(replace(PLAIN, adapt=replace(PLAIN.adapt, strategy="frozen")))
    assert (frozen.code, frozen.said[-1]["accepted"]) == (0, True), frozen.said
    assert frozen.said[-1]["numbers"]["changed_pixels"] == 0
    engine = open_engine(prepared / "engine", name="onnxruntime-cpu")
    base = load_bundle(prepared / "adapters" / "base", engine.info).inputs
    ours = load_bundle(frozen.folder, engine.info).inputs
    assert all(np.array_equal(ours[name], base[name]) for name in base)


def test_at_dusk_colours_win_where_nothing_was_learned(
    play_in: Play, prepared: Path, tmp_path: Path
) -> None:
    """Two steps earn nothing; the base in the stream's colours does, and is left instead: with its
    card, its memory, without an adapter, and fit to be the parent of the next round."""
    dusk = drive_through(prepared, tmp_path / "dusk", Shift("night", 0.45))
    asked = replace(CONFIG, gate=GateConfig())
    base = prepared / "adapters" / "base"
    played = play_in(tmp_path, asked, buffer_dir=str(dusk), good=[str(base)])
    said = played.said[-1]
    assert (played.code, said["accepted"], said["candidate"]) == (0, False, str(played.folder))
    assert said["instead"].startswith("base, ")
    engine = open_engine(prepared / "engine", name="onnxruntime-cpu")
    bundle, own = load_bundle(played.folder, engine.info), load_bundle(base, engine.info)
    probe_check(engine, bundle)
    changed = [n for n in own.inputs if not np.array_equal(bundle.inputs[n], own.inputs[n])]
    assert changed == ["colour"]
    assert not (played.folder / ADAPTER).exists()
    made = bundle.manifest
    assert (made["kind"], made["parent"], made["is"]) == ("normalisation", "base", said["instead"])
    assert made["card"]["over"] == "base"
    assert made["card"]["gain"] >= made["card"]["low"] >= GateConfig().margin
    assert len(load_file(played.folder / MEMORY)["frames"]) >= MIN_HELDOUT
    again = play_in(
        tmp_path, asked, id="a2", parent_dir=str(played.folder), buffer_dir=str(dusk),
        good=[str(base), str(played.folder)], out_dir=str(tmp_path / "candidates" / "a2"),
    )  # fmt: skip
    numbers = again.said[-1]["numbers"]
    assert (again.code, again.said[-1]["instead"]) == (0, None), again.said[-1]
    assert {"source_drop", "gain", "gain_low", "gain_high"} <= numbers.keys()
    assert "memory_drop" not in numbers, "the stream is still where that was remembered"


def test_what_is_sound_but_not_better_is_where_the_next_round_starts(
    play: Play, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(PLAIN, gate=replace(GateConfig(), margin_learned=50.0, margin_dressed=50.0))
    first = play(asked)
    said = first.said[-1]
    assert (said["accepted"], said["sound"], said["candidate"]) == (False, True, None), said
    learned = Path(said["learned"])
    opened: list[Path] = []

    def load(network: Any, folder: Path) -> Any:
        opened.append(folder)
        return load_adapter(network, folder)

    monkeypatch.setattr("acclimate.adapt.main.load_adapter", load)
    again = play(asked, id="a2", start=str(learned), out_dir=str(first.folder.parent / "a2"))
    assert opened == [learned / ADAPTER]
    made = json.loads((Path(again.said[-1]["learned"]) / "manifest.json").read_text())
    assert (made["training"]["age"], made["parent"]) == (4, "base")
    (learned / "inputs.safetensors").write_bytes(b"rotten")
    torn = play(asked, id="a3", start=str(learned), out_dir=str(first.folder.parent / "a3"))
    made = json.loads((Path(torn.said[-1]["learned"]) / "manifest.json").read_text())
    assert (len(opened), made["training"]["age"]) == (1, 2)


def test_it_learns_in_both_looks(
    play_in: Play, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At dusk: frames as they are, and in the colours of the best that is free, by turns; beside
    them scenes of the source in that light. Of two cameras one sees a bonnet."""
    hard = replace(GateConfig(), margin=90.0, margin_dressed=90.0, margin_learned=90.0)
    dusk = drive_through(prepared, tmp_path / "dusk", Shift("night", 0.45))
    seen: list[Any] = []
    replayed: list[Any] = []

    masks: list[Any] = []

    def train(model: Any, words: Any, frames: Any, *rest: Any, **more: Any) -> Trained:
        seen.extend(frames)
        replayed.append(more["scenes"])
        masks.append(more["valid"].numpy())
        return train_round(model, words, frames, *rest, **more)

    def contest(engine: Any, frames: Any, valid: Any, *rest: Any) -> Contest:
        masks.append(valid)
        return Contest(engine, frames, valid, *rest)

    monkeypatch.setattr("acclimate.adapt.main.train_round", train)
    monkeypatch.setattr("acclimate.adapt.main.Contest", contest)
    below = ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))
    both = {"front": SourceConfig(hood=(below,)), "rear": SourceConfig()}
    config = replace(CONFIG, gate=hard, cameras=both)
    played = play_in(tmp_path, config, buffer_dir=str(dusk))
    assert played.code == 0, played.said
    buffer = FrameBuffer(dusk, CONFIG.buffer, reader=True)
    entries = buffer.heldout(hard.frames), buffer.training(CONFIG.adapt.newest)
    for mask, those in zip(masks, entries, strict=True):
        assert {one.camera for one in those} == set(both)
        assert [one.mean() > 0.9 for one in mask] == [one.camera == "rear" for one in those]
    expected = [buffer.load(entry) for entry in buffer.training(CONFIG.adapt.newest)]
    np.testing.assert_array_equal(np.stack(seen[::2]), np.stack(expected[::2]))
    brighter = [one.mean() - frame.mean() for one, frame in zip(seen, expected, strict=True)]
    assert min(brighter[1::2]) > 5 > max(brighter[::2]) == 0
    (scenes,) = replayed
    assert len(scenes.frames) == len(LEARNED)
    assert abs(scenes.frames[::2].mean() - np.stack(expected).mean()) < 3
    assert scenes.frames[1::2].mean() > scenes.frames[::2].mean() + 5


def test_a_bundle_tells_what_it_said(accepted: Played, prepared: Path) -> None:
    made = json.loads((accepted.folder / "manifest.json").read_text())
    engine = open_engine(prepared / "engine", name="onnxruntime-cpu")
    assert len(made["shares"]) == load_bundle(accepted.folder, engine.info).classes
    assert sum(made["shares"]) == pytest.approx(1)


def test_it_tells_what_it_said_of_whole_frames(play: Play) -> None:
    """Probation compares with what is served, under the hood too: here a visor's, over the sky."""
    visor = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.4), (0.0, 0.4))
    played = play(replace(PLAIN, adapt=replace(PLAIN.adapt, hood=(visor,))))
    assert played.code == 0, played.said[-1]
    made = json.loads((played.folder / "manifest.json").read_text())
    assert made["shares"][load_vocabulary("world").names.index("sky")] > 0.05


def test_a_verdict_tells_what_informs(accepted: Played) -> None:
    numbers = accepted.said[-1]["numbers"]
    shares = (
        "flip_consistency", "scale_consistency", "base_agreement", "entropy", "generic_agreement",
    )  # fmt: skip
    assert all(0 <= numbers[name] <= 1 for name in shares)
    assert 0 <= numbers["feature_drift"] < 0.01
    assert numbers["generic_agreement"] > 0.9


def test_a_collapse_is_told_with_its_number(play: Play) -> None:
    """A bound below what any street shows: the round ends at the first full window."""
    low = replace(PLAIN.adapt, steps=20, max_class_share=0.01)
    ended = play(replace(PLAIN, adapt=low))
    assert ended.code == 1
    assert len(ended.said) == 8
    assert "collapsed at step 8" in ended.said[-1]["message"]
    assert list(ended.folder.parent.iterdir()) == []


def test_the_gate_looks_past_the_hood(play: Play, sabotaged: Path) -> None:
    """A mad adapter is judged on what is left: fewer pixels, another number, refused still."""
    lower = ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))
    half = replace(PLAIN, adapt=replace(PLAIN.adapt, hood=(lower,)))
    whole, upper = (play(c, mode="validate", adapter_dir=str(sabotaged)) for c in (PLAIN, half))
    assert not upper.said[-1]["accepted"]
    numbers = [p.said[-1]["numbers"]["changed_pixels"] for p in (whole, upper)]
    assert numbers[0] != numbers[1]


def test_labels_of_yours_are_read_class_by_class(
    play: Play, sabotaged: Path, tmp_path: Path
) -> None:
    table, folder = load_vocabulary("world").from_source(), tmp_path / "labelled"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index in range(2):
        image, truth = Drive(5).frame(40 * index)
        cv2.imwrite(str(folder / "images" / f"{index}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / "labels" / f"{index}.png"), table[truth])
    asked = replace(PLAIN, gate=replace(PLAIN.gate, labelled_dir=str(folder)))
    verdict = play(asked, mode="validate", adapter_dir=str(sabotaged)).said[-1]
    assert not verdict["accepted"]
    assert verdict["numbers"]["labelled_drop"] > 3
    losses = {k: v for k, v in verdict["numbers"].items() if k.startswith("labelled_loss_")}
    assert {"labelled_loss_road", "labelled_loss_sky"} <= set(losses)
    assert max(losses.values()) > verdict["numbers"]["labelled_drop"] > min(losses.values())
    assert any(reason.startswith("labelled_drop") for reason in verdict["reasons"])


def test_a_missing_labelled_folder_is_named_before_anybody_is_asked(
    play: Play, sabotaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acclimate.adapt.main.Contest", None)
    asked = replace(CONFIG, gate=replace(CONFIG.gate, labelled_dir=str(tmp_path / "labelled")))
    played = play(asked, mode="validate", adapter_dir=str(sabotaged))
    assert played.code == 1
    assert str(tmp_path / "labelled" / "images") in played.said[-1]["message"]


def test_too_few_frames_name_the_buffer(play: Play, driven: Path) -> None:
    hungry = play(replace(CONFIG, adapt=replace(CONFIG.adapt, min_frames=500, newest=500)))
    assert hungry.code == NO_DATA == 75
    (said,) = hungry.said
    assert said["event"] == "error"
    assert str(driven) in said["message"]
    assert "500" in said["message"]
    assert list(hungry.folder.parent.iterdir()) == []


def test_an_empty_buffer_is_too_few(play: Play, tmp_path: Path) -> None:
    played = play(buffer_dir=str(tmp_path / "empty"))
    assert played.code == NO_DATA
    assert str(tmp_path / "empty") in played.said[0]["message"]


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
