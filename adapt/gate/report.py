"""Numbers that inform a person and decide nothing: a collapsed model does best on most of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from acclimate.adapt.gate.contest import Contender, Contest
from acclimate.adapt.gate.duel import reference
from acclimate.adapt.gate.looks import AS_IT_IS, MIRRORED, NOWHERE, ZOOMED, Looks, look
from acclimate.adapt.signals.agreement import accuracy, tables
from acclimate.adapt.signals.drift import bare, dense_features, feature_drift, generic_words
from acclimate.adapt.signals.flow import consecutive, temporal_consistency
from acclimate.model.load import BaseModel
from acclimate.model.text import embed_strings
from acclimate.runtime.bundle import Bundle

Numbers = dict[str, float]
FEW = 2  # frames that the dearer ones look at


@dataclass
class Reporter:
    """Signals of a candidate beside the base; `sequences` number the held-out frames in the
    stream, `ours` are the strings that are served."""

    contest: Contest
    base: BaseModel
    ours: tuple[str, ...]
    sequences: Sequence[int] = ()

    def __call__(self, one: Contender) -> Numbers:
        """Every signal that there is something to measure on."""
        base, few = self.contest.base, self.contest.frames[:FEW]
        rows = [
            dense_features(self.base.network, who.bundle.inputs, few) for who in (base, one)
        ]  # fmt: skip
        found: dict[str, float | None] = {
            **consistencies(one.looks), "base_agreement": self._base_agreement(one),
            "temporal_consistency": self._temporal(one), "entropy": self._entropy(one.bundle),
            "feature_drift": feature_drift(rows[0], rows[1]),
            "generic_agreement": self._generic(base.bundle, one.bundle),
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}

    def _base_agreement(self, one: Contender) -> float:
        """With the base, under its own colours, where its changed views are sure."""
        contest = self.contest
        said = reference([contest.base.looks], contest.classes, contest.valid)
        both = tables(said.labels, one.looks.plain, contest.classes, said.confident)
        return accuracy(both.sum(0))

    def _temporal(self, one: Contender) -> float | None:
        frames, labels = self.contest.frames, one.looks.plain
        pairs = consecutive(self.sequences)
        each = [temporal_consistency(frames[i], frames[j], labels[i], labels[j]) for i, j in pairs]
        known = [value for value in each if value is not None]
        return float(np.mean(known)) if known else None

    def _entropy(self, bundle: Bundle) -> float:
        """Mean entropy of the first frames, as a share of the most there could be."""
        results = [self.contest.engine.infer(frame, bundle) for frame in self.contest.frames[:FEW]]
        return float(np.mean([result.confidence[2] for result in results]))

    @torch.no_grad()
    def _generic(self, base: Bundle, one: Bundle) -> float | None:
        """Pixels on which both agree about words nobody asked for, under the candidate's colours:
        what the image tower lost. The base's text tower embeds them for both."""
        words = generic_words(self.base, self.ours)
        least, most = self.contest.engine.info.strings
        words = words[:most]
        if len(words) < max(2, least):
            return None
        with bare(self.base.network):
            text = embed_strings(self.base.network, words, self.base.templates, self.base.known)
        strange = {
            "text": text.numpy(), "string_to_class": np.eye(len(words), dtype=np.float32),
            "colour": one.inputs["colour"],
        }  # fmt: skip
        frames, engine = self.contest.frames[:FEW], self.contest.engine
        said = [
            look(engine, replace(who, inputs=who.inputs | strange), frames, 1).plain
            for who in (base, one)
        ]
        return float((said[0] == said[1]).mean())


def consistencies(looks: Looks) -> Numbers:
    """Shares of the pixels that a view and the frame both show, and call the same."""
    plain, mirrored, zoomed = (looks.labels[view] for view in (AS_IT_IS, MIRRORED, ZOOMED))
    inside = zoomed != NOWHERE
    return {
        "flip_consistency": float((plain == mirrored).mean()),
        "scale_consistency": float((plain == zoomed)[inside].mean()),
    }
