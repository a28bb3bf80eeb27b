"""bayesjoint: Bayesian joint modelling of astronomical images.

Several images of one patch of sky, each on its own pixels with its own PSF, are fitted at once; a scene is a Pyro model.
"""

from bayesjoint import calibrate
from bayesjoint.images import PSF, Image
from bayesjoint.posterior import Posterior, compare, load
from bayesjoint.scene import Scene, noise
from bayesjoint.sky import (
    BrokenExponential,
    CoreSersic,
    DeVaucouleurs,
    EdgeOn,
    Exponential,
    Ferrer,
    FourierModes,
    Gaussian,
    GaussianRing,
    King,
    Moffat,
    MultiGaussian,
    NoiseScale,
    Nuker,
    Param,
    Point,
    Sersic,
    Shape,
    Sky,
    Spiral,
    Spline,
    Superellipse,
    Truncation,
    Warp,
    start,
)

__all__ = [
    "PSF", "BrokenExponential", "CoreSersic", "DeVaucouleurs", "EdgeOn", "Exponential", "Ferrer", "FourierModes", "Gaussian", "GaussianRing",
    "Image", "King", "Moffat", "MultiGaussian", "NoiseScale", "Nuker", "Param", "Point", "Posterior", "Scene", "Sersic", "Shape", "Sky", "Spiral", "Spline",
    "Superellipse", "Truncation", "Warp", "calibrate", "compare", "load", "noise", "start",
]  # fmt: skip
__version__ = "0.1.0"
