"""A real runtime: live frames are compared before a candidate may serve."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acclimate.configs.schema import Config, parse_config, to_dict
from acclimate.daemon import main
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.main import run
from acclimate.daemon.rounds import Outcome
from acclimate.runtime.bundle import load_bundle, write_bundle
from acclimate.runtime.engines import open_engine

FRAMES = 6
CONFIG = parse_config({
    "source": {"url": "world:seed=3,fps=8"},
    "serving": {"threads": 1, "overlay_video": False, "engine": "onnxruntime-cpu"},
    "shadow": {"frames": FRAMES, "min_frames": 3, "duty": 0.5},
    "probation": {"frames": 500},
    "drift": {"threshold": 1e6},
    "daemon": {"http_port": 0},
})  # fmt: skip


@pytest.fixture(autouse=True)
def _prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folders of these tests need nothing but the configuration."""

    def prepare(config: Config, state: Path, *_: object) -> Path:
        (state / "config.json").write_text(json.dumps(to_dict(config)))
        return state / "config.json"

    monkeypatch.setattr(main, "prepare", prepare)


def made(state: Path, folder: Path, noise: float) -> Path:
    """The base with noise on its adapter's weights: a bundle that passes every check of its own."""
    engine = open_engine(state / "engine")
    base = load_bundle(state / "adapters" / "base", engine.info)
    rng, inputs = np.random.default_rng(0), dict(base.inputs)
    for name in (n for n in inputs if n.endswith("weight")):
        factor = rng.normal(1, noise, inputs[name].shape).astype(np.float32)
        inputs[name] = inputs[name] * factor
    changed = replace(base, id=folder.name, inputs=inputs)
    labels = np.stack([engine.infer(frame, changed).labels for frame in base.probe_frames])
    manifest = base.manifest | {"id": folder.name, "parent": "base"}
    write_bundle(folder, manifest, inputs, base.probe_frames, labels)
    return folder


class Gate:
    """Lets one candidate through as soon as frames are served; `after` looks in at every tick."""

    def __init__(
        self, candidate: Path, after: Callable[[Lifecycle], bool], seconds: float = 60
    ) -> None:
        self.candidate, self.after, self.stop = candidate, after, threading.Event()
        self._given, self._deadline = False, time.monotonic() + seconds

    def __call__(self, life: Lifecycle) -> None:
        if not self._given and life.serving.ledger["served"] > 5:
            self._given = True
            outcome = Outcome("accepted", (), 1.0, {}, self.candidate)
            ended: Any = SimpleNamespace(
                id=self.candidate.name,
                parent="base",
                mode="validate",
                poll=lambda: outcome,
                hold=bool,
            )
            life.rounds.now = ended
        if self.after(life) or time.monotonic() > self._deadline:
            self.stop.set()


def play(state: Path, gate: Gate, config: Config = CONFIG) -> tuple[list[dict[str, Any]], Any]:
    """Events and the last status of a daemon that is stopped by the gate."""
    events: list[dict[str, Any]] = []
    last = run(config, state, listener=events.append, hook=gate, stop=gate.stop)
    return events, last


def kinds(life: Lifecycle) -> list[str]:
    return [event["event"] for event in life.events.events]


def decided(life: Lifecycle) -> bool:
    """Does it serve, or may it not?"""
    return not {"swapped", "swap_refused"}.isdisjoint(kinds(life))


def one(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (event for event in events if event["event"] == kind)
    return found


def test_a_window_of_live_frames_comes_before_the_swap(state: Path, tmp_path: Path) -> None:
    gate = Gate(made(state, tmp_path / "kin", 0.5), decided)
    events, last = play(state, gate)
    order = [event["event"] for event in events]
    assert order.index("shadow_started") < order.index("shadow_ended") < order.index("swapped")
    ended = one(events, "shadow_ended")
    assert (ended["verdict"], ended["frames"], ended["wanted"]) == ("passed", FRAMES, FRAMES)
    assert 0 < ended["disagreement"] <= CONFIG.shadow.max_disagreement
    assert np.shape(ended["regions"]) == (3, 3)
    assert ended["computing_ms"] / 1000 <= 0.6 * ended["seconds"], "half of the time at most"
    assert one(events, "swapped")["id"] == last["active"] == "kin"
    assert last["frames"]["balanced"], last["frames"]


def test_one_that_disagrees_never_serves(state: Path, tmp_path: Path) -> None:
    gate = Gate(made(state, tmp_path / "alien", 6.0), decided)
    events, last = play(state, gate)
    ended = one(events, "shadow_ended")
    assert (ended["verdict"], ended["frames"]) == ("refused", FRAMES)
    assert ended["disagreement"] > CONFIG.shadow.max_disagreement
    refused = one(events, "swap_refused")
    assert f"{ended['disagreement']:.1%} of {FRAMES} live frames" in refused["reason"]
    assert "swapped" not in [event["event"] for event in events]
    assert last["active"] == "base"
    assert "disagrees" in last["quarantined"]["alien"]
    assert last["frames"]["balanced"]
    assert last["shadow"].startswith("alien refused")


def test_kill_9_in_the_window_loses_nothing(state: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def look(life: Lifecycle) -> bool:
        child = life.serving._child
        if not killed and life.shadow.now is not None and child is not None:
            killed.append(life.serving.ledger["served"])
            os.kill(child.pid, signal.SIGKILL)
        return decided(life)

    events, last = play(state, Gate(made(state, tmp_path / "kin", 0.5), look))
    order = [event["event"] for event in events]
    assert order.count("runtime_died") == 1
    assert order.count("shadow_started") == 2
    assert order.index("runtime_died") < order.index("shadow_ended") < order.index("swapped")
    assert (last["active"], last["quarantined"]) == ("kin", {})
    assert last["frames"]["balanced"], last["frames"]
    assert last["frames"]["served"] > killed[0]


def test_a_budget_too_small_puts_it_off_and_not_blamed(state: Path, tmp_path: Path) -> None:
    short = replace(CONFIG, shadow=replace(CONFIG.shadow, max_ms=1.0, frames=50, min_frames=50))
    gate = Gate(made(state, tmp_path / "kin", 0.5), decided)
    events, last = play(state, gate, short)
    assert one(events, "shadow_ended")["verdict"] == "unfinished"
    assert (last["active"], last["quarantined"]) == ("base", {})


def test_a_stop_in_the_window_ends_in_order(state: Path, tmp_path: Path) -> None:
    endless = replace(CONFIG, shadow=replace(CONFIG.shadow, frames=10_000, max_ms=1e6))
    gate = Gate(made(state, tmp_path / "kin", 0.5), lambda life: life.shadow.now is not None)
    events, last = play(state, gate, endless)
    assert events[-1]["event"] == "stopped"
    assert last["frames"]["balanced"], last["frames"]
    assert last["active"] == "base"
