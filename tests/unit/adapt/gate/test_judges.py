"""Two judges: one has to be sure, the other may not speak against it."""

from __future__ import annotations

import pytest

from acclimate.adapt.gate.judges import weigh
from acclimate.adapt.signals.bootstrap import Gain
from acclimate.configs.gate import GateConfig

GATE = GateConfig(
    margin=0.5, margin_learned=1.5, margin_dressed=0.05, max_duel_loss=1.0, max_dressed_loss=1.0
)
SURE, UNSURE = Gain(4.0, 2.0, 6.0), Gain(0.4, -0.6, 1.4)
LITTLE = Gain(0.3, 0.1, 0.5)  # enough for labels, not for a duel
LOSS = Gain(-1.1, -2.0, -0.2)


@pytest.mark.parametrize(
    ("seen", "told", "worth"),
    [
        (SURE, None, 4.0), (SURE, SURE, 4.0), (UNSURE, LITTLE, 0.3),
        (SURE, UNSURE, 2.2), (SURE, Gain(-0.9, -2, 0.1), 1.55),
    ],
)  # fmt: skip
def test_one_is_sure_and_nobody_speaks_against_it(
    seen: Gain, told: Gain | None, worth: float
) -> None:
    """Labels are believed first; where only the duel is sure, the mean is what was gained."""
    reasons, gain = weigh(seen, told, GATE, "base")
    assert not reasons
    assert gain.mean == pytest.approx(worth)


@pytest.mark.parametrize(
    ("seen", "told", "named"),
    [
        (LITTLE, None, "gain over base"), (UNSURE, UNSURE, "on dressed scenes"),
        (LOSS, SURE, "duel -1.10 must be >= -1"), (SURE, LOSS, "on dressed scenes"),
    ],
)  # fmt: skip
def test_nobody_is_sure_or_the_other_speaks_against_it(
    seen: Gain, told: Gain | None, named: str
) -> None:
    reasons, gain = weigh(seen, told, GATE, "base")
    assert named in reasons[0]
    assert gain == (seen if told is None else told)


def test_where_no_worse_will_do_nobody_has_to_be_sure() -> None:
    assert not weigh(UNSURE, None, GATE, "base", lenient=True)[0]
    assert not weigh(UNSURE, UNSURE, GATE, "base", lenient=True)[0]
    assert not weigh(LOSS, None, GATE, "base", lenient=True)[0]  # its upper end is above -0.5
    assert "must not be worse" in weigh(Gain(-3, -4, -2), None, GATE, "base", lenient=True)[0][0]


def test_who_wins_a_place_by_these_rules_is_not_sent_away_by_them() -> None:
    """What an adapter gains over the base the base loses to it."""
    for seen, told in ((SURE, UNSURE), (UNSURE, LITTLE), (SURE, Gain(-0.9, -2, 0.1))):
        turned = [Gain(-one.mean, -one.high, -one.low) for one in (seen, told)]
        assert not weigh(seen, told, GATE, "base")[0]
        assert weigh(turned[0], turned[1], GATE, "a1")[0]
