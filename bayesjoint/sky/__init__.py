"""Sky: profiles, shapes, sources, their parameters and priors."""

from bayesjoint.sky.components import Component, Point, Sky, Source
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.galaxies import Sersic
from bayesjoint.sky.parameters import Param, Ref, Spec, start
from bayesjoint.sky.shapes import FourierModes, Shape, Spiral, Superellipse, Truncation, Warp

__all__ = [
    "Component", "Extended", "FourierModes", "Param", "Point", "Ref", "Sersic", "Shape", "Sky", "Source", "Spec", "Spiral", "Superellipse",
    "Truncation", "Warp", "start",
]  # fmt: skip
