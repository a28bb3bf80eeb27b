"""One galaxy in three bands."""

from __future__ import annotations

import numpy as np

from bayesjoint.examples.wcs import tan_wcs
from bayesjoint.images import PSF, Image
from bayesjoint.scene import Scene
from bayesjoint.sky import Sersic, Sky
from bayesjoint.units import AB_NJY

__all__ = ["three_bands"]

GALAXY = {"galaxy.x": 0.4, "galaxy.y": -0.7, "galaxy.q": 0.62, "galaxy.pa": 128.0, "galaxy.n": 1.7, "galaxy.r_eff": 4.0}
BANDS = {  # scale, shape, optical FWHM (arcsec), zeropoint, sigma per pixel, magnitude of the galaxy, wavelength (micron)
    "r": (0.27, (160, 160), 1.1, 22.5, 0.012, 17.4, 0.64),
    "W1": (1.9, (30, 30), 5.4, 22.5, 1.2, 16.6, 3.35),
    "NUV": (1.5, (36, 36), 5.0, 20.08, 0.0017, 20.3, 0.23),
}


def three_bands(seed: int = 1) -> tuple[list[Image], dict[str, float]]:
    """Simulate one galaxy in three images of different pixel scale, PSF, zeropoint and orientation.

    Parameters
    ----------
    seed : int
        Of the noise.

    Returns
    -------
    images : list of Image
        Bands r, W1 and NUV.
    truth : dict
        Values by site, in arcsec, degree and nJy.
    """
    images, truth = [], dict(GALAXY)
    for k, (band, (scale, shape, fwhm, zeropoint, sigma, mag, wave)) in enumerate(BANDS.items()):
        psf = PSF.moffat(fwhm, 3.5, scale) if band == "r" else PSF.gaussian(fwhm, scale)
        wcs = tan_wcs(scale, shape, rotation=35.0 * k)
        images.append(Image(np.zeros(shape), sigma=sigma, psf=psf, wcs=wcs, zeropoint=zeropoint, band=band, name=band, wavelength=wave))
        truth[f"galaxy.flux[{band}]"] = 10 ** (-0.4 * (mag - AB_NJY))
        truth[f"sky.level[{band}]"] = 0.3 * sigma
    scene = Scene([Sersic("galaxy", position=(GALAXY["galaxy.x"], GALAXY["galaxy.y"])), Sky()], images)
    return scene.simulate(truth, seed), truth
