"""The serving process alone, spoken to as the daemon does: swaps between frames."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from acclimate.configs.schema import Config, to_dict
from acclimate.configs.serving import ServingConfig
from acclimate.configs.source import SourceConfig
from acclimate.runtime.bundle import load_bundle, write_bundle
from acclimate.runtime.engines import open_engine
from acclimate.world import Drive
from tests.conftest import wait_until

COPIES = 400


class Runtime:
    """`acclimate.runtime.main` with pipes."""

    def __init__(self, state: Path, out: Path, source: str, *options: str) -> None:
        config = replace(
            Config(), source=SourceConfig(url=source),
            serving=ServingConfig(threads=2, overlay_video=False, label_png=True),
        )  # fmt: skip
        path = state / "resolved.json"
        path.write_text(json.dumps(to_dict(config)))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "acclimate.runtime.main", "--config", str(path),
             "--state", str(state), "--out", str(out), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def swap(self, name: str, folder: Path) -> dict[str, Any]:
        """Ask for a bundle; its answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"cmd": "swap", "id": name, "dir": str(folder)}) + "\n")
        self.process.stdin.flush()
        return self.hear("swapped", "refused", "done")

    def hear(self, *kinds: str) -> dict[str, Any]:
        """The next event of one of these kinds."""
        assert self.process.stdout
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] in kinds:
                return event
        pytest.fail(f"the runtime ended without {kinds}")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three images, again and again."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    shown = [np.ascontiguousarray(Drive(9).frame(20 * i)[0][:, :, ::-1]) for i in range(3)]
    for index in range(COPIES):
        cv2.imwrite(str(folder / f"{index:04d}.png"), shown[index % 3])
    return folder


@pytest.fixture
def other(state: Path) -> Path:
    """A sound bundle that paints differently."""
    engine = open_engine(state / "engine")
    base = load_bundle(state / "adapters" / "base", engine.info)
    noise, inputs = np.random.default_rng(0), dict(base.inputs)
    for name in (n for n in inputs if n.endswith("weight")):
        inputs[name] = inputs[name] * noise.normal(1, 0.3, inputs[name].shape).astype(np.float32)
    changed = replace(base, id="other", inputs=inputs)
    labels = np.stack([engine.infer(frame, changed).labels for frame in base.probe_frames])
    folder = state / "adapters" / "other"
    write_bundle(folder, base.manifest | {"id": "other"}, inputs, base.probe_frames, labels)
    return folder


@pytest.fixture
def runtime(state: Path, tmp_path: Path, pictures: Path) -> Iterator[Runtime]:
    """A runtime on the pictures."""
    one = Runtime(state, tmp_path / "out", str(pictures))
    one.hear("ready")
    with one.process:
        yield one
        one.process.kill()


def test_there_and_back_is_bit_identical_and_loses_nothing(
    runtime: Runtime, state: Path, other: Path, tmp_path: Path
) -> None:
    there = runtime.swap("other", other)
    back = runtime.swap("base", state / "adapters" / "base")
    assert (there["event"], back["event"]) == ("swapped", "swapped"), "too few pictures for this"
    assert (there["from"], back["from"]) == ("base", "other")
    ledger = runtime.hear("done")["ledger"]
    assert ledger == {"captured": COPIES, "served": COPIES, "dropped": {}, "balanced": True}
    labels = [
        cv2.imread(str(tmp_path / "out" / "labels" / f"{i:04d}.png"), cv2.IMREAD_GRAYSCALE)
        for i in range(COPIES)
    ]
    for i, found in enumerate(labels):
        serving_other = there["frame"] <= i < back["frame"]
        assert bool((found == labels[i % 3]).all()) != serving_other, f"picture {i}"


def test_a_tampered_bundle_is_refused(runtime: Runtime, other: Path) -> None:
    path = other / "inputs.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    answer = runtime.swap("other", other)
    assert answer["event"] == "refused"
    assert "inputs.safetensors" in answer["reason"]
    assert runtime.hear("done")["ledger"]["served"] == COPIES


def test_a_bundle_that_lies_about_its_probes_is_refused(
    runtime: Runtime, state: Path, other: Path
) -> None:
    engine = open_engine(state / "engine")
    bundle = load_bundle(other, engine.info)
    wrong = (bundle.probe_labels + 1) % 14
    write_bundle(
        state / "adapters" / "liar", bundle.manifest | {"id": "liar"}, bundle.inputs,
        bundle.probe_frames, wrong.astype(np.uint8),
    )  # fmt: skip
    answer = runtime.swap("liar", state / "adapters" / "liar")
    assert (answer["event"], "probe" in answer["reason"]) == ("refused", True)


def test_the_end_of_stdin_stops_it(runtime: Runtime) -> None:
    assert runtime.process.stdin
    runtime.process.stdin.close()
    wait_until(lambda: runtime.process.poll() is not None, 15, "the end")
    assert runtime.process.returncode == 0


@pytest.mark.parametrize("goes", [True, False])
def test_one_that_stands_by_goes_or_ends(
    state: Path, tmp_path: Path, pictures: Path, goes: bool
) -> None:
    one = Runtime(state, tmp_path / "out", str(pictures), "--standby")
    with one.process:
        one.hear("standby")
        assert one.process.stdin
        assert not (tmp_path / "out").exists()
        if goes:
            one.process.stdin.write('{"cmd": "go"}\n')
            one.process.stdin.flush()
            one.hear("ready")
        one.process.stdin.close()
        assert one.process.wait(15) == 0
    assert (tmp_path / "out").exists() == goes
