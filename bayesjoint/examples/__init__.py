"""Examples: skies simulated by the package itself, with the truth they were made from."""

from bayesjoint.examples.bulge_disc import bulge_disc
from bayesjoint.examples.exposures import exposures
from bayesjoint.examples.group import group
from bayesjoint.examples.supernova import supernova
from bayesjoint.examples.three_bands import three_bands

__all__ = ["bulge_disc", "exposures", "group", "supernova", "three_bands"]
