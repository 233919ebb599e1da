"""check-config sees what preparing would refuse; 78 keeps systemd from trying again."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.configs.schema import Config, ModelConfig
from acclimate.daemon import main as daemon
from acclimate.daemon.cli import main
from acclimate.daemon.main import check, prepare
from acclimate.errors import ConfigError, ExportError

LONG = "supercalifragilisticexpialidocious " * 8  # 8 words, yet 81 tokens with the template
WORDS = "classes: [{name: road}, {name: wall, concepts: [wall, " + LONG.strip() + "]}]"


def configured(folder: Path, words: str) -> Path:
    (folder / "words.yaml").write_text(words)
    path = folder / "config.yaml"
    path.write_text(f"model: {{vocabulary: {folder / 'words.yaml'}}}")
    return path


def test_words_too_long_are_found_before_anything_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, WORDS)
    assert main(["check-config", str(path)]) == 78
    assert "has 81 tokens, at most 77" in capfd.readouterr().err


def test_without_torch_it_is_said_what_was_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon, "can_adapt", lambda: False)
    assert main(["check-config", str(configured(tmp_path, WORDS))]) == 0
    assert "show where torch is" in capsys.readouterr().out


def test_more_classes_than_a_label_map_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"- {{name: thing {i}}}\n" for i in range(256))
    assert main(["check-config", str(configured(tmp_path, f"classes:\n{rows}"))]) == 78
    assert "256 classes; the daemon serves at most 255" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "error"), [(78, ConfigError), (1, ExportError), (-9, ExportError)]
)
def test_an_exit_code_says_whether_a_restart_may_help(
    code: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"import os; os.kill(os.getpid(), 9) if {code} < 0 else os._exit({code})"
    monkeypatch.setattr(daemon, "command", lambda *_: ["python3", "-S", "-c", script])
    with pytest.raises(error):
        check(Config(model=ModelConfig()))
    with pytest.raises(error):
        prepare(Config(), tmp_path)
