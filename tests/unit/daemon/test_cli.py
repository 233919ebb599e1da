"""The command line on a state folder, with and without a daemon."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from acclimate import __version__
from acclimate.daemon import cli
from acclimate.daemon.cli import main
from acclimate.daemon.main import only_one
from acclimate.errors import ConfigError, ExportError, Stopped

COMMANDS = [
    ["run"], ["status"], ["adapters"], ["adapters", "list"], ["adapters", "show"],
    ["adapters", "rollback"], ["adapters", "quarantine"], ["adapters", "history"], ["pause"],
    ["resume"], ["adapt-now"], ["rollback"], ["pin"], ["events"], ["doctor"], ["segment"],
    ["evaluate"],
    ["vocab"], ["vocab", "set"], ["vocab", "show"], ["check-config"], ["export"],
    ["engines"], ["engines", "list"], ["engines", "verify"], ["engines", "prune"],
    ["weights"], ["weights", "list"], ["weights", "pull"],
    ["weights", "inspect"], ["weights", "export"], ["fsck"],
    ["adapters", "export"], ["adapters", "import"], ["adapters", "try"], ["purge"],
    ["keys"], ["keys", "new"], ["keys", "show"],
]  # fmt: skip
Said = pytest.CaptureFixture[str]


# ---- usage


def help_of(command: list[str], capsys: Said) -> list[str]:
    """The paragraphs of its --help, each as one line."""
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    return [" ".join(part.split()) for part in capsys.readouterr().out.split("\n\n")]


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_every_command_explains_itself(command: list[str], capsys: Said) -> None:
    usage, sentence, *_ = help_of(command, capsys)
    assert usage.startswith(f"usage: acclimate {' '.join(command)}".rstrip())
    assert len(sentence.split()) > 3
    assert sentence.endswith(".")


def test_the_overview_says_of_every_command_what_it_is_for(capsys: Said) -> None:
    overview = " ".join(help_of([], capsys))
    for command in COMMANDS:
        if len(command) == 1:
            assert f" {command[0]} {help_of(command, capsys)[1]}" in overview


def test_the_version(capsys: Said) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert (left.value.code, capsys.readouterr().out.strip()) == (0, __version__)


@pytest.mark.parametrize(
    "words",
    [[], ["fly"], ["adapters"], ["adapters", "show"], ["run", "--duration", "long"], ["segment"],
     ["pin"], ["pin", "a1", "--off"], ["pause", "--for", "-1"], ["events", "--since", "never"],
     ["evaluate", "--images", "x"], ["status", "--yaml"], ["check-config"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_2(words: list[str], capsys: Said) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "usage: acclimate" in capsys.readouterr().err


def test_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, acclimate.daemon.cli;"
        "print({'torch', 'cv2', 'onnxruntime', 'tensorrt'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- check-config


def test_check_config_names_every_problem(tmp_path: Path, capsys: Said) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("adapt: {steps: -1, lr: much}\nsourse: {}\nserving: {size: [160]}\n")
    assert main(["check-config", str(path)]) == 78
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in said)
    for name in ("adapt.steps", "adapt.lr", "sourse", "serving.size"):
        assert sum(name in line for line in said) == 1, name


def test_check_config_of_a_sound_file(tmp_path: Path, capsys: Said) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("adapt: {steps: 10}\n")
    assert main(["check-config", str(path)]) == 0
    assert capsys.readouterr().out == f"{path} is sound\n"
    path.write_text("")
    assert main(["check-config", str(path)]) == 0, "an empty file is the defaults"


@pytest.mark.parametrize("content", [b"adapt: [", b"- 1", b"\xff\xfe\x00", b"adapt: 7"])
def test_check_config_of_what_is_no_configuration(
    tmp_path: Path, capsys: Said, content: bytes
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert main(["check-config", str(path)]) == 78
    assert capsys.readouterr().err.startswith("error: ")


def test_check_config_looks_into_the_vocabulary(tmp_path: Path, capsys: Said) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("model: {vocabulary: klingon}\n")
    assert main(["check-config", str(path)]) == 78
    assert "klingon" in capsys.readouterr().err
    assert main(["check-config", str(tmp_path / "none.yaml")]) == 78


def test_the_packaged_configurations_are_sound() -> None:
    packaged = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
    assert packaged
    assert [main(["check-config", str(path)]) for path in packaged] == [0] * len(packaged)


# ---- run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """`acclimate run` with a daemon that ends at once as it is told to."""
    monkeypatch.setattr(cli.Signals, "listen", lambda _: None)
    calls: list[Any] = []

    def run_one(*words: str, ends: Any) -> int:
        def daemon(
            config: Any, state: Any, out: Any, duration: Any, tell: Any, service: Any
        ) -> Any:
            calls.append((config, state, out, duration))
            tell({"event": "started", "t": 0.0, "http": "http://127.0.0.1:9/"})
            if isinstance(ends, BaseException):
                raise ends
            captured, balanced, *asked = ends
            if asked:
                service.stop.set()
            return {"frames": {"captured": captured, "balanced": balanced}}

        monkeypatch.setattr(cli, "run", daemon)
        return main(["run", "--state", str(tmp_path / "state"), *words])

    run_one.calls = calls  # type: ignore[attr-defined]
    yield run_one


def test_run_hands_its_options_on(run: Any, tmp_path: Path, capsys: Said) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("adapt: {steps: 11}\n")
    words = ["--config", str(config), "--source", "film.mp4", "--duration", "3", "--out", "o"]
    assert run(*words, ends=(5, True)) == 0
    found, state, out, duration = run.calls[0]
    assert (found.adapt.steps, found.source.url) == (11, "film.mp4")
    assert (state, out, duration) == (tmp_path / "state", Path("o"), 3.0)
    said = capsys.readouterr().out
    assert "watch it at http://127.0.0.1:9/" in said
    assert "written to o" in said


@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        ((5, True), 0, ""),
        ((5, False), 1, ""),
        ((0, True), 1, "no frame was captured"),
        ((0, True, "SIGTERM"), 0, ""),
        ((5, False, "SIGTERM"), 1, ""),
        (Stopped("stopped before anything was served"), 0, ""),
        (ConfigError(["a: wrong", "b: wrong"]), 78, "error: a: wrong\nerror: b: wrong\n"),
        (ExportError("no engine"), 1, "error: no engine"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=str,
)
def test_exit_codes_of_run(run: Any, capsys: Said, ends: Any, code: int, said: str) -> None:
    assert run(ends=ends) == code
    assert said in capsys.readouterr().err


def test_a_wrong_configuration_starts_nothing(run: Any, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("daemon: {http_port: many}\n")
    assert run("--config", str(tmp_path / "c.yaml"), ends=(5, True)) == 78
    assert run.calls == []


# ---- status


def test_status_without_a_daemon(folder: Path, capsys: Said) -> None:
    assert main(["status", "--json", "--state", str(folder)]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["daemon"], status["active"]) == (None, "a2")
    assert main(["status", "--state", str(folder)]) == 0
    assert "active" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["status"], ["adapters", "list"], ["adapters", "rollback"]], ids=" ".join
)
def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, capsys: Said, words: list[str]
) -> None:
    assert main([*words, "--state", str(tmp_path / "nowhere")]) == 78
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("words", [["status"], ["adapters", "list"]], ids=" ".join)
def test_a_rotten_truth_is_named(folder: Path, capsys: Said, words: list[str]) -> None:
    (folder / "state.json").write_text("{")
    assert main([*words, "--state", str(folder)]) == 1
    assert "state.json is unreadable" in capsys.readouterr().err


# ---- one-off jobs


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """One picture of noise."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "one.png"), noise)
    return folder


def test_segment_and_evaluate(
    state: Path, tmp_path: Path, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where, out = ["--state", str(state)], tmp_path / "out"
    shutil.copy(state / "config.json", tmp_path / "before.json")
    assert main(["segment", str(pictures), "--out", str(out), *where]) == 0
    assert (out / "overlays" / "one.png").is_file()
    found = cv2.imread(str(out / "labels" / "one.png"), cv2.IMREAD_GRAYSCALE)
    assert found is not None
    capfd.readouterr()
    labels = ["--images", str(pictures), "--labels", str(out / "labels")]
    assert main(["evaluate", *labels, "--json", *where]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["adapter"], report["accuracy"]) == ("base", 100.0)
    assert main(["evaluate", *labels, "--adapter", "nobody", *where]) == 1
    assert "nobody" in capfd.readouterr().err
    assert (state / "config.json").read_text() == (tmp_path / "before.json").read_text()


def test_segment_with_its_own_configuration_leaves_a_running_daemon_alone(
    folder: Path, tmp_path: Path, pictures: Path, capsys: Said
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("adapt: {steps: 11}\n")
    words = ["segment", str(pictures), "--out", str(tmp_path / "out"), "--config", str(config)]
    with only_one(folder):
        assert main([*words, "--state", str(folder)]) == 1, (
            "nothing is wrong with the configuration"
        )
    assert "another acclimate runs" in capsys.readouterr().err


def test_no_error_tells_a_cameras_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("source: rtsp://anna:s3cret@camera/1\n")
    assert main(["check-config", str(file)]) == 78
    assert "s3cret" not in (told := capsys.readouterr().err)
    assert "rtsp://camera/1" in told
