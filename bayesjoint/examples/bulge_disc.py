"""A bulge and a disc in five bands."""

from __future__ import annotations

import numpy as np

from bayesjoint.examples.wcs import tan_wcs
from bayesjoint.images import PSF, Image
from bayesjoint.scene import Scene
from bayesjoint.sky import Exponential, Polynomial, Sersic, Sky
from bayesjoint.units import AB_NJY

__all__ = ["bulge_disc"]

BANDS = {  # scale, shape, optical FWHM (arcsec), zeropoint, sigma per pixel, wavelength (micron), magnitudes of bulge and disc
    "g": (0.26, (90, 90), 1.3, 22.5, 0.006, 0.48, 19.5, 17.6),
    "r": (0.26, (90, 90), 1.1, 22.5, 0.008, 0.62, 18.3, 17.0),
    "i": (0.26, (90, 90), 1.0, 22.5, 0.010, 0.75, 17.8, 16.8),
    "z": (0.26, (90, 90), 1.0, 22.5, 0.016, 0.89, 17.5, 16.7),
    "J": (0.40, (60, 60), 1.4, 25.0, 0.500, 1.25, 17.0, 16.4),
}
STRUCTURE = {
    "bulge.x": 0.3,
    "bulge.y": -0.2,
    "bulge.q": 0.85,
    "bulge.pa": 60.0,
    "bulge.n": 3.0,
    "bulge.r_eff": 0.7,
    "disc.q": 0.55,
    "disc.pa": 40.0,
    "disc.r_eff.c0": 2.6,
    "disc.r_eff.c1": -0.12,
}


def bulge_disc(seed: int = 1) -> tuple[list[Image], dict[str, float]]:
    """Simulate a red bulge in a disc that is smaller the longer the wavelength, in g, r, i, z and J.

    Parameters
    ----------
    seed : int
        Of the noise.

    Returns
    -------
    images : list of Image
        J has larger pixels, each band a PSF of its own.
    truth : dict
        Values by site, in arcsec, degree and nJy, of a scene of a Sérsic bulge and an exponential disc of one centre: the disc's size is a
        `Polynomial` of order 1.
    """
    images, truth = [], dict(STRUCTURE)
    for k, (band, (scale, shape, fwhm, zeropoint, sigma, wave, *mags)) in enumerate(BANDS.items()):
        wcs = tan_wcs(scale, shape, rotation=15.0 * (k == 4))
        psf = PSF.gaussian(fwhm, scale)
        images.append(Image(np.zeros(shape), sigma=sigma, psf=psf, wcs=wcs, zeropoint=zeropoint, band=band, name=band, wavelength=wave))
        truth |= {f"{part}.flux[{band}]": 10 ** (-0.4 * (mag - AB_NJY)) for part, mag in zip(("bulge", "disc"), mags, strict=True)}
        truth[f"sky.level[{band}]"] = 0.3 * sigma
    bulge = Sersic("bulge", position=(0.3, -0.2))
    disc = Exponential("disc", x=bulge.x, y=bulge.y, r_eff=Polynomial(1))
    return Scene([bulge, disc, Sky()], images).simulate(truth, seed), truth
