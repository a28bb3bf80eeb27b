"""Sky: profiles, shapes, sources, their parameters and priors."""

from bayesjoint.sky.components import Component, NoiseScale, Point, Sky, Source
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.galaxies import (
    BrokenExponential,
    CoreSersic,
    DeVaucouleurs,
    EdgeOn,
    Exponential,
    Ferrer,
    Gaussian,
    GaussianRing,
    King,
    Moffat,
    MultiGaussian,
    Nuker,
    Sersic,
    Spline,
)
from bayesjoint.sky.parameters import Param, Ref, Spec, start
from bayesjoint.sky.shapes import FourierModes, Shape, Spiral, Superellipse, Truncation, Warp

__all__ = [
    "BrokenExponential", "Component", "CoreSersic", "DeVaucouleurs", "EdgeOn", "Exponential", "Extended", "Ferrer", "FourierModes", "Gaussian",
    "GaussianRing", "King", "Moffat", "MultiGaussian", "NoiseScale", "Nuker", "Param", "Point", "Ref", "Sersic", "Shape", "Sky", "Source", "Spec", "Spiral",
    "Spline", "Superellipse", "Truncation", "Warp", "start",
]  # fmt: skip
