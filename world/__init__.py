"""A procedural driving world: labelled streams whose appearance can shift."""

from acclimate.world.classes import IGNORE, SOURCE_NAMES
from acclimate.world.drive import Drive
from acclimate.world.shift import Shift
from acclimate.world.spec import WorldSpec, parse_spec

__all__ = ["IGNORE", "SOURCE_NAMES", "Drive", "Shift", "WorldSpec", "parse_spec"]
