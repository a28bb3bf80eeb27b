"""Border: the level of an image's border, robustly, and a prior for its sky that allows for a galaxy's light there."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pyro.distributions as dist
import torch
from astropy.stats import sigma_clipped_stats

from bayesjoint.images import Image

__all__ = ["Border", "border_of", "border_prior"]

RING = 0.06
"""Width of the border, in units of the image's shorter side; at least three pixels."""
RINGS = 3
"""Rings that are compared, from the edge inwards."""
LEAST = 20
"""Pixels in use that a ring has at least."""
REST = 2.0
"""Light left in the border in units of its fall from one ring to the next: that of a Sérsic profile of n = 4, two to four half-light radii out."""
FLOOR = 0.02
"""Least width of a level's prior in units of the scatter of a pixel: what a sky varies by, even where no galaxy shines."""
SCATTER = 1.2533
"""Standard error of a median, in units of that of a mean."""


@dataclass(frozen=True)
class Border:
    """Level of an image's border in image units per pixel, its statistical error, the light that may still be in it, and its scatter."""

    level: float
    error: float
    light: float
    scatter: float


def border_of(image: Image) -> Border | None:
    """The border of an image; None where too few of its pixels are in use.

    Parameters
    ----------
    image : Image
        Its outermost pixels in use are taken, clipped at three sigma.

    Returns
    -------
    Border or None
    """
    ny, nx = image.shape
    width = max(3, round(RING * min(ny, nx)))
    j, i = np.indices((ny, nx))
    edge = np.minimum.reduce([j, i, ny - 1 - j, nx - 1 - i])
    found, scatter = [], 0.0
    for k in range(RINGS):
        pixels = image.data[image.valid & (edge >= k * width) & (edge < (k + 1) * width)]
        if pixels.size < LEAST:
            break
        _, median, sd = sigma_clipped_stats(pixels, sigma=3.0, maxiters=10)
        scatter = scatter or float(sd)
        found.append((float(median), SCATTER * float(sd) / np.sqrt(pixels.size)))
    if not found:
        return None
    level, error = found[0]
    falls = [inner - outer for (outer, _), (inner, _) in itertools.pairwise(found)]
    return Border(level, error, REST * max([0.0, *falls[:1]]), scatter)


def border_prior(image: Image) -> dist.Normal:
    """Normal prior of a sky's level, about that of the border and as wide as the light there may be.

    Raises
    ------
    ValueError
        Where the border has too few pixels in use.
    """
    border = border_of(image)
    if border is None:
        raise ValueError(
            f"The border of {image.name or image.band!r} must have {LEAST} pixels in use to hold its sky; it has fewer. "
            "Give Sky(level=...) a prior, or leave it free."
        )
    width = np.linalg.norm([border.error, border.light, FLOOR * border.scatter])
    loc, scale = (torch.tensor(v, dtype=torch.float64) for v in (border.level, width))
    return dist.Normal(loc, scale)
