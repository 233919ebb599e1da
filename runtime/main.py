"""The serving process: the story of one frame, told again and again.

    python -m acclimate.runtime.main --config resolved.json --state DIR [--out DIR] [--standby]

camera threads -> boxes -> engine(frame, bundle) -> sinks -> tap; a new bundle is taken up between
two frames, and with it other words if it brings some. JSON lines in: {"cmd": "swap", "id", "dir",
"vocabulary"?: file, "shadow"?: true}, {"cmd": "configure", "config"} (its drift and shadow count
from then on), {"cmd": "purge", "hours"}, {"cmd": "stop"}; the end of stdin stops too. JSON lines
out: ready, stats, shadow, swapped, refused, purged, error, done. With --standby it loads beside
another one that serves, says standby, and opens nothing before {"cmd": "go"}.
"""

from __future__ import annotations

import argparse
import json
import queue
import signal
import sys
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.configs.schema import Config, parse_config
from acclimate.configs.vocabulary import load_served
from acclimate.errors import (
    AcclimateError,
    BundleError,
    ConfigError,
    CorruptBundle,
    InferenceError,
)
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.bundle import load_bundle
from acclimate.runtime.cameras import Camera, Cameras
from acclimate.runtime.engine import Engine
from acclimate.runtime.engines import open_engine
from acclimate.runtime.fit import cut, fit, is_picture
from acclimate.runtime.job import place_of
from acclimate.runtime.listen import Say, listen, say
from acclimate.runtime.outputs import Outputs
from acclimate.runtime.parent import die_with_parent, wake_with_parent
from acclimate.runtime.shadow import Report, Shadow
from acclimate.runtime.sinks import Sinks
from acclimate.runtime.source import Captured
from acclimate.runtime.stats import Stats
from acclimate.runtime.swap import Ready, Refused, Swapper
from acclimate.runtime.tap import Tap

FAILURES_IN_A_ROW = 20


class Runtime:
    """Some cameras, one engine, one bundle at a time. Made, it has loaded what takes long and found
    out what fails; what has one owner only is opened by `run`."""

    def __init__(
        self, config: Config, state: Path, out: Path | None, bundle: str, say: Say,
        vocabulary: str | None = None,
    ) -> None:  # fmt: skip
        serving = config.serving
        self._config, self._state, self._out = config, state, out
        self.say, self.stop, self.go = say, threading.Event(), threading.Event()
        self.commands: queue.Queue[dict[str, Any]] = queue.Queue()
        self.vocabulary = vocabulary or config.model.vocabulary
        self.words = words = load_served(self.vocabulary)
        self.cameras = Cameras(config.sources, serving.size)
        self.outputs = Outputs(config.outputs, words)
        folder = place_of(state, bundle, words).bundle

        def first_frame(engine: Engine) -> None:
            self.bundle = load_bundle(folder, engine.info, words.digest)
            if self.bundle.id != bundle:  # or its signature would be of another one
                raise CorruptBundle(f"{folder} holds the bundle {self.bundle.id}, not {bundle}")
            engine.warm_up(self.bundle)

        self.engine = open_engine(
            state / "engine", serving.threads, serving.engine, serving.precision,
            serving.capacity, first_frame,
        )  # fmt: skip
        self.swapper = Swapper(self.engine, words.digest)
        self.shadow, self.fit = config.shadow, serving.fit
        self.stats = Stats(config.drift)
        self._infer_ms: deque[float] = deque(maxlen=50)
        self._swap: dict[str, Any] | None = None
        self._failures = 0
        self._odd: set[str] = set()  # what came in place of pictures

    def stand_by(self) -> bool:
        """Wait for the word to go; False where it is to end instead."""
        self.say({"event": "standby"})
        while not (self.go.is_set() or self.stop.is_set()):
            self.stop.wait(0.05)
        return self.go.is_set()

    def _open(self) -> None:
        """Take what only one may have: the files of sinks, the buffer. Raises OSError."""
        config = self._config
        self.sinks = {
            name: Sinks(config.serving, self.words, self._state, self._out, one.source.fps,
                        name if config.cameras else "")
            for name, one in self.cameras.each.items()
        }  # fmt: skip
        self.tap = Tap(FrameBuffer(self._state / "buffer", config.buffer))

    def run(self, deadline: float) -> None:
        """Serve until the source ends, someone stops it or the clock passes `deadline`."""
        self._open()
        self.cameras.start(self.stop, self._complain)
        self.say({
            "event": "ready", "active": self.bundle.id, "engine": self.engine.name,
            "precision": self.engine.precision, "reason": self.engine.reason,
            "live": self.cameras.live,
        })  # fmt: skip
        while not (self.stop.is_set() or self.cameras.done or time.monotonic() > deadline):
            self._obey()
            self._swap_if_ready()
            if (turn := self.cameras.get(timeout=0.05)) is not None:
                self._serve(*turn)
            if self.stats.due:
                self._report()
        self._finish()

    def _complain(self, message: str) -> None:
        self.commands.put({"cmd": "complain", "message": message})

    def _serve(self, camera: Camera, frame: Captured) -> None:
        """One frame. Whatever goes wrong costs this frame only."""
        if not is_picture(frame.image):
            self._refuse_frame(camera, frame)
            return
        image = fit(frame.image, self.engine.info.size, self.fit)  # the tap owns it afterwards
        started = time.monotonic()
        try:
            result = self.engine.infer(image, self.bundle)
        except Exception as error:  # the one place where a frame may fail for any reason
            camera.ledger.drop("inference_error")
            self._failures += 1
            trouble = InferenceError(frame.frame_id, str(error))
            if self._failures >= FAILURES_IN_A_ROW:
                raise trouble from error
            self.say({"event": "error", "message": str(trouble)})
            return
        now = time.monotonic()
        self._failures = 0
        camera.ledger.serve()
        self._after_swap(1000 * (now - started))
        latency_ms = 1000 * (now - frame.captured_at)
        self.stats.add(image, result, latency_ms, frame.time, camera.name)
        labels = cut(result.labels, frame.image.shape[:2], self.fit)
        self.sinks[camera.name].write(frame, labels, self.bundle.id)
        self.outputs.offer(camera.name, frame, labels, self.bundle.id)
        if self.stats.sees(camera.name):
            self.tap.offer(image, result, camera.name)
            self.swapper.offer(image, result.labels)

    def _refuse_frame(self, camera: Camera, frame: Captured) -> None:
        """Counted, and told once of each kind."""
        camera.ledger.drop("no_picture")
        kind = f"{frame.image.dtype}{frame.image.shape}"
        if kind not in self._odd:
            self._odd.add(kind)
            self.say({"event": "error", "message": f"frame {frame.frame_id} is no picture: {kind}"})

    def _obey(self) -> None:
        while not self.commands.empty():
            command = self.commands.get()
            if command["cmd"] == "complain":
                self.say({"event": "error", "message": command["message"]})
            elif command["cmd"] == "tell":
                self.say(command["message"])
            elif command["cmd"] == "purge":
                self.tap.purge(command["hours"], partial(self._purged, command))
            elif command["cmd"] == "configure":
                self._reconfigure(command.get("config"))
            elif command["cmd"] == "swap":
                name, folder = str(command.get("id")), Path(str(command.get("dir")))
                shadow = Shadow(self.shadow, self.words.names, self.stop)
                beside = shadow if command.get("shadow") else None
                refused = self.swapper.request(name, folder, command.get("vocabulary"), beside)
                if refused:
                    self._refuse(refused)

    def _reconfigure(self, raw: object) -> None:
        try:
            config = parse_config(raw)
        except ConfigError as error:
            self.say({"event": "error", "message": f"not a configuration: {error}"})
            return
        self.shadow = config.shadow
        self.stats.reconfigure(config.drift)

    def _swap_if_ready(self) -> None:
        """The swap itself: one reference changes between two frames, and the colours with it."""
        outcome = self.swapper.take()
        if outcome is not None and outcome.shadow is not None:
            self._tell_shadow(outcome.bundle.id if isinstance(outcome, Ready) else outcome.id,
                              outcome.shadow)  # fmt: skip
        if isinstance(outcome, Refused):
            self._refuse(outcome)
        elif isinstance(outcome, Ready):
            started = time.monotonic()
            self._report()
            before, self.bundle = self.bundle.id, outcome.bundle
            if outcome.words is not None:
                self.vocabulary = outcome.vocabulary or self.vocabulary
                self.words = self.outputs.words = outcome.words
                for sinks in self.sinks.values():
                    sinks.repaint(outcome.words)
            self._swap = {
                "event": "swapped", "id": self.bundle.id, "from": before,
                "vocabulary": self.vocabulary,
                "frame": self.cameras.totals()["served"], "load_ms": outcome.load_ms,
                "gap_ms": 1000 * (time.monotonic() - started),
            }  # fmt: skip

    def _after_swap(self, infer_ms: float) -> None:
        """Report a swap with its first frame: gap = taking up + how much slower that frame was."""
        if self._swap is not None:
            usual = float(np.median(self._infer_ms)) if self._infer_ms else infer_ms
            self._swap["gap_ms"] += max(0.0, infer_ms - usual)
            self.say(self._swap)
            self._swap = None
        self._infer_ms.append(infer_ms)

    def _tell_shadow(self, name: str, report: Report) -> None:
        self.say({"event": "shadow", "id": name, "beside": self.bundle.id, **report.to_dict()})

    def _refuse(self, refused: Refused) -> None:
        self.say({"event": "refused", "id": refused.id, "reason": refused.reason})

    def _purged(self, command: dict[str, Any], told: dict[str, Any]) -> None:
        """From another thread, so that only the serving one speaks."""
        message = {**command, **told, "event": "purged"}
        self.commands.put({"cmd": "tell", "message": message})

    def _report(self) -> None:
        self.say({
            "event": "stats", **self.cameras.totals(), **self.stats.take(),
            "active": self.bundle.id, "source": self.cameras.state, "cameras": self.cameras.story(),
            "buffer": self.tap.counts(), "outputs": self.outputs.counts(),
            "trouble": self.tap.trouble or self.outputs.trouble,
        })  # fmt: skip

    def _finish(self) -> None:
        ended = self.cameras.done and not self.stop.is_set()
        reason = self.cameras.state if ended else "stopped"
        self.stop.set()
        self.cameras.close(timeout=3.0)
        self.swapper.close()
        self.tap.close()
        self.outputs.close()
        for sinks in self.sinks.values():
            sinks.close()
        self._report()
        self.say({"event": "done", "ledger": self.cameras.totals(), "reason": reason})


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module."""
    parser = argparse.ArgumentParser(description="Serve one camera.")
    parser.add_argument("--config", type=Path, required=True, help="resolved configuration, JSON")
    parser.add_argument("--state", type=Path, required=True, help="state folder")
    parser.add_argument("--out", type=Path, help="where overlay film and label PNGs go")
    parser.add_argument("--duration", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--bundle", default="base", help="adapter to begin with")
    parser.add_argument("--vocabulary", help="words to begin with (default: the configuration's)")
    parser.add_argument("--standby", action="store_true", help="load, and wait to be told to go")
    options = parser.parse_args(arguments)
    die_with_parent()
    try:
        config = parse_config(json.loads(options.config.read_text()))
        runtime = Runtime(
            config, options.state, options.out, options.bundle, say, options.vocabulary
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: runtime.stop.set())
        patience = config.daemon.stop_timeout_s
        threading.Thread(target=listen, args=(runtime, patience), daemon=True).start()
        if options.standby and not runtime.stand_by():
            return 0
        wake_with_parent()  # films and recordings are closed in order
        runtime.run(time.monotonic() + options.duration)
    except (AcclimateError, OSError) as error:
        rotten = isinstance(error, BundleError)
        say({"event": "error", "message": str(error), "fatal": True, "bundle": rotten})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
