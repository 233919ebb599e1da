"""The command line on a state folder without a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.daemon.cli import main
from acclimate.daemon.main import only_one
from acclimate.daemon.registry import Registry
from acclimate.errors import ConfigError
from tests.unit.daemon.test_registry import bundle

COMMANDS = ("run", "status", "adapters", "segment", "evaluate", "check-config")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """base <- a1 <- a2, all good, a2 active."""
    state = tmp_path / "state"
    bundle(state / "adapters", "base", 0)
    registry = Registry(state)
    for number, name in enumerate(("a1", "a2"), 1):
        registry.adopt(name, bundle(tmp_path / "candidates", name, number))
        registry.activate(name)
        registry.trust(name)
    return state


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n    {name}" not in said] == []


def test_wrong_usage_is_2() -> None:
    with pytest.raises(SystemExit) as left:
        main(["fly"])
    assert left.value.code == 2


def test_check_config_names_every_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("adapt: {steps: -1, lr: much}\nsourse: {}\n")
    assert main(["check-config", str(path)]) == 78
    said = capsys.readouterr().err
    assert all(word in said for word in ("adapt.steps", "adapt.lr", "sourse"))
    path.write_text("adapt: {steps: 10}\n")
    assert main(["check-config", str(path)]) == 0
    assert main(["check-config", str(tmp_path / "none.yaml")]) == 78


def test_the_list_says_who_is_what(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapters", "list", "--state", str(folder)]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["base", "good"], ["a1", "previous"], ["a2", "active"]]


def test_show_and_an_unknown_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapters", "show", "a1", "--state", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "previous"
    assert main(["adapters", "show", "a7", "--state", str(folder)]) == 1
    assert "base, a1, a2" in capsys.readouterr().err


def test_rollback_on_disk(folder: Path) -> None:
    assert main(["adapters", "rollback", "--state", str(folder)]) == 0
    state = Registry(folder).state
    assert (state.active, list(state.quarantined)) == ("a1", ["a2"])
    assert main(["adapters", "rollback", "--to", "a1", "--state", str(folder)]) == 1
    assert main(["adapters", "rollback", "--to", "a2", "--state", str(folder)]) == 1
    assert Registry(folder).state.active == "a1"


def test_quarantine_on_disk(folder: Path) -> None:
    assert main(["adapters", "quarantine", "a1", "--state", str(folder)]) == 0
    assert Registry(folder).state.active == "a2"
    assert main(["adapters", "quarantine", "base", "--state", str(folder)]) == 1


def test_status_without_a_daemon(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--state", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["active"] == "a2"
    assert main(["status", "--state", str(folder)]) == 0
    assert main(["status", "--state", str(folder / "nowhere")]) == 78


def test_one_daemon_a_folder(tmp_path: Path) -> None:
    refused = pytest.raises(ConfigError, match="another acclimate")
    with only_one(tmp_path), refused, only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_segment_and_evaluate(
    state: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(pictures / "one.png"), noise)
    where = ["--state", str(state)]
    assert main(["segment", str(pictures), "--out", str(out), *where]) == 0
    assert (out / "overlays" / "one.jpg").is_file()
    found = cv2.imread(str(out / "labels" / "one.png"), cv2.IMREAD_GRAYSCALE)
    assert found is not None
    capfd.readouterr()
    labels = ["--images", str(pictures), "--labels", str(out / "labels")]
    assert main(["evaluate", *labels, "--json", *where]) == 0
    assert json.loads(capfd.readouterr().out)["accuracy"] == 100.0
    assert main(["evaluate", *labels, "--adapter", "nobody", *where]) == 1
    assert "nobody" in capfd.readouterr().err
