"""One candidate before the gate: contest, bounds, what it forgets, what labels say.

Needs no daemon: a `Court` for a set of held-out frames and champions, then `court.judge(bundle)`
for as many candidates as there are; the champions are asked once.

Labels of dressed scenes and a duel decide together (`acclimate.adapt.gate.judges`). Where there are
none, or they lack a class, a candidate must not be far from what the best champion's own views say,
however much it gains.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from acclimate.adapt.gate.contest import SERVING, Contender, Contest
from acclimate.adapt.gate.judges import weigh
from acclimate.adapt.gate.memory import Lesson
from acclimate.adapt.signals.agreement import Tables, mean_iou_of, present, tables
from acclimate.adapt.signals.bootstrap import Gain, paired_gain
from acclimate.adapt.signals.floors import below_floor, most_lost
from acclimate.adapt.validate import Verdict, judge
from acclimate.runtime.bundle import Bundle
from acclimate.runtime.evaluate import mean_iou

Numbers = dict[str, float]
Report = Callable[[Contender], Numbers]
OF_VIEWS = frozenset({
    "pseudo_miou", "agreement", "histogram_js", "least_class_recall", "teacher_drop", "jump_js",
})  # fmt: skip


@dataclass
class Court:
    """A contest, and what else is asked of a candidate.

    `lessons` are of earlier conditions, `source` of the base's own world; `labelled` gives the
    confusion (T,T) of a bundle on the user's folder; `names` and `safety` are of the classes;
    `report` adds numbers that inform and never decide.
    """

    contest: Contest
    lessons: Sequence[Lesson] = ()
    source: Lesson | None = None
    labelled: Callable[[Bundle], Tables] | None = None
    names: Sequence[str] = ()
    safety: Collection[int] = ()
    report: Report | None = None
    seconds: float = 0.0  # that the champions took
    _known: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Contender:
        """The best that is free."""
        return self.contest.champions[self.contest.best]

    def judge(self, bundle: Bundle, seen: Contender | None = None) -> Verdict:
        """The verdict on a candidate, `seen` if it was asked before; one that is not finite is not
        even asked."""
        if not _finite(bundle):
            return Verdict(False, ("the adapter holds NaN or infinity",), {})
        started, one = time.monotonic(), seen or self.contest.ask(bundle)
        gain, fall = self.gains(one)
        bounds = self._bounds(one)
        numbers = {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
        numbers |= {"teacher_drop": -fall.mean} | bounds.numbers | self._drops(bundle)
        broken = [*bounds.reasons, *self._broken(numbers)]
        told, settings = self.contest.told(one, self.best), self.contest.settings
        over, lenient = self._named(self.contest.best), settings.contest == "not_worse"
        short, worth = weigh(gain, told, settings, over, lenient)
        if told is not None:
            numbers |= {"dressed_gain": told.mean, "dressed_low": told.low}
            if self.contest.labels_cover:
                broken = [reason for reason in broken if not _of_views(reason)]
        broken += self._behind(one, numbers)
        if self.labelled is not None:
            broken += self._floors(bundle, numbers)
        reasons = short + broken
        sound = not broken and min(worth.high, gain.high) >= -settings.margin
        numbers |= self.report(one) if self.report else {}
        numbers["judged_s"] = round(time.monotonic() - started, 2)
        card = self.card(self.contest.best, worth)
        return Verdict(not reasons, tuple(reasons), numbers, card, sound=sound)

    def free_winner(self) -> str | None:
        """The best that is free, if it should serve instead and the user's labels allow it."""
        name = self.contest.free_winner()
        if name is None or self.labelled is None:
            return name
        return None if self._floors(self.best.bundle, {}) else name

    def suited(self, bundle: Bundle) -> Contender | None:
        """The candidate in its own colours, or in those of the best champion if it does better in
        them; None if it is not finite."""
        best = self.best.bundle.inputs["colour"]
        if not _finite(bundle):
            return None
        own = self.contest.ask(bundle)
        if np.array_equal(best, bundle.inputs["colour"]):
            return own
        moved = self.contest.ask(bundle.in_colours(best))
        return moved if self.contest.gain(moved, own).mean > 0 else own

    def gains(self, one: Contender) -> tuple[Gain, Gain]:
        """Over the best champion: in a duel, and in the eyes of that champion's own views."""
        contest = self.contest
        best, confidence = self.best, contest.settings.confidence
        teacher = contest.against_best.labels
        seen = [tables(teacher, who.looks.plain, contest.classes) for who in (one, best)]
        return contest.duel(one, best), paired_gain(seen[0], seen[1], confidence)

    def card(self, over: str, gain: Gain) -> dict[str, Any]:
        """What a bundle's manifest says it earned, and over what."""
        confidence = self.contest.settings.confidence
        return {"over": self._named(over), **gain.to_dict(), "confidence": confidence}

    def _named(self, champion: str) -> str:
        """As people know it."""
        return self.contest.champions[SERVING].bundle.id if champion == SERVING else champion

    def instead(self, name: str) -> Verdict:
        """That a free alternative should serve, with its card: what it earned over what does."""
        gain = self.contest.over_serving
        numbers = {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
        numbers["champions_s"] = round(self.seconds, 2)
        why = (f"{name} is better than what serves, and free",)
        return Verdict(False, why, numbers, self.card(SERVING, gain), instead=name)

    def _bounds(self, one: Contender) -> Verdict:
        contest = self.contest
        served, before, after = (
            who.looks.plain for who in (contest.champions[SERVING], self.best, one)
        )
        return judge(
            served, before, after, contest.against_best, contest.settings, contest.classes,
            contest.valid,
        )  # fmt: skip

    def _behind(self, one: Contender, numbers: Numbers) -> list[str]:
        """What serves may be better than the best that is free, though not surely."""
        serving = self.contest.champions[SERVING]
        if serving is self.best:
            return []
        gain = self.contest.gain(one, serving)
        numbers["over_serving"] = gain.mean
        fine = gain.mean >= 0 or self.contest.settings.contest == "not_worse"
        return [] if fine else [f"against {serving.bundle.id} {gain}, must not be below 0"]

    def _broken(self, numbers: Numbers) -> list[str]:
        settings = self.contest.settings
        bounds = {
            "teacher_drop": settings.max_teacher_drop, "memory_drop": settings.max_memory_drop,
            "source_drop": settings.max_source_drop,
        }  # fmt: skip
        return [
            f"{name} {numbers[name]:.2f} must be <= {most:g}"
            for name, most in bounds.items()
            if name in numbers and not numbers[name] <= most
        ]

    def _drops(self, bundle: Bundle) -> Numbers:
        """Points of mIoU lost on what must not be forgotten: on the source against the base, so
        that small steps do not add up; on earlier conditions, which nobody labelled, against what
        serves: what was learned there comes back when they do."""
        contest, drops = self.contest, {}
        asked = {
            "memory_drop": (self.lessons, contest.champions[SERVING]),
            "source_drop": ([self.source] if self.source else [], contest.base),
        }
        for name, (lessons, before) in asked.items():
            if lessons:
                if name not in self._known:
                    self._known[name] = points(lessons, before.bundle, contest)
                drops[name] = self._known[name] - points(lessons, bundle, contest)
        return drops

    def _floors(self, bundle: Bundle, numbers: Numbers) -> list[str]:
        """Labels of the user's: the mean, and each class that safety hangs on, against what serves
        and against the base, so that small steps do not add up."""
        assert self.labelled is not None
        contest, settings = self.contest, self.contest.settings
        if "labelled" not in self._known:
            both = (contest.champions[SERVING].bundle, contest.base.bundle)
            holders = {one.id: one for one in both}.values()
            self._known["labelled"] = [self.labelled(one) for one in holders]
        before, after = self._known["labelled"], self.labelled(bundle)
        held = [mean_iou(one) for one in before]
        drop = float(np.max(held)) - mean_iou(after)
        losses = most_lost(before, after)
        numbers["labelled_miou_before"], numbers["labelled_miou_after"] = held[0], mean_iou(after)
        numbers["labelled_drop"] = drop
        numbers |= {f"labelled_loss_{self.names[i]}": lost for i, lost in losses.items()}
        most = settings.max_labelled_drop
        fall = [] if drop <= most else [f"labelled_drop {drop:.2f} must be <= {most:g}"]
        return fall + below_floor(losses, self.safety, self.names, settings.max_safety_drop)


def _finite(bundle: Bundle) -> bool:
    return all(bool(np.isfinite(value).all()) for value in bundle.inputs.values())


def _of_views(reason: str) -> bool:
    """Does it ask for sameness with what the best champion says, right or wrong?"""
    return reason.split()[0] in OF_VIEWS


def points(lessons: Sequence[Lesson], bundle: Bundle, contest: Contest) -> float:
    """Mean IoU of a bundle on lessons, 0..100."""
    table = np.concatenate([one.tables(contest.engine, bundle) for one in lessons]).sum(0)
    return 100 * float(mean_iou_of(table, present(table)))
