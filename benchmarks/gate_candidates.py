"""Candidates for the gate to judge: from good rounds to every sabotage one can think of.

Each is a bundle as a round would leave it. What a candidate does is not known from its kind: a
round may harm and a sabotage may not, so `benchmarks.gate_cell` measures every one with labels.
Helpful ones are rare where frames have no labels, so some are taught with labels, on other drives
under the same shift; the gate does not know, and the rows say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor

from acclimate.adapt.batch import Frames
from acclimate.adapt.lora import lora_tensors
from acclimate.adapt.source import Scenes
from acclimate.adapt.train import train_round
from acclimate.adapt.words import Words
from acclimate.configs.adapt import AdaptConfig
from acclimate.errors import Diverged
from acclimate.runtime.bundle import Bundle
from benchmarks.labelled import learn_labels

Tensors = dict[str, Tensor]
Candidate = tuple[str, str, Bundle]
Name = TypeVar("Name")
HURRY = 4.0  # sabotages take few steps, at this multiple of the usual rate


@dataclass(frozen=True)
class Plan:
    """How long the trainings of a cell are, and how many of each rotation it takes."""

    marks: tuple[int, ...] = (10, 20, 40)
    taught_steps: int = 40
    taught_parts: tuple[float, ...] = (0.3, 0.6, 1.0)
    sabotage_steps: int = 12
    sabotages: int = 2
    extras: int = 4


QUICK = Plan((4, 8), 10, (0.5, 1.0), 5, 1, 4)


@dataclass
class Workshop:
    """Makes bundles of a model that holds the accepted adapter; `build` puts what the model is now
    into a bundle. `frames` are the stream's and `other` those of another condition, all in the
    candidate's colours; `taught` have labels, and `scenes` of the source are replayed in rounds."""

    model: PeftModel
    words: Words
    settings: AdaptConfig
    frames: Frames
    other: Frames
    taught: Scenes
    build: Callable[[], Bundle]
    seed: int
    scenes: Scenes | None = None

    def __post_init__(self) -> None:
        self.start = snapshot(self.model)
        self.rng = np.random.default_rng(self.seed)
        self.generator = torch.Generator().manual_seed(self.seed)

    def bundle(self, tensors: Tensors) -> Bundle:
        """With these tensors in the adapter."""
        restore(self.model, tensors)
        return self.build()

    def moved(self, end: Tensors, part: float) -> Tensors:
        """From the accepted adapter `part` of the way to `end`, or beyond."""
        return {n: self.start[n] + part * (end[n] - self.start[n]) for n in end}

    def perturbed(self, end: Tensors, strength: float) -> Tensors:
        """`end` with noise of `strength` times the root mean square of its own move."""
        moves = torch.cat([(end[n] - self.start[n]).flatten() for n in end])
        size = strength * moves.square().mean().sqrt()
        return {
            n: v + size * torch.randn(v.shape, generator=self.generator) for n, v in end.items()
        }

    def learn(
        self, frames: Frames, marks: Sequence[int], scenes: Scenes | None = None, **keys: Any
    ) -> list[Tensors]:
        """A round from the accepted adapter with some settings changed: the adapter at each of
        `marks`. A diverged one is what it was when it did."""
        restore(self.model, self.start)
        settings = replace(self.settings, steps=max(marks), deadline_s=1e6, **keys)
        found = {}

        def progress(step: int, loss: float) -> None:
            if step in marks:
                found[step] = snapshot(self.model)

        with suppress(Diverged):
            train_round(
                self.model, self.words, frames, settings, self.seed, progress, scenes=scenes
            )
        last = snapshot(self.model)
        return [found.get(step, last) for step in marks]

    def learn_with_labels(self, steps: int) -> Tensors:
        """From the accepted adapter, towards the truth of the frames that have labels."""
        restore(self.model, self.start)
        settings = replace(unwatched(self.settings), steps=steps)
        learn_labels(self.model, self.words, settings, self.taught, self.seed)
        return snapshot(self.model)


def candidates(shop: Workshop, plan: Plan, number: int) -> Iterator[Candidate]:
    """(kind, name, bundle) of a cell; its `number` turns the rotations."""
    rounds = shop.learn(shop.frames, plan.marks, shop.scenes)
    for step, tensors in zip(plan.marks, rounds, strict=True):
        yield "round", f"{step} steps", shop.bundle(tensors)
    taught = shop.learn_with_labels(plan.taught_steps)
    for part in plan.taught_parts:
        yield "taught with labels", f"{part:g} of the way", shop.bundle(shop.moved(taught, part))
    for name in turn(list(SABOTAGES), plan.sabotages, number):
        yield "sabotaged", name, shop.bundle(SABOTAGES[name](shop, plan.sabotage_steps))
    for kind, name in turn(list(EXTRAS), plan.extras, number):
        yield kind, name, EXTRAS[kind, name](shop, rounds[-1], taught)


def turn(names: Sequence[Name], count: int, number: int) -> list[Name]:
    """`count` of a list, going on where cell `number - 1` stopped."""
    return [names[(number * count + i) % len(names)] for i in range(count)]


def snapshot(model: PeftModel) -> Tensors:
    """A copy of the adapter."""
    return {name: value.detach().clone() for name, value in lora_tensors(model).items()}


@torch.no_grad()
def restore(model: PeftModel, tensors: Tensors) -> None:
    """Put a snapshot back."""
    for name, value in lora_tensors(model).items():
        value.copy_(tensors[name])


def unwatched(settings: AdaptConfig) -> AdaptConfig:
    """Without the monitor that ends a collapsing round: what if it failed?"""
    return replace(settings, max_class_share=1.0, min_entropy=0.0)


# --- sabotaged in training: what a fault in front of the gate would make


def _fooled(shop: Workshop, steps: int, frames: Frames, rate: float = HURRY) -> Tensors:
    lr = rate * shop.settings.lr
    return shop.learn(frames, [steps], lr=lr, max_class_share=1.0, min_entropy=0.0)[0]


def collapsed(shop: Workshop, steps: int) -> Tensors:
    """Entropy minimised at ten times the rate, until little is left but one class."""
    return shop.learn(
        shop.frames, [steps], strategy="entropy", lr=10 * shop.settings.lr, max_class_share=1.0,
        min_entropy=0.0,
    )[0]  # fmt: skip


def over_trained(shop: Workshop, steps: int) -> Tensors:
    """The usual round at 20 times its rate, unwatched."""
    return _fooled(shop, steps, shop.frames, 20.0)


def on_noise(shop: Workshop, steps: int) -> Tensors:
    """Every pixel drawn."""
    shape = (8, *shop.frames[0].shape)
    return _fooled(shop, steps, list(shop.rng.integers(0, 256, shape, np.uint8)))


def on_one_image(shop: Workshop, steps: int) -> Tensors:
    """A camera that hangs."""
    return _fooled(shop, steps, [shop.frames[0]])


def blinded(shop: Workshop, steps: int) -> Tensors:
    """A covered lens: black but for the sensor's noise."""
    shape = (8, *shop.frames[0].shape)
    dark = np.abs(shop.rng.normal(0, 3, shape)).astype(np.uint8)
    return _fooled(shop, steps, list(dark))


def hooded(shop: Workshop, steps: int) -> Tensors:
    """The lower 60 % of every frame covered."""
    return _fooled(shop, steps, [covered(frame) for frame in shop.frames])


def covered(frame: NDArray[np.uint8], share: float = 0.6) -> NDArray[np.uint8]:
    """The frame with its lower part black."""
    dark = frame.copy()
    dark[round(len(frame) * (1 - share)) :] = 0
    return dark


def poisoned(shop: Workshop, steps: int) -> Tensors:
    """A buffer of pictures of nothing: blocks of colours, two of three frames."""
    height, width = shop.frames[0].shape[:2]
    blocks = shop.rng.integers(0, 256, (16, height // 16, width // 16, 3), np.uint8)
    return _fooled(shop, steps, [*shop.frames[:8], *blocks.repeat(16, 1).repeat(16, 2)])


def of_another_condition(shop: Workshop, steps: int) -> Tensors:
    """A buffer that holds another condition's frames."""
    return _fooled(shop, steps, shop.other)


SABOTAGES: dict[str, Callable[[Workshop, int], Tensors]] = {
    "collapsed": collapsed, "over-trained": over_trained, "noise": on_noise,
    "one frozen image": on_one_image, "blinded camera": blinded, "hooded camera": hooded,
    "poisoned buffer": poisoned, "another condition": of_another_condition,
}  # fmt: skip


# --- made without training: from the round's adapter and from the taught one

Extra = Callable[[Workshop, Tensors, Tensors], Bundle]


def with_colour(bundle: Bundle, part: float) -> Bundle:
    """In colours moved `part` of its own: 0 = the stream's own, below 0 = the wrong way."""
    colour = bundle.inputs["colour"].copy()
    colour[4:] *= part
    return bundle.in_colours(colour)


def renamed(bundle: Bundle, order: Sequence[int]) -> Bundle:
    """Class i bears the name of class order[i]."""
    owner = np.ascontiguousarray(bundle.inputs["string_to_class"][:, list(order)])
    return replace(bundle, inputs=bundle.inputs | {"string_to_class": owner})


def two_swapped(shop: Workshop, end: Tensors) -> Bundle:
    """Two classes, drawn, under each other's names."""
    bundle = shop.bundle(end)
    order = list(range(bundle.classes))
    i, j = shop.rng.choice(bundle.classes, 2, replace=False)
    order[i], order[j] = order[j], order[i]
    return renamed(bundle, order)


def all_shifted(shop: Workshop, end: Tensors) -> Bundle:
    """Every class under its neighbour's name."""
    bundle = shop.bundle(end)
    return renamed(bundle, np.roll(np.arange(bundle.classes), 1).tolist())


def not_a_number(shop: Workshop, end: Tensors) -> Bundle:
    """One NaN in one tensor."""
    broken = {name: value.clone() for name, value in end.items()}
    next(iter(broken.values())).view(-1)[0] = torch.nan
    return shop.bundle(broken)


EXTRAS: dict[tuple[str, str], Extra] = {
    ("extrapolated", "round x2"): lambda s, r, t: s.bundle(s.moved(r, 2.0)),
    ("extrapolated", "round x4"): lambda s, r, t: s.bundle(s.moved(r, 4.0)),
    ("extrapolated", "round x8"): lambda s, r, t: s.bundle(s.moved(r, 8.0)),
    ("extrapolated", "taught x2"): lambda s, r, t: s.bundle(s.moved(t, 2.0)),
    ("perturbed", "round + 0.5 noise"): lambda s, r, t: s.bundle(s.perturbed(r, 0.5)),
    ("perturbed", "round + 2 noise"): lambda s, r, t: s.bundle(s.perturbed(r, 2.0)),
    ("perturbed", "round + 8 noise"): lambda s, r, t: s.bundle(s.perturbed(r, 8.0)),
    ("perturbed", "taught + 1 noise"): lambda s, r, t: s.bundle(s.perturbed(t, 1.0)),
    ("class names", "two swapped"): lambda s, r, t: two_swapped(s, r),
    ("class names", "all shifted"): lambda s, r, t: all_shifted(s, t),
    ("broken", "NaN"): lambda s, r, t: not_a_number(s, r),
    ("broken", "huge norm"): lambda s, r, t: s.bundle(s.moved(r, 1000.0)),
    ("colours", "the stream's own"): lambda s, r, t: with_colour(s.bundle(s.start), 0.0),
    ("colours", "half of the best"): lambda s, r, t: with_colour(s.bundle(s.start), 0.5),
    ("colours", "the wrong way"): lambda s, r, t: with_colour(s.bundle(s.start), -0.5),
}
