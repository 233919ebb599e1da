"""`segment` and `evaluate` on the command line: options, and what is made ready for them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.configs.vocabulary import load_vocabulary
from acclimate.daemon import jobs as module
from acclimate.daemon.cli import main, parser
from acclimate.runtime.job import Job, place_of


def read(*arguments: str) -> Job:
    options = parser().parse_args(arguments)
    job = options.read(options)
    assert isinstance(job, Job)
    return job


def test_a_bare_command_means_what_is_served() -> None:
    expected = Job("segment", source="film.mp4", out="o")
    assert read("segment", "film.mp4", "--out", "o") == expected
    assert read("evaluate", "--images", "i", "--labels", "l") == Job(
        "evaluate", images="i", labels="l"
    )


def test_every_option_arrives() -> None:
    common = ["--classes", "road,sky", "--adapter", "a1", "--protocol", "sliding"]
    asked = ["--no-concepts", "--label-ids", "dataset", "--confidence"]
    assert read("segment", "in", "--out", "o", *common, *asked) == Job(
        "segment", source="in", out="o", classes="road,sky", adapter="a1", protocol="sliding",
        concepts="without", label_ids="dataset", confidence=True,
    )  # fmt: skip
    asked = ["--root", "r", "--dataset", "ade", "--split", "training", "--limit", "7"]
    more = ["--vocabulary", "v.yaml", "--concepts", "both", "--json", "--out", "o"]
    assert read("evaluate", *asked, *more) == Job(
        "evaluate", root="r", dataset="ade", split="training", limit=7, vocabulary="v.yaml",
        concepts="both", json=True, out="o",
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate"], ["evaluate", "--images", "i"], ["evaluate", "--labels", "l"],
        ["evaluate", "--root", "r", "--images", "i", "--labels", "l"],
        ["evaluate", "--dataset", "ade"], ["evaluate", "--root", "r", "--limit", "0"],
        ["evaluate", "--root", "r", "--dataset", "coco"], ["segment", "in"],
        ["segment", "in", "--out", "o", "--classes", "a,b", "--vocabulary", "v"],
        ["segment", "in", "--out", "o", "--concepts", "both"],
    ],
)  # fmt: skip
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A CamVid of one picture, its labels all road but for void."""
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    truth = np.full((90, 120), 3, np.uint8)
    truth[:10] = 11
    for folder, content in (("test", noise), ("testannot", truth)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "one.png"), content)
    return tmp_path


def test_words_from_the_shell_are_embedded_once(
    state: Path, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["segment", str(pictures / "test"), "--classes", "road,puddle,forklift"]
    where = ["--state", str(state), "--out", str(pictures / "out")]
    before = (state / "engine" / "model.onnx").stat().st_mtime_ns
    assert main([*asked, *where]) == 0
    said = capfd.readouterr()
    assert "embedding 3 strings" in said.err
    assert "1 frame:" in said.out
    areas = json.loads((pictures / "out" / "areas.json").read_text())
    assert [c["name"] for c in areas["classes"]] == ["road", "puddle", "forklift"]
    labels = cv2.imread(str(pictures / "out" / "labels" / "one.png"), cv2.IMREAD_UNCHANGED)
    assert labels is not None
    assert (labels.shape, labels.max() <= 2) == ((90, 120), True)
    assert main([*asked, *where]) == 0
    assert "embedding" not in capfd.readouterr().err
    assert (state / "engine" / "model.onnx").stat().st_mtime_ns == before


def test_a_data_set_brings_its_own_words(
    state: Path, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["evaluate", "--root", str(pictures), "--json", "--protocol", "whole"]
    assert main([*asked, "--state", str(state)]) == 0
    report = json.loads(capfd.readouterr().out)
    assert list(report["classes"]) == list(load_vocabulary("camvid").names)
    assert (report["dataset"], report["protocol"]) == ("camvid", "whole")
    assert (report["pixels"], report["classes"]["road"]["share"]) == (80 * 120, 100)
    assert report["miou"] == report["classes"]["road"]["iou"] == report["accuracy"]


def test_what_is_wrong_is_told_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    assert main(["evaluate", "--root", str(tmp_path), "--state", str(state)]) == 1
    assert "looked for" in capsys.readouterr().err
    asked = ["--images", str(tmp_path), "--labels", str(tmp_path), "--state", str(state)]
    assert main(["evaluate", *asked]) == 1
    assert not state.exists()


def test_a_machine_without_torch_says_what_it_lacks(
    state: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "can_adapt", lambda: False)
    where = [str(pictures / "test"), "--out", str(pictures / "o"), "--state", str(state)]
    assert main(["segment", *where, "--classes", "road,puddle"]) == 1
    assert "acclimate[adapt]" in capsys.readouterr().err
    assert main(["segment", *where, "--protocol", "whole"]) == 1
    assert "--protocol whole needs torch" in capsys.readouterr().err
    assert place_of(state, "base", load_vocabulary("world")).ready


def test_bad_words_are_a_wrong_configuration(
    state: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [str(pictures / "test"), "--out", str(pictures / "o"), "--state", str(state)]
    assert main(["segment", *where, "--classes", "road,road"]) == 78
    assert "road" in capsys.readouterr().err
    assert main(["segment", *where, "--vocabulary", "nowhere.yaml"]) == 78


def test_words_set_by_hand_are_what_is_served(
    state: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vocab", "set", "--classes", "road,sky,tree", "--state", str(state)]) == 0
    where = ["--state", str(state), "--out", str(pictures / "out")]
    assert main(["segment", str(pictures / "test"), *where]) == 0
    areas = json.loads((pictures / "out" / "areas.json").read_text())
    assert [c["name"] for c in areas["classes"]] == ["road", "sky", "tree"]
