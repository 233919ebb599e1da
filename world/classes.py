"""The source classes of the world; a label is an index into SOURCE_NAMES."""

from __future__ import annotations

SOURCE_NAMES: tuple[str, ...] = (
    "road",
    "pavement",
    "grass",
    "soil",
    "building",
    "tree",
    "bush",
    "sky",
    "pole",
    "traffic sign",
    "traffic light",
    "car",
    "truck",
    "bus",
    "person",
    "cyclist",
)

(
    ROAD,
    PAVEMENT,
    GRASS,
    SOIL,
    BUILDING,
    TREE,
    BUSH,
    SKY,
    POLE,
    TRAFFIC_SIGN,
    TRAFFIC_LIGHT,
    CAR,
    TRUCK,
    BUS,
    PERSON,
    CYCLIST,
) = range(len(SOURCE_NAMES))

GROUND = (ROAD, PAVEMENT, GRASS, SOIL)

IGNORE = 255  # the ego vehicle's hood: void
