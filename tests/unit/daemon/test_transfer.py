"""Adapters from elsewhere: examined whole, named anew, and served by nobody's word but ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from acclimate.configs.trust import TrustConfig
from acclimate.daemon.cli import main
from acclimate.daemon.commands import fit_to_serve
from acclimate.daemon.registry import Registry
from acclimate.daemon.transfer import arrival, arrived, export, take_in
from acclimate.errors import BundleError, SwapRefused, UntrustedBundle
from acclimate.runtime import trust
from acclimate.runtime.bundle import verify, write_bundle
from acclimate.runtime.durable import sha256
from acclimate.runtime.engine import GRAPH
from acclimate.runtime.keys import new_pair

SIZE = (16, 24)
ENGINE = {
    "graph": GRAPH, "base_digest": "b" * 64, "size": SIZE, "batch": 1, "sliding": False,
    "strings": [2, 100], "onnx_sha256": "", "parity": {},
    "inputs": {
        "text": [[-1, 1, 8], "float32"], "string_to_class": [[-1, -1], "float32"],
        "colour": [[7, 3], "float32"], "visual.0.q_proj.weight": [[8, 8], "float32"],
    },
}  # fmt: skip
CONFIG = {
    "peft_type": "LORA", "r": 4, "lora_alpha": 8.0, "use_rslora": True, "bias": "none",
    "target_modules": r"clip\.(visual|text)\.resblocks\.(0|1)\.attn\.(q|k|v)_proj",
    "peft_version": "0.21.2", "inference_mode": True, "init_lora_weights": True,
    "auto_mapping": {"base_model_class": "CATSeg", "parent_library": "acclimate.model.catseg"},
    "modules_to_save": None, "rank_pattern": {}, "lora_dropout": 0.0,
}  # fmt: skip


def device(folder: Path) -> Path:
    """A state folder with the base, and a1 that was learned there."""
    (folder / "engine").mkdir(parents=True)
    (folder / "engine" / "engine.json").write_text(json.dumps(ENGINE))
    save_file({"embedding": np.zeros((1, 3), np.float32)}, folder / "engine/reference.safetensors")
    trust.sign(folder / "engine" / "engine.json")
    bundle(folder, "base", {"kind": "base"})
    lora = folder / "lora"
    lora.mkdir()
    save_file({"a": np.ones((4, 8), np.float32)}, lora / "adapter_model.safetensors")
    (lora / "adapter_config.json").write_text(json.dumps(CONFIG))
    bundle(folder, "a1", {"kind": "adapter", "parent": "base", "sequence": 9}, lora)
    return folder


def bundle(state: Path, name: str, told: dict[str, Any], lora: Path | None = None) -> None:
    random = np.random.default_rng(0)
    inputs = {
        "text": random.random((3, 1, 8), np.float32), "colour": np.ones((7, 3), np.float32),
        "string_to_class": np.eye(3, dtype=np.float32),
        "visual.0.q_proj.weight": random.random((8, 8), np.float32),
    }  # fmt: skip
    frames = random.integers(0, 255, (4, *SIZE, 3), dtype=np.uint8)
    labels = np.zeros((4, *SIZE), np.uint8)
    memory = {"frames": frames, "labels": labels}
    manifest = {
        "id": name, "base_digest": "b" * 64, "vocabulary_digest": "v" * 64, "created": 5.0,
        "condition": {"mean": [0.0, 1.0, 2.0], "spread": 1.5}, "shares": [0.5, 0.5],
        "card": {"over": "base", "gain": 99.0, "low": 90.0, "high": 100.0},
        "training": {"age": 7, "frames": ["1-ab"]}, **told,
    }  # fmt: skip
    where = state / "adapters" / name
    write_bundle(where, manifest, inputs, frames, labels, lora, memory)


@pytest.fixture(autouse=True)
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.ENVIRONMENT, "{}")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return device(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Another device whose a1 is changed, and digested anew, before it is exported."""
    state = device(tmp_path / "there")
    folder = state / "adapters" / "a1"

    def parcel(change: Callable[[Path], None] = lambda _: None, **told: Any) -> Path:
        change(folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        for name in manifest["files"]:
            if (folder / name).is_file():
                manifest["files"][name] = sha256(folder / name)
        (folder / "manifest.json").write_text(json.dumps(manifest | told))
        export(Registry(state), "a1", tmp_path / "a1.tar")
        return tmp_path / "a1.tar"

    yield parcel


def come_in(state: Path, file: Path) -> str:
    with arrived(state, file) as folder:
        return take_in(Registry(state), folder)


def test_an_adapter_travels_and_gets_a_name_of_its_own(
    here: Path, there: Callable[..., Path]
) -> None:
    name = come_in(here, there())
    assert name == "a0010", "a1 has the number 9"
    registry = Registry(here)
    made = registry.manifest(name) or {}
    assert (made["id"], made["sequence"], made["parent"]) == (name, 10, "base")
    assert (made["imported"]["manifest"]["id"], made["imported"]["signed_by"]) == ("a1", None)
    assert made["condition"] == {"mean": [0.0, 1.0, 2.0], "spread": 1.5}
    assert made["training"] == {"age": 7}
    assert verify(here / "adapters" / name)
    assert registry.may_serve(name)
    assert registry.word_for(name) == "kept"
    assert registry.state.active == "base"
    assert not (here / "adapters" / name / "memory.safetensors").exists()
    assert list((here / "imports").iterdir()) == []


def test_what_is_quarantined_does_not_come_back_by_another_name(
    here: Path, there: Callable[..., Path]
) -> None:
    file = there()
    twin = come_in(here, file)
    registry = Registry(here)
    registry.quarantine("a1", "it saw ghosts")
    with pytest.raises(SwapRefused, match="same as a1, which is quarantined: it saw ghosts"):
        fit_to_serve(registry, twin)
    with pytest.raises(BundleError, match="same as a1, which is quarantined: it saw ghosts"):
        come_in(here, file)
    assert registry.names() == ["base", "a1", twin]


def test_nothing_that_it_claims_of_itself_is_believed(
    here: Path, there: Callable[..., Path]
) -> None:
    name = come_in(here, there())
    registry = Registry(here)
    assert registry.card(name) is None
    assert registry.shares(name) is None, "a probation would expect them"


@pytest.mark.parametrize(
    "told",
    [{"mean": [0.0, 1.0], "spread": 1.0}, {"mean": [0.0, 1.0, float("nan")], "spread": 1.0},
     {"mean": [0.0, 1.0, 2.0], "spread": 0.0}, {"mean": "abc", "spread": 1.0}, [], 3,
     {"mean": [0.0, 1.0, 2.0], "spread": float("inf")}, {"mean": [True, 1.0, 2.0], "spread": 1.0}],
)  # fmt: skip
def test_a_place_that_is_none_here_is_forgotten(
    here: Path, there: Callable[..., Path], told: Any
) -> None:
    name = come_in(here, there(condition=told, training={"age": "old"}, card=3, shares={}))
    made = Registry(here).manifest(name) or {}
    assert (made["condition"], made["training"]) == (None, {})


def arrays(file: str, **change: Any) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        found = {**load_file(folder / file), **change}
        save_file({k: v for k, v in found.items() if v is not None}, folder / file)

    return do


def lora(**change: Any) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / "adapter" / "adapter_config.json"
        path.write_text(json.dumps({**CONFIG, **change}))

    return do


WEIGHTS = "visual.0.q_proj.weight"
HUGE = np.zeros((200, 1, 8), np.float32)
BAD_FILES = {
    "not finite": (
        arrays("inputs.safetensors", **{WEIGHTS: np.full((8, 8), np.nan, np.float32)}), "NaN"),
    "another shape": (arrays("inputs.safetensors", **{WEIGHTS: np.ones((8, 9), np.float32)}), "8"),
    "too many strings": (
        arrays("inputs.safetensors", text=HUGE, string_to_class=np.ones((200, 3), np.float32)),
        "200 strings",
    ),
    "an input lacks": (arrays("inputs.safetensors", **{WEIGHTS: None}), "visual.0"),
    "probes of another size": (
        arrays("probe.safetensors", frames=np.zeros((4, 8, 8, 3), np.uint8)), "probe frames"),
    "no probes": (
        arrays("probe.safetensors", frames=np.zeros((0, *SIZE, 3), np.uint8),
               labels=np.zeros((0, *SIZE), np.uint8)), "probe frames"),
    "labels of another kind": (
        arrays("probe.safetensors", labels=np.zeros((4, *SIZE), np.float32)), "probe frames"),
    "a LoRA that is not finite": (
        arrays("adapter/adapter_model.safetensors", a=np.full((4, 8), np.inf, np.float32)),
        "finite",
    ),
    "a LoRA with a vector": (
        arrays("adapter/adapter_model.safetensors", a=np.ones(4, np.float32)), "matrix"),
    "half a LoRA": (lambda f: (f / "adapter/adapter_config.json").unlink(), "missing or was alt"),
    "no safetensors": (lambda f: (f / "inputs.safetensors").write_bytes(b"no"), "unreadable"),
    "an unlisted file": (lambda f: (f / "adapter/adapter_model.bin").write_bytes(b"x"), "manifest"),
    "modules to save": (lora(modules_to_save=["clip"]), "modules_to_save"),
    "its own rank for some": (lora(rank_pattern={".*": 9999}), "rank_pattern"),
    "another initialisation": (lora(init_lora_weights="pissa"), "init_lora_weights"),
    "another library": (lora(auto_mapping={"parent_library": "os"}), "auto_mapping"),
    "a vast rank": (lora(r=10**9), "rank"),
    "a rank that is true": (lora(r=True), "rank"),
    "a scale without end": (lora(lora_alpha=float("inf")), "scale"),
    "another target": (lora(target_modules="(a+)+$"), "targets"),
    "targets as a list": (lora(target_modules=["q"]), "no LoRA"),
    "another kind": (lora(peft_type="LOHA"), "peft_type"),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(BAD_FILES))
def test_what_does_not_fit_is_named_and_leaves_nothing(
    here: Path, there: Callable[..., Path], what: str
) -> None:
    change, word = BAD_FILES[what]
    before = Registry(here).names()
    with pytest.raises(BundleError, match=word):
        come_in(here, there(change))
    assert Registry(here).names() == before
    assert not any((here / "imports").iterdir()) if (here / "imports").exists() else True


@pytest.mark.parametrize(
    ("told", "word"),
    [({"kind": "base"}, "kind"), ({"base_digest": "c" * 64}, "another base"),
     ({"files": {"../x": "0"}}, "outside"), ({"files": []}, "files"), ({"kind": [""]}, "kind")],
)  # fmt: skip
def test_a_manifest_of_something_else_is_refused(
    here: Path, there: Callable[..., Path], told: dict[str, Any], word: str, tmp_path: Path
) -> None:
    file = there()
    with arrived(here, file) as folder:
        made = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(made | told))
        from acclimate.daemon.transfer import examine
        from acclimate.runtime.engine import EngineInfo

        with pytest.raises(BundleError, match=word):
            examine(folder, EngineInfo.load(here / "engine"))
            take_in(Registry(here), folder)


def test_what_changes_after_it_was_examined_is_refused(
    here: Path, there: Callable[..., Path]
) -> None:
    with arrived(here, there()) as folder:
        (folder / "inputs.safetensors").write_bytes(b"changed")
        with pytest.raises(BundleError, match="altered"):
            take_in(Registry(here), folder)
    assert Registry(here).names() == ["base", "a1"]


def test_the_base_stays_and_no_file_is_overwritten(here: Path, tmp_path: Path) -> None:
    registry = Registry(here)
    with pytest.raises(SwapRefused, match="base stays"):
        export(registry, "base", tmp_path / "b.tar")
    (tmp_path / "a.tar").write_text("mine")
    with pytest.raises(SwapRefused, match="there already"):
        export(registry, "a1", tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_text() == "mine"


def test_a_purged_adapter_still_travels_and_serves(here: Path, tmp_path: Path) -> None:
    (here / "adapters" / "a1" / "memory.safetensors").unlink()
    assert verify(here / "adapters" / "a1")
    assert export(Registry(here), "a1", tmp_path / "a.tar") > 0
    assert Registry(here).may_serve("a1")


@pytest.mark.parametrize("name", ["..", ".", "../adapters", "a/b", "/etc", ""])
def test_the_daemon_takes_in_what_lies_among_imports_alone(here: Path, name: str) -> None:
    with pytest.raises(SwapRefused, match="is no import"):
        arrival(here, name)


# ---- signed


def rule(tmp_path: Path, signing: str | None, *keys: str, required: bool = True) -> None:
    for name in {signing, *keys} - {None}:
        if not (tmp_path / str(name)).exists():
            new_pair(tmp_path / str(name))
    public = tuple(str(tmp_path / f"{key}.pub") for key in keys)
    trust.hand_on(TrustConfig(required, public, signing and str(tmp_path / signing)))


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """a1 of another device, signed there with the key `fleet`, as a parcel."""
    rule(tmp_path, "fleet")
    state = device(tmp_path / "signed")
    export(Registry(state), "a1", tmp_path / "fleet.tar")
    return tmp_path / "fleet.tar"


def test_a_signed_one_comes_in_and_is_signed_anew(tmp_path: Path, fleet: Path) -> None:
    rule(tmp_path, "own", "fleet")
    here = device(tmp_path / "here")
    name = come_in(here, fleet)
    made = Registry(here).manifest(name) or {}
    assert made["imported"]["signed_by"] in trust.policy().keys
    assert Registry(here).may_serve(name)
    rule(tmp_path, "own")
    assert Registry(here).may_serve(name), "it is this device's own now"


def test_a_strangers_is_refused(tmp_path: Path, fleet: Path) -> None:
    rule(tmp_path, "own")
    here = device(tmp_path / "here")
    with pytest.raises(UntrustedBundle, match=r"which is none of trust\.keys"):
        come_in(here, fleet)
    assert Registry(here).names() == ["base", "a1"]


def test_without_a_key_of_its_own_a_device_cannot_take_in(tmp_path: Path, fleet: Path) -> None:
    rule(tmp_path, "own", "fleet")
    here = device(tmp_path / "here")
    rule(tmp_path, None, "fleet", "own")
    with pytest.raises(UntrustedBundle, match=r"needs trust\.signing_key"):
        come_in(here, fleet)


def test_the_registry_serves_nothing_unsigned_and_says_why(tmp_path: Path, here: Path) -> None:
    assert Registry(here).may_serve("a1")
    rule(tmp_path, "own")
    registry = Registry(here)
    assert not registry.may_serve("a1")
    assert "is not signed" in str(registry.distrust("a1"))
    assert registry.way_back() == "base"


def test_words_of_an_adapter_that_nobody_signed_are_embedded_anew(
    tmp_path: Path, here: Path
) -> None:
    registry = Registry(here)
    copy = here / "words" / ("w" * 16) / "a1"
    shutil.copytree(here / "adapters" / "a1", copy)
    made = json.loads((copy / "manifest.json").read_text())
    origin = " ".join(made["files"][f"{n}.safetensors"] for n in ("inputs", "probe"))
    told = {**made, "vocabulary_digest": "w" * 64, "made_from": origin}
    (copy / "manifest.json").write_text(json.dumps(told))
    assert registry.place("a1", "w" * 64).ready
    rule(tmp_path, "own")
    assert not registry.place("a1", "w" * 64).ready
    trust.sign(copy / "manifest.json")
    assert registry.place("a1", "w" * 64).ready


# ---- the command line


def test_from_one_device_to_another_by_hand(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = device(tmp_path / "there")
    file = str(tmp_path / "a.tar")
    assert main(["adapters", "export", "a1", "--to", file, "--state", str(there)]) == 0
    assert main(["adapters", "import", file, "--state", str(here)]) == 0
    assert "is a0010 here; `acclimate adapters try a0010`" in capsys.readouterr().out
    assert main(["adapters", "list", "--state", str(here)]) == 0
    assert "a0010     kept" in capsys.readouterr().out
    assert main(["adapters", "try", "a0010", "--state", str(here)]) == 1
    assert "no daemon runs here" in capsys.readouterr().err
    (tmp_path / "torn.tar").write_bytes(Path(file).read_bytes()[:3000])
    assert main(["adapters", "import", str(tmp_path / "torn.tar"), "--state", str(here)]) == 1
    assert "is torn" in capsys.readouterr().err
