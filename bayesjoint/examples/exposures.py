"""Dithered and rotated exposures in two bands, one misplaced and one miscalibrated."""

from __future__ import annotations

import numpy as np

from bayesjoint.examples.wcs import tan_wcs
from bayesjoint.images import PSF, Image
from bayesjoint.scene import Scene
from bayesjoint.sky import Group, Point, Sersic, Shift, Sky, Zeropoint
from bayesjoint.units import AB_NJY

__all__ = ["exposures"]

SOURCES = {  # x, y, q, pa, n, r_eff (none: a star), magnitudes in r and i
    "object 1.galaxy": (0.6, -0.4, 0.65, 140.0, 1.8, 1.3, 19.3, 18.8),
    "object 2.point": (-4.2, 3.1, 20.7, 20.3),
    "object 3.galaxy": (4.6, 2.6, 0.5, 25.0, 1.0, 1.1, 20.7, 20.3),
}
EXPOSURES = {  # band, scale, shape, optical FWHM (arcsec), rotation (degree), dither (arcsec), zeropoint, sigma per pixel
    "r1": ("r", 0.26, (64, 64), 1.00, 0.0, (0.0, 0.0), 25.0, 0.08),
    "r2": ("r", 0.26, (64, 64), 1.25, 12.0, (1.1, -0.7), 25.2, 0.10),
    "r3": ("r", 0.26, (64, 64), 1.10, -95.0, (-0.9, 0.8), 24.9, 0.08),
    "i1": ("i", 0.30, (56, 56), 1.15, 40.0, (0.5, 1.2), 24.6, 0.09),
    "i2": ("i", 0.30, (56, 56), 1.40, 0.0, (-1.3, -0.4), 24.8, 0.11),
    "i3": ("i", 0.30, (56, 56), 1.20, 170.0, (0.7, 0.3), 24.5, 0.085),
}
OFF = {"shift.x[r3]": 0.16, "shift.y[r3]": -0.11, "zeropoint.offset[i3]": 0.053}
"""What is to be added to where r3 says that it lies (arcsec), and to the zeropoint of i3 (mag: 5 %)."""


def exposures(seed: int = 1) -> tuple[list[Image], dict[str, float]]:
    """Simulate two galaxies and a star in three exposures of each of two bands, with their own WCS, PSFs and zeropoints.

    Parameters
    ----------
    seed : int
        Of the noise.

    Returns
    -------
    images : list of Image
        Exposures r1 to i3. The WCS of r3 is off by 0.19 arcsec, the zeropoint of i3 by 5 %.
    truth : dict
        Values by site, in arcsec, degree, nJy and mag, of the scene that `scene_from` makes of the images, with what those two are off by:
        ``shift.x[r3]``, ``shift.y[r3]``, ``zeropoint.offset[i3]``.
    """
    images, truth = [], dict(OFF)
    for name, (band, scale, shape, fwhm, rotation, (east, north), zeropoint, sigma) in EXPOSURES.items():
        wcs = tan_wcs(scale, shape, rotation, (150.0 + east / 3600, 2.2 + north / 3600))
        psf = PSF.gaussian(fwhm, scale)
        images.append(Image(np.zeros(shape), sigma=sigma, psf=psf, wcs=wcs, zeropoint=zeropoint, band=band, name=name))
        truth[f"sky.level[{name}]"] = 0.3 * sigma
    groups = []
    for name, values in SOURCES.items():
        keys = ("x", "y") if name.endswith("point") else ("x", "y", "q", "pa", "n", "r_eff")
        truth |= {f"{name}.{k}": v for k, v in zip(keys, values, strict=False)}
        truth |= {f"{name}.flux[{b}]": 10 ** (-0.4 * (m - AB_NJY)) for b, m in zip("ri", values[-2:], strict=True)}
        group, member = name.split(".")
        groups.append(Group(group, [{"galaxy": Sersic, "point": Point}[member](member, position=values[:2])]))
    scene = Scene([*groups, Shift(0.3, images=["r3"]), Zeropoint(0.1, images=["i3"]), Sky()], images)
    return scene.simulate(truth, seed), truth
