"""The engine cache: whole or not at all, verified, and built again only where something differs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acclimate import __version__
from acclimate.errors import EngineLoadError
from acclimate.runtime import cache
from acclimate.runtime.cache import Key

KEY = Key(
    graph="a" * 64, base_digest="b" * 64, size=(160, 224), batch=1, capacity=256,
    precision="fp16", engine="tensorrt", device="NVIDIA Orin (8.7)", driver="540.4.0",
    library="TensorRT 10.3.0",
)  # fmt: skip
OTHER = {
    "graph": "c" * 64, "base_digest": "d" * 64, "size": (384, 384), "batch": 2, "capacity": 32,
    "device": "NVIDIA L4 (8.9)", "driver": "550.1", "library": "TensorRT 10.9.0",
}  # fmt: skip


class Builds:
    """A build that counts itself."""

    def __init__(self, content: bytes = b"plan", name: str = "engine.plan") -> None:
        self.count, self._content, self._name = 0, content, name

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.count += 1
        (folder / self._name).write_bytes(self._content)
        return {"parity": {"max_abs": 0.001}, "seconds": 2.5}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return tmp_path / "state" / "engine"


def test_what_was_written_is_found(graph: Path) -> None:
    folder = cache.write(graph, KEY, Builds())
    assert folder == graph.parent / "engines" / KEY.digest
    assert cache.find(graph, KEY) == folder
    entry = cache.read(folder)
    assert (entry.key, entry.parity, entry.path) == (
        KEY, {"max_abs": 0.001}, folder / "engine.plan",
    )  # fmt: skip
    raw = json.loads((folder / "engine.json").read_text())
    # printf plan | sha256sum
    digest = "64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525"
    assert raw["acclimate"] == __version__
    assert raw["seconds"] == 2.5
    assert abs(time.time() - raw["created"]) < 60
    assert raw["files"] == {"engine.plan": digest}


def test_nothing_is_built_twice_unless_something_differs(graph: Path) -> None:
    build = Builds()
    assert cache.write(graph, KEY, build) == cache.write(graph, KEY, build)
    assert build.count == 1
    for count, (field, value) in enumerate({**OTHER, "precision": "bf16"}.items(), 2):
        cache.write(graph, replace(KEY, **{field: value}), build)  # type: ignore[arg-type]
        assert build.count == count
    assert len(cache.entries(graph)) == 2 + len(OTHER)


@pytest.mark.parametrize(("field", "value"), OTHER.items())
def test_an_entry_that_does_not_fit_says_which_field(
    graph: Path, field: str, value: object
) -> None:
    cache.write(graph, KEY, Builds())
    want = replace(KEY, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(EngineLoadError) as caught:
        cache.find(graph, want)
    text = str(caught.value)
    assert f"its {field} is {getattr(KEY, field)}, here it is {value};" in text
    assert "`acclimate export --engine tensorrt --precision fp16`" in text


def test_the_closest_entry_is_named(graph: Path) -> None:
    cache.write(graph, replace(KEY, device="x", driver="y", library="z"), Builds())
    cache.write(graph, replace(KEY, capacity=8), Builds())
    with pytest.raises(EngineLoadError, match=r"fit: its capacity is 8, here it is 256; `accli"):
        cache.find(graph, KEY)


def test_another_engine_or_precision_is_no_near_miss(graph: Path) -> None:
    cache.write(graph, replace(KEY, engine="tensorrt-rtx"), Builds())
    cache.write(graph, replace(KEY, precision="fp32"), Builds())
    with pytest.raises(EngineLoadError, match="has no tensorrt engine in fp16; `acclimate export"):
        cache.find(graph, KEY)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone"])
def test_a_damaged_file_is_named_and_built_again(graph: Path, damage: str) -> None:
    path = cache.write(graph, KEY, Builds(b"0123456789")) / "engine.plan"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"0123x56789" if damage == "flipped" else b"01234")
    with pytest.raises(EngineLoadError, match=r"engine\.plan is missing or was altered"):
        cache.find(graph, KEY)
    build = Builds(b"0123456789")
    cache.write(graph, KEY, build)
    assert (build.count, path.read_bytes()) == (1, b"0123456789")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"key": {}, "files": {}, "parity": null}', "\x00\xff"],
)
def test_a_record_that_is_none_is_told(graph: Path, content: str) -> None:
    folder = cache.write(graph, KEY, Builds())
    (folder / "engine.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(EngineLoadError, match=r"engine\.json is unreadable"):
        cache.find(graph, KEY)
    assert cache.entries(graph) == []
    assert cache.folders(graph) == [folder]


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd"])
def test_a_record_reaches_no_other_folder(graph: Path, name: str) -> None:
    folder = cache.write(graph, KEY, Builds())
    raw = json.loads((folder / "engine.json").read_text())
    raw["files"][name] = "0" * 64
    (folder / "engine.json").write_text(json.dumps(raw))
    with pytest.raises(EngineLoadError, match="not of an engine"):
        cache.verify(folder)


def test_a_copied_folder_is_not_another_engine(graph: Path) -> None:
    folder = cache.write(graph, KEY, Builds())
    other = replace(KEY, device="NVIDIA L4 (8.9)")
    folder.rename(folder.with_name(other.digest))
    with pytest.raises(EngineLoadError, match="its key is of another folder"):
        cache.find(graph, other)


def test_a_build_that_fails_leaves_nothing_and_loses_nothing(graph: Path) -> None:
    kept = cache.write(graph, KEY, Builds())

    def full(folder: Path) -> dict[str, Any]:
        (folder / "engine.plan").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        cache.write(graph, replace(KEY, capacity=8), full)
    assert [p for p in kept.parent.iterdir() if p.is_dir()] == [kept]
    assert cache.find(graph, KEY) == kept


KILLED = """
import json, sys, time
from pathlib import Path
from acclimate.runtime import cache
def build(folder):
    (folder / "engine.plan").write_bytes(b"half")
    print("building", flush=True)
    time.sleep(60)
key = cache.Key.read(json.loads(sys.argv[2]))
cache.write(Path(sys.argv[1]), key, build)
"""


def test_a_killed_build_is_no_engine_and_the_next_one_goes_on(graph: Path) -> None:
    key = json.dumps(vars(KEY))
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(graph), key], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "building\n"
        os.kill(child.pid, signal.SIGKILL)
    torn = cache.cache_of(graph) / f"{KEY.digest}.tmp"
    assert torn.is_dir()
    assert cache.folders(graph) == []
    with pytest.raises(EngineLoadError, match="has no tensorrt engine"):
        cache.find(graph, KEY)
    assert cache.write(graph, KEY, Builds()).is_dir()
    assert not torn.exists()


def test_parity_is_added_later_and_nothing_else_changes(graph: Path) -> None:
    def ahead(folder: Path) -> dict[str, Any]:
        return {**Builds()(folder), "parity": None}

    folder = cache.write(graph, KEY, ahead)
    before = cache.verify(folder)
    assert before.parity is None
    cache.set_parity(folder, {"probability": 0.002})
    after = cache.verify(folder)
    assert after.parity == {"probability": 0.002}
    assert {**after.record, "parity": None} == before.record


def test_prune_keeps_what_it_is_told_and_takes_the_torn(graph: Path) -> None:
    kept = cache.write(graph, KEY, Builds())
    gone = cache.write(graph, replace(KEY, capacity=8), Builds())
    torn, mine, other = (
        kept.with_name(name)
        for name in (f"{KEY.digest}.tmp", f"compiled-{KEY.digest}.cache", f"x-{gone.name}_0.engine")
    )
    torn.mkdir()
    mine.write_bytes(b"kernels")
    other.write_bytes(b"plan")
    timing = cache.timing_cache(graph, KEY.library)
    timing.write_bytes(b"measured")
    assert timing.name == "timing-TensorRT.cache"
    assert cache.prune(graph, {KEY.digest}) == sorted([gone, torn, other])
    assert [one.folder for one in cache.entries(graph)] == [kept]
    assert (timing.read_bytes(), mine.read_bytes()) == (b"measured", b"kernels")
    assert cache.prune(graph, {KEY.digest}) == []


def test_a_cache_that_never_was_is_pruned(graph: Path) -> None:
    assert cache.prune(graph, ()) == []
