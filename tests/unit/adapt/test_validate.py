"""The gate's verdict on label maps: what passes, what is refused and why."""

from __future__ import annotations

import json

import numpy as np
import pytest

from acclimate.adapt.validate import Labels, Reference, Verdict, judge
from acclimate.configs.gate import GateConfig

GATE = GateConfig(
    min_pseudo_miou=0.45, min_agreement=0.85, max_histogram_js=0.05, min_class_recall=0.1,
)  # fmt: skip


@pytest.fixture
def halves() -> Labels:
    """Two frames of 40x40: class 0 above, class 1 below."""
    labels = np.zeros((2, 40, 40), np.uint8)
    labels[:, 20:] = 1
    return labels


def verdict(
    before: Labels,
    after: Labels,
    confident: np.ndarray | None = None,
) -> Verdict:
    sure = np.ones(before.shape, bool) if confident is None else confident
    return judge(before, before, after, Reference(before, sure), GATE, 3, np.ones_like(sure))


def test_a_jump_that_colours_alone_make_is_refused(halves: Labels) -> None:
    """What was learned is nothing; what would change on the road is everything."""
    served = np.full_like(halves, 2)
    sure = np.ones(halves.shape, bool)
    found = judge(served, halves, halves.copy(), Reference(halves, sure), GATE, 3, sure)
    assert [reason.split()[0] for reason in found.reasons] == ["jump_js"]
    assert found.numbers["histogram_js"] == 0


def test_under_the_hood_nothing_counts(halves: Labels) -> None:
    road = halves == 1
    other = np.where(road, halves, np.uint8(2))
    known = Reference(np.where(road, halves, np.uint8(255)), road)
    found = judge(halves, halves, other, known, GATE, 3, road)
    assert found.accepted
    assert found.numbers["changed_pixels"] == found.numbers["jump_js"] == 0


def test_an_equal_candidate_is_accepted(halves: Labels) -> None:
    same = verdict(halves, halves.copy())
    assert same.accepted and same.reasons == ()
    assert same.numbers == pytest.approx(
        {
            "pseudo_miou": 1.0, "agreement": 1.0, "histogram_js": 0.0, "jump_js": 0.0,
            "least_class_recall": 1.0, "changed_pixels": 0.0, "frames": 2.0,
        }
    )  # fmt: skip
    assert json.loads(json.dumps(same.to_dict()))["accepted"] is True


def test_a_collapsed_candidate_is_refused_for_every_reason(halves: Labels) -> None:
    collapsed = verdict(halves, np.zeros_like(halves))
    assert not collapsed.accepted
    named = [reason.split()[0] for reason in collapsed.reasons]
    assert named == [
        "pseudo_miou", "agreement", "histogram_js", "jump_js", "least_class_recall",
    ]  # fmt: skip
    assert collapsed.numbers["pseudo_miou"] == pytest.approx(0.25)
    assert collapsed.numbers["agreement"] == pytest.approx(0.5)
    assert collapsed.numbers["histogram_js"] == pytest.approx(0.3112781, abs=1e-6)
    assert collapsed.numbers["changed_pixels"] == pytest.approx(0.5)


def test_only_confident_pixels_must_agree(halves: Labels) -> None:
    after, unsure = halves.copy(), np.ones(halves.shape, bool)
    after[:, :4], after[:, 36:], unsure[:, :4], unsure[:, 36:] = 1, 0, False, False
    assert verdict(halves, after, confident=unsure).accepted
    refused = verdict(halves, after)
    assert refused.reasons == ("agreement 0.800 must be >= 0.85",)


def test_nothing_confident_is_no_agreement(halves: Labels) -> None:
    unsure = verdict(halves, halves, confident=np.zeros(halves.shape, bool))
    assert not unsure.accepted
    assert unsure.numbers["agreement"] == unsure.numbers["least_class_recall"] == 0.0


@pytest.mark.parametrize(("pixels", "accepted"), [(6, True), (7, False)])
def test_losing_a_class_counts_from_two_pixels_in_a_thousand(pixels: int, accepted: bool) -> None:
    before = np.zeros((2, 40, 40), np.uint8)
    before.reshape(-1)[:pixels] = 2
    lost = verdict(before, np.zeros_like(before))
    assert lost.accepted is accepted
    assert accepted or lost.reasons == ("least_class_recall 0.000 must be >= 0.1",)
