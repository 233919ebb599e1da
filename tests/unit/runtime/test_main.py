"""One camera whose frames change: every one of them is served or counted, and serving goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acclimate.configs.schema import Config, parse_config, to_dict
from acclimate.configs.source import SourceConfig
from acclimate.errors import ConfigError, SourceError
from acclimate.runtime import cameras
from acclimate.runtime import main as module
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.fit import How
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.main import Runtime
from acclimate.runtime.source import Captured
from acclimate.world import Drive


class Camera:
    """A source of given frames."""

    live, state, fps, reason = False, "live", 10.0, ""

    def __init__(self, frames: list[NDArray[Any]]) -> None:
        self._frames = frames

    def frames(self, ledger: Ledger, stop: threading.Event) -> Iterator[Captured]:
        for number, frame in enumerate(self._frames):
            ledger.capture()
            yield Captured(number, time.monotonic(), number / self.fps, frame)
        self.state = "ended"


def serve(
    state: Path, out: Path, frames: list[NDArray[Any]], monkeypatch: pytest.MonkeyPatch, how: How
) -> list[dict[str, Any]]:
    """What the runtime says while it serves them."""
    monkeypatch.setattr(cameras, "open_source", lambda config, size: Camera(frames))
    said: list[dict[str, Any]] = []
    serving = replace(Config().serving, threads=1, fit=how, label_png=True)
    Runtime(replace(Config(), serving=serving), state, out, "base", said.append).run(
        time.monotonic() + 60
    )
    return said


@pytest.mark.parametrize("how", ["squash", "letterbox"])
def test_frames_of_any_size_are_served_and_what_is_no_picture_is_counted(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: How
) -> None:
    good, wide = Drive(1).frame(3)[0], Drive(1, (160, 480)).frame(3)[0]
    grey, alpha = good[..., 0], np.dstack([good, good[..., :1]])
    frames = [
        good,
        grey,
        wide,
        alpha,
        good.astype(np.float32),
        np.zeros((1, 1, 3), np.uint8),
        good,
        grey,
    ]
    out = tmp_path / "out"
    said = serve(state, out, frames, monkeypatch, how)
    ready, done = said[0], said[-1]
    assert (ready["engine"], ready["precision"]) == ("onnxruntime-cpu", "fp32")
    assert ready["reason"]
    assert done["ledger"] == {
        "captured": 8,
        "served": 4,
        "dropped": {"no_picture": 4},
        "balanced": True,
    }
    told = [event["message"] for event in said if event["event"] == "error"]
    assert told == [
        "frame 1 is no picture: uint8(160, 224)",
        "frame 3 is no picture: uint8(160, 224, 4)",
        "frame 4 is no picture: float32(160, 224, 3)",
    ]
    shape = cv2.imread(str(out / "labels" / "000002.png"), cv2.IMREAD_UNCHANGED).shape
    assert shape == {"squash": (160, 224), "letterbox": (75, 224)}[how]
    film = cv2.VideoCapture(str(out / "overlay.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4, "a film keeps its size whatever comes"


def test_two_cameras_are_served_and_written_apart(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day, wide = Drive(1).frame(3)[0], Drive(2, (160, 480)).frame(9)[0]
    shown = {"front": [day, day, day[..., 0]], "rear": [wide] * 5}
    monkeypatch.setattr(cameras, "open_source", lambda config, size: Camera(shown[config.url]))
    said: list[dict[str, Any]] = []
    serving = replace(Config().serving, threads=1, label_png=True)
    configs = {name: SourceConfig(url=name) for name in shown}
    config = replace(Config(), serving=serving, cameras=configs)
    out = tmp_path / "out"
    Runtime(config, state, out, "base", said.append).run(time.monotonic() + 60)
    ledger = said[-1]["ledger"]
    assert (ledger["served"], ledger["dropped"]) == (7, {"no_picture": 1})
    last = [event for event in said if event["event"] == "stats"][-1]["cameras"]
    assert {n: (one["state"], one["served"], one["balanced"]) for n, one in last.items()} == {
        "front": ("ended", 2, True), "rear": ("ended", 5, True),
    }  # fmt: skip
    for name, count in {"front": 2, "rear": 5}.items():
        assert len(list((out / name / "labels").iterdir())) == count
        film = cv2.VideoCapture(str(out / name / "overlay.mp4"))
        assert film.get(cv2.CAP_PROP_FRAME_COUNT) == count
        assert (state / f"latest-{name}.jpg").is_file()
    kept = FrameBuffer(state / "buffer", config.buffer, reader=True).entries
    assert kept and {entry.camera for entry in kept} <= set(shown)


def test_other_settings_count_from_the_next_frame_on(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, said = Drive(1).frame(3)[0], list[dict[str, Any]]()
    monkeypatch.setattr(cameras, "open_source", lambda config, size: Camera([frame]))
    runtime = Runtime(Config(), state, None, "base", said.append)
    wanted = parse_config({"shadow": {"frames": 5}, "drift": {"min_light": 250}})
    runtime.commands.put({"cmd": "configure", "config": {"sourse": 1}})
    runtime.commands.put({"cmd": "configure", "config": to_dict(wanted)})
    runtime.run(time.monotonic() + 60)
    assert any("sourse: unknown key" in event.get("message", "") for event in said)
    assert runtime.shadow == wanted.shadow
    looks = [event["look"] for event in said if event.get("look")]
    assert [look["blind"] for look in looks] == [True]


# ---- beside another one


def test_what_stands_by_has_loaded_all_and_opened_nothing(state: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[dict[str, Any]]()
    config = parse_config({
        "source": {"url": "world:seed=3"}, "serving": {"threads": 1},
        "outputs": {"mcap": str(tmp_path / "mcap"), "shared": str(tmp_path / "shared")},
    })  # fmt: skip
    before = sorted(state.rglob("*"))
    runtime = Runtime(config, state, out, "base", said.append)
    runtime.go.set()
    assert runtime.stand_by()
    assert said == [{"event": "standby"}]
    assert sorted(state.rglob("*")) == before
    assert not any((tmp_path / name).exists() for name in ("out", "mcap", "shared"))
    assert {thread.name for thread in threading.enumerate()}.isdisjoint({"tap", "camera"})
    runtime.run(time.monotonic() + 2)
    assert [said[1]["event"], said[-1]["event"]] == ["ready", "done"]
    assert said[-1]["ledger"]["served"] > 0


def test_one_that_is_told_to_stop_does_not_go(state: Path) -> None:
    runtime = Runtime(Config(), state, None, "base", lambda _: None)
    runtime.stop.set()
    assert not runtime.stand_by()


def test_a_source_that_is_not_there_shows_before_the_engine_is_loaded(tmp_path: Path) -> None:
    config = parse_config({"source": {"url": str(tmp_path / "nowhere.mp4")}})
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        Runtime(config, tmp_path, None, "base", lambda _: None)


def test_an_output_that_cannot_be_shows_too(tmp_path: Path) -> None:
    lost = {"mqtt": "mqtt://me@127.0.0.1/a", "mqtt_password_file": str(tmp_path / "lost")}
    with pytest.raises(ConfigError, match="mqtt_password_file"):
        Runtime(parse_config({"outputs": lost}), tmp_path, None, "base", lambda _: None)


@pytest.mark.parametrize("goes", [True, False])
def test_while_it_has_nothing_to_close_it_is_killed_with_the_daemon(
    goes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Loads:
        def __init__(self, *_: object) -> None:
            done.append("loaded")

        def stand_by(self) -> bool:
            done.append("stood by")
            return goes

        def run(self, _: float) -> None:
            done.append("ran")

    for name in ("die_with_parent", "wake_with_parent"):
        monkeypatch.setattr(module, name, lambda name=name: done.append(name))
    monkeypatch.setattr(module, "listen", lambda *_: None)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    monkeypatch.setattr(module, "Runtime", Loads)
    (tmp_path / "config.json").write_text("{}")
    where = ["--config", str(tmp_path / "config.json"), "--state", str(tmp_path)]
    assert module.main([*where, "--standby"]) == 0
    assert done[:3] == ["die_with_parent", "loaded", "stood by"]
    assert done[3:] == ["wake_with_parent", "ran"] * goes
