"""Another bundle while frames go on: load and check it aside, take it up between two frames."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acclimate.configs.vocabulary import Vocabulary, load_served
from acclimate.errors import AcclimateError, SwapRefused
from acclimate.runtime.bundle import Bundle, load_bundle
from acclimate.runtime.engine import Engine, Frame
from acclimate.runtime.shadow import Labels, Report, Shadow

# Share of the probe pixels. A bundle's maker may have looked at them in fp32 on the processor (the
# base, other words), so that each precision needs the room that its parity check leaves it.
PROBE_AGREEMENT = {"fp32": 0.999, "fp16": 0.98, "bf16": 0.98, "int8": 0.98}
NICE = 10


@dataclass(frozen=True)
class Ready:
    """A bundle that passed its probe check, `load_ms` after it was asked for; `words` and the file
    they were read from if it came with them; `shadow` how it did beside what serves."""

    bundle: Bundle
    load_ms: float
    words: Vocabulary | None = None
    vocabulary: str | None = None
    shadow: Report | None = None


@dataclass(frozen=True)
class Refused:
    """A bundle that may not serve, and why."""

    id: str
    reason: str
    shadow: Report | None = None


class Swapper:
    """Checks bundles on the engine's twin, so that the serving one is never asked to wait."""

    def __init__(self, engine: Engine, vocabulary: str | None = None) -> None:
        """`vocabulary` is the digest that a bundle must have been made for; a swap that brings
        words of its own changes it."""
        self._engine, self._vocabulary = engine, vocabulary
        self._twin: Engine | None = None
        self._thread: threading.Thread | None = None
        self._outcome: Ready | Refused | None = None
        self._shadow: Shadow | None = None

    def request(
        self, name: str, folder: Path, vocabulary: str | None = None, shadow: Shadow | None = None
    ) -> Refused | None:
        """Start checking the bundle in `folder`, with the words of the file `vocabulary` if given,
        and on live frames if a `shadow` is; refused while another one is being checked."""
        if self._thread is not None:
            return Refused(name, "another swap is under way; ask again when it is done")
        self._outcome = Refused(name, "its check ended unexpectedly; see the runtime's log")
        self._thread = threading.Thread(
            target=self._check, args=(name, folder, vocabulary, shadow), daemon=True
        )
        self._thread.start()
        return None

    def offer(self, frame: Frame, labels: Labels) -> None:
        """A frame (H,W,3) that was served and its labels (H,W), for an open window; never waits."""
        if (shadow := self._shadow) is not None:
            shadow.offer(frame, labels)

    def close(self, timeout: float = 3.0) -> None:
        """Wait for a window that has been told to stop."""
        if self._thread is not None and self._shadow is not None:
            self._thread.join(timeout)

    def take(self) -> Ready | Refused | None:
        """The outcome of the last request, once; None while there is none."""
        if self._thread is None or self._thread.is_alive():
            return None
        outcome, self._outcome, self._thread = self._outcome, None, None
        if isinstance(outcome, Ready) and outcome.words is not None:
            self._vocabulary = outcome.words.digest
        return outcome

    def _check(
        self, name: str, folder: Path, vocabulary: str | None, shadow: Shadow | None
    ) -> None:
        started = time.monotonic()
        # Linux counts niceness by thread: where the processor is full, the serving thread goes on.
        # Not the most polite there is: at times this thread holds what that one waits for.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            words = None if vocabulary is None else load_served(vocabulary)
            digest = self._vocabulary if words is None else words.digest
            if self._twin is None:
                self._twin = self._engine.twin()
            bundle = load_bundle(folder, self._engine.info, digest)
            if bundle.id != name:
                raise SwapRefused(f"{folder} holds the bundle {bundle.id}, not {name}")
            probe_check(self._twin, bundle)
            load_ms = 1000 * (time.monotonic() - started)
            report = None if shadow is None else self._beside(shadow, bundle)
            if report is not None and report.reasons:
                self._outcome = Refused(name, "; ".join(report.reasons), report)
                return
            self._engine.stage(bundle)
            self._outcome = Ready(bundle, load_ms, words, vocabulary, report)
        except (AcclimateError, OSError, ValueError, RuntimeError) as error:
            self._outcome = Refused(name, str(error))

    def _beside(self, shadow: Shadow, bundle: Bundle) -> Report:
        assert self._twin is not None
        self._shadow = shadow
        try:
            return shadow.watch(self._twin, bundle)
        finally:
            self._shadow = None


def probe_check(engine: Engine, bundle: Bundle) -> None:
    """Does the engine see on the probe frames what the bundle's maker saw? Else SwapRefused."""
    if not len(bundle.probe_frames):
        raise SwapRefused(f"bundle {bundle.id} has no probe frames")
    labels = np.stack([engine.infer(frame, bundle).labels for frame in bundle.probe_frames])
    if labels.shape != bundle.probe_labels.shape:
        raise SwapRefused(f"bundle {bundle.id}: probe labels are {bundle.probe_labels.shape}")
    agreement = float((labels == bundle.probe_labels).mean())
    if agreement < (needed := PROBE_AGREEMENT[engine.precision]):
        raise SwapRefused(
            f"bundle {bundle.id}: labels agree on {agreement:.2%} of the probe pixels, "
            f"{needed:.1%} are needed; it was not made for this engine"
        )
