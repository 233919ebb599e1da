"""Other words for a running daemon: between two frames, and every failure leaves the old ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.configs.vocabulary import Vocabulary, load_vocabulary, parse_classes
from acclimate.daemon.registry import Registry
from acclimate.runtime.bundle import load_bundle, read_manifest
from acclimate.runtime.engines import open_engine
from acclimate.runtime.job import place_of
from acclimate.world import Drive
from tests.conftest import wait_until
from tests.integration.conftest import Daemon

CLASSES = "ground=road|pavement|grass,sky,green=tree|bush,building"
OTHERS, WORLD = parse_classes(CLASSES), load_vocabulary("world")
COPIES = 4000
DUSK = "world:seed=3,fps=8,shift=night,strength=0@4/0.5@9"


def vocab(state: Path, *words: str) -> tuple[int, str, str]:
    """`acclimate vocab ...`: exit code, what it said, what it complained of."""
    done = subprocess.run(
        [sys.executable, "-m", "acclimate.daemon.cli", "vocab", *words, "--state", str(state)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three images, again and again: for minutes."""
    shown, folder = tmp_path / "shown", tmp_path / "pictures"
    shown.mkdir()
    folder.mkdir()
    for i in range(3):
        image = np.ascontiguousarray(Drive(9).frame(20 * i)[0][:, :, ::-1])
        cv2.imwrite(str(shown / f"{i}.png"), image)
    for index in range(COPIES):
        (folder / f"{index:05d}.png").symlink_to(shown / f"{index % 3}.png")
    return folder


def expected(state: Path, pictures: Path, words: Vocabulary) -> list[NDArray[np.uint8]]:
    """What the base sees on the three images with these words."""
    engine = open_engine(state / "engine", 1, "onnxruntime-cpu")
    bundle = load_bundle(place_of(state, "base", words).bundle, engine.info, words.digest)
    images = [cv2.imread(str(pictures / f"{i:05d}.png")) for i in range(3)]
    assert all(image is not None for image in images)
    return [engine.infer(np.ascontiguousarray(i[:, :, ::-1]), bundle).labels for i in images]


def served(out: Path, index: int) -> NDArray[np.uint8]:
    labels = cv2.imread(str(out / "labels" / f"{index:05d}.png"), cv2.IMREAD_UNCHANGED)
    assert labels is not None, index
    return np.asarray(labels, np.uint8)


def test_there_and_back_between_two_frames(
    start: Callable[..., Daemon], state: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    daemon = start(
        "--source", str(pictures), "--out", str(out),
        adapt={"enabled": False}, serving={"label_png": True},
    )  # fmt: skip
    daemon.wait("serving")
    code, said, progress = vocab(state, "set", "--classes", CLASSES)
    assert code == 0, progress
    assert said.startswith("now looking for 4 classes (7 strings), from frame ")
    assert "0 frames lost" in said
    assert "embedding 4 classes (7 strings) for base, 1 of 1" in progress
    assert vocab(state, "show")[1].startswith("4 classes (7 strings), set by hand\n")
    code, said, progress = vocab(state, "set", "world")
    assert (code, "embedding" in progress) == (0, False), "the base has these words already"
    assert vocab(state, "show")[1].startswith("14 classes (16 strings), as the configuration")
    first, second = (event["frame"] for event in daemon.events("vocabulary_changed"))
    wait_until(lambda: (out / "labels" / f"{second + 30:05d}.png").exists(), 60, "more frames")

    code, ledger = daemon.stop()
    assert (code, ledger["balanced"]) == (0, True)
    assert set(ledger["dropped"]) <= {"stopped"}, "frames under way when it was told to stop"
    assert [p.name for p in sorted((out / "labels").iterdir())] == [
        f"{i:05d}.png" for i in range(ledger["served"])
    ]
    world, others = (expected(state, pictures, words) for words in (WORLD, OTHERS))
    for index in {*range(first - 20, first + 20), *range(second - 20, second + 20)}:
        words = others if first <= index < second else world
        np.testing.assert_array_equal(served(out, index), words[index % 3], f"frame {index}")
    changes = daemon.events("vocabulary_changed")
    assert [(e["from"], e["to"], e["classes"], e["strings"]) for e in changes] == [
        (WORLD.key, OTHERS.key, 4, 7), (OTHERS.key, WORLD.key, 14, 16),
    ]  # fmt: skip
    assert Registry(state).names() == ["base"]


def test_refusals_leave_the_words_that_serve(
    start: Callable[..., Daemon], state: Path, tmp_path: Path
) -> None:
    daemon = start("--source", "world:seed=3,fps=8", adapt={"enabled": False})
    daemon.wait("serving")
    for words, code, complaint in (
        (["--classes", ",".join(f"thing {i}" for i in range(256))], 78, "256 classes"),
        (["--classes", "road,road,sky|sky"], 78, "'sky' is listed 2 times"),
        (["no/such/file.yaml"], 78, "no/such/file.yaml"),
        (["--classes", ",".join(f"thing {i}" for i in range(65))], 1, "restart with --config"),
        (["--classes", "road,forklift,puddle"], 1, "never learned 'forklift', 'puddle'"),
    ):
        left, _, said = vocab(state, "set", *words)
        assert (left, complaint in said) == (code, True), said
    assert len(daemon.events("vocabulary_refused")) == 2, "the others were not even asked for"
    assert vocab(state, "show")[1].startswith("14 classes")
    before = _served(daemon)
    wait_until(lambda: _served(daemon) > before + 8, 60, "frames as before")
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"], Registry(state).state.words) == (0, True, None)


def _served(daemon: Daemon) -> int:
    from acclimate.daemon.status import read_status

    return int(read_status(daemon.state)["frames"]["served"])


def test_a_round_under_new_words_starts_from_the_accepted_adapter(
    start: Callable[..., Daemon], state: Path
) -> None:
    daemon = start("--source", DUSK)
    daemon.wait("round_started")
    assert vocab(state, "set", "--classes", CLASSES)[0] == 0
    assert daemon.events("round_cancelled"), "its candidate would have been for the old words"
    name = _accepted(daemon)
    own = read_manifest(state / "adapters" / name)
    assert own["vocabulary_digest"] == OTHERS.digest
    daemon.wait("probation_passed")

    assert vocab(state, "set", "world")[0] == 0
    copy = place_of(state, name, WORLD)
    assert (copy.ready, (copy.bundle / "adapter").is_dir()) == (True, True)
    since = daemon.events("vocabulary_changed")[1]["t"]

    def rounds() -> list[dict[str, Any]]:
        assert daemon.process.poll() is None
        return [e for e in daemon.events("round_ended") if e["parent"] == name and e["t"] > since]

    wait_until(rounds, 300, "a round from it under the words of before")
    assert rounds()[0]["verdict"] in {"accepted", "refused"}, rounds()
    code, ledger = daemon.stop()
    assert (code, ledger["balanced"]) == (0, True)


def _accepted(daemon: Daemon) -> str:
    """The first adapter that a round leaves and the runtime takes up."""
    return str(daemon.wait("swapped")[0]["id"])


def test_words_set_by_hand_survive_a_kill_until_the_configuration_changes(
    start: Callable[..., Daemon], state: Path
) -> None:
    source = ("--source", "world:seed=3,fps=8")
    daemon = start(*source, adapt={"enabled": False})
    daemon.wait("serving")
    assert vocab(state, "set", "--classes", CLASSES)[0] == 0
    os.kill(daemon.child("acclimate.runtime.main"), signal.SIGKILL)
    daemon.wait("serving", 2)
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.communicate()

    again = start(*source, adapt={"enabled": False})
    again.wait("serving", 3)
    assert again.events("vocabulary_kept")[0]["size"] == OTHERS.size
    assert json.loads((state / "state.json").read_text())["words"]["key"] == OTHERS.key
    assert again.stop()[0] == 0

    last = start(*source, adapt={"enabled": False}, model={"vocabulary": "camvid"})
    last.wait("serving", 4)
    assert "names other words" in last.events("vocabulary_dropped")[0]["reason"]
    assert vocab(state, "show")[1].startswith("11 classes")
    assert last.stop()[0] == 0
