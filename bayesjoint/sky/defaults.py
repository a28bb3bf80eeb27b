"""Default priors: proper, from geometry and noise alone, never from pixel values nor the image's count unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.sky.parameters import Spec
from bayesjoint.sky.priors import (
    Angle,
    AxisRatio,
    SoftPositive,
    TruncatedLogNormal,
    TruncatedNormal,
)

__all__ = ["Geometry", "default_prior"]

SMALLEST, LARGEST = 0.1, 2.0
"""Bounds of a length: in units of the finest pixel, and of the frame's longer side."""
FAR_BELOW = 10.0
"""Widths below its median at which a positive parameter ends at the latest."""
SOFT = 0.1
"""Softness of a non-negative flux's edge at 0, in units of the error of a point's flux."""
WIDE = 1e4
"""Width of the flux and sky priors in units of the noise: of the whole image for a flux, of one pixel for a level."""


@dataclass(frozen=True)
class Geometry:
    """Extent and resolution of a set of images, in arcsec of the scene's frame."""

    center: tuple[float, float]
    half_size: float
    finest: float

    @classmethod
    def of(cls, images: Sequence[Image], frame: Frame) -> Geometry:
        """Measure the images' outlines."""
        xs, ys = [], []
        for im in images:
            ny, nx = im.shape
            x, y = frame.to_sky(im.placement, [-0.5, nx - 0.5, -0.5, nx - 0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5])
            xs.extend(x)
            ys.extend(y)
        center = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
        half = max(max(xs) - min(xs), max(ys) - min(ys)) / 2
        return cls(center, float(half), min(im.pixel_scale for im in images))


def point_limit(images: Sequence[Image]) -> float:
    """Error of a point's flux in the best of some images, in nJy (or image units).

    It is sigma times the square root of a Gaussian PSF's noise-equivalent area, 4 pi FWHM² / (8 ln 2).
    """
    area = 4 * np.pi / (8 * np.log(2))
    return min(
        im.typical_sigma / im.unit_flux * np.sqrt(area) * max(im.psf.fwhm if im.psf is not None else 1.0, 1.0)
        for im in images
    )


def default_prior(
    spec: Spec, images: Sequence[Image], geometry: Geometry, *, positive: bool = False
) -> Any:
    """Return the default prior of one site.

    Parameters
    ----------
    spec : Spec
        The parameter.
    images : sequence of Image
        The images that the site concerns.
    geometry : Geometry
        Of all the scene's images.
    positive : bool
        Whether a flux is one of several extended components on one centre, of which none may
        be negative.
    """
    f64 = torch.float64

    def t(v: float) -> torch.Tensor:
        return torch.tensor(v, dtype=f64)

    noise = [im.typical_sigma for im in images]
    name = spec.name.split(".")[0]  # that of a link's site begins with the parameter's
    if spec.prior is not None:
        kind, middle, width = spec.prior
        log_scale = kind == "lognormal"
        loc, width = t(np.log(middle) if log_scale else middle), t(width)
        if np.isfinite(spec.bounds).all():
            low, high = (t(v) for v in spec.bounds)
            if log_scale:  # whose bound is not positive has none below
                return TruncatedLogNormal(loc, width, torch.maximum(low, torch.exp(loc - FAR_BELOW * width)), high)
            return TruncatedNormal(loc, width, low, high)
        return (dist.LogNormal if log_scale else dist.Normal)(loc, width)
    if name in ("x", "y"):
        return dist.Normal(t(geometry.center[name == "y"]), t(geometry.half_size))
    if name == "q":
        return AxisRatio(t(0.75))
    if spec.cyclic:
        return Angle(t(180.0))
    if spec.unit == "arcsec":
        lo, hi = 0.25 * geometry.finest, geometry.half_size
        loc, scale = t(0.5 * np.log(lo * hi)), t(max(1.0, np.log(hi / lo) / 4))
        ends = (SMALLEST * geometry.finest, LARGEST * 2 * geometry.half_size)
        return TruncatedLogNormal(loc, scale, *(t(v) for v in ends))
    if spec.unit == "flux":
        whole = min(s * np.sqrt(im.valid.sum()) / im.unit_flux for s, im in zip(noise, images, strict=True))
        width = t(WIDE * float(whole))
        return SoftPositive(width, t(SOFT * point_limit(images))) if positive else dist.Normal(t(0.0), width)
    if spec.unit == "image":
        scale = noise[0] if name == "level" else noise[0] / max(images[0].shape)
        return dist.Normal(t(0.0), t(WIDE * scale))
    raise ValueError(f"The parameter {spec.name!r} has no default prior: give it one.")
