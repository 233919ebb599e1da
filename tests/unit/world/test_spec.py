"""Specs: what can be written and what is refused, by name."""

from __future__ import annotations

import pytest

from acclimate.world import Shift, WorldSpec, parse_spec


def test_an_empty_spec_is_the_default_world() -> None:
    assert parse_spec("world:") == WorldSpec()


def test_every_key_is_read() -> None:
    text = "world:seed=3,shift=night,strength=0.8,frames=300,hood=1,fps=8,size=96x128"
    assert parse_spec(text) == WorldSpec(
        seed=3,
        size=(96, 128),
        hood=True,
        fps=8.0,
        frames=300,
        shift="night",
        profile=((0.0, 0.8),),
    )


def test_a_profile_has_its_own_times() -> None:
    spec = parse_spec("world:shift=fog,strength=0@0/0@20/0.9@100/0@160")
    assert spec.profile == ((0.0, 0.0), (20.0, 0.0), (100.0, 0.9), (160.0, 0.0))


def test_a_shift_without_strength_is_at_full_strength() -> None:
    assert parse_spec("world:shift=rain").shift_at(5.0) == Shift("rain", 1.0)


@pytest.mark.parametrize(
    ("seconds", "strength"),
    [
        (-1.0, 0.0),
        (0.0, 0.0),
        (20.0, 0.0),
        (60.0, 0.45),
        (100.0, 0.9),
        (130.0, 0.45),
        (160.0, 0.0),
        (1000.0, 0.0),
    ],
)
def test_the_profile_is_linear_between_its_points(seconds: float, strength: float) -> None:
    spec = parse_spec("world:shift=fog,strength=0@0/0@20/0.9@100/0@160")
    shift = spec.shift_at(seconds)
    assert shift.kind == "fog"
    assert shift.strength == pytest.approx(strength)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("video:seed=3", "world:"),
        ("world:sead=3", "'sead'.*allowed: seed, size"),
        ("world:seed", "seed has no value"),
        ("world:seed=3,seed=4", "seed is given twice"),
        ("world:seed=x", "seed: 'x'"),
        ("world:seed=-1", "seed: '-1'"),
        ("world:seed=1.5", "seed: '1.5'"),
        ("world:shift=snow", "'snow'.*allowed: none, night, fog"),
        ("world:strength=1.2", "strength: '1.2'"),
        ("world:strength=-0.2", "strength: '-0.2'"),
        ("world:strength=nan", "strength: 'nan'"),
        ("world:strength=lots", "strength: 'lots'"),
        ("world:strength=0@0/0.5", "'0.5' is not STRENGTH@SECONDS"),
        ("world:strength=0@0/2@10", "strength: '2'"),
        ("world:strength=0@0/1@ten", "strength: 'ten'"),
        ("world:strength=0@0/1@-1", "strength: '-1'"),
        ("world:strength=0@9/1@3", "times must increase"),
        ("world:strength=0@3/1@3", "times must increase"),
        ("world:frames=0", "frames: '0'"),
        ("world:hood=yes", "hood='yes'"),
        ("world:fps=0", "fps: '0'"),
        ("world:fps=inf", "fps: 'inf'"),
        ("world:size=100", "size='100'"),
        ("world:size=1x100", "size: '1'"),
        ("world:size=axb", "size: 'a'"),
    ],
)
def test_mistakes_are_named(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_spec(text)
