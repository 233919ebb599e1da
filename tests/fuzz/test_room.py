"""What watches over the targets notices what it has to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from acclimate.daemon import child, parcel
from tests.fuzz import test_corpus as replay
from tests.fuzz.room import Finding, room
from tests.fuzz.targets import MARK, parts, target

DEEDS: dict[str, Callable[[Path], object]] = {
    "writing": lambda folder: (folder / "../../x").write_text(""),
    "reading": lambda folder: (folder / "../secret").read_text(),
    "making": lambda folder: (folder / "../other").mkdir(),
    "moving out": lambda folder: _made(folder / "a").rename(folder.parent / "a"),
    "moving in": lambda folder: (folder.parent / "secret").rename(folder / "a"),
    "linking": lambda folder: (folder / "../l").symlink_to("/etc"),
    "through a link": lambda folder: [
        (folder / "l").symlink_to(folder.parent), (folder / "l" / "x").write_text("")
    ],
    "a program": lambda _: subprocess.run([sys.executable, "-c", ""], check=True),
    "half a file": lambda folder: _made(folder / "state.json.tmp"),
    "a temporary one": lambda _: tempfile.mkstemp(),
}  # fmt: skip


def _made(path: Path) -> Path:
    path.write_text("")
    return path


@pytest.mark.parametrize("deed", DEEDS)
def test_what_leaves_the_room_is_a_finding_whoever_catches_it(deed: str) -> None:
    with pytest.raises(Finding), room() as folder, contextlib.suppress(Exception):
        DEEDS[deed](folder)


def test_what_stays_inside_is_none() -> None:
    with room() as folder:
        _made(folder / "a").rename(folder / "b")
        (folder / "c").mkdir()
        with tempfile.TemporaryDirectory() as name:
            _made(Path(name) / "d")
        here = os.open(folder, os.O_RDONLY)
        os.unlink("b", dir_fd=here)
        os.close(here)
    assert not folder.exists()


def test_a_parcel_that_is_believed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its checks, one in the corpus would write beside the folder."""
    monkeypatch.setattr(parcel, "_check", lambda *_: None)
    with pytest.raises((Finding, FileExistsError, FileNotFoundError)):
        replay.test_nothing_in_the_corpus_is_a_finding("parcel")


def test_a_stray_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def stray(_: str) -> object:
        raise KeyError("planted")

    monkeypatch.setattr(child, "json", SimpleNamespace(loads=stray))
    with pytest.raises(KeyError, match="planted"):
        target("said")(b"{}")


def test_what_hangs_or_is_a_bomb_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_SECONDS", 0.05)
    with pytest.raises(Finding, match="takes more than"), replay.bounded("it"):
        while True:
            pass
    monkeypatch.setattr(replay, "MOST_MB", 50)
    monkeypatch.setattr(replay, "MOST_SECONDS", 60)
    with pytest.raises(Finding, match="MB"), replay.bounded("it"):
        bytearray(b"x") * (1 << 27)


def test_an_input_may_stand_for_several_files() -> None:
    content = b"1" + MARK + MARK + b"3" + MARK + b"too"
    assert parts(content, ("a", "b", "c")) == {"a": b"1", "c": b"3" + MARK + b"too"}
    assert parts(b"", ("a",)) == {}
