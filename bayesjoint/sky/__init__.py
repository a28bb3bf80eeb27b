"""Sky: profiles, shapes, sources, their parameters and priors."""

from bayesjoint.sky.components import Component, NoiseScale, Point, Shift, Sky, Source, Zeropoint
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
from bayesjoint.sky.groups import Group
from bayesjoint.sky.links import Above, Function, Polynomial, WavelengthSpline
from bayesjoint.sky.parameters import Param, Ref, Spec, start
from bayesjoint.sky.shapes import FourierModes, Shape, Spiral, Superellipse, Truncation, Warp

__all__ = [
    "Above", "BrokenExponential", "Component", "CoreSersic", "DeVaucouleurs", "EdgeOn", "Exponential", "Extended", "Ferrer", "FourierModes",
    "Function", "Gaussian", "GaussianRing", "Group", "King", "Moffat", "MultiGaussian", "NoiseScale", "Nuker", "Param", "Point", "Polynomial",
    "Ref", "Sersic", "Shape", "Shift", "Sky", "Source", "Spec", "Spiral", "Spline", "Superellipse", "Truncation", "Warp", "WavelengthSpline",
    "Zeropoint", "start",
]  # fmt: skip
