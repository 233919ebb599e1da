"""The command line of `acclimate reproduce`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.configs.reproduction import Task, read_task
from acclimate.daemon import reproduce
from acclimate.daemon.cli import main

WORDS = ["reproduce", "vocalign", "--dataset", "pc59", "--data", "VOC2010", "--weights", "my.pth"]


def test_it_is_handed_to_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def started(command: list[str], **_: Any) -> Any:
        seen.append(command)
        return SimpleNamespace(returncode=5)

    monkeypatch.setattr(reproduce, "subprocess", SimpleNamespace(run=started))
    assert main([*WORDS, "--rows", "zero-shot,top-k", "--steps", "9", "--device", "cpu"]) == 5
    assert seen[0][1:4] == ["-m", "acclimate.adapt.reproduce.main", "--task"]
    wanted = Task("pc59", "VOC2010", "my.pth", "reproduce/pc59-paper", rows="zero-shot,top-k",
                  steps=9, device="cpu")  # fmt: skip
    assert read_task(seen[0][4]) == wanted


def test_refusals_name_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, "--rows", "tent"]) == 78
    assert "known: zero-shot" in capsys.readouterr().err
    monkeypatch.setattr(reproduce, "can_adapt", lambda: False)
    assert main(WORDS) == 1
    assert "pip install 'acclimate[adapt]'" in capsys.readouterr().err
