"""bayesjoint: Bayesian joint modelling of astronomical images.

Several images of one patch of sky, each on its own pixels with its own PSF, are fitted at once; a scene is a Pyro model.
"""

import importlib
from typing import TYPE_CHECKING, Any

import bayesjoint.infer.climb  # noqa: F401  # what `Scene.fit` needs, so that the first fit does not wait for it
from bayesjoint.images import PSF, Image
from bayesjoint.scene import Scene, noise
from bayesjoint.sky import (
    Above,
    BrokenExponential,
    CoreSersic,
    DeVaucouleurs,
    EdgeOn,
    Exponential,
    Ferrer,
    FourierModes,
    Function,
    Gaussian,
    GaussianRing,
    Group,
    King,
    Moffat,
    MultiGaussian,
    NoiseScale,
    Nuker,
    Param,
    Point,
    Polynomial,
    Sersic,
    Shape,
    Shift,
    Sky,
    Spiral,
    Spline,
    Superellipse,
    Truncation,
    Warp,
    WavelengthSpline,
    Zeropoint,
    start,
)

if TYPE_CHECKING:
    from bayesjoint import calibrate, plots
    from bayesjoint.posterior import Posterior, compare, load
    from bayesjoint.references import citations
    from bayesjoint.scene.detection import scene_from

__all__ = [
    "PSF", "Above", "BrokenExponential", "CoreSersic", "DeVaucouleurs", "EdgeOn", "Exponential", "Ferrer", "FourierModes", "Function", "Gaussian",
    "GaussianRing", "Group", "Image", "King", "Moffat", "MultiGaussian", "NoiseScale", "Nuker", "Param", "Point", "Polynomial", "Posterior",
    "Scene", "Sersic", "Shape", "Shift", "Sky", "Spiral", "Spline", "Superellipse", "Truncation", "Warp", "WavelengthSpline", "Zeropoint",
    "calibrate", "citations", "compare", "load", "noise", "plots", "scene_from", "start",
]  # fmt: skip
__version__ = "0.1.0"

_LATER = {
    "calibrate": "calibrate",
    "citations": "references",
    "plots": "plots",
    "Posterior": "posterior",
    "compare": "posterior",
    "load": "posterior",
    "scene_from": "scene.detection",
}
"""What is imported at its first use, and the room that holds it: pandas, xarray and scipy.stats take a second, which every worker process would wait for."""


_ROOMS = ("calibrate", "plots")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = importlib.import_module(f"{__name__}.{_LATER[name]}")
    return room if name in _ROOMS else getattr(room, name)


def __dir__() -> list[str]:
    return sorted(__all__)
