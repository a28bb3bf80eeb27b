"""bayesjoint: Bayesian joint modelling of astronomical images.

Several images of one patch of sky, each on its own pixels with its own PSF, are fitted at once; a scene is a Pyro model.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesjoint import calibrate, plots
    from bayesjoint.images import PSF, Image
    from bayesjoint.infer.crowd import scene_from
    from bayesjoint.posterior import Posterior, compare, load
    from bayesjoint.references import citations
    from bayesjoint.scene import Scene, noise
    from bayesjoint.scene.forced import forced
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

__all__ = [
    "PSF", "Above", "BrokenExponential", "CoreSersic", "DeVaucouleurs", "EdgeOn", "Exponential", "Ferrer", "FourierModes", "Function", "Gaussian",
    "GaussianRing", "Group", "Image", "King", "Moffat", "MultiGaussian", "NoiseScale", "Nuker", "Param", "Point", "Polynomial", "Posterior",
    "Scene", "Sersic", "Shape", "Shift", "Sky", "Spiral", "Spline", "Superellipse", "Truncation", "Warp", "WavelengthSpline", "Zeropoint",
    "calibrate", "citations", "compare", "forced", "load", "noise", "plots", "scene_from", "start",
]  # fmt: skip
__version__ = "0.1.0"

_AT_ONCE = ("images", "sky", "scene", "infer.climb")
"""What comes in whole at the first use of any of it, so that no first fit waits for an import; `import bayesjoint` alone waits for no torch."""
_LATER = {
    "calibrate": "calibrate",
    "citations": "references",
    "plots": "plots",
    "Posterior": "posterior",
    "compare": "posterior",
    "load": "posterior",
    "scene_from": "infer.crowd",
    "forced": "scene.forced",
}
"""What is imported at its own first use, and the room that holds it: pandas, xarray and scipy.stats take a second, which every worker process would wait for."""
_ROOMS = ("calibrate", "examples", "images", "infer", "plots", "posterior", "render", "scene", "sky")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for room in _AT_ONCE:
        found = vars(importlib.import_module(f"{__name__}.{room}"))
        globals().update({k: found[k] for k in __all__ if k in found and k not in _LATER})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted(__all__)
