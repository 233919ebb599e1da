"""What is in the cache: shown as it is, verified on this machine, pruned of what is not its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.schema import Config, to_dict
from acclimate.configs.serving import ServingConfig
from acclimate.export import build as build_module
from acclimate.export import engines as module
from acclimate.export.build import build_wanted
from acclimate.export.engines import main
from acclimate.export.parity import TOLERANCES
from acclimate.runtime import cache, engines
from acclimate.runtime.cache import Key
from acclimate.runtime.found import Found, find

Told = tuple[int, Any]
Ask = Callable[..., Told]


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine, but no GPU."""
    here = replace(find(), gpu=None)
    for one in (module, build_module, engines):
        monkeypatch.setattr(one, "find", lambda: here)


@pytest.fixture
def ask(state: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """The process entry on the state folder, its JSON read."""

    def entry(verb: str, *options: str) -> Told:
        capsys.readouterr()
        code = main([verb, "--state", str(state), "--json", *options])
        return code, json.loads(capsys.readouterr().out)

    return entry


def built(state: Path, precision: Any) -> Path:
    entry = build_wanted(state, ServingConfig(engine="onnxruntime-cpu", precision=precision))
    assert entry is not None
    return entry.folder


def copied(state: Path, folder: Path, **other: Any) -> Path:
    """The same engine, as if it had been built for another machine."""
    entry = cache.read(folder)
    key: Key = replace(entry.key, **other)
    content, parity = entry.path.read_bytes(), entry.parity

    def copy(to: Path) -> dict[str, Any]:
        (to / "model.onnx").write_bytes(content)
        return {"parity": parity}

    return cache.write(state / "engine", key, copy)


def words(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {Path(row["folder"]).name: row["state"] for row in rows}


def serve(state: Path, **serving: Any) -> None:
    config = replace(Config(), serving=ServingConfig(**serving))
    (state / "config.json").write_text(json.dumps(to_dict(config)))


def test_every_engine_is_shown_with_its_state(state: Path, ask: Ask) -> None:
    megabytes = (state / "engine" / "model.onnx").stat().st_size / 1e6
    assert ask("list") == (0, [
        {
            "engine": "onnxruntime", "precision": "fp32", "capacity": 64, "device": "any",
            "megabytes": megabytes, "parity": None, "state": "serves",
            "folder": str(state / "engine"),
        },
    ])  # fmt: skip
    int8, fp16 = built(state, "int8"), built(state, "fp16")
    others = {
        copied(state, int8, device="another").name: "other device",
        copied(state, int8, driver="1").name: "other driver",
        copied(state, int8, library="onnxruntime 1.0").name: "other library",
        copied(state, int8, graph="0" * 64).name: "other graph",
        copied(state, int8, capacity=8).name: "fits",
    }
    cache.set_parity(fp16, None)
    (torn := state / "engines" / ("0" * 16)).mkdir()
    serve(state, engine="onnxruntime-cpu", precision="int8")
    code, rows = ask("list")
    assert code == 0
    assert words(rows) == others | {
        "engine": "fits", int8.name: "serves", fp16.name: "unmeasured", torn.name: "altered",
    }  # fmt: skip
    assert next(row for row in rows if row["state"] == "serves")["megabytes"] > 1


def test_the_table_is_for_people(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(state, "int8")
    capsys.readouterr()
    assert main(["list", "--state", str(state)]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "engine", "precision", "capacity", "device", "MB", "state", "against", "torch",
    ]  # fmt: skip
    assert first.split()[:4] == ["onnxruntime", "fp32", "64", "any"]
    assert "fits" in second
    assert second.endswith("points")


def test_verify_finds_nothing_wrong_and_measures_what_was_not(state: Path, ask: Ask) -> None:
    folder = built(state, "int8")
    parity = cache.read(folder).parity
    cache.set_parity(folder, None)
    code, told = ask("verify")
    assert (code, told["problems"]) == (0, [])
    assert parity is not None
    assert cache.read(folder).parity == pytest.approx(parity, rel=0.1, abs=1e-4)
    assert words(told["engines"])[folder.name] == "fits"


def test_verify_names_what_is_wrong(state: Path, ask: Ask) -> None:
    sound, other = built(state, "fp16"), built(state, "int8")
    path = other / "model.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    elsewhere = copied(state, sound, device="another")
    (state / "engine" / "reference.safetensors").unlink()
    code, told = ask("verify")
    assert code == 1
    problems = "\n".join(told["problems"])
    assert (
        f"{path} is missing or was altered; `acclimate export --engine onnxruntime-cpu" in problems
    )
    assert "reference.safetensors is missing or was altered; export the graph again" in problems
    assert str(elsewhere) not in problems  # it is sound, and not for this machine
    assert cache.read(sound).parity is not None  # nobody said that it is outside


def test_an_engine_that_left_its_tolerance_serves_no_more(
    state: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built(state, "int8")
    monkeypatch.setitem(TOLERANCES, "int8", TOLERANCES["int8"] | {"confidence": 1e-9})
    code, told = ask("verify")
    assert code == 1
    (problem,) = told["problems"]
    assert problem.startswith(f"{folder}: int8 engine: confidence differs by")
    assert cache.read(folder).parity is None


def test_prune_takes_what_is_of_another_graph_or_machine(state: Path, ask: Ask) -> None:
    int8, fp16 = built(state, "int8"), built(state, "fp16")
    gone = [copied(state, int8, device="another"), copied(state, int8, graph="0" * 64)]
    (torn := state / "engines" / ("0" * 16)).mkdir()
    serve(state, engine="onnxruntime-cpu", precision="int8")
    code, told = ask("prune")
    assert (code, told) == (0, sorted(map(str, [*gone, torn])))
    assert set(cache.folders(state / "engine")) == {int8, fp16}
    assert ask("prune") == (0, [])
    assert ask("prune", "--all") == (0, [str(fp16)])
    assert ask("prune", "--all") == (0, [])
    assert cache.folders(state / "engine") == [int8]  # what serves


def test_prune_where_the_graph_itself_serves(state: Path, ask: Ask) -> None:
    folder = built(state, "int8")
    assert ask("prune", "--all") == (0, [str(folder)])
    assert ask("list")[1][0]["state"] == "serves"


def test_an_engine_that_is_asked_for_and_not_there_serves_nothing(state: Path, ask: Ask) -> None:
    serve(state, engine="tensorrt")
    assert words(ask("list")[1]) == {"engine": "fits"}


def test_an_altered_graph_is_shown_and_told(state: Path, ask: Ask) -> None:
    path = state / "engine" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    assert words(ask("list")[1]) == {"engine": "altered"}
    code, told = ask("verify")
    assert code == 1
    assert told["problems"] == [
        f"{path} is missing or was altered; `acclimate export` makes it anew"
    ]
    path.unlink()
    assert words(ask("list")[1]) == {"engine": "altered"}


def test_a_folder_without_a_graph_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("list", "verify", "prune"):
        assert main([verb, "--state", str(tmp_path)]) == 1
        assert "has no readable engine.json" in capsys.readouterr().err


def test_a_torn_configuration_is_taken_for_the_defaults(state: Path, ask: Ask) -> None:
    (state / "config.json").write_text("{")
    assert words(ask("list")[1]) == {"engine": "serves"}


def test_an_engine_built_ahead_of_time_waits_for_its_gpu(
    state: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Found(None, {"onnxruntime": "1", "tensorrt_rtx": "1.7"})
    for one in (module, build_module, engines):
        monkeypatch.setattr(one, "find", lambda: here)
    entry = build_wanted(state, ServingConfig(engine="tensorrt-rtx", precision="fp32"))
    assert entry is not None
    code, told = ask("verify")
    assert (code, told["problems"]) == (0, [])
    assert words(told["engines"])[entry.folder.name] == "unmeasured"
    assert ask("prune") == (0, [])
