"""What stays the same along one drive: cross-section of the street, palette, light, pace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acclimate.world.mesh import Colour, tint


@dataclass(frozen=True)
class Theme:
    """Lengths in metres, speeds in m/s; a street is symmetric about x = 0."""

    road: float  # half width of the asphalt
    parking: float  # width of a parking lane within it, or 0
    verge: float  # a green or bare strip between road and pavement, or 0
    pavement: float
    setback: float  # from the pavement to the building line
    urban: float  # 0 country, 1 city
    lane: float  # the middle of the ego lane
    speed: float
    eye: float  # height of the camera
    horizon: float  # fraction of the image height
    focal: float  # fraction of the image width
    asphalt: Colour
    paving: Colour
    kerb: Colour
    grass: Colour
    soil: Colour
    leaves: Colour
    sky_high: Colour
    sky_low: Colour
    clouds: float  # 0 clear, 1 overcast
    sun: float  # overall brightness
    warmth: float  # -1 bluish, 1 yellowish
    sun_side: float  # x of shadows relative to height

    @property
    def edge(self) -> float:
        """Where the terrain begins."""
        return self.road + self.verge + self.pavement


def make_theme(rng: np.random.Generator) -> Theme:
    urban = float(rng.choice([0.1, 0.45, 0.9]) + rng.uniform(-0.08, 0.08))
    parking = 2.0 if rng.random() < 0.1 + 0.3 * urban else 0.0
    grey = rng.uniform(68, 118)
    clouds = float(rng.uniform(0.0, 1.0))
    haze = rng.uniform(0.0, 1.0)
    return Theme(
        road=rng.uniform(2.95, 3.5) + parking,
        parking=parking,
        verge=rng.uniform(1.2, 2.4) if rng.random() < 0.5 else 0.0,
        pavement=rng.uniform(1.9, 3.0) + 1.4 * urban * rng.random(),
        setback=rng.uniform(0.2, 1.5) if urban > 0.7 else rng.uniform(3.0, 9.0),
        urban=urban,
        lane=rng.uniform(1.4, 1.6),
        speed=rng.uniform(5.5, 9.5),
        eye=rng.uniform(1.35, 1.7),
        horizon=rng.uniform(0.42, 0.48),
        focal=rng.uniform(0.74, 0.86),
        asphalt=_near(rng, (grey, grey, grey + rng.uniform(-2, 8)), 0.03),
        paving=_near(rng, _choose(rng, (168, 162, 154), (150, 150, 152), (176, 150, 132)), 0.06),
        kerb=_near(rng, (190, 188, 182), 0.06),
        grass=_near(rng, _choose(rng, (92, 130, 58), (110, 142, 60), (128, 134, 74)), 0.1),
        soil=_near(rng, _choose(rng, (142, 108, 76), (160, 132, 96), (112, 84, 62)), 0.08),
        leaves=_near(
            rng, _choose(rng, (66, 106, 48), (58, 92, 52), (92, 116, 50), (150, 104, 44)), 0.1
        ),
        sky_high=_mix((64, 124, 206), (172, 182, 194), clouds),
        sky_low=_mix((176, 206, 236), (226, 222, 214), 0.5 * (clouds + haze)),
        clouds=clouds,
        sun=rng.uniform(0.88, 1.1),
        warmth=rng.uniform(-0.6, 1.0),
        sun_side=rng.uniform(-0.35, 0.35),
    )


def _near(rng: np.random.Generator, colour: tuple[float, ...], spread: float) -> Colour:
    gains = rng.uniform(1.0 - spread, 1.0 + spread, 3)
    return tint([c * g for c, g in zip(colour, gains, strict=True)])


def _choose(rng: np.random.Generator, *colours: Colour) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _mix(a: Colour, b: Colour, t: float) -> Colour:
    return tint([x + (y - x) * t for x, y in zip(a, b, strict=True)])
