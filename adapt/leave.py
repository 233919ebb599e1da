"""What a round leaves behind: bundles, each whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peft import PeftModel

from acclimate.adapt.gate.champions import Champion
from acclimate.adapt.gate.looks import look
from acclimate.adapt.gate.memory import kept
from acclimate.adapt.gate.trial import Court
from acclimate.adapt.lora import save_adapter
from acclimate.adapt.round import Round
from acclimate.adapt.signals.agreement import shares
from acclimate.adapt.train import Trained
from acclimate.adapt.validate import Verdict
from acclimate.runtime.buffer import Entry
from acclimate.runtime.bundle import ADAPTER, Bundle, write_bundle
from acclimate.runtime.durable import fresh_folder

Sample = tuple[Entry, NDArray[np.uint8]]
PROBES = 4


@dataclass(frozen=True)
class Leaver:
    """Writes bundles of `task`, judged in `court`, for the condition of the frames `training`."""

    task: Round
    court: Court
    training: list[Sample]

    def learned(
        self, where: Path, candidate: Bundle, model: PeftModel, trained: Trained, verdict: Verdict
    ) -> None:
        """What was learned: to serve, or for the next round to start from."""
        folder = fresh_folder(where.with_name(where.name + ".adapter"))
        save_adapter(model, folder)
        frames = [entry.path.stem for entry, _ in self.training]
        told = {"training": trained.to_dict() | {"frames": frames}}
        self._write(where, candidate, candidate.manifest | told, verdict, folder)
        shutil.rmtree(folder)

    def free(self, winner: Champion, name: str, verdict: Verdict) -> None:
        """The best of what was there, for this condition: nothing was learned for it."""
        made, bundle = winner.bundle.manifest, winner.bundle
        probes = self.court.contest.frames[:PROBES]
        labels = self.court.contest.champions[name].looks.plain[:PROBES]
        manifest = {
            "id": self.task.id, "parent": made["id"], "sequence": self.task.sequence,
            "kind": "normalisation", "base_digest": made["base_digest"],
            "vocabulary_digest": made["vocabulary_digest"], "is": name,
            "training": made.get("training", {}),
        }  # fmt: skip
        chosen = replace(
            bundle, id=self.task.id, probe_frames=np.stack(probes), probe_labels=labels
        )  # fmt: skip
        adapter = winner.folder / ADAPTER
        folder = adapter if adapter.is_dir() else None
        self._write(self.task.out_dir, chosen, manifest, verdict, folder)

    def _write(
        self, where: Path, bundle: Bundle, manifest: dict[str, Any], verdict: Verdict,
        adapter: Path | None,
    ) -> None:  # fmt: skip
        contest = self.court.contest
        said = look(contest.engine, bundle, contest.frames, 1).plain  # the bonnet, too, as served
        whole = manifest | {
            "created": time.time(), "verdict": verdict.to_dict(), "card": verdict.card,
            "condition": condition([entry.embedding for entry, _ in self.training]),
            "shares": shares(said, bundle.classes).tolist(),
            "buffer": seen([entry.path.stem for entry, _ in self.training]),
        }  # fmt: skip
        memory = kept(contest.frames, contest.against_best.labels, self.task.config.gate)
        write_bundle(
            where, whole, bundle.inputs, bundle.probe_frames, bundle.probe_labels, adapter, memory
        )


def seen(names: list[str]) -> dict[str, Any]:
    """Which buffered frames a round learned from: how many, and one digest over their names, which
    carry a digest of each frame."""
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
    return {"frames": len(names), "digest": digest}


def condition(embeddings: list[NDArray[np.float32]]) -> dict[str, Any]:
    """Where and how widely a set of frames lies: {"mean": (D,), "spread": mean distance}."""
    stacked = np.stack(embeddings)
    mean = stacked.mean(0)
    spread = float(np.linalg.norm(stacked - mean, axis=1).mean())
    return {"mean": mean.tolist(), "spread": spread}
