"""Labelled scenes of the source beside frames without labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from acclimate.adapt.anchor import distance_to_base
from acclimate.adapt.batch import Batch, Frames, to_images
from acclimate.adapt.compute import compute_for
from acclimate.adapt.learner import Learner
from acclimate.adapt.replay import Replay, looks
from acclimate.adapt.source import Scenes
from acclimate.adapt.strategies import Setup
from acclimate.adapt.train import train_round
from acclimate.adapt.vocalign import IGNORE
from acclimate.model.colour import Daylight, colour_of, recolour_frame

Make = Callable[..., Setup]
DAY = Daylight(*np.float32([[[120] * 3, [130] * 3], [[60] * 3, [70] * 3]]))


@pytest.fixture
def scenes(frames: Frames) -> Scenes:
    """What is bright is sky, what is dark road."""
    stacked = np.stack(frames)
    return Scenes(stacked, np.where(stacked[..., 0] > 127, 3, 0).astype(np.uint8))


def learner(setup: Setup, scenes: Scenes | None) -> Learner:
    return Learner(
        compute_for(setup.settings), setup.model, setup.words, setup.settings, 3, scenes=scenes
    )


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_true_labels_are_learned(make: Make, scenes: Scenes, variant: str) -> None:
    setup = make(variant, strategy="frozen", lr=0.03, schedule="constant", replay=1, mask_ratio=0.0)
    one = learner(setup, scenes)
    assert one.replay is not None
    losses = []
    replay, step = one.replay, one.replay.step

    def noted(batch: Batch) -> Any:
        losses.append(step(batch))
        return losses[-1]

    replay.step = noted  # type: ignore[method-assign]
    for _ in range(24):
        one.step(Batch(to_images(list(scenes.frames[:1])), torch.ones(1, 64, 64, dtype=torch.bool)))
    told = [done.loss for done in losses]
    assert np.mean(told[-6:]) < np.mean(told[:6]) - 0.02
    assert all(int(done.said.sum()) > 0 for done in losses)
    assert distance_to_base(setup.model).item() > 0


@pytest.mark.parametrize(
    ("batch", "replay", "stream", "replayed"), [(2, 1, 1, 1), (4, 1, 3, 1), (2, 5, 1, 1),
     (1, 1, 1, 0), (3, 0, 3, 0)],
)  # fmt: skip
def test_scenes_take_places_of_a_batch_but_never_all(
    make: Make, scenes: Scenes, batch: int, replay: int, stream: int, replayed: int
) -> None:
    one = learner(make(batch=batch, replay=replay), scenes)
    assert one.settings.batch == one.setup.settings.batch == stream
    assert (one.replay.count if one.replay else 0) == replayed
    assert learner(make(batch=batch, replay=replay), None).settings.batch == batch


def test_a_scene_weighs_as_much_as_a_frame(make: Make, scenes: Scenes) -> None:
    weights = {}
    for batch, replay in ((2, 1), (4, 1), (4, 3)):
        replayed = learner(make(batch=batch, replay=replay), scenes).replay
        assert replayed is not None
        labels = torch.zeros(replay, 8, 8, dtype=torch.long)
        weights[batch, replay] = replayed.taught(labels).weights.max().item()
    assert weights == pytest.approx({(2, 1): 1, (4, 1): 1 / 3, (4, 3): 3})


def test_what_is_unknown_teaches_nothing(make: Make, scenes: Scenes) -> None:
    setup = make(strategy="frozen")
    blank = Scenes(scenes.frames, np.full_like(scenes.labels, IGNORE))
    done = Replay(setup, blank, 2).step(Batch(torch.empty(0, 3, 1, 1), torch.empty(0, 1, 1)))
    assert done.loss == 0
    grads = [p.grad for p in setup.model.parameters() if p.grad is not None]
    assert grads
    assert all(not grad.any() for grad in grads)


def test_scenes_are_cropped_as_frames_are(
    make: Make, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Batch, torch.Tensor]] = []

    def learn(setup: Setup, batch: Batch, taught: Any) -> None:
        seen.append((batch, taught.labels))

    monkeypatch.setattr("acclimate.adapt.replay.learn", learn)
    Replay(make(crop=24, crop_scale=(1.0, 1.0)), scenes, 3).step(
        Batch(torch.empty(0, 3, 1, 1), torch.empty(0, 1, 1))
    )
    ((batch, labels),) = seen
    assert (batch.images.shape, labels.shape) == ((3, 3, 24, 24), (3, 24, 24))
    assert torch.equal(labels == 3, batch.images[:, 0] > 127)


def test_a_round_replays(make: Make, frames: Frames, scenes: Scenes) -> None:
    """The same draws and frames: what scenes say makes a difference, and a round repeats itself."""
    other = Scenes(scenes.frames, 3 - scenes.labels)

    def played(source: Scenes | None, **keys: Any) -> float:
        setup = make(steps=3, lr=0.01, batch=2, **keys)
        train_round(
            setup.model, setup.words, frames, setup.settings, 7, lambda *_: None, scenes=source
        )
        return distance_to_base(setup.model).item()

    assert played(scenes) == played(scenes) != played(other)
    assert played(scenes, replay=0) == played(None)


def test_scenes_come_in_the_stream_s_light_and_by_turns_in_its_colours(scenes: Scenes) -> None:
    stream = [frame // 4 for frame in scenes.frames]
    shown, worn = looks(stream, scenes, None)
    assert worn is not None
    assert shown is stream
    assert worn.frames.max() <= 64
    assert worn.labels is scenes.labels
    colour = colour_of(DAY, "lifted")
    both, moved = looks(stream, scenes, colour)
    assert moved is not None
    assert np.array_equal(moved.frames[::2], worn.frames[::2])
    assert np.array_equal(moved.frames[1], recolour_frame(worn.frames[1], colour))
    assert np.array_equal(both[1], recolour_frame(stream[1], colour))
    assert looks(stream, None, colour)[1] is None
