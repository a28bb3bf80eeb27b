"""A supernova on its host in eight epochs."""

from __future__ import annotations

import numpy as np

from bayesjoint.examples.wcs import tan_wcs
from bayesjoint.images import PSF, Image
from bayesjoint.scene import Scene
from bayesjoint.sky import Param, Point, Sersic, Sky
from bayesjoint.units import AB_NJY

__all__ = ["supernova"]

HOST = {"host.x": 0.3, "host.y": -0.2, "host.q": 0.7, "host.pa": 60.0, "host.n": 2.0, "host.r_eff": 1.6}
HOST_MAG, PLACE = 19.0, {"sn.x": 0.8, "sn.y": 0.3}
SCALE, SHAPE, ZEROPOINT = 0.26, (48, 48), 25.0
EPOCHS = {  # MJD, optical FWHM (arcsec), rotation (degree), sigma per pixel, magnitude of the supernova
    "e0": (60001.0, 1.05, 0.0, 0.065, np.inf),
    "e1": (60018.0, 1.45, 0.0, 0.065, 21.9),
    "e2": (60023.0, 1.00, 35.0, 0.070, 20.9),
    "e3": (60029.0, 1.25, 0.0, 0.060, 20.5),
    "e4": (60037.0, 1.70, 0.0, 0.075, 20.7),
    "e5": (60049.0, 0.95, -110.0, 0.060, 21.4),
    "e6": (60068.0, 1.30, 0.0, 0.065, 22.4),
    "e7": (60101.0, 1.15, 0.0, 0.070, 23.6),
}


def supernova(seed: int = 1) -> tuple[list[Image], dict[str, float]]:
    """Simulate a galaxy and a supernova upon it, in one band, in eight epochs of changing seeing, dithered, two of them rotated.

    Parameters
    ----------
    seed : int
        Of the noise.

    Returns
    -------
    images : list of Image
        Epochs e0 to e7 with their dates; in e0 the supernova has not exploded.
    truth : dict
        Values by site, in arcsec, degree and nJy: a Sérsic "host", a point "sn" with a flux an image, and skies.
    """
    images, truth = [], HOST | PLACE | {"host.flux[i]": 10 ** (-0.4 * (HOST_MAG - AB_NJY))}
    for k, (name, (mjd, fwhm, rotation, sigma, mag)) in enumerate(EPOCHS.items()):
        middle = (150.0 + (k * 7 % 8 - 3.5) * 0.1 * SCALE / 3600, 2.2 + (k * 3 % 8 - 3.5) * 0.1 * SCALE / 3600) if k else (150.0, 2.2)  # dithers
        wcs = tan_wcs(SCALE, SHAPE, rotation, middle)
        psf = PSF.gaussian(fwhm, SCALE)
        images.append(Image(np.zeros(SHAPE), sigma=sigma, psf=psf, wcs=wcs, zeropoint=ZEROPOINT, band="i", name=name, epoch=mjd))
        truth[f"sn.flux[{name}]"] = 10 ** (-0.4 * (mag - AB_NJY))
        truth[f"sky.level[{name}]"] = (0.2 + 0.1 * k) * sigma
    sources = [
        Sersic("host", position=(HOST["host.x"], HOST["host.y"])),
        Point("sn", position=(PLACE["sn.x"], PLACE["sn.y"]), flux=Param(per="image")),
    ]
    scene = Scene([*sources, Sky()], images)
    return scene.simulate(truth, seed), truth
